/* SPDX-License-Identifier: MIT */
/*
 * Serve: runs a server from its start to its end (ouro/serve.h).
 *
 * The caller of ouro_server_run() is the runner.  It begins all groups and ends them, so every task
 * of the server has ended when the call returns:
 *
 *     acceptors   one task for each worker at a        cancelled when the drain begins
 *                 listener (net/serve_listener.c)
 *     handlers    one group for each shard             cancelled when the grace time is over
 *     helpers     a keeper for each shard, and one     end after the last connection of their
 *                 that waits for signals               shard; the latter is cancelled then
 *
 * In order: the start; the wait until something asks for the end; the drain: first the acceptors
 * end and the listeners close, then the keepers end, each after the last connection of its shard;
 * all groups end.  An interruption of the runner takes the same way without grace.
 *
 * Owns:    the groups.
 * Threads: the runner's.
 * Always:  after the return no task, no listener and no connection of the server is left.
 * Tests:   tests/net/test_serve.c, tests/net/test_serve_end.c
 */
#include "net/serve_accept.h"
#include "net/serve_end.h"
#include "net/serve_keeper.h"
#include "net/serve_listener.h"
#include "task/handle.h"
#include "task/wait.h"

#include <ouro/error.h>
#include <ouro/task.h>

#include <errno.h>

static bool is_told_to_end(void *arg)
{
    struct ouro_server *server = arg;
    return ouro__load(&server->end, memory_order_seq_cst) != OURO__SERVER_GOES_ON;
}

/* No connection is left. */
static bool keepers_have_ended(void *arg)
{
    struct ouro_server *server = arg;
    return ouro__load(&server->keepers_left, memory_order_seq_cst) == 0;
}

static bool has_drained(void *arg)
{
    struct ouro_server *server = arg;
    return keepers_have_ended(server) ||
           ouro__load(&server->end, memory_order_seq_cst) == OURO__SERVER_CANCELS;
}

/* Stores or takes out the waker by which others wake the runner. */
static void set_runner(struct ouro_server *server, struct ouro_waker waker)
{
    ouro__mutex_lock(&server->lock);
    struct ouro_waker before = server->runner;
    server->runner = waker;
    ouro__mutex_unlock(&server->lock);
    ouro_waker_drop(&before);
}

/* Begins the groups; after an error none is open. */
static int begin_groups(struct ouro_server *server)
{
    uint32_t begun = 0;
    int rc = ouro_group_begin(&server->acceptors, OURO_GROUP_F_COLLECT_ALL);
    if (rc < 0)
        return rc;
    rc = ouro_group_begin(&server->helpers, OURO_GROUP_F_COLLECT_ALL);
    while (rc == 0 && begun < server->shards_count) {
        rc = ouro_group_begin(&server->shards[begun].handlers, OURO_GROUP_F_COLLECT_ALL);
        begun += rc == 0 ? 1 : 0;
    }
    if (rc == 0)
        return 0;
    while (begun > 0)
        (void)ouro_group_end(&server->shards[--begun].handlers);
    (void)ouro_group_end(&server->helpers); /* -EINVAL when it was not begun */
    (void)ouro_group_end(&server->acceptors);
    return rc;
}

static int spawn(struct ouro_group *group, const char *name, uint32_t worker,
                 ouro_task_function *function, void *arg)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = name;
    options.worker = worker;
    return ouro_group_spawn(group, &options, function, arg);
}

/* Starts all tasks.  After an error those that were started are to be ended. */
static int start(struct ouro_server *server)
{
    int rc = 0;
    for (uint32_t i = 0; i < server->shards_count && rc == 0; i++) {
        struct ouro__shard *shard = &server->shards[i];
        (void)ouro__fetch_add(&server->keepers_left, 1, memory_order_seq_cst);
        rc = spawn(&server->helpers, "keeper", i, ouro__server_keep, shard);
        if (rc < 0)
            (void)ouro__fetch_sub(&server->keepers_left, 1, memory_order_seq_cst);
    }
    if (rc == 0 && (server->options.flags & OURO_SERVE_F_NO_SIGNALS) == 0) {
        rc = ouro__signal_watch_open(&server->watch, server->options.signals);
        if (rc == 0)
            rc = spawn(&server->helpers, "signals", OURO_WORKER_ANY, ouro__server_wait_for_signals,
                       server);
    }
    for (uint32_t i = 0; i < server->accepts_count && rc == 0; i++) {
        struct ouro__server_accept *accept = &server->accepts[i];
        rc = spawn(&server->acceptors, "accept", accept->shard, ouro__server_accept, accept);
    }
    return rc;
}

