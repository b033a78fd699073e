/* SPDX-License-Identifier: MIT */
/*
 * ProxyServer: the tasks of the proxy, and its end.
 *
 *   main task      opens the listeners, says so, starts the others, waits for the acceptors
 *   acceptors      one for each listening socket, spread over the workers; a group.  Each waits
 *                  for its connections.
 *   services       signals, statistics, the control socket, the grace time; a second group,
 * cancelled when the acceptors have ended
 *
 * Drain: the gate closes, so that acceptors stop and wait for their connections.  When the grace
 * time is over, or a second signal comes, the main task is cancelled.  It waits in the end of the
 * acceptors' group, which passes the cancellation on to them, and they to their connections.
 *
 * Restart: a successor with the same control socket gets the listeners and begins to accept; then
 * the predecessor drains (proxy_control.c).
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
#include "proxy_control.h"
#include "proxy_log.h"
#include "signals.h"

/* After a successor that failed; what fails at once must not fail without end. */
#define CONTROL_PAUSE_NS (100 * OURO_MILLISECOND)

struct server {
    struct proxy *proxy;
    struct ouro_poll_evented *signals;
    struct proxy_control control;
    struct proxy_peer predecessor; /* while it has not been told that we accept */
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
    proxy_control_hide(&server->control);
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

/* Gives the listeners to a successor, and drains when it accepts. */
static int control_task(void *arg)
{
    struct server *server = arg;
    struct proxy_listeners *listeners = &server->proxy->listeners;
    for (;;) {
        int rc = proxy_control_give(&server->control, listeners);
        if (rc == 0) {
            listeners->keeps_paths = true;
            return proxy_gate_is_closed(&server->proxy->gate) ? 0 : drain(server);
        }
        if (rc == -ECANCELED || rc == -OURO_ESHUTDOWN)
            return rc;
        proxy_log("control: %s (%s); the successor has not taken over", ouro_strerror(rc),
                  ouro_err_name(rc));
        rc = ouro_sleep(CONTROL_PAUSE_NS);
        if (rc < 0)
            return rc;
    }
}

/* The listener for @text among those of the predecessor: by its words, or the address it has. */
static struct proxy_listener *find_listener(struct proxy_listeners *old, const char *text)
{
    for (size_t i = 0; i < old->count; i++) {
        struct proxy_listener *listener = &old->list[i];
        struct ouro_socket_addr addr;
        char bound[OURO_ADDR_TEXT_MAX] = "";
        if (listener->count > 0 && proxy_listener_bound(listener, &addr) == 0)
            (void)ouro_socket_addr_format(&addr, bound, sizeof(bound));
        if (listener->count > 0 && (strcmp(listener->text, text) == 0 || strcmp(bound, text) == 0))
            return listener;
    }
    return NULL;
}

/* Takes the listener from the predecessor's, or opens it. */
static int open_listener(struct proxy *proxy, struct proxy_listeners *old, const char *text,
                         struct proxy_listener *out_listener)
{
    bool keepalive = proxy->options->idle_ns == PROXY_NO_TIMEOUT;
    struct proxy_listener *found = find_listener(old, text);
    if (found == NULL)
        return proxy_listener_open(text, proxy->options->runtime.workers, keepalive, out_listener);
    *out_listener = *found;
    found->count = 0;
    return proxy_listener_adopt(text, keepalive, out_listener);
}

static int open_all(struct proxy *proxy, struct proxy_listeners *old)
{
    const struct proxy_options *options = proxy->options;
    for (size_t i = 0; i < options->listen_count; i++) {
        const char *text = options->listen[i];
        struct proxy_listener *listener = &proxy->listeners.list[proxy->listeners.count++];
        int rc = open_listener(proxy, old, text, listener);
        if (rc < 0) {
            output_error("%s: %s (%s)", text, ouro_strerror(rc), ouro_err_name(rc));
            return rc;
        }
    }
    return 0;
}

/*
 * The predecessor's listeners, if there is one.  One that ends meanwhile, or was killed a moment
 * ago, is none; what it has given is used all the same.
 */
static int take_over(struct server *server, struct proxy_listeners *old)
{
    const char *path = server->proxy->options->control_path;
    if (path == NULL)
        return 0;
    int rc = proxy_control_take(path, &server->predecessor, old);
    if (rc == -ENOENT || rc == -ECONNREFUSED || rc == -ECONNRESET || rc == -EPIPE)
        return 0;
    if (rc < 0)
        output_error("%s: cannot take over: %s (%s)", path, ouro_strerror(rc), ouro_err_name(rc));
    else
        server->proxy->listeners.keeps_paths = true; /* until we have taken over */
    return rc;
}

static int open_listeners(struct server *server)
{
    struct proxy_listeners *old = calloc(1, sizeof(*old));
    if (old == NULL)
        return -ENOMEM;
    int rc = take_over(server, old);
    if (rc == 0)
        rc = open_all(server->proxy, old);
    for (size_t i = 0; i < old->count; i++) {
        proxy_listener_close(&old->list[i], true); /* those that are not wanted any more */
        free((void *)old->list[i].text);
    }
    free(old);
    return rc;
}

/* From now on a successor finds us, and not the predecessor. */
static int open_control(struct server *server)
{
    const char *path = server->proxy->options->control_path;
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "control";
    options.worker = OURO_WORKER_CURRENT;
    if (path == NULL)
        return 0;
    int rc = proxy_control_open(path, &server->control);
    if (rc == 0)
        rc = ouro_group_spawn(&server->services, &options, control_task, server);
    if (rc < 0)
        output_error("%s: %s (%s)", path, ouro_strerror(rc), ouro_err_name(rc));
    return rc;
}

/* The last step of the start: the predecessor, if there is one, may end. */
static int dismiss_predecessor(struct server *server)
{
    int rc = server->predecessor.fd >= 0 ? proxy_control_ready(&server->predecessor) : 0;
    if (rc < 0)
        output_error("the predecessor: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
    else
        server->proxy->listeners.keeps_paths = false;
    return rc;
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
                .spreads = listener->count < proxy->options->runtime.workers,
                .worker = (uint32_t)(k % proxy->options->runtime.workers),
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
            rc = open_control(server);
        if (rc == 0)
            rc = say_listening(server->proxy);
        if (rc == 0)
            rc = dismiss_predecessor(server);
        if (rc < 0)
            (void)ouro_group_cancel(&acceptors);
        int end_rc = ouro_group_end(&acceptors);
        rc = rc < 0 ? rc : end_rc;
    }
    (void)ouro_group_cancel(&server->services); /* they cannot fail: the group has begun */
    (void)ouro_group_end(&server->services);
    ouro_poll_evented_free(server->signals);
    proxy_control_close(&server->control);
    return rc;
}

/* How many connections the end has cut. */
static uint64_t cut_count(const struct proxy *proxy)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < proxy->options->runtime.workers; i++)
        count += atomic_load_explicit(&proxy->counts[i].ended[PROXY_CUT], memory_order_relaxed);
    return count;
}

int proxy_main_task(void *arg)
{
    struct proxy *proxy = arg;
    struct server server = {.proxy = proxy, .control = {.fd = -1}, .predecessor = {.fd = -1}};
    proxy->main_task = ouro_task_current();
    int rc = open_listeners(&server);
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
    proxy_peer_close(&server.predecessor);
    proxy_gate_fini(&proxy->gate);
    free(server.acceptors);
    return rc < 0 || cut > 0 ? CLI_FAILED : CLI_OK;
}
