/* SPDX-License-Identifier: MIT */
/*
 * RegistrationSet: the slab of one driver's ScheduledIo, a list of the live ones, and a list of
 * those that wait to be freed.
 *
 * Slots come in chunks that are never given back before the end, so a token's index can be looked
 * up without a lock and a late event finds a slot to compare its generation with.  A slot's
 * generation moves when it is freed.
 *
 * A deregistered slot is freed when none of its operations is in flight, and by the driver's thread
 * only: with io_uring completions for a descriptor arrive after it was deregistered, so "free it in
 * the next turn", which is right for epoll, is not enough.
 *
 * Owns:    the chunks and every slot in them.
 * Threads: allocate(), deregister() any; the rest the driver's.
 * Always:  registered - deregistered is the length of the live list; num_pending_release that of
 *          the pending list; the lock is a leaf, never held across a wake or a call of the backend.
 * Tests:   tests/registry/test_driver_release.c, tests/model/model_driver.c
 */
#include "registry/registration_set.h"

#include "base/alloc.h"

#include <ouro/error.h>

#include <errno.h>

int ouro__registration_set_init(struct ouro__registration_set *set)
{
    *set = (struct ouro__registration_set){.slots = 0};
    set->chunk = ouro__calloc(OURO__SLAB_CHUNKS_MAX, sizeof(*set->chunk));
    if (set->chunk == NULL)
        return -ENOMEM;
    ouro__mutex_init(&set->lock);
    ouro__list_init(&set->live);
    ouro__list_init(&set->pending);
    return 0;
}

static struct ouro__scheduled_io *slot(struct ouro__registration_set *set, uint32_t index)
{
    uint32_t chunk = index / OURO__SLAB_CHUNK;
    if (chunk >= OURO__SLAB_CHUNKS_MAX)
        return NULL;
    struct ouro__scheduled_io *first = ouro__load(&set->chunk[chunk], memory_order_acquire);
    return first == NULL ? NULL : first + index % OURO__SLAB_CHUNK;
}

void ouro__registration_set_fini(struct ouro__registration_set *set)
{
    OURO__ASSERT(ouro__list_is_empty(&set->live));
    /* What was deregistered after the driver had closed was never released. */
    for (uint32_t i = 0; i < set->slots; i++) {
        struct ouro__scheduled_io *sio = slot(set, i);
        OURO__ASSERT(sio->inflight == 0);
        ouro__free(sio->attached);
        ouro__list_remove(&sio->link);
        ouro__sio_fini(sio);
    }
    for (uint32_t i = 0; i < set->slots; i += OURO__SLAB_CHUNK)
        ouro__free(slot(set, i));
    ouro__free(set->chunk);
    ouro__mutex_fini(&set->lock);
}

/* Whether nothing of it is in flight any more, no operation and no message. */
static bool is_idle(const struct ouro__scheduled_io *sio)
{
    return sio->inflight == 0 && sio->ready_pending == 0 &&
           ouro__load(&sio->messages, memory_order_acquire) == 0;
}

/* One more chunk of free slots. */
static int grow_locked(struct ouro__registration_set *set)
{
    uint32_t chunk = set->slots / OURO__SLAB_CHUNK;
    if (chunk == OURO__SLAB_CHUNKS_MAX)
        return -ENOMEM;
    struct ouro__scheduled_io *slots =
        ouro__alloc_aligned(OURO__CACHE_LINE, OURO__SLAB_CHUNK * sizeof(*slots));
    if (slots == NULL)
        return -ENOMEM;
    for (uint32_t i = OURO__SLAB_CHUNK; i-- > 0;) {
        ouro__sio_init(&slots[i], set->slots + i);
        slots[i].next_free = set->free;
        set->free = &slots[i];
    }
    set->slots += OURO__SLAB_CHUNK;
    ouro__store(&set->chunk[chunk], slots, memory_order_release);
    return 0;
}

int ouro__registration_set_allocate(struct ouro__registration_set *set,
                                    struct ouro__driver_handle *handle, int fd, uint32_t flags,
                                    struct ouro__scheduled_io **out_sio)
{
    int rc = 0;
    ouro__mutex_lock(&set->lock);
    if (set->is_shutdown)
        rc = -OURO_ESHUTDOWN;
    else if (set->free == NULL)
        rc = grow_locked(set);
    if (rc == 0) {
        struct ouro__scheduled_io *sio = set->free;
        set->free = sio->next_free;
        OURO__ASSERT(sio->state == OURO__SIO_FREE);
        sio->state = OURO__SIO_LIVE;
        sio->handle = handle;
        sio->fd = fd;
        sio->flags = flags;
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
    sio->backend = 0;
    sio->closing = false;
    sio->must_check = false;
    sio->generation++;
    if (sio->generation == 0) /* 0 is the driver's own tokens' */
        sio->generation = 1;
    sio->next_free = set->free;
    set->free = sio;
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
    /* No lock is held across wakes, and none is needed: slots are never given back, and none is
     * allocated any more, so SHUTDOWN on a slot that was deregistered meanwhile does no harm. */
    for (uint32_t i = 0; i < slots; i++)
        ouro__sio_shut_down(slot(set, i));
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
        if (sio->inflight > 0)
            each(arg, sio);
    }
}
