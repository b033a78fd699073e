/* SPDX-License-Identifier: MIT */
/*
 * The pool of stacks: what get returns, that guards trap (both kinds), growth, limits, trimming,
 * the high-water mark, and finding an address.
 *
 * Whether memory can be touched is asked of the kernel, which says EFAULT where a program would
 * die.
 *
 * Owns:    its pools.
 * Threads: one.
 */
#include "support/ouro_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "fiber/stack.h"
#include "fiber/stack_tools.h"
#include "fiber/stack_trim.h"

#define PAGE ((size_t)sysconf(_SC_PAGESIZE))
#define HEADER_BYTES 200

static struct ouro__stack_pool pool;

static void open_pool(struct ouro__stack_pool_config config)
{
    if (config.header_size_bytes == 0)
        config.header_size_bytes = HEADER_BYTES;
    ck_assert_int_eq(ouro__stack_pool_init(&pool, &config), 0);
}

static char *get(void)
{
    char *header = ouro__stack_get(&pool);
    ck_assert_ptr_nonnull(header);
    return header;
}

static char *low_of(const void *header)
{
    return ouro__stack_low(&pool, header);
}

/* Whether the kernel can read the byte at @address. */
static bool can_touch(const char *address)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ouro__stack_valgrind_look_away(); /* what is there may not be initialised */
    ssize_t written = write(ends[1], address, 1);
    int error = errno;
    ouro__stack_valgrind_look_again();
    (void)close(ends[0]);
    (void)close(ends[1]);
    ck_assert(written == 1 || error == EFAULT);
    return written == 1;
}

/* Slow, or beyond its limits, where each stack costs shadow memory or bookkeeping. */
static bool is_light(void)
{
    return !OURO__ASAN && !OURO__TSAN && !ouro__stack_on_valgrind();
}

OURO_TEST_UNIT(gives_header_and_stack_as_asked_for)
{
    for (size_t usable = 1; usable < 300000; usable = usable * 3 + 1000) {
        open_pool((struct ouro__stack_pool_config){.usable_size_bytes = usable});
        char *headers[40];
        for (int i = 0; i < 40; i++) {
            headers[i] = get();
            ck_assert_uint_eq((uintptr_t)headers[i] % 64, 0);
            ck_assert_uint_eq((uintptr_t)low_of(headers[i]) % PAGE, 0);
            ck_assert_int_ge(headers[i] - low_of(headers[i]), (ptrdiff_t)usable);
            memset(low_of(headers[i]), 0xa5, usable);
            memset(headers[i], 0x5a, HEADER_BYTES);
        }
        for (int i = 0; i < 40; i++) {
            ck_assert_int_eq(low_of(headers[i])[0], (char)0xa5);
            ck_assert_int_eq(headers[i][HEADER_BYTES - 1], 0x5a);
            ouro__stack_put(&pool, headers[i]);
        }
        ouro__stack_pool_fini(&pool);
    }
}

OURO_TEST_UNIT(refuses_sizes_that_cannot_be)
{
    struct ouro__stack_pool untouched;
    memset(&untouched, 0x77, sizeof(untouched));
    memset(&pool, 0x77, sizeof(pool));
    struct ouro__stack_pool_config config = {.usable_size_bytes = SIZE_MAX};
    ck_assert_int_eq(ouro__stack_pool_init(&pool, &config), -EINVAL);
    config = (struct ouro__stack_pool_config){.header_size_bytes = SIZE_MAX - 64};
    ck_assert_int_eq(ouro__stack_pool_init(&pool, &config), -EINVAL);
    config = (struct ouro__stack_pool_config){.guard_size_bytes = SIZE_MAX / 2};
    ck_assert_int_eq(ouro__stack_pool_init(&pool, &config), -EINVAL);
    ck_assert_mem_eq(&pool, &untouched, sizeof(pool));
}

