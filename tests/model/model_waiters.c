/* SPDX-License-Identifier: MIT */
/*
 * Models of who waits on a ScheduledIo: places and lists against set, shutdown, unlink and wakers
 * that call back in.
 */
#include "model/explorer.h"

#include "registry/scheduled_io.h"

#include <ouro/error.h>

#include <string.h>

enum { WAITERS_MAX = 40 };

/* A waker, and all that is ever done with it. */
struct waiter {
    struct ouro__io_waiter node;
    unsigned woken;
    unsigned held; /* clones, or the one in the node */
    bool gone;     /* its owner has returned: nobody may wake it any more */
    void (*on_wake)(struct waiter *waiter);
};

static struct ouro__scheduled_io sio;
static struct waiter waiter[WAITERS_MAX];
static unsigned linked; /* links and stores that were made */

static void *clone_waiter(void *data)
{
    struct waiter *self = data;
    self->held++;
    return data;
}

static void wake_waiter(void *data)
{
    struct waiter *self = data;
    MODEL_CHECK(!model_holds(&sio.lock));
    MODEL_CHECK(!self->gone);
    MODEL_CHECK(self->held > 0);
    self->woken++;
    model_note("wakes waiter %u", (unsigned)(self - waiter));
    if (self->on_wake != NULL)
        self->on_wake(self);
}

static void drop_waiter(void *data)
{
    struct waiter *self = data;
    MODEL_CHECK(self->held > 0);
    self->held--;
}

static const struct ouro_waker_vtable vtable = {clone_waiter, wake_waiter, drop_waiter};

static void begin(void)
{
    ouro__sio_init(&sio, 0);
    for (unsigned i = 0; i < WAITERS_MAX; i++)
        waiter[i] = (struct waiter){.woken = 0};
    linked = 0;
}

static void nothing_is_held(void)
{
    unsigned woken = 0;
    for (unsigned i = 0; i < WAITERS_MAX; i++) {
        MODEL_CHECK(waiter[i].held == 0);
        woken += waiter[i].woken;
    }
    MODEL_CHECK(woken <= linked);
    ouro__sio_fini(&sio);
}

static bool was_woken(void *arg)
{
    const struct waiter *self = arg;
    return self->woken > 0;
}

/* Waits for @interest as a poll function does, until it is ready (1) or shut down (< 0). */
static int poll_until(struct waiter *self, uint32_t interest)
{
    struct ouro_waker waker = {&vtable, self};
    uint64_t word = 0;
    for (;;) {
        int rc = ouro__sio_poll(&sio, interest, &waker, &word);
        if (rc != 0)
            return rc;
        linked++;
        model_wait_until(was_woken, self);
        self->woken = 0;
        linked--;
    }
}

/* The same in the list, where the node is the waiter's own. */
static int link_until(struct waiter *self, uint32_t interest)
{
    uint64_t word = 0;
    for (;;) {
        self->node = (struct ouro__io_waiter){.waker = {&vtable, self}, .interest = interest};
        ouro__list_init(&self->node.link);
        self->held = 1;
        int rc = ouro__sio_link(&sio, &self->node, &word);
        if (rc != 0) {
            ouro_waker_drop(&self->node.waker);
            return rc;
        }
        linked++;
        model_wait_until(was_woken, self);
        ouro__sio_unlink(&sio, &self->node);
        ouro_waker_drop(&self->node.waker);
        MODEL_CHECK(self->woken == 1);
        self->woken = 0;
        linked--;
    }
}

static void poll_reader(void)
{
    MODEL_CHECK(poll_until(&waiter[0], OURO_READABLE) == 1);
}

static void poll_writer(void)
{
    MODEL_CHECK(poll_until(&waiter[1], OURO_WRITABLE) == 1);
}

static void link_reader(void)
{
    MODEL_CHECK(link_until(&waiter[2], OURO_READABLE) == 1);
}

static void set_readable(void)
{
    ouro__sio_set_ready(&sio, OURO_READABLE);
}

static void set_each(void)
{
    ouro__sio_set_ready(&sio, OURO_READABLE);
    ouro__sio_set_ready(&sio, OURO_WRITABLE);
}

