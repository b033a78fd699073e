/* SPDX-License-Identifier: MIT */
/*
 * Servers that cannot start: each allocation may fail, addresses may be taken or wrong.
 */
#include "serve_rig.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "ouro/tcp.h"
#include "ouro/unix.h"

static int stop_yourself(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    (void)stream;
    (void)arg;
    return ouro_server_stop(peer->server);
}

/* Makes and runs a server that was told to stop, while the @nth allocation fails. */
static int start_short_of_memory(uint64_t nth, struct ouro_tcp_listener *listener,
                                 struct ouro_unix_listener *local)
{
    struct ouro_serve_options options = OURO_SERVE_OPTIONS_INIT;
    struct ouro_server *server = NULL;
    char addresses[96];
    (void)snprintf(addresses, sizeof(addresses), "127.0.0.1:0,unix:@ouro-test-start-%d,127.0.0.1:0",
                   (int)getpid());
    options.addresses = addresses;
    options.listeners = &listener;
    options.listeners_count = 1;
    options.unix_listeners = &local;
    options.unix_listeners_count = 1;
    ouro__alloc_fail_at(nth);
    int rc = ouro_server_new(&options, stop_yourself, NULL, &server);
    if (rc < 0) {
        ouro__alloc_fail_at(0);
        ck_assert_ptr_null(server);
        ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
        ck_assert_int_eq(ouro_unix_listener_close(local), 0);
        return rc;
    }
    ck_assert_int_eq(ouro_server_stop(server), 0);
    rc = ouro_server_run(server);
    ouro__alloc_fail_at(0);
    ck_assert_int_eq(ouro_server_free(server), 0);
    return rc;
}

static int sweep_memory(void *arg)
{
    int failures = 0;
    (void)arg;
    for (uint64_t nth = 1; nth < 200; nth++) {
        struct ouro_tcp_listener *listener = NULL;
        struct ouro_unix_listener *local = NULL;
        ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &listener), 0);
        ck_assert_int_eq(ouro_unix_listener_bind(NULL, NULL, &local), 0);
        uint64_t before = ouro__alloc_calls();
        int rc = start_short_of_memory(nth, listener, local);
        bool all_were_made = ouro__alloc_calls() - before < nth;
        ck_assert_msg(rc == 0 || rc == -ENOMEM, "allocation %d: %d", (int)nth, rc);
        failures += rc < 0 ? 1 : 0;
        if (rc == 0 && all_were_made) {
            ck_assert_int_gt(failures, 4);
            return 0;
        }
    }
    ck_abort_msg("the start does not end");
    return 0;
}

OURO_TEST(each_allocation_of_a_start_may_fail)
{
    everywhere(sweep_memory, NULL);
}

static int fail_to_bind(void *arg)
{
    struct ouro_serve_options options = OURO_SERVE_OPTIONS_INIT;
    struct ouro_server *server = NULL;
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_socket_addr addr;
    char text[OURO_ADDR_TEXT_MAX], both[2 * OURO_ADDR_TEXT_MAX];
    (void)arg;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &listener), 0);
    ck_assert_int_eq(ouro_tcp_listener_local_addr(listener, &addr), 0);
    (void)ouro_socket_addr_format(&addr, text, sizeof(text));
    (void)snprintf(both, sizeof(both), "127.0.0.1:0,%s", text);
    options.addresses = both;
    ck_assert_int_eq(ouro_server_new(&options, stop_yourself, NULL, &server), -EADDRINUSE);
    static const char *const wrong[] = {
        "", ",", "127.0.0.1:0,", ",127.0.0.1:0", "127.0.0.1", "127.0.0.1:0,,127.0.0.1:0", "[::1]"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        options.addresses = wrong[i];
        ck_assert_int_eq(ouro_server_new(&options, stop_yourself, NULL, &server),
                         -OURO_EADDRSYNTAX);
    }
    ck_assert_ptr_null(server);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    return 0;
}

OURO_TEST(addresses_that_are_taken_or_wrong_are_errors)
{
    everywhere(fail_to_bind, NULL);
}

static int new_without_time(void *arg)
{
    struct ouro_serve_options options = OURO_SERVE_OPTIONS_INIT;
    struct ouro_server *server = NULL;
    options.addresses = "127.0.0.1:0";
    ck_assert_int_eq(ouro_server_new(&options, stop_yourself, NULL, &server), *(int *)arg);
    ck_assert_ptr_null(server);
    return 0;
}

OURO_TEST(a_server_needs_io_and_time)
{
    const struct {
        uint32_t flags;
        int rc;
    } lacks[] = {{OURO_RUNTIME_F_NO_TIME, -OURO_ETIMEDISABLED},
                 {OURO_RUNTIME_F_NO_IO, -OURO_EIODISABLED}};
    for (size_t i = 0; i < 2; i++) {
        struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
        int rc = lacks[i].rc;
        config.flags = lacks[i].flags;
        if (lacks[i].flags == OURO_RUNTIME_F_NO_IO)
            config.driver = OURO_DRIVER_AUTO;
        struct ouro_runtime *runtime = NULL;
        ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
        ck_assert_int_eq(ouro_runtime_block_on(runtime, new_without_time, &rc, NULL), 0);
        ouro_runtime_free(runtime);
    }
}

/* Enough that each worker's listener gets one: then every task of the server has its stack. */
enum { WARM_UP = 24 };

/* A connection for which there is no stack is shed, and the server goes on. */
static void client_without_a_stack(struct rig *rig)
{
    for (int i = 0; i < WARM_UP; i++) {
        int fd = rig_connect(rig);
        rig_exchange(fd, "w");
        (void)close(fd);
    }
    int first = rig_connect(rig);
    rig_exchange(first, "x");
    ouro__fault_arm(OURO__FAULT_STACK, 1, 1, -ENOMEM);
    rig_await_end(rig_connect(rig));
    ouro__fault_disarm_all();
    int second = rig_connect(rig);
    rig_exchange(second, "y");
    rig_exchange(first, "z");
    (void)close(first);
    (void)close(second);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int shed_for_want_of_a_stack(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = client_without_a_stack};
    (void)arg;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.shed, 1);
    ck_assert_uint_eq(rig.stats.closed, WARM_UP + 2);
    return 0;
}

OURO_TEST(a_connection_without_a_stack_is_shed)
{
    everywhere(shed_for_want_of_a_stack, NULL);
}
