/* SPDX-License-Identifier: MIT */
/*
 * Relay: the bytes of one stream go to another, in both directions, until both have ended.
 *
 * One direction runs in the caller's task, the other in a task of a group, on the same worker: so
 * they share what they know without locks, and use the worker's pipes.  A plain thread has no
 * worker; its relay is one task more, which does the same.
 *
 * A direction that fails must end the other one, also when that is the caller's: a group does not
 * interrupt its caller.  And when no byte is passed on for the idle time, both must end.  Both are
 * done by the interruption that a deadline makes: the relay sets it on the waiting context, and
 * afterwards the caller's deadline is set anew, which takes it back.  The error to report is kept
 * beside.
 *
 * The idle time costs nothing while bytes go: a timer looks at the counts four times in it, and
 * ends the relay when it has found them unchanged four times in a row.
 *
 * Owns:    the four directions of the two streams, or two of them, from beginning to end.
 * Threads: the caller's, and one worker's.
 * Always:  no task of it is alive when the call returns, and its caller is interrupted only by what
 *          came from outside.
 * Tests:   tests/stream/test_relay.c, tests/stream/test_relay_ends.c
 */
#include <ouro/relay.h>

#include "base/options.h"
#include "stream/relay_way.h"
#include "task/handle.h"
#include "task/scope.h"

#include <ouro/error.h>
#include <ouro/group.h>

#include <errno.h>

enum { QUIET_LOOKS = 4 };

#define FORCED (OURO_RELAY_F_COPY | OURO_RELAY_F_SPLICE)

struct relay {
    struct ouro__relay_way there;
    struct ouro__relay_way back;
    bool is_one_way;
    int64_t idle_timeout_ns; /* 0: none */

    /* The worker's thread only. */
    struct ouro__context *caller; /* in whose task the first direction runs */
    struct ouro__context *other;  /* of the second direction, while it runs */
    struct ouro__timer timer;
    uint64_t counted; /* bytes, at the timer's last look */
    unsigned quiet;   /* looks in a row that have found no more */
    int failure;      /* the first */
};

static void note(struct relay *relay, int rc)
{
    if (relay->failure == 0 && rc < 0)
        relay->failure = rc;
}

static void interrupt(struct ouro__context *context)
{
    if (context != NULL)
        ouro__context_interrupt(context, OURO__INTERRUPT_TIMEOUT);
}

/* Takes the relay's own interruption back.  A deadline of the caller's that has passed stays. */
static void calm(struct ouro__context *context)
{
    int64_t deadline_ns = context->deadline_ns;
    ouro__scope_set_deadline(context, deadline_ns,
                             deadline_ns == OURO__NEVER ? 0 : ouro__clock_now_ns());
}

static void set_timer(struct relay *relay)
{
    int64_t next_ns =
        ouro__clock_add_ns(ouro__clock_now_ns(), relay->idle_timeout_ns / QUIET_LOOKS + 1);
    ouro__timer_set(&relay->caller->worker->timers, &relay->timer, next_ns);
}

/* In the worker's loop. */
static void look_at_counts(struct ouro__timer *timer)
{
    struct relay *relay = OURO__CONTAINER_OF(timer, struct relay, timer);
    uint64_t sum = *relay->there.count + *relay->back.count;
    relay->quiet = sum == relay->counted ? relay->quiet + 1 : 0;
    relay->counted = sum;
    if (relay->quiet < QUIET_LOOKS) {
        set_timer(relay);
        return;
    }
    note(relay, -ETIMEDOUT);
    interrupt(relay->caller);
    interrupt(relay->other);
}

static int run_back(void *arg)
{
    struct relay *relay = arg;
    struct ouro__context *context = ouro__context_current();
    if (relay->failure < 0)
        return -ECANCELED; /* the first direction has failed before this task began */
    relay->other = context;
    int rc = ouro__relay_way_run(&relay->back, context);
    relay->other = NULL;
    if (rc < 0) {
        note(relay, rc);
        interrupt(relay->caller);
    }
    return rc;
}

static int run_both(struct relay *relay, struct ouro__context *context)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    struct ouro_group group;
    options.name = "relay";
    options.worker = OURO_WORKER_CURRENT;
    int rc = ouro_group_begin(&group, 0);
    if (rc < 0)
        return rc;
    rc = ouro_group_spawn(&group, &options, run_back, relay);
    if (rc == 0)
        rc = ouro__relay_way_run(&relay->there, context);
    if (rc < 0) {
        note(relay, rc);
        (void)ouro_group_cancel(&group);
    }
    note(relay, ouro_group_end(&group));
    return relay->failure;
}

