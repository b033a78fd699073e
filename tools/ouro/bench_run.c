/* SPDX-License-Identifier: MIT */
/*
 * A run of `ouro bench`, and of `ouro connect --count`: lanes under a clock.
 *
 * All tasks are of one group:
 *
 *   conductor      opens what the kind needs, starts the lanes, looks at the CPU clocks when the
 *                  warm-up is over
 *   lanes          make the operations
 *   signal task    waits for SIGINT or SIGTERM, then stops the run: what was measured is printed
 *   progress task  draws, where stderr is a terminal
 *
 * The lane that leaves last looks at the CPU clocks again and cancels the group, which ends the
 * tasks that are no lanes.
 *
 * Closed loop: a lane begins an operation when an earlier one has ended.  Open loop: with a rate R
 * and L lanes, the operation k of lane i is due (k L + i) / R seconds after the start, whatever the
 * server does, and its latency counts from then.  A stall of the server delays the operations that
 * are due meanwhile, and their latencies show it; a latency counted from the sending would show the
 * one operation that was under way (coordinated omission).
 *
 * An operation belongs to the measured time when it is due in it.  Lanes therefore end when what
 * was due has been answered, which may be after end_ns.
 *
 * Owns:    the tasks, the lanes, the counts.
 * Threads: one worker, so the tasks share the counts without locks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "output.h"
#include "progress.h"
#include "signals.h"

#define PROGRESS_NS (100 * OURO_MILLISECOND)

static int64_t own_cpu_ns(void)
{
    struct timespec cpu = {0};
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) < 0)
        output_error("CPU time: %s", strerror(errno));
    return cpu.tv_sec * OURO_SECOND + cpu.tv_nsec;
}

/* The clocks at the beginning (0) and at the end (1) of what is measured. */
static void sample(struct bench *bench, int which)
{
    if (bench->options->pid != 0)
        bench->usage_rc = process_usage(&bench->process, &bench->usage[which]);
    bench->own_cpu_ns[which] = own_cpu_ns();
    bench->sampled_ns[which] = ouro_now_ns();
}

static int sample_begin(void *arg)
{
    sample(arg, 0);
    return 0;
}

/* The due time of operation @number of a lane. */
static int64_t schedule_ns(const struct bench_lane *lane, uint64_t number)
{
    const struct bench *bench = lane->bench;
    double before = (double)number * bench->lane_count + lane->index;
    return bench->start_ns + (int64_t)(before * 1e9 / (double)bench->options->rate);
}

int64_t bench_due_ns(const struct bench_lane *lane, int64_t now_ns)
{
    return lane->bench->options->rate == 0 ? now_ns : schedule_ns(lane, lane->next);
}

/* When what is overdue is given up. */
static int64_t give_up_ns(const struct bench *bench)
{
    int64_t timeout_ns = bench->options->timeout_ns;
    return bench->end_ns > INT64_MAX - timeout_ns ? INT64_MAX : bench->end_ns + timeout_ns;
}

bool bench_is_over(const struct bench_lane *lane, int64_t due_ns, int64_t now_ns)
{
    const struct bench *bench = lane->bench;
    if (bench->stopped || due_ns >= bench->end_ns || now_ns >= give_up_ns(bench))
        return true;
    return due_ns >= bench->begin_ns && bench->begun >= bench->options->count;
}

void bench_take(struct bench_lane *lane, int64_t due_ns)
{
    struct bench *bench = lane->bench;
    lane->next++;
    if (due_ns >= bench->begin_ns)
        bench->begun++;
}

void bench_done(struct bench *bench, int64_t due_ns, int64_t now_ns)
{
    if (due_ns < bench->begin_ns)
        return;
    bench->done++;
    histogram_record(&bench->latency, now_ns - due_ns);
}

void bench_lose(struct bench *bench, int64_t due_ns)
{
    if (due_ns < bench->begin_ns)
        return;
    if (bench->stopped)
        bench->begun--; /* called off, not failed */
    else
        bench->lost++;
}

const char *bench_explain(int code, const char **out_name)
{
    if (code == BENCH_WRONG_BYTES) {
        *out_name = "WRONG_BYTES";
        return "not the bytes that were sent";
    }
    if (code == BENCH_EARLY_END) {
        *out_name = "EARLY_END";
        return "closed by the peer before all had come";
    }
    *out_name = ouro_err_name(code);
    return ouro_strerror(code);
}

void bench_fail(struct bench *bench, int code)
{
    if (bench->stopped)
        return;
    const char *name = NULL;
    const char *text = bench_explain(code, &name);
    tally_add(&bench->errors, name, text);
}

/* The last one stops the clock, and the tasks that are no lanes. */
static void leave(struct bench *bench)
{
    if (--bench->running > 0)
        return;
    bench->finish_ns = ouro_now_ns();
    if (bench->sampled_ns[0] != 0)
        sample(bench, 1);
    else
        bench->own_cpu_ns[1] = own_cpu_ns();
    (void)ouro_group_cancel(&bench->group); /* it cannot fail: the group has begun */
}

