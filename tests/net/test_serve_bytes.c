/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a server's connections: counted and limited, whichever call moves them.
 */
#include "serve_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "ouro/group.h"
#include "ouro/loan.h"
#include "ouro/relay.h"
#include "ouro/unix.h"

/* How a handler moves the bytes. */
enum way { PLAIN, VECTORS, FILE_OR_LOAN, RELAY, DESCRIPTORS, WAYS };

enum { SIZE = 21 * 14280, LIMIT = 170001 };

struct transfer {
    enum way way;
    bool is_unix;
    uint64_t expected; /* bytes that the receiving side must see at most, or exactly */
    _Atomic uint64_t seen;
};

static char payload[SIZE];

static const char *address_of(const struct transfer *transfer)
{
    static char text[64];
    (void)snprintf(text, sizeof(text), "unix:@ouro-test-bytes-%d", (int)getpid());
    return transfer->is_unix ? text : "127.0.0.1:0";
}

/* Descriptors are passed over Unix sockets only. */
static bool can_be(const struct transfer *transfer)
{
    return transfer->way != DESCRIPTORS || transfer->is_unix;
}

static int send_vectors(struct ouro_stream *stream)
{
    struct iovec vectors[7];
    for (size_t i = 0; i < 7; i++)
        vectors[i] = (struct iovec){.iov_base = payload, .iov_len = i * SIZE / 21};
    return ouro_stream_writev_all(stream, vectors, 7, NULL);
}

static int send_a_file(struct ouro_stream *stream)
{
    uint64_t sent = 0;
    int fd = memfd_create("payload", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, payload, SIZE), SIZE);
    int rc = ouro_stream_send_file(stream, fd, 0, UINT64_MAX, &sent);
    ck_assert_uint_eq(sent, rc < 0 ? LIMIT : SIZE);
    (void)close(fd);
    return rc;
}

static int send_descriptors(struct ouro_stream *stream)
{
    ssize_t n = 1;
    int fd = STDERR_FILENO;
    for (size_t done = 0; done < SIZE && n > 0; done += (size_t)n)
        n = ouro_unix_stream_send_fds(stream, payload + done, SIZE - done, &fd, done == 0 ? 1 : 0);
    return n < 0 ? (int)n : 0;
}

static int fill(void *stream)
{
    int rc = ouro_stream_write_all(stream, payload, SIZE, NULL);
    return rc < 0 ? rc : ouro_stream_shutdown(stream, OURO_SHUTDOWN_WRITE);
}

static int drain(void *arg)
{
    static char rest[SIZE];
    struct ouro_stream *stream = ((void **)arg)[0];
    struct transfer *transfer = ((void **)arg)[1];
    ssize_t n = 0;
    while ((n = ouro_stream_read(stream, rest, sizeof(rest))) > 0)
        transfer->seen += (uint64_t)n;
    return 0;
}

/* Between the stream and one end of a pair; a task is at the other end. */
static int relay_bytes(struct ouro_stream *stream, struct transfer *transfer, bool sends)
{
    struct ouro_relay_options options = OURO_RELAY_OPTIONS_INIT;
    struct ouro_stream *near = NULL, *far = NULL;
    struct ouro_group group;
    options.flags = OURO_RELAY_F_ONE_WAY;
    ck_assert_int_eq(ouro_unix_stream_pair(&near, &far), 0);
    void *drained[] = {far, transfer};
    ck_assert_int_eq(ouro_group_begin(&group, 0), 0);
    ck_assert_int_eq(
        ouro_group_spawn(&group, NULL, sends ? fill : drain, sends ? (void *)far : (void *)drained),
        0);
    int rc =
        sends ? ouro_relay(near, stream, &options, NULL) : ouro_relay(stream, near, &options, NULL);
    ck_assert_int_eq(ouro_stream_close(near), 0);
    (void)ouro_group_end(&group); /* who fills may not have written all */
    ck_assert_int_eq(ouro_stream_close(far), 0);
    return rc;
}

/* A handler's result, also for the case that looks at it afterwards. */
static int noted(struct rig *rig, int rc)
{
    rig->result = rc;
    return rc;
}

static int send_all(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    struct transfer *transfer = rig->data;
    (void)peer;
    switch (transfer->way) {
    case PLAIN:
        return noted(rig, ouro_stream_write_all(stream, payload, SIZE, NULL));
    case VECTORS:
        return noted(rig, send_vectors(stream));
    case FILE_OR_LOAN:
        return noted(rig, send_a_file(stream));
    case RELAY:
        return noted(rig, relay_bytes(stream, transfer, true));
    default:
        return noted(rig, send_descriptors(stream));
    }
}

