/* SPDX-License-Identifier: MIT */
/*
 * ServeNew: how a server is made and released, and what can be read of it.
 *
 * Each address of the options gets a listener for each worker; they share it by SO_REUSEPORT
 * (ouro_tcp_listener_bind_each()).
 *
 * Owns:    the server's memory; its listeners until its acceptors run.
 * Threads: the caller's; stats any.
 * Always:  a server that could not be made leaves nothing open, and the caller's listeners alone.
 * Tests:   tests/net/test_serve.c, tests/net/test_serve_start.c
 */
#include "net/serve_new.h"

#include "base/alloc.h"
#include "base/fork.h"
#include "base/options.h"
#include "stream/descriptor.h"
#include "task/handle.h"

#include <ouro/error.h>

#include <errno.h>
#include <signal.h>
#include <string.h>

enum { ADDRESS_MAX = 320, ADDRESSES_MAX = 64 };

#define CONNECTIONS_DEFAULT 65536
#define PER_PEER_DEFAULT 4096
#define IDLE_DEFAULT_NS (60 * OURO_SECOND)
#define CONNECTION_DEFAULT_NS (3600 * OURO_SECOND)
#define REQUEST_DEFAULT_NS (60 * OURO_SECOND)
#define GRACE_DEFAULT_NS (10 * OURO_SECOND)

static int check_options(const struct ouro_serve_options *options)
{
    const uint64_t uncatchable = OURO_SERVE_SIGNAL(SIGKILL) | OURO_SERVE_SIGNAL(SIGSTOP);
    const uint32_t known = OURO_SERVE_F_NO_SIGNALS | OURO_SERVE_F_REQUESTS;
    if (options == NULL || (options->flags & ~known) != 0)
        return -EINVAL;
    if (options->idle_ns < 0 || options->connection_ns < 0 || options->grace_ns < 0 ||
        options->request_ns < 0)
        return -EINVAL;
    if ((options->signals & uncatchable) != 0 || options->stack_size_bytes > SIZE_MAX / 4)
        return -EINVAL;
    if (options->addresses == NULL && options->listeners_count == 0)
        return -EINVAL;
    if (options->listeners_count > 0 && options->listeners == NULL)
        return -EINVAL;
    for (uint32_t i = 0; i < options->listeners_count; i++) {
        if (options->listeners[i] == NULL)
            return -EINVAL;
    }
    return 0;
}

static void fill_in_defaults(struct ouro_serve_options *options)
{
    if (options->connections_max == 0)
        options->connections_max = CONNECTIONS_DEFAULT;
    if (options->per_peer_max == 0)
        options->per_peer_max = PER_PEER_DEFAULT;
    if (options->idle_ns == 0)
        options->idle_ns = IDLE_DEFAULT_NS;
    if (options->connection_ns == 0)
        options->connection_ns = CONNECTION_DEFAULT_NS;
    if (options->request_ns == 0)
        options->request_ns = REQUEST_DEFAULT_NS;
    if (options->grace_ns == 0)
        options->grace_ns = GRACE_DEFAULT_NS;
    if (options->signals == 0)
        options->signals = OURO_SERVE_SIGNAL(SIGINT) | OURO_SERVE_SIGNAL(SIGTERM);
}

static uint32_t count_addresses(const char *addresses)
{
    uint32_t count = addresses == NULL ? 0 : 1;
    for (const char *at = addresses; at != NULL && *at != '\0'; at++)
        count += *at == ',' ? 1 : 0;
    return count;
}

/* Copies the next address and moves *at behind it. */
static int next_address(const char **at, char text[ADDRESS_MAX])
{
    size_t length = strcspn(*at, ",");
    if (length == 0 || length >= ADDRESS_MAX)
        return -OURO_EADDRSYNTAX;
    memcpy(text, *at, length);
    text[length] = '\0';
    *at += length;
    if (**at == ',')
        ++*at;
    return 0;
}

