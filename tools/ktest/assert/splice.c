/* SPDX-License-Identifier: MIT */
/*
 * splice(2) and sendfile(2) between non-blocking descriptors: what a relay and a server of files
 * rely on when they call them on the thread of the loop.
 *
 * They must not wait for a peer, and what a call did not take must still be there for the next one.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"
#include "fixture/stream.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

enum { BIG = 4 << 20, PIECE = 65536, SOCKET_BUFFER = 64 << 10 };

static uint8_t big[BIG];

/* A non-blocking pair whose first socket has a small buffer. */
static void narrow_pair(struct kt *t, int out[2])
{
    const int size = SOCKET_BUFFER;
    kt_tcp_pair(t, out);
    KT_SYS(t, setsockopt(out[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
    KT_SYS(t, setsockopt(out[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
    for (int i = 0; i < 2; i++)
        KT_SYS(t, fcntl(out[i], F_SETFL, O_RDWR | O_NONBLOCK));
}

static int result_of(ssize_t n)
{
    return n < 0 ? -errno : (int)n;
}

static int move(int from, int to, size_t size)
{
    return result_of(splice(from, NULL, to, NULL, size, SPLICE_F_NONBLOCK));
}

enum { UD_SPLICE = 1 };

static int move_by_ring(struct kt *t, int from, int to, size_t size)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_SPLICE, to, UD_SPLICE);
    sqe->splice_fd_in = from;
    sqe->splice_off_in = (uint64_t)-1;
    sqe->off = (uint64_t)-1;
    sqe->len = (uint32_t)size;
    sqe->splice_flags = SPLICE_F_NONBLOCK;
    kt_submit(t, 1);
    return kt_wait_for(t, UD_SPLICE).res;
}

/* Over a pipe from one socket to another. */
static void splice_request(struct kt *t)
{
    int from[2];
    int to[2];
    int ends[2];
    uint8_t got[1000];
    narrow_pair(t, from);
    narrow_pair(t, to);
    KT_SYS(t, pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    KT_EXPECT_RES(t, move_by_ring(t, from[1], ends[1], PIECE), -EAGAIN, "SPLICE, nothing sent");
    KT_EXPECT_RES(t, move_by_ring(t, ends[0], to[0], PIECE), -EAGAIN, "SPLICE, empty pipe");
    stream_fill(big, 0, sizeof(got));
    KT_SYS(t, send(from[0], big, sizeof(got), 0));
    struct pollfd ready = {.fd = from[1], .events = POLLIN};
    KT_SYS(t, poll(&ready, 1, (int)kt_slack_ms(t, 1000)));
    KT_EXPECT_RES(t, move_by_ring(t, from[1], ends[1], PIECE), (int)sizeof(got),
                  "SPLICE to a pipe");
    KT_EXPECT_RES(t, move_by_ring(t, ends[0], to[0], PIECE), (int)sizeof(got),
                  "SPLICE to a socket");
    ready.fd = to[1];
    KT_SYS(t, poll(&ready, 1, (int)kt_slack_ms(t, 1000)));
    KT_EXPECT_EQ(t, recv(to[1], got, sizeof(got), 0), (long)sizeof(got), "bytes that arrived");
    KT_EXPECT_EQ(t, stream_wrong(got, 0, sizeof(got)), 0, "wrong bytes");
    KT_SYS(t, shutdown(from[0], SHUT_WR));
    ready.fd = from[1];
    KT_SYS(t, poll(&ready, 1, (int)kt_slack_ms(t, 1000)));
    KT_EXPECT_RES(t, move_by_ring(t, from[1], ends[1], PIECE), 0, "SPLICE at the end of a stream");
}

static void socket_to_pipe(struct kt *t)
{
    int fds[2];
    int ends[2];
    uint8_t got[1000];
    narrow_pair(t, fds);
    KT_SYS(t, pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    KT_EXPECT_RES(t, move(fds[1], ends[1], PIECE), -EAGAIN, "splice from an empty socket");
    stream_fill(big, 0, sizeof(got));
    KT_SYS(t, send(fds[0], big, sizeof(got), 0));
    struct pollfd ready = {.fd = fds[1], .events = POLLIN};
    KT_SYS(t, poll(&ready, 1, (int)kt_slack_ms(t, 1000)));
    KT_EXPECT_RES(t, move(fds[1], ends[1], PIECE), (int)sizeof(got), "splice from a socket");
    KT_EXPECT_RES(t, move(fds[1], ends[1], PIECE), -EAGAIN, "splice from a socket, emptied");
    KT_EXPECT_EQ(t, read(ends[0], got, sizeof(got)), (long)sizeof(got), "bytes in the pipe");
    KT_EXPECT_EQ(t, stream_wrong(got, 0, sizeof(got)), 0, "wrong bytes in the pipe");
    KT_SYS(t, shutdown(fds[0], SHUT_WR));
    KT_SYS(t, poll(&ready, 1, (int)kt_slack_ms(t, 1000)));
    KT_EXPECT_RES(t, move(fds[1], ends[1], PIECE), 0, "splice at the end of a stream");
}

/* Reads everything that has come within a moment, and checks it. */
static uint32_t drain(struct kt *t, int fd, uint32_t at)
{
    static uint8_t data[PIECE];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    ssize_t n = 0;
    while (poll(&ready, 1, 10) > 0 && (n = recv(fd, data, sizeof(data), MSG_DONTWAIT)) > 0) {
        KT_EXPECT_EQ(t, stream_wrong(data, at, (size_t)n), 0, "wrong bytes received");
        at += (uint32_t)n;
    }
    return at;
}

static void pipe_to_socket(struct kt *t)
{
    int fds[2];
    int ends[2];
    narrow_pair(t, fds);
    KT_SYS(t, pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    stream_fill(big, 0, BIG);
    uint32_t put = 0;
    uint32_t moved = 0;
    uint32_t got = 0;
    int stops = 0;
    const int64_t start_ns = kt_now_ns();
    while (got < BIG && kt_ms_since(start_ns) < kt_slack_ms(t, 8000)) {
        const ssize_t n = put < BIG ? write(ends[1], big + put, BIG - put) : 0;
        put += n > 0 ? (uint32_t)n : 0;
        const int res = move(ends[0], fds[0], PIECE);
        moved += res > 0 ? (uint32_t)res : 0;
        if (res > 0)
            continue;
        KT_EXPECT_RES(t, res, -EAGAIN, "splice into a full socket");
        stops++;
        got = drain(t, fds[1], got);
        KT_EXPECT_LE(t, got, moved, "bytes received");
    }
    KT_EXPECT_EQ(t, got, BIG, "bytes received");
    KT_EXPECT_GE(t, stops, 2, "times at which the socket was full");
}

static void raises_sigpipe(struct kt *t)
{
    int fds[2];
    int ends[2];
    sigset_t signals;
    const struct timespec now = {.tv_sec = 0};
    kt_unix_pair(t, SOCK_STREAM, fds);
    KT_SYS(t, pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    KT_SYS(t, write(ends[1], "x", 1));
    KT_SYS(t, close(fds[1]));
    KT_SYS(t, sigemptyset(&signals));
    KT_SYS(t, sigaddset(&signals, SIGPIPE));
    KT_SYS(t, sigprocmask(SIG_BLOCK, &signals, NULL));
    KT_EXPECT_RES(t, move(ends[0], fds[0], 1), -EPIPE, "splice to a socket whose peer has gone");
    KT_EXPECT_EQ(t, sigtimedwait(&signals, NULL, &now), SIGPIPE, "the signal that is pending");
    KT_EXPECT_RES(t, result_of(sigtimedwait(&signals, NULL, &now)), -EAGAIN, "a second signal");
}

static void file_to_socket(struct kt *t)
{
    int fds[2];
    narrow_pair(t, fds);
    const int file = memfd_create("ktest", MFD_CLOEXEC);
    KT_REQUIRE(t, file >= 0, "memfd_create: %m");
    stream_fill(big, 0, BIG);
    KT_EXPECT_EQ(t, pwrite(file, big, BIG, 0), BIG, "bytes written to the file");
    off_t at = 0;
    uint32_t got = 0;
    int stops = 0;
    const int64_t start_ns = kt_now_ns();
    while (got < BIG && kt_ms_since(start_ns) < kt_slack_ms(t, 8000)) {
        const off_t before = at;
        const int res = result_of(at < BIG ? sendfile(fds[0], file, &at, BIG) : 0);
        KT_EXPECT_EQ(t, at - before, res > 0 ? res : 0, "how far the offset went");
        if (res > 0)
            continue;
        if (at < BIG) {
            KT_EXPECT_RES(t, res, -EAGAIN, "sendfile into a full socket");
            stops++;
        }
        got = drain(t, fds[1], got);
    }
    KT_EXPECT_EQ(t, got, BIG, "bytes received");
    KT_EXPECT_GE(t, stops, 2, "times at which the socket was full");
    KT_EXPECT_EQ(t, lseek(file, 0, SEEK_CUR), 0, "the file's own offset");
    KT_EXPECT_RES(t, result_of(sendfile(fds[0], file, &at, BIG)), 0, "sendfile at the file's end");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "splice.socket-to-pipe",
        .sentence = "splice(2) from a non-blocking socket moves what has arrived; without bytes it "
                    "returns -EAGAIN, and 0 at the end.",
        .source = "splice(2)",
        .since = "2.6",
        .absence = "-EINVAL or -ENOSYS.",
        .impact = "A relay stops its loop, or takes a pause for the end.",
        .avoid = "Copy through a buffer.",
        .rings = KT_ON_NONE,
        .run = socket_to_pipe,
    },
    {
        .id = "splice.pipe-to-socket",
        .sentence =
            "splice(2) into a non-blocking socket moves what there is room for, then returns "
            "-EAGAIN; the rest stays in the pipe, in order.",
        .source = "splice(2)",
        .since = "2.6",
        .absence = "-EINVAL or -ENOSYS.",
        .impact = "A relay stops its loop, or loses bytes when its reader is slow.",
        .avoid = "Copy through a buffer.",
        .rings = KT_ON_NONE,
        .run = pipe_to_socket,
    },
    {
        .id = "splice.sigpipe",
        .sentence = "splice(2) to a socket whose peer has gone raises SIGPIPE once, in the calling "
                    "thread, where it can be blocked and taken away.",
        .source = "splice(2), signal(7)",
        .since = "2.6",
        .absence = "-EINVAL or -ENOSYS.",
        .impact = "A peer that closes at the wrong moment ends the process.",
        .avoid = "Ignore SIGPIPE in the whole process.",
        .rings = KT_ON_NONE,
        .run = raises_sigpipe,
    },
    {
        .id = "splice.sendfile",
        .sentence =
            "sendfile(2) to a non-blocking socket sends what there is room for, then returns "
            "-EAGAIN; it moves the offset it was given and not the file's.",
        .source = "sendfile(2)",
        .since = "2.6",
        .absence = "-EINVAL or -ENOSYS.",
        .impact = "A file arrives with bytes missing or repeated.",
        .avoid = "Read the file and write it.",
        .rings = KT_ON_NONE,
        .run = file_to_socket,
    },
    {
        .id = "splice.request",
        .sentence = "SPLICE with SPLICE_F_NONBLOCK moves what is there between a socket and a "
                    "pipe, in order, gives -EAGAIN without bytes, and 0 at the end.",
        .source = "io_uring_prep_splice(3), splice(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.7; another result is breakage.",
        .impact = "Each SPLICE that waits holds a worker thread of the kernel, or bytes are lost.",
        .avoid = "Call splice(2) on a thread.",
        .rings = KT_ON_BOTH,
        .run = splice_request,
    },
};

const struct kt_area kt_area_splice = KT_AREA("splice", assertions);
