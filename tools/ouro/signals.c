/* SPDX-License-Identifier: MIT */
/*
 * Signals: SIGINT and SIGTERM through a signalfd that is registered with the runtime.
 *
 * A signal handler may call very little, and does not end every wait.  A blocked signal that is
 * read from a descriptor is an event like any other: the task that waits for it may cancel, close
 * and print.
 *
 * A signal that was ignored when the program began (nohup, a script's background job) stays
 * ignored: it is not blocked and not read, since the kernel queues blocked signals even when they
 * are ignored.
 *
 * Owns:    nothing; the descriptor is the caller's.
 * Threads: signals_open() on the main thread before there are others.
 */
#include "signals.h"

#include <errno.h>
#include <ouro.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* SIGINT and SIGTERM, without those that are ignored. */
static void ending_signals(sigset_t *out_set)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    sigemptyset(out_set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct sigaction action;
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(out_set, numbers[i]);
    }
}

int signals_open(void)
{
    return signals_open_with(0);
}

int signals_open_with(int number)
{
    sigset_t set;
    ending_signals(&set);
    if (number != 0)
        sigaddset(&set, number);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void *take_signals(void *arg)
{
    sigset_t set;
    (void)arg;
    ending_signals(&set);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    for (;;)
        (void)pause();
    return NULL;
}

void signals_unblock(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, take_signals, NULL) == 0) {
        (void)pthread_detach(thread); /* it ends with the process */
        return;
    }
    /* No thread: this one takes them, while it does not wait. */
    sigset_t set;
    ending_signals(&set);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static ssize_t read_signal(int fd, void *arg)
{
    struct signalfd_siginfo info;
    ssize_t got = read(fd, &info, sizeof(info));
    if (got < 0)
        return -errno;
    *(int *)arg = (int)info.ssi_signo;
    return got;
}

int signals_wait(int fd)
{
    struct ouro_poll_evented *io = NULL;
    int rc = ouro_poll_evented_new(fd, OURO_READABLE, &io);
    if (rc < 0)
        return rc;
    int number = signals_next(io);
    ouro_poll_evented_free(io);
    return number;
}

int signals_next(struct ouro_poll_evented *io)
{
    int number = 0;
    ssize_t got = ouro_poll_evented_io(io, OURO_READABLE, read_signal, &number);
    return got < 0 ? (int)got : number;
}
