/* SPDX-License-Identifier: MIT */
/*
 * Models of the driver's shared half, with the real turn(): messages, registrations dropped by
 * other threads, and readiness as io_uring reports it (uring/poll.c), over a kernel of a few lines.
 */
#include "model/explorer.h"

#include "registry/registration.h"
#include "uring/ring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

enum { FOREVER = -1, DROPPERS = 2 };

static struct ouro__driver_handle handle;
static struct ouro__driver backend; /* all there is of it */
static struct ouro__registration registration[DROPPERS];
static struct ouro__op *polling; /* the multishot poll that is in the kernel */
static bool has_changed;         /* since it last reported */
static bool is_cancelled;
static bool kernel_wake;
static unsigned data; /* what the descriptor has for its reader */
static unsigned data_read;
static unsigned woken[2]; /* the reader, the writer */
static unsigned held;
static unsigned finished;
static unsigned messages_run;
static uint64_t released_before, releases_due;
static int fd = -1;
static bool clean; /* the last run ended as it should */

static uint64_t released(void)
{
    return ouro__counter_read(&handle.counters.released) - released_before;
}

static int open_backend(const struct ouro__driver_config *config,
                        struct ouro__driver_handle *driver_handle, struct ouro__driver **out_driver)
{
    (void)config;
    backend = (struct ouro__driver){.handle = driver_handle};
    *out_driver = &backend;
    return 0;
}

static void close_backend(struct ouro__driver *driver)
{
    (void)driver;
}

static void submit(struct ouro__driver *driver, struct ouro__op *op)
{
    (void)driver;
    MODEL_CHECK(polling == NULL);
    polling = op;
    has_changed = true; /* it reports the present state first */
    model_note("arms the poll");
}

static void cancel(struct ouro__driver *driver, struct ouro__op *op)
{
    (void)driver;
    op->backend |= OURO__URING_CANCELLED;
    is_cancelled = true;
}

static bool has_result(void)
{
    return polling != NULL && (has_changed || is_cancelled);
}

/* A turn that has released all there was may end: that is what the models' owners wait for. */
static bool may_wake(void *arg)
{
    (void)arg;
    return has_result() || kernel_wake || released() == releases_due;
}

static int turn(struct ouro__driver *driver, int64_t timeout_ns)
{
    if (timeout_ns != 0) {
        model_note("sleeps");
        model_wait_until(may_wake, NULL);
        kernel_wake = false;
    }
    if (!has_result())
        return 0;
    struct ouro__op *op = polling;
    if (has_changed) {
        has_changed = false;
        ouro__driver_event(driver, op->sio, POLLOUT | (data > 0 ? POLLIN : 0));
    }
    if (is_cancelled) {
        polling = NULL;
        is_cancelled = false;
        ouro__driver_complete(driver, op, -ECANCELED);
    }
    return 0;
}

static void unpark(struct ouro__driver_handle *driver_handle)
{
    (void)driver_handle;
    ouro__model_point();
    kernel_wake = true;
    model_note("makes the call");
}

static bool has_row(unsigned code)
{
    return code == OURO__OP_POLL;
}

static const struct ouro__driver_ops ops = {.name = "model",
                                            .has_row = has_row,
                                            .open = open_backend,
                                            .close = close_backend,
                                            .attach = ouro__uring_attach,
                                            .detach = ouro__uring_detach,
                                            .submit = submit,
                                            .cancel = cancel,
                                            .turn = turn,
                                            .unpark = unpark};

/* Anew after a run that failed, whose remains nobody cleans up. */
static void make_handle(void)
{
    fd = eventfd(0, EFD_CLOEXEC);
    MODEL_CHECK(ouro__driver_handle_init(&handle, &ops) == 0);
    const struct ouro__driver_config config = {.ring_entries = 0};
    MODEL_CHECK(ouro__driver_open(&handle, &config) == 0);
    handle.owner = NULL; /* the models' threads are one to the system: let none seem the owner */
}

/* The handle is kept for all runs: to make one is a thousand times the work of a run. */
static void begin(void)
{
    if (!clean)
        make_handle();
    clean = false;
    polling = NULL;
    has_changed = false;
    is_cancelled = false;
    kernel_wake = false;
    data = 0;
    data_read = 0;
    woken[0] = 0;
    woken[1] = 0;
    finished = 0;
    held = 0;
    messages_run = 0;
    releases_due = UINT64_MAX; /* none: the model waits for something else */
    released_before = ouro__counter_read(&handle.counters.released);
    atomic_store(&handle.unpark.state, OURO__UNPARK_RUNNING);
}

static void begin_registered(void)
{
    begin();
    releases_due = DROPPERS;
    for (unsigned i = 0; i < DROPPERS; i++)
        MODEL_CHECK(ouro__registration_new(&handle, fd, 0, &registration[i]) == 0);
}

static void begin_waiting(void)
{
    begin();
    releases_due = 1;
    MODEL_CHECK(
        ouro__registration_new(&handle, fd, OURO_READABLE | OURO_WRITABLE, &registration[0]) == 0);
}

