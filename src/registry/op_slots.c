/* SPDX-License-Identifier: MIT */
/*
 * Op slots: the slab of one driver's operations that are in no lane.
 *
 * A lane admits one operation of a kind at a time on a descriptor, and needs no memory.  An
 * operation of which there may be several at a time, or which concerns two descriptors or none,
 * takes a slot.  The slot's index and generation are the operation's token, so a result that comes
 * after its operation has ended finds a generation that does not match.
 *
 * The table is one array, which doubles when it is full; slots keep their index and generation.
 *
 * Owns:    the array.
 * Threads: the driver's.
 * Always:  a slot's generation moves each time it is released.
 * Tests:   tests/registry/test_op_slots.c
 */
#include "registry/op_slots.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <errno.h>
#include <string.h>

enum { SIZE_MIN = 16 };

void ouro__op_slots_fini(struct ouro__op_slots *slots)
{
    OURO__ASSERT(slots->used == 0);
    ouro__free(slots->slot);
    *slots = (struct ouro__op_slots){.size = 0};
}

static int grow(struct ouro__op_slots *slots)
{
    uint32_t size = slots->size == 0 ? SIZE_MIN : slots->size * 2;
    if (size > OURO__SLAB_INDEX_MAX)
        return -ENOMEM;
    struct ouro__op_slot *slot = ouro__calloc(size, sizeof(*slot));
    if (slot == NULL)
        return -ENOMEM;
    if (slots->size > 0)
        memcpy(slot, slots->slot, slots->size * sizeof(*slot));
    for (uint32_t i = size; i-- > slots->size;) {
        slot[i] = (struct ouro__op_slot){.generation = 1, .next_free = slots->free};
        slots->free = i + 1;
    }
    ouro__free(slots->slot);
    slots->slot = slot;
    slots->size = size;
    return 0;
}

int ouro__op_slots_take(struct ouro__op_slots *slots, struct ouro__op *op)
{
    int rc = slots->free == 0 ? grow(slots) : 0;
    if (rc < 0)
        return rc;
    uint32_t index = slots->free - 1;
    struct ouro__op_slot *slot = &slots->slot[index];
    OURO__ASSERT(slot->op == NULL);
    slots->free = slot->next_free;
    slots->used++;
    slot->op = op;
    op->token = ouro__token(slot->generation, index, (unsigned)OURO__LANE_SLOT | op->code);
    return 0;
}

void ouro__op_slots_release(struct ouro__op_slots *slots, const struct ouro__op *op)
{
    uint32_t index = ouro__token_index(op->token);
    OURO__ASSERT(index < slots->size && slots->slot[index].op == op);
    struct ouro__op_slot *slot = &slots->slot[index];
    slot->op = NULL;
    slot->generation++;
    if (slot->generation == 0)
        slot->generation = 1;
    slot->next_free = slots->free;
    slots->free = index + 1;
    slots->used--;
}

struct ouro__op *ouro__op_slots_find(const struct ouro__op_slots *slots, uint64_t token)
{
    uint32_t index = ouro__token_index(token);
    if (index >= slots->size || slots->slot[index].generation != ouro__token_generation(token))
        return NULL;
    return slots->slot[index].op;
}

void ouro__op_slots_for_each(const struct ouro__op_slots *slots,
                             void (*each)(void *arg, struct ouro__op *op), void *arg)
{
    for (uint32_t i = 0; slots->used > 0 && i < slots->size; i++) {
        if (slots->slot[i].op != NULL)
            each(arg, slots->slot[i].op);
    }
}
