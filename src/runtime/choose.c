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

#include "base/fork.h"
#include "base/text.h"
#include "epoll/epoll.h"
#include "probe/feature.h"
#include "probe/quirk.h"
#include "probe/uses.h"
#include "uring/uring.h"

#include <ouro/error.h>

#include <errno.h>
#include <pthread.h>

/*
 * Looks at what a runtime uses of the kernel.  Only what lasts is kept: a refusal can be lifted and
 * a shortage ends, so after these the next start looks again.
 */
static int look_at_kernel(struct ouro__feature_report *out_report)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct ouro__feature_report found;
    static bool has_looked;
    static uint32_t generation;
    (void)pthread_mutex_lock(&lock);
    /* A forked child looks again: a seccomp filter may have been added since. */
    if (!has_looked || ouro__fork_is_child(generation)) {
        /* Guards of stacks are left out: each pool of stacks tries its first one. */
        uint64_t wanted = ouro__uring_uses() & ~OURO__FEATURE_BIT(OURO__FEATURE_MADV_GUARD);
        uint64_t quirks = ouro__uring_quirk_paths();
        if (ouro__feature_detect(wanted, &found) < 0)
            ouro__feature_read_system(&found);
        else if (quirks != 0)
            (void)ouro__quirk_selftest(&found, quirks);
        generation = ouro__fork_count;
        has_looked = ouro__feature_answer_lasts(&found);
    }
    *out_report = found;
    (void)pthread_mutex_unlock(&lock);
    return out_report->error;
}

/* Of something that this process may have at another time. */
static bool is_shortage(int rc)
{
    return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE || rc == -ENOBUFS || rc == -EAGAIN ||
           rc == -EBUSY || rc == -ETIME;
}

static void choose_epoll(struct ouro__choice *choice)
{
    choice->ops = &ouro__epoll_ops;
    choice->kind = OURO_DRIVER_EPOLL;
    choice->features = 0;
    choice->quirks = 0;
}

bool ouro__choose_again(const struct ouro_runtime_config *config, struct ouro__choice *choice,
                        int failure)
{
    if (config->driver != OURO_DRIVER_AUTO || choice->kind != OURO_DRIVER_URING)
        return false;
    choose_epoll(choice);
    struct ouro__text reason = ouro__text_in(choice->reason, sizeof(choice->reason));
    ouro__text_put(&reason, "a ring was refused with ");
    ouro__text_put(&reason, ouro_err_name(failure));
    return true;
}

int ouro__choose_driver(const struct ouro_runtime_config *config, struct ouro__choice *out_choice)
{
    const uint64_t guard = OURO__FEATURE_BIT(OURO__FEATURE_MADV_GUARD);
    struct ouro__choice choice = {
        .kind = OURO_DRIVER_NONE,
        .use_madv_guard = (config->feature_mask & guard) == 0,
    };
    struct ouro__text reason = ouro__text_in(choice.reason, sizeof(choice.reason));
    if ((config->flags & OURO_RUNTIME_F_NO_IO) != 0) {
        ouro__text_put(&reason, "the runtime was made without I/O");
        *out_choice = choice;
        return 0;
    }
    choose_epoll(&choice);
    if (config->driver == OURO_DRIVER_EPOLL) {
        ouro__text_put(&reason, "epoll was asked for");
        *out_choice = choice;
        return 0;
    }
    struct ouro__feature_report report = {.error = -ENOTSUP};
    bool masked = (config->feature_mask & ouro__feature_required_bits()) != 0;
    int rc = masked ? -ENOTSUP : look_at_kernel(&report);
    if (rc == 0) {
        choice.ops = &ouro__uring_ops;
        choice.kind = OURO_DRIVER_URING;
        choice.features = (report.present | ouro__uring_uses_later()) & ~config->feature_mask;
        /* A quirk that could not be tested counts as present: the second path is right on every
         * kernel. */
        choice.quirks = (report.quirks | report.quirks_untested | config->quirk_mask) &
                        ouro__uring_quirk_paths();
    } else if (config->driver == OURO_DRIVER_URING) {
        return is_shortage(rc) ? rc : -OURO_ENODRIVER;
    } else if (masked) {
        ouro__text_put(&reason, "a feature that io_uring needs is masked");
    } else {
        ouro__feature_explain(&report, choice.reason, sizeof(choice.reason), NULL, 0);
    }
    *out_choice = choice;
    return 0;
}
