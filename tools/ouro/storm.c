/* SPDX-License-Identifier: MIT */
/*
 * `ouro connect --count`: a storm of connects, measured.
 *
 * C tasks of one worker each connect, close with a reset (nothing stays in TIME_WAIT, so a storm
 * does not run out of ports) and begin again, until N have been made.  Between two connects a task
 * reads the clock twice and increments a few numbers; it allocates nothing and prints nothing.
 *
 * All tasks are of one group: those that connect, one that waits for SIGINT and SIGTERM, and one
 * that draws the progress bar.  The last connecting task cancels the group, which ends the other
 * two.  A signal cancels it too: then what was measured so far is printed.  A second signal ends
 * the program.
 *
 * Owns:    the tasks, the histogram, the counts.
 * Threads: one worker, so the tasks share the counts without locks.
 */
#include <errno.h>
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
    struct ouro_group group;
    uint64_t connecting; /* the tasks that connect, and the main one while it spawns them */
    bool stopped;        /* called off: what fails from now on is no result */
};

/* The last one stops the clock, and the tasks that do not connect. */
static void leave(struct storm *storm)
{
    if (--storm->connecting > 0)
        return;
    storm->counts.end_ns = ouro_now_ns();
    struct timespec cpu = {0};
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) < 0)
        output_error("CPU time: %s", strerror(errno));
    storm->counts.cpu_ns = cpu.tv_sec * OURO_SECOND + cpu.tv_nsec;
    (void)ouro_group_cancel(&storm->group); /* it cannot fail: the group has begun */
}

static int connect_loop(void *arg)
{
    struct storm *storm = arg;
    struct storm_counts *counts = &storm->counts;
    const uint64_t total = storm->options->count;
    const int64_t timeout_ns = storm->options->timeout_ns;
    while (!storm->stopped && counts->started < total) {
        counts->started++;
        struct ouro_stream *stream = NULL;
        int64_t begin_ns = ouro_now_ns();
        int rc = target_connect(&storm->target, OURO_CONNECT_F_RESET, timeout_ns, NULL, &stream);
        int64_t end_ns = ouro_now_ns();
        if (rc == 0) {
            (void)ouro_stream_close(stream); /* a reset: there is nothing to lose */
            histogram_record(&counts->latency, end_ns - begin_ns);
            counts->connected++;
        } else if (storm->stopped) {
            counts->started--; /* called off, not failed */
        } else {
            storm_count_error(counts, rc);
            (void)ouro_yield(); /* a connect that fails at once never waited */
        }
    }
    leave(storm);
    return 0;
}

static int signal_task(void *arg)
{
    struct storm *storm = arg;
    int number = signals_wait(storm->signal_fd);
    if (number == -ECANCELED) /* the storm is over */
        return number;
    storm->stopped = true;
    if (number < 0) {
        output_error("signals: %s (%s)", ouro_strerror(number), ouro_err_name(number));
        return number; /* a failure: cancels the group */
    }
    signals_unblock();
    storm->counts.signal = number;
    (void)ouro_group_cancel(&storm->group);
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

static int spawn(struct storm *storm, const char *name, ouro_task_function *function)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = name;
    options.worker = OURO_WORKER_CURRENT;
    return ouro_group_spawn(&storm->group, &options, function, storm);
}

/* Starts the tasks.  With fewer than were asked for, those do the work of all. */
static int spawn_all(struct storm *storm)
{
    int rc = spawn(storm, "signals", signal_task);
    if (rc == 0 && isatty(STDERR_FILENO))
        rc = spawn(storm, "progress", progress_task);
    uint64_t count = 0;
    while (rc == 0 && count < storm->options->concurrency) {
        rc = spawn(storm, "storm", connect_loop);
        if (rc == 0) {
            storm->connecting++;
            count++;
        }
    }
    if (rc < 0)
        output_error("%llu tasks at a time are too many, %llu can be made: %s (%s)",
                     (unsigned long long)storm->options->concurrency, (unsigned long long)count,
                     ouro_strerror(rc), ouro_err_name(rc));
    return rc;
}

/* From the first connect to the last.  Failed connects are counted, not returned. */
static int run(struct storm *storm)
{
    int rc = ouro_group_begin(&storm->group, 0);
    if (rc < 0) {
        output_error("cannot start: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
        return rc;
    }
    storm->counts.begin_ns = ouro_now_ns();
    storm->connecting = 1;
    rc = spawn_all(storm);
    leave(storm);
    int end_rc = ouro_group_end(&storm->group);
    return rc < 0 ? rc : end_rc;
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

    rc = run(storm);
    ouro_addr_list_free(list);
    const struct storm_counts *counts = &storm->counts;
    if (!storm_print(counts, storm->options))
        return CLI_FAILED;
    if (counts->signal != 0)
        return CLI_INTERRUPTED + counts->signal;
    return rc == 0 && counts->connected == storm->options->count ? CLI_OK : CLI_FAILED;
}

/* As many descriptors as may be: every connect under way has one. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE,
                    &limit); /* refused: connects fail with EMFILE, and that counts */
}

int connect_storm(const struct connect_options *options)
{
    static struct storm storm; /* a part of it is a histogram of 270 KiB */
    raise_descriptor_limit();
    storm.options = options;
    storm.signal_fd = signals_open();
    if (storm.signal_fd < 0) {
        output_error("signals: %s", ouro_strerror(storm.signal_fd));
        return CLI_FAILED;
    }
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    config.driver = options->driver;
    const int64_t grace_ns = OURO_SECOND;
    int code = cli_run(&config, storm_task, &storm, &grace_ns);
    close(storm.signal_fd);
    return code;
}
