/* SPDX-License-Identifier: MIT */
/*
 * Threads: the workers that have a thread of their own.
 *
 * A worker's thread opens its driver first and reports the result.  When one cannot open, those
 * before it are stopped again.
 *
 * Owns:    nothing; the pthread_t lies in the worker.
 * Threads: start, stop, join: the runtime's owner.
 * Always:  a worker's thread takes the program's signals only while it runs tasks, since what these
 *          start must inherit the program's mask (base/signals.h); one that runs none takes none.
 * Tests:   tests/runtime/test_start.c, tests/runtime/test_shutdown.c,
 *          tests/runtime/test_signals.c
 */
#include "runtime/threads.h"

#include "base/fault.h"
#include "base/futex.h"
#include "base/signals.h"
#include "task/worker.h"

#include <errno.h>
#include <pthread.h>

/* In start_result, where any other value is 0 or an error number: even 1 is one, EPERM. */
#define NOT_YET UINT32_MAX

static void *worker_thread(void *arg)
{
    struct ouro__worker *worker = arg;
    struct ouro_handle *handle = worker->handle;
    int rc = ouro__handle_open_worker(handle, worker);
    ouro__store(&worker->start_result, (uint32_t)-rc, memory_order_release);
    ouro__futex_wake(&worker->start_result);
    if (rc == 0) {
        (void)ouro__worker_run_until_end(worker, OURO__NEVER);
        ouro__handle_close_worker(worker);
    }
    ouro__fetch_add(&handle->ended, 1, memory_order_acq_rel);
    ouro__futex_wake(&handle->ended);
    return NULL;
}

static int spawn_thread(struct ouro__worker *worker)
{
    int rc = ouro__fault(OURO__FAULT_THREAD);
    if (rc < 0)
        return rc;
    if (worker->runs_tasks) /* it inherits the mask of the thread that makes the runtime */
        rc = pthread_create(&worker->thread, NULL, worker_thread, worker);
    else
        rc = ouro__signals_create_quiet(&worker->thread, NULL, worker_thread, worker);
    if (rc != 0)
        return -rc;
    (void)pthread_setname_np(worker->thread, worker->runs_tasks ? "ouro-worker" : "ouro-driver");
    worker->on_own_thread = true;
    return 0;
}

static int await_start(struct ouro__worker *worker)
{
    uint32_t result = 0;
    while ((result = ouro__load(&worker->start_result, memory_order_acquire)) == NOT_YET)
        ouro__futex_wait(&worker->start_result, NOT_YET, OURO__NEVER);
    return -(int)result;
}

int ouro__threads_start(struct ouro_handle *handle, uint32_t first)
{
    int rc = 0;
    for (uint32_t i = first; i < handle->worker_count && rc == 0; i++) {
        struct ouro__worker *worker = &handle->worker[i];
        ouro__store(&worker->start_result, NOT_YET, memory_order_relaxed);
        rc = spawn_thread(worker);
        if (rc == 0)
            rc = await_start(worker);
    }
    if (rc < 0) {
        ouro__store(&handle->is_shutdown, true, memory_order_release);
        ouro__threads_stop(handle, first);
        ouro__threads_join(handle, first);
        /* Those that were opened have been closed by their threads. */
        for (uint32_t i = first; i < handle->worker_count; i++) {
            if (handle->worker[i].is_open)
                ouro__worker_fini(&handle->worker[i]);
        }
    }
    return rc;
}

static void stop_message(struct ouro__inbox_node *node)
{
    ouro__worker_shut_down(OURO__CONTAINER_OF(node, struct ouro__worker, stop_message));
}

void ouro__threads_stop(struct ouro_handle *handle, uint32_t first)
{
    for (uint32_t i = first; i < handle->worker_count; i++) {
        struct ouro__worker *worker = &handle->worker[i];
        if (!worker->on_own_thread || !worker->is_open)
            continue;
        worker->stop_message.run = stop_message;
        (void)ouro__driver_send(&worker->io.handle, &worker->stop_message);
    }
}

bool ouro__threads_await_end(struct ouro_handle *handle, uint32_t count, int64_t deadline_ns)
{
    uint32_t ended = 0;
    while ((ended = ouro__load(&handle->ended, memory_order_acquire)) < count) {
        if (ouro__clock_now_ns() >= deadline_ns)
            return false;
        ouro__futex_wait(&handle->ended, ended, deadline_ns);
    }
    return true;
}

void ouro__threads_join(struct ouro_handle *handle, uint32_t first)
{
    for (uint32_t i = first; i < handle->worker_count; i++) {
        struct ouro__worker *worker = &handle->worker[i];
        if (worker->on_own_thread)
            (void)pthread_join(worker->thread, NULL);
        worker->on_own_thread = false;
    }
}

void ouro__threads_detach(struct ouro_handle *handle, uint32_t first)
{
    for (uint32_t i = first; i < handle->worker_count; i++) {
        struct ouro__worker *worker = &handle->worker[i];
        if (worker->on_own_thread)
            (void)pthread_detach(worker->thread);
        worker->on_own_thread = false;
    }
}
