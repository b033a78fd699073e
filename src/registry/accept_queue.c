/* SPDX-License-Identifier: MIT */
/*
 * AcceptQueue: who waits for a connection of a listening descriptor, and the connections that
 * nobody has taken yet.
 *
 * Only the lists are here; what fills and empties them is registry/accept.c.
 *
 * Owns:    the connections in it, until each is taken or closed.
 * Threads: the driver's.
 * Always:  connections and acceptors leave in the order in which they came.
 * Tests:   tests/registry/test_accept.c
 */
#include "registry/accept_queue.h"

#include "base/alloc.h"
#include "base/kernel.h"

#include <errno.h>

enum { CAPACITY_FIRST = 32 };

struct ouro__accept_queue *ouro__accept_queue_new(struct ouro__scheduled_io *sio, bool is_singly)
{
    struct ouro__accept_queue *queue = ouro__calloc(1, sizeof(*queue));
    if (queue == NULL)
        return NULL;
    queue->sio = sio;
    queue->is_singly = is_singly;
    queue->returned_turn = UINT64_MAX;
    ouro__list_init(&queue->link);
    return queue;
}

void ouro__accept_queue_remove(struct ouro__accept_queue *queue, struct ouro__op *op)
{
    struct ouro__queue rest = {.head = NULL};
    struct ouro__queue_node *node = NULL;
    while ((node = ouro__queue_pop(&queue->waiting)) != NULL) {
        if (node != &op->node)
            ouro__queue_push(&rest, node);
    }
    queue->waiting = rest;
}

struct ouro__op *ouro__accept_queue_pop(struct ouro__accept_queue *queue)
{
    struct ouro__queue_node *node = ouro__queue_pop(&queue->waiting);
    return node == NULL ? NULL : OURO__CONTAINER_OF(node, struct ouro__op, node);
}

/* Twice the room. */
static int grow(struct ouro__accept_queue *queue)
{
    uint32_t capacity = queue->capacity == 0 ? CAPACITY_FIRST : 2 * queue->capacity;
    int *fd = ouro__calloc(capacity, sizeof(*fd));
    if (fd == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < queue->count; i++)
        fd[i] = queue->fd[(queue->first + i) % queue->capacity];
    ouro__free(queue->fd);
    queue->fd = fd;
    queue->capacity = capacity;
    queue->first = 0;
    return 0;
}

int ouro__accept_queue_put(struct ouro__accept_queue *queue, int fd)
{
    int rc = queue->count == queue->capacity ? grow(queue) : 0;
    if (rc < 0)
        return rc;
    queue->fd[(queue->first + queue->count) % queue->capacity] = fd;
    queue->count++;
    return 0;
}

int ouro__accept_queue_take(struct ouro__accept_queue *queue)
{
    if (queue->count == 0)
        return -EAGAIN;
    int fd = queue->fd[queue->first];
    queue->first = (queue->first + 1) % queue->capacity;
    queue->count--;
    return fd;
}

void ouro__accept_queue_dispose(struct ouro__accept_queue *queue)
{
    int fd = -1;
    while ((fd = ouro__accept_queue_take(queue)) >= 0)
        ouro__kernel_close(fd);
    ouro__free(queue->fd);
    queue->fd = NULL;
    queue->capacity = 0;
    queue->first = 0;
    ouro__list_remove(&queue->link);
}
