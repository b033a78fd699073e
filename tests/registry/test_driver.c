/* SPDX-License-Identifier: MIT */
/*
 * What every driver promises about operations: each completes exactly once, only from turn(), with
 * its own result or -ECANCELED, whatever races.  Driven directly, with no runtime around it.
 */
#include "registry/driver_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

OURO_TEST(recv_completes_once_and_in_turn)
{
    struct bench bench;
    struct trial trial;
    char buffer[16];
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_recv(&trial, &bench, &registration, buffer, sizeof(buffer));
    bench_turn(&bench, 0);
    ck_assert_uint_eq(trial.done, 0);
    ouro_test_write_exactly(ends[1], "hello", 5);
    ck_assert_int_eq(trial_wait(&trial), 5);
    ck_assert_int_eq(memcmp(buffer, "hello", 5), 0);
    for (int i = 0; i < 10; i++)
        bench_turn(&bench, 0);
    ck_assert_uint_eq(trial.done, 0);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST(end_of_stream_is_zero)
{
    struct bench bench;
    struct trial trial;
    char byte = 0;
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_recv(&trial, &bench, &registration, &byte, 1);
    (void)close(ends[1]);
    ck_assert_int_eq(trial_wait(&trial), 0);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
}

OURO_TEST(messages_carry_data_and_descriptors)
{
    struct bench bench;
    struct trial out;
    struct trial in;
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration left = bench_register(&bench, ends[0]);
    struct ouro__registration right = bench_register(&bench, ends[1]);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } sent = {.bytes = {0}};
    union {
        struct cmsghdr align;
        char bytes[8 * CMSG_SPACE(sizeof(int))]; /* 6.17 adds some: ouro-ktest message.descriptor */
    } received = {.bytes = {0}};
    char text[] = "with a descriptor";
    char buffer[64];
    struct iovec out_part = {text, sizeof(text)};
    struct iovec in_parts[2] = {{buffer, 4}, {buffer + 4, sizeof(buffer) - 4}};
    struct msghdr out_header = {.msg_iov = &out_part,
                                .msg_iovlen = 1,
                                .msg_control = sent.bytes,
                                .msg_controllen = sizeof(sent.bytes)};
    struct cmsghdr *control = CMSG_FIRSTHDR(&out_header);
    *control = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(control), &ends[0], sizeof(int));
    struct msghdr in_header = {.msg_iov = in_parts,
                               .msg_iovlen = 2,
                               .msg_control = received.bytes,
                               .msg_controllen = sizeof(received.bytes)};
    trial_init(&in, &bench, &right, OURO__OP_RECVMSG, OURO__LANE_READ);
    in.op.arg.message.header = &in_header;
    trial_submit(&in);
    trial_init(&out, &bench, &left, OURO__OP_SENDMSG, OURO__LANE_WRITE);
    out.op.arg.message.header = &out_header;
    trial_submit(&out);
    ck_assert_int_eq(trial_wait(&out), (int)sizeof(text));
    ck_assert_int_eq(trial_wait(&in), (int)sizeof(text));
    ck_assert_str_eq(buffer, text);
    control = CMSG_FIRSTHDR(&in_header);
    while (control != NULL && control->cmsg_type != SCM_RIGHTS)
        control = CMSG_NXTHDR(&in_header, control);
    ck_assert_ptr_nonnull(control);
    int passed = -1;
    memcpy(&passed, CMSG_DATA(control), sizeof(int));
    ck_assert_int_ne(fcntl(passed, F_GETFD) & FD_CLOEXEC, 0);
    (void)close(passed);
    bench_release(&bench, &left);
    bench_release(&bench, &right);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST(connect_and_accept_meet)
{
    struct bench bench;
    struct trial connecting;
    struct trial accepting;
    uint16_t port = 0;
    bench_open(&bench);
    int listener = ouro_test_listen(AF_INET, 8, &port);
    ck_assert_int_eq(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
    int fd = bench_socket();
    struct sockaddr_in address = bench_loopback(port);
    struct ouro__registration on_listener = bench_register(&bench, listener);
    struct ouro__registration on_socket = bench_register(&bench, fd);
    trial_accept(&accepting, &bench, &on_listener);
    trial_connect(&connecting, &bench, &on_socket, &address);
    ck_assert_int_eq(trial_wait(&connecting), 0);
    int accepted = trial_wait(&accepting);
    ck_assert_int_ge(accepted, 0);
    ck_assert_int_ne(fcntl(accepted, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(accepted, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_uint_eq(ouro_test_peer_port(accepted), ouro_test_local_port(fd));
    bench_release(&bench, &on_socket);
    bench_release(&bench, &on_listener);
    bench_close(&bench);
    (void)close(accepted);
    (void)close(fd);
    (void)close(listener);
}

OURO_TEST(refused_connect_says_so)
{
    struct bench bench;
    struct trial trial;
    uint16_t port = 0;
    bench_open(&bench);
    int refusing = ouro_test_refusing(AF_INET, &port);
    int fd = bench_socket();
    struct sockaddr_in address = bench_loopback(port);
    struct ouro__registration registration = bench_register(&bench, fd);
    trial_connect(&trial, &bench, &registration, &address);
    ck_assert_int_eq(trial_wait(&trial), -ECONNREFUSED);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(fd);
    (void)close(refusing);
}

OURO_TEST(taken_lane_is_busy_and_undisturbed)
{
    struct bench bench;
    struct trial first;
    struct trial second;
    char buffer[2][8];
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_recv(&first, &bench, &registration, buffer[0], 8);
    trial_recv(&second, &bench, &registration, buffer[1], 8);
    ck_assert_int_eq(trial_wait(&second), -EBUSY);
    ck_assert_uint_eq(first.done, 0);
    ouro_test_write_exactly(ends[1], "x", 1);
    ck_assert_int_eq(trial_wait(&first), 1);
    ck_assert_int_eq(buffer[0][0], 'x');
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST(cancelled_recv_leaves_the_data)
{
    struct bench bench;
    struct trial trial;
    char buffer[8];
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    for (int turns_before = 0; turns_before < 3; turns_before++) {
        trial_recv(&trial, &bench, &registration, buffer, sizeof(buffer));
        for (int i = 0; i < turns_before; i++)
            bench_turn(&bench, 0);
        trial_cancel(&trial);
        trial_cancel(&trial);
        ck_assert_int_eq(trial_wait(&trial), -ECANCELED);
        ouro_test_write_exactly(ends[1], "kept", 4);
        trial_recv(&trial, &bench, &registration, buffer, sizeof(buffer));
        ck_assert_int_eq(trial_wait(&trial), 4);
    }
    trial_cancel(&trial); /* has completed: nothing happens */
    bench_turn(&bench, 0);
    ck_assert_uint_eq(trial.done, 0);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

struct byte_writer {
    int fd;
    unsigned count;
};

static void *write_bytes(void *arg)
{
    const struct byte_writer *writer = arg;
    for (unsigned i = 0; i < writer->count; i++) {
        char byte = (char)i;
        ouro_test_write_exactly(writer->fd, &byte, 1);
    }
    return NULL;
}

/* Whichever ends first, no byte is lost and none comes twice. */
OURO_TEST(cancel_races_with_data)
{
    enum { BYTES = 20000 };
    struct bench bench;
    struct trial trial;
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    struct byte_writer writer = {ends[1], BYTES};
    pthread_t thread;
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, 0), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, write_bytes, &writer), 0);
    unsigned next = 0;
    unsigned rounds = 0;
    while (next < BYTES) {
        unsigned char buffer[8];
        trial_recv(&trial, &bench, &registration, buffer, sizeof(buffer));
        if (rounds++ % 3 != 0)
            bench_turn(&bench, 0);
        if (trial.done == 0)
            trial_cancel(&trial);
        int got = trial_wait(&trial);
        ck_assert_msg(got > 0 || got == -ECANCELED, "result %d", got);
        for (int i = 0; i < got; i++, next++)
            ck_assert_uint_eq(buffer[i], next & 0xff);
        if (got < 0) { /* let it win once */
            trial_recv(&trial, &bench, &registration, buffer, 1);
            ck_assert_int_eq(trial_wait(&trial), 1);
            ck_assert_uint_eq(buffer[0], next++ & 0xff);
        }
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void fill(int fd)
{
    static const char zeros[65536];
    while (send(fd, zeros, sizeof(zeros), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    ck_assert_int_eq(errno, EAGAIN);
}

OURO_TEST(quiesce_ends_every_lane_then_itself)
{
    struct bench bench;
    struct trial reading;
    struct trial writing;
    struct trial quiescing;
    struct trial late;
    char buffer[8];
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    fill(ends[0]);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_recv(&reading, &bench, &registration, buffer, sizeof(buffer));
    trial_send(&writing, &bench, &registration, "more", 4);
    bench_turn(&bench, 0);
    ck_assert_uint_eq(reading.done + writing.done, 0);
    trial_quiesce(&quiescing, &bench, &registration);
    ck_assert_int_eq(trial_wait(&quiescing), 0);
    ck_assert_uint_eq(reading.done, 1);
    ck_assert_uint_eq(writing.done, 1);
    ck_assert_int_eq(reading.op.result, -ECANCELED);
    ck_assert_int_eq(writing.op.result, -ECANCELED);
    /* It is the last of them. */
    ck_assert_uint_gt(quiescing.place, reading.place);
    ck_assert_uint_gt(quiescing.place, writing.place);
    trial_recv(&late, &bench, &registration, buffer, sizeof(buffer));
    ck_assert_int_eq(trial_wait(&late), -ECANCELED);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST(an_operation_that_arrives_after_the_shutdown_is_cancelled)
{
    struct bench bench;
    struct trial reading;
    struct trial late;
    char buffer[8];
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_recv(&reading, &bench, &registration, buffer, sizeof(buffer));
    bench_turn(&bench, 0);
    ouro__driver_shut_down(&bench.handle);
    ck_assert_int_eq(trial_wait(&reading), -ECANCELED);
    trial_recv(&late, &bench, &registration, buffer, sizeof(buffer));
    bench_turn(&bench, 0);
    ck_assert_uint_eq(late.done, 1);
    ck_assert_int_eq(late.op.result, -ECANCELED);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST(quiesce_of_an_idle_descriptor)
{
    struct bench bench;
    struct trial quiescing;
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_quiesce(&quiescing, &bench, &registration);
    bench_turn(&bench, -1); /* does not wait: a result is due */
    ck_assert_uint_eq(quiescing.done, 1);
    ck_assert_int_eq(quiescing.op.result, 0);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

struct chain {
    struct trial trial;
    unsigned left;
    char buffer[4];
};

/* done() submits the next one. */
static void chain_done(struct ouro__op *op)
{
    struct chain *chain = OURO__CONTAINER_OF(op, struct chain, trial.op);
    ck_assert_int_eq(op->result, 1);
    if (--chain->left == 0)
        return;
    op->state = OURO__OP_IDLE;
    ouro__driver_submit(chain->trial.bench->handle.driver, op);
}

OURO_TEST(done_may_submit)
{
    struct bench bench;
    struct chain chain = {.left = 100};
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_init(&chain.trial, &bench, &registration, OURO__OP_RECV, OURO__LANE_READ);
    chain.trial.op.done = chain_done;
    chain.trial.op.arg.io.buffer = chain.buffer;
    chain.trial.op.arg.io.size = 1;
    char bytes[100] = {0};
    ouro_test_write_exactly(ends[1], bytes, sizeof(bytes));
    trial_submit(&chain.trial);
    int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
    while (chain.left > 0) {
        ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
        bench_turn(&bench, OURO_TEST_SECOND);
    }
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST(close_ends_what_is_in_flight)
{
    enum { PAIRS = 50 };
    static struct trial trials[PAIRS];
    static char buffers[PAIRS][8];
    struct bench bench;
    int ends[PAIRS][2];
    bench_open(&bench);
    for (int i = 0; i < PAIRS; i++) {
        bench_pair(ends[i]);
        struct ouro__registration registration = bench_register(&bench, ends[i][0]);
        trial_recv(&trials[i], &bench, &registration, buffers[i], 8);
        if (i == PAIRS / 2)
            bench_turn(&bench, 0);
        ouro__registration_drop(&registration);
    }
    bench_close(&bench);
    for (int i = 0; i < PAIRS; i++) {
        ck_assert_uint_eq(trials[i].done, 1);
        ck_assert_int_eq(trials[i].op.result, -ECANCELED);
        (void)close(ends[i][0]);
        (void)close(ends[i][1]);
    }
}

struct flow {
    struct ouro__registration registration;
    struct trial reading;
    struct trial writing;
    bool reads;
    bool writes;
    uint64_t sent;
    uint64_t received;
    char in[512];
    char out[512];
};

/* Takes note of what has ended. */
static void flow_settle(struct flow *flow)
{
    if (flow->reads && flow->reading.done > 0) {
        int got = flow->reading.op.result;
        ck_assert_uint_eq(flow->reading.done, 1);
        ck_assert_msg(got > 0 || got == -ECANCELED, "recv: %d", got);
        for (int i = 0; i < got; i++)
            ck_assert_int_eq(flow->in[i], (char)(flow->received + (uint64_t)i));
        flow->received += got > 0 ? (uint64_t)got : 0;
        flow->reads = false;
    }
    if (flow->writes && flow->writing.done > 0) {
        int put = flow->writing.op.result;
        ck_assert_uint_eq(flow->writing.done, 1);
        ck_assert_msg(put > 0 || put == -ECANCELED, "send: %d", put);
        flow->sent += put > 0 ? (uint64_t)put : 0;
        flow->writes = false;
    }
}

static void flow_step(struct flow *flow, struct bench *bench, unsigned *seed)
{
    unsigned dice = (unsigned)rand_r(seed) % 8;
    if (!flow->reads) {
        trial_recv(&flow->reading, bench, &flow->registration, flow->in,
                   1 + (unsigned)rand_r(seed) % sizeof(flow->in));
        flow->reads = true;
    } else if (dice == 0) {
        trial_cancel(&flow->reading);
    }
    if (!flow->writes) {
        size_t size = 1 + (unsigned)rand_r(seed) % sizeof(flow->out);
        for (size_t i = 0; i < size; i++)
            flow->out[i] = (char)(flow->sent + i);
        trial_send(&flow->writing, bench, &flow->registration, flow->out, size);
        flow->writes = true;
    } else if (dice == 1) {
        trial_cancel(&flow->writing);
    }
}

/* Receives what has been sent and is still in the socket. */
static void flow_drain(struct flow *flow)
{
    ssize_t got = 0;
    while ((got = recv(flow->registration.sio->fd, flow->in, sizeof(flow->in), MSG_DONTWAIT)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            ck_assert_int_eq(flow->in[i], (char)(flow->received + (uint64_t)i));
        flow->received += (uint64_t)got;
    }
}

/* Random reads, writes and cancellations on many sockets: every byte arrives once and in order. */
OURO_TEST(many_flows_under_random_cancellation)
{
    enum { PAIRS = 32, ROUNDS = 3000 };
    static struct flow flows[PAIRS][2];
    struct bench bench;
    unsigned seed = 20241;
    int ends[2];
    bench_open(&bench);
    memset(flows, 0, sizeof(flows));
    for (int i = 0; i < PAIRS; i++) {
        bench_pair(ends);
        flows[i][0].registration = bench_register(&bench, ends[0]);
        flows[i][1].registration = bench_register(&bench, ends[1]);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 8; i++) {
            struct flow *pair = flows[(unsigned)rand_r(&seed) % PAIRS];
            flow_step(&pair[round & 1], &bench, &seed);
        }
        bench_turn(&bench, 0);
        for (int i = 0; i < PAIRS * 2; i++)
            flow_settle(&flows[i / 2][i & 1]);
    }
    uint64_t received = 0;
    for (int i = 0; i < PAIRS * 2; i++) {
        struct flow *flow = &flows[i / 2][i & 1];
        struct trial quiescing;
        trial_quiesce(&quiescing, &bench, &flow->registration);
        ck_assert_int_eq(trial_wait(&quiescing), 0);
        flow_settle(flow);
        ck_assert(!flow->reads && !flow->writes);
        received += flow->received;
    }
    ck_assert_uint_gt(received, 100000);
    for (int i = 0; i < PAIRS * 2; i++) {
        struct flow *flow = &flows[i / 2][i & 1];
        struct flow *peer = &flows[i / 2][(i & 1) ^ 1];
        flow_drain(flow);
        ck_assert_uint_eq(peer->sent, flow->received);
    }
    for (int i = 0; i < PAIRS * 2; i++) {
        struct flow *flow = &flows[i / 2][i & 1];
        int fd = flow->registration.sio->fd;
        bench_release(&bench, &flow->registration);
        (void)close(fd);
    }
    bench_close(&bench);
}
