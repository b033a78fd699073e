/* SPDX-License-Identifier: MIT */
/*
 * A ring's beginning and end: what it leaves behind, what it does when memory is short.
 */
#include "registry/driver_bench.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "support/child.h"
#include "support/leaks.h"
#include "uring/ring.h"

static struct ouro__uring *ring_of(struct bench *bench)
{
    return ouro__uring_of(bench->handle.driver);
}

OURO_TEST_URING(a_hundred_rings_leave_nothing)
{
    static struct ouro_test_holdings before;
    for (int i = 0; i < 100; i++) {
        struct bench bench;
        struct trial trial;
        char byte = 0;
        int ends[2];
        bench_open(&bench);
        bench_pair(ends);
        struct ouro__registration registration = bench_register(&bench, ends[0]);
        trial_recv(&trial, &bench, &registration, &byte, 1);
        bench_turn(&bench, OURO_TEST_MS / 10); /* arms the wake read, which nothing ends */
        ouro__registration_drop(&registration);
        bench_close(&bench);
        ck_assert_uint_eq(trial.done, 1);
        (void)close(ends[0]);
        (void)close(ends[1]);
        if (i == 0)
            ouro_test_holdings_take(&before);
    }
    ouro_test_holdings_check(&before, false);
}

/* A handle may be opened again after its driver was closed; its wake descriptor stays. */
OURO_TEST_URING(a_handle_can_be_opened_again)
{
    struct bench bench;
    bench_init(&bench);
    for (int i = 0; i < 3; i++) {
        atomic_store(&bench.handle.inbox.newest, NULL);
        ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
        bench_turn(&bench, OURO_TEST_MS);
        ouro__driver_close(&bench.handle);
        ck_assert_int_ge(bench.handle.wake_fd, 0);
        ouro__uring_ops.unpark(&bench.handle); /* one that is late writes to nobody else's */
    }
    ouro__driver_handle_fini(&bench.handle);
}

OURO_TEST_URING(optional_features_can_be_left_out)
{
    static const uint64_t leave_out[] = {
        0,
        OURO__FEATURE_BIT(OURO__FEATURE_RING_FD),
        OURO__FEATURE_BIT(OURO__FEATURE_NO_IOWAIT),
        UINT64_MAX,
    };
    for (size_t i = 0; i < sizeof(leave_out) / sizeof(leave_out[0]); i++) {
        struct bench bench;
        struct trial trial;
        int ends[2];
        char byte = 0;
        bench_init(&bench);
        bench.config.features &= ~leave_out[i];
        ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
        bool registers = (bench.config.features & OURO__FEATURE_BIT(OURO__FEATURE_RING_FD)) != 0;
        ck_assert_int_eq((ring_of(&bench)->enter_flags & IORING_ENTER_REGISTERED_RING) != 0,
                         registers);
        bench_pair(ends);
        struct ouro__registration registration = bench_register(&bench, ends[0]);
        trial_recv(&trial, &bench, &registration, &byte, 1);
        bench_turn(&bench, OURO_TEST_MS);
        ouro_test_write_exactly(ends[1], "x", 1);
        ck_assert_int_eq(trial_wait(&trial), 1);
        bench_release(&bench, &registration);
        bench_close(&bench);
        (void)close(ends[0]);
        (void)close(ends[1]);
    }
}

OURO_TEST_URING(descriptors_run_out)
{
    struct bench bench;
    struct rlimit before;
    bench_init(&bench);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest = dup(0); /* the next free number: one more, and then two more */
    ck_assert_int_ge(lowest, 0);
    (void)close(lowest);
    for (unsigned spare = 0; spare < 2; spare++) {
        struct rlimit few = {(rlim_t)lowest + spare, before.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), -EMFILE);
        ck_assert_int_eq(bench.handle.wake_fd, -1);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    }
    ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
    bench_close(&bench);
}

/* As a user who may lock @limit_kib: the ring's size, or -errno. */
struct poor {
    unsigned limit_kib;
    bool must_fail;
    uint32_t sq_entries_max;
};

