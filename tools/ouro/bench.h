/* SPDX-License-Identifier: MIT */
/*
 * Bench: a load on a server, and what is measured of it.
 *
 * A run has lanes.  A lane is a task that makes one operation after the other: a message and its
 * echo, or a connection.  The kind of the run says what an operation is; bench_run() starts the
 * lanes, keeps the clock and counts.
 */
#ifndef OURO_CLI_BENCH_H
#define OURO_CLI_BENCH_H

#include "cli.h"
#include "cli_runtime.h"
#include "histogram.h"
#include "process.h"
#include "tally.h"
#include "target.h"

struct bench;

/* A task that makes operations.  It has a place in the schedule of an open loop. */
struct bench_lane {
    struct bench *bench;
    uint32_t index;
    uint64_t next;              /* number of its next operation */
    struct ouro_stream *stream; /* of kinds that connect before the clock starts */
    struct ouro_stream *in;     /* of a relay: where what is sent by `stream` comes out */
    bool is_done;               /* of a relay: the lane sends no more */
};

/* What an operation is. */
struct bench_kind {
    const char *name;
    const char *unit;     /* of what is counted, "message" */
    uint64_t connections; /* where none are asked for; likewise the next two */
    uint64_t size_bytes;
    uint64_t depth;
    bool has_depth;    /* several operations may be under way in a lane */
    bool has_size;     /* an operation carries bytes */
    bool has_sink;     /* the messages go to a listener of ours, in one direction or both */
    uint64_t size_max; /* of them; 0: BENCH_SIZE_MAX */
    bool is_idle;      /* one task for all lanes, and no operations that follow each other */

    /* Before the clock starts, NULL: nothing to do.  A failure is reported by it, unless the run
     * has been stopped. */
    int (*open)(struct bench *bench);
    /* Gets a bench_lane; runs until bench_is_over(), then calls bench_leave(). */
    ouro_task_function *lane;
    /* After the lanes, whatever open() returned; NULL: nothing to do. */
    void (*close)(struct bench *bench);
};

#define BENCH_SIZE_MAX ((uint64_t)1 << 30)

extern const struct bench_kind bench_echo_kind, bench_storm_kind, bench_churn_kind, bench_idle_kind,
    bench_relay_kind;

struct bench_options {
    const struct bench_kind *kind;
    struct target target;
    struct cli_runtime runtime;
    uint64_t connections; /* lanes */
    uint64_t size_bytes;
    uint64_t depth;
    uint64_t rate;       /* operations per second of all lanes; 0: closed loop */
    uint64_t count;      /* operations to measure; UINT64_MAX: no limit */
    int64_t duration_ns; /* to measure for; INT64_MAX: no limit */
    int64_t warm_up_ns;
    int64_t timeout_ns; /* of each operation; INT64_MAX: none */
    uint64_t pid;       /* of the server; 0: not known */
    int64_t settle_ns;  /* of idle: to wait after the connections were closed; 0: not at all */
    const char *sink;   /* of relay: where to listen */
    bool both;          /* of relay: messages in both directions */
    bool fin;           /* connections are closed by a FIN, not by a reset */
    bool json;
};

/* When `idle` looks at the server's memory. */
enum bench_memory {
    BENCH_MEMORY_BEFORE,  /* the first connection */
    BENCH_MEMORY_HELD,    /* at the end of the time for which they are held */
    BENCH_MEMORY_SETTLED, /* after they were closed */
    BENCH_MEMORY_COUNT
};

struct bench {
    const struct bench_options *options;
    struct target target; /* resolved */
    enum ouro_driver_kind driver;
    struct process process; /* where a pid was given */
    struct bench_lane *lanes;
    uint32_t lane_count;

    /* The clock.  All zero until the lanes start. */
    int64_t start_ns;
    int64_t begin_ns;  /* the end of the warm-up: operations that are due from here on count */
    int64_t end_ns;    /* operations that are due from here on are not made */
    int64_t finish_ns; /* the last lane has left */

    /* What is counted, from begin_ns on. */
    uint64_t begun;
    uint64_t done;
    uint64_t lost;   /* begun and not done */
    uint64_t unsent; /* of an open loop: due and never begun */
    struct tally errors;
    struct histogram latency;

    /* CPU time, at begin_ns and at finish_ns. */
    int64_t sampled_ns[2];
    int64_t own_cpu_ns[2];
    struct process_usage usage[2];
    struct process_usage memory[BENCH_MEMORY_COUNT];
    int usage_rc; /* of the last look at the process */

    int signal; /* that ended the run early; 0 */
    bool stopped;
    int start_rc; /* why not all lanes were started */

    int signal_fd;
    struct ouro_group group;
    uint64_t running; /* the lanes that have not left, and the task that starts them */
};

/* Failures that are no error of the system. */
enum bench_failure {
    BENCH_WRONG_BYTES = -9001, /* what came is not what was sent */
    BENCH_EARLY_END = -9002    /* the peer ended the stream before all had come */
};

/*
 * Runs the load and prints the result by @print, to stdout; false when that failed.  Returns an
 * exit code.  @bench has its options and is zero otherwise.
 */
int bench_run(struct bench *bench, bool (*print)(const struct bench *bench));

/*
 * When the lane's next operation is due: in a closed loop @now_ns, in an open loop by the schedule,
 * which may be earlier or later.
 */
int64_t bench_due_ns(const struct bench_lane *lane, int64_t now_ns);

/* Takes the lane's next operation, which is due by now; bench_is_over() has said that there is one.
 */
void bench_take(struct bench_lane *lane, int64_t due_ns);

/* Whether the lane has no more operations; its next would be due at @due_ns. */
bool bench_is_over(const struct bench_lane *lane, int64_t due_ns, int64_t now_ns);

/* An operation that was taken has ended well. */
void bench_done(struct bench *bench, int64_t due_ns, int64_t now_ns);

/* The same, but it has failed: it has no result. */
void bench_lose(struct bench *bench, int64_t due_ns);

/* The name of a code of the library or a bench_failure, and what it means, for people. */
const char *bench_explain(int code, const char **out_name);

/* Counts an error, a code of the library or a bench_failure, unless the run has been stopped. */
void bench_fail(struct bench *bench, int code);

/* The lane makes no more operations.  The last one ends the run. */
void bench_leave(struct bench_lane *lane);

/* The result as a table or as JSON. */
bool bench_print(const struct bench *bench);

/* OURO_CONNECT_F_RESET, or 0 where connections are to be closed by a FIN. */
uint32_t bench_close_flag(const struct bench *bench);

/* How long was measured, in seconds. */
double bench_secs(const struct bench *bench);

/* Whether what was asked for was done: nothing failed, nothing is missing. */
bool bench_is_complete(const struct bench *bench);

#endif
