/* SPDX-License-Identifier: MIT */
/*
 * What an assertion is made of: the catalogue entry, the expectation macros, and the fixtures.
 *
 * An assertion is a function that runs in a process of its own, once for each kind of ring it
 * names. It therefore cleans nothing up: the first expectation that does not hold ends the process,
 * and so does returning.  What it says goes into memory shared with the runner, so a hang or a
 * crash loses nothing of it.  It prints nothing, needs no root unless flagged, and uses loopback
 * only.
 *
 *     static void connect_refused(struct kt *t)
 *     {
 *         const struct sockaddr_in addr = kt_tcp_closed_port(t);
 *         const int fd = kt_tcp_socket(t, 0);
 *         kt_prep_connect(t, fd, &addr, sizeof(addr), UD_CONNECT);
 *         kt_submit(t, 1);
 *         const struct kt_cqe cqe = kt_wait_for(t, UD_CONNECT);
 *         KT_EXPECT_RES(t, cqe.res, -ECONNREFUSED, "CONNECT to a port nobody listens on");
 *     }
 *
 * Every expectation takes what was observed and what is documented, in that order.
 */
#ifndef OURO_KTEST_KT_H
#define OURO_KTEST_KT_H

#include "probe/abi.h"
#include "probe/feature.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* --- the catalogue -----------------------------------------------------------------------------
 */

/* Kinds of ring an assertion runs on; its function runs once for each. */
enum kt_ring_kind {
    KT_RING_PLAIN, /* no flags */
    KT_RING_DEFER, /* SINGLE_ISSUER | DEFER_TASKRUN */
    KT_RING_NONE,  /* once, without a ring, or it makes its own with kt_ring_open() */
    KT_RING_KINDS
};
#define KT_ON_PLAIN (1u << KT_RING_PLAIN)
#define KT_ON_DEFER (1u << KT_RING_DEFER)
#define KT_ON_BOTH (KT_ON_PLAIN | KT_ON_DEFER)
#define KT_ON_NONE (1u << KT_RING_NONE)

#define KT_F_SLOW (1u << 0)   /* takes over a second: only with --slow */
#define KT_F_ROOT (1u << 1)   /* skips unless effective uid 0 */
#define KT_F_TIMING (1u << 2) /* measures time: runs alone, after all others */
#define KT_F_INFO (1u << 3)   /* documents a surprise; what is seen is reported, both are right */
#define KT_F_HIDDEN (1u << 4) /* of the self-test: chosen by --only 'selftest.*' and not else */

/* Feature bits for .needs: absent means skip or missing, decided by the runner. */
#define KT_NEEDS(name) OURO__FEATURE_BIT(OURO__FEATURE_##name)

struct kt;

struct kt_assertion {
    const char *id;       /* "area.what-is-claimed", stable for ever */
    const char *alias;    /* "K002"; NULL if none */
    const char *sentence; /* the documented behaviour, one sentence */
    const char *source;   /* man page, commit, version */
    const char *since;    /* mainline version that brought it: "5.7" */
    const char *broken;   /* stable versions known to be wrong; NULL if none known */
    const char *absence;  /* how absence is told from breakage */
    const char *impact;   /* what a failure does to a server */
    const char *avoid;    /* what a server on such a kernel should avoid: an imperative sentence */
    const char *guards;   /* bug or CVE it guards; NULL if none */
    uint64_t needs;       /* KT_NEEDS(...) | ...: not run without them */
    uint32_t rings;       /* KT_ON_... */
    uint32_t flags;       /* KT_F_... */
    int timeout_ms;       /* 0: the run's --timeout */
    void (*run)(struct kt *t);
};

/* One per assertion file, listed in catalogue.c. */
struct kt_area {
    const char *title; /* "connect" */
    const struct kt_assertion *assertions;
    size_t count;
};
#define KT_AREA(title_, array_)                                                                    \
    {                                                                                              \
        .title = (title_), .assertions = (array_), .count = sizeof(array_) / sizeof((array_)[0])   \
    }

/* --- verdicts ----------------------------------------------------------------------------------
 */

enum kt_verdict {
    KT_PASS,
    KT_FAIL,    /* present and wrong */
    KT_SKIP,    /* absent, and right so for this version; or not applicable */
    KT_MISSING, /* absent although version, probe or another behaviour says it is there */
    KT_SLOW,    /* right, but not in the time or with the means it should take */
    KT_ERROR,   /* the fixture broke: says nothing about the kernel */
    KT_HANG,    /* did not end in its time */
    KT_CRASH,   /* ended by a signal */
    KT_VERDICTS
};

/* --- the running assertion ---------------------------------------------------------------------
 */

