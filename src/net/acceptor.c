/* SPDX-License-Identifier: MIT */
/*
 * Acceptor: a listening socket of any kind, and how connections are accepted from it.
 *
 * Any number of calls may wait; the driver serves them in the order in which they came
 * (registry/accept.c).  An accepted connection is registered when it is first read or written, so
 * it can be handed to another worker before that at no cost.  The memory of its stream is allocated
 * before the connection is taken: without memory the connection stays where it is.
 *
 * Three kinds of errors are told apart:
 *   of one connection   it was reset while it waited, or a firewall or the network is against it
 *                       (accept(2), "Error handling").  The next one may be all right.
 *   a shortage          of descriptors or memory.  It may end at any time, and nothing tells when.
 *   of the listener     the caller gets it.
 *
 * In a shortage an accept that is tried again at once would spin: the connection is still there.
 * So the acceptor pauses, for longer each time, and tries again.  Peers that wait in the backlog
 * meanwhile cannot tell this from a server that hangs.  When descriptors are short, a few of them
 * get a clear end, one at first and more the longer it lasts: the acceptor gives its reserve
 * descriptor up, accepts and closes connections in its place, and opens the reserve again.
 *
 * The rate limit is a clock (GCRA): each connection moves it on by the interval of the rate, and
 * while it is more than a burst ahead of the time acceptors wait.  With a rate nothing is accepted
 * ahead of the acceptors.
 *
 * Owns:    the listening socket, the reserve.
 * Threads: any.
 * Always:  an accepted descriptor ends in a stream, or is closed; no call spins.
 * Tests:   tests/net/test_tcp_listener.c, tests/net/test_acceptors.c, tests/net/test_shortage.c
 */
#include "net/acceptor.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fork.h"
#include "base/kernel.h"
#include "net/socket.h"
#include "stream/stream.h"
#include "task/handle.h"

#include <ouro/error.h>

#include <errno.h>
#include <sys/socket.h>

#define PAUSE_FIRST_NS OURO__NS_PER_MS
#define NAP_NS OURO__NS_PER_MS

enum {
    PAUSE_DOUBLINGS = 6,  /* so a pause is 64 ms at most, */
    FAILURES_PER_TRY = 16 /* and as many connections are shed in one try */
};

int ouro__acceptor_init(struct ouro__acceptor *acceptor, struct ouro_handle *handle, int fd,
                        uint32_t rate, uint32_t burst)
{
    int reserve = ouro__kernel_placeholder();
    if (reserve < 0)
        return reserve;
    *acceptor = (struct ouro__acceptor){.interval_ns = 0};
    ouro__descriptor_init(&acceptor->descriptor, handle, fd);
    ouro__atomic_init(&acceptor->reserve, reserve);
    if (rate > 0) {
        acceptor->interval_ns = OURO__NS_PER_SEC / rate;
        acceptor->ahead_ns = burst > 1 ? acceptor->interval_ns * (burst - 1) : 0;
    }
    ouro__mutex_init(&acceptor->lock);
    ouro__list_init(&acceptor->sleepers);
    return 0;
}

/* A call that pauses, or waits for its turn in the rate. */
struct sleeper {
    struct ouro__list link;
    struct ouro_waker waker; /* the closer's to use while linked */
    struct ouro__acceptor *acceptor;
};

static bool is_closing(void *arg)
{
    const struct sleeper *sleeper = arg;
    return ouro__load(&sleeper->acceptor->is_closing, memory_order_acquire);
}

static void link_sleeper(struct sleeper *sleeper)
{
    ouro__mutex_lock(&sleeper->acceptor->lock);
    if (!is_closing(sleeper))
        ouro__list_push_back(&sleeper->acceptor->sleepers, &sleeper->link);
    ouro__mutex_unlock(&sleeper->acceptor->lock);
}

static void unlink_sleeper(struct sleeper *sleeper)
{
    ouro__mutex_lock(&sleeper->acceptor->lock);
    ouro__list_remove(&sleeper->link);
    ouro__mutex_unlock(&sleeper->acceptor->lock);
}

