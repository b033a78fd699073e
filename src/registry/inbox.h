/* SPDX-License-Identifier: MIT */
/*
 * Inbox: how other threads hand work to the thread that owns a driver.
 *
 * A message is a node inside whatever it is about, with the function to run on the owner's thread;
 * pushing never allocates, locks or waits.  Messages of one sender arrive in the order sent.
 *
 * Any number of threads push; one thread, the owner, drains.  After a push the owner must be
 * notified (registry/unpark.h).  When the owner ends it closes the inbox.  A push then fails, which
 * tells the sender that its message would never be run.
 */
#ifndef OURO_REGISTRY_INBOX_H
#define OURO_REGISTRY_INBOX_H

#include "base/atomic.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ouro__inbox_node {
    struct ouro__inbox_node *next;
    void (*run)(struct ouro__inbox_node *node); /* may release the node */
};

struct ouro__inbox {
    _Atomic(struct ouro__inbox_node *) newest;
};

/* The value of `newest` after the inbox was closed. */
#define OURO__INBOX_CLOSED ((struct ouro__inbox_node *)(uintptr_t)1)

/*
 * Any thread.  True: the node is the inbox's until its run() is called.  False: the inbox is closed
 * and the node still the caller's.
 */
static inline bool ouro__inbox_push(struct ouro__inbox *inbox, struct ouro__inbox_node *node)
{
    struct ouro__inbox_node *newest = ouro__load(&inbox->newest, memory_order_relaxed);
    do {
        if (newest == OURO__INBOX_CLOSED) {
            /* Acquire: the sender may rely on all that the owner did before it closed. */
            (void)ouro__load(&inbox->newest, memory_order_acquire);
            return false;
        }
        node->next = newest;
    } while (!ouro__compare_exchange(&inbox->newest, &newest, node, memory_order_acq_rel));
    return true;
}

/* Owner: also true of a closed one. */
static inline bool ouro__inbox_is_empty(struct ouro__inbox *inbox)
{
    struct ouro__inbox_node *newest = ouro__load(&inbox->newest, memory_order_acquire);
    return newest == NULL || newest == OURO__INBOX_CLOSED;
}

/* Owner: closes it if nothing is in it; false otherwise. */
static inline bool ouro__inbox_close(struct ouro__inbox *inbox)
{
    struct ouro__inbox_node *newest = NULL;
    return ouro__compare_exchange(&inbox->newest, &newest, OURO__INBOX_CLOSED,
                                  memory_order_acq_rel) ||
           newest == OURO__INBOX_CLOSED;
}

/* Owner: takes everything that is there, oldest first. */
static inline struct ouro__inbox_node *ouro__inbox_take(struct ouro__inbox *inbox)
{
    if (ouro__inbox_is_empty(inbox))
        return NULL;
    struct ouro__inbox_node *newest = ouro__exchange(&inbox->newest, NULL, memory_order_acquire);
    struct ouro__inbox_node *oldest = NULL;
    while (newest != NULL) {
        struct ouro__inbox_node *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

/* Owner: takes everything and runs it.  Returns how many there were. */
static inline unsigned ouro__inbox_drain(struct ouro__inbox *inbox)
{
    unsigned count = 0;
    struct ouro__inbox_node *node = ouro__inbox_take(inbox);
    while (node != NULL) {
        struct ouro__inbox_node *next = node->next;
        node->run(node);
        node = next;
        count++;
    }
    return count;
}

#endif
