/* SPDX-License-Identifier: MIT */
/*
 * Which driver is chosen, and what is said about it, where io_uring is refused.
 *
 * Owns:    nothing.
 * Threads: one; every refusal is installed in a process of its own.
 * Always:  forcing epoll makes no io_uring system call.
 */
#include "support/child.h"
#include "support/forbid.h"
#include "support/ouro_test.h"
#include "support/runtime.h"

#include "base/alloc.h"
#include "base/compiler.h"

#include <errno.h>
#include <ouro.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static int nothing(void *arg)
{
    (void)arg;
    return ouro_sleep(OURO_MILLISECOND);
}

/* AUTO must choose epoll and say @word; URING must be the error @demanded; the probe must agree. */
static int falls_back(const char *word, int demanded)
{
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    config.driver = OURO_DRIVER_URING;
    if (ouro_runtime_new(&config, &runtime) != demanded || runtime != NULL)
        return 1;
    config.driver = OURO_DRIVER_AUTO;
    if (ouro_runtime_new(&config, &runtime) != 0)
        return 2;
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    int rc = ouro_handle_driver(handle) == OURO_DRIVER_EPOLL ? 0 : 3;
    if (rc == 0 && strstr(ouro_handle_driver_reason(handle), word) == NULL)
        rc = 4;
    ouro_handle_unref(handle);
    int result = -1;
    if (rc == 0 && (ouro_runtime_block_on(runtime, nothing, NULL, &result) != 0 || result != 0))
        rc = 5;
    ouro_runtime_free(runtime);
    struct ouro_probe *probe = NULL;
    if (rc == 0 && ouro_probe_new(&probe) != 0)
        return 6;
    if (rc == 0 && (ouro_probe_uring_usable(probe) || ouro_probe_remedy(probe)[0] == '\0' ||
                    strstr(ouro_probe_reason(probe), word) == NULL))
        rc = 7;
    struct ouro_probe_item item;
    for (uint32_t i = 0; rc == 0 && ouro_probe_feature(probe, i, &item) == 0; i++) {
        bool is_of_stacks = strcmp(item.name, "madv-guard") == 0;
        if (item.used ? !is_of_stacks : item.present && item.why_not[0] == '\0')
            rc = 8;
    }
    for (uint32_t i = 0; rc == 0 && ouro_probe_quirk(probe, i, &item) == 0; i++) {
        if (item.present || item.trusted || strcmp(item.how, "not tested here") != 0)
            rc = 9;
    }
    ouro_probe_free(probe);
    return rc;
}

struct refusal {
    unsigned calls;
    int error;
    const char *word;
};

static int refused(void *arg)
{
    const struct refusal *refusal = arg;
    ouro_test_forbid_uring(refusal->calls, refusal->error);
    /* Out of memory is no answer about the driver, so it is the error itself. */
    return falls_back(refusal->word, refusal->error == ENOMEM ? -ENOMEM : -OURO_ENODRIVER);
}

OURO_TEST_UNIT(a_refused_ring_means_epoll_and_a_reason)
{
    struct refusal refusals[] = {
        {OURO_TEST_URING_SETUP, EPERM, "EPERM"},      {OURO_TEST_URING_SETUP, ENOSYS, "ENOSYS"},
        {OURO_TEST_URING_SETUP, ENOMEM, "ENOMEM"},    {OURO_TEST_URING_ENTER, EPERM, "EPERM"},
        {OURO_TEST_URING_REGISTER, EACCES, "EACCES"},
    };
    for (unsigned i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        ouro_test_child_must_pass(refused, &refusals[i]);
}

/* The parent has found io_uring; here it is refused. */
static int refused_in_child(void *arg)
{
    (void)arg;
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    ouro_test_forbid_uring(OURO_TEST_URING_SETUP, EPERM);
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_handle_driver(handle), OURO_DRIVER_EPOLL);
    const char *reason = ouro_handle_driver_reason(handle);
    ck_assert_msg(strstr(reason, "io_uring_setup() was refused") != NULL, "%s", reason);
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
    return 0;
}

