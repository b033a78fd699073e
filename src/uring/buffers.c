/* SPDX-License-Identifier: MIT */
/*
 * Buffers: the ring of buffers from which the kernel chooses one for a receive on loan.
 *
 * A receive with IOSQE_BUFFER_SELECT takes a buffer when data is there, and its CQE names the
 * buffer.  So a connection that waits for data holds none.  The ring is made at the first receive
 * on loan.  If the kernel refuses it, receives wait by a poll and take a buffer then
 * (uring/rows.c).
 *
 * The kernel takes buffers in the order in which they were offered, so all that are offered get
 * used in turn: their pages stay in memory, and a large message finds none of its buffer in the
 * cache.  Few are offered at first, and twice as many each time when the kernel found none although
 * the pool had some, as long as what comes in all of them fits into the cache.  Beyond that a
 * receive that finds none gets the buffer that came home last, at the cost of a second request,
 * which is the cheaper of the two (docs/DECISIONS.md).  After a second in which half of them were
 * never needed, half as many are wanted; those that are in the ring leave it as data comes.
 * When no receive is in flight, the whole ring is given up, and made again by the next.  At least
 * one is never offered: what receives without the kernel's choice (a pipe) must not wait for
 * sockets on which nothing arrives.
 *
 * The ring's pages are kept out of forked children: a child must not make the parent's writes go to
 * a copy that the kernel does not see.
 *
 * Owns:    the mapping of the ring.
 * Threads: the owner's.
 * Always:  as many buffers are in the ring as the pool has OFFERED, or their CQEs are there.
 * Tests:   tests/uring/test_buffers.c
 */
#include "uring/buffers.h"

#include "base/fault.h"

#include <sys/mman.h>

/* How many are offered at first, and at most. */
enum { TARGET_FIRST = 16, TARGET_MAX = 4096 };

/* What may be received into all that are offered, unless it is the first few: a part of the
 * second-level cache. */
enum { CACHE_BYTES = 128 * 1024 };

static uint32_t power_of_two(uint32_t count)
{
    uint32_t entries = 1;
    while (entries < count)
        entries *= 2;
    return entries;
}

static void make_ring(struct ouro__uring_buffers *buffers, struct io_uring *ring, uint32_t count)
{
    buffers->was_tried = true;
    if (!buffers->is_wanted || count < 2 || ouro__fault(OURO__FAULT_RING_BUFFERS) != 0)
        return;
    uint32_t entries = power_of_two(count < TARGET_MAX ? count : TARGET_MAX);
    size_t bytes = entries * sizeof(struct io_uring_buf);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return;
    struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)memory,
                                   .ring_entries = entries,
                                   .bgid = OURO__URING_GROUP};
    if (madvise(memory, bytes, MADV_DONTFORK) != 0 ||
        io_uring_register_buf_ring(ring, &reg, 0) != 0) {
        (void)munmap(memory, bytes);
        return;
    }
    io_uring_buf_ring_init(memory);
    buffers->ring = memory;
    buffers->ring_bytes = bytes;
    buffers->entries = entries;
    buffers->target = TARGET_FIRST;
}

bool ouro__uring_buffers_offer(struct ouro__uring_buffers *buffers, struct io_uring *ring,
                               struct ouro__loan_pool *pool)
{
    if (OURO__UNLIKELY(!buffers->was_tried))
        make_ring(buffers, ring, pool->count);
    if (OURO__UNLIKELY(buffers->ring == NULL))
        return false;
    int added = 0;
    struct ouro__loan_buffer *buffer = NULL;
    while (pool->offered_count < buffers->target && pool->offered_count + 1 < pool->made &&
           (buffer = ouro__loan_pool_offer(pool)) != NULL) {
        io_uring_buf_ring_add(buffers->ring, buffer->data, (unsigned)pool->buffer_bytes,
                              (unsigned short)buffer->index, (int)buffers->entries - 1, added);
        added++;
    }
    if (added > 0)
        io_uring_buf_ring_advance(buffers->ring, added);
    return true;
}

static bool fits_the_cache(const struct ouro__uring_buffers *buffers, uint32_t target)
{
    return target <= TARGET_FIRST || (uint64_t)target * (uint32_t)buffers->received <= CACHE_BYTES;
}

void ouro__uring_buffers_grow(struct ouro__uring_buffers *buffers, struct ouro__loan_pool *pool)
{
    if (buffers->target < buffers->entries && buffers->target < pool->made &&
        fits_the_cache(buffers, buffers->target * 2))
        buffers->target *= 2;
    pool->has_surplus = buffers->target > TARGET_FIRST;
}

/* No request is in flight that could take a buffer. */
static void give_up_ring(struct ouro__uring_buffers *buffers, struct io_uring *ring,
                         struct ouro__loan_pool *pool)
{
    if (io_uring_unregister_buf_ring(ring, OURO__URING_GROUP) != 0)
        return;
    ouro__uring_buffers_close(buffers);
    buffers->was_tried = false;
    ouro__loan_pool_withdraw(pool);
}

void ouro__uring_buffers_trim(struct ouro__uring_buffers *buffers, struct io_uring *ring,
                              struct ouro__loan_pool *pool, bool is_receiving)
{
    if (buffers->ring == NULL)
        return;
    if (!fits_the_cache(buffers, buffers->target) ||
        (buffers->target > TARGET_FIRST && pool->offered_low >= buffers->target / 2))
        buffers->target /= 2;
    if (!is_receiving && pool->offered_count > TARGET_FIRST)
        give_up_ring(buffers, ring, pool);
    pool->has_surplus = buffers->ring != NULL && buffers->target > TARGET_FIRST;
}

void ouro__uring_buffers_close(struct ouro__uring_buffers *buffers)
{
    if (buffers->ring != NULL)
        (void)munmap(buffers->ring, buffers->ring_bytes);
    buffers->ring = NULL;
}
