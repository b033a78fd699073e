/* SPDX-License-Identifier: MIT */
/*
 * ProxyGate: how many connections there may be, and the end of accepting.
 *
 * The tasks that accept run on several workers and wait for up to three things at a time: a
 * connection in the backlog, room for it, and the gate's closing.  Each has a place for a waker.
 * A poll function leaves its waker there before it looks, and who changes something wakes all
 * places after the change; so no change is missed.
 *
 * While there is no room, the connections wait in the kernel's backlog, and the clients see a
 * connection that is slow to answer instead of a refusal.
 *
 * Owns:    the wakers in the places.
 * Threads: any.  Wakers are woken and dropped without the lock.
 */
#include "proxy_gate.h"

#include <errno.h>
#include <stdlib.h>

int proxy_gate_init(struct proxy_gate *gate, uint64_t max, size_t waiters_count)
{
    *gate = (struct proxy_gate){.lock = PTHREAD_MUTEX_INITIALIZER,
                                .max = max,
                                .waiters_count = waiters_count,
                                .waiters = calloc(waiters_count, sizeof(struct ouro_waker))};
    return gate->waiters != NULL ? 0 : -ENOMEM;
}

void proxy_gate_fini(struct proxy_gate *gate)
{
    free(gate->waiters);
    gate->waiters = NULL;
}

/* Puts @waker, NULL for none, into a place and drops the one before. */
static void set_waiter(struct proxy_gate *gate, size_t number, const struct ouro_waker *waker)
{
    struct ouro_waker new = waker != NULL ? ouro_waker_clone(waker) : (struct ouro_waker){0};
    pthread_mutex_lock(&gate->lock);
    struct ouro_waker old = gate->waiters[number];
    gate->waiters[number] = new;
    pthread_mutex_unlock(&gate->lock);
    ouro_waker_drop(&old);
}

static void wake_all(struct proxy_gate *gate)
{
    for (size_t i = 0; i < gate->waiters_count; i++) {
        pthread_mutex_lock(&gate->lock);
        struct ouro_waker waker = gate->waiters[i];
        gate->waiters[i] = (struct ouro_waker){0};
        pthread_mutex_unlock(&gate->lock);
        ouro_waker_wake(&waker);
        ouro_waker_drop(&waker);
    }
}

/* 0, -EAGAIN without room, -ESHUTDOWN. */
static int try_enter(struct proxy_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    int rc = gate->is_closed ? -ESHUTDOWN : gate->inside < gate->max ? 0 : -EAGAIN;
    if (rc == 0)
        gate->inside++;
    pthread_mutex_unlock(&gate->lock);
    return rc;
}

struct waiting {
    struct proxy_gate *gate;
    size_t number;
    struct ouro_poll_evented *io;
    struct ouro_ready_event *event;
    int result;
};

static enum ouro_poll poll_enter(void *arg, const struct ouro_waker *waker)
{
    struct waiting *waiting = arg;
    set_waiter(waiting->gate, waiting->number, waker);
    waiting->result = try_enter(waiting->gate);
    return waiting->result == -EAGAIN ? OURO_POLL_PENDING : OURO_POLL_READY;
}

static int wait_for(struct waiting *waiting, ouro_poll_function *function)
{
    int rc = ouro_poll_fn(function, waiting);
    set_waiter(waiting->gate, waiting->number, NULL);
    return rc < 0 ? rc : waiting->result;
}

int proxy_gate_enter(struct proxy_gate *gate, size_t number)
{
    int rc = try_enter(gate);
    if (rc != -EAGAIN)
        return rc;
    struct waiting waiting = {.gate = gate, .number = number};
    return wait_for(&waiting, poll_enter);
}

void proxy_gate_squeeze(struct proxy_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->inside++;
    pthread_mutex_unlock(&gate->lock);
}

void proxy_gate_leave(struct proxy_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    bool was_full = gate->inside >= gate->max;
    gate->inside--;
    pthread_mutex_unlock(&gate->lock);
    if (was_full)
        wake_all(gate);
}

static enum ouro_poll poll_readable(void *arg, const struct ouro_waker *waker)
{
    struct waiting *waiting = arg;
    set_waiter(waiting->gate, waiting->number, waker);
    waiting->result = proxy_gate_is_closed(waiting->gate) ? -ESHUTDOWN : 0;
    if (waiting->result < 0)
        return OURO_POLL_READY;
    if (waiting->io == NULL)
        return OURO_POLL_PENDING;
    int rc = ouro_poll_evented_poll_ready(waiting->io, OURO_READABLE, waker, waiting->event);
    if (rc < 0)
        waiting->result = rc;
    return rc == OURO_POLL_PENDING ? OURO_POLL_PENDING : OURO_POLL_READY;
}

int proxy_gate_wait(struct proxy_gate *gate, size_t number, struct ouro_poll_evented *io,
                    struct ouro_ready_event *event)
{
    struct waiting waiting = {.gate = gate, .number = number, .io = io, .event = event};
    if (io != NULL && event->ready != 0)
        ouro_poll_evented_clear(io, event);
    return wait_for(&waiting, poll_readable);
}

void proxy_gate_close(struct proxy_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->is_closed = true;
    pthread_mutex_unlock(&gate->lock);
    wake_all(gate);
}

bool proxy_gate_is_closed(struct proxy_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    bool is_closed = gate->is_closed;
    pthread_mutex_unlock(&gate->lock);
    return is_closed;
}