void bench_leave(struct bench_lane *lane)
{
    struct bench *bench = lane->bench;
    bool is_open = bench->options->rate != 0 && bench->end_ns != INT64_MAX;
    while (is_open && !bench->stopped && bench->begun < bench->options->count &&
           schedule_ns(lane, lane->next) < bench->end_ns) {
        lane->next++;
        bench->unsent++;
    }
    leave(bench);
}

/* After a reset nothing stays in TIME_WAIT, so that runs do not run out of ports. */
uint32_t bench_close_flag(const struct bench *bench)
{
    return bench->options->fin ? 0 : OURO_CONNECT_F_RESET;
}

double bench_secs(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    /* The schedule of an open loop fills the time, although its last operation is due before. */
    bool is_full = options->rate != 0 && bench->end_ns != INT64_MAX && !bench->stopped &&
                   bench->begun < options->count;
    int64_t end_ns = is_full || bench->finish_ns > bench->end_ns ? bench->end_ns : bench->finish_ns;
    return end_ns > bench->begin_ns ? (double)(end_ns - bench->begin_ns) / 1e9 : 0;
}

bool bench_is_complete(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    return bench->done > 0 && bench->lost == 0 && bench->unsent == 0 && bench->errors.total == 0 &&
           bench->signal == 0 && (options->pid == 0 || bench->usage_rc == 0) &&
           (options->count == UINT64_MAX || options->duration_ns != INT64_MAX ||
            bench->done == options->count);
}

static int signal_task(void *arg)
{
    struct bench *bench = arg;
    int number = signals_wait(bench->signal_fd);
    if (number == -ECANCELED) /* the run is over */
        return number;
    bench->stopped = true;
    if (number < 0) {
        output_error("signals: %s (%s)", ouro_strerror(number), ouro_err_name(number));
        return number; /* a failure: cancels the group */
    }
    signals_unblock();
    bench->signal = number;
    (void)ouro_group_cancel(&bench->group);
    return 0;
}

static void draw(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    char text[96];
    double part = 0;
    double secs = (double)(ouro_now_ns() - bench->begin_ns) / 1e9;
    double rate = secs > 0 ? (double)bench->done / secs : 0;
    uint64_t ended = bench->done + bench->lost;
    if (bench->start_ns == 0) {
        (void)snprintf(text, sizeof(text), "connecting");
    } else if (secs <= 0) {
        (void)snprintf(text, sizeof(text), "warming up");
    } else if (options->count != UINT64_MAX) {
        part = (double)ended / (double)options->count;
        (void)snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64 "  %.0f/s", ended,
                       options->count, rate);
    } else {
        double all = (double)options->duration_ns / 1e9;
        part = secs / all;
        (void)snprintf(text, sizeof(text), "%.1f of %.1f s  %.0f/s", secs < all ? secs : all, all,
                       rate);
    }
    progress_draw(part, text);
}

static int progress_task(void *arg)
{
    while (ouro_sleep(PROGRESS_NS) == 0)
        draw(arg);
    progress_clear();
    return 0;
}

static int spawn(struct bench *bench, const char *name, ouro_task_function *function, void *arg)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = name;
    options.worker = OURO_WORKER_CURRENT;
    return ouro_group_spawn(&bench->group, &options, function, arg);
}

/* Starts the clock and the lanes.  With fewer than were asked for, those do the work of all. */
static int start_lanes(struct bench *bench)
{
    const struct bench_options *options = bench->options;
    if (options->warm_up_ns == 0)
        sample(bench, 0);
    bench->start_ns = ouro_now_ns();
    bench->begin_ns = bench->start_ns + options->warm_up_ns;
    bench->end_ns = options->duration_ns < INT64_MAX - bench->begin_ns
                        ? bench->begin_ns + options->duration_ns
                        : INT64_MAX;
    int rc = 0;
    uint32_t started = 0;
    const uint32_t tasks = options->kind->is_idle ? 1 : bench->lane_count;
    while (started < tasks && rc == 0) {
        rc = spawn(bench, options->kind->name, options->kind->lane, &bench->lanes[started]);
        if (rc == 0) {
            bench->running++;
            started++;
        }
    }
    if (rc == 0)
        return 0;
    if (!bench->stopped)
        output_error("%" PRIu32 " tasks at a time are too many, %" PRIu32 " can be made: %s (%s)",
                     bench->lane_count, started, ouro_strerror(rc), ouro_err_name(rc));
    bench->start_rc = rc;
    return 0;
}

/*
 * Opens, starts, and looks at the clocks at the end of the warm-up.  Reading about the server takes
 * a while, and the lanes must not wait for it: a thread of the pool does it.
 */
