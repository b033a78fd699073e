/* SPDX-License-Identifier: MIT */
/*
 * ZeroCopy: sends that the kernel makes from the program's memory, without a copy.
 *
 * Such an operation ends twice: it has its result when the socket has taken the bytes, and its
 * memory comes back when the peer has acknowledged them.  It takes a slot, which names it until
 * its memory has come back.  Neither its descriptor nor its driver waits for that.
 *
 * Whether it is worth while depends on the size and on the network; each driver finds it out by
 * trying.
 */
#ifndef OURO_REGISTRY_ZERO_COPY_H
#define OURO_REGISTRY_ZERO_COPY_H

#include "base/atomic.h"
#include "base/list.h"
#include "registry/op_slots.h"
#include "registry/trial.h"

#include <ouro/runtime.h>

/* An operation of the code SEND_ZERO_COPY is the first member of this. */
struct ouro__zero_copy_op {
    struct ouro__op op;
    struct ouro__queue_node node; /* the driver's */
    bool was_copied;              /* the kernel's report, valid in came_back() */
    /* The memory has come back: called once on the driver's thread, after done(), and is the last
     * thing the driver does with it.  Not called when the operation got its result without lending
     * its memory: see ouro__zero_copy_has_lent(). */
    void (*came_back)(struct ouro__zero_copy_op *zero_copy);
};

/* Below that two completions always cost more than a copy: 3 KiB is break-even on a network card at
 * best (Linux 6.10: "io_uring/notif: implement notification stacking"). */
enum { OURO__ZERO_COPY_BYTES_MIN = 4096 };

/* Sizes from 4, 8, 16, 32 KiB on. */
enum { OURO__ZERO_COPY_CLASSES = 4 };

struct ouro__zero_copy_class {
    struct ouro__trial trial; /* whether not copying is the cheaper way */
    uint32_t sends_left;      /* of this stretch */
    uint64_t bytes_begun;     /* what the driver had moved when it began */
};

/* One for each driver; the driver's thread only, but the counters. */
struct ouro__zero_copy {
    uint32_t mode;   /* enum ouro_zero_copy */
    bool is_refused; /* the backend cannot, or the kernel does not */
    struct ouro__zero_copy_class class[OURO__ZERO_COPY_CLASSES];
    struct ouro__queue came_back; /* operations whose came_back() is due */
    struct ouro__counter sends;   /* whose memory was lent */
    struct ouro__counter copied;  /* of them: the kernel has copied all the same */
};

/* Before the driver is opened, which may set is_refused as well. */
void ouro__zero_copy_init(struct ouro__zero_copy *zero_copy, uint32_t mode, bool is_refused);

/* Whether @mode (enum ouro_zero_copy) lets a send of @size bytes be made without a copy at all. */
static inline bool ouro__zero_copy_is_allowed(uint32_t mode, size_t size)
{
    if (mode == OURO_ZERO_COPY_AUTO)
        return size >= OURO__ZERO_COPY_BYTES_MIN;
    return mode == OURO_ZERO_COPY_ALWAYS && size > 0;
}

/* Whether a send of @size bytes is to be made without a copy; called once for each send that could
 * be.  @moved_bytes: what the driver has moved so far. */
bool ouro__zero_copy_is_wanted(struct ouro__zero_copy *zero_copy, size_t size,
                               uint64_t moved_bytes);

/* Backends, inside turn(), before ouro__driver_complete(): @op has its result, and the kernel goes
 * on using its memory. */
void ouro__zero_copy_lend(struct ouro__zero_copy *zero_copy, struct ouro__op *op);

/* In done() and later: whether the memory is lent, and came_back() is called. */
static inline bool ouro__zero_copy_has_lent(const struct ouro__op *op)
{
    return op->lane == OURO__LANE_LENT;
}

/* Backends, inside turn(): the kernel does not use the memory of @op, which has a slot of @slots,
 * any more.  came_back() is called at the end of the turn. */
void ouro__zero_copy_came_back(struct ouro__zero_copy *zero_copy, struct ouro__op_slots *slots,
                               struct ouro__op *op, bool was_copied);

/* The driver: at the end of a turn; and, when it closes and all other operations have ended, the
 * same as if all memory that is lent had come back. */
void ouro__zero_copy_run(struct ouro__zero_copy *zero_copy);
void ouro__zero_copy_abandon(struct ouro__zero_copy *zero_copy, struct ouro__op_slots *slots);

#endif
