/* SPDX-License-Identifier: MIT */
/*
 * ProxyServer: the tasks of the proxy, and its end.
 *
 *   main task      opens the listeners, says so, starts the others, waits for the acceptors
 *   acceptors      one for each listening socket, spread over the workers; a group.  Each waits
 *                  for its connections.
 *   services       signals, statistics, the grace time; a second group, cancelled when the
 *                  acceptors have ended
 *
 * Drain: the gate closes, so that acceptors stop and wait for their connections.  When the grace
 * time is over, or a second signal comes, the main task is cancelled.  It waits in the end of the
 * acceptors' group, which passes the cancellation on to them, and they to their connections.
 *
 * Owns:    the listeners, the gate, the acceptors.
 * Threads: the services are on the main task's worker.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "output.h"
#include "proxy_accept.h"
#include "proxy_log.h"
#include "signals.h"

struct server {
    struct proxy *proxy;
    struct ouro_poll_evented *signals;
    struct ouro_group services;
    size_t acceptors_count;
    struct proxy_acceptor *acceptors;
};

static int grace_task(void *arg)
{
    struct server *server = arg;
    int rc = ouro_sleep(server->proxy->options->grace_ns);
    if (rc < 0)
        return rc;
    return ouro_task_cancel(server->proxy->main_task);
}

/* Begins the end: no new connections, and a limited time for those that there are. */
static int drain(struct server *server)
{
    struct proxy *proxy = server->proxy;
    if (proxy_gate_is_closed(&proxy->gate))
        return ouro_task_cancel(proxy->main_task);
    proxy_gate_close(&proxy->gate);
    if (proxy->options->grace_ns == PROXY_NO_TIMEOUT)
        return 0;
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "grace";
    options.worker = OURO_WORKER_CURRENT;
    return ouro_group_spawn(&server->services, &options, grace_task, server);
}

static int signal_task(void *arg)
{
    struct server *server = arg;
    for (;;) {
        int number = signals_next(server->signals);
        if (number == SIGUSR1) {
            proxy_stats_print(server->proxy);
            continue;
        }
        int rc = number < 0 ? number : drain(server);
        if (rc < 0) {
            if (rc != -ECANCELED)
                output_error("signals: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
            return rc;
        }
    }
}

static int open_listeners(struct proxy *proxy)
{
    const struct proxy_options *options = proxy->options;
    struct proxy_listeners *listeners = &proxy->listeners;
    bool keepalive = options->idle_ns == PROXY_NO_TIMEOUT;
    for (size_t i = 0; i < options->listen_count; i++) {
        const char *text = options->listen[i];
        int rc = proxy_listener_open(text, options->workers, keepalive, &listeners->list[i]);
        if (rc < 0) {
            output_error("%s: %s (%s)", text, ouro_strerror(rc), ouro_err_name(rc));
            return rc;
        }
        listeners->count++;
    }
    return 0;
}

/* An acceptor for each listening socket. */
static int make_acceptors(struct server *server)
{
    struct proxy *proxy = server->proxy;
    size_t count = 0;
    for (size_t i = 0; i < proxy->listeners.count; i++)
        count += proxy->listeners.list[i].count;
    server->acceptors = calloc(count, sizeof(*server->acceptors));
    if (server->acceptors == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < proxy->listeners.count; i++) {
        struct proxy_listener *listener = &proxy->listeners.list[i];
        for (size_t k = 0; k < listener->count; k++) {
            size_t number = server->acceptors_count++;
            server->acceptors[number] = (struct proxy_acceptor){
                .proxy = proxy,
                .number = number,
                .listener = listener,
                .socket = k,
                .spreads = listener->count < proxy->options->workers,
                .worker = (uint32_t)(k % proxy->options->workers),
            };
        }
    }
    return proxy_gate_init(&proxy->gate, proxy->options->max, count);
}

static int start_services(struct server *server)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.worker = OURO_WORKER_CURRENT;
    options.name = "signals";
    int rc = ouro_poll_evented_new(server->proxy->signal_fd, OURO_READABLE, &server->signals);
    if (rc == 0)
        rc = ouro_group_spawn(&server->services, &options, signal_task, server);
    options.name = "statistics";
    if (rc == 0 && server->proxy->options->stats)
        rc = ouro_group_spawn(&server->services, &options, proxy_stats_task, server->proxy);
    return rc;
}

static int start_acceptors(struct server *server, struct ouro_group *group)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "accept";
    int rc = 0;
    for (size_t i = 0; i < server->acceptors_count && rc == 0; i++) {
        options.worker = server->acceptors[i].worker;
        rc = ouro_group_spawn(group, &options, proxy_accept_task, &server->acceptors[i]);
    }
    return rc;
}

static int say_listening(const struct proxy *proxy)
{
    for (size_t i = 0; i < proxy->listeners.count; i++) {
        char text[OURO_ADDR_TEXT_MAX];
        const struct ouro_socket_addr *addr = &proxy->listeners.list[i].addr;
        printf("listening on %s\n", ouro_socket_addr_format(addr, text, sizeof(text)));
    }
    if (!output_flush())
        return -EIO;
    output_never_wait(); /* from here on the work is the proxy's */
    return 0;
}

/* Serves until all connections have ended after a signal (0), or something fails. */
static int serve(struct server *server)
{
    struct ouro_group acceptors;
    int rc = ouro_group_begin(&server->services, OURO_GROUP_F_COLLECT_ALL);
    if (rc < 0)
        return rc;
    rc = ouro_group_begin(&acceptors, 0);
    if (rc == 0) {
        rc = start_services(server);
        if (rc == 0)
            rc = start_acceptors(server, &acceptors);
        if (rc < 0)
            output_error("cannot start: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
        else
            rc = say_listening(server->proxy);
        if (rc < 0)
            (void)ouro_group_cancel(&acceptors);
        int end_rc = ouro_group_end(&acceptors);
        rc = rc < 0 ? rc : end_rc;
    }
    (void)ouro_group_cancel(&server->services); /* they cannot fail: the group has begun */
    (void)ouro_group_end(&server->services);
    ouro_poll_evented_free(server->signals);
    return rc;
}

/* How many connections the end has cut. */
static uint64_t cut_count(const struct proxy *proxy)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < proxy->options->workers; i++)
        count += atomic_load_explicit(&proxy->counts[i].ended[PROXY_CUT], memory_order_relaxed);
    return count;
}

int proxy_main_task(void *arg)
{
    struct proxy *proxy = arg;
    struct server server = {.proxy = proxy};
    proxy->main_task = ouro_task_current();
    int rc = open_listeners(proxy);
    if (rc == 0) {
        rc = make_acceptors(&server);
        if (rc < 0)
            output_error("cannot start: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
    }
    if (rc == 0)
        rc = serve(&server);
    uint64_t cut = cut_count(proxy);
    proxy_log_end();
    if (cut > 0)
        output_error("%" PRIu64 " connections were cut off at the end", cut);
    for (size_t i = 0; i < proxy->listeners.count; i++)
        proxy_listener_close(&proxy->listeners.list[i], proxy->listeners.keeps_paths);
    proxy_gate_fini(&proxy->gate);
    free(server.acceptors);
    return rc < 0 || cut > 0 ? CLI_FAILED : CLI_OK;
}