struct kt_cqe {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
};

/* A ring with all that is needed to use it directly: ring.ring is liburing's. */
struct kt_ring {
    struct io_uring ring;
    struct io_uring_params params;
};

struct kt_shared; /* runner.h */

struct kt {
    struct kt_ring ring; /* made before the function runs, unless KT_ON_NONE */
    enum kt_ring_kind kind;
    const struct kt_assertion *assertion;
    const struct ouro__feature_report *report; /* what this kernel has */
    int slack;                                 /* upper time bounds are multiplied by this */
    struct kt_shared *shared;
};

/* Ends the assertion with @verdict and a message. */
__attribute__((noreturn, format(printf, 5, 6))) void
kt_end(struct kt *t, enum kt_verdict verdict, const char *file, int line, const char *format, ...);

/* Absent: skip if this kernel is older than .since, else missing.  For what .needs cannot say. */
#define KT_ABSENT(t, ...) kt_absent((t), __FILE__, __LINE__, __VA_ARGS__)
__attribute__((noreturn, format(printf, 4, 5))) void kt_absent(struct kt *t, const char *file,
                                                               int line, const char *format, ...);
/* Not applicable here (no IPv6, no root, ...). */
#define KT_SKIP_IF(t, condition, ...)                                                              \
    do {                                                                                           \
        if (condition)                                                                             \
            kt_end((t), KT_SKIP, __FILE__, __LINE__, __VA_ARGS__);                                 \
    } while (0)
/* A fixture step that must hold; the verdict is error, not fail. */
#define KT_REQUIRE(t, condition, ...)                                                              \
    do {                                                                                           \
        if (!(condition))                                                                          \
            kt_end((t), KT_ERROR, __FILE__, __LINE__, __VA_ARGS__);                                \
    } while (0)
/* A system call of the fixture: its value; -1 is an error verdict with errno's name. */
#define KT_SYS(t, call) kt_sys((t), (long)(call), #call, __FILE__, __LINE__)
long kt_sys(struct kt *t, long value, const char *call, const char *file, int line);

/* Says what is being waited for, so that a hang can be reported in words. */
__attribute__((format(printf, 2, 3))) void kt_step(struct kt *t, const char *format, ...);
/* A remark that goes with the verdict; the first six are kept. */
__attribute__((format(printf, 2, 3))) void kt_note(struct kt *t, const char *format, ...);
/* A measured number for the JSON: name like "latency_us". */
void kt_metric(struct kt *t, const char *name, double value);

/*
 * Expectations.  The first that does not hold ends the assertion with fail (the _SLOW ones: slow).
 * @... is a printf format that says what was looked at.  Each evaluates its arguments once.
 */
enum kt_relation { KT_EQ, KT_NE, KT_LE, KT_GE, KT_RES };
void kt_expect(struct kt *t, enum kt_verdict otherwise, enum kt_relation relation, int64_t observed,
               int64_t documented, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 8, 9)));

#define KT_EXPECT_EQ(t, observed, documented, ...)                                                 \
    kt_expect((t), KT_FAIL, KT_EQ, (int64_t)(observed), (int64_t)(documented), __FILE__, __LINE__, \
              __VA_ARGS__)
#define KT_EXPECT_NE(t, observed, never, ...)                                                      \
    kt_expect((t), KT_FAIL, KT_NE, (int64_t)(observed), (int64_t)(never), __FILE__, __LINE__,      \
              __VA_ARGS__)
#define KT_EXPECT_LE(t, observed, at_most, ...)                                                    \
    kt_expect((t), KT_FAIL, KT_LE, (int64_t)(observed), (int64_t)(at_most), __FILE__, __LINE__,    \
              __VA_ARGS__)
#define KT_EXPECT_GE(t, observed, at_least, ...)                                                   \
    kt_expect((t), KT_FAIL, KT_GE, (int64_t)(observed), (int64_t)(at_least), __FILE__, __LINE__,   \
              __VA_ARGS__)
/* A result of an operation: a count, 0, or -errno, shown by name. */
#define KT_EXPECT_RES(t, observed, documented, ...)                                                \
    kt_expect((t), KT_FAIL, KT_RES, (int64_t)(observed), (int64_t)(documented), __FILE__,          \
              __LINE__, __VA_ARGS__)
#define KT_EXPECT(t, condition, ...) KT_EXPECT_EQ((t), (condition) ? 1 : 0, 1, __VA_ARGS__)
/* Right but too slow, or by too expensive means. */
#define KT_EXPECT_SLOW_LE(t, observed, at_most, ...)                                               \
    kt_expect((t), KT_SLOW, KT_LE, (int64_t)(observed), (int64_t)(at_most), __FILE__, __LINE__,    \
              __VA_ARGS__)
