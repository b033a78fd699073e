/* SPDX-License-Identifier: MIT */
/*
 * ProxyStats: the counters, for people on SIGUSR1 and as lines of JSON.
 *
 * The counters of the workers are added up when they are read.  They may be from slightly different
 * moments while connections come and go; the last line, at the end of the proxy, is exact:
 * accepted is the sum of all ways to end, and active is 0.
 *
 * Owns:    the file of the lines.
 * Threads: any reads; the task that writes the lines is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "json_text.h"
#include "output.h"
#include "pipe_end.h"
#include "proxy.h"

static const char *const outcome_names[PROXY_OUTCOMES] = {
    [PROXY_DONE] = "done",
    [PROXY_REFUSED] = "refused",
    [PROXY_BAD_HEADER] = "bad_header",
    [PROXY_NO_TARGET] = "no_target",
    [PROXY_IDLE] = "idle",
    [PROXY_BROKEN] = "broken",
    [PROXY_CUT] = "cut",
};

struct sums {
    uint64_t accepted, active, to_targets, to_clients;
    uint64_t ended[PROXY_OUTCOMES];
};

static uint64_t read_count(const atomic_uint_least64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_up(const struct proxy *proxy, struct sums *sums)
{
    uint64_t ended = 0;
    *sums = (struct sums){0};
    for (uint64_t i = 0; i < proxy->options->runtime.workers; i++) {
        const struct proxy_counts *counts = &proxy->counts[i];
        for (size_t k = 0; k < PROXY_OUTCOMES; k++) {
            uint64_t count = read_count(&counts->ended[k]);
            sums->ended[k] += count;
            ended += count;
        }
        sums->to_targets += read_count(&counts->to_targets);
        sums->to_clients += read_count(&counts->to_clients);
    }
    /* Last: what has ended by now was accepted before. */
    for (uint64_t i = 0; i < proxy->options->runtime.workers; i++)
        sums->accepted += read_count(&proxy->counts[i].accepted);
    sums->active = sums->accepted > ended ? sums->accepted - ended : 0;
}

/* Lets each worker add what its relays have moved by now. */
static int refresh(struct proxy *proxy)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "count";
    struct ouro_group group;
    int rc = ouro_group_begin(&group, 0);
    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < proxy->options->runtime.workers && rc == 0; i++) {
        options.worker = (uint32_t)i;
        rc = ouro_group_spawn(&group, &options, proxy_relay_tell_task, &proxy->counts[i]);
    }
    int end_rc = ouro_group_end(&group);
    return rc < 0 ? rc : end_rc;
}

static void print_target(struct proxy *proxy, size_t index, int64_t now_ns)
{
    struct proxy_target target;
    bool is_out;
    char state[64] = "in";
    proxy_targets_read(&proxy->options->targets, index, now_ns, &target, &is_out);
    if (is_out)
        snprintf(state, sizeof(state), "left out for %.3f s",
                 (double)(target.out_until_ns - now_ns) / 1e9);
    output_error("target %s: %" PRIu64 " active, %" PRIu64 " connected, %" PRIu64 " failed; %s",
                 target.where.text, target.active, target.connected, target.failed, state);
}

void proxy_stats_print(struct proxy *proxy)
{
    struct sums sums;
    char ends[256] = "";
    (void)refresh(proxy); /* without it the bytes are those of a moment ago */
    add_up(proxy, &sums);
    for (size_t i = 0; i < PROXY_OUTCOMES; i++) {
        size_t used = strlen(ends);
        snprintf(ends + used, sizeof(ends) - used, "%s%" PRIu64 " %s", i > 0 ? ", " : "",
                 sums.ended[i], outcome_names[i]);
    }
    output_error("%" PRIu64 " active, %" PRIu64 " accepted; ended: %s", sums.active, sums.accepted,
                 ends);
    output_error("bytes: %" PRIu64 " to targets, %" PRIu64 " to clients", sums.to_targets,
                 sums.to_clients);
    int64_t now_ns = ouro_now_ns();
    for (size_t i = 0; i < proxy->options->targets.count; i++)
        print_target(proxy, i, now_ns);
}

static json_t *targets_json(struct proxy *proxy)
{
    json_t *array = json_array();
    int64_t now_ns = ouro_now_ns();
    for (size_t i = 0; array != NULL && i < proxy->options->targets.count; i++) {
        struct proxy_target target;
        bool is_out;
        proxy_targets_read(&proxy->options->targets, i, now_ns, &target, &is_out);
        json_t *object =
            json_pack("{s:o,s:b,s:I,s:I,s:I}", "target", json_text_string(target.where.text), "in",
                      is_out ? 0 : 1, "active", (json_int_t)target.active, "connected",
                      (json_int_t)target.connected, "failed", (json_int_t)target.failed);
        if (json_array_append_new(array, object) < 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

/* One line, for the caller to free(); NULL without memory. */
static char *stats_line(struct proxy *proxy)
{
    struct sums sums;
    struct timespec now;
    add_up(proxy, &sums);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    json_t *object =
        json_pack("{s:I,s:I,s:I,s:I,s:I}", "time_ms",
                  (json_int_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, "accepted",
                  (json_int_t)sums.accepted, "active", (json_int_t)sums.active, "bytes_to_targets",
                  (json_int_t)sums.to_targets, "bytes_to_clients", (json_int_t)sums.to_clients);
    for (size_t i = 0; object != NULL && i < PROXY_OUTCOMES; i++)
        (void)json_object_set_new(object, outcome_names[i],
                                  json_integer((json_int_t)sums.ended[i]));
    if (object != NULL)
        (void)json_object_set_new(object, "targets", targets_json(proxy));
    return json_text_line(object);
}

static int write_line(struct proxy *proxy, struct pipe_end *end)
{
    char *line = stats_line(proxy);
    if (line == NULL)
        return -ENOMEM;
    int rc = pipe_end_write_all(end, line, strlen(line));
    free(line);
    return rc;
}

/* A line a second, until it is cancelled; then the last one. */
static int write_lines(struct proxy *proxy, struct pipe_end *end)
{
    int rc = 0;
    while (rc == 0) {
        rc = ouro_sleep(OURO_SECOND);
        if (rc == 0)
            rc = refresh(proxy);
        if (rc == 0)
            rc = write_line(proxy, end);
    }
    if (rc != -ECANCELED)
        return rc;
    struct ouro_shield shield;
    struct ouro_deadline limit;
    rc = ouro_shield_begin(&shield);
    if (rc < 0)
        return rc;
    rc = ouro_deadline_begin(&limit, OURO_SECOND); /* who reads the lines may have stopped */
    if (rc == 0)
        rc = write_line(proxy, end);
    ouro_shield_end(&shield);
    return rc;
}

int proxy_stats_task(void *arg)
{
    struct proxy *proxy = arg;
    const char *path = proxy->options->stats_path;
    int fd = STDOUT_FILENO;
    if (path != NULL)
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    struct pipe_end end;
    int rc = fd < 0 ? -errno : pipe_end_init(&end, fd, true);
    if (rc == 0) {
        rc = write_lines(proxy, &end);
        pipe_end_fini(&end);
    }
    if (path != NULL && fd >= 0)
        close(fd);
    if (rc < 0 && rc != -ECANCELED)
        output_error("statistics: %s: %s (%s)", path != NULL ? path : "stdout", ouro_strerror(rc),
                     ouro_err_name(rc));
    return 0; /* the proxy goes on without them */
}
