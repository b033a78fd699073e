/* SPDX-License-Identifier: MIT */
/*
 * Accepting: how acceptors and connections of one listening descriptor come together.
 *
 * The backend has one request of a descriptor at a time, in the ACCEPT lane.  Acceptors that find
 * the lane taken wait in the descriptor's AcceptQueue, and the first of them gets the lane when it
 * is free.  So any number of acceptors may wait, and they are served in the order in which they
 * came.
 *
 * A backend with a row for ACCEPT_MANY can have a multishot request instead, which brings one
 * connection after the other until it is cancelled.  It is an operation of the AcceptQueue itself;
 * all acceptors then wait in the queue, and connections that come when none waits are kept for
 * those that will.  An accept costs no request then, and often no wait.  The price is that
 * connections are accepted before anybody has asked for them, so it is done only where acceptors
 * come back at once:
 *
 *     begun     by an acceptor, after OURO__ACCEPT_STREAK times in a row one came back before the
 *               driver had a turn, or found others waiting
 *     stopped   when a connection comes while more than OURO__ACCEPT_SURPLUS wait that were there
 *               in an earlier turn: the acceptors do not keep up, and what they cannot serve shall
 *               wait in the backlog, where it costs no descriptor
 *     ended     by the kernel at any time: an error, or a full completion queue.  It is begun again
 *               for the next acceptor.  An error goes to one acceptor, as if its own request had
 *               failed.
 *
 * A connection that nobody can take any more (the descriptor is being closed, the driver was shut
 * down) is closed as it comes, and so are those that were kept.
 *
 * Requests are made at the end of a turn, not while the backend collects: it must not be called
 * from there.
 *
 * Owns:    the connections in the queues.
 * Threads: the driver's.
 * Always:  every connection that the kernel hands over goes to one acceptor, or is closed.
 * Tests:   tests/registry/test_accept.c, tests/uring/test_accept_many.c, tests/net/test_acceptors.c
 */
#include "registry/accept_queue.h"
#include "registry/driver.h"

#include "base/kernel.h"

static uint64_t turns_of(const struct ouro__driver *driver)
{
    return ouro__counter_read(&driver->handle->counters.turns);
}

static bool is_over(const struct ouro__driver *driver, const struct ouro__scheduled_io *sio)
{
    return sio->closing || ouro__driver_is_shut_down(driver->handle);
}

static bool wants_many(const struct ouro__driver *driver, const struct ouro__accept_queue *queue)
{
    return driver->accepts_many && !queue->is_singly && queue->streak >= OURO__ACCEPT_STREAK;
}

static void make_due(struct ouro__driver *driver, struct ouro__accept_queue *queue)
{
    if (queue->is_due)
        return;
    queue->is_due = true;
    ouro__queue_push(&driver->accepting, &queue->due_node);
}

/* An acceptor has its connection, and another waits already: they keep up. */
static void count_demand(struct ouro__accept_queue *queue)
{
    if (!ouro__queue_is_empty(&queue->waiting) && queue->streak < OURO__ACCEPT_STREAK)
        queue->streak++;
}

/* The multishot has ended.  -EINVAL may say that this kernel has none; an acceptor's own request
 * finds out whether it was about the descriptor. */
static void many_done(struct ouro__op *op)
{
    struct ouro__accept_queue *queue = OURO__CONTAINER_OF(op, struct ouro__accept_queue, many);
    queue->is_surplus = false;
    if (op->result == -EINVAL)
        queue->is_singly = true;
    else if (op->result < 0 && op->result != -ECANCELED)
        queue->error = op->result;
    make_due(op->handle->driver, queue);
}

static void begin_many(struct ouro__driver *driver, struct ouro__accept_queue *queue)
{
    queue->error = 0;
    queue->many = (struct ouro__op){.sio = queue->sio,
                                    .code = OURO__OP_ACCEPT_MANY,
                                    .lane = OURO__LANE_ACCEPT,
                                    .done = many_done};
    ouro__driver_submit(driver, &queue->many);
}

void ouro__driver_submit_accept(struct ouro__driver *driver, struct ouro__op *op)
{
    struct ouro__scheduled_io *sio = op->sio;
    struct ouro__accept_queue *queue = ouro__accept_queue_of(sio);
    bool is_free = sio->lane[OURO__LANE_ACCEPT] == NULL;
    if (queue == NULL || op == &queue->many) {
        if (is_free)
            ouro__driver_place(driver, op);
        else
            ouro__driver_refuse(driver, op, -EBUSY);
        return;
    }
    int fd = ouro__accept_queue_take(queue);
    if (fd >= 0) {
        ouro__driver_refuse(driver, op, fd);
        return;
    }
    if (is_free && !wants_many(driver, queue)) {
        ouro__driver_place(driver, op);
        return;
    }
    ouro__driver_queue(driver, op, &queue->waiting);
    if (is_free)
        begin_many(driver, queue);
}

