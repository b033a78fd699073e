/* SPDX-License-Identifier: MIT */
/*
 * Descriptors and credentials: passed on streams, datagrams and seqpackets; truncated, refused and
 * cancelled without a leak.
 */
#include "everywhere.h"
#include "unix_names.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fiber/stack_tools.h"
#include "ouro/error.h"
#include "ouro/stream.h"
#include "support/leaks.h"

enum kind { STREAM, DATAGRAM, SEQPACKET, KINDS };

/* Two ends that are connected, of any kind. */
struct ends {
    enum kind kind;
    struct ouro_stream *streams[2];
    struct ouro_unix_datagram *sockets[2];
};

static struct ends open_ends(enum kind kind)
{
    struct ends ends = {.kind = kind};
    if (kind == STREAM)
        ck_assert_int_eq(ouro_unix_stream_pair(&ends.streams[0], &ends.streams[1]), 0);
    else
        ck_assert_int_eq(
            ouro_unix_datagram_pair(kind == DATAGRAM ? OURO_UNIX_DATAGRAM : OURO_UNIX_SEQPACKET,
                                    &ends.sockets[0], &ends.sockets[1]),
            0);
    return ends;
}

static void close_ends(struct ends *ends)
{
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ouro_stream_close(ends->streams[i]), 0);
        ck_assert_int_eq(ouro_unix_datagram_close(ends->sockets[i]), 0);
    }
}

static ssize_t pass(struct ends *ends, const void *data, size_t size, const int *fds, size_t count)
{
    return ends->kind == STREAM
               ? ouro_unix_stream_send_fds(ends->streams[0], data, size, fds, count)
               : ouro_unix_datagram_send_fds(ends->sockets[0], data, size, fds, count, NULL);
}

static ssize_t take(struct ends *ends, void *data, size_t size, struct ouro_unix_fds *fds)
{
    return ends->kind == STREAM
               ? ouro_unix_stream_recv_fds(ends->streams[1], data, size, fds)
               : ouro_unix_datagram_recv_fds(ends->sockets[1], data, size, fds, NULL);
}

static void is_same_file(int left, int right)
{
    struct stat status[2];
    ck_assert_int_ne(left, right);
    ck_assert_int_eq(fstat(left, &status[0]), 0);
    ck_assert_int_eq(fstat(right, &status[1]), 0);
    ck_assert(status[0].st_ino == status[1].st_ino && status[0].st_dev == status[1].st_dev);
}

static void close_all(struct ouro_unix_fds *fds)
{
    for (size_t i = 0; i < fds->count; i++)
        ck_assert_int_eq(close(fds->fds[i]), 0);
    fds->count = 0;
}

static int pass_some(void *arg)
{
    const unsigned before = ouro_test_open_descriptors();
    int received[OURO_UNIX_FDS_MAX + 1];
    int pipe_fds[2];
    char data[8];
    (void)arg;
    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    for (int kind = 0; kind < KINDS; kind++) {
        struct ends ends = open_ends((enum kind)kind);
        struct ouro_unix_fds fds = {.fds = received, .room = OURO_UNIX_FDS_MAX + 1, .count = 77};
        const unsigned open = ouro_test_open_descriptors();
        ck_assert_int_eq(pass(&ends, "none", 4, NULL, 0), 4);
        ck_assert_int_eq(take(&ends, data, 8, &fds), 4);
        ck_assert_uint_eq(fds.count, 0);
        ck_assert_uint_eq(fds.flags, 0);

        ck_assert_int_eq(pass(&ends, "two", 3, pipe_fds, 2), 3);
        ck_assert_int_eq(take(&ends, data, 8, &fds), 3);
        ck_assert_mem_eq(data, "two", 3);
        ck_assert_uint_eq(fds.count, 2);
        ck_assert_uint_eq(fds.flags, 0);
        for (int i = 0; i < 2; i++) {
            is_same_file(received[i], pipe_fds[i]);
            ck_assert_int_eq(fcntl(received[i], F_GETFD), FD_CLOEXEC);
        }
        close_all(&fds);

        if (kind != STREAM) { /* a message of no bytes carries them too */
            ck_assert_int_eq(pass(&ends, NULL, 0, pipe_fds, 1), 0);
            ck_assert_int_eq(take(&ends, data, 8, &fds), 0);
            ck_assert_uint_eq(fds.count, 1);
            close_all(&fds);
        }

        int many[OURO_UNIX_FDS_MAX];
        for (int i = 0; i < OURO_UNIX_FDS_MAX; i++)
            many[i] = pipe_fds[0];
        ck_assert_int_eq(pass(&ends, "many", 4, many, OURO_UNIX_FDS_MAX), 4);
        ck_assert_int_eq(take(&ends, data, 8, &fds), 4);
        ck_assert_uint_eq(fds.count, OURO_UNIX_FDS_MAX);
        ck_assert_uint_eq(fds.flags, 0);
        close_all(&fds);
        ck_assert_uint_eq(ouro_test_open_descriptors(), open);
        close_ends(&ends);
    }
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    ck_assert_uint_eq(ouro_test_open_descriptors(), before);
    return 0;
}

