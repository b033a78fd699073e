/* SPDX-License-Identifier: MIT */
/*
 * Many messages over many connections: no byte is lost, reordered or seen by another connection.
 *
 * The server sends back what it receives.  Each side checks every byte that it receives.  The
 * clients are plain sockets; they write and read in pieces of any size, stop for a while, and reset
 * connections in the middle of messages.  The server now and then ends a connection with bytes
 * unread, which resets it as well.  After a reset the client connects again, and goes on behind the
 * last message that has come back.
 */
#include "messages.h"
#include "net/serve_rig.h"
#include "stream/loans.h"

#include <fcntl.h>

#include "ouro/reader.h"

enum {
    CONNECTIONS = 100,
    THREADS = 4,
    WINDOW = 8, /* messages of a connection that are under way */
    SERVER_READ_MAX = 3000,
    MESSAGES_PART = 10000,
    MESSAGES_FULL = 1000000,
};

/* What a client has of one of its connections. */
struct visitor {
    struct rig *rig;
    struct dice dice;
    int fd;
    uint32_t connection;
    uint32_t again;
    uint32_t sent;
    uint32_t first; /* of this connection */
    uint32_t quota;
    uint32_t stall;           /* rounds in which it neither reads nor writes */
    struct follower follower; /* its number: how many have come back */
    uint8_t out[MESSAGE_HEAD + MESSAGE_BODY_MAX];
    size_t out_at;
    size_t out_size;
};

struct visitors {
    struct rig *rig;
    unsigned first;
    unsigned quota;
    uint64_t resets; /* by either side */
    uint64_t unseen; /* of these, before anything came back */
};

static void open_visitor(struct visitor *visitor)
{
    visitor->fd = rig_connect(visitor->rig);
    ck_assert_int_eq(fcntl(visitor->fd, F_SETFL, O_NONBLOCK), 0);
    visitor->sent = visitor->first = visitor->follower.number;
    visitor->follower = (struct follower){.is_known = true,
                                          .connection = visitor->connection,
                                          .again = visitor->again,
                                          .number = visitor->sent};
    visitor->out_at = visitor->out_size = 0;
}

static void reopen_visitor(struct visitor *visitor)
{
    ouro_test_reset(visitor->fd);
    visitor->again++;
    open_visitor(visitor);
}

static bool is_through(const struct visitor *visitor)
{
    return visitor->follower.number == visitor->quota;
}

static bool has_more(const struct visitor *visitor)
{
    return visitor->out_at < visitor->out_size ||
           (visitor->sent < visitor->quota && visitor->sent < visitor->follower.number + WINDOW);
}

