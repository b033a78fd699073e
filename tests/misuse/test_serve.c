/* SPDX-License-Identifier: MIT */
/*
 * Misuse of servers.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtimes'.
 * Always:  what a refused call would have returned in an argument is untouched.
 */
#include "misuse/misuse.h"

#include <signal.h>
#include <string.h>

static int never(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    (void)stream;
    (void)peer;
    (void)arg;
    ck_abort_msg("nobody connects");
    return 0;
}

static struct ouro_serve_options on_a_free_port(void)
{
    struct ouro_serve_options options = OURO_SERVE_OPTIONS_INIT;
    options.addresses = "127.0.0.1:0";
    return options;
}

static struct ouro_server *made(void)
{
    struct ouro_serve_options options = on_a_free_port();
    struct ouro_server *server = NULL;
    ck_assert_int_eq(ouro_server_new(&options, never, NULL, &server), 0);
    return server;
}

static void refuses(const struct ouro_serve_options *options)
{
    struct ouro_server *server = NULL;
    IS_EINVAL(ouro_server_new(options, never, NULL, &server));
    IS_EINVAL(ouro_serve(options, never, NULL));
    ck_assert_ptr_null(server);
}

MISUSE(ouro_server_new)
{
    struct ouro_serve_options options = on_a_free_port();
    struct ouro_tcp_listen_options listen = OURO_TCP_LISTEN_OPTIONS_INIT;
    struct ouro_tcp_listener *none = NULL;
    struct ouro_server *server = NULL;
    refuses(NULL);
    IS_EINVAL(ouro_server_new(&options, NULL, NULL, &server));
    IS_EINVAL(ouro_server_new(&options, never, NULL, NULL));
    options.size = 3;
    refuses(&options);
    options = on_a_free_port();
    options.addresses = NULL;
    refuses(&options);
    options.listeners_count = 1;
    refuses(&options);
    options.listeners = &none;
    refuses(&options);
    options = on_a_free_port();
    options.flags = UINT32_MAX;
    refuses(&options);
    options = on_a_free_port();
    options.idle_ns = -1;
    refuses(&options);
    options = on_a_free_port();
    options.connection_ns = -1;
    refuses(&options);
    options = on_a_free_port();
    options.grace_ns = INT64_MIN;
    refuses(&options);
    options = on_a_free_port();
    options.signals = OURO_SERVE_SIGNAL(SIGTERM) | OURO_SERVE_SIGNAL(SIGKILL);
    refuses(&options);
    options = on_a_free_port();
    options.stack_size_bytes = SIZE_MAX;
    refuses(&options);
    options = on_a_free_port();
    options.listen = &listen;
    listen.size = 1;
    refuses(&options);
    ck_assert_ptr_null(server);
}

MISUSE(ouro_server_addr)
{
    struct ouro_server *server = made();
    struct ouro_socket_addr addr = {.length = 77};
    IS_EINVAL(ouro_server_addr(NULL, 0, &addr));
    IS_EINVAL(ouro_server_addr(server, 0, NULL));
    IS_EINVAL(ouro_server_addr(server, 1, &addr));
    IS_EINVAL(ouro_server_addr(server, UINT32_MAX, &addr));
    ck_assert_uint_eq(addr.length, 77);
    ck_assert_int_eq(ouro_server_free(server), 0);
}

MISUSE(ouro_server_run)
{
    IS_EINVAL(ouro_server_run(NULL));
}

MISUSE(ouro_server_stop)
{
    IS_EINVAL(ouro_server_stop(NULL));
}

MISUSE(ouro_server_cancel)
{
    IS_EINVAL(ouro_server_cancel(NULL));
}

MISUSE(ouro_server_is_draining)
{
    ck_assert_int_eq(ouro_server_is_draining(NULL), 0);
}

MISUSE(ouro_server_stats)
{
    struct ouro_server *server = made();
    struct ouro_serve_stats stats = OURO_SERVE_STATS_INIT;
    IS_EINVAL(ouro_server_stats(NULL, &stats));
    IS_EINVAL(ouro_server_stats(server, NULL));
    stats.size = 0;
    IS_EINVAL(ouro_server_stats(server, &stats));
    stats.size = 13;
    IS_EINVAL(ouro_server_stats(server, &stats));
    /* A program that was built with an older header. */
    stats.size = 2 * sizeof(uint64_t);
    stats.active = 77;
    ck_assert_int_eq(ouro_server_stats(server, &stats), 0);
    ck_assert_uint_eq(stats.active, 77);
    ck_assert_int_eq(ouro_server_free(server), 0);
}

MISUSE(ouro_server_free)
{
    ck_assert_int_eq(ouro_server_free(NULL), 0);
}

MISUSE(ouro_serve)
{
    struct ouro_serve_options options = on_a_free_port();
    IS_EINVAL(ouro_serve(&options, NULL, NULL));
}

OURO_TEST(every_misuse_is_an_error)
{
    misuse_everywhere();
}
