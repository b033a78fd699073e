/* SPDX-License-Identifier: MIT */
/*
 * SignalWatch: signals of the process as a descriptor that can be waited for.
 *
 * signalfd(2) wants the signals blocked in every thread of the process, which a library cannot see
 * to.  So a handler is installed, which notes the signal in each watch that wants it and writes to
 * the watch's eventfd.  The handler runs on any thread that does not block the signal.
 *
 * A watch that closes takes its place out first, then waits until no handler is running: one that
 * has found the watch could otherwise write to a descriptor that was closed and is another's by
 * then.
 *
 * A forked child inherits the handlers.  There the handler restores the disposition from before and
 * raises the signal again, so that it acts as if ouro had not been there.
 *
 * Owns:    the eventfd of each watch; the dispositions of the signals that are watched.
 * Threads: open and close any; the handler on any.
 * Always:  a signal that was ignored is never caught.
 * Tests:   tests/base/test_signal_watch.c
 */
#include "base/signal_watch.h"

#include "base/atomic.h"
#include "base/fork.h"
#include "base/mutex.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SIGNAL_MAX = 64, NOTES = 16 };

struct place {
    _Atomic uint64_t set;         /* whom the handler tells */
    _Atomic uint32_t came;        /* how many signals have come */
    _Atomic int32_t notes[NOTES]; /* the numbers of the last of them; 0: not noted yet */
    _Atomic int32_t fd;
    bool is_used; /* under the lock */
};

static struct place places[OURO__SIGNAL_WATCHES];
static _Atomic uint32_t handlers_running;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static uint32_t watchers[SIGNAL_MAX + 1];
static struct sigaction before[SIGNAL_MAX + 1];
static uint32_t generation; /* of the process that installed the handlers */

static uint64_t bit_of(int number)
{
    return UINT64_C(1) << (number - 1);
}

static void tell(struct place *place, int number)
{
    const uint64_t one = 1;
    uint32_t at = ouro__fetch_add(&place->came, 1, memory_order_seq_cst);
    ouro__store(&place->notes[at % NOTES], number, memory_order_release);
    (void)!write(ouro__load(&place->fd, memory_order_relaxed), &one, sizeof(one));
}

static void on_signal(int number)
{
    int saved = errno;
    if (ouro__fork_is_child(generation)) {
        (void)sigaction(number, &before[number], NULL);
        (void)raise(number);
    } else {
        (void)ouro__fetch_add(&handlers_running, 1, memory_order_seq_cst);
        for (int i = 0; i < OURO__SIGNAL_WATCHES; i++) {
            if ((ouro__load(&places[i].set, memory_order_seq_cst) & bit_of(number)) != 0)
                tell(&places[i], number);
        }
        (void)ouro__fetch_sub(&handlers_running, 1, memory_order_seq_cst);
    }
    errno = saved;
}

/* Catches a signal for @place.  1, 0 when it is ignored, -EINVAL. */
static int catch_locked(struct place *place, int number)
{
    struct sigaction action;
    if (watchers[number] == 0) {
        if (sigaction(number, NULL, &before[number]) != 0)
            return -EINVAL;
        if (before[number].sa_handler == SIG_IGN)
            return 0;
    }
    /* Before the handler is there, so that it finds the place from the first signal on. */
    (void)ouro__fetch_or(&place->set, bit_of(number), memory_order_seq_cst);
    if (watchers[number] == 0) {
        memset(&action, 0, sizeof(action));
        action.sa_handler = on_signal;
        action.sa_flags = SA_RESTART | SA_ONSTACK;
        (void)sigfillset(&action.sa_mask);
        if (sigaction(number, &action, NULL) != 0) {
            (void)ouro__fetch_and(&place->set, ~bit_of(number), memory_order_seq_cst);
            return -EINVAL;
        }
    }
    watchers[number]++;
    return 1;
}

/* Gives up the signals of @place, and the place. */
static void release_locked(struct place *place)
{
    uint64_t set = ouro__exchange(&place->set, 0, memory_order_seq_cst);
    for (int number = 1; number <= SIGNAL_MAX; number++) {
        if ((set & bit_of(number)) != 0 && --watchers[number] == 0)
            (void)sigaction(number, &before[number], NULL);
    }
    while (ouro__load(&handlers_running, memory_order_seq_cst) != 0)
        (void)sched_yield();
    place->is_used = false;
}

/* In a forked child: what is installed is the parent's. */
static void forget_locked(void)
{
    for (int number = 1; number <= SIGNAL_MAX; number++) {
        if (watchers[number] != 0)
            (void)sigaction(number, &before[number], NULL);
        watchers[number] = 0;
    }
    for (int i = 0; i < OURO__SIGNAL_WATCHES; i++) {
        ouro__store(&places[i].set, 0, memory_order_relaxed);
        places[i].is_used = false;
    }
    ouro__store(&handlers_running, 0, memory_order_relaxed);
    generation = ouro__fork_count;
}

static int open_locked(struct ouro__signal_watch *watch, uint64_t set)
{
    int slot = 0;
    if (ouro__fork_is_child(generation))
        forget_locked();
    while (slot < OURO__SIGNAL_WATCHES && places[slot].is_used)
        slot++;
    if (slot == OURO__SIGNAL_WATCHES)
        return -EBUSY;
    struct place *place = &places[slot];
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    place->is_used = true;
    ouro__store(&place->came, 0, memory_order_relaxed);
    for (int i = 0; i < NOTES; i++)
        ouro__store(&place->notes[i], 0, memory_order_relaxed);
    ouro__store(&place->fd, fd, memory_order_relaxed);
    int rc = 0;
    for (int number = 1; number <= SIGNAL_MAX && rc >= 0; number++) {
        if ((set & bit_of(number)) != 0)
            rc = catch_locked(place, number);
    }
    if (rc < 0) {
        release_locked(place);
        (void)close(fd);
        return rc;
    }
    *watch = (struct ouro__signal_watch){.slot = slot, .fd = fd};
    return 0;
}

int ouro__signal_watch_open(struct ouro__signal_watch *watch, uint64_t set)
{
    *watch = (struct ouro__signal_watch){.slot = -1, .fd = -1};
    (void)pthread_mutex_lock(&lock);
    int rc = open_locked(watch, set);
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

int ouro__signal_watch_take(struct ouro__signal_watch *watch)
{
    struct place *place = &places[watch->slot];
    uint64_t count = 0;
    (void)!read(watch->fd, &count, sizeof(count));
    uint32_t came = ouro__load(&place->came, memory_order_seq_cst);
    if (came == watch->taken)
        return 0;
    if (came - watch->taken > NOTES)
        watch->taken = came - NOTES; /* the notes before are overwritten */
    /* Not noted yet: its handler still runs, and writes to the eventfd afterwards. */
    int number = ouro__exchange(&place->notes[watch->taken % NOTES], 0, memory_order_acq_rel);
    if (number != 0)
        watch->taken++;
    return number;
}

void ouro__signal_watch_close(struct ouro__signal_watch *watch)
{
    if (watch->slot < 0)
        return;
    (void)pthread_mutex_lock(&lock);
    if (!ouro__fork_is_child(generation))
        release_locked(&places[watch->slot]);
    (void)pthread_mutex_unlock(&lock);
    (void)close(watch->fd);
    watch->slot = -1;
}