OURO_TEST_UNIT(a_header_larger_than_a_page_works)
{
    open_pool((struct ouro__stack_pool_config){.header_size_bytes = 3 * PAGE + 7});
    char *header = get();
    memset(header, 1, 3 * PAGE + 7);
    ck_assert_int_ge(header - low_of(header), 64 * 1024);
    ck_assert(can_touch(low_of(header)));
    ck_assert(!can_touch(low_of(header) - 1));
    ouro__stack_put(&pool, header);
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(gives_the_stack_put_back_last)
{
    open_pool((struct ouro__stack_pool_config){0});
    char *a = get();
    char *b = get();
    ck_assert_uint_eq(ouro__stack_used_count(&pool), 2);
    ouro__stack_put(&pool, a);
    ouro__stack_put(&pool, b);
    ck_assert_ptr_eq(get(), b);
    ck_assert_ptr_eq(get(), a);
    ck_assert_uint_eq(ouro__stack_made_count(&pool), 2);
    ouro__stack_put(&pool, b);
    ouro__stack_put(&pool, a);
    ck_assert_uint_eq(ouro__stack_used_count(&pool), 0);
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(places_neighbours_tops_apart_in_the_cache)
{
    bool seen[4096 / 64] = {false};
    char *headers[16];
    open_pool((struct ouro__stack_pool_config){0});
    for (int i = 0; i < 16; i++) {
        headers[i] = get();
        size_t set = (uintptr_t)headers[i] % 4096 / 64;
        ck_assert(!seen[set]);
        seen[set] = true;
    }
    for (int i = 0; i < 16; i++)
        ouro__stack_put(&pool, headers[i]);
    ouro__stack_pool_fini(&pool);
}

/* Guards of one kind: below every stack, at least 16 KiB, and still there when stacks were reused.
 */
static void check_guards(bool madv)
{
    char *headers[50];
    open_pool((struct ouro__stack_pool_config){.use_madv_guard = madv});
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 50; i++)
            headers[i] = get();
        for (int i = 0; i < 50; i++) {
            char *low = low_of(headers[i]);
            ck_assert(can_touch(low));
            for (ptrdiff_t below = 1; below <= 16 * 1024; below += 4095)
                ck_assert(!can_touch(low - below));
        }
        for (int i = 0; i < 50; i++)
            ouro__stack_put(&pool, headers[i]);
        ck_assert_uint_eq(ouro__stack_trim(&pool, 0), 50);
    }
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(guards_trap_with_mprotect)
{
    check_guards(false);
}

OURO_TEST_UNIT(guards_trap_with_madvise_or_its_fallback)
{
    check_guards(true);
}

static unsigned mapping_count(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned lines = 0;
    int c = 0;
    ck_assert_ptr_nonnull(maps);
    while ((c = fgetc(maps)) != EOF)
        lines += c == '\n';
    (void)fclose(maps);
    return lines;
}

OURO_TEST_UNIT(hundred_thousand_stacks, .timeout_s = 120)
{
    enum { COUNT = 100000 };
    if (!is_light())
        ouro_test_skip("100,000 stacks are too many under this tool");
    open_pool((struct ouro__stack_pool_config){.use_madv_guard = true});
    char *probe = get();
    if (!pool.shape.madv_guard) {
        ouro__stack_put(&pool, probe);
        ouro__stack_pool_fini(&pool);
        ouro_test_skip("this kernel has no MADV_GUARD_INSTALL");
    }
    ouro__stack_put(&pool, probe);

    char **headers = ouro__calloc(COUNT, sizeof(headers[0]));
    ck_assert_ptr_nonnull(headers);
    unsigned before = mapping_count();
    for (int i = 0; i < COUNT; i++) {
        headers[i] = get();
        if (i % 100 == 0)
            headers[i][0] = 1;
    }
    ck_assert_uint_le(mapping_count() - before, 100); /* one for each slab at the most */
    for (int i = 0; i < COUNT; i += 9973) {
        ck_assert(can_touch(low_of(headers[i])));
        ck_assert(!can_touch(low_of(headers[i]) - 1));
    }
    for (int i = 0; i < COUNT; i++)
        ouro__stack_put(&pool, headers[i]);
    ck_assert_uint_eq(ouro__stack_made_count(&pool), COUNT);
    ouro__free(headers);
    ouro__stack_pool_fini(&pool);
}

/* Without the new guards the process may not run into vm.max_map_count: the pool stops before. */
OURO_TEST_UNIT(stops_before_the_process_has_no_mappings_left, .timeout_s = 120)
{
    enum { TRIES = 40000 };
    long max = 0;
    FILE *limit = fopen("/proc/sys/vm/max_map_count", "re");
    if (!is_light())
        ouro_test_skip("too many stacks under this tool");
    if (!limit || fscanf(limit, "%ld", &max) != 1 || max > 2 * TRIES)
        max = 0;
    if (limit)
        (void)fclose(limit);
    if (max == 0)
        ouro_test_skip("vm.max_map_count is unknown, or too large to reach");

    open_pool((struct ouro__stack_pool_config){.usable_size_bytes = PAGE});
    char **headers = ouro__calloc(TRIES, sizeof(headers[0]));
    ck_assert_ptr_nonnull(headers);
    int made = 0;
    while (made < TRIES && (headers[made] = ouro__stack_get(&pool)) != NULL)
        made++;
    ck_assert_int_gt(made, max / 4 - 1);
    ck_assert_int_lt(made, max / 2);
    /* Others still can map, and the pool still works. */
    ck_assert_uint_le(mapping_count() + 1000, (unsigned long)max);
    ck_assert_uint_eq(ouro__stack_used_count(&pool), (unsigned)made);
    ouro__stack_put(&pool, headers[made - 1]);
    ck_assert_ptr_eq(ouro__stack_get(&pool), headers[made - 1]);
    for (int i = 0; i < made; i++)
        ouro__stack_put(&pool, headers[i]);
    ouro__stack_pool_fini(&pool);
    ouro__free(headers);

    /* The budget is given back. */
    open_pool((struct ouro__stack_pool_config){0});
    ouro__stack_put(&pool, get());
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(makes_no_more_than_stacks_max)
{
    open_pool((struct ouro__stack_pool_config){.stacks_max = 3});
    char *headers[3] = {get(), get(), get()};
    ck_assert_ptr_null(ouro__stack_get(&pool));
    ouro__stack_put(&pool, headers[1]);
    ck_assert_ptr_eq(get(), headers[1]);
    ck_assert_ptr_null(ouro__stack_get(&pool));
    for (int i = 0; i < 3; i++)
        ouro__stack_put(&pool, headers[i]);
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(survives_every_failed_allocation)
{
    for (uint64_t nth = 1; nth <= 4; nth++) {
        char *headers[64];
        int made = 0;
        open_pool((struct ouro__stack_pool_config){0});
        ouro__alloc_fail_at(nth);
        for (int tries = 0; tries < 64; tries++) {
            headers[made] = ouro__stack_get(&pool);
            made += headers[made] != NULL;
        }
        ouro__alloc_fail_at(0);
        ck_assert_int_ge(made, 62); /* one failure; or none, where a smaller slab did instead */
        ck_assert_uint_eq(ouro__stack_used_count(&pool), (unsigned)made);
        ck_assert_uint_eq(ouro__stack_made_count(&pool), (unsigned)made);
        while (made > 0)
            ouro__stack_put(&pool, headers[--made]);
        ouro__stack_pool_fini(&pool);
    }
}

static bool is_resident(const char *address)
{
    unsigned char resident = 0;
    char *page = (char *)((uintptr_t)address / PAGE * PAGE);
    ck_assert_int_eq(mincore(page, PAGE, &resident), 0);
    return resident & 1;
}

OURO_TEST_UNIT(trim_gives_back_all_but_the_hot)
{
    char *headers[20];
    open_pool((struct ouro__stack_pool_config){.use_madv_guard = true});
    for (int i = 0; i < 20; i++) {
        headers[i] = get();
        memset(low_of(headers[i]), 1, (size_t)(headers[i] - low_of(headers[i])) + HEADER_BYTES);
    }
    for (int i = 0; i < 20; i++)
        ouro__stack_put(&pool, headers[i]);

    ck_assert_uint_eq(ouro__stack_trim(&pool, 20), 0);
    ck_assert_uint_eq(ouro__stack_trim(&pool, 100), 0);
    ck_assert_uint_eq(ouro__stack_trim(&pool, 5), 15);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(is_resident(headers[i]), i >= 15);
        ck_assert_int_eq(is_resident(low_of(headers[i])), i >= 15);
    }
    /* Nothing is trimmed twice, except what was used in between. */
    ck_assert_uint_eq(ouro__stack_trim(&pool, 5), 0);
    char *used[7];
    for (int i = 0; i < 7; i++) {
        used[i] = get();
        used[i][0] = 1;
    }
    for (int i = 6; i >= 0; i--)
        ouro__stack_put(&pool, used[i]);
    ck_assert_uint_eq(ouro__stack_trim(&pool, 0), 7);
    for (int i = 0; i < 20; i++)
        ck_assert(!is_resident(headers[i]));
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(tells_how_deep_a_stack_was_used)
{
    open_pool((struct ouro__stack_pool_config){.usable_size_bytes = 2 * 1024 * 1024});
    char *header = get();
    ck_assert_uint_eq(ouro__stack_used_bytes(&pool, header), 0);
    memset(header, 1, HEADER_BYTES);
    ck_assert_uint_eq(ouro__stack_used_bytes(&pool, header), 0);
    for (size_t depth = 16; depth < 2 * 1024 * 1024; depth = depth * 5 + 8) {
        header[-(ptrdiff_t)depth] = 1;
        ck_assert_uint_eq(ouro__stack_used_bytes(&pool, header), depth);
    }
    /* It is a mark: what is above it does not matter, and reuse does not lower it, but trimming
     * does. */
    size_t mark = ouro__stack_used_bytes(&pool, header);
    header[-64] = 1;
    ouro__stack_put(&pool, header);
    ck_assert_ptr_eq(get(), header);
    ck_assert_uint_eq(ouro__stack_used_bytes(&pool, header), mark);
    ouro__stack_put(&pool, header);
    ck_assert_uint_eq(ouro__stack_trim(&pool, 0), 1);
    ck_assert_ptr_eq(get(), header);
    ck_assert_uint_eq(ouro__stack_used_bytes(&pool, header), 0);
    /* A page of zeros was touched all the same. */
    *(volatile char *)(low_of(header) + 10 * PAGE) = 0;
    ck_assert_uint_eq(ouro__stack_used_bytes(&pool, header),
                      (size_t)(header - low_of(header)) - 10 * PAGE);
    ouro__stack_put(&pool, header);
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(finds_whose_an_address_is)
{
    enum { COUNT = 200 }; /* several slabs */
    char *headers[COUNT];
    struct ouro__stack_info info;
    char elsewhere = 0;

    open_pool((struct ouro__stack_pool_config){0});
    ck_assert(!ouro__stack_find(&pool, &elsewhere, &info));
    for (int i = 0; i < COUNT; i++)
        headers[i] = get();
    ck_assert(!ouro__stack_find(&pool, &elsewhere, &info));
    ck_assert(!ouro__stack_find(&pool, NULL, &info));
    for (int i = 0; i < COUNT; i++) {
        char *low = low_of(headers[i]);
        const struct {
            const char *address;
            bool in_guard;
        } places[] = {
            {headers[i], false}, {headers[i] - 1, false}, {low, false},
            {low - 1, true},     {low - 16 * 1024, true}, {headers[i] + HEADER_BYTES - 1, false}};
        for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
            ck_assert(ouro__stack_find(&pool, places[p].address, &info));
            ck_assert_ptr_eq(info.header, headers[i]);
            ck_assert_ptr_eq(info.stack_low, low);
            ck_assert_uint_eq(info.usable_bytes, 64 * 1024);
            ck_assert_int_eq(info.in_guard, places[p].in_guard);
            ck_assert_int_ge(low - info.guard_low, 16 * 1024);
        }
    }
    for (int i = 0; i < COUNT; i++)
        ouro__stack_put(&pool, headers[i]);
    ouro__stack_pool_fini(&pool);
    ck_assert(!ouro__stack_find(&pool, headers[0], &info));
}