/* CQE flags: F_MORE, F_BUFFER, F_NOTIF, ... set or not, as a 0/1 value for KT_EXPECT_EQ. */
#define KT_HAS(cqe, flag) (((cqe).flags & (flag)) != 0 ? 1 : 0)

/* --- rings (kt_ring.c) -------------------------------------------------------------------------
 */

#define KT_WAIT_MS 3000 /* for what is certain to come; multiplied by slack */

/* Set-up flags of @kind. */
uint32_t kt_ring_flags(enum kt_ring_kind kind);
/* A further ring; error verdict when it cannot be had.  @entries SQ, @cq_entries CQ (0: twice). */
void kt_ring_open(struct kt *t, struct kt_ring *ring, uint32_t entries, uint32_t cq_entries,
                  uint32_t setup_flags);
/* As above, but -errno is handed back: for assertions about set-up. */
int kt_ring_try(struct kt *t, struct kt_ring *ring, uint32_t entries, uint32_t cq_entries,
                uint32_t setup_flags);
void kt_ring_close(struct kt_ring *ring);
int kt_register(struct kt_ring *ring, uint32_t opcode, const void *arg, uint32_t nr);

/* All below work on t->ring; the _on forms take another one. */

/* A zeroed SQE with user_data set; never NULL. */
struct io_uring_sqe *kt_sqe(struct kt *t, uint8_t opcode, int fd, uint64_t user_data);
struct io_uring_sqe *kt_sqe_on(struct kt *t, struct kt_ring *ring, uint8_t opcode, int fd,
                               uint64_t user_data);
struct io_uring_sqe *kt_prep_connect(struct kt *t, int fd, const void *addr, socklen_t addr_len,
                                     uint64_t user_data);
struct io_uring_sqe *kt_prep_accept(struct kt *t, int fd, uint16_t ioprio, uint64_t user_data);
struct io_uring_sqe *kt_prep_recv(struct kt *t, int fd, void *buffer, uint32_t len, int msg_flags,
                                  uint64_t user_data);
/* Multishot receive into group @bgid. */
struct io_uring_sqe *kt_prep_recv_multishot(struct kt *t, int fd, uint16_t bgid,
                                            uint64_t user_data);
struct io_uring_sqe *kt_prep_send(struct kt *t, int fd, const void *buffer, uint32_t len,
                                  int msg_flags, uint64_t user_data);
/* ASYNC_CANCEL of @target; with OURO__CANCEL_FD & co. in @flags set sqe->fd yourself. */
struct io_uring_sqe *kt_prep_cancel(struct kt *t, uint64_t target, uint32_t flags,
                                    uint64_t user_data);
/* @ts must live until submit; @count 0 for a pure timer. */
struct io_uring_sqe *kt_prep_timeout(struct kt *t, const struct __kernel_timespec *ts,
                                     uint32_t count, uint32_t flags, uint64_t user_data);
struct io_uring_sqe *kt_prep_link_timeout(struct kt *t, const struct __kernel_timespec *ts,
                                          uint64_t user_data);
struct io_uring_sqe *kt_prep_poll(struct kt *t, int fd, uint32_t events, bool multishot,
                                  uint64_t user_data);

/* Submit all queued; error verdict unless the kernel took @expected. */
void kt_submit(struct kt *t, int expected);
/* Submit all queued and return what io_uring_enter() said. */
int kt_try_submit(struct kt *t);
int kt_try_submit_on(struct kt_ring *ring);

/* The next CQE if one comes in @timeout_ms (not multiplied by slack; 0: look only, with GETEVENTS
 * so that a DEFER ring runs its work). */
bool kt_try_wait(struct kt *t, int timeout_ms, struct kt_cqe *out);
bool kt_try_wait_on(struct kt_ring *ring, int timeout_ms, struct kt_cqe *out);
/* The next CQE whoever it is for; fail verdict when none comes in KT_WAIT_MS. */
struct kt_cqe kt_wait(struct kt *t);
/* The CQE of @user_data; CQEs of others are kept and found by later calls.  Fail when none comes.
 */
struct kt_cqe kt_wait_for(struct kt *t, uint64_t user_data);
/* True, and the CQE in @out, if one of @user_data comes in @timeout_ms. */
bool kt_try_wait_for(struct kt *t, uint64_t user_data, int timeout_ms, struct kt_cqe *out);
/* Fail verdict if any CQE comes within @ms. */
void kt_expect_silence(struct kt *t, int ms, const char *what);
/* Fails if opcode @op is not listed by the probe: absent. */
void kt_need_op(struct kt *t, uint32_t op);

