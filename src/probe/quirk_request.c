/* SPDX-License-Identifier: MIT */
/*
 * Self-tests of single requests: cancels, timeouts, connects, and a send that waits for room.
 *
 * Owns:    its descriptors, until each test returns.
 * Threads: the caller's.
 * Always:  memory named by a request is alive while the request may be: after a test that found its
 *          quirk, the caller closes the ring before anything else reuses the stack; the receives
 *          here read from sockets nobody writes to.
 * Tests:   tests/probe/test_feature.c, tests/ktest/cases_catalogue.py
 */
#define _GNU_SOURCE
#include "probe/quirk_test.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { UD_FIRST = 1, UD_SECOND = 2, UD_CANCEL = 3, UD_ABSENT = 99 };
enum { SLOW_TRIES = 3, SLOW_ROUNDS = 3, SLOW_RATIO = 20, SLOW_FLOOR_NS = 30000, BACKLOG_TRIES = 4 };

/* What became of two requests and a cancel; INT32_MAX: no completion. */
struct outcome {
    int32_t first;
    int32_t second;
    int32_t cancel;
};

static void collect(struct ouro__kit_ring *kit, struct outcome *out)
{
    struct ouro__kit_cqe cqe;
    *out = (struct outcome){INT32_MAX, INT32_MAX, INT32_MAX};
    while (ouro__kit_wait(kit, out->cancel == INT32_MAX ? OURO__KIT_ANSWER_NS : 0, &cqe) == 0) {
        if (cqe.user_data == UD_CANCEL)
            out->cancel = cqe.res;
        else if (cqe.user_data == UD_FIRST)
            out->first = cqe.res;
        else
            out->second = cqe.res;
    }
}

static void queue_recv(struct ouro__kit_ring *kit, int fd, uint64_t user_data)
{
    /* Nothing is ever written to this socket, so the byte is never set. */
    static char unused;
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_RECV, fd, user_data);
    sqe->addr = (uint64_t)(uintptr_t)&unused;
    sqe->len = 1;
}

static struct io_uring_sqe *queue_cancel(struct ouro__kit_ring *kit, int fd, uint64_t target,
                                         uint32_t flags)
{
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_ASYNC_CANCEL, fd, UD_CANCEL);
    sqe->addr = target;
    sqe->cancel_flags = flags;
    return sqe;
}

int ouro__quirk_test_cancel_fd_userdata(struct ouro__kit_ring *kit)
{
    int fds[2];
    int rc = ouro__kit_pair(SOCK_STREAM, fds);
    if (rc < 0)
        return rc;
    const uint32_t keys = IORING_ASYNC_CANCEL_FD | OURO__CANCEL_USERDATA;
    struct outcome absent;
    struct outcome named;
    queue_recv(kit, fds[0], UD_FIRST);
    queue_recv(kit, fds[0], UD_SECOND);
    (void)queue_cancel(kit, fds[0], UD_ABSENT, keys);
    (void)ouro__kit_submit(kit);
    collect(kit, &absent);
    (void)queue_cancel(kit, fds[0], UD_SECOND, keys);
    (void)ouro__kit_submit(kit);
    collect(kit, &named);
    ouro__kit_cancel_all(kit);
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
    const bool right = absent.cancel == -ENOENT && absent.first == INT32_MAX &&
                       absent.second == INT32_MAX && named.cancel == 0 &&
                       named.first == INT32_MAX && named.second == -ECANCELED;
    return right ? 0 : 1;
}

int ouro__quirk_test_cancel_op(struct ouro__kit_ring *kit)
{
    int fds[2];
    int rc = ouro__kit_pair(SOCK_STREAM, fds);
    if (rc < 0)
        return rc;
    struct outcome outcome;
    queue_recv(kit, fds[0], UD_FIRST);
    ouro__kit_sqe(kit, IORING_OP_POLL_ADD, fds[0], UD_SECOND)->poll32_events = POLLIN;
    queue_cancel(kit, -1, 0, OURO__CANCEL_OP | IORING_ASYNC_CANCEL_ALL)->len = IORING_OP_RECV;
    (void)ouro__kit_submit(kit);
    collect(kit, &outcome);
    ouro__kit_cancel_all(kit);
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
    const bool right =
        outcome.cancel == 1 && outcome.first == -ECANCELED && outcome.second == INT32_MAX;
    return right ? 0 : 1;
}

