/* SPDX-License-Identifier: MIT */
/*
 * ScheduledIo: the state that the owner of a registered descriptor and its driver share.
 *
 * Readiness is one atomic word (registry/readiness.h).  The waiters are kept under a lock: two
 * places for poll-style callers, one for each direction, and a list whose nodes lie in the waiters'
 * frames.  A waiter locks, sets WAITED in the word, which gives it the word before, and links its
 * node if nothing is ready there.  The driver sets readiness in the same word, which gives it the
 * word before: if WAITED was there it locks and collects those whom the change concerns.  Changes
 * of one word have one order, so either the waiter sees the readiness or the driver sees WAITED; no
 * wake is lost, and readiness that nobody waits for takes no lock.
 *
 * Wakers are called, and dropped, after the lock was released: a waker may wait, cancel, drop this
 * very registration or shut the runtime down.  They leave the lock in batches of a fixed size on
 * the stack, so any number of waiters needs no allocation.
 *
 * Owns:    the wakers stored in it.  Freed by its driver's thread (registry/registration_set.h).
 * Threads: set_ready() and hint() the driver's; all others any.
 * Always:  a node is linked, or woken, never both; after SHUTDOWN every wait returns
 *          -OURO_ESHUTDOWN at once.
 * Tests:   tests/model/model_waiters.c
 */
#include "registry/scheduled_io.h"

#include "base/fork.h"

#include <ouro/error.h>

#include <string.h>

#define WAKE_BATCH 32

/* Wakers on their way out of the lock. */
struct batch {
    struct ouro_waker waker[WAKE_BATCH];
    size_t count;
};

static const struct ouro_waker no_waker = {NULL, NULL};

void ouro__sio_init(struct ouro__scheduled_io *sio, uint32_t index)
{
    memset(sio, 0, sizeof(*sio));
    ouro__mutex_init(&sio->lock);
    ouro__list_init(&sio->waiters);
    ouro__list_init(&sio->link);
    sio->index = index;
    sio->generation = 1;
    sio->fd = -1;
}

void ouro__sio_fini(struct ouro__scheduled_io *sio)
{
    OURO__ASSERT(ouro__list_is_empty(&sio->waiters));
    ouro__mutex_fini(&sio->lock);
}

/* A waker that forked must not return into the loop of the parent's driver in the child. */
static void wake_and_drop(struct batch *batch)
{
    const uint32_t generation = ouro__fork_count;
    for (size_t i = 0; i < batch->count; i++) {
        batch->waker[i].vtable->wake(batch->waker[i].data);
        batch->waker[i].vtable->drop(batch->waker[i].data);
        ouro__fork_check(generation, 0);
    }
    batch->count = 0;
}

static void take(struct batch *batch, struct ouro_waker *waker)
{
    if (waker->vtable != NULL)
        batch->waker[batch->count++] = *waker;
    *waker = no_waker;
}

/* Moves every waiter that @ready concerns into the batch.  False: it is full, call again. */
static bool collect_locked(struct ouro__scheduled_io *sio, uint32_t ready, bool all,
                           struct batch *batch)
{
    if (all || (ready & ouro__interest_mask(sio->reader_interest)) != 0)
        take(batch, &sio->reader);
    if (all || (ready & ouro__interest_mask(sio->writer_interest)) != 0)
        take(batch, &sio->writer);
    struct ouro__list *next = NULL;
    for (struct ouro__list *at = sio->waiters.next; at != &sio->waiters; at = next) {
        next = at->next;
        struct ouro__io_waiter *node = OURO__CONTAINER_OF(at, struct ouro__io_waiter, link);
        if (!all && (ready & ouro__interest_mask(node->interest)) == 0)
            continue;
        if (batch->count == WAKE_BATCH)
            return false;
        ouro__list_remove(&node->link);
        node->linked = false;
        take(batch, &node->waker);
    }
    return true;
}

static bool is_waited_locked(const struct ouro__scheduled_io *sio)
{
    return sio->reader.vtable != NULL || sio->writer.vtable != NULL ||
           !ouro__list_is_empty(&sio->waiters);
}

static OURO__COLD void wake_waiters(struct ouro__scheduled_io *sio, uint32_t ready, bool all)
{
    struct batch batch = {.count = 0};
    bool complete = false;
    while (!complete) {
        ouro__mutex_lock(&sio->lock);
        complete = collect_locked(sio, ready, all, &batch);
        if (complete && !is_waited_locked(sio))
            (void)ouro__fetch_and(&sio->readiness, ~OURO__READINESS_WAITED, memory_order_relaxed);
        ouro__mutex_unlock(&sio->lock);
        wake_and_drop(&batch);
    }
}