/* A provided-buffer ring; raw register call, since liburing 2.3 lacks flags. */
struct kt_buffers {
    struct io_uring_buf_ring *ring;
    uint8_t *data;
    uint32_t size;  /* of one buffer */
    uint32_t count; /* entries of the ring: a power of two */
    uint16_t bgid;
};
/* Group @bgid with @count entries (a power of two), the first @filled of @size bytes each given. */
void kt_buffers_open(struct kt *t, struct kt_buffers *buffers, uint16_t bgid, uint32_t count,
                     uint32_t filled, uint32_t size, uint16_t flags);
int kt_buffers_try(struct kt *t, struct kt_ring *ring, struct kt_buffers *buffers, uint16_t bgid,
                   uint32_t count, uint32_t filled, uint32_t size, uint16_t flags);
void kt_buffers_give(struct kt_buffers *buffers, uint16_t bid); /* back to the kernel */
static inline uint8_t *kt_buffer(const struct kt_buffers *buffers, uint16_t bid)
{
    return buffers->data + (size_t)bid * buffers->size;
}
static inline uint16_t kt_buffer_id(struct kt_cqe cqe)
{
    return (uint16_t)(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
}

/* --- sockets (kt_net.c); all CLOEXEC, all on loopback, port 0 ------------------------------------
 */

int kt_tcp_socket(struct kt *t, int type_flags); /* SOCK_NONBLOCK or 0 */
int kt_tcp_listen(struct kt *t, int backlog, struct sockaddr_in *out_addr);
/* out[0] connected by connect(2), out[1] by accept(2); NODELAY on both. */
void kt_tcp_pair(struct kt *t, int out[2]);
/* An address on which nobody listens: bound, and kept so that nobody else can. */
struct sockaddr_in kt_tcp_closed_port(struct kt *t);
/*
 * The pending-connect fixture: a listener with backlog 0 and enough connections queued that further
 * SYNs are dropped.  A connect to *out_addr stays in SYN_SENT without leaving loopback.
 */
void kt_tcp_pending(struct kt *t, struct sockaddr_in *out_addr);
int kt_tcp_state(struct kt *t, int fd);    /* TCP_ESTABLISHED, TCP_SYN_SENT, ... */
int kt_socket_error(struct kt *t, int fd); /* SO_ERROR */
void kt_unix_pair(struct kt *t, int type, int out[2]);
/* A listener on an abstract name chosen by the kernel. */
int kt_unix_listen(struct kt *t, int backlog, struct sockaddr_un *out_addr, socklen_t *out_len);
void kt_udp_pair(struct kt *t, int out[2]); /* connected to each other */
/* Reset the connection on @fd instead of closing it politely. */
void kt_reset(struct kt *t, int fd);
/* All bytes, blocking; error verdict otherwise. */
void kt_write(struct kt *t, int fd, const void *data, size_t len);
/* read(2) until @len bytes, end of stream or 1 s: the count. */
size_t kt_read(struct kt *t, int fd, void *data, size_t len);

/* --- time, processors, workers (kt_time.c) ------------------------------------------------------
 */

int64_t kt_now_ns(void);
static inline int64_t kt_ms_since(int64_t start_ns)
{
    return (kt_now_ns() - start_ns) / 1000000;
}
/* @ms times slack: for upper bounds. */
int64_t kt_slack_ms(const struct kt *t, int64_t ms);
struct __kernel_timespec kt_ts_ms(int64_t ms);
/* Keep this thread (and those it starts) on the lowest allowed CPU. */
void kt_pin(struct kt *t);
/* io-wq worker threads of this process now. */
int kt_worker_count(struct kt *t);
/* Voluntary plus involuntary context switches of this thread. */
int64_t kt_context_switches(void);
/*
 * Cost of @run per call against @reference per call, as a ratio: the minimum of @rounds interleaved
 * rounds of @calls calls each, and more rounds as long as they find new minima.  A round should
 * take well under a millisecond, less than the scheduler gives at a time.  Pin first.  The two
 * costs go into the metrics as cost_ns and reference_ns.
 */
typedef void kt_work_fn(struct kt *t, void *arg, int calls);
double kt_cost_ratio(struct kt *t, kt_work_fn *run, kt_work_fn *reference, void *arg, int rounds,
                     int calls);
/* A second thread; joined by kt_thread_join().  It may use kt_ calls that take a ring, no
 * KT_EXPECT. */
typedef void *kt_thread_fn(void *arg);
struct kt_thread {
    unsigned long handle;
};
void kt_thread_start(struct kt *t, struct kt_thread *thread, kt_thread_fn *run, void *arg);
void *kt_thread_join(struct kt *t, struct kt_thread *thread);

#endif