/* A timeout that would fire @shots times, far away; then updated to @ts with @flags. */
static int updated_timeout(struct ouro__kit_ring *kit, uint32_t shots,
                           const struct __kernel_timespec *ts, uint32_t flags)
{
    const struct __kernel_timespec far = {.tv_sec = 60};
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_TIMEOUT, -1, UD_FIRST);
    sqe->addr = (uint64_t)(uintptr_t)&far;
    sqe->len = 1;
    sqe->off = shots;
    sqe->timeout_flags = OURO__TIMEOUT_MULTISHOT;
    (void)ouro__kit_submit(kit);
    sqe = ouro__kit_sqe(kit, IORING_OP_TIMEOUT_REMOVE, -1, UD_CANCEL);
    sqe->addr = UD_FIRST;
    sqe->addr2 = (uint64_t)(uintptr_t)ts;
    sqe->timeout_flags = IORING_TIMEOUT_UPDATE | flags;
    struct ouro__kit_cqe cqe;
    int rc = ouro__kit_call(kit, UD_CANCEL, &cqe);
    return rc < 0 ? rc : cqe.res;
}

int ouro__quirk_test_timeout_update_count(struct ouro__kit_ring *kit)
{
    const struct __kernel_timespec soon = {.tv_nsec = 50000};
    int rc = updated_timeout(kit, 3, &soon, 0);
    int fired = 0;
    bool more = true;
    struct ouro__kit_cqe cqe;
    while (rc == 0 && more && fired < 5 &&
           ouro__kit_wait(kit, 20 * OURO__KIT_NS_PER_MS, &cqe) == 0) {
        fired++;
        more = (cqe.flags & IORING_CQE_F_MORE) != 0;
    }
    ouro__kit_cancel_all(kit);
    if (rc < 0)
        return rc;
    return fired == 3 && !more ? 0 : 1;
}

int ouro__quirk_test_timeout_update_abs(struct ouro__kit_ring *kit)
{
    const struct __kernel_timespec late = {.tv_sec = INT32_MAX};
    const int rc = updated_timeout(kit, 3, &late, IORING_TIMEOUT_ABS);
    ouro__kit_cancel_all(kit);
    if (rc == 0)
        return 1;
    return rc == -EINVAL ? 0 : -EIO;
}

int ouro__quirk_test_futex_link_timeout(struct ouro__kit_ring *kit)
{
    static uint32_t word; /* never woken */
    const struct __kernel_timespec soon = {.tv_nsec = 20000};
    struct io_uring_sqe *sqe =
        ouro__kit_sqe(kit, OURO__OP_FUTEX_WAIT, 2 /* u32 */ | 128 /* private */, UD_FIRST);
    sqe->addr = (uint64_t)(uintptr_t)&word;
    sqe->addr3 = UINT32_MAX;
    sqe->flags = IOSQE_IO_LINK;
    sqe = ouro__kit_sqe(kit, IORING_OP_LINK_TIMEOUT, -1, UD_SECOND);
    sqe->addr = (uint64_t)(uintptr_t)&soon;
    sqe->len = 1;
    struct ouro__kit_cqe cqe;
    int rc = ouro__kit_call(kit, UD_SECOND, &cqe);
    ouro__kit_cancel_all(kit);
    if (rc < 0)
        return rc;
    return cqe.res == -ETIME ? 0 : 1;
}