/* On a worker. */
static int relay_here(struct relay *relay, struct ouro__context *context)
{
    relay->caller = context;
    ouro__timer_init(&relay->timer, look_at_counts);
    if (relay->idle_timeout_ns > 0)
        set_timer(relay);
    if (relay->is_one_way)
        note(relay, ouro__relay_way_run(&relay->there, context));
    else
        (void)run_both(relay, context);
    ouro__timer_unset(&context->worker->timers, &relay->timer);
    if (relay->failure < 0)
        calm(context);
    return relay->failure;
}

static int relay_task(void *arg)
{
    return relay_here(arg, ouro__context_current());
}

/* For a plain thread. */
static int relay_in_task(struct relay *relay)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    struct ouro_group group;
    options.name = "relay";
    int rc = ouro_group_begin(&group, 0);
    if (rc < 0)
        return rc;
    rc = ouro_group_spawn(&group, &options, relay_task, relay);
    int end_rc = ouro_group_end(&group);
    return rc < 0 ? rc : end_rc;
}

static void leave_ways(const struct relay *relay, unsigned count)
{
    const struct ouro__relay_way *way[] = {&relay->there, &relay->back};
    for (unsigned i = 0; i < count; i++) {
        ouro__stream_leave(way[i]->from, OURO__LANE_READ);
        ouro__stream_leave(way[i]->to, OURO__LANE_WRITE);
    }
}

/* Takes the directions of the streams: the first @count ways, or an error and none. */
static int enter_ways(const struct relay *relay, unsigned count)
{
    const struct ouro__relay_way *way[] = {&relay->there, &relay->back};
    for (unsigned i = 0; i < count; i++) {
        int rc = ouro__descriptor_enter(&way[i]->from->descriptor, OURO__LANE_READ);
        if (rc == 0) {
            rc = ouro__descriptor_enter(&way[i]->to->descriptor, OURO__LANE_WRITE);
            if (rc < 0)
                ouro__stream_leave(way[i]->from, OURO__LANE_READ);
        }
        if (rc < 0) {
            leave_ways(relay, i);
            return rc;
        }
    }
    return 0;
}

static int check(const struct ouro_stream *first, const struct ouro_stream *second,
                 const struct ouro_relay_options *options)
{
    if (first == NULL || second == NULL || options == NULL ||
        (options->flags & ~(OURO_RELAY_F_ONE_WAY | FORCED)) != 0 ||
        (options->flags & FORCED) == FORCED || options->idle_timeout_ns < 0)
        return -EINVAL;
    return first == second && (options->flags & OURO_RELAY_F_ONE_WAY) == 0 ? -EINVAL : 0;
}

static struct ouro__relay_way make_way(struct ouro_stream *from, struct ouro_stream *to,
                                       const struct ouro_relay_options *options, uint64_t *count)
{
    return (struct ouro__relay_way){
        .from = from,
        .to = to,
        .count = count,
        .always_splices = (options->flags & OURO_RELAY_F_SPLICE) != 0,
        .cannot_splice = (options->flags & OURO_RELAY_F_COPY) != 0,
    };
}

int ouro_relay(struct ouro_stream *first, struct ouro_stream *second,
               const struct ouro_relay_options *options, struct ouro_relay_counts *out_counts)
{
    struct ouro_relay_options defaults = OURO_RELAY_OPTIONS_INIT;
    struct ouro_relay_counts unwanted;
    struct ouro__context *context = NULL;
    struct ouro_relay_counts *counts = out_counts != NULL ? out_counts : &unwanted;
    *counts = (struct ouro_relay_counts){.first_to_second = 0};
    options = ouro__options_read(options, &defaults, sizeof(defaults));
    int rc = check(first, second, options);
    if (rc == 0)
        rc = ouro__context_enter(&context);
    if (rc == 0 && options->idle_timeout_ns > 0 &&
        (context->handle->config.flags & OURO_RUNTIME_F_NO_TIME) != 0)
        rc = -OURO_ETIMEDISABLED;
    if (rc < 0)
        return rc;
    struct relay relay = {
        .there = make_way(first, second, options, &counts->first_to_second),
        .back = make_way(second, first, options, &counts->second_to_first),
        .is_one_way = (options->flags & OURO_RELAY_F_ONE_WAY) != 0,
        .idle_timeout_ns = options->idle_timeout_ns,
    };
    const unsigned ways = relay.is_one_way ? 1 : 2;
    rc = enter_ways(&relay, ways);
    if (rc < 0)
        return rc;
    rc = context->worker != NULL ? relay_here(&relay, context) : relay_in_task(&relay);
    leave_ways(&relay, ways);
    return rc;
}