static void add(struct ouro_server *server, struct ouro_tcp_listener *listener, uint32_t shard)
{
    server->listeners[server->listeners_count++] =
        (struct ouro__server_listener){.listener = listener, .server = server, .shard = shard};
}

/* A listener for each worker on one address. */
static int bind_each(struct ouro_server *server, const char *text,
                     const struct ouro_tcp_listen_options *options)
{
    uint32_t count = server->shards_count;
    struct ouro_socket_addr *addr = &server->addrs[server->addrs_count];
    struct ouro_tcp_listener **listeners = ouro__calloc(count, sizeof(struct ouro_tcp_listener *));
    if (listeners == NULL)
        return -ENOMEM;
    int rc = count == 1 ? ouro_tcp_listener_bind(OURO_ADDRS(text), options, listeners)
                        : ouro_tcp_listener_bind_each(OURO_ADDRS(text), options, count, listeners);
    for (uint32_t i = 0; i < count && rc == 0; i++)
        add(server, listeners[i], i);
    if (rc == 0)
        rc = ouro_tcp_listener_local_addr(listeners[0], addr);
    server->addrs_count++;
    ouro__free(listeners);
    return rc;
}

static int open_listeners(struct ouro_server *server, const struct ouro_serve_options *options)
{
    struct ouro_tcp_listen_options defaults = OURO_TCP_LISTEN_OPTIONS_INIT;
    defaults.flags = OURO_LISTEN_F_NODELAY;
    const struct ouro_tcp_listen_options *listen =
        ouro__options_read(options->listen, &defaults, sizeof(defaults));
    int rc = listen == NULL ? -EINVAL : 0;
    const char *at = options->addresses;
    for (uint32_t left = count_addresses(at); left > 0 && rc == 0; left--) {
        char text[ADDRESS_MAX];
        rc = next_address(&at, text);
        if (rc == 0)
            rc = bind_each(server, text, listen);
    }
    for (uint32_t i = 0; i < options->listeners_count && rc == 0; i++)
        rc = ouro_tcp_listener_local_addr(options->listeners[i],
                                          &server->addrs[server->addrs_count++]);
    for (uint32_t i = 0; i < options->listeners_count && rc == 0; i++)
        add(server, options->listeners[i], i % server->shards_count);
    return rc;
}

static void free_memory(struct ouro_server *server)
{
    ouro__peer_table_fini(&server->peers);
    ouro__mutex_fini(&server->peers_lock);
    ouro__mutex_fini(&server->lock);
    ouro_handle_unref(server->handle);
    ouro__free(server->shards);
    ouro__free(server->addrs);
    ouro__free(server->listeners);
    ouro__free(server);
}

static struct ouro_server *make(struct ouro__context *context,
                                const struct ouro_serve_options *options)
{
    uint32_t workers = context->handle->task_workers;
    size_t addresses = count_addresses(options->addresses);
    size_t listeners = addresses * workers + options->listeners_count;
    struct ouro_server *server = ouro__calloc(1, sizeof(*server));
    if (server == NULL)
        return NULL;
    server->handle = ouro_handle_ref(context->handle);
    ouro__mutex_init(&server->lock);
    ouro__mutex_init(&server->peers_lock);
    ouro__peer_table_init(&server->peers);
    server->watch.slot = -1;
    server->options = *options;
    fill_in_defaults(&server->options);
    server->listeners = ouro__calloc(listeners, sizeof(*server->listeners));
    server->addrs = ouro__calloc(addresses + options->listeners_count, sizeof(*server->addrs));
    server->shards = ouro__alloc_aligned(OURO__CACHE_LINE, workers * sizeof(*server->shards));
    if (server->listeners == NULL || server->addrs == NULL || server->shards == NULL) {
        free_memory(server);
        return NULL;
    }
    server->shards_count = workers;
    for (uint32_t i = 0; i < workers; i++) {
        struct ouro__shard *shard = &server->shards[i];
        shard->server = server;
        shard->worker = i;
        ouro__list_init(&shard->active);
        ouro__list_init(&shard->idle);
        ouro__list_init(&shard->ending);
    }
    return server;
}

