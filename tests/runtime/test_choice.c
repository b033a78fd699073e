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

#include <errno.h>
#include <ouro.h>
#include <string.h>

static int nothing(void *arg)
{
    (void)arg;
    return ouro_sleep(OURO_MILLISECOND);
}

/* AUTO must choose epoll and say @word; URING must be an error; the probe must agree. */
static int falls_back(const char *word)
{
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    config.driver = OURO_DRIVER_URING;
    if (ouro_runtime_new(&config, &runtime) != -OURO_ENODRIVER || runtime != NULL)
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
    return falls_back(refusal->word);
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
