/* SPDX-License-Identifier: MIT */
/*
 * Connect race: RFC 8305 ("Happy Eyeballs").  The addresses are tried one after the other, each
 * with a head start on the next, and the first to connect wins.
 *
 * Each attempt is a task of its own on the caller's worker, so all of this runs on one thread and
 * needs no lock.  The next attempt starts when the head start of the last one is over, or at once
 * when that one has failed.  When one has won, or the caller is interrupted, the others are
 * cancelled.  The attempts are a group: what they use is the caller's, and its end waits for them.
 *
 * When no task can be made (out of memory, or tasks_max is reached), it is tried again a head start
 * later.  When no attempt is under way then, the caller makes the next one itself.
 *
 * Owns:    the racers, until the call returns.
 * Threads: one worker's.
 * Always:  all racers have ended at the end; at most one stream is left, the winner's.
 * Tests:   tests/net/test_happy_eyeballs.c
 */
#include "net/connect.h"

#include "base/alloc.h"
#include "net/address_order.h"
#include "task/wait.h"

#include <ouro/group.h>

#include <errno.h>

#define STAGGER_DEFAULT_NS (250 * OURO__NS_PER_MS) /* RFC 8305 section 5 */

struct race;

struct racer {
    struct race *race;
    struct ouro__connect_target target;
};

struct race {
    struct ouro__connect *connect;
    struct ouro_group group;
    struct ouro__address_order order;
    struct ouro__timer timer; /* of the head start */
    int64_t stagger_ns;
    size_t running;
    bool head_start_over;
    int reason; /* how the caller was interrupted; 0: it was not */
    struct racer racer[];
};

static void head_start_over(struct ouro__timer *timer)
{
    struct race *race = OURO__CONTAINER_OF(timer, struct race, timer);
    race->head_start_over = true;
    ouro__context_wake_here(race->connect->context);
}

/* Attempts that the caller's interruption cancelled are reported with the interruption. */
static int error_to_report(const struct race *race, int error)
{
    return error == -ECANCELED && race->reason != 0 ? race->reason : error;
}

static int racer_main(void *arg)
{
    struct racer *racer = arg;
    struct race *race = racer->race;
    struct ouro__connect *connect = race->connect;
    struct ouro_stream *stream = NULL;
    int64_t start_ns = ouro__clock_now_ns();
    int rc = ouro__connect_addr(ouro__context_current(), &racer->target, &stream);
    if (rc == 0 && connect->stream == NULL) {
        connect->stream = stream;
    } else if (rc == 0) {
        (void)ouro_stream_close(stream); /* another attempt has won */
        rc = -ECANCELED;
    } else {
        connect->error = ouro__address_error_closest(connect->error, rc);
    }
    ouro__connect_report(connect, racer->target.number - 1, racer->target.addr,
                         error_to_report(race, rc), start_ns);
    race->running--;
    if (rc < 0 && racer->target.number == connect->made)
        race->head_start_over = true;
    ouro__context_wake_here(connect->context);
    return rc;
}

static bool may_start(const struct race *race)
{
    if (race->connect->made == race->connect->count)
        return false;
    return race->running == 0 || race->head_start_over;
}

static void set_head_start(struct race *race)
{
    struct ouro__timer_wheel *timers = &race->connect->context->worker->timers;
    ouro__timer_unset(timers, &race->timer);
    race->head_start_over = false;
    ouro__timer_set(timers, &race->timer,
                    ouro__clock_add_ns(ouro__clock_now_ns(), race->stagger_ns));
}

static void start_next(struct race *race)
{
    struct ouro__connect *connect = race->connect;
    struct racer *racer = &race->racer[connect->made];
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "connect";
    options.worker = OURO_WORKER_CURRENT;
    int rc = ouro_group_spawn(&race->group, &options, racer_main, racer);
    if (rc < 0 && race->running > 0) {
        set_head_start(race); /* perhaps there is room for a task later */
        return;
    }
    racer->race = race;
    racer->target = (struct ouro__connect_target){
        .addr = ouro__address_order_next(&race->order),
        .options = connect->options,
        .number = ++connect->made,
        .count = connect->count,
    };
    race->running++;
    if (rc < 0)
        (void)racer_main(racer);
    else
        set_head_start(race);
}

/* One has connected, all have failed, or the next may start. */
static bool is_news(void *arg)
{
    struct race *race = arg;
    return race->connect->stream != NULL || race->running == 0 || may_start(race);
}

static int run(struct race *race)
{
    struct ouro__connect *connect = race->connect;
    for (;;) {
        int rc = ouro__context_interrupted(connect->context);
        if (rc < 0)
            return rc;
        if (connect->stream != NULL)
            return 0;
        if (may_start(race))
            start_next(race);
        else if (race->running == 0)
            return 0;
        else
            (void)ouro__wait(connect->context, is_news, race);
    }
}

/* The others are cancelled; they have ended when this returns. */
static void stop(struct race *race)
{
    ouro__timer_unset(&race->connect->context->worker->timers, &race->timer);
    (void)ouro_group_cancel(&race->group); /* it cannot fail: the group has begun */
    (void)ouro_group_end(&race->group);    /* the racers' errors are in connect->error */
}

int ouro__connect_race(struct ouro__connect *connect)
{
    const struct ouro_tcp_connect_options *options = connect->options;
    struct race *race = ouro__calloc(1, sizeof(*race) + connect->count * sizeof(race->racer[0]));
    if (race == NULL)
        return -ENOMEM;
    int rc = ouro_group_begin(&race->group, OURO_GROUP_F_COLLECT_ALL);
    if (rc == 0) {
        race->connect = connect;
        race->stagger_ns = options->stagger_ns > 0 ? options->stagger_ns : STAGGER_DEFAULT_NS;
        ouro__timer_init(&race->timer, head_start_over);
        ouro__address_order_init(&race->order, connect->list, connect->count, false);
        rc = run(race);
        race->reason = rc;
        stop(race);
    }
    ouro__free(race);
    return rc;
}
