/* SPDX-License-Identifier: MIT */
/*
 * An echo server on libevent, as its manual does it: what is in the input of a bufferevent is moved
 * to its output.
 *
 *     echo_libevent PORT
 */
#include "support.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/tcp.h>

static void on_read(struct bufferevent *connection, void *arg)
{
    (void)arg;
    (void)evbuffer_add_buffer(bufferevent_get_output(connection),
                              bufferevent_get_input(connection));
}

static void on_event(struct bufferevent *connection, short what, void *arg)
{
    (void)arg;
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
        bufferevent_free(connection);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                      int length, void *arg)
{
    const int one = 1;
    (void)peer;
    (void)length;
    (void)arg;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
        bench_die("TCP_NODELAY", errno);
    struct bufferevent *connection =
        bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
    if (connection == NULL)
        bench_die("bufferevent_socket_new", ENOMEM);
    bufferevent_setcb(connection, on_read, NULL, on_event, NULL);
    (void)bufferevent_enable(connection, EV_READ | EV_WRITE);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    const struct sockaddr_in address = bench_address(bench_number("PORT", argv[1], 1, 65535));
    bench_begin(0);
    struct event_base *base = event_base_new();
    if (base == NULL)
        bench_die("event_base_new", ENOMEM);
    if (evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE,
                                4096, (const struct sockaddr *)&address, sizeof(address)) == NULL)
        bench_die("listen", errno);
    return event_base_dispatch(base);
}
