/* SPDX-License-Identifier: MIT */
/*
 * A proxy on bare epoll: the yardstick for `ouro proxy`.
 *
 *     bench_relay_epoll PORT TARGET_PORT copy|splice
 *
 * Level-triggered; one read and one write for what has come.  `copy` moves the bytes through one
 * buffer of the process and keeps what the other side does not take; `splice` moves them through a
 * pipe of each direction, and what is not taken stays in it.  While a direction has something left,
 * its source is not read.  An end is passed on, and an error ends both sides.
 *
 * Owns:    the pairs of connections.
 * Threads: one.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, PART_BYTES = 65536 };

struct pair;

/* From its own socket to that of the other side. */
struct side {
    struct pair *pair;
    int fd;
    uint32_t interest; /* of epoll in fd */
    bool at_end;       /* nothing more comes from fd */
    int pipe[2];       /* splice only */
    char *rest;        /* copy only */
    size_t offset;
    size_t left; /* what the other side has not taken: in the pipe, or in rest from offset */
};

struct pair {
    struct side sides[2];
    bool is_dead;
    struct pair *next; /* of the dead, until the events of this turn have been seen */
};

static int epoll_fd;
static bool with_splice;
static struct sockaddr_in target;
static struct pair *dead;

static struct side *other(struct side *side)
{
    return &side->pair->sides[side == &side->pair->sides[0]];
}

static void end_pair(struct pair *pair)
{
    if (pair->is_dead)
        return;
    for (int i = 0; i < 2; i++) {
        struct side *side = &pair->sides[i];
        (void)close(side->fd);
        free(side->rest);
        if (with_splice) {
            (void)close(side->pipe[0]);
            (void)close(side->pipe[1]);
        }
    }
    pair->is_dead = true;
    pair->next = dead;
    dead = pair;
}

/* Writes what is left.  False on an error. */
static bool flush(struct side *side)
{
    const int to = other(side)->fd;
    ssize_t put = with_splice ? splice(side->pipe[0], NULL, to, NULL, side->left,
                                       SPLICE_F_NONBLOCK | SPLICE_F_MOVE)
                              : send(to, side->rest + side->offset, side->left, MSG_NOSIGNAL);
    if (put < 0)
        return errno == EAGAIN;
    side->left -= (size_t)put;
    side->offset += (size_t)put;
    if (side->left == 0) {
        free(side->rest);
        side->rest = NULL;
        side->offset = 0;
    }
    return true;
}

/* Keeps what the other side did not take. */
static void keep(struct side *side, const char *bytes, size_t size)
{
    side->rest = malloc(size);
    if (side->rest == NULL)
        bench_die("malloc", ENOMEM);
    memcpy(side->rest, bytes, size);
    side->left = size;
}

/* Reads what has come, and writes what the other side takes of it.  False on an error. */
static bool move(struct side *side)
{
    static char buffer[PART_BYTES];
    ssize_t got = with_splice ? splice(side->fd, NULL, side->pipe[1], NULL, PART_BYTES,
                                       SPLICE_F_NONBLOCK | SPLICE_F_MOVE)
                              : recv(side->fd, buffer, PART_BYTES, 0);
    if (got < 0)
        return errno == EAGAIN;
    if (got == 0) {
        side->at_end = true;
        return shutdown(other(side)->fd, SHUT_WR) == 0;
    }
    if (with_splice) {
        side->left = (size_t)got;
        return flush(side);
    }
    ssize_t put = send(other(side)->fd, buffer, (size_t)got, MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN)
        return false;
    if (put < got)
        keep(side, buffer + (put < 0 ? 0 : put), (size_t)(put < 0 ? got : got - put));
    return true;
}

/* Waits for what the side can do: read while nothing is left, write what the other has left. */
static void watch(struct side *side)
{
    uint32_t interest = 0;
    if (side->left == 0 && !side->at_end)
        interest |= EPOLLIN;
    if (other(side)->left > 0)
        interest |= EPOLLOUT;
    if (interest == side->interest)
        return;
    side->interest = interest;
    struct epoll_event event = {.events = interest, .data.ptr = side};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, side->fd, &event) != 0)
        bench_die("epoll_ctl", errno);
}

static void happened(struct side *side, uint32_t events)
{
    struct pair *pair = side->pair;
    if (pair->is_dead)
        return;
    bool is_well = (events & EPOLLERR) == 0;
    if (is_well && (events & EPOLLOUT) != 0 && other(side)->left > 0)
        is_well = flush(other(side));
    if (is_well && (events & (EPOLLIN | EPOLLHUP)) != 0 && side->left == 0 && !side->at_end)
        is_well = move(side);
    const struct side *sides = pair->sides;
    bool is_over = sides[0].at_end && sides[1].at_end && sides[0].left + sides[1].left == 0;
    if (!is_well || is_over) {
        end_pair(pair);
        return;
    }
    watch(&pair->sides[0]);
    watch(&pair->sides[1]);
}

static int connect_target(void)
{
    const int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_die("socket", errno);
    if (connect(fd, (const struct sockaddr *)&target, sizeof(target)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void add(struct side *side, struct pair *pair, int fd)
{
    side->pair = pair;
    side->fd = fd;
    side->interest = EPOLLIN;
    if (with_splice && pipe2(side->pipe, O_NONBLOCK | O_CLOEXEC) != 0)
        bench_die("pipe2", errno);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = side};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        bench_die("epoll_ctl", errno);
}

static void accept_all(int listener)
{
    int fd = -1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int onward = connect_target();
        struct pair *pair = onward >= 0 ? calloc(1, sizeof(*pair)) : NULL;
        if (pair == NULL) {
            (void)close(fd);
            continue;
        }
        add(&pair->sides[0], pair, fd);
        add(&pair->sides[1], pair, onward);
    }
}

static void turn(int listener)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll_fd, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL)
            accept_all(listener);
        else
            happened(events[i].data.ptr, events[i].events);
    }
    while (dead != NULL) {
        struct pair *pair = dead;
        dead = pair->next;
        free(pair);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4 || (strcmp(argv[3], "copy") != 0 && strcmp(argv[3], "splice") != 0)) {
        (void)fprintf(stderr, "usage: bench_relay_epoll PORT TARGET_PORT copy|splice\n");
        return 2;
    }
    with_splice = strcmp(argv[3], "splice") == 0;
    target = bench_address(bench_number("TARGET_PORT", argv[2], 1, 65535));
    bench_begin(0);
    int listener = bench_listen(bench_number("PORT", argv[1], 1, 65535), SOCK_NONBLOCK);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) != 0)
        bench_die("epoll", errno);
    for (;;)
        turn(listener);
}