static ssize_t receive_descriptors(struct ouro_stream *stream, char *buffer, size_t size)
{
    int fds[2];
    struct ouro_unix_fds room = {.fds = fds, .room = 2};
    ssize_t n = ouro_unix_stream_recv_fds(stream, buffer, size, &room);
    for (size_t i = 0; n >= 0 && i < room.count; i++)
        (void)close(fds[i]);
    return n;
}

static ssize_t receive_some(struct ouro_stream *stream, enum way way)
{
    static char some[8192];
    struct iovec vectors[] = {{some, 100}, {some + 100, sizeof(some) - 100}};
    struct ouro_loan loan = {.size = 0};
    ssize_t n = 0;
    switch (way) {
    case PLAIN:
        n = ouro_stream_peek(stream, some, 1); /* is not counted */
        return n <= 0 ? n : ouro_stream_read(stream, some, sizeof(some));
    case VECTORS:
        return ouro_stream_readv(stream, vectors, 2);
    case FILE_OR_LOAN:
        n = ouro_stream_read_loan(stream, &loan);
        ouro_loan_release(&loan);
        return n;
    default:
        return receive_descriptors(stream, some, sizeof(some));
    }
}

static int receive_all(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    struct transfer *transfer = rig->data;
    ssize_t n = 0;
    (void)peer;
    if (transfer->way == RELAY)
        return noted(rig, relay_bytes(stream, transfer, false));
    while ((n = receive_some(stream, transfer->way)) > 0)
        transfer->seen += (uint64_t)n;
    if (n < 0) /* and so does the next */
        ck_assert_int_eq(ouro_stream_read(stream, &(char){0}, 1), n);
    return noted(rig, (int)n);
}

