/* SPDX-License-Identifier: MIT */
/*
 * Which driver a runtime runs on, and why.
 *
 * Owns:    what was found out about the kernel, once per process.
 * Threads: any.
 * Always:  with EPOLL, or without I/O, no io_uring system call is made.
 * Tests:   tests/runtime/test_choice.c
 */
#include "runtime/choose.h"

#include "epoll/epoll.h"
#include "probe/feature.h"
#include "probe/quirk.h"
#include "task/fork.h"
#include "uring/uring.h"

#include <ouro/error.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

/* The kernel as it was found; a forked child looks again, it may live behind another filter. */
static int look_at_kernel(struct ouro__feature_report *out_report)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct ouro__feature_report found;
    static int result;
    static bool has_looked;
    static uint32_t generation;
    (void)pthread_mutex_lock(&lock);
    if (!has_looked || ouro__fork_is_child(generation)) {
        result = ouro__feature_detect(&found);
        if (result == 0)
            (void)ouro__quirk_selftest(&found, OURO__QUIRK_ALL & ~OURO__QUIRK_FOREIGN_LOOP);
        generation = ouro__fork_count;
        /* Memory for a ring may be there next time: teardown of earlier rings takes its time. */
        has_looked = result != -ENOMEM && result != -EMFILE && result != -ENFILE;
    }
    *out_report = found;
    int rc = result;
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

static void say(char *reason, size_t size, const char *text)
{
    size_t length = strnlen(text, size - 1);
    memcpy(reason, text, length);
    reason[length] = '\0';
}

static void choose_epoll(struct ouro__choice *choice, uint64_t feature_mask)
{
    choice->ops = &ouro__epoll_ops;
    choice->kind = OURO_DRIVER_EPOLL;
    choice->features = 0;
    choice->use_madv_guard = (feature_mask & OURO__FEATURE_BIT(OURO__FEATURE_MADV_GUARD)) == 0;
}

int ouro__choose_driver(const struct ouro_runtime_config *config, struct ouro__choice *out_choice)
{
    struct ouro__choice choice = {.kind = OURO_DRIVER_AUTO};
    uint64_t guard = OURO__FEATURE_BIT(OURO__FEATURE_MADV_GUARD);
    if ((config->flags & OURO_RUNTIME_F_NO_IO) != 0) {
        choice.use_madv_guard = (config->feature_mask & guard) == 0;
        say(choice.reason, sizeof(choice.reason), "the runtime was made without I/O");
        *out_choice = choice;
        return 0;
    }
    choose_epoll(&choice, config->feature_mask);
    if (config->driver == OURO_DRIVER_EPOLL) {
        say(choice.reason, sizeof(choice.reason), "epoll was asked for");
        *out_choice = choice;
        return 0;
    }
    struct ouro__feature_report report;
    int rc = look_at_kernel(&report);
    uint64_t required = ouro__feature_required_bits();
    uint64_t features = report.present & ~config->feature_mask;
    if (rc == 0 && (features & required) == required) {
        choice.ops = &ouro__uring_ops;
        choice.kind = OURO_DRIVER_URING;
        choice.features = features;
        choice.quirks = report.quirks | config->quirk_mask;
        choice.use_madv_guard = (features & guard) != 0;
    } else if (config->driver == OURO_DRIVER_URING) {
        return -OURO_ENODRIVER;
    } else if (rc < 0) {
        ouro__feature_explain(&report, choice.reason, sizeof(choice.reason), NULL, 0);
    } else {
        say(choice.reason, sizeof(choice.reason), "a feature that io_uring needs is masked");
    }
    *out_choice = choice;
    return 0;
}
