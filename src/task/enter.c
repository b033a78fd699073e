/* SPDX-License-Identifier: MIT */
/*
 * Enter and leave: how a plain thread enters a runtime.
 *
 * Owns:    the thread's context, from enter to leave.
 * Threads: each for itself.
 * Always:  every context in handle->threads has a wake_ref, so shutdown can wake it.
 * Tests:   tests/runtime/test_runtime.c
 */
#include "base/alloc.h"
#include "base/fork.h"
#include "task/handle.h"
#include "task/park.h"
#include "task/scope.h"
#include "task/wake_ref.h"

#include <ouro/error.h>
#include <ouro/runtime.h>

#include <errno.h>

/* The thread that made a current-thread runtime drives it while it waits. */
static struct ouro__worker *own_worker(struct ouro_handle *handle)
{
    bool drives = handle->config.flavour == OURO_FLAVOUR_CURRENT_THREAD &&
                  ouro__worker_is_home(&handle->worker[0]);
    return drives ? &handle->worker[0] : NULL;
}

int ouro_enter(struct ouro_handle *handle)
{
    if (handle == NULL)
        return -EINVAL;
    struct ouro__context *inside = ouro__context_current();
    bool has_entered = inside != NULL && !ouro__fork_is_child(inside->fork_generation);
    if (has_entered || ouro__worker_loop_is_here())
        return -OURO_ENESTED;
    if (ouro__fork_is_child(handle->fork_generation))
        return -OURO_EFORKED;
    if (ouro__handle_is_shutdown(handle))
        return -OURO_ESHUTDOWN;
    struct ouro__worker *worker = own_worker(handle);
    if (worker != NULL) {
        (void)ouro_handle_ref(handle);
        ouro__context_set_current(&worker->main);
        return 0;
    }
    struct ouro__context *context = ouro__calloc(1, sizeof(*context));
    if (context == NULL)
        return -ENOMEM;
    ouro__handle_init_context(handle, context, NULL, NULL);
    context->wake_ref = ouro__wake_ref_new(context);
    if (context->wake_ref == NULL) {
        ouro__free(context);
        return -ENOMEM;
    }
    (void)ouro_handle_ref(handle);
    ouro__mutex_lock(&handle->lock);
    ouro__list_push_back(&handle->threads, &context->link);
    ouro__mutex_unlock(&handle->lock);
    ouro__context_set_current(context);
    return 0;
}

void ouro_leave(void)
{
    struct ouro__context *context = ouro__context_current();
    if (context == NULL || context->task != NULL)
        return;
    if (OURO__UNLIKELY(context->groups != 0))
        OURO__PANIC(OURO__GROUP_NOT_ENDED, 0);
    struct ouro_handle *handle = context->handle;
    ouro__scope_end_all(context); /* a worker's own context is used again */
    ouro__context_set_current(NULL);
    if (ouro__fork_is_child(context->fork_generation))
        return; /* the lock may be held by a thread of the parent */
    if (context->worker == NULL) {
        ouro__mutex_lock(&handle->lock);
        ouro__list_remove(&context->link);
        ouro__mutex_unlock(&handle->lock);
        ouro__context_fini(context);
        ouro__free(context);
    }
    ouro_handle_unref(handle);
}
