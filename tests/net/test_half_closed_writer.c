/* SPDX-License-Identifier: MIT */
/*
 * Waiting for room in a socket whose peer has ended its half.  io_uring reports POLLRDHUP to those
 * who have not asked for it: that must neither end the wait nor be taken for the last word.
 */
#include "everywhere.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ouro/poll_evented.h"
#include "ouro/time.h"

/* Ours is full, and theirs says nothing more. */
static void half_closed_pair(int *ours, int *theirs)
{
    static const char data[4096];
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    ck_assert_int_eq(shutdown(pair[1], SHUT_WR), 0);
    while (write(pair[0], data, sizeof(data)) > 0)
        continue;
    ck_assert_int_eq(errno, EAGAIN);
    *ours = pair[0];
    *theirs = pair[1];
}

static void drain(int fd)
{
    static char data[65536];
    while (read(fd, data, sizeof(data)) > 0)
        continue;
    ck_assert_int_eq(errno, EAGAIN);
}

static int ready_within(struct ouro_poll_evented *io, uint32_t interest, int64_t limit_ns,
                        struct ouro_ready_event *out_event)
{
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, limit_ns), 0);
    int rc = ouro_poll_evented_ready(io, interest, out_event);
    ouro_deadline_end(&scope);
    return rc;
}

/* The driver takes back in its next turns what was armed when a registration ended. */
static void settle(void)
{
    struct ouro_handle *handle = ouro_handle_current();
    struct ouro_io_driver_metrics metrics;
    int64_t end_ns = ouro_now_ns() + 10 * OURO_SECOND;
    do {
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        ck_assert_int_eq(ouro_handle_metrics(handle, &metrics), 0);
    } while (metrics.submitted != metrics.completed && ouro_now_ns() < end_ns);
    ouro_handle_unref(handle);
}

static int wait_for_room(void *arg)
{
    (void)arg;
    int ours = -1, theirs = -1;
    struct ouro_poll_evented *io = NULL;
    struct ouro_ready_event event;
    half_closed_pair(&ours, &theirs);
    ck_assert_int_eq(ouro_poll_evented_new(ours, OURO_READABLE | OURO_WRITABLE | OURO_ERROR, &io),
                     0);

    for (int round = 0; round < 3; round++) {
        /* The drain below may have brought more than one event, and a clear undoes but the one it
         * was given. */
        int rc = 0;
        while ((rc = ready_within(io, OURO_WRITABLE, 20 * OURO_MILLISECOND, &event)) == 0) {
            ck_assert_int_lt(write(ours, "x", 1), 0);
            ouro_poll_evented_clear(io, &event);
        }
        ck_assert_int_eq(rc, -ETIMEDOUT);
        drain(theirs);
        ck_assert_int_eq(ready_within(io, OURO_WRITABLE, 10 * OURO_SECOND, &event), 0);
        ck_assert_uint_ne(event.ready & OURO_WRITABLE, 0);
        while (write(ours, "x", 1) > 0)
            continue;
        ouro_poll_evented_clear(io, &event);
    }
    ck_assert_int_eq(ready_within(io, OURO_ERROR, 20 * OURO_MILLISECOND, &event), -ETIMEDOUT);
    ck_assert_int_eq(ready_within(io, OURO_READABLE, 10 * OURO_SECOND, &event), 0);
    ck_assert_uint_ne(event.ready & OURO_READ_CLOSED, 0);

    /* A wait for errors is still armed in the driver when the registration ends. */
    ouro_poll_evented_free(io);
    (void)close(ours);
    (void)close(theirs);
    settle();
    return 0;
}

OURO_TEST(room_is_waited_for_when_the_peer_has_ended_its_half)
{
    everywhere(wait_for_room, NULL);
}

static int wait_for_hangup(void *arg)
{
    (void)arg;
    int ours = -1, theirs = -1;
    struct ouro_poll_evented *io = NULL;
    struct ouro_ready_event event;
    half_closed_pair(&ours, &theirs);
    ck_assert_int_eq(ouro_poll_evented_new(ours, OURO_WRITABLE, &io), 0);
    ck_assert_int_eq(ready_within(io, OURO_WRITABLE, 20 * OURO_MILLISECOND, &event), -ETIMEDOUT);
    (void)close(theirs);
    ck_assert_int_eq(ready_within(io, OURO_WRITABLE, 10 * OURO_SECOND, &event), 0);
    ck_assert_uint_ne(event.ready & OURO_WRITE_CLOSED, 0);
    ouro_poll_evented_free(io);
    (void)close(ours);
    return 0;
}

OURO_TEST(the_peers_end_ends_a_wait_for_room)
{
    everywhere(wait_for_hangup, NULL);
}
