/* SPDX-License-Identifier: MIT */
/*
 * Op slots: the slab of one driver's operations that are in no lane.
 */
#ifndef OURO_REGISTRY_OP_SLOTS_H
#define OURO_REGISTRY_OP_SLOTS_H

#include "registry/op.h"

struct ouro__op_slot {
    struct ouro__op *op; /* NULL: free */
    uint32_t generation; /* never 0 */
    uint32_t next_free;  /* index + 1; 0: none */
};

struct ouro__op_slots {
    struct ouro__op_slot *slot;
    uint32_t size;
    uint32_t free; /* index + 1; 0: none */
    uint32_t used;
};

/* All of it on the driver's thread.  A zeroed one is empty. */
void ouro__op_slots_fini(struct ouro__op_slots *slots);

/* Puts @op into a free slot, which op->token then names.  Errors: -ENOMEM. */
int ouro__op_slots_take(struct ouro__op_slots *slots, struct ouro__op *op);
void ouro__op_slots_release(struct ouro__op_slots *slots, const struct ouro__op *op);

/* The operation that @token names; NULL when it has ended. */
struct ouro__op *ouro__op_slots_find(const struct ouro__op_slots *slots, uint64_t token);

/* Calls @each for every operation; @each must not submit or complete. */
void ouro__op_slots_for_each(const struct ouro__op_slots *slots,
                             void (*each)(void *arg, struct ouro__op *op), void *arg);

#endif