int ouro_server_new(const struct ouro_serve_options *options, ouro_serve_handler *handler,
                    void *arg, struct ouro_server **out_server)
{
    struct ouro__context *context = NULL;
    struct ouro_serve_options defaults = OURO_SERVE_OPTIONS_INIT;
    options = options == NULL ? NULL : ouro__options_read(options, &defaults, sizeof(defaults));
    int rc = handler == NULL || out_server == NULL ? -EINVAL : check_options(options);
    if (rc == 0)
        rc = ouro__descriptor_context(&context);
    if (rc < 0)
        return rc;
    if ((context->handle->config.flags & OURO_RUNTIME_F_NO_TIME) != 0)
        return -OURO_ETIMEDISABLED;
    if (count_addresses(options->addresses) > ADDRESSES_MAX)
        return -EINVAL;
    struct ouro_server *server = make(context, options);
    if (server == NULL)
        return -ENOMEM;
    server->handler = handler;
    server->arg = arg;
    rc = open_listeners(server, options);
    if (rc < 0) {
        ouro__server_close_listeners(server);
        free_memory(server);
        return rc;
    }
    *out_server = server;
    return 0;
}

void ouro__server_close_listeners(struct ouro_server *server)
{
    for (uint32_t i = 0; i < server->listeners_count; i++) {
        (void)ouro_tcp_listener_close(server->listeners[i].listener);
        server->listeners[i].listener = NULL;
    }
}

int ouro_server_free(struct ouro_server *server)
{
    if (server == NULL)
        return 0;
    if (ouro__fork_is_child(server->handle->fork_generation)) {
        ouro__server_close_listeners(server);
        free_memory(server);
        return -OURO_EFORKED;
    }
    if (ouro__load(&server->state, memory_order_acquire) == OURO__SERVER_RUNS)
        return -EBUSY;
    ouro__server_close_listeners(server);
    free_memory(server);
    return 0;
}

int ouro_server_addr(const struct ouro_server *server, uint32_t index,
                     struct ouro_socket_addr *out_addr)
{
    if (server == NULL || out_addr == NULL || index >= server->addrs_count)
        return -EINVAL;
    *out_addr = server->addrs[index];
    return 0;
}

static void add_up(const struct ouro__shard *shard, struct ouro_serve_stats *sum)
{
    sum->closed += ouro__counter_read(&shard->closed);
    sum->refused += ouro__counter_read(&shard->refused);
    sum->refused_peer += ouro__counter_read(&shard->refused_peer);
    sum->shed += ouro__counter_read(&shard->shed);
    sum->timed_out += ouro__counter_read(&shard->timed_out);
    sum->cancelled += ouro__counter_read(&shard->cancelled);
    sum->failed += ouro__counter_read(&shard->failed);
    sum->accept_pauses += ouro__counter_read(&shard->accept_pauses);
    sum->requests += ouro__counter_read(&shard->requests);
    sum->idle += ouro__counter_read(&shard->idle_now);
    sum->accepted += ouro__counter_read(&shard->accepted);
}

int ouro_server_stats(const struct ouro_server *server, struct ouro_serve_stats *stats)
{
    struct ouro_serve_stats sum = OURO_SERVE_STATS_INIT;
    if (server == NULL || stats == NULL || stats->size < sizeof(size_t) ||
        stats->size % sizeof(uint64_t) != 0)
        return -EINVAL;
    for (uint32_t i = 0; i < server->shards_count; i++)
        add_up(&server->shards[i], &sum);
    uint64_t gone = sum.closed + sum.refused + sum.refused_peer + sum.shed + sum.idle;
    sum.active = sum.accepted > gone ? sum.accepted - gone : 0;
    sum.size = stats->size < sizeof(sum) ? stats->size : sizeof(sum);
    memcpy(stats, &sum, sum.size);
    return 0;
}