/* 0, or -1 when the connection has been reset. */
static int send_piece(struct visitor *visitor)
{
    if (visitor->out_at == visitor->out_size) {
        struct message_head head = {
            .connection = visitor->connection, .again = visitor->again, .number = visitor->sent++};
        visitor->out_at = 0;
        visitor->out_size = message_make(visitor->out, head);
    }
    size_t left = visitor->out_size - visitor->out_at;
    size_t size =
        dice_throw(&visitor->dice, 4) > 0 ? left : 1 + dice_throw(&visitor->dice, (uint32_t)left);
    ssize_t n = send(visitor->fd, visitor->out + visitor->out_at, size, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    visitor->out_at += (size_t)n;
    return 0;
}

static int receive_piece(struct visitor *visitor)
{
    uint8_t piece[4096];
    size_t size = dice_throw(&visitor->dice, 4) > 0 ? sizeof(piece)
                                                    : 1 + dice_throw(&visitor->dice, sizeof(piece));
    ssize_t n = recv(visitor->fd, piece, size, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN ? 0 : -1;
    (void)follow(&visitor->follower, piece, (size_t)n, CONNECTIONS);
    return 0;
}

/* One of the things that a client does when its socket is ready. */
static void step(struct visitors *visitors, struct visitor *visitor, short ready)
{
    int rc = 0;
    if (visitor->stall > 0) {
        visitor->stall--;
        return;
    }
    if (dice_throw(&visitor->dice, 200) == 0)
        visitor->stall = dice_throw(&visitor->dice, 100);
    if ((ready & (POLLIN | POLLERR | POLLHUP)) != 0)
        rc = receive_piece(visitor);
    if (rc == 0 && (ready & POLLOUT) != 0 && has_more(visitor))
        rc = send_piece(visitor);
    if (rc == 0 && dice_throw(&visitor->dice, 2000) == 0)
        rc = -1;
    if (rc < 0 && !is_through(visitor)) {
        visitors->resets++;
        visitors->unseen += visitor->follower.number == visitor->first;
        reopen_visitor(visitor);
    }
}

static void *visit(void *arg)
{
    struct visitors *visitors = arg;
    enum { MINE = CONNECTIONS / THREADS };
    struct visitor *all = calloc(MINE, sizeof(*all));
    struct pollfd polls[MINE];
    unsigned left = MINE;
    ck_assert_ptr_nonnull(all);
    for (unsigned i = 0; i < MINE; i++) {
        all[i].rig = visitors->rig;
        all[i].connection = visitors->first + i;
        all[i].quota = visitors->quota;
        all[i].dice.state = all[i].connection;
        open_visitor(&all[i]);
    }
    while (left > 0) {
        for (unsigned i = 0; i < MINE; i++) {
            short out = has_more(&all[i]) || all[i].stall > 0 ? POLLOUT : 0;
            polls[i] = (struct pollfd){.fd = all[i].fd, .events = (short)(POLLIN | out)};
        }
        ck_assert_int_ge(poll(polls, MINE, 10000), 1);
        for (unsigned i = 0; i < MINE; i++) {
            if (all[i].fd < 0 || polls[i].revents == 0)
                continue;
            step(visitors, &all[i], polls[i].revents);
            if (is_through(&all[i])) {
                (void)close(all[i].fd);
                all[i].fd = -1;
                left--;
            }
        }
    }
    free(all);
    return NULL;
}

static uint64_t resets;
static uint64_t unseen;

static void client(struct rig *rig)
{
    pthread_t threads[THREADS];
    struct visitors parts[THREADS];
    unsigned quota = volume_of(MESSAGES_PART, MESSAGES_FULL) / CONNECTIONS;
    for (unsigned i = 0; i < THREADS; i++) {
        parts[i] = (struct visitors){
            .rig = rig, .first = i * (CONNECTIONS / THREADS), .quota = quota > 0 ? quota : 1};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, visit, &parts[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        resets += parts[i].resets;
        unseen += parts[i].unseen;
    }
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

/*
 * The server's side.  Each handler ends its connection, bytes unread, every few thousand reads.
 */

static bool leaves(struct dice *dice)
{
    return dice_throw(dice, 4000) == 0;
}

static struct dice dice_for(struct rig *rig)
{
    return (struct dice){.state = (uint64_t)rig->in_handler++ * 977 + (uint64_t)rig->handled};
}

static int echo_by_buffer(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct dice dice = dice_for(arg);
    struct follower follower = {.is_known = false};
    char buffer[SERVER_READ_MAX];
    ssize_t n = 0;
    (void)peer;
    while (!leaves(&dice)) {
        size_t size = 1 + dice_throw(&dice, sizeof(buffer));
        n = ouro_stream_read(stream, buffer, size);
        if (n <= 0)
            break;
        (void)follow(&follower, buffer, (size_t)n, CONNECTIONS);
        if (ouro_stream_write_all(stream, buffer, (size_t)n, NULL) < 0)
            break;
    }
    ((struct rig *)arg)->handled++;
    return 0;
}

static int echo_on_loan(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct dice dice = dice_for(arg);
    struct follower follower = {.is_known = false};
    int rc = 0;
    (void)peer;
    while (rc == 0 && !leaves(&dice)) {
        struct ouro_loan loan;
        ssize_t n = ouro_stream_read_loan(stream, &loan);
        if (n <= 0)
            break;
        (void)follow(&follower, loan.data, loan.size, CONNECTIONS);
        rc = ouro_stream_write_all(stream, loan.data, loan.size, NULL);
        ouro_loan_release(&loan);
    }
    ((struct rig *)arg)->handled++;
    return 0;
}

/* A head by one call, its body by another. */
static int echo_message(struct ouro_reader *reader, struct ouro_stream *stream,
                        struct follower *follower)
{
    const void *body = "";
    struct message_head head;
    int rc = ouro_reader_read_exact(reader, &head, sizeof(head), NULL);
    if (rc < 0)
        return rc;
    ck_assert_uint_lt(head.size, MESSAGE_BODY_MAX);
    ssize_t n = head.size == 0 ? 0 : ouro_reader_peek(reader, head.size, &body);
    if (n < (ssize_t)head.size)
        return -ECONNRESET;
    ck_assert_uint_eq(follow(follower, &head, sizeof(head), CONNECTIONS), head.size == 0);
    if (head.size > 0)
        ck_assert_uint_eq(follow(follower, body, head.size, CONNECTIONS), 1);
    struct iovec parts[] = {{.iov_base = &head, .iov_len = sizeof(head)},
                            {.iov_base = (void *)(uintptr_t)body, .iov_len = head.size}};
    rc = ouro_stream_writev_all(stream, parts, 2, NULL);
    return rc < 0 ? rc : ouro_reader_consume(reader, head.size);
}

static int echo_by_reader(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct dice dice = dice_for(arg);
    struct follower follower = {.is_known = false};
    struct ouro_reader reader;
    (void)peer;
    ck_assert_int_eq(ouro_reader_init(&reader, stream), 0);
    while (!leaves(&dice) && echo_message(&reader, stream, &follower) == 0)
        continue;
    ouro_reader_fini(&reader);
    ((struct rig *)arg)->handled++;
    return 0;
}

static int serve(void *arg)
{
    struct rig rig = {.handler = *(ouro_serve_handler **)arg, .client = client};
    ck_assert_int_eq(rig_run(&rig), 0);
    /* One that is reset before it is accepted is passed over (net/acceptor.c). */
    ck_assert_uint_le(rig.stats.accepted, CONNECTIONS + resets);
    ck_assert_uint_ge(rig.stats.accepted + unseen, CONNECTIONS + resets);
    return 0;
}

/* Two workers, and fewer buffers than connections, so that reads wait for them. */
static void run(ouro_serve_handler *handler)
{
    struct ouro_runtime_config config = pool_of(8, 1024);
    resets = unseen = 0;
    in_place_with_pool(IN_WORKER_TASK, &config, serve, &handler);
    if (volume_is_full())
        ck_assert_uint_gt(resets, 100);
}

OURO_TEST(no_byte_is_lost_or_strays_when_read_into_a_buffer, .timeout_s = 600)
{
    run(echo_by_buffer);
}

OURO_TEST(no_byte_is_lost_or_strays_when_read_on_loan, .timeout_s = 600)
{
    run(echo_on_loan);
}

OURO_TEST(no_byte_is_lost_or_strays_when_read_by_a_reader, .timeout_s = 600)
{
    run(echo_by_reader);
}
