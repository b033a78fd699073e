/* SPDX-License-Identifier: MIT */
/*
 * What a pool gives back, and when: the pool is told the time, so no case waits.
 *
 * Whether a stack holds memory is asked of mincore(), which says ENOMEM where nothing is mapped.
 *
 * Owns:    its pools.
 * Threads: one.
 */
#include "support/ouro_test.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "fiber/stack.h"
#include "fiber/stack_tools.h"
#include "fiber/stack_trim.h"

#define PAGE ((size_t)sysconf(_SC_PAGESIZE))
#define HEADER_BYTES 200
#define WINDOW OURO__STACK_TRIM_WINDOW_NS

static struct ouro__stack_pool pool;
static int64_t now_ns;

static void open_pool(bool madv)
{
    struct ouro__stack_pool_config config = {.header_size_bytes = HEADER_BYTES,
                                             .use_madv_guard = madv};
    ck_assert_int_eq(ouro__stack_pool_init(&pool, &config), 0);
    now_ns = 1000 * OURO__NS_PER_SEC;
}

/* A stack with memory in its top page and in its lowest. */
static char *get(void)
{
    char *header = ouro__stack_get(&pool);
    ck_assert_ptr_nonnull(header);
    memset(header, 1, HEADER_BYTES);
    *(volatile char *)ouro__stack_low(&pool, header) = 1;
    return header;
}

/* Uses @count stacks at a time, once. */
static void peak(int count)
{
    char **header = ouro__calloc((size_t)count, sizeof(header[0]));
    ck_assert_ptr_nonnull(header);
    for (int i = 0; i < count; i++)
        header[i] = get();
    for (int i = count; i-- > 0;)
        ouro__stack_put(&pool, header[i]);
    ouro__free(header);
}

enum residence { UNMAPPED, EMPTY, RESIDENT };

static enum residence residence_of(const char *address)
{
    unsigned char resident = 0;
    char *page = (char *)((uintptr_t)address / PAGE * PAGE);
    if (mincore(page, PAGE, &resident) != 0) {
        ck_assert_int_eq(errno, ENOMEM);
        return UNMAPPED;
    }
    return (resident & 1) != 0 ? RESIDENT : EMPTY;
}

/* Lets the time run on by @ns, with a step whenever one is due, as a worker does it.  Returns how
 * many there were. */
static int pass(int64_t ns)
{
    int steps = 0;
    int64_t end_ns = now_ns + ns;
    while (ouro__stack_trim_is_wanted(&pool)) {
        int64_t next_ns = ouro__stack_trim_step(&pool, now_ns);
        steps++;
        if (next_ns > end_ns)
            break;
        ck_assert_int_gt(next_ns, now_ns);
        now_ns = next_ns;
    }
    now_ns = end_ns;
    return steps;
}

static size_t idle_or_clean(void)
{
    return pool.idle_count + pool.clean_count;
}

OURO_TEST_UNIT(nothing_is_wanted_of_a_pool_that_was_never_used_much)
{
    open_pool(true);
    ck_assert(!ouro__stack_trim_is_wanted(&pool));
    ck_assert_int_eq(ouro__stack_trim_step(&pool, now_ns), OURO__NEVER);
    peak((int)OURO__STACK_IDLE_FEW);
    ck_assert(!ouro__stack_trim_is_wanted(&pool));
    ck_assert_int_eq(ouro__stack_trim_step(&pool, now_ns), OURO__NEVER);
    ouro__stack_pool_fini(&pool);
}

