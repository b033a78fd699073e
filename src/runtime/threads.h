/* SPDX-License-Identifier: MIT */
/*
 * Threads: the workers that have a thread of their own, from @first to the handle's last.
 */
#ifndef OURO_RUNTIME_THREADS_H
#define OURO_RUNTIME_THREADS_H

#include "task/handle.h"

/* Starts them and waits until each has opened its driver.  Errors: the first one's; then none is
 * left. */
int ouro__threads_start(struct ouro_handle *handle, uint32_t first);

/* Tells each worker to end the waits of its tasks, and to end when the last task has. */
void ouro__threads_stop(struct ouro_handle *handle, uint32_t first);

/* Waits until @count have ended, or @deadline_ns.  True: they have. */
bool ouro__threads_await_end(struct ouro_handle *handle, uint32_t count, int64_t deadline_ns);

/* join: of threads that have ended.  detach: threads that have not ended run on by themselves. */
void ouro__threads_join(struct ouro_handle *handle, uint32_t first);
void ouro__threads_detach(struct ouro_handle *handle, uint32_t first);

#endif