/* The least of some tries; negative: -errno, it could not be measured. */
static int64_t connect_cost_ns(struct ouro__kit_ring *kit,
                               const struct ouro__kit_listener *listener, int fd)
{
    int64_t best_ns = INT64_MAX;
    for (int i = 0; i < SLOW_ROUNDS; i++) {
        struct ouro__kit_cqe cqe;
        const int64_t start_ns = ouro__kit_now_ns();
        if (kit == NULL) {
            (void)connect(fd, (const void *)listener->addr, listener->addr_len);
        } else {
            struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_CONNECT, fd, UD_FIRST);
            sqe->addr = (uint64_t)(uintptr_t)listener->addr;
            sqe->off = listener->addr_len;
            int rc = ouro__kit_call(kit, UD_FIRST, &cqe);
            if (rc < 0)
                return rc;
        }
        const int64_t took_ns = ouro__kit_now_ns() - start_ns;
        best_ns = took_ns < best_ns ? took_ns : best_ns;
    }
    return best_ns;
}

/* 1, 0 or -errno.  A kernel with the fault is slow each time, a busy machine only now and then. */
static int is_slow(struct ouro__kit_ring *kit, const struct ouro__kit_listener *listener, int fd)
{
    for (int i = 0; i < SLOW_TRIES; i++) {
        const int64_t call_ns = connect_cost_ns(NULL, listener, fd);
        const int64_t ring_ns = connect_cost_ns(kit, listener, fd);
        if (ring_ns <= SLOW_FLOOR_NS || ring_ns <= call_ns * SLOW_RATIO)
            return ring_ns < 0 ? (int)ring_ns : 0;
    }
    return 1;
}

int ouro__quirk_test_unix_connect_slow(struct ouro__kit_ring *kit)
{
    struct ouro__kit_listener listener;
    int rc = ouro__kit_listen(0, &listener);
    if (rc < 0)
        return rc;
    int fds[BACKLOG_TRIES] = {-1, -1, -1, -1};
    bool full = false;
    int last = -1;
    for (int i = 0; i < BACKLOG_TRIES && !full; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        last = fds[i];
        full = connect(last, (const void *)listener.addr, listener.addr_len) < 0 && errno == EAGAIN;
    }
    int result = -EIO;
    if (full)
        result = is_slow(kit, &listener, last);
    for (int i = 0; i < BACKLOG_TRIES; i++)
        ouro__kit_shut(&fds[i]);
    ouro__kit_shut(&listener.fd);
    return result;
}

/* Over TCP, where a connect takes a round trip.  No loopback: not tested. */
int ouro__quirk_test_connect_einprogress(struct ouro__kit_ring *kit)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result = -EIO;
    if (listener >= 0 && client >= 0 &&
        bind(listener, (const struct sockaddr *)&addr, sizeof(addr)) == 0 &&
        listen(listener, 1) == 0 && getsockname(listener, (struct sockaddr *)&addr, &len) == 0) {
        struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_CONNECT, client, UD_FIRST);
        sqe->addr = (uint64_t)(uintptr_t)&addr;
        sqe->off = sizeof(addr);
        struct ouro__kit_cqe cqe = {0};
        if (ouro__kit_call(kit, UD_FIRST, &cqe) < 0)
            ouro__kit_cancel_all(kit);
        else if (cqe.res == 0 || cqe.res == -EINPROGRESS)
            result = cqe.res == 0 ? 0 : 1;
    }
    ouro__kit_shut(&client);
    ouro__kit_shut(&listener);
    return result;
}

/* A full socket whose peer has ended its half: there is no room, so a poll for room must wait. */
int ouro__quirk_test_send_read_side(struct ouro__kit_ring *kit)
{
    static const char data[1024];
    int fds[2];
    int rc = ouro__kit_pair(SOCK_STREAM, fds);
    if (rc < 0)
        return rc;
    int small = 1; /* the kernel takes its least */
    int result = -EIO;
    struct pollfd room = {.fd = fds[0], .events = POLLOUT};
    (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    while (send(fds[0], data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        continue;
    if (shutdown(fds[1], SHUT_WR) == 0 && poll(&room, 1, 0) == 0) {
        ouro__kit_sqe(kit, IORING_OP_POLL_ADD, fds[0], UD_FIRST)->poll32_events = POLLOUT;
        rc = ouro__kit_submit(kit);
        result = rc < 0 ? rc : (int)ouro__kit_has_cqe(kit);
        ouro__kit_drain(kit);
        if (result == 0)
            ouro__kit_cancel_all(kit);
    }
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
    return result;
}