static void memory_goes_back(bool madv)
{
    enum { COUNT = 1000 };
    static char *header[COUNT];
    open_pool(madv);
    for (int i = 0; i < COUNT; i++)
        header[i] = get();
    for (int i = 0; i < COUNT; i++)
        ouro__stack_put(&pool, header[i]);

    /* A window begins; before its end nothing goes. */
    int64_t due_ns = ouro__stack_trim_step(&pool, now_ns);
    ck_assert_int_eq(due_ns, now_ns + WINDOW);
    ck_assert_int_eq(ouro__stack_trim_step(&pool, now_ns + WINDOW - 1), due_ns);
    ck_assert_uint_eq(pool.clean_count, 0);
    /* Then, one step after the other, and no step more than its share. */
    now_ns = due_ns;
    size_t before = COUNT;
    while (pool.idle_count > 0) {
        due_ns = ouro__stack_trim_step(&pool, now_ns);
        ck_assert_int_eq(due_ns, now_ns + OURO__STACK_TRIM_PAUSE_NS);
        ck_assert_uint_lt(pool.idle_count, before);
        ck_assert_uint_le(before - pool.idle_count, OURO__STACK_TRIM_PER_STEP);
        before = pool.idle_count;
        now_ns = due_ns;
    }
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(residence_of(header[i]), EMPTY);
        ck_assert_int_eq(residence_of(ouro__stack_low(&pool, header[i])), EMPTY);
    }
    /* Then the addresses. */
    (void)pass(WINDOW);
    ck_assert(!ouro__stack_trim_is_wanted(&pool));
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(residence_of(header[i]), UNMAPPED);
    ck_assert_uint_eq(ouro__stack_made_count(&pool), 0);
    ck_assert_ptr_null(pool.retired);

    /* And the pool goes on. */
    peak(2 * COUNT);
    ck_assert_uint_eq(ouro__stack_made_count(&pool), 2 * COUNT);
    (void)pass(4 * WINDOW);
    ck_assert_uint_eq(ouro__stack_made_count(&pool), 0);
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(after_a_peak_memory_and_addresses_go_back_in_steps)
{
    memory_goes_back(true);
}

OURO_TEST_UNIT(the_same_with_guards_by_mprotect)
{
    memory_goes_back(false);
}

