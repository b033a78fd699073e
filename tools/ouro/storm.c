/* SPDX-License-Identifier: MIT */
/*
 * `ouro connect --count`: a storm of connects, measured.
 *
 * C tasks of one worker each connect, close with a reset (nothing stays in TIME_WAIT, so a storm
 * does not run out of ports) and begin again, until N have been made.  Between two connects a task
 * does two clock readings and a few increments; it allocates nothing and prints nothing.
 *
 * SIGINT and SIGTERM come through a signalfd to a task of their own, which cancels the others: then
 * what was measured so far is printed.  A second signal ends the program.
 *
 * Owns:    the tasks, the histogram, the counts.
 * Threads: one worker, so the tasks share the counts without locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "output.h"
#include "progress.h"
#include "signals.h"
#include "storm.h"

struct storm {
    const struct connect_options *options;
    struct target target; /* resolved */
    struct storm_counts counts;
    int signal_fd;
    struct ouro_task **workers; /* NULL where joined */
    uint64_t worker_count;
};

static int connect_loop(void *arg)
{
    struct storm *storm = arg;
    struct storm_counts *counts = &storm->counts;
    const uint64_t total = storm->options->count;
    const int64_t timeout_ns = storm->options->timeout_ns;
    while (counts->signal == 0 && counts->started < total) {
        counts->started++;
        struct ouro_stream *stream = NULL;
        int64_t begin_ns = ouro_now_ns();
        int rc = target_connect(&storm->target, OURO_CONNECT_F_RESET, timeout_ns, NULL, &stream);
        int64_t end_ns = ouro_now_ns();
        if (rc == 0) {
            (void)ouro_stream_close(stream);
            histogram_record(&counts->latency, end_ns - begin_ns);
            counts->connected++;
        } else if (counts->signal != 0) {
            counts->started--; /* called off, not failed */
        } else {
            storm_count_error(counts, rc);
            (void)ouro_yield(); /* a connect that fails at once never waited */
        }
    }
    return 0;
}

static int signal_task(void *arg)
{
    struct storm *storm = arg;
    int number = signals_wait(storm->signal_fd);
    if (number <= 0)
        return 0;
    signals_unblock();
    storm->counts.signal = number;
    for (uint64_t i = 0; i < storm->worker_count; i++)
        (void)ouro_task_cancel(storm->workers[i]); /* refuses NULL */
    return 0;
}

static int progress_task(void *arg)
{
    const struct storm *storm = arg;
    while (ouro_sleep(100 * OURO_MILLISECOND) == 0) {
        const struct storm_counts *counts = &storm->counts;
        double secs = (double)(ouro_now_ns() - counts->begin_ns) / 1e9;
        progress_draw(counts->connected + counts->failed, storm->options->count,
                      (double)counts->connected / secs);
    }
    progress_clear();
    return 0;
}

static struct ouro_task *spawn(const char *name, ouro_task_function *function, void *arg, int *rc)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = name;
    options.worker = OURO_WORKER_CURRENT;
    struct ouro_task *task = NULL;
    *rc = ouro_task_spawn_with(NULL, &options, function, arg, &task);
    return task;
}

static void cancel_and_join(struct ouro_task *task)
{
    if (task == NULL)
        return;
    (void)ouro_task_cancel(task);
    (void)ouro_task_join(task, NULL);
}

/* All workers, from the first to the last. */
static int run_workers(struct storm *storm)
{
    int rc = 0;
    storm->counts.begin_ns = ouro_now_ns();
    while (storm->worker_count < storm->options->concurrency && rc == 0) {
        struct ouro_task *task = spawn("storm", connect_loop, storm, &rc);
        if (rc == 0)
            storm->workers[storm->worker_count++] = task;
    }
    if (rc < 0)
        output_error("%llu tasks at a time are too many: %s",
                     (unsigned long long)storm->options->concurrency, ouro_strerror(rc));
    /* Those that could be made do the work of all. */
    for (uint64_t i = 0; i < storm->worker_count; i++) {
        (void)ouro_task_join(storm->workers[i], NULL);
        storm->workers[i] = NULL;
    }
    storm->counts.end_ns = ouro_now_ns();
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    storm->counts.cpu_ns = cpu.tv_sec * OURO_SECOND + cpu.tv_nsec;
    return rc;
}

/* A name is resolved once, not for every connect. */
static int resolve_target(struct storm *storm, struct ouro_socket_addr **out_list)
{
    storm->target = storm->options->target;
    if (storm->target.is_unix)
        return 0;
    size_t count = 0;
    int rc = ouro_resolve(&storm->target.addrs, out_list, &count);
    if (rc < 0) {
        output_error("%s: %s (%s)", storm->target.text, ouro_strerror(rc), ouro_err_name(rc));
        return rc;
    }
    storm->target.addrs =
        (struct ouro_to_socket_addrs){.kind = OURO_ADDRS_LIST, .list = *out_list, .count = count};
    return 0;
}

static int storm_task(void *arg)
{
    struct storm *storm = arg;
    struct ouro_handle *handle = ouro_handle_current();
    storm->counts.driver = ouro_handle_driver(handle);
    ouro_handle_unref(handle);
    struct ouro_socket_addr *list = NULL;
    int rc = resolve_target(storm, &list);
    if (rc < 0)
        return CLI_FAILED;

    struct ouro_task *waiter = spawn("signals", signal_task, storm, &rc);
    struct ouro_task *progress = NULL;
    if (isatty(STDERR_FILENO))
        progress = spawn("progress", progress_task, storm, &rc);
    rc = run_workers(storm);
    cancel_and_join(progress);
    cancel_and_join(waiter);
    ouro_addr_list_free(list);
    if (!storm_print(&storm->counts, storm->options))
        return CLI_FAILED;
    if (storm->counts.signal != 0)
        return CLI_INTERRUPTED + storm->counts.signal;
    return rc < 0 || storm->counts.failed > 0 ? CLI_FAILED : CLI_OK;
}

/* As many descriptors as may be: every connect under way has one. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int connect_storm(const struct connect_options *options)
{
    raise_descriptor_limit();
    struct storm *storm = calloc(1, sizeof(*storm));
    struct ouro_task **workers = calloc(options->concurrency, sizeof(*workers));
    int code = CLI_FAILED;
    if (storm == NULL || workers == NULL) {
        output_error("out of memory");
        goto out;
    }
    storm->options = options;
    storm->workers = workers;
    storm->signal_fd = signals_open();
    if (storm->signal_fd < 0) {
        output_error("signals: %s", ouro_strerror(storm->signal_fd));
        goto out;
    }
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    config.driver = options->driver;
    code = cli_run(&config, storm_task, storm, OURO_SECOND);
    close(storm->signal_fd);
out:
    free(workers);
    free(storm);
    return code;
}
