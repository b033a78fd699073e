/* SPDX-License-Identifier: MIT */
/*
 * Lending: how operations get buffers of their driver's pool, and how buffers come back.
 *
 * A buffer that is returned on the driver's thread is put at home at once.  From another thread it
 * travels as a message in the driver's inbox.  A driver that has closed refuses the message: then
 * nothing will use the buffer again, and it waits for the release of the pool.
 *
 * Owns:    the pool, through the driver's handle.
 * Threads: as labelled in the header.
 * Always:  an operation that waits for a buffer is in the pool's list, and in no list of the
 *          backend's.
 * Tests:   tests/registry/test_loan_pool.c, tests/stream/test_loan.c
 */
#include "registry/lending.h"

#include "base/assert.h"

struct ouro__loan_pool *ouro__lending_pool(struct ouro__driver_handle *handle)
{
    struct ouro__loan_pool *pool = ouro__load(&handle->loans, memory_order_acquire);
    if (OURO__LIKELY(pool != NULL))
        return pool;
    struct ouro__loan_pool *made =
        ouro__loan_pool_new(handle, handle->loan_buffer_bytes, handle->loan_buffers);
    if (made == NULL || ouro__compare_exchange(&handle->loans, &pool, made, memory_order_acq_rel))
        return made;
    ouro__loan_pool_free(made); /* another thread was first */
    return pool;
}

/* Of the calling thread's driver. */
static struct ouro__loan_pool *pool_here(const struct ouro__op *op)
{
    struct ouro__loan_pool *pool = ouro__load(&op->handle->loans, memory_order_acquire);
    OURO__ASSERT(pool != NULL);
    return pool;
}

bool ouro__lending_get(struct ouro__op *op)
{
    struct ouro__loan_pool *pool = pool_here(op);
    struct ouro__loan_buffer *buffer = ouro__loan_pool_take(pool);
    if (buffer == NULL) {
        ouro__loan_pool_wait(pool, op);
        return false;
    }
    ouro__loan_buffer_assign(buffer, op);
    return true;
}

static void put(struct ouro__driver *driver, struct ouro__loan_buffer *buffer)
{
    struct ouro__op *op = ouro__loan_pool_put(buffer->pool, buffer);
    if (op != NULL)
        driver->handle->ops->resume(driver, op);
}

void ouro__lending_put(struct ouro__driver *driver, struct ouro__loan_buffer *buffer)
{
    bool was_out = ouro__loan_buffer_give_back(buffer, ouro__loan_buffer_word(buffer));
    OURO__ASSERT(was_out);
    put(driver, buffer);
}

void ouro__lending_undo(struct ouro__op *op)
{
    struct ouro__loan_buffer *buffer = op->arg.io.loan;
    if (buffer == NULL)
        return;
    op->arg.io.loan = NULL;
    op->arg.io.buffer = NULL;
    ouro__lending_put(op->handle->driver, buffer);
}

static void come_home(struct ouro__inbox_node *node)
{
    struct ouro__loan_buffer *buffer = OURO__CONTAINER_OF(node, struct ouro__loan_buffer, message);
    put(buffer->pool->handle->driver, buffer);
}

bool ouro__lending_return(struct ouro__loan_buffer *buffer, uint32_t word)
{
    struct ouro__driver_handle *handle = buffer->pool->handle;
    if (!ouro__loan_buffer_give_back(buffer, word))
        return false;
    if (ouro__driver_is_here(handle) && handle->driver != NULL) {
        put(handle->driver, buffer);
        return true;
    }
    buffer->message.run = come_home;
    if (!ouro__driver_send(handle, &buffer->message))
        ouro__loan_buffer_strand(buffer);
    return true;
}