/* Waits until @until_ns, or until the acceptor is closed: -ECANCELED. */
static int sleep_until(struct ouro__acceptor *acceptor, struct ouro__context *context,
                       int64_t until_ns)
{
    struct sleeper sleeper = {.acceptor = acceptor};
    int rc = 0;
    ouro__list_init(&sleeper.link);
    if (ouro__context_waker(context, &sleeper.waker) == 0) {
        link_sleeper(&sleeper);
        rc = ouro__wait_until(context, until_ns, is_closing, &sleeper);
        unlink_sleeper(&sleeper);
        ouro_waker_drop(&sleeper.waker);
    } else {
        /* Without memory for a waker the closer cannot wake: look now and then. */
        int64_t now_ns = 0;
        while (rc == 0 && !is_closing(&sleeper) && (now_ns = ouro__clock_now_ns()) < until_ns) {
            int64_t nap_ns = until_ns - now_ns < NAP_NS ? until_ns : now_ns + NAP_NS;
            rc = ouro__wait_until(context, nap_ns, is_closing, &sleeper);
        }
    }
    return rc == 0 && is_closing(&sleeper) ? -ECANCELED : rc;
}

static void wake_sleepers(struct ouro__acceptor *acceptor)
{
    struct ouro_waker waker = {NULL, NULL};
    bool was_last = false;
    do {
        ouro__mutex_lock(&acceptor->lock);
        ouro__store(&acceptor->is_closing, true, memory_order_release);
        was_last = ouro__list_is_empty(&acceptor->sleepers);
        if (!was_last) {
            struct sleeper *sleeper =
                OURO__CONTAINER_OF(acceptor->sleepers.next, struct sleeper, link);
            waker = ouro_waker_clone(&sleeper->waker);
            ouro__list_remove(&sleeper->link);
        }
        ouro__mutex_unlock(&acceptor->lock);
        if (!was_last) {
            ouro_waker_wake(&waker);
            ouro_waker_drop(&waker);
        }
    } while (!was_last);
}

static void count(_Atomic uint64_t *counter)
{
    (void)ouro__fetch_add(counter, 1, memory_order_relaxed);
}

/* Pauses after the @nth shortage in a row of one call. */
static int pause_after(struct ouro__acceptor *acceptor, struct ouro__context *context, unsigned nth)
{
    unsigned doublings = nth < PAUSE_DOUBLINGS ? nth : PAUSE_DOUBLINGS;
    count(&acceptor->pauses);
    return sleep_until(acceptor, context, ouro__clock_now_ns() + (PAUSE_FIRST_NS << doublings));
}

/* Accepts and closes up to @most connections in the place of the reserve. */
static void shed(struct ouro__acceptor *acceptor, unsigned most)
{
    int reserve = ouro__exchange(&acceptor->reserve, -1, memory_order_acq_rel);
    if (reserve >= 0) {
        ouro__kernel_close(reserve);
        for (unsigned i = 0; i < most; i++) {
            int fd = ouro__kernel_accept(acceptor->descriptor.fd);
            if (fd < 0)
                break;
            ouro__kernel_close(fd);
            count(&acceptor->shed);
        }
    }
    /* Another thread may have taken the descriptor, or another call may be opening its own. */
    reserve = ouro__kernel_placeholder();
    int none = -1;
    if (reserve >= 0 &&
        !ouro__compare_exchange(&acceptor->reserve, &none, reserve, memory_order_acq_rel))
        ouro__kernel_close(reserve);
}

/* ENOSPC: of epoll's watches, which are counted for each user (epoll(7), max_user_watches). */
static bool is_shortage(int32_t error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM ||
           error == -ENOSR || error == -ENOSPC;
}

/* Whether the error is about the one connection that was to be accepted. */
static bool is_of_one_connection(const struct ouro__context *context, int32_t error)
{
    switch (-error) {
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case ESOCKTNOSUPPORT:
    case EPERM:
        return true;
    case ETIMEDOUT: /* the caller's own deadline is another matter */
        return ouro__context_interruption(context) == 0;
    default:
        return false;
    }
}

/* Waits for a turn in the rate. */
static int await_rate(struct ouro__acceptor *acceptor, struct ouro__context *context)
{
    if (OURO__LIKELY(acceptor->interval_ns == 0))
        return 0;
    int rc = 0;
    for (;;) {
        int64_t due_ns = ouro__load(&acceptor->next_ns, memory_order_relaxed) - acceptor->ahead_ns;
        if (rc < 0 || ouro__clock_now_ns() >= due_ns)
            return rc;
        rc = sleep_until(acceptor, context, due_ns);
    }
}

/* A connection has been accepted. */
static void count_in_rate(struct ouro__acceptor *acceptor)
{
    if (OURO__LIKELY(acceptor->interval_ns == 0))
        return;
    int64_t now_ns = ouro__clock_now_ns();
    int64_t before_ns = ouro__load(&acceptor->next_ns, memory_order_relaxed);
    int64_t after_ns = 0;
    do {
        after_ns = (before_ns > now_ns ? before_ns : now_ns) + acceptor->interval_ns;
    } while (
        !ouro__compare_exchange(&acceptor->next_ns, &before_ns, after_ns, memory_order_acq_rel));
}

