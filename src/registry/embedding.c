/* SPDX-License-Identifier: MIT */
/*
 * Embedding: what a foreign event loop waits for (registry/embedding.h).
 *
 * Owns:    the two descriptors.
 * Threads: the one that turns the driver.
 * Always:  between turns an unpark, and everything that a turn would collect, makes the descriptor
 *          readable; work that is left behind does so at once.
 * Tests:   tests/runtime/test_embedding.c, tests/libuv/embedding.c
 */
#include "registry/embedding.h"

#include "base/assert.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* The earliest time there is, long past: a timer for it is due at once. */
#define AT_ONCE_NS 1

int ouro__embedding_init(struct ouro__embedding *embedding, struct ouro__driver_handle *handle,
                         int (*join)(int fd, int other_fd))
{
    int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer_fd < 0)
        return -errno;
    int fd = join(handle->ops->poll_fd(handle->driver), timer_fd);
    if (fd < 0) {
        (void)close(timer_fd);
        return fd;
    }
    *embedding = (struct ouro__embedding){.fd = fd, .timer_fd = timer_fd, .armed_ns = OURO__NEVER};
    return 0;
}

void ouro__embedding_fini(struct ouro__embedding *embedding)
{
    (void)close(embedding->fd);
    (void)close(embedding->timer_fd);
}

void ouro__embedding_enter(struct ouro__driver_handle *handle)
{
    handle->is_away = false;
    ouro__unpark_end_sleep(&handle->unpark);
}

/* Setting the timer also makes it unreadable again. */
static void arm(struct ouro__embedding *embedding, int64_t due_ns)
{
    if (due_ns == embedding->armed_ns)
        return;
    struct itimerspec when = {.it_value = {0, 0}}; /* never */
    if (due_ns != OURO__NEVER)
        when.it_value = ouro__clock_to_timespec(due_ns);
    int rc = timerfd_settime(embedding->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    OURO__ASSERT(rc == 0);
    embedding->armed_ns = due_ns;
}

static void leave(struct ouro__embedding *embedding, struct ouro__driver_handle *handle,
                  bool has_more, int64_t due_ns)
{
    /* From here on a sender makes the descriptor readable; what came before is seen here. */
    if (!ouro__unpark_begin_sleep(&handle->unpark))
        has_more = true;
    arm(embedding, has_more || due_ns < AT_ONCE_NS ? AT_ONCE_NS : due_ns);
    handle->is_away = true;
}

int ouro__embedding_begin(struct ouro__embedding *embedding, struct ouro__driver_handle *handle,
                          int64_t due_ns)
{
    int rc = ouro__driver_try_settle(handle);
    if (rc < 0)
        return rc;
    leave(embedding, handle, rc > 0, due_ns);
    return 0;
}

void ouro__embedding_leave(struct ouro__embedding *embedding, struct ouro__driver_handle *handle,
                           int64_t due_ns)
{
    leave(embedding, handle, ouro__driver_settle(handle), due_ns);
}