static int open_as_the_poor(void *arg)
{
    const struct poor *poor = arg;
    struct rlimit limit = {poor->limit_kib * 1024, poor->limit_kib * 1024};
    /* A user of its own: what others have locked counts too. */
    uid_t user = 61000 + (uid_t)(getpid() % 4000);
    struct bench bench;
    bench_init(&bench);
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || setresuid(user, user, user) != 0)
        ouro_test_skip("cannot become another user: %m");
    int64_t begun_ns = ouro_test_now_ns();
    int rc = ouro__driver_open(&bench.handle, &bench.config);
    int64_t took_ns = ouro_test_now_ns() - begun_ns;
    ck_assert_int_lt(took_ns, OURO_TEST_SECOND);
    if (rc == 0 && ring_of(&bench)->ring.sq.ring_entries == 256)
        ouro_test_skip("this kernel does not charge rings to RLIMIT_MEMLOCK");
    if (poor->must_fail) {
        ck_assert_int_eq(rc, -ENOMEM);
        ck_assert_int_eq(bench.handle.wake_fd, -1);
        ouro__driver_handle_fini(&bench.handle);
        return 0;
    }
    struct trial trial;
    int ends[2];
    char byte = 0;
    ck_assert_int_eq(rc, 0);
    ck_assert_uint_eq(ring_of(&bench)->ring.sq.ring_entries, poor->sq_entries_max);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_recv(&trial, &bench, &registration, &byte, 1);
    bench_turn(&bench, 0);
    ouro_test_write_exactly(ends[1], "x", 1);
    ck_assert_int_eq(trial_wait(&trial), 1);
    bench_release(&bench, &registration);
    bench_close(&bench);
    return 0;
}

OURO_TEST_URING(little_lockable_memory_means_a_smaller_ring, .needs_root = true)
{
    ouro_test_child_must_pass(open_as_the_poor, &(struct poor){40, false, 64});
    ouro_test_child_must_pass(open_as_the_poor, &(struct poor){12, false, 16});
}

OURO_TEST_URING(no_lockable_memory_is_enomem_soon, .needs_root = true)
{
    ouro_test_child_must_pass(open_as_the_poor, &(struct poor){4, true, 0});
}

static int use_in_a_child(void *arg)
{
    struct bench *bench = arg;
    struct ouro__uring *uring = ring_of(bench);
    /* The mappings are not here: to touch them would be a fault.  mincore() says so politely. */
    unsigned char resident = 0;
    void *page = (void *)((uintptr_t)uring->ring.sq.ring_ptr & ~(uintptr_t)4095);
    return mincore(page, 1, &resident) == -1 && errno == ENOMEM ? 0 : 1;
}

OURO_TEST_URING(a_forked_child_does_not_inherit_the_ring)
{
    struct bench bench;
    bench_open(&bench);
    ouro_test_child_must_pass(use_in_a_child, &bench);
    bench_turn(&bench, OURO_TEST_MS);
    bench_close(&bench);
}

/* Frees the buffer of a receive that is in flight, and lets data come. */
static int free_too_early(void *arg)
{
    (void)arg;
    struct bench bench;
    struct trial trial;
    int ends[2];
    char *buffer = malloc(100);
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_recv(&trial, &bench, &registration, buffer, 100);
    bench_turn(&bench, 0);
    free(buffer);
    ouro_test_write_exactly(ends[1], "x", 1);
    (void)trial_wait(&trial);
    return 0;
}

OURO_TEST_URING(a_buffer_freed_in_flight_is_reported)
{
    static struct ouro_test_child child;
    if (!OURO__ASAN)
        ouro_test_skip("needs AddressSanitizer");
    ouro_test_child_run(free_too_early, NULL, &child);
    ck_assert_int_ne(child.exit_status, 0);
    ck_assert_ptr_nonnull(strstr(child.output, "heap-use-after-free"));
    ck_assert_ptr_nonnull(strstr(child.output, "free_too_early"));
}

enum breakage { CLOSED_RING, CLOSED_WAKE };

/* A program that closes descriptors which are not its own. */
static int turn_with_a_closed_descriptor(void *arg)
{
    struct bench bench;
    bench_init(&bench);
    bench.config.features = 0; /* a registered ring would not notice */
    ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
    bool ring = *(const enum breakage *)arg == CLOSED_RING;
    (void)close(ring ? ring_of(&bench)->ring.ring_fd : bench.handle.wake_fd);
    for (int i = 0; i < 3; i++)
        bench_turn(&bench, OURO_TEST_MS);
    return 0;
}

OURO_TEST_URING(a_broken_ring_stops_the_program)
{
    static struct ouro_test_child child;
    for (enum breakage breakage = CLOSED_RING; breakage <= CLOSED_WAKE; breakage++) {
        ouro_test_child_run(turn_with_a_closed_descriptor, &breakage, &child);
        ck_assert_int_eq(child.signal_number, SIGABRT);
        ck_assert_ptr_nonnull(strstr(child.output, "the driver is broken"));
    }
}