/* Ready, cleared by somebody, ready again: who waits for the second is not lost with the first. */
static void clear_and_poll(void)
{
    for (int i = 0; i < 2; i++) {
        MODEL_CHECK(poll_until(&waiter[0], OURO_READABLE) == 1);
        uint64_t seen = ouro__load(&sio.readiness, memory_order_acquire);
        ouro__sio_clear(&sio, seen, OURO_READABLE);
        if (i == 0 && (seen >> OURO__READ_TICK_SHIFT & OURO__TICK_MASK) == 2)
            return; /* has seen both at once */
    }
}

static void set_readable_twice(void)
{
    ouro__sio_set_ready(&sio, OURO_READABLE);
    ouro__sio_set_ready(&sio, OURO_READABLE);
}

/* Shutdown ends every wait, begun before, during or after, though readiness is cleared all along.
 */
static void wait_for_shutdown_polling(void)
{
    int rc = 0;
    while ((rc = poll_until(&waiter[0], OURO_READABLE)) == 1) {
        uint64_t seen = ouro__load(&sio.readiness, memory_order_acquire);
        ouro__sio_clear(&sio, seen, OURO_READABLE);
    }
    MODEL_CHECK(rc == -OURO_ESHUTDOWN);
}

static void wait_for_shutdown_linked(void)
{
    MODEL_CHECK(link_until(&waiter[2], OURO_PRIORITY) == -OURO_ESHUTDOWN);
}

static void shut_down(void)
{
    ouro__sio_shut_down(&sio);
}

static void set_then_shut_down(void)
{
    ouro__sio_set_ready(&sio, OURO_READABLE);
    ouro__sio_shut_down(&sio);
}

/* Two that use the same place: the newer waker replaces the older, which is dropped and not woken.
 */
static void store_and_leave(void)
{
    struct ouro_waker waker = {&vtable, &waiter[3]};
    uint64_t word = 0;
    if (ouro__sio_poll(&sio, OURO_READABLE, &waker, &word) == 0)
        linked++;
}

/* Gives up at any time: after unlink() returned, or was woken, nothing touches the waiter again. */
static void link_and_give_up(void)
{
    struct waiter *self = &waiter[4];
    uint64_t word = 0;
    self->node = (struct ouro__io_waiter){.waker = {&vtable, self}, .interest = OURO_READABLE};
    ouro__list_init(&self->node.link);
    self->held = 1;
    int rc = ouro__sio_link(&sio, &self->node, &word);
    if (rc == 0) {
        linked++;
        ouro__sio_unlink(&sio, &self->node);
    }
    if (self->node.waker.vtable != NULL) {
        ouro_waker_drop(&self->node.waker);
        self->gone = true; /* nobody took it out, so nobody may have it */
        memset(&self->node, 0xdb, sizeof(self->node)); /* the waiter's frame is another's now */
    }
}

/* What a waker may do: look again, wait again, drop everything, shut down. */
static void call_back_in(struct waiter *self)
{
    uint64_t word = 0;
    struct ouro_waker waker = {&vtable, self};
    self->on_wake = NULL;
    switch (model_choose(4)) {
    case 0:
        if (ouro__sio_poll(&sio, OURO_PRIORITY, &waker, &word) == 0)
            linked++;
        break;
    case 1:
        ouro__sio_wake_all(&sio);
        break;
    case 2:
        ouro__sio_shut_down(&sio);
        break;
    default:
        ouro__sio_set_ready(&sio, OURO_WRITABLE);
        break;
    }
}

static void begin_with_callback(void)
{
    begin();
    struct ouro_waker waker = {&vtable, &waiter[0]};
    uint64_t word = 0;
    waiter[0].on_wake = call_back_in;
    MODEL_CHECK(ouro__sio_poll(&sio, OURO_READABLE, &waker, &word) == 0);
    linked = 1;
}

static void poll_writer_or_shut_down(void)
{
    int rc = poll_until(&waiter[1], OURO_WRITABLE);
    MODEL_CHECK(rc == 1 || rc == -OURO_ESHUTDOWN);
}

