/* SPDX-License-Identifier: MIT */
/*
 * RegistrationSet: the slab of one driver's ScheduledIo, a list of the live ones, and a list of
 * those that wait to be freed.
 *
 * Slots come in chunks of 64.  A registration takes a slot of a chunk that has used ones, so that
 * the others become empty.  Chunks that were empty for a while are given back (registry/trim.c):
 * by the driver's thread only, which is also the only one that looks slots up, so looking up needs
 * no lock.
 *
 * A slot's generation moves when it is freed.  The slots of a chunk that takes the place of one
 * that was given back begin with a generation that no slot of that one has had.  So a late event
 * finds no slot, or one with another generation.
 *
 * A deregistered slot is freed when none of its operations is in flight, and by the driver's thread
 * only: with io_uring completions for a descriptor arrive after it was deregistered, so "free it in
 * the next turn", which is right for epoll, is not enough.
 *
 * Owns:    the chunks and every slot in them.
 * Threads: allocate(), deregister() any; the rest the driver's.
 * Always:  registered - deregistered is the length of the live list; num_pending_release that of
 *          the pending list; the lock is a leaf, never held across a wake or a call of the backend.
 * Tests:   tests/registry/test_driver_release.c, tests/registry/test_trim.c,
 *          tests/model/model_driver.c
 */
#include "registry/registration_set.h"

#include "base/alloc.h"

#include <ouro/error.h>

#include <errno.h>

int ouro__registration_set_init(struct ouro__registration_set *set)
{
    *set = (struct ouro__registration_set){.generation = 1};
    set->chunk = ouro__calloc(OURO__SLAB_CHUNKS_MAX, sizeof(*set->chunk));
    if (set->chunk == NULL)
        return -ENOMEM;
    ouro__mutex_init(&set->lock);
    ouro__list_init(&set->open);
    ouro__list_init(&set->unused);
    ouro__list_init(&set->live);
    ouro__list_init(&set->pending);
    return 0;
}

static struct ouro__registration_chunk *chunk_at(struct ouro__registration_set *set, uint32_t at)
{
    return at < OURO__SLAB_CHUNKS_MAX ? ouro__load(&set->chunk[at], memory_order_acquire) : NULL;
}

/* NULL: there is none. */
static struct ouro__scheduled_io *slot(struct ouro__registration_set *set, uint32_t index)
{
    struct ouro__registration_chunk *chunk = chunk_at(set, index / OURO__SLAB_CHUNK);
    return chunk == NULL ? NULL : &chunk->slot[index % OURO__SLAB_CHUNK];
}

static struct ouro__registration_chunk *chunk_of(struct ouro__scheduled_io *sio)
{
    struct ouro__scheduled_io *first = sio - sio->index % OURO__SLAB_CHUNK;
    return OURO__CONTAINER_OF(first, struct ouro__registration_chunk, slot);
}

static void fini_chunk(struct ouro__registration_chunk *chunk)
{
    for (uint32_t i = 0; i < OURO__SLAB_CHUNK; i++) {
        struct ouro__scheduled_io *sio = &chunk->slot[i];
        OURO__ASSERT(sio->inflight == 0);
        ouro__free(sio->attached);
        if (sio->state != OURO__SIO_FREE)
            ouro__list_remove(&sio->link);
        ouro__sio_fini(sio);
    }
    ouro__free(chunk);
}

void ouro__registration_set_fini(struct ouro__registration_set *set)
{
    OURO__ASSERT(ouro__list_is_empty(&set->live));
    /* What was deregistered after the driver had closed was never released. */
    for (uint32_t at = 0; at < set->slots / OURO__SLAB_CHUNK; at++) {
        struct ouro__registration_chunk *chunk = chunk_at(set, at);
        if (chunk != NULL)
            fini_chunk(chunk);
    }
    ouro__free(set->chunk);
    ouro__mutex_fini(&set->lock);
}

