/* SPDX-License-Identifier: MIT */
/*
 * Trim: what a driver's registrations and its buffers for loans hold without use goes back to the
 * system.
 *
 * It is looked for in windows of time, as with stacks (fiber/stack_trim.h): what was not used
 * during a whole window is given back, in steps of bounded size, by the driver's thread before it
 * waits.  No window is open while there is little to give back, so a driver that rests needs no
 * timer.
 */
#ifndef OURO_REGISTRY_TRIM_H
#define OURO_REGISTRY_TRIM_H

#include "registry/driver.h"
#include "registry/loan_pool.h"

#define OURO__TRIM_WINDOW_NS OURO__NS_PER_SEC
#define OURO__TRIM_PAUSE_NS OURO__NS_PER_MS

/* Whether there may be something to give back.  The driver's thread. */
static inline bool ouro__trim_is_wanted(const struct ouro__driver_handle *handle)
{
    const struct ouro__loan_pool *pool = ouro__load(&handle->loans, memory_order_acquire);
    return handle->trim.at_ns != OURO__NEVER || ouro__registration_set_is_trimmable(&handle->set) ||
           (pool != NULL && ouro__loan_pool_is_trimmable(pool));
}

/*
 * One step at @now_ns, if one is due.  Returns when it is to be called next; OURO__NEVER when there
 * is nothing to do until ouro__trim_is_wanted() says so.
 */
OURO__DRIVER_THREAD int64_t ouro__trim_step(struct ouro__driver_handle *handle, int64_t now_ns);

#endif