/* Waits until no connection is left, or the rest must be cancelled.  Returns -ETIMEDOUT, -ECANCELED
 * or the interruption when there was a rest, else 0. */
static int drain(struct ouro_server *server, struct ouro__context *context)
{
    struct ouro_deadline grace;
    (void)ouro_deadline_begin(&grace, server->options.grace_ns);
    int rc = ouro__wait(context, has_drained, server);
    ouro_deadline_end(&grace);
    if (keepers_have_ended(server))
        return 0;
    for (uint32_t i = 0; i < server->shards_count; i++)
        (void)ouro_group_cancel(&server->shards[i].handlers);
    ouro__wait_uninterruptible(context, keepers_have_ended, server);
    return rc < 0 ? rc : -ECANCELED;
}

/* Ends everything.  @rc: why it could not start, or an interruption, or 0. */
static int end(struct ouro_server *server, struct ouro__context *context, int rc)
{
    if (rc < 0)
        ouro__server_ask(server, OURO__SERVER_CANCELS);
    ouro__store(&server->is_draining, 1, memory_order_seq_cst);
    (void)ouro_group_cancel(&server->acceptors);
    int accept_rc = ouro_group_end(&server->acceptors);
    ouro__server_close_listeners(server); /* those whose tasks were not started */
    ouro__server_set_closed(server);
    int drain_rc = drain(server, context);
    for (uint32_t i = 0; i < server->shards_count; i++)
        (void)ouro_group_end(&server->shards[i].handlers);
    (void)ouro_group_cancel(&server->helpers);
    int help_rc = ouro_group_end(&server->helpers);
    ouro__signal_watch_close(&server->watch);
    if (rc < 0)
        return rc;
    if (accept_rc < 0)
        return accept_rc;
    if (help_rc < 0)
        return help_rc;
    return drain_rc < 0 ? drain_rc : ouro__load(&server->signal, memory_order_acquire);
}

static int run(struct ouro_server *server, struct ouro__context *context)
{
    struct ouro_waker waker;
    int rc = begin_groups(server);
    if (rc < 0) {
        ouro__server_close_listeners(server);
        return rc;
    }
    rc = ouro__context_waker(context, &waker);
    if (rc == 0) {
        set_runner(server, waker);
        rc = start(server);
    }
    if (rc == 0)
        rc = ouro__wait(context, is_told_to_end, server);
    rc = end(server, context, rc);
    set_runner(server, (struct ouro_waker){NULL, NULL});
    return rc;
}

int ouro_server_run(struct ouro_server *server)
{
    struct ouro__context *context = NULL;
    uint32_t state = OURO__SERVER_NEW;
    if (server == NULL)
        return -EINVAL;
    int rc = ouro__context_enter(&context);
    if (rc < 0)
        return rc;
    if (context->handle != server->handle)
        return -EINVAL;
    if (!ouro__compare_exchange(&server->state, &state, OURO__SERVER_RUNS, memory_order_acq_rel))
        return -EALREADY;
    rc = run(server, context);
    ouro__store(&server->state, OURO__SERVER_ENDED, memory_order_release);
    return rc;
}

int ouro_serve(const struct ouro_serve_options *options, ouro_serve_handler *handler, void *arg)
{
    struct ouro_server *server = NULL;
    int rc = ouro_server_new(options, handler, arg, &server);
    if (rc < 0)
        return rc;
    rc = ouro_server_run(server);
    (void)ouro_server_free(server);
    return rc;
}