/* Whether nothing of it is in flight any more, no operation and no message. */
static bool is_idle(const struct ouro__scheduled_io *sio)
{
    return sio->inflight == 0 && sio->ready_pending == 0 &&
           ouro__load(&sio->messages, memory_order_acquire) == 0;
}

static void push_free(struct ouro__registration_chunk *chunk, struct ouro__scheduled_io *sio)
{
    sio->link.next = chunk->free == NULL ? NULL : &chunk->free->link;
    chunk->free = sio;
}

static struct ouro__scheduled_io *pop_free(struct ouro__registration_chunk *chunk)
{
    struct ouro__scheduled_io *sio = chunk->free;
    struct ouro__list *next = sio->link.next;
    chunk->free = next == NULL ? NULL : OURO__CONTAINER_OF(next, struct ouro__scheduled_io, link);
    return sio;
}

/* One more chunk of free slots. */
static int grow_locked(struct ouro__registration_set *set)
{
    uint32_t at = set->hole;
    while (at < set->slots / OURO__SLAB_CHUNK && chunk_at(set, at) != NULL)
        at++;
    set->hole = at;
    if (at == OURO__SLAB_CHUNKS_MAX)
        return -ENOMEM;
    struct ouro__registration_chunk *chunk =
        ouro__alloc_aligned(OURO__SIO_ALIGNMENT, sizeof(*chunk));
    if (chunk == NULL)
        return -ENOMEM;
    for (uint32_t i = OURO__SLAB_CHUNK; i-- > 0;) {
        ouro__sio_init(&chunk->slot[i], at * OURO__SLAB_CHUNK + i);
        chunk->slot[i].generation = set->generation;
        push_free(chunk, &chunk->slot[i]);
    }
    ouro__list_push_front(&set->open, &chunk->link);
    if (set->slots < (at + 1) * OURO__SLAB_CHUNK)
        set->slots = (at + 1) * OURO__SLAB_CHUNK;
    ouro__store(&set->chunk[at], chunk, memory_order_release);
    return 0;
}

/* The first chunk of `open` has a free slot then. */
static int reserve_locked(struct ouro__registration_set *set)
{
    if (OURO__LIKELY(!ouro__list_is_empty(&set->open)))
        return 0;
    if (ouro__list_is_empty(&set->unused))
        return grow_locked(set);
    struct ouro__list *link = set->unused.next;
    ouro__list_remove(link);
    ouro__list_push_front(&set->open, link);
    ouro__counter_add(&set->unused_count, UINT64_MAX); /* one less */
    uint32_t unused = (uint32_t)ouro__counter_read(&set->unused_count);
    if (set->unused_low > unused)
        set->unused_low = unused;
    return 0;
}

static struct ouro__scheduled_io *take_locked(struct ouro__registration_set *set)
{
    struct ouro__registration_chunk *chunk =
        OURO__CONTAINER_OF(set->open.next, struct ouro__registration_chunk, link);
    struct ouro__scheduled_io *sio = pop_free(chunk);
    chunk->used++;
    if (chunk->free == NULL)
        ouro__list_remove(&chunk->link);
    return sio;
}

static void put_locked(struct ouro__registration_set *set, struct ouro__scheduled_io *sio)
{
    struct ouro__registration_chunk *chunk = chunk_of(sio);
    if (chunk->free == NULL)
        ouro__list_push_front(&set->open, &chunk->link);
    push_free(chunk, sio);
    chunk->used--;
    if (OURO__LIKELY(chunk->used > 0))
        return;
    /* One that is empty stays the first to be used while no other has a free slot: a single
     * connection that comes and goes moves no chunk. */
    if (set->open.next == &chunk->link && set->open.prev == &chunk->link)
        return;
    ouro__list_remove(&chunk->link);
    ouro__list_push_front(&set->unused, &chunk->link);
    ouro__counter_add(&set->unused_count, 1);
}