/* @word: the readiness before the change that may concern a waiter. */
static void wake(struct ouro__scheduled_io *sio, uint64_t word, uint32_t ready, bool all)
{
    if ((word & OURO__READINESS_WAITED) != 0)
        wake_waiters(sio, ready, all);
}

void ouro__sio_set_ready(struct ouro__scheduled_io *sio, uint32_t ready)
{
    wake(sio, ouro__readiness_set(&sio->readiness, ready), ready, false);
}

void ouro__sio_hint(struct ouro__scheduled_io *sio, uint32_t ready)
{
    ouro__readiness_set(&sio->readiness, ready);
}

void ouro__sio_clear(struct ouro__scheduled_io *sio, uint64_t snapshot, uint32_t ready)
{
    ouro__readiness_clear(&sio->readiness, snapshot, ready);
}

void ouro__sio_shut_down(struct ouro__scheduled_io *sio)
{
    wake(sio, ouro__readiness_shut_down(&sio->readiness), 0, true);
}

void ouro__sio_wake_all(struct ouro__scheduled_io *sio)
{
    wake(sio, ouro__load(&sio->readiness, memory_order_acquire), 0, true);
}

/* 1 ready, 0 not, -OURO_ESHUTDOWN. */
static int judge(uint64_t word, uint32_t interest, uint64_t *out_word)
{
    if (ouro__readiness_is_shutdown(word))
        return -OURO_ESHUTDOWN;
    if ((ouro__readiness_ready(word) & ouro__interest_mask(interest)) == 0)
        return 0;
    *out_word = word;
    return 1;
}

static int look(struct ouro__scheduled_io *sio, uint32_t interest, uint64_t *out_word)
{
    return judge(ouro__load(&sio->readiness, memory_order_acquire), interest, out_word);
}

/* As look(), for a caller that waits if nothing is ready. */
static int look_locked(struct ouro__scheduled_io *sio, uint32_t interest, uint64_t *out_word)
{
    uint64_t word = ouro__fetch_or(&sio->readiness, OURO__READINESS_WAITED, memory_order_acq_rel);
    return judge(word, interest, out_word);
}

int ouro__sio_poll(struct ouro__scheduled_io *sio, uint32_t interest,
                   const struct ouro_waker *waker, uint64_t *out_word)
{
    int rc = look(sio, interest, out_word);
    if (rc != 0)
        return rc;

    bool reads = (interest & (OURO_READABLE | OURO_PRIORITY)) != 0;
    bool writes = (interest & (OURO_WRITABLE | OURO_ERROR)) != 0;
    struct ouro_waker for_reader = reads ? ouro_waker_clone(waker) : no_waker;
    struct ouro_waker for_writer = writes ? ouro_waker_clone(waker) : no_waker;
    struct ouro_waker old_reader = no_waker;
    struct ouro_waker old_writer = no_waker;
    ouro__mutex_lock(&sio->lock);
    rc = look_locked(sio, interest, out_word);
    if (rc == 0 && reads) {
        old_reader = sio->reader;
        sio->reader = for_reader;
        sio->reader_interest = (uint8_t)(interest & (OURO_READABLE | OURO_PRIORITY));
        for_reader = no_waker;
    }
    if (rc == 0 && writes) {
        old_writer = sio->writer;
        sio->writer = for_writer;
        sio->writer_interest = (uint8_t)(interest & (OURO_WRITABLE | OURO_ERROR));
        for_writer = no_waker;
    }
    ouro__mutex_unlock(&sio->lock);
    ouro_waker_drop(&for_reader);
    ouro_waker_drop(&for_writer);
    ouro_waker_drop(&old_reader);
    ouro_waker_drop(&old_writer);
    return rc;
}

int ouro__sio_link(struct ouro__scheduled_io *sio, struct ouro__io_waiter *node, uint64_t *out_word)
{
    int rc = look(sio, node->interest, out_word);
    if (rc != 0)
        return rc;
    ouro__mutex_lock(&sio->lock);
    rc = look_locked(sio, node->interest, out_word);
    if (rc == 0) {
        ouro__list_push_back(&sio->waiters, &node->link);
        node->linked = true;
    }
    ouro__mutex_unlock(&sio->lock);
    return rc;
}

void ouro__sio_unlink(struct ouro__scheduled_io *sio, struct ouro__io_waiter *node)
{
    ouro__mutex_lock(&sio->lock);
    if (node->linked) {
        ouro__list_remove(&node->link);
        node->linked = false;
    }
    ouro__mutex_unlock(&sio->lock);
}
