/* SPDX-License-Identifier: MIT */
/*
 * Trim: gives back what registrations and buffers for loans hold without use, in bounded steps.
 *
 * At the end of a window the backend may take buffers back that it has offered to the kernel.  Then
 * each step gives the memory of some buffers back, or frees some chunks of registrations that had
 * none during the window.
 *
 * What belongs to a connection beside its registration (the stream, its account of loans, a
 * server's record of it) is from the heap, which keeps what is freed: small blocks are not joined
 * and not returned.  So when the registrations of a peak were given back, the heap is asked to
 * return its free pages.  That is one call for a peak, not for a connection; it locks the heap for
 * some milliseconds at most.
 *
 * Owns:    nothing; its state is in the driver's handle.
 * Threads: the driver's.
 * Always:  a step makes at most PER_STEP system calls, and gives nothing back that somebody has.
 * Tests:   tests/registry/test_trim.c, tests/net/test_idle_memory.c
 */
#include "registry/trim.h"

#include "base/alloc.h"

enum { BUFFERS_PER_STEP = 64, CHUNKS_PER_STEP = 4 };

/* The heap is asked after so many chunks: connections of a peak, not of every day. */
enum { HEAP_CHUNKS = 8 };

static struct ouro__loan_pool *pool_of(const struct ouro__driver_handle *handle)
{
    return ouro__load(&handle->loans, memory_order_acquire);
}

/* Finds out what was not used since the window began. */
static void end_window(struct ouro__driver_handle *handle)
{
    struct ouro__trim_state *trim = &handle->trim;
    struct ouro__loan_pool *pool = pool_of(handle);
    trim->cold_chunks = ouro__registration_set_cold(&handle->set);
    if (pool != NULL && handle->driver != NULL && handle->ops->trim_loans != NULL)
        handle->ops->trim_loans(handle->driver, pool);
    if (pool != NULL)
        ouro__loan_pool_end_window(pool);
    trim->is_working = true;
}

/* After a peak; a peak that ends slowly has several windows, and the last one may free few. */
static void return_heap(struct ouro__driver_handle *handle)
{
    struct ouro__trim_state *trim = &handle->trim;
    bool is_over = !ouro__registration_set_is_trimmable(&handle->set);
    if (trim->freed_chunks >= HEAP_CHUNKS ||
        (is_over && trim->is_after_peak && trim->freed_chunks > 0)) {
        trim->freed_chunks = 0;
        trim->is_after_peak = !is_over;
        ouro__alloc_trim();
    }
}

/* False: nothing is left. */
static bool work(struct ouro__driver_handle *handle)
{
    struct ouro__trim_state *trim = &handle->trim;
    struct ouro__loan_pool *pool = pool_of(handle);
    if (pool != NULL && ouro__loan_pool_trim(pool, BUFFERS_PER_STEP))
        return true;
    if (trim->cold_chunks > 0) {
        uint32_t count = trim->cold_chunks < CHUNKS_PER_STEP ? trim->cold_chunks : CHUNKS_PER_STEP;
        uint32_t freed = ouro__registration_set_trim(&handle->set, count);
        trim->freed_chunks += freed;
        trim->cold_chunks = freed == count ? trim->cold_chunks - count : 0;
        return true;
    }
    return_heap(handle);
    return false;
}

int64_t ouro__trim_step(struct ouro__driver_handle *handle, int64_t now_ns)
{
    struct ouro__trim_state *trim = &handle->trim;
    if (trim->at_ns != OURO__NEVER) {
        if (now_ns < trim->at_ns)
            return trim->at_ns;
        if (!trim->is_working)
            end_window(handle);
        if (work(handle)) {
            trim->at_ns = ouro__clock_add_ns(now_ns, OURO__TRIM_PAUSE_NS);
            return trim->at_ns;
        }
        trim->is_working = false;
        trim->at_ns = OURO__NEVER;
    } else {
        (void)ouro__registration_set_cold(&handle->set); /* from here on */
    }
    if (ouro__trim_is_wanted(handle))
        trim->at_ns = ouro__clock_add_ns(now_ns, OURO__TRIM_WINDOW_NS);
    return trim->at_ns;
}