int ouro__registration_set_allocate(struct ouro__registration_set *set,
                                    struct ouro__driver_handle *handle, int fd, uint32_t flags,
                                    struct ouro__scheduled_io **out_sio)
{
    int rc = 0;
    ouro__mutex_lock(&set->lock);
    if (set->is_shutdown)
        rc = -OURO_ESHUTDOWN;
    else
        rc = reserve_locked(set);
    if (rc == 0) {
        struct ouro__scheduled_io *sio = take_locked(set);
        OURO__ASSERT(sio->state == OURO__SIO_FREE);
        sio->state = OURO__SIO_LIVE;
        sio->handle = handle;
        sio->fd = fd;
        sio->flags = (uint8_t)flags;
        ouro__store(&sio->readiness, 0, memory_order_release);
        ouro__list_push_back(&set->live, &sio->link);
        set->registered++;
        *out_sio = sio;
    }
    ouro__mutex_unlock(&set->lock);
    return rc;
}

/* Adds to the length of the pending list.  Its writers hold the lock; its readers do not. */
static void count_pending_locked(struct ouro__registration_set *set, uint32_t added)
{
    uint32_t count = ouro__load(&set->num_pending_release, memory_order_relaxed);
    ouro__store(&set->num_pending_release, count + added, memory_order_release);
}

bool ouro__registration_set_deregister(struct ouro__registration_set *set,
                                       struct ouro__scheduled_io *sio)
{
    ouro__mutex_lock(&set->lock);
    OURO__ASSERT(sio->state == OURO__SIO_LIVE);
    sio->state = OURO__SIO_DEREGISTERED;
    ouro__list_remove(&sio->link);
    ouro__list_push_back(&set->pending, &sio->link);
    set->deregistered++;
    count_pending_locked(set, 1);
    bool first = !set->release_due;
    set->release_due = true;
    ouro__mutex_unlock(&set->lock);
    return first;
}

static void free_locked(struct ouro__registration_set *set, struct ouro__scheduled_io *sio)
{
    ouro__list_remove(&sio->link);
    sio->state = OURO__SIO_FREE;
    sio->fd = -1;
    ouro__store(&sio->backend, 0, memory_order_relaxed);
    sio->closing = false;
    ouro__store(&sio->must_check, false, memory_order_relaxed);
    sio->generation++;
    if (sio->generation == 0) /* 0 is the driver's own tokens' */
        sio->generation = 1;
    put_locked(set, sio);
}

uint32_t ouro__registration_set_release(struct ouro__registration_set *set,
                                        void (*each)(void *arg, struct ouro__scheduled_io *sio,
                                                     bool freed),
                                        void *arg)
{
    if (ouro__load(&set->num_pending_release, memory_order_acquire) == 0)
        return 0;
    struct ouro__list batch;
    ouro__list_init(&batch);
    ouro__mutex_lock(&set->lock);
    set->release_due = false;
    ouro__list_splice_back(&batch, &set->pending);
    ouro__mutex_unlock(&set->lock);

    /* All that are idle are freed under one lock: servers close many connections in a turn. */
    uint32_t freed = 0;
    struct ouro__list idle;
    struct ouro__list busy;
    ouro__list_init(&idle);
    ouro__list_init(&busy);
    while (!ouro__list_is_empty(&batch)) {
        struct ouro__scheduled_io *sio =
            OURO__CONTAINER_OF(batch.next, struct ouro__scheduled_io, link);
        bool will_be_freed = is_idle(sio);
        each(arg, sio, will_be_freed);
        ouro__list_remove(&sio->link);
        ouro__list_push_back(will_be_freed ? &idle : &busy, &sio->link);
        if (!will_be_freed)
            continue;
        ouro__free(sio->attached);
        sio->attached = NULL;
        freed++;
    }
    ouro__mutex_lock(&set->lock);
    while (!ouro__list_is_empty(&idle))
        free_locked(set, OURO__CONTAINER_OF(idle.next, struct ouro__scheduled_io, link));
    ouro__list_splice_back(&set->pending, &busy);
    count_pending_locked(set, -freed);
    ouro__mutex_unlock(&set->lock);
    return freed;
}

