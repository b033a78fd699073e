/* SPDX-License-Identifier: MIT */
/*
 * The poll-driven peer.  It is simple rather than fast, because a test relies on it.
 *
 * Owns:    its listener, its connections, its thread.
 * Threads: start and stop from the test; the counters are read from anywhere.
 * Always:  an echo never reads more than it has room to send back.
 */
#include "support/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/ouro_test.h"
#include "support/sockets.h"

enum { CONNECTIONS_MAX = 4096, BUFFER_SIZE = 16384, FIXED_ENTRIES = 2 };

struct connection {
    int fd;
    size_t start;
    size_t end;
    char buffer[BUFFER_SIZE]; /* echo: [start, end) is still to be sent */
};

struct state {
    struct ouro_test_peer *peer;
    struct pollfd entries[FIXED_ENTRIES + CONNECTIONS_MAX];
    struct connection *connections[CONNECTIONS_MAX];
    size_t count;
};

static void drop(struct state *state, size_t index)
{
    (void)close(state->connections[index]->fd);
    free(state->connections[index]);
    state->connections[index] = state->connections[--state->count];
    atomic_fetch_add(&state->peer->ended, 1);
}

static void take_new(struct state *state)
{
    while (state->count < CONNECTIONS_MAX) {
        int fd = accept4(state->peer->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        if (state->peer->kind == OURO_TEST_PEER_RESET) {
            ouro_test_reset(fd);
            atomic_fetch_add(&state->peer->accepted, 1);
            atomic_fetch_add(&state->peer->ended, 1);
            continue;
        }
        struct connection *connection = malloc(sizeof(*connection));
        ck_assert_ptr_nonnull(connection);
        connection->fd = fd;
        connection->start = connection->end = 0;
        state->connections[state->count++] = connection;
        atomic_fetch_add(&state->peer->accepted, 1);
    }
}

/* Moves what can be moved; returns whether the connection goes on. */
static bool serve(struct ouro_test_peer *peer, struct connection *c)
{
    if (c->start == c->end) {
        ssize_t n = recv(c->fd, c->buffer, sizeof(c->buffer), 0);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0)
            return false;
        atomic_fetch_add(&peer->bytes_read, (uint64_t)n);
        c->start = 0;
        c->end = peer->kind == OURO_TEST_PEER_ECHO ? (size_t)n : 0;
    }
    while (c->start < c->end) {
        ssize_t n = send(c->fd, c->buffer + c->start, c->end - c->start, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        c->start += (size_t)n;
    }
    return true;
}

static short wanted(const struct ouro_test_peer *peer, const struct connection *c)
{
    if (peer->kind == OURO_TEST_PEER_HOLD)
        return 0;
    return c->start < c->end ? POLLOUT : POLLIN;
}

static void *run(void *arg)
{
    struct state *state = arg;
    struct ouro_test_peer *peer = state->peer;
    for (;;) {
        state->entries[0] = (struct pollfd){.fd = peer->stop_event, .events = POLLIN};
        state->entries[1] = (struct pollfd){.fd = peer->listener, .events = POLLIN};
        size_t count = state->count;
        for (size_t i = 0; i < count; i++)
            state->entries[FIXED_ENTRIES + i] = (struct pollfd){
                .fd = state->connections[i]->fd, .events = wanted(peer, state->connections[i])};
        if (poll(state->entries, FIXED_ENTRIES + count, -1) < 0)
            continue;
        if (state->entries[0].revents != 0)
            break;
        /* Backwards, for drop() moves the last one into the gap. */
        for (size_t i = count; i-- > 0;) {
            short events = state->entries[FIXED_ENTRIES + i].revents;
            bool held = peer->kind == OURO_TEST_PEER_HOLD;
            if (events != 0 && (held || !serve(peer, state->connections[i])))
                drop(state, i);
        }
        if (state->entries[1].revents != 0)
            take_new(state);
    }
    while (state->count > 0)
        drop(state, 0);
    free(state);
    return NULL;
}

void ouro_test_peer_start(struct ouro_test_peer *peer, int family, enum ouro_test_peer_kind kind)
{
    *peer = (struct ouro_test_peer){.kind = kind};
    peer->listener = ouro_test_listen(family, CONNECTIONS_MAX, &peer->port);
    ck_assert_int_eq(fcntl(peer->listener, F_SETFL, O_NONBLOCK), 0);
    peer->stop_event = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_ge(peer->stop_event, 0);
    struct state *state = calloc(1, sizeof(*state));
    ck_assert_ptr_nonnull(state);
    state->peer = peer;
    ck_assert_int_eq(pthread_create(&peer->thread, NULL, run, state), 0);
}

void ouro_test_peer_stop(struct ouro_test_peer *peer)
{
    ck_assert_int_eq(eventfd_write(peer->stop_event, 1), 0);
    ck_assert_int_eq(pthread_join(peer->thread, NULL), 0);
    (void)close(peer->listener);
    (void)close(peer->stop_event);
}
