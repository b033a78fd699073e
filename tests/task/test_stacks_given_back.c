/* SPDX-License-Identifier: MIT */
/*
 * After a peak of tasks the memory of the process falls again, whoever spawned them and whatever
 * the workers do meanwhile.
 *
 * Owns:    nothing.
 * Threads: the runtime's, and plain ones.
 * Always:  what is measured is /proc/self/statm, so what anybody in the process holds; also pages
 * of the program itself, so a few tasks have run before the first measurement.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <ouro.h>
#include <stdio.h>
#include <unistd.h>

#include "base/compiler.h"
#include "fiber/stack_tools.h"

enum { TASKS_MAX = 4000, FEW = 16, DEPTH_BYTES = 24 * 1024, SLACK_MIN_BYTES = 256 * 1024 };
#define TASKS (TASKS_MAX / (int)(ouro_test_slowness() > 1 ? 4 : 1))
#define GIVEN_BACK_WITHIN_NS (10 * OURO_TEST_SECOND * ouro_test_slowness())

/* Shadow memory and quarantine grow as they please. */
static void skip_under_tools(void)
{
    if (OURO__ASAN || OURO__TSAN || ouro__stack_on_valgrind())
        ouro_test_skip("this tool has memory of its own");
}

static long resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d %ld", &pages), 1);
    (void)fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static int touches_its_stack(void *arg)
{
    volatile char frame[DEPTH_BYTES];
    (void)arg;
    for (size_t i = 0; i < sizeof(frame); i += 1024)
        frame[i] = 1;
    return ouro_yield() < 0 ? -1 : frame[0];
}

/* All at once, so that each has a stack of its own. */
static void run_tasks(int count)
{
    static struct ouro_task *task[TASKS_MAX];
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(ouro_task_spawn(touches_its_stack, NULL, &task[i]), 0);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(ouro_task_join(task[i], NULL), 0);
}

static int run_a_few(void *arg)
{
    (void)arg;
    run_tasks(FEW);
    return ouro_sleep(OURO_MILLISECOND);
}

static int run_a_peak(void *arg)
{
    (void)arg;
    run_tasks(TASKS);
    return 0;
}

struct limit {
    long start;
};

/* Within a tenth of the start.  For a program as small as a static one is, a tenth is less than
 * what libc keeps of the freed heap (M_TRIM_THRESHOLD, 128 KiB) and than this file's own table. */
static bool is_back(void *arg)
{
    const struct limit *limit = arg;
    long slack = limit->start / 10 > SLACK_MIN_BYTES ? limit->start / 10 : SLACK_MIN_BYTES;
    return resident_bytes() <= limit->start + slack;
}

static int awaits_the_fall(void *arg)
{
    int64_t end_ns = ouro_now_ns() + GIVEN_BACK_WITHIN_NS;
    while (!is_back(arg) && ouro_now_ns() < end_ns)
        (void)ouro_sleep(20 * OURO_MILLISECOND);
    return is_back(arg) ? 0 : -1;
}

static int peak_and_fall(void *arg)
{
    (void)run_a_few(arg);
    struct limit limit = {.start = resident_bytes()};
    (void)run_a_peak(NULL);
    ck_assert_int_gt(resident_bytes(), limit.start + (long)TASKS * 4096);
    return awaits_the_fall(&limit);
}

OURO_TEST(a_task_that_sleeps_sees_the_memory_fall)
{
    skip_under_tools();
    ck_assert_int_eq(ouro_test_in_task(peak_and_fall, NULL), 0);
}

/* The worker has no timer and nothing to do: only the trimming ends its wait. */
OURO_TEST(workers_idle_for_ever_give_memory_back)
{
    skip_under_tools();
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, run_a_few, NULL, NULL), 0);
    struct limit limit = {.start = resident_bytes()};
    ck_assert_int_eq(ouro_runtime_block_on(runtime, run_a_peak, NULL, NULL), 0);
    ck_assert(ouro_test_until(is_back, &limit, GIVEN_BACK_WITHIN_NS));
    /* And again: what was given back is taken and given back once more. */
    ck_assert_int_eq(ouro_runtime_block_on(runtime, run_a_peak, NULL, NULL), 0);
    ck_assert(ouro_test_until(is_back, &limit, GIVEN_BACK_WITHIN_NS));
    ouro_runtime_free(runtime);
}

OURO_TEST(stacks_of_plain_threads_tasks_are_given_back)
{
    skip_under_tools();
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_enter(handle), 0);
    (void)run_a_few(NULL);
    struct limit limit = {.start = resident_bytes()};
    (void)run_a_peak(NULL);
    ck_assert(ouro_test_until(is_back, &limit, GIVEN_BACK_WITHIN_NS));
    ouro_leave();
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
}

static int yields_until_the_fall(void *arg)
{
    int64_t end_ns = ouro_now_ns() + GIVEN_BACK_WITHIN_NS;
    int64_t look_ns = 0;
    while (ouro_now_ns() < end_ns) {
        if (ouro_now_ns() > look_ns) {
            if (is_back(arg))
                return 0;
            look_ns = ouro_now_ns() + 50 * OURO_MILLISECOND;
        }
        (void)ouro_yield();
    }
    return -1;
}

static int busy_peak_and_fall(void *arg)
{
    (void)run_a_few(arg);
    struct limit limit = {.start = resident_bytes()};
    (void)run_a_peak(NULL);
    return yields_until_the_fall(&limit);
}

/* A worker that always has something to run. */
OURO_TEST(a_busy_worker_gives_memory_back)
{
    skip_under_tools();
    ck_assert_int_eq(ouro_test_in_task(busy_peak_and_fall, NULL), 0);
}
