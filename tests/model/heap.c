/* SPDX-License-Identifier: MIT */
/*
 * The library's heap for models: what is freed is filled with rubbish and kept back for a while, so
 * that who touches it afterwards stumbles, here and now.
 */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum { KEPT_BACK = 64, HEADER = 128, RUBBISH = 0xdb };

static char *kept_back[KEPT_BACK];
static unsigned next;

void *ouro__alloc_aligned(size_t alignment, size_t size)
{
    char *block = NULL;
    if (alignment > HEADER)
        return NULL;
    block = aligned_alloc(HEADER, HEADER + (size + HEADER - 1) / HEADER * HEADER);
    if (block == NULL)
        return NULL;
    memcpy(block, &size, sizeof(size));
    memset(block + HEADER, 0, size);
    return block + HEADER;
}

void *ouro__alloc(size_t size)
{
    return ouro__alloc_aligned(1, size);
}

void *ouro__calloc(size_t count, size_t size)
{
    return ouro__alloc_aligned(1, count * size);
}

void ouro__free(void *memory)
{
    size_t size = 0;
    if (memory == NULL)
        return;
    memcpy(&size, (char *)memory - HEADER, sizeof(size));
    memset(memory, RUBBISH, size);
    free(kept_back[next % KEPT_BACK]);
    kept_back[next++ % KEPT_BACK] = (char *)memory - HEADER;
}
