/* SPDX-License-Identifier: MIT */
/*
 * Token: the 64 bits that the kernel returns with each event, io_uring's user_data or epoll's data.
 * A token is never a pointer but {generation, slab index, lane}.
 *
 *     63            32 31         8 7      0
 *     +---------------+------------+--------+
 *     |  generation   | slab index |  lane  |
 *     +---------------+------------+--------+
 *
 * There are two slabs: of ScheduledIo, and of op slots; the lane tells which.  A slot's generation
 * moves on each time it is released, so a late event for its last owner does not match and is
 * dropped.
 */
#ifndef OURO_REGISTRY_TOKEN_H
#define OURO_REGISTRY_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

/* At most one operation of each lane is in flight on a descriptor. */
enum ouro__lane {
    OURO__LANE_READ = 0,
    OURO__LANE_WRITE = 1,
    OURO__LANE_POLL =
        2, /* the backend's: one poll for all interests, as long as it is registered */
    OURO__LANE_ERROR = 3,   /* a receive from the socket's error queue, beside one of data */
    OURO__LANE_ACCEPT = 4,  /* a lane of its own: its result is a descriptor to be disposed of */
    OURO__LANE_QUIESCE = 5, /* never the kernel's: waits for the others to end */
    OURO__LANES = 6,
    /* With the operation's code in the lower bits: the index is that of an op slot.  So a result
     * that comes after its operation has ended still tells what must be disposed of. */
    OURO__LANE_SLOT = 0x80,
    /* Of an operation, never of a token: it has ended but for its slot (registry/zero_copy.h). */
    OURO__LANE_LENT = 0xe0,
    /* Tokens of the driver itself have index and generation 0. */
    OURO__LANE_WAKE = 0xf0,   /* the wake descriptor */
    OURO__LANE_IGNORE = 0xf1, /* a cancellation's own result */
};

#define OURO__SLAB_INDEX_MAX 0xffffffu

static inline uint64_t ouro__token(uint32_t generation, uint32_t index, unsigned lane)
{
    return (uint64_t)generation << 32 | (uint64_t)(index & OURO__SLAB_INDEX_MAX) << 8 |
           (uint64_t)(lane & 0xffu);
}

static inline uint32_t ouro__token_generation(uint64_t token)
{
    return (uint32_t)(token >> 32);
}

static inline uint32_t ouro__token_index(uint64_t token)
{
    return (uint32_t)(token >> 8) & OURO__SLAB_INDEX_MAX;
}

/* Whether it names an op slot; then the code of its operation. */
static inline bool ouro__lane_is_slot(unsigned lane)
{
    return lane >= OURO__LANE_SLOT && lane < OURO__LANE_WAKE;
}

static inline unsigned ouro__lane_code(unsigned lane)
{
    return lane & ~(unsigned)OURO__LANE_SLOT;
}

static inline unsigned ouro__token_lane(uint64_t token)
{
    return (unsigned)(token & 0xffu);
}

#endif
