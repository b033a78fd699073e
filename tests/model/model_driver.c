/* SPDX-License-Identifier: MIT */
/*
 * Models of the driver's shared half, with the real turn(): messages, registrations dropped by other
 * threads, and readiness that must be asked for, over a backend of a few lines.
 */
#include "model/explorer.h"

#include "registry/registration.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

enum { RUNS_FOREVER = -1, DROPPERS = 2 };

static struct ouro__driver_handle handle;
static struct ouro__driver backend; /* all there is of it */
static struct ouro__registration registration[DROPPERS];
static struct ouro__op *polling;
static bool kernel_wake;
static unsigned data;      /* what the descriptor has for its reader */
static unsigned data_read;
static unsigned woken, held;
static unsigned messages_run;
static uint64_t released_before, releases_due;
static int fd = -1;
static bool clean; /* the last run ended as it should */

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

static int attach(struct ouro__driver_handle *driver_handle, struct ouro__scheduled_io *sio)
{
    (void)driver_handle;
    (void)sio;
    return 0;
}

static void detach(struct ouro__driver_handle *driver_handle, struct ouro__scheduled_io *sio)
{
    (void)driver_handle;
    (void)sio;
}

static void submit(struct ouro__driver *driver, struct ouro__op *op)
{
    (void)driver;
    MODEL_CHECK(polling == NULL);
    polling = op;
    model_note("arms");
}

static void cancel(struct ouro__driver *driver, struct ouro__op *op)
{
    (void)driver;
    op->backend = 1;
}

static bool has_result(void)
{
    return polling != NULL && (data > 0 || polling->backend != 0);
}

static uint64_t released(void)
{
    return ouro__counter_read(&handle.counters.released) - released_before;
}

/* A turn that has released all there was may end: that is what the models' owners wait for. */
static bool may_wake(void *arg)
{
    (void)arg;
    return kernel_wake || has_result() || released() == releases_due;
}

static int turn(struct ouro__driver *driver, int64_t timeout_ns)
{
    if (timeout_ns != 0) {
        model_note("sleeps");
        model_wait_until(may_wake, NULL);
        kernel_wake = false;
    }
    if (has_result()) {
        struct ouro__op *op = polling;
        polling = NULL;
        ouro__driver_complete(driver, op, data > 0 ? POLLIN : -ECANCELED);
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

static const struct ouro__driver_ops ops = {.name = "model",
                                            .capabilities = OURO__DRIVER_ARMS_POLL,
                                            .open = open_backend,
                                            .close = close_backend,
                                            .attach = attach,
                                            .detach = detach,
                                            .submit = submit,
                                            .cancel = cancel,
                                            .turn = turn,
                                            .unpark = unpark};

/* Anew after a run that failed, whose remains nobody cleans up. */
static void make_handle(void)
{
    fd = eventfd(0, EFD_CLOEXEC);
    MODEL_CHECK(ouro__driver_handle_init(&handle, &ops) == 0);
    MODEL_CHECK(ouro__driver_open(&handle, NULL) == 0);
    handle.owner = NULL; /* the models' threads are one to the system: let none seem the owner */
}

/* The handle is kept for all runs: to make one is a thousand times the work of a run. */
static void begin(void)
{
    if (!clean)
        make_handle();
    clean = false;
    polling = NULL;
    kernel_wake = false;
    data = 0;
    data_read = 0;
    woken = 0;
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
    MODEL_CHECK(ouro__registration_new(&handle, fd, OURO_READABLE, &registration[0]) == 0);
}

static void *clone_waker(void *waker)
{
    held++;
    return waker;
}

static void wake(void *waker)
{
    (void)waker;
    woken++;
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
        ouro__driver_turn(&handle, RUNS_FOREVER);
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
        ouro__driver_turn(&handle, RUNS_FOREVER);
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
    (void)arg;
    return woken > 0;
}

/* Another thread waits for readiness that the driver must ask the kernel for. */
static void read_both(void)
{
    const struct ouro_waker waker = {&vtable, &woken};
    uint64_t word = 0;
    while (data_read < 2) {
        int rc = ouro__registration_poll(&registration[0], OURO_READABLE, &waker, &word);
        if (rc == 0) {
            model_wait_until(is_woken, NULL);
            woken = 0;
            continue;
        }
        MODEL_CHECK(rc == 1);
        ouro__model_point();
        model_note("reads %u", data);
        if (data == 0)
            ouro__sio_clear(registration[0].sio, word, OURO_READABLE);
        data_read += data;
        data = 0;
    }
    ouro__registration_drop(&registration[0]);
}

static void data_arrives_twice(void)
{
    ouro__model_point();
    data++;
    ouro__model_point();
    data++;
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
     .preemptions = 4},
    {.name = "a dropped registration is released",
     .begin = begin_registered,
     .thread = {turn_until_all_released, drop_first, drop_second},
     .end = nothing_is_left,
     .preemptions = 4},
    {.name = "readiness that must be asked for",
     .begin = begin_waiting,
     .thread = {turn_until_all_released, read_both, data_arrives_twice},
     .end = nothing_is_left,
     .preemptions = 3},
};

int main(int argc, char **argv)
{
    return model_main(argc, argv, models, OURO__ARRAY_LEN(models));
}