OURO_TEST_URING(a_forked_child_looks_at_the_kernel_itself)
{
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    ouro_runtime_free(runtime);
    ouro_test_child_must_pass(refused_in_child, NULL);
}

OURO_TEST_URING(the_probe_says_what_is_used_and_why_the_rest_is_not)
{
    struct ouro_probe *probe = NULL;
    struct ouro_probe_item item;
    uint32_t used = 0;
    uint32_t count = 0;
    ouro__alloc_fail_at(1);
    ck_assert_int_eq(ouro_probe_new(&probe), -ENOMEM);
    ouro__alloc_fail_at(0);
    ck_assert_ptr_null(probe);
    ck_assert_int_eq(ouro_probe_new(&probe), 0);
    ck_assert_str_eq(ouro_probe_remedy(probe), "");
    for (; ouro_probe_feature(probe, count, &item) == 0; count++) {
        ck_assert_str_ne(item.name, "");
        ck_assert_str_ne(item.what, "");
        ck_assert(item.present || !item.trusted);
        ck_assert_msg(!item.used || (item.present && item.trusted && item.why_not[0] == '\0'), "%s",
                      item.name);
        ck_assert_msg(item.used || !item.present || item.why_not[0] != '\0', "%s", item.name);
        used += item.used != 0;
    }
    ck_assert_uint_ge(used, 10);
    ck_assert_uint_gt(count, used);
    for (uint32_t i = 0; ouro_probe_quirk(probe, i, &item) == 0; i++) {
        bool untested = strcmp(item.how, "not tested here") == 0;
        ck_assert_msg(item.trusted == !untested, "%s", item.name);
        ck_assert_msg(item.present ? item.why_not[0] != '\0' : item.why_not[0] == '\0', "%s",
                      item.name);
        ck_assert_msg(!untested || !item.present, "%s", item.name);
    }
    ouro_probe_free(probe);
}

static void set_descriptor_limit(rlim_t descriptors)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = descriptors;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* With @more descriptors to be had: the true error, or the true reason.  With enough of them the
 * next start works. */
static int first_look_in_need(void *arg)
{
    const rlim_t more = *(const rlim_t *)arg;
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(STDERR_FILENO);
    (void)close(next);
    set_descriptor_limit((rlim_t)next + more);
    config.driver = OURO_DRIVER_URING;
    int rc = ouro_runtime_new(&config, &runtime);
    ck_assert_msg(rc == 0 || rc == -EMFILE, "%u: %d", (unsigned)more, rc);
    if (rc == -EMFILE) {
        config.driver = OURO_DRIVER_AUTO;
        rc = ouro_runtime_new(&config, &runtime);
        ck_assert_msg(rc == 0 || rc == -EMFILE, "%u: %d", (unsigned)more, rc);
        if (rc == 0) {
            struct ouro_handle *handle = ouro_runtime_handle(runtime);
            const char *reason = ouro_handle_driver_reason(handle);
            ck_assert_msg(strstr(reason, "EMFILE") != NULL, "%u: %s", (unsigned)more, reason);
            ouro_handle_unref(handle);
        }
    }
    ouro_runtime_free(runtime);
    runtime = NULL;
    set_descriptor_limit(before.rlim_cur);
    config.driver = OURO_DRIVER_URING;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    ouro_runtime_free(runtime);
    return 0;
}

OURO_TEST_URING(a_shortage_at_the_first_look_is_not_remembered)
{
    if (OURO__ASAN)
        ouro_test_skip("a switch that AddressSanitizer watches needs a descriptor of its own");
    for (rlim_t more = 0; more < 10; more++)
        ouro_test_child_must_pass(first_look_in_need, &more);
}

struct start_cost {
    enum ouro_driver_kind driver;
    int64_t cpu_ns;
};

static int64_t cpu_now_ns(void)
{
    struct timespec now;
    ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
    return (int64_t)now.tv_sec * OURO_SECOND + now.tv_nsec;
}