static void *clone_waker(void *waker)
{
    held++;
    return waker;
}

static void wake(void *waker)
{
    unsigned *count = waker;
    (*count)++;
}

static void drop_waker(void *waker)
{
    (void)waker;
    MODEL_CHECK(held > 0);
    held--;
}

static const struct ouro_waker_vtable vtable = {clone_waker, wake, drop_waker};

static void count_message(struct ouro__inbox_node *node)
{
    (void)node;
    messages_run++;
}

static void turn_until_all_run(void)
{
    while (messages_run < DROPPERS)
        ouro__driver_turn(&handle, FOREVER);
}

static void send_first(void)
{
    static struct ouro__inbox_node node = {.run = count_message};
    MODEL_CHECK(ouro__driver_send(&handle, &node));
}

static void send_second(void)
{
    static struct ouro__inbox_node node = {.run = count_message};
    MODEL_CHECK(ouro__driver_send(&handle, &node));
}

/* Nothing else happens: what is dropped is released without further traffic. */
static void turn_until_all_released(void)
{
    while (released() < releases_due)
        ouro__driver_turn(&handle, FOREVER);
}

static void drop_first(void)
{
    ouro__registration_drop(&registration[0]);
    model_note("has dropped");
}

static void drop_second(void)
{
    ouro__registration_drop(&registration[1]);
    model_note("has dropped");
}

static bool is_woken(void *arg)
{
    const unsigned *count = arg;
    return *count > 0;
}

/* Until it is ready: a wake may be for something else. */
static void wait_for(uint32_t interest, unsigned *count, uint64_t *out_word)
{
    const struct ouro_waker waker = {&vtable, count};
    while (ouro__registration_poll(&registration[0], interest, &waker, out_word) == 0) {
        model_wait_until(is_woken, count);
        *count = 0;
    }
}

/* Another thread waits for readiness, which the driver's thread reports. */
static void read_until(unsigned wanted)
{
    uint64_t word = 0;
    while (data_read < wanted) {
        wait_for(OURO_READABLE, &woken[0], &word);
        ouro__model_point();
        unsigned got = data;
        data = 0;
        model_note("reads %u", got);
        if (got == 0)
            ouro__sio_clear(registration[0].sio, word, OURO_READABLE);
        data_read += got;
    }
}

static void read_both(void)
{
    read_until(2);
    ouro__registration_drop(&registration[0]);
}

/* Two on one registration; the last one drops it. */
static void finish(void)
{
    if (++finished == 2)
        ouro__registration_drop(&registration[0]);
}

static void read_one(void)
{
    read_until(1);
    finish();
}

static void write_one(void)
{
    uint64_t word = 0;
    wait_for(OURO_WRITABLE, &woken[1], &word);
    finish();
}

static void begin_with_data(void)
{
    begin_waiting();
    data = 1;
}

static void begin_unregistered(void)
{
    begin();
    releases_due = 1;
}

/* Registers and drops, with the message that arms the poll on its way. */
static void register_and_drop(void)
{
    MODEL_CHECK(ouro__registration_new(&handle, fd, OURO_READABLE, &registration[0]) == 0);
    const struct ouro_waker waker = {&vtable, &woken[0]};
    uint64_t word = 0;
    (void)ouro__registration_poll(&registration[0], OURO_READABLE, &waker, &word);
    ouro__registration_drop(&registration[0]);
}

static void data_arrives_twice(void)
{
    for (unsigned i = 0; i < 2; i++) {
        ouro__model_point();
        data++;
        has_changed = true;
    }
}

static void nothing_is_left(void)
{
    MODEL_CHECK(polling == NULL);
    MODEL_CHECK(held == 0);
    MODEL_CHECK(ouro__list_is_empty(&handle.set.live));
    MODEL_CHECK(ouro__list_is_empty(&handle.set.pending));
    clean = true;
}

static const struct model models[] = {
    {.name = "two messages and the real turn",
     .begin = begin,
     .thread = {turn_until_all_run, send_first, send_second},
     .end = nothing_is_left,
     .preemptions = 6},
    {.name = "a dropped registration is released",
     .begin = begin_registered,
     .thread = {turn_until_all_released, drop_first, drop_second},
     .end = nothing_is_left,
     .preemptions = 4},
    {.name = "readiness reaches another thread",
     .begin = begin_waiting,
     .thread = {turn_until_all_released, read_both, data_arrives_twice},
     .end = nothing_is_left,
     .preemptions = 4},
    {.name = "both directions are waited for",
     .begin = begin_with_data,
     .thread = {turn_until_all_released, read_one, write_one},
     .end = nothing_is_left,
     .preemptions = 3},
    {.name = "dropped with a message on its way",
     .begin = begin_unregistered,
     .thread = {turn_until_all_released, register_and_drop},
     .end = nothing_is_left,
     .preemptions = 4},
};

int main(int argc, char **argv)
{
    return model_main(argc, argv, models, OURO__ARRAY_LEN(models));
}
