/* SPDX-License-Identifier: MIT */
/*
 * The one set of signals that the library's own threads keep blocked (base/signals.h).
 *
 * Owns:    the set, made once.
 * Threads: any.
 * Always:  the set never contains a signal of a fault, nor one of libc's own.
 * Tests:   tests/runtime/test_signals.c, tests/blocking/test_pool.c
 */
#include "base/signals.h"

#include "base/compiler.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static sigset_t quiet;

static void fill_quiet(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    (void)sigfillset(&quiet); /* libc leaves its own signals out */
    for (size_t i = 0; i < OURO__ARRAY_LEN(faults); i++)
        (void)sigdelset(&quiet, faults[i]);
}

const sigset_t *ouro__signals_quiet(void)
{
    (void)pthread_once(&once, fill_quiet);
    return &quiet;
}

int ouro__signals_create_quiet(pthread_t *thread, const pthread_attr_t *attributes,
                               void *(*main)(void *arg), void *arg)
{
    sigset_t before;
    (void)pthread_sigmask(SIG_SETMASK, ouro__signals_quiet(), &before);
    int error = pthread_create(thread, attributes, main, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}
