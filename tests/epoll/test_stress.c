/* SPDX-License-Identifier: MIT */
/*
 * Random sizes in both directions against plain threads: what a try has learnt about readiness is
 * never wrong in a way that makes an operation wait for ever, and no byte is lost or doubled.
 */
#include "epoll/rig.h"

#include <inttypes.h>
#include <pthread.h>

enum { CONNECTIONS = 8, CHUNK_MAX = 40000 };
#define TOTAL ((size_t)((8 << 20) / ouro_test_slowness()))

/* xorshift: the same run again for the same seed. */
static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Mostly small, sometimes large. */
static size_t random_size(uint32_t *state)
{
    uint32_t r = next_random(state);
    return 1 + (r >> 8) % ((r & 3) == 0 ? CHUNK_MAX : 600);
}

static unsigned char byte_at(uint64_t offset)
{
    return (unsigned char)(offset * 31 + (offset >> 11));
}

static void fill(unsigned char *buffer, uint64_t offset, size_t size)
{
    for (size_t i = 0; i < size; i++)
        buffer[i] = byte_at(offset + i);
}

static void check(const unsigned char *buffer, uint64_t offset, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (buffer[i] != byte_at(offset + i))
            ouro_test_fail(__FILE__, __LINE__, __func__, "byte %" PRIu64 " is wrong", offset + i);
    }
}

/* Plain ends: one thread writes, one reads. */
struct plain {
    int fd;
    uint32_t seed;
};

static void *plain_writer(void *arg)
{
    struct plain *plain = arg;
    unsigned char buffer[CHUNK_MAX];
    uint64_t sent = 0;
    while (sent < TOTAL) {
        size_t size = random_size(&plain->seed);
        if (size > TOTAL - sent)
            size = TOTAL - sent;
        fill(buffer, sent, size);
        ck_assert_int_eq(send(plain->fd, buffer, size, MSG_NOSIGNAL), (ssize_t)size);
        sent += size;
    }
    ck_assert_int_eq(shutdown(plain->fd, SHUT_WR), 0);
    return NULL;
}

static void *plain_reader(void *arg)
{
    struct plain *plain = arg;
    unsigned char buffer[CHUNK_MAX];
    uint64_t got = 0;
    ssize_t n = 0;
    while ((n = recv(plain->fd, buffer, random_size(&plain->seed), 0)) > 0) {
        check(buffer, got, (size_t)n);
        got += (uint64_t)n;
    }
    ck_assert_int_eq(n, 0);
    ck_assert_uint_eq(got, TOTAL);
    return NULL;
}

/* The end under test. */
struct flow {
    struct rig *rig;
    struct ouro__registration registration;
    struct ouro__op receiving;
    struct ouro__op sending;
    uint64_t got;
    uint64_t sent;
    uint32_t seed;
    bool got_end;
    bool sent_end;
    unsigned char in[CHUNK_MAX];
    unsigned char out[CHUNK_MAX];
};

static void receive_some(struct flow *flow);
static void send_some(struct flow *flow);

static void received(struct ouro__op *op)
{
    struct flow *flow = op->waiter;
    ck_assert_int_ge(op->result, 0);
    check(flow->in, flow->got, (size_t)op->result);
    flow->got += (uint64_t)op->result;
    if (op->result == 0)
        flow->got_end = true;
    else
        receive_some(flow);
}

static void sent_some(struct ouro__op *op)
{
    struct flow *flow = op->waiter;
    ck_assert_int_gt(op->result, 0);
    flow->sent += (uint64_t)op->result;
    if (flow->sent < TOTAL) {
        send_some(flow);
        return;
    }
    flow->sent_end = true;
    ck_assert_int_eq(shutdown(flow->registration.sio->fd, SHUT_WR), 0);
}

static void receive_some(struct flow *flow)
{
    uint32_t flags = next_random(&flow->seed) % 8 == 0 ? MSG_WAITALL : 0;
    flow->receiving = (struct ouro__op){
        .sio = flow->registration.sio,
        .code = OURO__OP_RECV,
        .lane = OURO__LANE_READ,
        .done = received,
        .waiter = flow,
        .arg = {.io = {.buffer = flow->in, .size = random_size(&flow->seed), .flags = flags}}};
    ouro__driver_submit(flow->rig->handle.driver, &flow->receiving);
}

static void send_some(struct flow *flow)
{
    size_t size = random_size(&flow->seed);
    uint32_t flags = next_random(&flow->seed) % 8 == 0 ? MSG_WAITALL : 0;
    if (size > TOTAL - flow->sent)
        size = TOTAL - flow->sent;
    fill(flow->out, flow->sent, size);
    flow->sending =
        (struct ouro__op){.sio = flow->registration.sio,
                          .code = OURO__OP_SEND,
                          .lane = OURO__LANE_WRITE,
                          .done = sent_some,
                          .waiter = flow,
                          .arg = {.io = {.buffer = flow->out, .size = size, .flags = flags}}};
    ouro__driver_submit(flow->rig->handle.driver, &flow->sending);
}

/* Small send buffers, so that writes end short; a small receive window would only add delays. */
static void make_pair(int kind, int end[2])
{
    int small = kind == AF_UNIX ? 4096 : 32768;
    if (kind == AF_UNIX)
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, end), 0);
    else
        rig_tcp_pair(end);
    rig_nonblocking(end[0]);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(setsockopt(end[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
}

static bool all_ended(const struct flow *flows)
{
    for (int i = 0; i < CONNECTIONS; i++) {
        if (!flows[i].got_end || !flows[i].sent_end)
            return false;
    }
    return true;
}

static void exchange(int kind)
{
    static struct flow flows[CONNECTIONS];
    struct plain writer[CONNECTIONS];
    struct plain reader[CONNECTIONS];
    pthread_t thread[2 * CONNECTIONS];
    int end[CONNECTIONS][2];
    struct rig rig;
    rig_open(&rig);
    memset(flows, 0, sizeof(flows));
    for (int i = 0; i < CONNECTIONS; i++) {
        make_pair(kind, end[i]);
        flows[i].rig = &rig;
        flows[i].seed = (uint32_t)i * 3 + 1;
        flows[i].registration = rig_register(&rig, end[i][0], 0);
        writer[i] = (struct plain){end[i][1], (uint32_t)i * 3 + 2};
        reader[i] = (struct plain){end[i][1], (uint32_t)i * 3 + 3};
        ck_assert_int_eq(pthread_create(&thread[2 * i], NULL, plain_writer, &writer[i]), 0);
        ck_assert_int_eq(pthread_create(&thread[2 * i + 1], NULL, plain_reader, &reader[i]), 0);
        receive_some(&flows[i]);
        send_some(&flows[i]);
    }
    while (!all_ended(flows))
        ouro__driver_turn(&rig.handle, -1); /* a lost edge ends at the case's time limit */
    for (int i = 0; i < CONNECTIONS; i++) {
        ck_assert_uint_eq(flows[i].got, TOTAL);
        ck_assert_int_eq(pthread_join(thread[2 * i], NULL), 0);
        ck_assert_int_eq(pthread_join(thread[2 * i + 1], NULL), 0);
        ouro__registration_drop(&flows[i].registration);
    }
    rig_close(&rig);
    for (int i = 0; i < CONNECTIONS; i++) {
        close(end[i][0]);
        close(end[i][1]);
    }
}

OURO_TEST_EPOLL(random_sizes_over_tcp, .timeout_s = 120)
{
    exchange(AF_INET);
}

OURO_TEST_EPOLL(random_sizes_over_unix, .timeout_s = 120)
{
    exchange(AF_UNIX);
}