/* Reads to the end. */
static void client_that_reads(struct rig *rig)
{
    static char rest[SIZE];
    struct transfer *transfer = rig->data;
    int fd = rig_connect(rig);
    ssize_t n = 0;
    while ((n = recv(fd, rest, sizeof(rest), 0)) > 0)
        transfer->seen += (uint64_t)n;
    ck_assert_int_eq(n, 0);
    (void)close(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

/* Writes what the server takes. */
static void client_that_writes(struct rig *rig)
{
    int fd = rig_connect(rig);
    ssize_t n = 1;
    for (size_t done = 0; done < SIZE && n > 0; done += (size_t)n)
        n = send(fd, payload + done, SIZE - done, MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    rig_await_end(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

/* One transfer; the server's count of its bytes is returned. */
static void run_transfer(struct transfer *transfer, bool sends, uint64_t limit, struct rig *rig)
{
    *rig = (struct rig){.handler = sends ? send_all : receive_all,
                        .client = sends ? client_that_reads : client_that_writes,
                        .data = transfer};
    rig->options.addresses = address_of(transfer);
    rig->options.flags = OURO_SERVE_F_COUNT_BYTES;
    rig->options.sent_max = sends ? limit : 0;
    rig->options.received_max = sends ? 0 : limit;
    ck_assert_int_eq(rig_run(rig), 0);
}

static void check_counts(enum way way, bool is_unix, bool sends)
{
    struct transfer transfer = {.way = way, .is_unix = is_unix};
    struct rig rig;
    if (!can_be(&transfer))
        return;
    run_transfer(&transfer, sends, sends ? 0 : SIZE, &rig); /* at a limit, and no more */
    ck_assert_msg(rig.result == 0, "way %d: %d", (int)way, rig.result);
    ck_assert_uint_eq(transfer.seen, SIZE);
    ck_assert_uint_eq(sends ? rig.stats.sent : rig.stats.received, SIZE);
    ck_assert_uint_eq(sends ? rig.stats.received : rig.stats.sent, 0);
    ck_assert_uint_eq(rig.stats.over_limit, 0);
}

static void check_limit(enum way way, bool is_unix, bool sends)
{
    struct transfer transfer = {.way = way, .is_unix = is_unix};
    struct rig rig;
    if (!can_be(&transfer))
        return;
    run_transfer(&transfer, sends, LIMIT, &rig);
    ck_assert_msg(rig.result == -OURO_EBYTELIMIT, "way %d: %d", (int)way, rig.result);
    ck_assert_uint_eq(rig.stats.over_limit, 1);
    ck_assert_uint_eq(rig.stats.failed, 1);
    if (sends) {
        ck_assert_uint_eq(transfer.seen, LIMIT);
        ck_assert_uint_eq(rig.stats.sent, LIMIT);
    } else {
        ck_assert_uint_le(transfer.seen, LIMIT);
        ck_assert_uint_gt(rig.stats.received, LIMIT);
    }
}

static int check_all_ways(void *arg)
{
    void (*check)(enum way, bool, bool) = *(void (**)(enum way, bool, bool))arg;
    for (unsigned way = 0; way < WAYS; way++) {
        for (unsigned variant = 0; variant < 4; variant++)
            check((enum way)way, (variant & 1) != 0, (variant & 2) != 0);
    }
    return 0;
}

OURO_TEST(bytes_are_counted_whichever_call_moves_them)
{
    void (*check)(enum way, bool, bool) = check_counts;
    everywhere(check_all_ways, &check);
}

OURO_TEST(bytes_are_limited_whichever_call_moves_them)
{
    void (*check)(enum way, bool, bool) = check_limit;
    everywhere(check_all_ways, &check);
}

static void echo_client(struct rig *rig)
{
    int fd = rig_connect(rig);
    rig_exchange(fd, "hello");
    (void)close(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int count_nothing(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = echo_client};
    (void)arg;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.received + rig.stats.sent, 0);
    return 0;
}

OURO_TEST(bytes_are_counted_only_when_that_is_asked_for)
{
    everywhere(count_nothing, NULL);
}

/* A request is a line; it is echoed. */
static int answer(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    char line[256];
    size_t size = 0;
    ssize_t n = 0;
    (void)peer;
    while (size < sizeof(line) && (n = ouro_stream_read(stream, &line[size], 1)) == 1)
        if (line[size++] == '\n')
            break;
    if (n == 1)
        n = ouro_stream_write_all(stream, line, size, NULL);
    rig->result = (int)n;
    return OURO_SERVE_KEEP; /* also after an error: the server knows better */
}

static void client_of_requests(struct rig *rig)
{
    int fd = rig_connect(rig);
    for (int i = 0; i < 10; i++)
        rig_exchange(fd, "a request of twenty\n");
    ouro_test_write_exactly(fd, "a request of more than 32 bytes goes too far\n", 45);
    rig_await_end(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int limit_requests(void *arg)
{
    struct rig rig = {.handler = answer, .client = client_of_requests};
    (void)arg;
    rig.options.flags = OURO_SERVE_F_REQUESTS;
    rig.options.received_max = 32;
    rig.options.sent_max = 32;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.result, -OURO_EBYTELIMIT);
    ck_assert_uint_eq(rig.stats.over_limit, 1);
    ck_assert_uint_eq(rig.stats.requests, 11);
    ck_assert_uint_eq(rig.stats.sent, 200);
    return 0;
}

OURO_TEST(limits_on_bytes_hold_for_each_request)
{
    everywhere(limit_requests, NULL);
}

enum { IN_FLIGHT = 16384 };

static bool one_is_closed(void *arg)
{
    return rig_stats(arg).closed == 1;
}

/* Has a small buffer, and does not read. */
static void client_that_does_not_read(struct rig *rig)
{
    int size = IN_FLIGHT;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
    ck_assert_int_eq(connect(fd, ouro_socket_addr_sockaddr(&rig->addr), rig->addr.length), 0);
    RIG_AWAIT(one_is_closed, rig);
    (void)close(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int write_until_cut(struct ouro_stream *stream, const struct ouro_serve_peer *peer,
                           void *arg)
{
    struct rig *rig = arg;
    size_t written = 0;
    (void)peer;
    do {
        rig->result = ouro_stream_write_all(stream, payload, SIZE, &written);
        *(size_t *)rig->data += written;
    } while (rig->result == 0);
    return 0;
}

static int bound_what_is_in_flight(void *arg)
{
    size_t written = 0;
    struct rig rig = {
        .handler = write_until_cut, .client = client_that_does_not_read, .data = &written};
    (void)arg;
    rig.options.in_flight_max = IN_FLIGHT;
    rig.options.idle_ns = 80 * OURO_MILLISECOND;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.result, -ETIMEDOUT);
    ck_assert_uint_lt(written, 10 * IN_FLIGHT); /* the system's buffers grow to some megabytes */
    return 0;
}

OURO_TEST(what_is_in_flight_is_bounded)
{
    everywhere(bound_what_is_in_flight, NULL);
}
