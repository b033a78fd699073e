/* SPDX-License-Identifier: MIT */
/*
 * What poll(2)'s events mean for each kind of descriptor, as a table.
 */
#include "registry/driver_bench.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "registry/descriptor_kind.h"
#include "support/scratch.h"

#define BOTH_CLOSED (OURO_READ_CLOSED | OURO_WRITE_CLOSED)
#define BOTH (OURO_READABLE | OURO_WRITABLE)

OURO_TEST_UNIT(events_mean_what_the_kind_says)
{
    static const struct {
        uint8_t kind;
        uint32_t events;
        uint32_t ready;
        bool is_final;
    } rows[] = {
        {OURO__KIND_CONNECTED, POLLIN, OURO_READABLE, true},
        {OURO__KIND_CONNECTED, POLLIN | POLLPRI, OURO_READABLE | OURO_PRIORITY, true},
        {OURO__KIND_CONNECTED, POLLOUT, OURO_WRITABLE, true},
        {OURO__KIND_CONNECTED, POLLRDHUP, OURO_READ_CLOSED, true},
        {OURO__KIND_CONNECTED, POLLIN | POLLHUP, OURO_READABLE | BOTH_CLOSED, true},
        {OURO__KIND_CONNECTED, POLLERR, OURO_ERROR | BOTH, false},
        {OURO__KIND_CONNECTED, POLLERR | POLLHUP, OURO_ERROR | BOTH_CLOSED, true},
        {OURO__KIND_CONNECTED, POLLERR | POLLRDHUP, OURO_ERROR | BOTH | OURO_READ_CLOSED, false},
        {OURO__KIND_UNCONNECTED, POLLOUT | POLLHUP, BOTH, false},
        {OURO__KIND_UNCONNECTED, POLLRDHUP, OURO_READABLE, false},
        {OURO__KIND_UNCONNECTED, POLLIN, OURO_READABLE, true},
        {OURO__KIND_PIPE, POLLHUP, BOTH_CLOSED, true},
        {OURO__KIND_PIPE, POLLERR | POLLOUT, OURO_ERROR | OURO_WRITABLE | OURO_WRITE_CLOSED, true},
        {OURO__KIND_OTHER, POLLHUP, BOTH, false},
        {OURO__KIND_OTHER, POLLERR, OURO_ERROR | BOTH, false},
        {OURO__KIND_OTHER, POLLPRI | POLLERR, OURO_ERROR | OURO_PRIORITY | BOTH, false},
        {OURO__KIND_UNKNOWN, POLLHUP, BOTH_CLOSED, true},
        {OURO__KIND_UNKNOWN, POLLERR, OURO_ERROR, true},
    };
    for (size_t i = 0; i < OURO__ARRAY_LEN(rows); i++) {
        uint8_t kind = rows[i].kind;
        bool is_final = !rows[i].is_final;
        uint32_t ready = ouro__descriptor_ready(-1, &kind, rows[i].events, &is_final);
        ck_assert_msg(ready == rows[i].ready && is_final == rows[i].is_final,
                      "row %zu: ready %#x, final %d", i, ready, is_final);
        ck_assert_uint_eq(kind, rows[i].kind);
    }
}

OURO_TEST_UNIT(a_descriptor_has_a_kind)
{
    struct ouro_test_scratch scratch;
    uint16_t port = 0;
    int ends[2];
    ouro_test_scratch_open(&scratch);
    ck_assert_int_eq(ouro__descriptor_kind_of(-1), OURO__KIND_OTHER);

    int listener = ouro_test_listen(AF_INET, 4, &port);
    ck_assert_int_eq(ouro__descriptor_kind_of(listener), OURO__KIND_UNCONNECTED);
    int client = ouro_test_connect(AF_INET, port);
    ck_assert_int_eq(ouro__descriptor_kind_of(client), OURO__KIND_CONNECTED);
    int fresh = bench_socket();
    ck_assert_int_eq(ouro__descriptor_kind_of(fresh), OURO__KIND_UNCONNECTED);
    (void)close(client);
    (void)close(listener);

    /* An unconnected one is looked at again when it reports an end.  A report from before it was
     * connected is no end. */
    bench_pair(ends);
    ck_assert_int_eq(ouro__descriptor_kind_of(ends[0]), OURO__KIND_CONNECTED);
    uint8_t kind = OURO__KIND_UNCONNECTED;
    bool is_final = false;
    ck_assert_uint_eq(ouro__descriptor_ready(ends[0], &kind, POLLHUP | POLLOUT, &is_final),
                      OURO_WRITABLE);
    ck_assert(is_final);
    ck_assert_uint_eq(kind, OURO__KIND_CONNECTED);
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    kind = OURO__KIND_UNCONNECTED;
    ck_assert_uint_eq(ouro__descriptor_ready(ends[0], &kind, POLLRDHUP, &is_final),
                      OURO_READ_CLOSED);
    ck_assert_uint_eq(kind, OURO__KIND_CONNECTED);
    (void)close(ends[0]);
    (void)close(ends[1]);

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(ouro__descriptor_kind_of(ends[0]), OURO__KIND_OTHER);
    (void)close(ends[0]);
    (void)close(ends[1]);

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(ouro__descriptor_kind_of(ends[0]), OURO__KIND_PIPE);
    (void)close(ends[0]);
    (void)close(ends[1]);

    ck_assert_int_eq(mkfifo(ouro_test_scratch_path(&scratch, "fifo"), 0600), 0);
    int fifo = open(ouro_test_scratch_path(&scratch, "fifo"), O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fifo, 0);
    ck_assert_int_eq(ouro__descriptor_kind_of(fifo), OURO__KIND_OTHER);
    (void)close(fifo);
    (void)close(fresh);
    ouro_test_scratch_close(&scratch);
}

OURO_TEST_UNIT(readiness_now_is_what_poll_says)
{
    int ends[2];
    bench_pair(ends);
    ck_assert(!ouro__descriptor_is_ready_now(ends[0], OURO_READABLE));
    ck_assert(!ouro__descriptor_is_ready_now(ends[0], OURO_PRIORITY));
    ck_assert(ouro__descriptor_is_ready_now(ends[0], OURO_WRITABLE));
    ck_assert(ouro__descriptor_is_ready_now(ends[0], OURO_READABLE | OURO_WRITABLE));
    ouro_test_write_exactly(ends[1], "x", 1);
    ck_assert(ouro__descriptor_is_ready_now(ends[0], OURO_READABLE));
    (void)close(ends[0]);
    (void)close(ends[1]);
}
