/* SPDX-License-Identifier: MIT */
/*
 * ZeroCopy: sends that the kernel makes from the program's memory, without a copy.
 *
 *     INFLIGHT --the result--> COMPLETED --done()--> the waiter goes on
 *                                  |
 *                                  +--the notification--> came_back(): the memory is free
 *
 * From the result on the operation is counted no more: not as in flight, nor for its descriptor.
 * Its lane is LENT then, and only its slot is left, so that the notification finds it.
 *
 * A driver that closes does not wait for peers that acknowledge nothing.  It closes its ring, then
 * says that all memory has come back.  The kernel has its own references to the pages, and sends
 * what is in them; so who lends memory to a send must not use that memory again after the driver
 * has closed.  The buffers of the driver's own pool (registry/loan_pool.h) are such memory: nobody
 * takes them then.
 *
 * The choice: a copy costs by the byte, a notification by the message, and some networks copy all
 * the same (loopback does).  So each class of sizes has a trial (registry/trial.h), whose stretches
 * are SENDS sends of that size; what counts is the CPU time for each KiB that the driver moves.
 *
 * Owns:    the operation, from its result until came_back().
 * Threads: the driver's.
 * Always:  an operation in the lane LENT is COMPLETED and has its slot.
 * Tests:   tests/registry/test_zero_copy.c, tests/stream/test_write_loan.c
 */
#include "registry/zero_copy.h"

#include "base/assert.h"

/* A stretch. */
enum { SENDS = 128 };

void ouro__zero_copy_init(struct ouro__zero_copy *zero_copy, uint32_t mode, bool is_refused)
{
    zero_copy->mode = mode;
    zero_copy->is_refused = is_refused;
    for (unsigned i = 0; i < OURO__ZERO_COPY_CLASSES; i++)
        ouro__trial_init(&zero_copy->class[i].trial);
}

static struct ouro__zero_copy_class *class_of(struct ouro__zero_copy *zero_copy, size_t size)
{
    unsigned i = 0;
    size_t next = (size_t)OURO__ZERO_COPY_BYTES_MIN * 2;
    while (i + 1 < OURO__ZERO_COPY_CLASSES && size >= next) {
        next *= 2;
        i++;
    }
    return &zero_copy->class[i];
}

bool ouro__zero_copy_is_wanted(struct ouro__zero_copy *zero_copy, size_t size, uint64_t moved_bytes)
{
    if (zero_copy->is_refused || !ouro__zero_copy_is_allowed(zero_copy->mode, size))
        return false;
    if (zero_copy->mode == OURO_ZERO_COPY_ALWAYS)
        return true;
    struct ouro__zero_copy_class *class = class_of(zero_copy, size);
    if (class->sends_left == 0) {
        uint64_t units = (moved_bytes - class->bytes_begun) / 1024;
        (void)ouro__trial_next_stretch(&class->trial, units > 0 ? units : 1);
        class->bytes_begun = moved_bytes;
        class->sends_left = SENDS;
    }
    class->sends_left--;
    return ouro__trial_way(&class->trial);
}

void ouro__zero_copy_lend(struct ouro__zero_copy *zero_copy, struct ouro__op *op)
{
    OURO__ASSERT(op->lane == OURO__LANE_SLOT && op->state == OURO__OP_INFLIGHT);
    op->lane = OURO__LANE_LENT;
    ouro__counter_add(&zero_copy->sends, 1);
}

void ouro__zero_copy_came_back(struct ouro__zero_copy *zero_copy, struct ouro__op_slots *slots,
                               struct ouro__op *op, bool was_copied)
{
    struct ouro__zero_copy_op *lent = OURO__CONTAINER_OF(op, struct ouro__zero_copy_op, op);
    OURO__ASSERT(op->lane == OURO__LANE_LENT && op->state == OURO__OP_COMPLETED);
    ouro__op_slots_release(slots, op);
    ouro__counter_add(&zero_copy->copied, was_copied);
    lent->was_copied = was_copied;
    ouro__queue_push(&zero_copy->came_back, &lent->node);
}

void ouro__zero_copy_run(struct ouro__zero_copy *zero_copy)
{
    struct ouro__queue_node *node = NULL;
    while ((node = ouro__queue_pop(&zero_copy->came_back)) != NULL) {
        struct ouro__zero_copy_op *op = OURO__CONTAINER_OF(node, struct ouro__zero_copy_op, node);
        op->came_back(op);
    }
}

static void collect(void *arg, struct ouro__op *op)
{
    ouro__queue_push(arg, &op->node);
}

void ouro__zero_copy_abandon(struct ouro__zero_copy *zero_copy, struct ouro__op_slots *slots)
{
    struct ouro__queue lent = {.head = NULL};
    struct ouro__queue_node *node = NULL;
    ouro__op_slots_for_each(slots, collect, &lent);
    while ((node = ouro__queue_pop(&lent)) != NULL)
        ouro__zero_copy_came_back(zero_copy, slots, OURO__CONTAINER_OF(node, struct ouro__op, node),
                                  false);
}
