/* SPDX-License-Identifier: MIT */
/*
 * Both directions of a connection at once, with every call that writes in turn and pieces of all
 * sizes: full buffers on both sides.  Nobody is told "not yet", and every byte arrives once.
 */
#include "net/everywhere.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ouro/group.h"
#include "ouro/stream.h"
#include "support/sockets.h"

enum { PIECE_MAX = 9000 };
#define TOTAL ((size_t)((16 << 20) / ouro_test_slowness()))

struct side {
    struct ouro_stream *stream;
    unsigned char seed;
    char buffer[PIECE_MAX];
};

static char byte_at(unsigned char seed, size_t position)
{
    return (char)(seed + position * 31 + (position >> 8) * 7);
}

static ssize_t write_piece(struct ouro_stream *stream, const char *bytes, size_t size, int call)
{
    struct iovec parts[3] = {{(void *)(uintptr_t)bytes, size / 3},
                             {(void *)(uintptr_t)(bytes + size / 3), size / 3},
                             {(void *)(uintptr_t)(bytes + size / 3 * 2), size - size / 3 * 2}};
    if (call == 0)
        return ouro_stream_write(stream, bytes, size);
    if (call == 1)
        return ouro_stream_writev(stream, parts, 3);
    int rc = ouro_stream_write_all(stream, bytes, size, NULL);
    return rc < 0 ? rc : (ssize_t)size;
}

static int write_side(void *arg)
{
    struct side *side = arg;
    size_t position = 0;
    for (unsigned i = 0; position < TOTAL; i++) {
        size_t size = 1 + i * 2657 % PIECE_MAX;
        if (size > TOTAL - position)
            size = TOTAL - position;
        for (size_t j = 0; j < size; j++)
            side->buffer[j] = byte_at(side->seed, position + j);
        ssize_t n = write_piece(side->stream, side->buffer, size, (int)(i % 3));
        ck_assert_msg(n > 0, "write %u of %zu bytes: %zd", i, size, n);
        position += (size_t)n;
    }
    return ouro_stream_shutdown(side->stream, OURO_SHUTDOWN_WRITE);
}

static int read_side(void *arg)
{
    struct side *side = arg;
    size_t position = 0;
    ssize_t n = 0;
    while ((n = ouro_stream_read(side->stream, side->buffer, sizeof(side->buffer))) > 0) {
        for (ssize_t j = 0; j < n; j++)
            ck_assert_int_eq(side->buffer[j], byte_at(side->seed, position + (size_t)j));
        position += (size_t)n;
    }
    ck_assert_msg(n == 0, "read: %zd", n);
    ck_assert_uint_eq(position, TOTAL);
    return 0;
}

static void exchange(int left, int right)
{
    static struct side sides[4];
    struct ouro_stream *streams[2] = {NULL, NULL};
    struct ouro_group group;
    ck_assert_int_eq(ouro_stream_from_fd(left, &streams[0]), 0);
    ck_assert_int_eq(ouro_stream_from_fd(right, &streams[1]), 0);
    ck_assert_int_eq(ouro_group_begin(&group, 0), 0);
    for (int i = 0; i < 4; i++) {
        sides[i].stream = streams[i % 2];
        sides[i].seed = (unsigned char)(i == 0 || i == 3 ? 17 : 99);
        ck_assert_int_eq(ouro_group_spawn(&group, NULL, i < 2 ? write_side : read_side, &sides[i]),
                         0);
    }
    ck_assert_int_eq(ouro_group_end(&group), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ouro_stream_close(streams[i]), 0);
}

static int over_tcp(void *arg)
{
    uint16_t port = 0;
    (void)arg;
    int listener = ouro_test_listen(AF_INET, 4, &port);
    int client = ouro_test_connect(AF_INET, port);
    exchange(client, ouro_test_accept(listener));
    (void)close(listener);
    return 0;
}

static int over_unix(void *arg)
{
    int ends[2];
    (void)arg;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    exchange(ends[0], ends[1]);
    return 0;
}

OURO_TEST(both_ways_over_tcp, .timeout_s = 120)
{
    in_place(IN_TASK, over_tcp, NULL);
    in_place(IN_WORKER_TASK, over_tcp, NULL);
}

OURO_TEST(both_ways_over_unix, .timeout_s = 120)
{
    in_place(IN_TASK, over_unix, NULL);
    in_place(IN_THREAD, over_unix, NULL);
}
