/* SPDX-License-Identifier: MIT */
/*
 * The epoll backend: operations complete as they do on io_uring, by system calls of this thread.
 *
 * submit() puts an op on a list.  turn() tries the ops on it, waits for events if none completed,
 * and tries again the ops that the events concern (emulate.c).  So every completion happens inside
 * turn(), and a message costs one system call and its share of one epoll_wait(2).
 *
 * When tries complete something, the turn ends without looking for events, since there is work to
 * do now.  After UNWATCHED_TURNS_MAX such turns in a row it looks for events all the same;
 * otherwise a busy connection would keep the others waiting.
 *
 * Owns:    the epoll descriptor; the wake descriptor it only makes.
 * Threads: attach(), detach() and unpark() any; the rest the driver's.
 * Always:  turn() returns an error only for what cannot happen to a working epoll: epoll_wait(2)
 *          saying EBADF, EFAULT or EINVAL.  The caller stops the program then.
 * Tests:   tests/registry/test_driver.c, tests/epoll/test_stress.c
 */
#include "epoll/epoll.h"

#include "base/alloc.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { UNWATCHED_TURNS_MAX = 8 };

static struct ouro__epoll *epoll_of(struct ouro__driver *driver)
{
    return OURO__CONTAINER_OF(driver, struct ouro__epoll, driver);
}

/*
 * The wake descriptor: edge-triggered, so each write is an event and none needs to be read.  It is
 * the handle's from then on: a thread that has seen the owner asleep may write to it after close().
 */
static int open_wake(struct ouro__driver_handle *handle, int epoll_fd)
{
    bool made = handle->wake_fd < 0;
    int fd = made ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : handle->wake_fd;
    if (fd < 0)
        return -errno;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET,
                                .data = {.u64 = ouro__token(0, 0, OURO__LANE_WAKE)}};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        int rc = -errno;
        if (made)
            (void)close(fd);
        return rc;
    }
    handle->wake_fd = fd;
    return 0;
}

static int open_epoll(const struct ouro__driver_config *config, struct ouro__driver_handle *handle,
                      struct ouro__driver **out_driver)
{
    (void)config;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        return -errno;
    struct ouro__epoll *epoll = ouro__calloc(1, sizeof(*epoll));
    int rc = epoll == NULL ? -ENOMEM : open_wake(handle, epoll_fd);
    if (rc == 0)
        rc = ouro__epoll_set_open(handle, epoll_fd, &epoll->set);
    if (rc != 0) {
        ouro__free(epoll);
        (void)close(epoll_fd);
        return rc;
    }
    epoll->driver.handle = handle;
    epoll->epoll_fd = epoll_fd;
    *out_driver = &epoll->driver;
    return 0;
}

static void close_epoll(struct ouro__driver *driver)
{
    struct ouro__epoll *epoll = epoll_of(driver);
    OURO__ASSERT(ouro__queue_is_empty(&epoll->tries));
    ouro__epoll_set_close(epoll->set);
    (void)close(epoll->epoll_fd);
    ouro__free(epoll);
}

static int attach(struct ouro__driver_handle *handle, struct ouro__scheduled_io *sio)
{
    if ((sio->flags & OURO__SIO_READINESS) == 0)
        return 0; /* when an operation has to wait */
    uint32_t events = EPOLLET;
    if ((sio->interest & OURO_READABLE) != 0)
        events |= EPOLLIN | EPOLLRDHUP;
    if ((sio->interest & OURO_WRITABLE) != 0)
        events |= EPOLLOUT;
    if ((sio->interest & OURO_PRIORITY) != 0)
        events |= EPOLLPRI;
    int rc = ouro__epoll_set_add(handle->shared, sio, events);
    if (rc == 0)
        OURO__TRACE(handle, .kind = OURO_TRACE_ARMED, .fd = sio->fd,
                    .token = ouro__sio_token(sio, 0), .a = events);
    return rc;
}

static void detach(struct ouro__driver_handle *handle, struct ouro__scheduled_io *sio)
{
    if (handle->shared != NULL) /* the driver was open once */
        ouro__epoll_set_remove(handle->shared, sio);
}

static OURO__COLD void trace_submitted(const struct ouro__op *op)
{
    OURO__TRACE(op->handle, .kind = OURO_TRACE_SUBMITTED, .fd = op->fd, .token = op->token,
                .a = op->code, .name = ouro__op_name(op->code));
}

static void submit(struct ouro__driver *driver, struct ouro__op *op)
{
    if (OURO__UNLIKELY(driver->handle->trace != NULL))
        trace_submitted(op);
    ouro__epoll_queue(epoll_of(driver), op);
}

static void cancel(struct ouro__driver *driver, struct ouro__op *op)
{
    op->backend |= OURO__EPOLL_OP_CANCELLED;
    if ((op->backend & OURO__EPOLL_OP_DRY) != 0)
        ouro__epoll_leave_loan(op);
    ouro__epoll_queue(epoll_of(driver), op);
}

static int turn(struct ouro__driver *driver, int64_t timeout_ns)
{
    struct ouro__epoll *epoll = epoll_of(driver);
    if (!ouro__queue_is_empty(&epoll->tries))
        ouro__epoll_run_tries(epoll);
    if (!ouro__queue_is_empty(&driver->completed)) {
        timeout_ns = 0;
        if (epoll->unwatched_turns++ < UNWATCHED_TURNS_MAX)
            return 0;
    }
    if (!ouro__queue_is_empty(&epoll->tries))
        timeout_ns = 0;
    epoll->unwatched_turns = 0;
    int rc = ouro__epoll_collect(epoll, timeout_ns);
    if (rc == 0 && !ouro__queue_is_empty(&epoll->tries))
        ouro__epoll_run_tries(epoll);
    return rc;
}

static void unpark(struct ouro__driver_handle *handle)
{
    int saved = errno; /* this may be a signal handler */
    const uint64_t one = 1;
    while (write(handle->wake_fd, &one, sizeof(one)) < 0 && (errno == EAGAIN || errno == EINTR)) {
        uint64_t count = 0;
        if (errno == EAGAIN) /* full, after 2^64 - 2 wakes */
            (void)!read(handle->wake_fd, &count, sizeof(count));
    }
    errno = saved;
}

static int poll_fd(struct ouro__driver *driver)
{
    return epoll_of(driver)->epoll_fd;
}

static int settle(struct ouro__driver *driver)
{
    return ouro__queue_is_empty(&epoll_of(driver)->tries) ? 0 : 1;
}

const struct ouro__driver_ops ouro__epoll_ops = {
    .name = "epoll",
    .has_row = ouro__epoll_has_row,
    .open = open_epoll,
    .close = close_epoll,
    .attach = attach,
    .detach = detach,
    .submit = submit,
    .cancel = cancel,
    .try_now = ouro__epoll_try_now,
    .resume = ouro__epoll_resume_loan,
    .turn = turn,
    .unpark = unpark,
    .poll_fd = poll_fd,
    .settle = settle,
};