static int start_and_free(void *arg)
{
    struct start_cost *cost = arg; /* shared with the parent */
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    config.driver = cost->driver;
    int64_t begin_ns = cpu_now_ns();
    int rc = ouro_runtime_new(&config, &runtime);
    ouro_runtime_free(runtime);
    cost->cpu_ns = cpu_now_ns() - begin_ns;
    return rc;
}

static int by_size(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static int64_t median_start_ns(enum ouro_driver_kind driver)
{
    enum { STARTS = 15 };
    int64_t cpu_ns[STARTS];
    struct start_cost *cost =
        mmap(NULL, sizeof(*cost), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(cost, MAP_FAILED);
    for (int i = 0; i < STARTS; i++) {
        cost->driver = driver;
        ouro_test_child_must_pass(start_and_free, cost);
        cpu_ns[i] = cost->cpu_ns;
    }
    ck_assert_int_eq(munmap(cost, sizeof(*cost)), 0);
    qsort(cpu_ns, STARTS, sizeof(cpu_ns[0]), by_size);
    return cpu_ns[STARTS / 2];
}

OURO_TEST_URING(starting_on_io_uring_costs_a_millisecond_at_most, .serial = true)
{
    int64_t more_ns = median_start_ns(OURO_DRIVER_URING) - median_start_ns(OURO_DRIVER_EPOLL);
    /* An emulator translates code before it runs, and a start runs each piece once. */
    int64_t emulation = ouro_test_slowness() > 1 ? 3 * (int64_t)ouro_test_slowness() : 1;
    int64_t limit_ns = OURO_MILLISECOND * emulation * (OURO__ASAN || OURO__TSAN ? 5 : 1);
    ck_assert_msg(more_ns <= limit_ns, "%lld ns of CPU more than epoll", (long long)more_ns);
}

static int epoll_under_kill(void *arg)
{
    (void)arg;
    ouro_test_kill_on_uring(OURO_TEST_URING_ALL);
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    int result = -1;
    config.driver = OURO_DRIVER_EPOLL;
    if (ouro_runtime_new(&config, &runtime) != 0)
        return 1;
    if (ouro_runtime_block_on(runtime, nothing, NULL, &result) != 0 || result != 0)
        return 2;
    ouro_runtime_free(runtime);
    return 0;
}

OURO_TEST_UNIT(forced_epoll_makes_no_io_uring_call)
{
    ouro_test_child_must_pass(epoll_under_kill, NULL);
}

OURO_TEST_URING(a_masked_required_feature_means_epoll)
{
    struct ouro_probe *probe = NULL;
    struct ouro_probe_item item;
    ck_assert_int_eq(ouro_probe_new(&probe), 0);
    ck_assert_int_eq(ouro_probe_uring_usable(probe), 1);
    ck_assert_str_eq(ouro_probe_reason(probe), "");
    ck_assert_str_ne(ouro_probe_kernel(probe), "");
    for (uint32_t i = 0; ouro_probe_feature(probe, i, &item) == 0; i++) {
        struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
        struct ouro_runtime *runtime = NULL;
        config.feature_mask = UINT64_C(1) << i;
        ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
        struct ouro_handle *handle = ouro_runtime_handle(runtime);
        ck_assert_int_eq(ouro_handle_driver(handle),
                         item.required ? OURO_DRIVER_EPOLL : OURO_DRIVER_URING);
        ouro_handle_unref(handle);
        ouro_runtime_free(runtime);
        config.driver = OURO_DRIVER_URING;
        runtime = NULL;
        ck_assert_int_eq(ouro_runtime_new(&config, &runtime), item.required ? -OURO_ENODRIVER : 0);
        ouro_runtime_free(runtime);
    }
    ck_assert_int_eq(ouro_probe_quirk(probe, 1000, &item), -ENOENT);
    ouro_probe_free(probe);
    ouro_probe_free(NULL);
}
