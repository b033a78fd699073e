/* SPDX-License-Identifier: MIT */
/*
 * Two streams to relay between, and the plain sockets at their other ends:
 *
 *     fd[0] <-> stream[0]  relay  stream[1] <-> fd[1]
 */
#ifndef OURO_TEST_RELAYED_H
#define OURO_TEST_RELAYED_H

#include "net/everywhere.h"
#include "net/pair.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "ouro/relay.h"
#include "ouro/stream.h"
#include "support/sockets.h"

struct relayed {
    struct ouro_stream *stream[2];
    int fd[2];
};

/* Each of the two is a TCP or a Unix stream. */
static inline struct relayed relayed_open(enum ouro_stream_kind first, enum ouro_stream_kind second)
{
    const enum ouro_stream_kind kind[2] = {first, second};
    struct relayed relayed;
    for (int i = 0; i < 2; i++) {
        if (kind[i] == OURO_STREAM_TCP) {
            struct pair pair = connected();
            relayed.stream[i] = pair.stream;
            relayed.fd[i] = pair.peer;
        } else {
            int ends[2];
            ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
            ck_assert_int_eq(ouro_stream_from_fd(ends[0], &relayed.stream[i]), 0);
            relayed.fd[i] = ends[1];
        }
    }
    return relayed;
}

static inline void relayed_close_fd(struct relayed *relayed, int i)
{
    if (relayed->fd[i] >= 0)
        (void)close(relayed->fd[i]);
    relayed->fd[i] = -1;
}

static inline void relayed_close(struct relayed *relayed)
{
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ouro_stream_close(relayed->stream[i]), 0);
        relayed_close_fd(relayed, i);
    }
}

/* The byte at a position of a flow; each seed is another flow. */
static inline unsigned char flow_byte(unsigned seed, uint64_t position)
{
    return (unsigned char)(position * 31 + (position >> 8) * 7 + seed * 101 + 1);
}

/* A thread that sends or receives a flow in pieces of many sizes. */
struct flow {
    int fd;
    unsigned seed;
    uint64_t total;   /* a sender: so many, then the end */
    size_t piece_max; /* the largest piece */
    bool is_pipe;     /* the end is a close */
    uint64_t count;   /* so far */
    uint64_t wrong;   /* bytes that were others */
    pthread_t thread;
};

static inline size_t flow_piece(const struct flow *flow, unsigned turn)
{
    uint32_t x = turn * 2654435761u + flow->seed;
    size_t size = x % flow->piece_max + 1;
    return turn % 3 == 0 ? size % 100 + 1 : size; /* many small ones */
}

static inline void *flow_send(void *arg)
{
    struct flow *flow = arg;
    static __thread unsigned char buffer[1 << 18];
    for (unsigned turn = 0; flow->count < flow->total; turn++) {
        size_t size = flow_piece(flow, turn);
        if (size > flow->total - flow->count)
            size = (size_t)(flow->total - flow->count);
        for (size_t i = 0; i < size; i++)
            buffer[i] = flow_byte(flow->seed, flow->count + i);
        size_t done = 0;
        while (done < size) {
            ck_assert(ouro_test_poll(flow->fd, POLLOUT, 20 * OURO_TEST_SECOND) != 0);
            ssize_t n = write(flow->fd, buffer + done, size - done);
            ck_assert_msg(n > 0, "write: %m");
            done += (size_t)n;
        }
        flow->count += size;
    }
    if (flow->is_pipe)
        (void)close(flow->fd);
    else
        ck_assert_int_eq(shutdown(flow->fd, SHUT_WR), 0);
    return NULL;
}

static inline void *flow_receive(void *arg)
{
    struct flow *flow = arg;
    static __thread unsigned char buffer[1 << 18];
    for (unsigned turn = 0;; turn++) {
        ck_assert(ouro_test_poll(flow->fd, POLLIN, 20 * OURO_TEST_SECOND) != 0);
        ssize_t n = read(flow->fd, buffer, flow_piece(flow, turn));
        ck_assert_msg(n >= 0, "read: %m");
        if (n == 0)
            return NULL;
        for (ssize_t i = 0; i < n; i++)
            flow->wrong += buffer[i] != flow_byte(flow->seed, flow->count + (uint64_t)i);
        flow->count += (uint64_t)n;
    }
}

static inline void flow_begin(struct flow *flow, void *(*function)(void *arg))
{
    ck_assert_int_eq(pthread_create(&flow->thread, NULL, function, flow), 0);
}

static inline void flow_end(struct flow *flow)
{
    ck_assert_int_eq(pthread_join(flow->thread, NULL), 0);
}

/* Takes a part, as it comes, and resets. */
struct resetter {
    int fd;
    size_t takes;
    pthread_t thread;
};

static inline void *take_and_reset(void *arg)
{
    struct resetter *resetter = arg;
    static __thread char bytes[65536];
    for (size_t left = resetter->takes; left > 0;) {
        size_t size = left < sizeof(bytes) ? left : sizeof(bytes);
        ouro_test_read_exactly(resetter->fd, bytes, size);
        left -= size;
    }
    ouro_test_reset(resetter->fd);
    return NULL;
}

/* The sender of a flow that the relay will not carry to its end. */
static inline void *send_in_vain(void *arg)
{
    struct flow *flow = arg;
    static __thread char bytes[65536];
    ssize_t n = 0;
    while ((n = send(flow->fd, bytes, sizeof(bytes), MSG_NOSIGNAL)) > 0)
        flow->count += (uint64_t)n;
    return NULL;
}

#endif