static int conduct_task(void *arg)
{
    struct bench *bench = arg;
    const struct bench_kind *kind = bench->options->kind;
    int rc = kind->open != NULL ? kind->open(bench) : 0;
    if (rc == 0)
        rc = start_lanes(bench);
    if (rc == 0 && bench->sampled_ns[0] == 0 && ouro_sleep(bench->begin_ns - ouro_now_ns()) == 0 &&
        ouro_blocking(sample_begin, bench, NULL) < 0)
        sample(bench, 0);
    leave(bench);
    return rc;
}

static int spawn_all(struct bench *bench)
{
    int rc = spawn(bench, "signals", signal_task, bench);
    if (rc == 0 && isatty(STDERR_FILENO))
        rc = spawn(bench, "progress", progress_task, bench);
    if (rc == 0)
        rc = spawn(bench, "conductor", conduct_task, bench);
    if (rc < 0) {
        output_error("cannot start: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
        leave(bench);
    }
    return rc;
}

/* From the first connect to the last.  What fails in the lanes is counted, not returned. */
static int run(struct bench *bench)
{
    int rc = ouro_group_begin(&bench->group, 0);
    if (rc < 0) {
        output_error("cannot start: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
        return rc;
    }
    bench->running = 1;
    rc = spawn_all(bench);
    int end_rc = ouro_group_end(&bench->group);
    return rc < 0 ? rc : end_rc;
}

/* A name is resolved once, not for every connect. */
static int resolve_target(struct bench *bench, struct ouro_socket_addr **out_list)
{
    bench->target = bench->options->target;
    if (bench->target.is_unix)
        return 0;
    size_t count = 0;
    int rc = ouro_resolve(&bench->target.addrs, out_list, &count);
    if (rc < 0) {
        output_error("%s: %s (%s)", bench->target.text, ouro_strerror(rc), ouro_err_name(rc));
        return rc;
    }
    bench->target.addrs =
        (struct ouro_to_socket_addrs){.kind = OURO_ADDRS_LIST, .list = *out_list, .count = count};
    return 0;
}

struct run_arg {
    struct bench *bench;
    bool (*print)(const struct bench *bench);
};

static int run_task(void *arg)
{
    const struct run_arg *run_arg = arg;
    struct bench *bench = run_arg->bench;
    struct ouro_handle *handle = ouro_handle_current();
    bench->driver = ouro_handle_driver(handle);
    ouro_handle_unref(handle);
    struct ouro_socket_addr *list = NULL;
    if (resolve_target(bench, &list) < 0)
        return CLI_FAILED;

    int rc = run(bench);
    if (bench->options->kind->close != NULL)
        bench->options->kind->close(bench);
    ouro_addr_list_free(list);
    if (rc < 0 && bench->signal == 0)
        return CLI_FAILED; /* it has not begun */
    if (!run_arg->print(bench))
        return CLI_FAILED;
    if (bench->signal != 0)
        return CLI_INTERRUPTED + bench->signal;
    return bench->start_rc == 0 && bench_is_complete(bench) ? CLI_OK : CLI_FAILED;
}

/* As many descriptors as may be: every connection has one. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE,
                    &limit); /* refused: connects fail with EMFILE, and that counts */
}

/* The lanes, and the process that is looked at. */
static int prepare(struct bench *bench)
{
    const struct bench_options *options = bench->options;
    if (bench->lane_count == 0)
        bench->lane_count = (uint32_t)options->connections;
    bench->lanes = calloc(bench->lane_count, sizeof(*bench->lanes));
    if (bench->lanes == NULL) {
        output_error("out of memory");
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < bench->lane_count; i++)
        bench->lanes[i] = (struct bench_lane){.bench = bench, .index = i};
    bench->signal_fd = signals_open();
    if (bench->signal_fd < 0) {
        output_error("signals: %s", ouro_strerror(bench->signal_fd));
        return bench->signal_fd;
    }
    int rc = options->pid != 0 ? process_open((pid_t)options->pid, &bench->process) : 0;
    if (rc < 0)
        output_error("process %" PRIu64 ": %s", options->pid, ouro_strerror(rc));
    return rc;
}

int bench_run(struct bench *bench, bool (*print)(const struct bench *bench))
{
    raise_descriptor_limit();
    /* The kernel may end a sleep 50 us late by default, which an open loop would measure. */
    if (bench->options->rate != 0)
        (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    if (prepare(bench) < 0)
        return CLI_FAILED;
    const struct ouro_runtime_config config = cli_runtime_config(&bench->options->runtime);
    const int64_t grace_ns = OURO_SECOND;
    struct run_arg arg = {.bench = bench, .print = print};
    int code = cli_run(&config, run_task, &arg, &grace_ns);
    close(bench->signal_fd);
    free(bench->lanes);
    return code;
}
