/* SPDX-License-Identifier: MIT */
/*
 * ServeKeeper: a task of each shard that looks after its connections.
 *
 * It looks at them eight times in the idle time, some at a time, and lets the handlers run in
 * between.  When no more connections come it waits until the last one of the shard has gone.  Its
 * own end is what the runner waits for: it runs on the thread on which connections end, so when it
 * has ended, that thread touches the shard no more.
 *
 * Owns:    nothing.
 * Threads: its worker's.
 * Always:  it ends after the last connection of its shard, even if it is interrupted.
 * Tests:   tests/net/test_serve_limits.c, tests/net/test_serve_end.c
 */
#include "net/serve_keeper.h"

#include "net/serve_connection.h"
#include "net/serve_end.h"
#include "net/serve_request.h"
#include "task/wait.h"

#include <ouro/task.h>

#include <errno.h>

enum { LOOKS = 8, STEP = 64 };

#define LOOK_MIN_NS OURO__NS_PER_MS

static bool is_empty(void *arg)
{
    return ouro__shard_is_empty(arg);
}

static bool is_over(void *arg)
{
    struct ouro__shard *shard = arg;
    shard->has_closed = ouro__server_is_closed(shard->server);
    return shard->has_closed && is_empty(shard);
}

/* Whether there is something to do before the next look. */
static bool has_news(void *arg)
{
    struct ouro__shard *shard = arg;
    if (!ouro__server_is_closed(shard->server))
        return false;
    return !shard->has_closed || is_empty(shard);
}

/* Looks at every connection once.  Each goes to the end of the list, so that others may come and go
 * while this task lets them run. */
static void look_at_all(struct ouro__shard *shard)
{
    uint64_t left = shard->active_count;
    int64_t now_ns = ouro__clock_now_ns();
    while (left-- > 0 && !ouro__list_is_empty(&shard->active)) {
        struct ouro__list *first = shard->active.next;
        ouro__list_remove(first);
        ouro__list_push_back(&shard->active, first);
        ouro__connection_look(OURO__CONTAINER_OF(first, struct ouro__connection, link), now_ns);
        if (left % STEP == 0) {
            (void)ouro_yield();
            now_ns = ouro__clock_now_ns();
        }
    }
}

static int64_t look_interval_ns(const struct ouro_server *server)
{
    int64_t idle_ns = server->options.idle_ns;
    if (idle_ns == OURO_SERVE_NO_TIMEOUT)
        return OURO__NEVER;
    return idle_ns / LOOKS > LOOK_MIN_NS ? idle_ns / LOOKS : LOOK_MIN_NS;
}

/* Waits for news, at most until @until_ns. */
static int wait_for_news(struct ouro__shard *shard, int64_t until_ns)
{
    struct ouro_deadline scope;
    int64_t timeout_ns = until_ns == OURO__NEVER ? INT64_MAX : until_ns - ouro__clock_now_ns();
    int rc = ouro_deadline_begin(&scope, timeout_ns);
    if (rc == 0)
        rc = ouro__wait(shard->keeper, has_news, shard);
    ouro_deadline_end(&scope);
    return rc;
}

static void keep_until_empty(struct ouro__shard *shard)
{
    int64_t interval_ns = look_interval_ns(shard->server);
    int64_t next_ns = ouro__clock_add_ns(ouro__clock_now_ns(), interval_ns);
    for (;;) {
        int rc = wait_for_news(shard, next_ns);
        if (rc == 0) {
            shard->has_closed = true;
            ouro__request_end_all(shard);
            if (is_empty(shard))
                return;
        } else if (rc == -ETIMEDOUT) {
            look_at_all(shard);
            ouro__request_expire(shard, ouro__clock_now_ns());
            next_ns = ouro__clock_add_ns(ouro__clock_now_ns(), interval_ns);
        } else {
            break; /* the runtime shuts down, and that ends acceptors and connections */
        }
    }
    ouro__wait_uninterruptible(shard->keeper, is_over, shard);
}

/* Stores or takes out the waker by which other threads wake the keeper. */
static void set_waker(struct ouro__shard *shard, struct ouro_waker waker)
{
    ouro__mutex_lock(&shard->server->lock);
    struct ouro_waker before = shard->waker;
    shard->waker = waker;
    ouro__mutex_unlock(&shard->server->lock);
    ouro_waker_drop(&before);
}

int ouro__server_keep(void *arg)
{
    struct ouro__shard *shard = arg;
    struct ouro_server *server = shard->server;
    struct ouro__context *context = ouro__context_current();
    struct ouro_waker waker = {NULL, NULL};
    int rc = ouro__context_waker(context, &waker);
    if (rc == 0) {
        shard->keeper = context;
        set_waker(shard, waker);
        keep_until_empty(shard);
        set_waker(shard, (struct ouro_waker){NULL, NULL});
        shard->keeper = NULL;
    } else {
        ouro__server_ask(server, OURO__SERVER_DRAINS);
        while (!(ouro__server_is_closed(server) && is_empty(shard)))
            (void)ouro_yield();
    }
    if (ouro__fetch_sub(&server->keepers_left, 1, memory_order_seq_cst) == 1)
        ouro__server_wake_runner(server);
    return rc;
}
