/* SPDX-License-Identifier: MIT */
/*
 * What is special about single operations on io_uring: results that mean "not yet", requests that
 * are cut short, and sending where the kernel must not wait for room.
 */
#include "registry/driver_bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/fault.h"
#include "ouro/runtime.h"
#include "ouro/stream.h"
#include "probe/quirk.h"
#include "support/runtime.h"
#include "support/scratch.h"

static unsigned threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    unsigned count = 0;
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

static void open_with(struct bench *bench, uint64_t quirks)
{
    bench_init(bench);
    bench->config.quirks = quirks;
    ck_assert_int_eq(ouro__driver_open(&bench->handle, &bench->config), 0);
}

/* No operation gives -EAGAIN, or a code that the kernel uses for restarting. */
OURO_TEST_URING(not_yet_is_no_result)
{
    static const int not_yet[] = {-EAGAIN, -EINTR, -512, -516};
    struct bench bench;
    struct trial trial;
    char bytes[4] = "";
    int ends[2];
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    bench_open(&bench);
    bench_pair(ends);
    ouro_test_write_exactly(ends[1], "data", 4);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    for (size_t i = 0; i < OURO__ARRAY_LEN(not_yet); i++) {
        for (uint64_t times = 1; times <= 3; times++) {
            ouro__fault_arm(OURO__FAULT_RING_RESULT, 1, times, not_yet[i]);
            trial_init(&trial, &bench, &registration, OURO__OP_RECV, OURO__LANE_READ);
            trial.op.arg.io.buffer = bytes;
            trial.op.arg.io.size = sizeof(bytes);
            trial.op.arg.io.flags = MSG_PEEK;
            trial_submit(&trial);
            ck_assert_int_eq(trial_wait(&trial), 4);
            ouro__fault_arm(OURO__FAULT_RING_RESULT, 1, times, not_yet[i]);
            trial_init(&trial, &bench, &registration, OURO__OP_RECVMSG, OURO__LANE_READ);
            trial.op.arg.message.header = &header;
            trial.op.arg.message.flags = MSG_PEEK;
            trial_submit(&trial);
            ck_assert_int_eq(trial_wait(&trial), 4);
            ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_RING_RESULT), times);
        }
        /* What was cancelled is cancelled, whatever the kernel calls it. */
        ouro__fault_arm(OURO__FAULT_RING_RESULT, 1, 1, not_yet[i]);
        trial_init(&trial, &bench, &registration, OURO__OP_ACCEPT, OURO__LANE_ACCEPT);
        int listener = ouro_test_listen(AF_INET, 1, &(uint16_t){0});
        struct ouro__registration waiting = bench_register(&bench, listener);
        trial_accept(&trial, &bench, &waiting);
        bench_turn(&bench, 0);
        trial_cancel(&trial);
        ck_assert_int_eq(trial_wait(&trial), -ECANCELED);
        bench_release(&bench, &waiting);
        (void)close(listener);
    }
    ouro__fault_disarm_all();
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* One that waits by our poll is woken by data, and can be cancelled. */
OURO_TEST_URING(a_wait_by_poll_ends_and_is_cancelled)
{
    struct bench bench;
    struct trial trial;
    char byte = 0;
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    for (int round = 0; round < 4; round++) {
        ouro__fault_arm(OURO__FAULT_RING_RESULT, 1, 1, -EAGAIN);
        ouro_test_write_exactly(ends[1], "x", 1); /* it is lost to the replaced result */
        trial_recv(&trial, &bench, &registration, &byte, 1);
        bench_turn(&bench, 0);
        if (round < 2)
            bench_turn(&bench, 0); /* the poll is in the kernel; otherwise in the backlog */
        ck_assert_uint_eq(trial.done, 0);
        if (round % 2 == 0) {
            ouro_test_write_exactly(ends[1], "y", 1);
            ck_assert_int_eq(trial_wait(&trial), 1);
            ck_assert_int_eq(byte, 'y');
        } else {
            trial_cancel(&trial);
            ck_assert_int_eq(trial_wait(&trial), -ECANCELED);
        }
    }
    ouro__fault_disarm_all();
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* What a request cannot move is moved by the next: each byte once. */
static int write_in_pieces(void *arg)
{
    enum { SIZE = 200 };
    static char out[SIZE], in[SIZE];
    struct ouro_stream *stream = NULL;
    int ends[2];
    (void)arg;
    bench_pair(ends);
    for (int i = 0; i < SIZE; i++)
        out[i] = (char)(i * 31 + i / 256);
    ck_assert_int_eq(ouro_stream_from_fd(ends[0], &stream), 0);
    for (int piece = 1; piece < SIZE; piece = piece * 3 + 1) {
        size_t written = 0;
        ouro__fault_arm(OURO__FAULT_RING_SIZE, 1, UINT64_MAX, -piece);
        ck_assert_int_eq(ouro_stream_write(stream, out, SIZE), piece);
        ouro_test_read_exactly(ends[1], in, (size_t)piece);
        ck_assert_int_eq(ouro_stream_write_all(stream, out, SIZE, &written), 0);
        ouro__fault_disarm_all();
        ck_assert_uint_eq(written, SIZE);
        memset(in, 0, sizeof(in));
        ouro_test_read_exactly(ends[1], in, SIZE);
        ck_assert_int_eq(memcmp(in, out, SIZE), 0);
        ck_assert_int_lt(recv(ends[1], in, 1, MSG_DONTWAIT), 0); /* and none twice */
    }
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    (void)close(ends[1]);
    return 0;
}

OURO_TEST_URING(short_requests_send_each_byte_once)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    struct ouro_runtime *runtime = NULL;
    for (int with = 0; with < 2; with++) {
        int result = -1;
        config.quirk_mask = with != 0 ? OURO__QUIRK_BIT(OURO__QUIRK_SEND_READ_SIDE) : 0;
        ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
        ck_assert_int_eq(ouro_runtime_block_on(runtime, write_in_pieces, NULL, &result), 0);
        ck_assert_int_eq(result, 0);
        ouro_runtime_free(runtime);
    }
}

