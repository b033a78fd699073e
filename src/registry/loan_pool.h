/* SPDX-License-Identifier: MIT */
/*
 * Loan pool: the buffers of one driver that receives on loan use.
 *
 * Who has a buffer is a state, and each change of it is checked, in every build:
 *
 *     HOME ----take()---> OUT ---give_back()---> RETURNED ---put()---> HOME, or OUT again
 *     HOME ---offer()---> OFFERED ---claim()---> OUT
 *
 * OFFERED is a buffer that a backend has given to the kernel to choose from (uring/buffers.c).  OUT
 * is one that an operation or a loan has.  RETURNED is one whose way home is a message to the
 * driver's thread.
 */
#ifndef OURO_REGISTRY_LOAN_POOL_H
#define OURO_REGISTRY_LOAN_POOL_H

#include "base/atomic.h"
#include "registry/inbox.h"
#include "registry/op.h"

struct ouro__driver_handle;

enum ouro__loan_state {
    OURO__LOAN_HOME = 0,
    OURO__LOAN_OFFERED = 1,
    OURO__LOAN_OUT = 2,
    OURO__LOAN_RETURNED = 3,
    OURO__LOAN_STATES = 4
};

struct ouro__loan_buffer {
    struct ouro__loan_pool *pool;
    struct ouro__loan_buffer *next; /* at home: the next below it */
    char *data;                     /* pool->buffer_bytes of them */
    void *account;                  /* whose loan it is; the stream's (stream/loan.c) */
    uint32_t index;
    uint32_t window;                 /* of the pool's, when it came home last */
    bool is_warm;                    /* somebody has had it since its memory was given back */
    _Atomic uint32_t word;           /* how often it came home, times STATES, plus its state */
    struct ouro__inbox_node message; /* from another thread: it comes home */
};

/* Buffers are made so many at a time, and there are so many at most. */
enum { OURO__LOANS_STEP = 64, OURO__LOANS_MAX = 32768 };

/* So many buffers may stay warm without use: that is not worth a timer. */
enum { OURO__LOANS_FEW = 16 };

struct ouro__loan_pool {
    struct ouro__driver_handle *handle; /* whose it is */
    char *memory;                       /* room for all buffers; untouched ones take none */
    size_t memory_bytes;
    size_t buffer_bytes;
    size_t stride_bytes; /* from one buffer to the next */
    size_t unit_bytes;   /* what can be given back by itself: a buffer, or a page of small ones */
    uint32_t unit_buffers;
    uint32_t count;                  /* there may be so many */
    uint32_t made;                   /* there are so many: those below this index */
    struct ouro__loan_buffer **step; /* tables of STEP buffers each */

    /* The driver's thread only. */
    struct ouro__loan_buffer *home; /* the last that came home is the first that is taken */
    uint32_t home_count;
    uint32_t offered_count;
    uint32_t offered_low;       /* the fewest in this window */
    uint32_t warm_count;        /* of those at home */
    bool has_surplus;           /* the backend has offered more than it did at first */
    uint32_t window;            /* counts them (registry/trim.c) */
    uint32_t trim_next;         /* the unit to be looked at next */
    struct ouro__queue waiters; /* operations that wait for a buffer, in order */
};

/* The buffer with @index, which is below pool->made. */
static inline struct ouro__loan_buffer *ouro__loan_pool_at(const struct ouro__loan_pool *pool,
                                                           uint32_t index)
{
    return &pool->step[index / OURO__LOANS_STEP][index % OURO__LOANS_STEP];
}

/* A pool of up to @count buffers; the first are made at once.  NULL when there is no memory. */
struct ouro__loan_pool *ouro__loan_pool_new(struct ouro__driver_handle *handle, size_t buffer_bytes,
                                            uint32_t count);

/* It is not used any more.  NULL is ignored. */
void ouro__loan_pool_free(struct ouro__loan_pool *pool);

/* Whether a buffer is OUT, or RETURNED and still looked at by who returned it.  The driver has
 * closed. */
bool ouro__loan_pool_is_used(struct ouro__loan_pool *pool);

/* The driver has closed its ring: what was offered is at home again. */
OURO__DRIVER_THREAD void ouro__loan_pool_withdraw(struct ouro__loan_pool *pool);

/* A buffer from home, or a new one; NULL when there is none. */
OURO__DRIVER_THREAD struct ouro__loan_buffer *ouro__loan_pool_take(struct ouro__loan_pool *pool);

/* The same, for the kernel to choose from. */
OURO__DRIVER_THREAD struct ouro__loan_buffer *ouro__loan_pool_offer(struct ouro__loan_pool *pool);

/* The kernel has chosen the buffer @index. */
OURO__DRIVER_THREAD struct ouro__loan_buffer *ouro__loan_pool_claim(struct ouro__loan_pool *pool,
                                                                    uint32_t index);

/*
 * A buffer that was RETURNED comes home.  If an operation waits for one, the buffer is the
 * operation's at once; then returns that operation, which waits no longer.  Otherwise NULL.
 */
OURO__DRIVER_THREAD struct ouro__op *ouro__loan_pool_put(struct ouro__loan_pool *pool,
                                                         struct ouro__loan_buffer *buffer);

/* @op waits for a buffer; op->node is the pool's. */
OURO__DRIVER_THREAD void ouro__loan_pool_wait(struct ouro__loan_pool *pool, struct ouro__op *op);
/* It waits no longer. */
OURO__DRIVER_THREAD void ouro__loan_pool_leave(struct ouro__loan_pool *pool, struct ouro__op *op);

/* Whether there is memory to give back. */
static inline bool ouro__loan_pool_is_trimmable(const struct ouro__loan_pool *pool)
{
    return pool->warm_count > OURO__LOANS_FEW || pool->has_surplus;
}

/* The buffers that came home before this window are to be given back by ouro__loan_pool_trim(). */
OURO__DRIVER_THREAD void ouro__loan_pool_end_window(struct ouro__loan_pool *pool);

/*
 * Gives memory back, with at most @calls_max system calls.  False: there is nothing more, and the
 * next window has begun.
 */
OURO__DRIVER_THREAD bool ouro__loan_pool_trim(struct ouro__loan_pool *pool, unsigned calls_max);

/* The word that tells this loan of the buffer from earlier and later ones. */
OURO__ANY_THREAD static inline uint32_t
ouro__loan_buffer_word(const struct ouro__loan_buffer *buffer)
{
    return ouro__load(&buffer->word, memory_order_relaxed);
}

/* The caller has @buffer, which is OUT.  It is another loan from here on. */
static inline void ouro__loan_buffer_renew(struct ouro__loan_buffer *buffer)
{
    ouro__store(&buffer->word, ouro__loan_buffer_word(buffer) + OURO__LOAN_STATES,
                memory_order_relaxed);
}

/* OUT becomes RETURNED.  False: it was not OUT, or not with this @word. */
OURO__ANY_THREAD bool ouro__loan_buffer_give_back(struct ouro__loan_buffer *buffer, uint32_t word);
/* RETURNED, after the driver has closed: nothing will take it again.  The caller's last access. */
OURO__ANY_THREAD void ouro__loan_buffer_strand(struct ouro__loan_buffer *buffer);

/* @op has @buffer from now on. */
static inline void ouro__loan_buffer_assign(struct ouro__loan_buffer *buffer, struct ouro__op *op)
{
    op->arg.io.loan = buffer;
    op->arg.io.buffer = buffer->data;
}

#endif