OURO_TEST(descriptors_arrive_with_their_data)
{
    everywhere(pass_some, NULL);
}

/* Whatever the caller has no room for is closed, and said. */
static int pass_too_many(void *arg)
{
    enum { PASSED = 40 };
    int sent[PASSED];
    int received[PASSED];
    char data[8];
    (void)arg;
    for (int i = 0; i < PASSED; i++)
        sent[i] = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        struct ends ends = open_ends((enum kind)kind);
        const unsigned open = ouro_test_open_descriptors();
        for (size_t room = 0; room <= 4; room++) {
            for (size_t count = 0; count <= PASSED; count += count < 6 ? 1 : 17) {
                struct ouro_unix_fds fds = {.fds = received, .room = room};
                ck_assert_int_eq(pass(&ends, "data", 4, sent, count), 4);
                ck_assert_int_eq(take(&ends, data, 8, &fds), 4);
                ck_assert_uint_eq(fds.count, count < room ? count : room);
                ck_assert_uint_eq(fds.flags, count > room ? OURO_UNIX_FDS_F_TRUNCATED : 0);
                close_all(&fds);
                ck_assert_uint_eq(ouro_test_open_descriptors(), open);
            }
        }
        /* And what comes with a plain read or receive. */
        ck_assert_int_eq(pass(&ends, "data", 4, sent, 3), 4);
        if (kind == STREAM)
            ck_assert_int_eq(ouro_stream_read(ends.streams[1], data, 8), 4);
        else
            ck_assert_int_eq(ouro_unix_datagram_recv(ends.sockets[1], data, 8), 4);
        ck_assert_uint_eq(ouro_test_open_descriptors(), open);
        close_ends(&ends);
    }
    return 0;
}

OURO_TEST(descriptors_without_room_are_closed_and_said)
{
    everywhere(pass_too_many, NULL);
}

/* Without free descriptors the data arrives, and the rest is said to be missing. */
static int pass_without_descriptors(void *arg)
{
    int sent[3] = {0, 0, 0};
    int received[3];
    char data[8];
    struct rlimit before;
    (void)arg;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int kind = 0; kind < KINDS; kind++) {
        struct ends ends = open_ends((enum kind)kind);
        struct ouro_unix_fds fds = {.fds = received, .room = 3};
        const unsigned open = ouro_test_open_descriptors();
        int next = dup(0);
        ck_assert_int_ge(next, 0);
        (void)close(next);
        ck_assert_int_eq(pass(&ends, "data", 4, sent, 3), 4);
        struct rlimit tight = {.rlim_cur = (rlim_t)next + 1, .rlim_max = before.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
        ck_assert_int_eq(take(&ends, data, 8, &fds), 4);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        ck_assert_uint_eq(fds.count, 1);
        ck_assert_uint_eq(fds.flags, OURO_UNIX_FDS_F_TRUNCATED);
        close_all(&fds);
        ck_assert_uint_eq(ouro_test_open_descriptors(), open);
        close_ends(&ends);
    }
    return 0;
}