enum { BIG = 1 << 20, PEERS = 20 };

static void small_buffer(int fd)
{
    int small = 4096;
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
}

static void submit_all(struct trial *trial, struct bench *bench,
                       const struct ouro__registration *registration, char *data)
{
    trial_init(trial, bench, registration, OURO__OP_SEND, OURO__LANE_WRITE);
    trial->op.arg.io.buffer = data;
    trial->op.arg.io.size = BIG;
    trial->op.arg.io.flags = MSG_WAITALL;
    trial_submit(trial);
}

/* Peers that have ended their half, or have sent urgent data, and do not read. */
static void send_to_peers(bool tcp, bool urgent)
{
    static struct trial trials[PEERS];
    static char data[BIG], got[BIG];
    struct ouro__registration registrations[PEERS];
    struct bench bench;
    uint16_t port = 0;
    int ours[PEERS], theirs[PEERS];
    for (int i = 0; i < BIG; i++)
        data[i] = (char)(i * 13 + i / 251);
    open_with(&bench, OURO__QUIRK_BIT(OURO__QUIRK_SEND_READ_SIDE));
    int listener = ouro_test_listen(AF_INET, PEERS, &port);
    unsigned before = threads();
    for (int i = 0; i < PEERS; i++) {
        int ends[2];
        if (tcp) {
            ends[1] = ouro_test_connect(AF_INET, port);
            ends[0] = ouro_test_accept(listener);
        } else {
            bench_pair(ends);
        }
        ours[i] = ends[0];
        theirs[i] = ends[1];
        small_buffer(ours[i]);
        registrations[i] = bench_register(&bench, ours[i]);
        if (urgent)
            ck_assert_int_eq(send(theirs[i], "!", 1, MSG_OOB), 1);
        else
            ck_assert_int_eq(shutdown(theirs[i], SHUT_WR), 0);
        submit_all(&trials[i], &bench, &registrations[i], data);
    }
    for (int turns = 0; turns < 50; turns++)
        bench_turn(&bench, OURO_TEST_MS);
    ck_assert_uint_eq(threads(), before);
    for (int i = 0; i < PEERS; i++) {
        ck_assert_uint_eq(trials[i].done, 0);
        if (i % 4 == 0) { /* it goes on when there is room */
            size_t size = 0;
            int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
            while (size < BIG) {
                ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
                ssize_t n = recv(theirs[i], got + size, BIG - size, MSG_DONTWAIT);
                size += n > 0 ? (size_t)n : 0;
                bench_turn(&bench, n > 0 ? 0 : OURO_TEST_MS);
            }
            ck_assert_int_eq(memcmp(got, data, BIG), 0);
            ck_assert_int_eq(trial_wait(&trials[i]), BIG);
        } else if (i % 4 == 1) { /* a cancellation tells how much was sent */
            trial_cancel(&trials[i]);
            int n = trial_wait(&trials[i]);
            ck_assert_int_gt(n, 0);
            ck_assert_int_lt(n, BIG);
        } else if (i % 4 == 2) { /* the peer's end ends it */
            ouro_test_reset(theirs[i]);
            theirs[i] = -1;
            int n = trial_wait(&trials[i]);
            ck_assert(n > 0 || n == -EPIPE || n == -ECONNRESET);
            trial_send(&trials[i], &bench, &registrations[i], "x", 1);
            n = trial_wait(&trials[i]);
            ck_assert(n == -EPIPE || n == -ECONNRESET);
        }
    }
    ck_assert_uint_eq(threads(), before);
    for (int i = 0; i < PEERS; i++)
        ouro__registration_drop(&registrations[i]); /* the rest is in flight */
    bench_close(&bench);
    for (int i = 0; i < PEERS; i++) {
        (void)close(ours[i]);
        if (theirs[i] >= 0)
            (void)close(theirs[i]);
    }
    (void)close(listener);
}

OURO_TEST_URING(no_thread_for_a_write_to_a_half_closed_peer)
{
    send_to_peers(true, false);
    send_to_peers(false, false);
}

OURO_TEST_URING(no_thread_for_a_write_beside_urgent_data)
{
    send_to_peers(true, true);
}

/* The quirk's bit changes what the kernel is asked. */
OURO_TEST_URING(the_quirk_changes_how_a_send_waits)
{
    static char data[BIG];
    for (int with = 0; with < 2; with++) {
        struct bench bench;
        struct trial trial;
        int ends[2];
        open_with(&bench, with != 0 ? OURO__QUIRK_BIT(OURO__QUIRK_SEND_READ_SIDE) : 0);
        bench_pair(ends);
        small_buffer(ends[0]);
        struct ouro__registration registration = bench_register(&bench, ends[0]);
        submit_all(&trial, &bench, &registration, data);
        for (int turns = 0; turns < 3; turns++)
            bench_turn(&bench, OURO_TEST_MS);
        ck_assert_uint_eq(trial.done, 0);
        ck_assert((trial.op.result > 0) == (with != 0)); /* counted here, or in the kernel */
        trial_cancel(&trial);
        ck_assert_int_gt(trial_wait(&trial), 0);
        bench_release(&bench, &registration);
        bench_close(&bench);
        (void)close(ends[0]);
        (void)close(ends[1]);
    }
}