void ouro__driver_cancel_accept(struct ouro__driver *driver, struct ouro__op *op)
{
    ouro__accept_queue_remove(ouro__accept_queue_of(op->sio), op);
    ouro__driver_end_queued(driver, op, -ECANCELED);
}

void ouro__driver_accept_left(struct ouro__driver *driver, struct ouro__op *op)
{
    struct ouro__accept_queue *queue = ouro__accept_queue_of(op->sio);
    if (queue == NULL || ouro__queue_is_empty(&queue->waiting))
        return;
    if (op != &queue->many && op->result >= 0)
        count_demand(queue);
    make_due(driver, queue);
}

/* Keeps @fd for an acceptor that will come. */
static void keep(struct ouro__driver *driver, struct ouro__accept_queue *queue, int fd)
{
    if (ouro__accept_queue_put(queue, fd) < 0) {
        ouro__kernel_close(fd);
        queue->is_surplus = true;
        make_due(driver, queue);
        return;
    }
    ouro__list_remove(&queue->link);
    ouro__list_push_back(&driver->accepted, &queue->link);
    uint64_t now = turns_of(driver);
    if (queue->count == OURO__ACCEPT_SURPLUS + 1)
        queue->surplus_turn = now;
    if (queue->count > OURO__ACCEPT_SURPLUS && queue->surplus_turn != now) {
        queue->is_surplus = true;
        make_due(driver, queue);
    }
}

void ouro__driver_accepted(struct ouro__driver *driver, struct ouro__op *many, int fd)
{
    struct ouro__accept_queue *queue = OURO__CONTAINER_OF(many, struct ouro__accept_queue, many);
    if (is_over(driver, queue->sio)) {
        ouro__kernel_close(fd);
        return;
    }
    struct ouro__op *op = ouro__accept_queue_pop(queue);
    if (op == NULL) {
        keep(driver, queue, fd);
        return;
    }
    ouro__driver_end_queued(driver, op, fd);
    count_demand(queue);
}

/* Does what became necessary during the turn. */
static void serve(struct ouro__driver *driver, struct ouro__accept_queue *queue)
{
    if (queue->is_surplus && queue->many.state == OURO__OP_INFLIGHT)
        ouro__driver_cancel(driver, &queue->many);
    if (queue->sio->lane[OURO__LANE_ACCEPT] != NULL)
        return;
    struct ouro__op *op = queue->error < 0 ? ouro__accept_queue_pop(queue) : NULL;
    if (op != NULL)
        ouro__driver_end_queued(driver, op, queue->error);
    queue->error = 0;
    if (ouro__queue_is_empty(&queue->waiting))
        return;
    if (wants_many(driver, queue))
        begin_many(driver, queue);
    else
        ouro__driver_unqueue(driver, ouro__accept_queue_pop(queue));
}

void ouro__driver_serve_acceptors(struct ouro__driver *driver)
{
    struct ouro__queue due = driver->accepting;
    driver->accepting = (struct ouro__queue){.head = NULL};
    struct ouro__queue_node *node = NULL;
    while ((node = ouro__queue_pop(&due)) != NULL) {
        struct ouro__accept_queue *queue =
            OURO__CONTAINER_OF(node, struct ouro__accept_queue, due_node);
        queue->is_due = false;
        serve(driver, queue);
    }
}

void ouro__driver_end_accepts(struct ouro__driver *driver, struct ouro__scheduled_io *sio)
{
    struct ouro__accept_queue *queue = ouro__accept_queue_of(sio);
    struct ouro__op *op = NULL;
    if (queue == NULL)
        return;
    while ((op = ouro__accept_queue_pop(queue)) != NULL)
        ouro__driver_end_queued(driver, op, -ECANCELED);
    ouro__accept_queue_dispose(queue);
}

void ouro__driver_dispose_accepted(struct ouro__driver *driver)
{
    while (!ouro__list_is_empty(&driver->accepted))
        ouro__accept_queue_dispose(
            OURO__CONTAINER_OF(driver->accepted.next, struct ouro__accept_queue, link));
}

int32_t ouro__driver_take(struct ouro__driver *driver, struct ouro__op *op)
{
    struct ouro__scheduled_io *sio = op->sio;
    struct ouro__accept_queue *queue = ouro__accept_queue_of(sio);
    if (queue == NULL || is_over(driver, sio))
        return -EAGAIN;
    if (queue->returned_turn != turns_of(driver))
        queue->streak = 0;
    else if (queue->streak < OURO__ACCEPT_STREAK)
        queue->streak++;
    int fd = ouro__accept_queue_take(queue);
    bool is_first = sio->lane[OURO__LANE_ACCEPT] == NULL;
    if (fd < 0 && is_first && driver->handle->ops->try_now != NULL)
        return driver->handle->ops->try_now(driver, op);
    return fd;
}

void ouro__driver_took(struct ouro__driver *driver, const struct ouro__scheduled_io *sio)
{
    struct ouro__accept_queue *queue = ouro__accept_queue_of(sio);
    if (queue != NULL)
        queue->returned_turn = turns_of(driver);
}