void ouro__registration_set_prefetch(struct ouro__registration_set *set, uint64_t token)
{
    __builtin_prefetch(slot(set, ouro__token_index(token)));
}

struct ouro__scheduled_io *ouro__registration_set_find(struct ouro__registration_set *set,
                                                       uint64_t token)
{
    struct ouro__scheduled_io *sio = slot(set, ouro__token_index(token));
    if (sio == NULL || sio->generation != ouro__token_generation(token))
        return NULL;
    return sio;
}

void ouro__registration_set_shut_down(struct ouro__registration_set *set)
{
    ouro__mutex_lock(&set->lock);
    set->is_shutdown = true;
    uint32_t slots = set->slots;
    ouro__mutex_unlock(&set->lock);
    /* No lock is held across wakes, and none is needed: only this thread gives slots back, and none
     * is allocated any more, so SHUTDOWN on a slot that was deregistered meanwhile does no harm. */
    for (uint32_t i = 0; i < slots; i++) {
        struct ouro__scheduled_io *sio = slot(set, i);
        if (sio != NULL)
            ouro__sio_shut_down(sio);
    }
}

void ouro__registration_set_for_each(struct ouro__registration_set *set,
                                     void (*each)(void *arg, struct ouro__scheduled_io *sio),
                                     void *arg)
{
    ouro__mutex_lock(&set->lock);
    uint32_t slots = set->slots;
    ouro__mutex_unlock(&set->lock);
    for (uint32_t i = 0; i < slots; i++) {
        struct ouro__scheduled_io *sio = slot(set, i);
        if (sio != NULL && sio->inflight > 0)
            each(arg, sio);
    }
}

uint32_t ouro__registration_set_cold(struct ouro__registration_set *set)
{
    ouro__mutex_lock(&set->lock);
    uint32_t low = set->unused_low;
    set->unused_low = (uint32_t)ouro__counter_read(&set->unused_count);
    ouro__mutex_unlock(&set->lock);
    return low > OURO__SLAB_CHUNKS_KEPT ? low - OURO__SLAB_CHUNKS_KEPT : 0;
}

/* Takes the unused chunk that was used least recently out of the table.  NULL: none is to go. */
static struct ouro__registration_chunk *retire_locked(struct ouro__registration_set *set)
{
    if (!ouro__registration_set_is_trimmable(set))
        return NULL;
    struct ouro__registration_chunk *chunk =
        OURO__CONTAINER_OF(set->unused.prev, struct ouro__registration_chunk, link);
    ouro__list_remove(&chunk->link);
    ouro__counter_add(&set->unused_count, UINT64_MAX); /* one less */
    for (uint32_t i = 0; i < OURO__SLAB_CHUNK; i++) {
        if (set->generation <= chunk->slot[i].generation)
            set->generation = chunk->slot[i].generation + 1;
    }
    if (set->generation == 0) /* it has wrapped */
        set->generation = 1;
    uint32_t at = chunk->slot[0].index / OURO__SLAB_CHUNK;
    ouro__store(&set->chunk[at], NULL, memory_order_release);
    if (set->hole > at)
        set->hole = at;
    return chunk;
}

uint32_t ouro__registration_set_trim(struct ouro__registration_set *set, uint32_t chunks_max)
{
    uint32_t freed = 0;
    for (; freed < chunks_max; freed++) {
        ouro__mutex_lock(&set->lock);
        struct ouro__registration_chunk *chunk = retire_locked(set);
        if (chunk != NULL)
            set->unused_low -= set->unused_low > 0;
        ouro__mutex_unlock(&set->lock);
        if (chunk == NULL)
            break;
        fini_chunk(chunk);
    }
    return freed;
}

uint32_t ouro__registration_set_live(struct ouro__registration_set *set)
{
    ouro__mutex_lock(&set->lock);
    uint64_t live = set->registered - set->deregistered;
    ouro__mutex_unlock(&set->lock);
    return (uint32_t)live;
}