OURO_TEST_UNIT(a_load_that_comes_back_within_a_window_keeps_its_memory)
{
    open_pool(true);
    for (int i = 0; i < 50; i++) {
        peak(300);
        (void)pass(WINDOW / 3);
        ck_assert_uint_eq(pool.clean_count, 0);
        ck_assert_uint_eq(pool.idle_count, 300);
    }
    /* A smaller load keeps the stacks it uses; the others go. */
    for (int i = 0; i < 10; i++) {
        peak(100);
        (void)pass(WINDOW / 3);
    }
    ck_assert_uint_eq(pool.idle_count, 100);
    for (int i = 0; i < 10; i++) {
        peak(100);
        (void)pass(WINDOW / 3);
        ck_assert_uint_eq(pool.idle_count, 100);
    }
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(a_slab_stays_as_long_as_one_of_its_stacks_is_used)
{
    open_pool(true);
    char *kept = get();
    peak(1000);
    (void)pass(4 * WINDOW);
    ck_assert_int_eq(residence_of(kept), RESIDENT);
    ck_assert_uint_eq(ouro__stack_made_count(&pool), OURO__STACK_SLAB_COUNT_FIRST);
    ck_assert_uint_eq(idle_or_clean(), OURO__STACK_SLAB_COUNT_FIRST - 1);
    ouro__stack_put(&pool, kept);
    ck_assert_ptr_eq(get(), kept);
    ouro__stack_put(&pool, kept);
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(stacks_taken_between_two_steps_are_not_emptied)
{
    enum { COUNT = 400 };
    static char *header[COUNT];
    open_pool(true);
    peak(COUNT);
    now_ns = ouro__stack_trim_step(&pool, now_ns);
    now_ns = ouro__stack_trim_step(&pool, now_ns); /* the first share of the cold */
    ck_assert_uint_eq(pool.idle_count, COUNT - OURO__STACK_TRIM_PER_STEP);
    for (int i = 0; i < COUNT; i++)
        header[i] = get();
    ck_assert_uint_eq(ouro__stack_made_count(&pool), COUNT); /* the clean before new ones */
    (void)pass(3 * WINDOW);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(residence_of(header[i]), RESIDENT);
        ck_assert_int_eq(header[i][HEADER_BYTES - 1], 1);
        ouro__stack_put(&pool, header[i]);
    }
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(a_clean_stack_is_zero_and_guarded)
{
    open_pool(true);
    peak(200);
    ck_assert_uint_eq(ouro__stack_trim(&pool, 0), 200);
    ck_assert_uint_eq(pool.clean_count, 200);
    for (int i = 0; i < 200; i++) {
        char *header = ouro__stack_get(&pool);
        ck_assert_ptr_nonnull(header);
        ouro__stack_valgrind_look_away();
        ck_assert_int_eq(header[0], 0);
        ouro__stack_valgrind_look_again();
        char *low = ouro__stack_low(&pool, header);
        /* The kernel is asked to write there. */
        ck_assert_int_ne(mincore(low, PAGE, (unsigned char *)low - 1), 0);
        ck_assert_int_eq(errno, EFAULT);
    }
    ck_assert_uint_eq(ouro__stack_made_count(&pool), 200);
    ouro__stack_pool_abandon(&pool);
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(no_slab_is_unmapped_under_a_handler_that_looks)
{
    open_pool(true);
    peak(500);
    char *last = pool.idle[0]; /* made last, so of the newest slab, which goes first */
    ck_assert_uint_eq(ouro__stack_trim(&pool, 0), 500);
    pool.trim.is_settling = true; /* as after the steps that would have done it */
    pool.trim.at_ns = now_ns;
    ouro__stack_slab_watch_begin();
    (void)pass(5 * WINDOW);
    ck_assert_ptr_nonnull(pool.retired);
    ck_assert_int_eq(residence_of(last), EMPTY);
    /* Off the list: it is not found any more, and what is got from now on lies elsewhere. */
    struct ouro__stack_info info;
    ck_assert(!ouro__stack_find(&pool, last, &info));
    ouro__stack_slab_watch_end();
    (void)pass(5 * WINDOW);
    ck_assert_ptr_null(pool.retired);
    ck_assert_int_eq(residence_of(last), UNMAPPED);
    ck_assert_uint_eq(ouro__stack_made_count(&pool), 0);
    ck_assert(!ouro__stack_trim_is_wanted(&pool));
    ouro__stack_pool_fini(&pool);
}

OURO_TEST_UNIT(a_pool_may_end_between_two_steps)
{
    open_pool(true);
    peak(500);
    ck_assert_uint_eq(ouro__stack_trim(&pool, 0), 500);
    pool.trim.is_settling = true;
    pool.trim.at_ns = now_ns;
    while (pool.retired == NULL)
        now_ns = ouro__stack_trim_step(&pool, now_ns);
    ouro__stack_pool_fini(&pool); /* the harness counts what is still mapped */
}

/* Guards made by mprotect() are of a number that the process shares: a slab gives its own back. */
OURO_TEST_UNIT(guards_that_are_mappings_are_given_back)
{
    if (OURO__ASAN || OURO__TSAN || ouro__stack_on_valgrind())
        ouro_test_skip("too many stacks under this tool");
    open_pool(false);
    for (int round = 0; round < 6; round++) { /* together more than a process may have at a time */
        peak(12000);
        (void)pass(3 * WINDOW);
        ck_assert_uint_lt(ouro__stack_made_count(&pool), 6000);
    }
    ouro__stack_pool_fini(&pool);
}

/* Gets, puts and steps at random; each stack in use carries its own mark. */
OURO_TEST_UNIT(whatever_the_order_no_stack_is_lost_or_given_twice)
{
    enum { COUNT = 600, ACTS = 60000 };
    static char *used[COUNT];
    int count = 0;
    uint64_t random = 0x9e3779b97f4a7c15u;
    int acts = OURO__ASAN || OURO__TSAN || ouro__stack_on_valgrind() ? ACTS / 20 : ACTS;
    open_pool(true);
    for (int act = 0; act < acts; act++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        unsigned choice = (unsigned)(random >> 40);
        bool grows = (act / 4000) % 2 == 0; /* tides, so that slabs come and go */
        if (choice % 16 == 0) {
            now_ns += (int64_t)(choice % 997) * OURO__NS_PER_MS;
            (void)ouro__stack_trim_step(&pool, now_ns);
        } else if (choice % 8 < (grows ? 5u : 2u) && count < COUNT) {
            used[count] = get();
            memcpy(used[count], (const void *)&used[count], sizeof(char *));
            count++;
        } else if (count > 0) {
            int which = (int)(choice / 16) % count;
            char *header = used[which];
            ck_assert_mem_eq(header, &header, sizeof(header));
            ouro__stack_put(&pool, header);
            used[which] = used[--count];
        }
        ck_assert_uint_eq(ouro__stack_used_count(&pool), (unsigned)count);
        ck_assert_uint_eq(idle_or_clean() + (unsigned)count, ouro__stack_made_count(&pool));
    }
    while (count > 0)
        ouro__stack_put(&pool, used[--count]);
    ouro__stack_pool_fini(&pool);
}
