/* SPDX-License-Identifier: MIT */
/*
 * Connect: chooses how to try a list of addresses.
 *
 *   one address, or "sequential"     in the caller, one after the other
 *   a runtime without time           the same, in RFC 8305's order: without timers there is no race
 *   several                          a race (net/connect_race.c) on the caller's worker; a plain
 *                                    thread has none, so a task runs the race and the thread waits
 *
 * Owns:    what ouro__connect() has made, until it is the caller's.
 * Threads: the caller's.
 * Always:  the report has one entry for each attempt begun, written when the attempt has ended.
 * Tests:   tests/net/test_connect_many.c, tests/net/test_connect_options.c
 */
#include "net/connect.h"

#include "net/address_order.h"
#include "task/handle.h"
#include "task/task.h"

#include <ouro/group.h>

#include <errno.h>

/* No report wanted: skip the clock, whose cost shows in a short connect. */
static int64_t now_ns_for_report(const struct ouro_tcp_connect_options *options)
{
    return options->attempts != NULL ? ouro__clock_now_ns() : 0;
}

void ouro__connect_report(const struct ouro__connect *connect, size_t index,
                          const struct ouro_socket_addr *addr, int error, int64_t start_ns)
{
    const struct ouro_tcp_connect_options *options = connect->options;
    if (options->attempts == NULL || index >= options->attempts_max)
        return;
    options->attempts[index] = (struct ouro_connect_attempt){
        .addr = *addr,
        .error = error,
        .start_ns = start_ns - connect->begin_ns,
        .duration_ns = ouro__clock_now_ns() - start_ns,
    };
}

int ouro__connect_in_turn(struct ouro__connect *connect)
{
    struct ouro__address_order order;
    const struct ouro_socket_addr *addr = NULL;
    bool as_given =
        connect->count == 1 || (connect->options->flags & OURO_CONNECT_F_SEQUENTIAL) != 0;
    ouro__address_order_init(&order, connect->list, connect->count, as_given);
    while ((addr = ouro__address_order_next(&order)) != NULL) {
        size_t index = connect->made++;
        struct ouro__connect_target target = {
            .addr = addr,
            .options = connect->options,
            .number = index + 1,
            .count = connect->count,
        };
        int64_t start_ns = now_ns_for_report(connect->options);
        int rc = ouro__connect_addr(connect->context, &target, &connect->stream);
        ouro__connect_report(connect, index, addr, rc, start_ns);
        if (rc == 0)
            return 0;
        int interrupted = ouro__context_interrupted(connect->context);
        if (interrupted < 0)
            return interrupted;
        connect->error = ouro__address_error_closest(connect->error, rc);
    }
    return 0;
}

static int race_main(void *arg)
{
    struct ouro__connect *connect = arg;
    connect->context = ouro__context_current();
    return ouro__connect_race(connect);
}

/* Reports the caller's interruption for the attempts that it cancelled. */
static void rename_cancelled(struct ouro__connect *connect, int reason)
{
    const struct ouro_tcp_connect_options *options = connect->options;
    for (size_t i = 0; i < connect->made && i < options->attempts_max; i++) {
        if (options->attempts != NULL && options->attempts[i].error == -ECANCELED)
            options->attempts[i].error = reason;
    }
}

/* A plain thread has no worker whose tasks could race: a task of the runtime runs the race. */
static int race_elsewhere(struct ouro__connect *connect)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "connect race";
    struct ouro_group group;
    int rc = ouro_group_begin(&group, 0);
    if (rc < 0)
        return rc;
    rc = ouro_group_spawn(&group, &options, race_main, connect);
    int end_rc = ouro_group_end(&group);
    if (rc < 0)
        return rc;
    if (end_rc < 0 && connect->stream == NULL)
        rename_cancelled(connect, end_rc);
    return end_rc;
}

int ouro__connect(struct ouro__context *context, const struct ouro_socket_addr *list, size_t count,
                  const struct ouro_tcp_connect_options *options, struct ouro_stream **out_stream)
{
    int rc = ouro__context_interrupted(context);
    if (rc < 0)
        return rc;
    struct ouro__connect connect = {
        .context = context,
        .list = list,
        .count = count,
        .options = options,
        .begin_ns = now_ns_for_report(options),
    };
    bool has_time = (context->handle->config.flags & OURO_RUNTIME_F_NO_TIME) == 0;
    if (count == 1 || !has_time || (options->flags & OURO_CONNECT_F_SEQUENTIAL) != 0)
        rc = ouro__connect_in_turn(&connect);
    else if (context->worker != NULL)
        rc = ouro__connect_race(&connect);
    else
        rc = race_elsewhere(&connect);
    if (options->attempts_count != NULL)
        *options->attempts_count = connect.made;
    if (connect.stream != NULL) {
        *out_stream = connect.stream;
        return 0;
    }
    return rc < 0 ? rc : connect.error;
}