OURO_TEST(without_free_descriptors_the_data_arrives)
{
    if (ouro__stack_on_valgrind())
        ouro_test_skip("Valgrind does not tell the kernel of a lower RLIMIT_NOFILE");
    everywhere(pass_without_descriptors, NULL);
}

struct taking {
    struct ends *ends;
    struct ouro_unix_fds fds;
    int received[4];
    char data[8];
    ssize_t n;
};

static int take_task(void *arg)
{
    struct taking *taking = arg;
    taking->fds = (struct ouro_unix_fds){.fds = taking->received, .room = 4};
    taking->n = take(taking->ends, taking->data, 8, &taking->fds);
    return 0;
}

/* A cancel and a message at the same time: the descriptors have come, or still come. */
static int cancel_in_a_race(void *arg)
{
    int sent[2] = {0, 0};
    (void)arg;
    for (int kind = 0; kind < KINDS; kind++) {
        struct ends ends = open_ends((enum kind)kind);
        struct taking taking = {.ends = &ends};
        const unsigned open = ouro_test_open_descriptors();
        for (int k = 0; k < 24; k++) {
            struct ouro_task *task = NULL;
            ck_assert_int_eq(ouro_task_spawn(take_task, &taking, &task), 0);
            for (int i = 0; i < k % 6; i++)
                ck_assert_int_eq(ouro_yield(), 0);
            ck_assert_int_eq(pass(&ends, "data", 4, sent, 2), 4);
            for (int i = 0; i < k / 6; i++)
                ck_assert_int_eq(ouro_yield(), 0);
            ck_assert_int_eq(ouro_task_cancel(task), 0);
            ck_assert_int_eq(ouro_task_join(task, NULL), 0);
            ck_assert(taking.n == 4 || taking.n == -ECANCELED);
            if (taking.n < 0)
                (void)take_task(&taking);
            ck_assert_int_eq(taking.n, 4);
            ck_assert_uint_eq(taking.fds.count, 2);
            close_all(&taking.fds);
            ck_assert_uint_eq(ouro_test_open_descriptors(), open);
        }
        close_ends(&ends);
    }
    return 0;
}

OURO_TEST(a_cancelled_receive_loses_no_descriptor)
{
    everywhere(cancel_in_a_race, NULL);
}

/* What was passed and is never received goes with the sockets; what is refused was not passed. */
static int pass_in_vain(void *arg)
{
    const unsigned before = ouro_test_open_descriptors();
    int sent[2] = {0, 0};
    int wrong[2] = {0, 9999};
    int received[2];
    char data[8];
    (void)arg;
    for (int kind = 0; kind < KINDS; kind++) {
        struct ends ends = open_ends((enum kind)kind);
        struct ouro_unix_fds fds = {.fds = received, .room = 2};
        struct ouro_deadline scope;
        ck_assert_int_eq(pass(&ends, "data", 4, wrong, 2), -EBADF);
        ck_assert_int_eq(pass(&ends, "data", 4, sent, OURO_UNIX_FDS_MAX + 1), -EINVAL);
        ck_assert_int_eq(ouro_deadline_begin(&scope, 2 * OURO_MILLISECOND), 0);
        ck_assert_int_eq(take(&ends, data, 8, &fds), -ETIMEDOUT);
        ouro_deadline_end(&scope);
        ck_assert_uint_eq(fds.count, 0);
        ck_assert_int_eq(pass(&ends, "data", 4, sent, 2), 4);
        close_ends(&ends);
        ck_assert_uint_eq(ouro_test_open_descriptors(), before);
    }
    return 0;
}

OURO_TEST(what_is_refused_or_never_received_leaks_nothing)
{
    everywhere(pass_in_vain, NULL);
}