static void set_writable(void)
{
    ouro__sio_set_ready(&sio, OURO_WRITABLE);
}

static void end_with_callback(void)
{
    ouro__sio_wake_all(&sio);
    nothing_is_held();
}

/* More than a batch. */
static void begin_with_many(void)
{
    uint64_t word = 0;
    begin();
    for (unsigned i = 0; i < WAITERS_MAX; i++) {
        waiter[i].held = 1;
        waiter[i].node =
            (struct ouro__io_waiter){.waker = {&vtable, &waiter[i]}, .interest = OURO_READABLE};
        ouro__list_init(&waiter[i].node.link);
        MODEL_CHECK(ouro__sio_link(&sio, &waiter[i].node, &word) == 0);
        linked++;
    }
}

static void give_up_two(void)
{
    unsigned given_up[] = {0, WAITERS_MAX - 1};
    for (unsigned i = 0; i < OURO__ARRAY_LEN(given_up); i++) {
        struct waiter *self = &waiter[given_up[i]];
        ouro__sio_unlink(&sio, &self->node);
        ouro_waker_drop(&self->node.waker);
    }
}

static void all_but_two_woken_once(void)
{
    for (unsigned i = 0; i < WAITERS_MAX; i++) {
        MODEL_CHECK(waiter[i].woken <= 1);
        MODEL_CHECK(waiter[i].woken == 1 || i == 0 || i == WAITERS_MAX - 1);
    }
    nothing_is_held();
}

static const struct model models[] = {
    {.name = "poll against set",
     .begin = begin,
     .thread = {poll_reader, set_readable},
     .end = nothing_is_held,
     .preemptions = MODEL_ANY},
    {.name = "link against set",
     .begin = begin,
     .thread = {link_reader, set_readable},
     .end = nothing_is_held,
     .preemptions = MODEL_ANY},
    {.name = "both ways to wait against two sets",
     .begin = begin,
     .thread = {poll_reader, link_reader, poll_writer, set_each},
     .end = nothing_is_held,
     .preemptions = 3},
    {.name = "poll, clear and poll again",
     .begin = begin,
     .thread = {clear_and_poll, set_readable_twice},
     .end = nothing_is_held,
     .preemptions = MODEL_ANY},
    {.name = "poll against shutdown",
     .begin = begin,
     .thread = {wait_for_shutdown_polling, set_then_shut_down},
     .end = nothing_is_held,
     .preemptions = MODEL_ANY},
    {.name = "link against shutdown",
     .begin = begin,
     .thread = {wait_for_shutdown_linked, set_then_shut_down},
     .end = nothing_is_held,
     .preemptions = MODEL_ANY},
    {.name = "everybody against shutdown",
     .begin = begin,
     .thread = {wait_for_shutdown_polling, wait_for_shutdown_linked, set_readable, shut_down},
     .end = nothing_is_held,
     .preemptions = 3},
    {.name = "a newer waker takes the place",
     .begin = begin,
     .thread = {store_and_leave, store_and_leave, set_readable},
     .end = nothing_is_held,
     .preemptions = MODEL_ANY},
    {.name = "giving up against set",
     .begin = begin,
     .thread = {link_and_give_up, set_readable},
     .end = nothing_is_held,
     .preemptions = MODEL_ANY},
    {.name = "giving up against set and shutdown",
     .begin = begin,
     .thread = {link_and_give_up, set_readable, shut_down},
     .end = nothing_is_held,
     .preemptions = MODEL_ANY},
    {.name = "a waker that calls back in",
     .begin = begin_with_callback,
     .thread = {set_readable, poll_writer_or_shut_down, set_writable},
     .end = end_with_callback,
     .preemptions = 4},
    {.name = "more waiters than a batch",
     .begin = begin_with_many,
     .thread = {set_readable, give_up_two},
     .end = all_but_two_woken_once,
     .preemptions = MODEL_ANY},
};

int main(int argc, char **argv)
{
    return model_main(argc, argv, models, OURO__ARRAY_LEN(models));
}
