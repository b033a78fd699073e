/* SPDX-License-Identifier: MIT */
/*
 * ServeNew: how a server is made and released, and what can be read of it.
 *
 * Owns:    the server's memory.
 * Threads: the caller's; stats any.
 * Always:  a server that could not be made leaves nothing open, and the caller's listeners alone.
 * Tests:   tests/net/test_serve.c, tests/net/test_serve_start.c
 */
#include "net/serve_listener.h"

#include "base/alloc.h"
#include "base/fork.h"
#include "base/options.h"
#include "stream/descriptor.h"
#include "task/handle.h"

#include <ouro/error.h>

#include <errno.h>
#include <signal.h>
#include <string.h>

enum { ADDRESSES_MAX = 64 };

#define CONNECTIONS_DEFAULT 65536
#define PER_PEER_DEFAULT 4096
#define IDLE_DEFAULT_NS (60 * OURO_SECOND)
#define CONNECTION_DEFAULT_NS (3600 * OURO_SECOND)
#define REQUEST_DEFAULT_NS (60 * OURO_SECOND)
#define GRACE_DEFAULT_NS (10 * OURO_SECOND)

static bool have_all_listeners(const struct ouro_serve_options *options)
{
    if ((options->listeners_count > 0 && options->listeners == NULL) ||
        (options->unix_listeners_count > 0 && options->unix_listeners == NULL))
        return false;
    for (uint32_t i = 0; i < options->listeners_count; i++) {
        if (options->listeners[i] == NULL)
            return false;
    }
    for (uint32_t i = 0; i < options->unix_listeners_count; i++) {
        if (options->unix_listeners[i] == NULL)
            return false;
    }
    return true;
}

static int check_options(const struct ouro_serve_options *options)
{
    const uint64_t uncatchable = OURO_SERVE_SIGNAL(SIGKILL) | OURO_SERVE_SIGNAL(SIGSTOP);
    const uint32_t known =
        OURO_SERVE_F_NO_SIGNALS | OURO_SERVE_F_REQUESTS | OURO_SERVE_F_COUNT_BYTES;
    if (options == NULL || (options->flags & ~known) != 0)
        return -EINVAL;
    if (options->idle_ns < 0 || options->connection_ns < 0 || options->grace_ns < 0 ||
        options->request_ns < 0)
        return -EINVAL;
    if ((options->signals & uncatchable) != 0 || options->stack_size_bytes > SIZE_MAX / 4 ||
        options->in_flight_max > INT32_MAX)
        return -EINVAL;
    if (options->addresses == NULL && options->listeners_count == 0 &&
        options->unix_listeners_count == 0)
        return -EINVAL;
    return have_all_listeners(options) ? 0 : -EINVAL;
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
    if (options->received_max == 0)
        options->received_max = UINT64_MAX;
    if (options->sent_max == 0)
        options->sent_max = UINT64_MAX;
    if (options->signals == 0)
        options->signals = OURO_SERVE_SIGNAL(SIGINT) | OURO_SERVE_SIGNAL(SIGTERM);
}

static void free_memory(struct ouro_server *server)
{
    ouro__peer_table_fini(&server->peers);
    ouro__mutex_fini(&server->peers_lock);
    ouro__mutex_fini(&server->lock);
    ouro_handle_unref(server->handle);
    ouro__free(server->shards);
    ouro__free(server->addrs);
    ouro__free(server->accepts);
    ouro__free(server->listeners);
    ouro__free(server);
}

static struct ouro_server *make(struct ouro__context *context,
                                const struct ouro_serve_options *options)
{
    uint32_t workers = context->handle->task_workers;
    size_t addresses = ouro__server_count_addresses(options->addresses);
    size_t names = addresses + options->listeners_count + options->unix_listeners_count;
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
    /* A TCP address has as many listeners as there are workers, with one accept task each; a Unix
     * one has one listener with as many tasks. */
    server->listeners = ouro__calloc(names * workers, sizeof(*server->listeners));
    server->accepts = ouro__calloc(names * workers, sizeof(*server->accepts));
    server->addrs = ouro__calloc(names, sizeof(*server->addrs));
    server->shards = ouro__alloc_aligned(OURO__CACHE_LINE, workers * sizeof(*server->shards));
    if (server->listeners == NULL || server->accepts == NULL || server->addrs == NULL ||
        server->shards == NULL) {
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
        shard->bytes.received_max = server->options.received_max;
        shard->bytes.sent_max = server->options.sent_max;
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
    if (ouro__server_count_addresses(options->addresses) > ADDRESSES_MAX)
        return -EINVAL;
    struct ouro_server *server = make(context, options);
    if (server == NULL)
        return -ENOMEM;
    server->handler = handler;
    server->arg = arg;
    rc = ouro__server_open_listeners(server, options);
    if (rc < 0) {
        ouro__server_close_listeners(server);
        free_memory(server);
        return rc;
    }
    *out_server = server;
    return 0;
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
    sum->over_limit += ouro__counter_read(&shard->over_limit);
    sum->received += ouro__load(&shard->bytes.received, memory_order_relaxed);
    sum->sent += ouro__load(&shard->bytes.sent, memory_order_relaxed);
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
    sum.accept_pauses = ouro__server_accept_pauses(server);
    uint64_t gone = sum.closed + sum.refused + sum.refused_peer + sum.shed + sum.idle;
    sum.active = sum.accepted > gone ? sum.accepted - gone : 0;
    sum.size = stats->size < sizeof(sum) ? stats->size : sizeof(sum);
    memcpy(stats, &sum, sum.size);
    return 0;
}
