/* SPDX-License-Identifier: MIT */
/*
 * The race of RFC 8305 ("Happy Eyeballs"): the addresses start one after the other, each with a
 * head start on the next, and the first to connect wins.
 *
 * Each attempt is a task of its own on the caller's worker, so all of this runs on one thread and
 * needs no lock.  The next attempt starts when the head start of the last one is over, or at once
 * when that one has failed.  When one has won, or the caller is interrupted, the others are
 * cancelled and joined; nothing interrupts that, since what they use is the caller's.
 *
 * When no task can be made (out of memory, or tasks_max is reached) it is tried again a head start
 * later; and when no attempt is under way the caller makes the next one itself.
 *
 * Owns:    the racers, until the call returns.
 * Threads: one worker's.
 * Always:  all racers have been joined at the end; at most one stream is left, the winner's.
 * Tests:   tests/net/test_happy_eyeballs.c
 */
#include "net/connect.h"

#include "base/alloc.h"
#include "net/address_order.h"
#include "task/task.h"
#include "task/worker.h"

#include <errno.h>

#define STAGGER_DEFAULT_NS (250 * OURO__NS_PER_MS) /* RFC 8305 section 5 */

struct race;

struct racer {
    struct race *race;
    struct ouro__connect_target target;
    struct ouro_task *task; /* NULL: the caller runs it */
    bool has_ended;
};

struct race {
    struct ouro__connect *connect;
    struct ouro__address_order order;
    struct ouro__timer timer; /* of the head start */
    int64_t stagger_ns;
    size_t running;
    bool head_start_over;
    int reason; /* the caller was interrupted */
    struct racer racer[];
};

static void head_start_over(struct ouro__timer *timer)
{
    struct race *race = OURO__CONTAINER_OF(timer, struct race, timer);
    race->head_start_over = true;
    ouro__context_wake_here(race->connect->context);
}

/* What goes into the report for an attempt that was made to stop. */
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
    racer->has_ended = true;
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
    struct ouro__context *context = connect->context;
    struct racer *racer = &race->racer[connect->made];
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "connect";
    int rc = ouro__task_new(context->handle, context->worker, &options, racer_main, racer, true,
                            &racer->task);
    if (rc < 0 && race->running > 0) {
        set_head_start(race); /* perhaps there is a task to be had later */
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

/* Won, lost by all, or time for the next. */
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

static void stop(struct race *race)
{
    size_t made = race->connect->made;
    ouro__timer_unset(&race->connect->context->worker->timers, &race->timer);
    for (size_t i = 0; i < made; i++) {
        if (race->racer[i].task != NULL && !race->racer[i].has_ended)
            (void)ouro_task_cancel(race->racer[i].task);
    }
    for (size_t i = 0; i < made; i++) {
        if (race->racer[i].task != NULL)
            ouro__task_join_uninterruptible(race->racer[i].task, NULL);
    }
}

int ouro__connect_race(struct ouro__connect *connect)
{
    const struct ouro_tcp_connect_options *options = connect->options;
    struct ouro_waker waker;
    int rc = ouro__context_waker(connect->context, &waker);
    if (rc < 0)
        return rc;
    struct race *race = ouro__calloc(1, sizeof(*race) + connect->count * sizeof(race->racer[0]));
    if (race == NULL) {
        ouro_waker_drop(&waker);
        return -ENOMEM;
    }
    race->connect = connect;
    race->stagger_ns = options->stagger_ns > 0 ? options->stagger_ns : STAGGER_DEFAULT_NS;
    ouro__timer_init(&race->timer, head_start_over);
    ouro__address_order_init(&race->order, connect->list, connect->count, false);

    rc = run(race);
    race->reason = rc;
    stop(race);
    ouro__free(race);
    ouro_waker_drop(&waker); /* was held so that joining cannot fail */
    return rc;
}
