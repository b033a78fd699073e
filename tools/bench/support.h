/* SPDX-License-Identifier: MIT */
/*
 * What the programs that ouro is compared with share: an address, a listener, numbers, an end.
 */
#ifndef OURO_BENCH_SUPPORT_H
#define OURO_BENCH_SUPPORT_H

#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <stdint.h>
#include <time.h>

/* Prints "WHAT: " and what @error, a positive errno, means; ends the program. */
void bench_die(const char *what, int error) __attribute__((noreturn));

/* The number that @text is, from @min to @max; else the program ends. */
long bench_number(const char *what, const char *text, long min, long max);

uint64_t bench_now_ns(void);
uint64_t bench_cpu_ns(void); /* of this process */

/* The CPU clock of a process, of all its threads; the program ends when there is no such process.
 */
clockid_t bench_cpu_clock(long pid);
uint64_t bench_clock_ns(clockid_t clock);

/* 127.0.0.1:@port. */
struct sockaddr_in bench_address(long port);

/* A listener there; what it accepts has Nagle's algorithm off.  @flags: of socket(2). */
int bench_listen(long port, int flags);

/* A connection to there, without Nagle's algorithm, which is reset when it is closed. */
int bench_connect(long port);

/* No SIGPIPE, as many descriptors as may be, and an end after @seconds (0: none). */
void bench_begin(unsigned seconds);

/* A ring as ouro makes it: one issuer, deferred task work, the ring's descriptor registered. */
void bench_ring_open(struct io_uring *ring, unsigned sq_entries, unsigned cq_entries);

/* The next free SQE, after handing in those that fill the queue.  Inline, because it is measured.
 */
static inline struct io_uring_sqe *bench_ring_sqe(struct io_uring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    while (sqe == NULL) {
        (void)io_uring_submit(ring);
        sqe = io_uring_get_sqe(ring);
    }
    return sqe;
}

/* Submits, waits for a completion, and hands @completed each that is there, and @arg.  Inline, as
 * above. */
static inline void bench_ring_turn(struct io_uring *ring,
                                   void (*completed)(const struct io_uring_cqe *cqe, int arg),
                                   int arg)
{
    int rc = io_uring_submit_and_wait(ring, 1);
    if (rc < 0 && rc != -EINTR)
        bench_die("io_uring_submit_and_wait", -rc);
    struct io_uring_cqe *cqe = NULL;
    unsigned head = 0;
    unsigned count = 0;
    io_uring_for_each_cqe(ring, head, cqe)
    {
        count++;
        completed(cqe, arg);
    }
    io_uring_cq_advance(ring, count);
}

/* What a connect client says at its end. */
void bench_report_connects(uint64_t begun_ns, long total);

#endif
