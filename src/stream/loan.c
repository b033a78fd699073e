/* SPDX-License-Identifier: MIT */
/*
 * Loan: reading on loan, for every kind of stream.
 *
 * Each stream that reads on loan has an account, made by the first read.  (The first send without a
 * copy makes it, too: the stream's last send is kept there, where it makes no stream larger.)  Its
 * count is 1 for the stream and 1 for each loan; who counts it down to 0 frees it.  It has a
 * reference to the runtime's handle, and so keeps the driver's pool and inbox until the last loan
 * was released, whatever has ended before.  Loans that were lent to a send (write_loan.c) are
 * counted once more, in the upper half of the same word: they are not the program's any more, and
 * so count neither for the stream's credit nor when it is closed.
 *
 * The struct of a loan names the buffer, and the buffer's word (registry/loan_pool.h), which is
 * another one for each loan of the buffer: so a second release is noticed.
 *
 * Owns:    the account.
 * Threads: reading as in stream.c; a release any.
 * Always:  only the reader counts the account up, so the credit is never exceeded.
 * Tests:   tests/stream/test_loan.c, tests/stream/test_loan_ends.c
 */
#include <ouro/loan.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/fork.h"
#include "registry/lending.h"
#include "stream/stream.h"
#include "task/handle.h"

#include <ouro/error.h>

#include <errno.h>

/* In counts: a reference, and one that is lent. */
#define REFERENCE UINT64_C(1)
#define LENT ((UINT64_C(1) << 32) + REFERENCE)

struct ouro__loan_account {
    _Atomic uint64_t counts;
    struct ouro_handle *handle;        /* one reference */
    struct ouro__loan_send *last_send; /* the stream's, for its writing direction */
};

static uint32_t references_of(uint64_t counts)
{
    return (uint32_t)counts;
}

static uint32_t lent_of(uint64_t counts)
{
    return (uint32_t)(counts >> 32);
}

static struct ouro__loan_account *account_new(struct ouro_handle *handle)
{
    struct ouro__loan_account *account = ouro__alloc(sizeof(*account));
    if (account == NULL)
        return NULL;
    ouro__atomic_init(&account->counts, REFERENCE);
    account->handle = ouro_handle_ref(handle);
    account->last_send = NULL;
    return account;
}

/* @part is REFERENCE or LENT.  Returns how many references are left that are not lent. */
static uint32_t account_unref(struct ouro__loan_account *account, uint64_t part)
{
    uint64_t left = ouro__fetch_sub(&account->counts, part, memory_order_acq_rel) - part;
    if (references_of(left) == 0) {
        ouro_handle_unref(account->handle);
        ouro__free(account);
    }
    return references_of(left) - lent_of(left);
}

static struct ouro__loan_account *account_of(const struct ouro_stream *stream)
{
    return ouro__load(&stream->loans, memory_order_acquire);
}

/* Its reader and its writer may be the first at once. */
static OURO__NOINLINE struct ouro__loan_account *account_make(struct ouro_stream *stream)
{
    struct ouro__loan_account *account = NULL;
    struct ouro__loan_account *made = account_new(stream->descriptor.handle);
    if (made == NULL ||
        ouro__compare_exchange(&stream->loans, &account, made, memory_order_acq_rel))
        return made;
    (void)account_unref(made, REFERENCE);
    return account;
}

static uint32_t loans_out(const struct ouro__loan_account *account)
{
    if (account == NULL)
        return 0;
    uint64_t counts = ouro__load(&account->counts, memory_order_acquire);
    return references_of(counts) - lent_of(counts) - 1;
}

bool ouro__loan_is_out(const struct ouro_stream *stream)
{
    return loans_out(account_of(stream)) > 0;
}

int ouro__loan_close(struct ouro_stream *stream)
{
    struct ouro__loan_account *account = account_of(stream);
    if (account == NULL)
        return 0;
    ouro__write_loan_forget(account->last_send);
    return account_unref(account, REFERENCE) > 0 ? -OURO_ELOANED : 0;
}

struct ouro__loan_send *ouro__loan_last_send(const struct ouro_stream *stream)
{
    const struct ouro__loan_account *account = account_of(stream);
    return account == NULL ? NULL : account->last_send;
}

struct ouro__loan_send *ouro__loan_keep_send(struct ouro_stream *stream,
                                             struct ouro__loan_send *send)
{
    struct ouro__loan_account *account = account_of(stream);
    if (account == NULL)
        account = account_make(stream);
    if (account == NULL)
        return send;
    struct ouro__loan_send *before = account->last_send;
    account->last_send = send;
    return before;
}

