/* SPDX-License-Identifier: MIT */
/*
 * Descriptors become streams and streams become descriptors: what is accepted, as which kind, and
 * what is refused and left alone.
 */
#include "net/everywhere.h"
#include "net/pair.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ouro/error.h"
#include "ouro/stream.h"
#include "ouro/task.h"
#include "ouro/time.h"
#include "stream/stream.h"
#include "support/scratch.h"
#include "support/sockets.h"

static int pass_through_raw(void *arg)
{
    struct pair pair = connected();
    char byte = 0;
    (void)arg;
    ouro_test_write_exactly(pair.peer, "ab", 2);
    ck_assert_int_eq(ouro_stream_read(pair.stream, &byte, 1), 1);
    int fd = ouro_stream_into_fd(pair.stream);
    ck_assert_int_ge(fd, 0);
    ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 1);
    ck_assert_int_eq(byte, 'b');
    ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
    ck_assert_int_eq(ouro_stream_from_fd(fd, &pair.stream), 0);
    ck_assert_int_eq(ouro_stream_fd(pair.stream), fd);
    ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ouro_test_write_exactly(pair.peer, "c", 1);
    ck_assert_int_eq(ouro_stream_read(pair.stream, &byte, 1), 1);
    ck_assert_int_eq(byte, 'c');
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_stream_turns_into_a_descriptor_and_back)
{
    everywhere(pass_through_raw, NULL);
}

static int adopt_each_kind(void *arg)
{
    struct pair pair = connected();
    int locals[2];
    int pipes[2];
    char buffer[4];
    struct ouro_stream *stream = NULL;
    (void)arg;
    ck_assert_int_eq(ouro_stream_kind(pair.stream), OURO_STREAM_TCP);
    int tcp = ouro_stream_into_fd(pair.stream);
    ck_assert_int_eq(ouro_stream_from_fd(tcp, &pair.stream), 0);
    ck_assert_int_eq(ouro_stream_kind(pair.stream), OURO_STREAM_TCP);
    disconnect(&pair);

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, locals), 0);
    ck_assert_int_eq(ouro_stream_from_fd(locals[0], &stream), 0);
    ck_assert_int_eq(ouro_stream_kind(stream), OURO_STREAM_UNIX);
    ouro_test_write_exactly(locals[1], "abc", 3);
    ck_assert_int_eq(ouro_stream_read(stream, buffer, 4), 3);
    ck_assert_int_eq(ouro_tcp_stream_set_nodelay(stream, 1), -EOPNOTSUPP);
    ck_assert_int_eq(ouro_tcp_stream_local_addr(stream, &(struct ouro_socket_addr){0}),
                     -EOPNOTSUPP);
    ck_assert_int_eq(ouro_tcp_stream_peer_addr(stream, &(struct ouro_socket_addr){0}), -EOPNOTSUPP);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    (void)close(locals[1]);

    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    ck_assert_int_eq(ouro_stream_from_fd(pipes[0], &stream), 0);
    ck_assert_int_eq(ouro_stream_kind(stream), OURO_STREAM_PIPE);
    ck_assert(fcntl(pipes[0], F_GETFL) & O_NONBLOCK);
    ck_assert_int_eq(write(pipes[1], "abc", 3), 3);
    ck_assert_int_eq(ouro_stream_read(stream, buffer, 4), 3);
    ck_assert_int_eq(ouro_tcp_stream_set_nodelay(stream, 1), -EOPNOTSUPP);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    (void)close(pipes[1]);
    return 0;
}

OURO_TEST(the_descriptor_decides_the_kind)
{
    everywhere(adopt_each_kind, NULL);
}

static void refuses(int fd, int error)
{
    struct ouro_stream *stream = NULL;
    int flags = fcntl(fd, F_GETFL);
    ck_assert_int_eq(ouro_stream_from_fd(fd, &stream), error);
    ck_assert_ptr_null(stream);
    ck_assert_int_eq(fcntl(fd, F_GETFL), flags); /* as it was */
}

static int adopt_the_wrong(void *arg)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    const char *fifo = ouro_test_scratch_path(&scratch, "fifo");
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    int all[] = {
        socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
        socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0),
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
        open("/dev/null", O_RDWR | O_CLOEXEC),
        open("/", O_RDONLY | O_CLOEXEC),
        open(fifo, O_PATH | O_CLOEXEC),
    };
    const int errors[] = {-EPROTOTYPE, -EPROTOTYPE, -ENOTCONN, -ENOTCONN,
                          -EPROTOTYPE, -EPROTOTYPE, -EBADF};
    (void)arg;
    refuses(-1, -EBADF);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ck_assert_int_ge(all[i], 0);
        refuses(all[i], errors[i]);
        ck_assert_int_eq(ouro_stream_from_fd(all[i], NULL), -EINVAL);
        ck_assert_int_eq(close(all[i]), 0);
    }
    ouro_test_scratch_close(&scratch);
    return 0;
}

OURO_TEST(anything_else_is_refused_and_left_alone)
{
    everywhere(adopt_the_wrong, NULL);
}

static int read_one(void *arg)
{
    char byte = 0;
    return (int)ouro_stream_read(arg, &byte, 1);
}

/* into_fd never waits, and a stream that it refuses goes on working. */
static int take_out_while_busy(void *arg)
{
    struct pair pair = connected();
    struct ouro_task *task = NULL;
    int result = 0;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(read_one, pair.stream, &task), 0);
    while (atomic_load(&pair.stream->descriptor.calls) == 0)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_stream_into_fd(pair.stream), -EBUSY);
    ouro_test_write_exactly(pair.peer, "r", 1);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, 1);
    disconnect(&pair);
    return 0;
}

OURO_TEST(into_fd_refuses_a_stream_in_use)
{
    everywhere(take_out_while_busy, NULL);
}