struct peer {
    struct sockaddr_storage name;
    socklen_t length;
};

/*
 * One accept.  Its peer's name, unless @peer is NULL.  The kernel's accept is not asked for the
 * name: a multishot cannot tell it, and accept(2) tells it for connections that were reset since,
 * which nobody needs.  So with or without multishot these are passed over here.  There is no pause
 * for them: each has been taken out of the backlog, and a pause while many come would leave the
 * backlog full, so that the connections of others do not get into it.
 */
static int32_t accept_once(struct ouro__acceptor *acceptor, struct ouro__context *context,
                           struct peer *peer)
{
    struct ouro__op op;
    int32_t fd = ouro__fault(OURO__FAULT_ACCEPT);
    if (OURO__UNLIKELY(fd != 0))
        return fd;
    for (;;) {
        ouro__op_init(&op, OURO__OP_ACCEPT, OURO__LANE_ACCEPT);
        op.arg.accept.addr = NULL;
        op.arg.accept.length = NULL;
        op.arg.accept.is_singly = acceptor->interval_ns != 0;
        fd = ouro__descriptor_accept(&acceptor->descriptor, context, &op);
        if (fd < 0 || peer == NULL)
            return fd;
        peer->length = sizeof(peer->name);
        if (ouro__kernel_peer_name(fd, (struct sockaddr *)&peer->name, &peer->length) == 0)
            return fd;
        ouro__kernel_close(fd);
        count(&acceptor->failed);
    }
}

/* The next connection; *stream is memory for its stream, NULL at first, and is kept by the caller
 * after an error, too. */
static int32_t next(struct ouro__acceptor *acceptor, struct ouro__context *context,
                    struct ouro_stream **stream, struct peer *peer)
{
    unsigned shortages = 0;
    unsigned failures = 0;
    for (;;) {
        int32_t fd = await_rate(acceptor, context);
        if (fd < 0)
            return fd;
        if (*stream == NULL)
            *stream = ouro__alloc(sizeof(**stream));
        fd = *stream == NULL ? -ENOMEM : accept_once(acceptor, context, peer);
        if (OURO__LIKELY(fd >= 0))
            return fd;
        int rc = 0;
        if (is_shortage(fd) && !acceptor->reports_shortage) {
            if (fd == -EMFILE || fd == -ENFILE)
                shed(acceptor, 1u << (shortages < PAUSE_DOUBLINGS ? shortages : PAUSE_DOUBLINGS));
            rc = pause_after(acceptor, context, shortages++);
        } else if (is_of_one_connection(context, fd)) {
            /* A firewall may refuse all of them: that must not become a loop without a pause. */
            count(&acceptor->failed);
            if (++failures % FAILURES_PER_TRY == 0)
                rc = pause_after(acceptor, context, failures / FAILURES_PER_TRY);
        } else {
            rc = fd;
        }
        if (rc < 0)
            return rc;
    }
}

int ouro__acceptor_accept(struct ouro__acceptor *acceptor, const struct ouro__stream_kind *kind,
                          struct ouro_stream **out_stream, struct ouro_socket_addr *out_peer)
{
    struct ouro__context *context = NULL;
    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__descriptor_enter_many(&acceptor->descriptor);
    if (rc < 0)
        return rc;
    struct peer peer;
    struct ouro_stream *stream = NULL;
    int32_t fd = next(acceptor, context, &stream, out_peer == NULL ? NULL : &peer);
    if (fd >= 0)
        count_in_rate(acceptor);
    ouro__descriptor_leave_many(&acceptor->descriptor);
    if (fd < 0) {
        ouro__free(stream);
        return fd;
    }
    ouro__stream_init(stream, kind, context->handle, fd);
    if (out_peer != NULL && ouro_socket_addr_from_sockaddr((const struct sockaddr *)&peer.name,
                                                           peer.length, out_peer) < 0)
        *out_peer = (struct ouro_socket_addr){.length = 0};
    *out_stream = stream;
    return 0;
}

int ouro__acceptor_close(struct ouro__acceptor *acceptor)
{
    /* A forked child has neither the calls nor, perhaps, the lock in a usable state. */
    if (!ouro__fork_is_child(acceptor->descriptor.handle->fork_generation))
        wake_sleepers(acceptor);
    int rc = ouro__descriptor_close(&acceptor->descriptor);
    int reserve = ouro__load(&acceptor->reserve, memory_order_relaxed);
    if (reserve >= 0)
        ouro__kernel_close(reserve);
    if (rc == 0)
        ouro__mutex_fini(&acceptor->lock);
    return rc;
}
