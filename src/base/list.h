/* SPDX-License-Identifier: MIT */
/*
 * Intrusive lists: the nodes are members of what they link, so linking never allocates.
 *
 *   struct ouro__list   doubly linked, circular, with a head; a node can be removed knowing only
 *                       itself.  A node not in a list points at itself.
 *   struct ouro__queue  singly linked, first in, first out, with a head and a tail.
 */
#ifndef OURO_BASE_LIST_H
#define OURO_BASE_LIST_H

#include "base/compiler.h"

#include <stdbool.h>

struct ouro__list {
    struct ouro__list *next;
    struct ouro__list *prev;
};

static inline void ouro__list_init(struct ouro__list *node)
{
    node->next = node;
    node->prev = node;
}

static inline bool ouro__list_is_empty(const struct ouro__list *head)
{
    return head->next == head;
}

static inline void ouro__list_insert_before(struct ouro__list *at, struct ouro__list *node)
{
    node->next = at;
    node->prev = at->prev;
    at->prev->next = node;
    at->prev = node;
}

static inline void ouro__list_push_back(struct ouro__list *head, struct ouro__list *node)
{
    ouro__list_insert_before(head, node);
}

static inline void ouro__list_push_front(struct ouro__list *head, struct ouro__list *node)
{
    ouro__list_insert_before(head->next, node);
}

/* Unlinks @node and leaves it pointing at itself, so removing it twice does nothing. */
static inline void ouro__list_remove(struct ouro__list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    ouro__list_init(node);
}

/* Moves all of @from to the end of @to, and leaves @from empty. */
static inline void ouro__list_splice_back(struct ouro__list *to, struct ouro__list *from)
{
    if (ouro__list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    ouro__list_init(from);
}

struct ouro__queue_node {
    struct ouro__queue_node *next;
};

struct ouro__queue {
    struct ouro__queue_node *head;
    struct ouro__queue_node *tail;
};

static inline bool ouro__queue_is_empty(const struct ouro__queue *queue)
{
    return queue->head == NULL;
}

static inline void ouro__queue_push(struct ouro__queue *queue, struct ouro__queue_node *node)
{
    node->next = NULL;
    if (queue->head == NULL)
        queue->head = node;
    else
        queue->tail->next = node;
    queue->tail = node;
}

/* Takes @node, which is in it, out of @queue.  Looks at those before it. */
static inline void ouro__queue_remove(struct ouro__queue *queue, struct ouro__queue_node *node)
{
    struct ouro__queue_node *before = NULL;
    struct ouro__queue_node *at = queue->head;
    while (at != node) {
        before = at;
        at = at->next;
    }
    if (before == NULL)
        queue->head = node->next;
    else
        before->next = node->next;
    if (queue->tail == node)
        queue->tail = before;
}

static inline struct ouro__queue_node *ouro__queue_pop(struct ouro__queue *queue)
{
    struct ouro__queue_node *node = queue->head;
    if (node != NULL)
        queue->head = node->next;
    return node;
}

#endif