/* With the reading direction held, and an account. */
static ssize_t read_with(struct ouro_stream *stream, struct ouro__context *context,
                         struct ouro__loan_account *account, struct ouro_loan *out_loan)
{
    struct ouro__loan_buffer *buffer = NULL;
    ssize_t n = stream->kind->read_loan(stream, context, &buffer);
    if (n < 0)
        return n;
    if (n == 0) {
        *out_loan = (struct ouro_loan){.size = 0};
        return 0;
    }
    (void)ouro__fetch_add(&account->counts, REFERENCE, memory_order_relaxed);
    buffer->account = account;
    *out_loan = (struct ouro_loan){
        .data = buffer->data,
        .size = (size_t)n,
        .opaque = {(uint64_t)(uintptr_t)buffer, ouro__loan_buffer_word(buffer)},
    };
    return n;
}

/* With the reading direction held.  The account is made before anything is read: what was read must
 * not be lost for want of memory. */
static ssize_t read_loan(struct ouro_stream *stream, struct ouro__context *context,
                         struct ouro_loan *out_loan)
{
    struct ouro__loan_account *account = account_of(stream);
    if (OURO__UNLIKELY(account == NULL))
        account = account_make(stream);
    if (OURO__UNLIKELY(account == NULL))
        return -ENOMEM;
    if (loans_out(account) >= stream->descriptor.handle->config.loans_per_stream)
        return -OURO_ECREDIT;
    return read_with(stream, context, account, out_loan);
}

ssize_t ouro_stream_read_loan(struct ouro_stream *stream, struct ouro_loan *out_loan)
{
    struct ouro__context *context = NULL;
    if (stream == NULL || out_loan == NULL)
        return -EINVAL;
    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__descriptor_enter(&stream->descriptor, OURO__LANE_READ);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    ssize_t n = read_loan(stream, context, out_loan);
    ouro__descriptor_leave(&stream->descriptor, OURO__LANE_READ);
    return n;
}

/* The buffer of @loan, and whose it is: NULL when the loan was released. */
static struct ouro__loan_buffer *buffer_of(const struct ouro_loan *loan,
                                           struct ouro__loan_account **out_account)
{
    struct ouro__loan_buffer *buffer = (struct ouro__loan_buffer *)(uintptr_t)loan->opaque[0];
    *out_account = NULL;
    if (buffer != NULL && ouro__loan_buffer_word(buffer) == (uint32_t)loan->opaque[1])
        *out_account = buffer->account;
    return buffer;
}

struct ouro__loan_buffer *ouro__loan_lend(struct ouro_loan *loan,
                                          const struct ouro__loan_pool *pool)
{
    struct ouro__loan_account *account = NULL;
    struct ouro__loan_buffer *buffer = buffer_of(loan, &account);
    if (account == NULL || buffer->pool != pool)
        return NULL;
    uint64_t counts = ouro__load(&account->counts, memory_order_relaxed);
    size_t offset = (uintptr_t)loan->data - (uintptr_t)buffer->data;
    if (lent_of(counts) >= account->handle->config.loans_per_stream ||
        offset > pool->buffer_bytes || loan->size > pool->buffer_bytes - offset)
        return NULL;
    ouro__loan_buffer_renew(buffer); /* a release of a copy of @loan is noticed */
    (void)ouro__fetch_add(&account->counts, LENT - REFERENCE, memory_order_relaxed);
    *loan = (struct ouro_loan){.size = 0};
    return buffer;
}

void ouro__loan_came_back(struct ouro__loan_buffer *buffer)
{
    struct ouro__loan_account *account = buffer->account;
    bool was_out = ouro__lending_return(buffer, ouro__loan_buffer_word(buffer));
    OURO__ASSERT(was_out);
    (void)account_unref(account, LENT);
}

void ouro_loan_release(struct ouro_loan *loan)
{
    if (loan == NULL || loan->opaque[0] == 0)
        return;
    struct ouro__loan_account *account = NULL;
    struct ouro__loan_buffer *buffer = buffer_of(loan, &account);
    uint32_t word = (uint32_t)loan->opaque[1];
    *loan = (struct ouro_loan){.size = 0};
    /* A forked child shares neither the pool nor the inbox with the parent's threads. */
    if (account != NULL && ouro__fork_is_child(account->handle->fork_generation))
        return;
    if (account == NULL || !ouro__lending_return(buffer, word))
        OURO__PANIC("a loan was released twice: of several copies only one may be released", 0);
    (void)account_unref(account, REFERENCE);
}
