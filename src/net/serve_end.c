/* SPDX-License-Identifier: MIT */
/*
 * ServeEnd: how a server is told to end: by a call, by a signal, by a listener that has failed.
 *
 * All of them store what they ask for, then wake the runner, which is in ouro_server_run() and does
 * the rest.  The wakers of the runner and of the keepers are under a lock, because the calls may
 * come from any thread at any time, and the runner may be about to leave.  They are woken outside
 * of it.
 *
 * Owns:    the wakers that are stored.
 * Threads: any.
 * Always:  what is asked for only ever becomes more.
 * Tests:   tests/net/test_serve_end.c
 */
#include "net/serve_end.h"

#include "base/fork.h"
#include "task/handle.h"

#include <ouro/error.h>
#include <ouro/poll_evented.h>

#include <errno.h>

static void wake(struct ouro_server *server, const struct ouro_waker *stored)
{
    struct ouro_waker waker = {NULL, NULL};
    ouro__mutex_lock(&server->lock);
    if (stored->vtable != NULL)
        waker = ouro_waker_clone(stored);
    ouro__mutex_unlock(&server->lock);
    if (waker.vtable == NULL)
        return;
    ouro_waker_wake(&waker);
    ouro_waker_drop(&waker);
}

void ouro__server_wake_runner(struct ouro_server *server)
{
    wake(server, &server->runner);
}

void ouro__server_ask(struct ouro_server *server, enum ouro__server_end end)
{
    uint32_t before = ouro__load(&server->end, memory_order_seq_cst);
    while (before < (uint32_t)end &&
           !ouro__compare_exchange(&server->end, &before, (uint32_t)end, memory_order_seq_cst)) {
    }
    ouro__server_wake_runner(server);
}

void ouro__server_set_closed(struct ouro_server *server)
{
    ouro__store(&server->is_closed, 1, memory_order_seq_cst);
    for (uint32_t i = 0; i < server->shards_count; i++)
        wake(server, &server->shards[i].waker);
}

static ssize_t take_signal(int fd, void *arg)
{
    (void)fd;
    int number = ouro__signal_watch_take(arg);
    return number == 0 ? -EAGAIN : number;
}

/* Takes signals until it is cancelled.  Returns that, or why it cannot. */
static int take_signals(struct ouro_server *server)
{
    struct ouro_poll_evented *io = NULL;
    int rc = ouro_poll_evented_new(server->watch.fd, OURO_READABLE, &io);
    if (rc < 0)
        return rc;
    ssize_t number = 0;
    for (;;) {
        number = ouro_poll_evented_io(io, OURO_READABLE, take_signal, &server->watch);
        if (number < 0)
            break;
        int32_t none = 0;
        bool is_first =
            ouro__compare_exchange(&server->signal, &none, (int32_t)number, memory_order_acq_rel);
        ouro__server_ask(server, is_first ? OURO__SERVER_DRAINS : OURO__SERVER_CANCELS);
    }
    ouro_poll_evented_free(io);
    return (int)number;
}

/* A server that would not notice its signals ends, and says why. */
int ouro__server_wait_for_signals(void *arg)
{
    struct ouro_server *server = arg;
    int rc = take_signals(server);
    if (rc == -ECANCELED)
        return 0;
    ouro__server_ask(server, OURO__SERVER_DRAINS);
    return rc;
}

static int tell(struct ouro_server *server, enum ouro__server_end end)
{
    if (server == NULL)
        return -EINVAL;
    if (ouro__fork_is_child(server->handle->fork_generation))
        return -OURO_EFORKED;
    ouro__server_ask(server, end);
    return 0;
}

int ouro_server_stop(struct ouro_server *server)
{
    return tell(server, OURO__SERVER_DRAINS);
}

int ouro_server_cancel(struct ouro_server *server)
{
    return tell(server, OURO__SERVER_CANCELS);
}

int ouro_server_is_draining(const struct ouro_server *server)
{
    return server != NULL && ouro__server_is_draining(server);
}
