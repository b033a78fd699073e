/* SPDX-License-Identifier: MIT */
/*
 * Signals as a descriptor: who is told, in which order, and what is restored.
 */
#include "support/ouro_test.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/coverage.h"
#include "base/fork.h"
#include "base/signal_watch.h"

#define BIT(number) (UINT64_C(1) << ((number)-1))

static _Atomic int own_calls;

static void own_handler(int number)
{
    (void)number;
    own_calls++;
}

OURO_TEST_UNIT(every_watch_is_told_what_it_asked_for)
{
    struct ouro__signal_watch one, both;
    ck_assert_ptr_ne(signal(SIGUSR1, own_handler), SIG_ERR);
    ck_assert_ptr_ne(signal(SIGUSR2, own_handler), SIG_ERR);
    own_calls = 0;
    ck_assert_int_eq(ouro__signal_watch_open(&one, BIT(SIGUSR1)), 0);
    ck_assert_int_eq(ouro__signal_watch_open(&both, BIT(SIGUSR1) | BIT(SIGUSR2)), 0);
    ck_assert_int_eq(ouro__signal_watch_take(&one), 0);
    ck_assert_int_eq(raise(SIGUSR2), 0);
    ck_assert_int_eq(raise(SIGUSR1), 0);
    ck_assert_int_eq(raise(SIGUSR1), 0);
    ck_assert_int_eq(ouro_test_poll(one.fd, POLLIN, OURO_TEST_SECOND), POLLIN);
    ck_assert_int_eq(ouro__signal_watch_take(&one), SIGUSR1);
    ck_assert_int_eq(ouro__signal_watch_take(&one), SIGUSR1);
    ck_assert_int_eq(ouro__signal_watch_take(&one), 0);
    ck_assert_int_eq(ouro__signal_watch_take(&both), SIGUSR2);
    ck_assert_int_eq(ouro__signal_watch_take(&both), SIGUSR1);
    ck_assert_int_eq(ouro__signal_watch_take(&both), SIGUSR1);
    ck_assert_int_eq(ouro__signal_watch_take(&both), 0);
    ouro__signal_watch_close(&both);
    ck_assert_int_eq(raise(SIGUSR2), 0);
    ck_assert_int_eq(own_calls, 1);
    ck_assert_int_eq(raise(SIGUSR1), 0);
    ck_assert_int_eq(own_calls, 1);
    ck_assert_int_eq(ouro__signal_watch_take(&one), SIGUSR1);
    ouro__signal_watch_close(&one);
    ck_assert_int_eq(raise(SIGUSR1), 0);
    ck_assert_int_eq(own_calls, 2);
    ouro__signal_watch_close(&one); /* does nothing */
}

OURO_TEST_UNIT(a_flood_of_signals_is_taken)
{
    struct ouro__signal_watch watch;
    ck_assert_int_eq(ouro__signal_watch_open(&watch, BIT(SIGUSR1)), 0);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(raise(SIGUSR1), 0);
    int taken = 0;
    while (ouro__signal_watch_take(&watch) == SIGUSR1)
        taken++;
    ck_assert_int_ge(taken, 2);
    ck_assert_int_eq(raise(SIGUSR1), 0);
    ck_assert_int_eq(ouro__signal_watch_take(&watch), SIGUSR1);
    ouro__signal_watch_close(&watch);
}

OURO_TEST_UNIT(what_cannot_be_caught_is_refused_and_undone)
{
    struct ouro__signal_watch watch;
    struct sigaction before, after;
    ck_assert_int_eq(sigaction(SIGINT, NULL, &before), 0);
    ck_assert_int_eq(ouro__signal_watch_open(&watch, BIT(SIGINT) | BIT(SIGKILL)), -EINVAL);
    ck_assert_int_eq(sigaction(SIGINT, NULL, &after), 0);
    ck_assert_ptr_eq(before.sa_handler, after.sa_handler);
    ouro__signal_watch_close(&watch); /* does nothing */
}

OURO_TEST_UNIT(there_is_a_limit)
{
    struct ouro__signal_watch watches[OURO__SIGNAL_WATCHES], more;
    for (int i = 0; i < OURO__SIGNAL_WATCHES; i++)
        ck_assert_int_eq(ouro__signal_watch_open(&watches[i], BIT(SIGUSR1)), 0);
    ck_assert_int_eq(ouro__signal_watch_open(&more, BIT(SIGUSR1)), -EBUSY);
    ck_assert_int_eq(raise(SIGUSR1), 0);
    for (int i = 0; i < OURO__SIGNAL_WATCHES; i++) {
        ck_assert_int_eq(ouro__signal_watch_take(&watches[i]), SIGUSR1);
        ouro__signal_watch_close(&watches[i]);
    }
}

/* The child dies of the signal as if nobody watched, and the parent's watch does not hear it. */
OURO_TEST_UNIT(a_forked_child_has_the_disposition_from_before)
{
    struct ouro__signal_watch watch;
    int status = 0;
    ck_assert_int_eq(ouro__fork_watch(), 0);
    ck_assert_ptr_ne(signal(SIGUSR1, SIG_DFL), SIG_ERR);
    ck_assert_int_eq(ouro__signal_watch_open(&watch, BIT(SIGUSR1)), 0);
    for (int opens = 0; opens < 2; opens++) {
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            struct ouro__signal_watch own;
            if (opens == 1 && (ouro__signal_watch_open(&own, BIT(SIGUSR1)) != 0 ||
                               raise(SIGUSR1) != 0 || ouro__signal_watch_take(&own) != SIGUSR1))
                _exit(3);
            if (opens == 1)
                ouro__signal_watch_close(&own);
            ouro__coverage_write();
            (void)raise(SIGUSR1);
            _exit(2);
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1, "status %#x", status);
    }
    ck_assert_int_eq(ouro__signal_watch_take(&watch), 0);
    ouro__signal_watch_close(&watch);
}