/* On a stream: a read ends before bytes that come with other descriptors. */
static int keep_the_order(void *arg)
{
    struct ends ends = open_ends(STREAM);
    int received[4];
    int sent[2] = {0, 0};
    char data[32];
    struct ouro_unix_fds fds = {.fds = received, .room = 4};
    (void)arg;
    ck_assert_int_eq(pass(&ends, "one", 3, sent, 1), 3);
    ck_assert_int_eq(pass(&ends, "second", 6, sent, 2), 6);
    ck_assert_int_eq(ouro_stream_write(ends.streams[0], "plain", 5), 5);
    size_t total = 0;
    size_t counts[2] = {0, 0};
    while (total < 14) {
        ssize_t n = take(&ends, data, sizeof(data), &fds);
        ck_assert_int_gt(n, 0);
        if (fds.count > 0) {
            ck_assert(fds.count == 1 ? total == 0 : total == 3);
            counts[fds.count - 1]++;
        }
        total += (size_t)n;
        close_all(&fds);
    }
    ck_assert_uint_eq(counts[0], 1);
    ck_assert_uint_eq(counts[1], 1);
    ck_assert_int_eq(ouro_stream_shutdown(ends.streams[0], OURO_SHUTDOWN_WRITE), 0);
    ck_assert_int_eq(take(&ends, data, sizeof(data), &fds), 0);
    ck_assert_uint_eq(fds.count, 0);
    close_ends(&ends);
    return 0;
}

OURO_TEST(descriptors_of_a_stream_come_with_their_bytes)
{
    everywhere(keep_the_order, NULL);
}

static int see_credentials(void *arg)
{
    struct ouro_unix_credentials credentials;
    (void)arg;
    for (int kind = 0; kind < KINDS; kind++) {
        struct ends ends = open_ends((enum kind)kind);
        int rc = kind == STREAM
                     ? ouro_unix_stream_peer_credentials(ends.streams[0], &credentials)
                     : ouro_unix_datagram_peer_credentials(ends.sockets[0], &credentials);
        ck_assert_int_eq(rc, 0);
        ck_assert_int_eq(credentials.pid, getpid());
        ck_assert_uint_eq(credentials.uid, geteuid());
        ck_assert_uint_eq(credentials.gid, getegid());
        close_ends(&ends);
    }
    struct ouro_unix_datagram *alone = unix_datagram(NULL);
    ck_assert_int_eq(ouro_unix_datagram_peer_credentials(alone, &credentials), -ENOTCONN);
    ck_assert_int_eq(ouro_unix_datagram_close(alone), 0);
    return 0;
}

OURO_TEST(credentials_are_those_of_the_process)
{
    everywhere(see_credentials, NULL);
}

struct listening {
    struct ouro_socket_addr addr;
    pid_t child;
};

/* Connects to a child's listener: the credentials are the child's. */
static int see_a_child(void *arg)
{
    struct listening *listening = arg;
    struct ouro_unix_credentials credentials;
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(ouro_unix_stream_connect(&listening->addr, &stream), 0);
    ck_assert_int_eq(ouro_unix_stream_peer_credentials(stream, &credentials), 0);
    ck_assert_int_eq(credentials.pid, listening->child);
    ck_assert_int_ne(credentials.pid, getpid());
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    return 0;
}

OURO_TEST(credentials_of_a_forked_process_are_its_own)
{
    struct listening listening = {.addr = unix_abstract("child")};
    int ready[2];
    int end[2];
    char byte = 0;
    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(end, O_CLOEXEC), 0);
    listening.child = fork();
    ck_assert_int_ge(listening.child, 0);
    if (listening.child == 0) {
        const struct sockaddr *name = ouro_socket_addr_sockaddr(&listening.addr);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void)close(end[1]);
        if (bind(fd, name, (socklen_t)listening.addr.length) != 0 || listen(fd, 64) != 0 ||
            write(ready[1], "x", 1) != 1 || read(end[0], &byte, 1) < 0)
            _exit(1);
        _exit(0);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    everywhere(see_a_child, &listening);
    for (int i = 0; i < 2; i++) {
        (void)close(ready[i]);
        (void)close(end[i]);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(listening.child, &status, 0), listening.child);
    ck_assert_int_eq(status, 0);
}
