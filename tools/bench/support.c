/* SPDX-License-Identifier: MIT */
/*
 * What the programs that ouro is compared with share.
 *
 * They are measured, not used: whatever goes wrong ends them with a message and exit code 1, and
 * tools/bench/compare then says which one it was.
 *
 * Owns:    nothing.
 * Threads: each program has one.
 */
#include "support.h"

#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void bench_die(const char *what, int error)
{
    (void)fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(1);
}

long bench_number(const char *what, const char *text, long min, long max)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max) {
        (void)fprintf(stderr, "%s: '%s' is no number from %ld to %ld\n", what, text, min, max);
        exit(2);
    }
    return value;
}

uint64_t bench_clock_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        bench_die("clock_gettime", errno);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_now_ns(void)
{
    return bench_clock_ns(CLOCK_MONOTONIC);
}

uint64_t bench_cpu_ns(void)
{
    return bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

clockid_t bench_cpu_clock(long pid)
{
    clockid_t clock = 0;
    int rc = clock_getcpuclockid((pid_t)pid, &clock);
    if (rc != 0)
        bench_die("the server's CPU clock", rc);
    return clock;
}

struct sockaddr_in bench_address(long port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return addr;
}

int bench_listen(long port, int flags)
{
    const int one = 1;
    struct sockaddr_in addr = bench_address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        bench_die("socket", errno);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) /* is inherited */
        bench_die("setsockopt", errno);
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
        bench_die("bind", errno);
    if (listen(fd, 4096) != 0)
        bench_die("listen", errno);
    return fd;
}

int bench_connect(long port)
{
    const struct sockaddr_in address = bench_address(port);
    const struct linger reset = {.l_onoff = 1};
    const int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_die("socket", errno);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        bench_die("connect", errno);
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) != 0)
        bench_die("setsockopt", errno);
    return fd;
}

void bench_begin(unsigned seconds)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct rlimit limit;
    (void)sigaction(SIGPIPE, &ignore, NULL);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)alarm(seconds);
}

void bench_ring_open(struct io_uring *ring, unsigned sq_entries, unsigned cq_entries)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = cq_entries,
    };
    int rc = io_uring_queue_init_params(sq_entries, ring, &params);
    if (rc < 0)
        bench_die("io_uring_queue_init_params", -rc);
    rc = io_uring_register_ring_fd(ring);
    if (rc < 0)
        bench_die("io_uring_register_ring_fd", -rc);
}

void bench_report_connects(uint64_t begun_ns, long total)
{
    double seconds = (double)(bench_now_ns() - begun_ns) / 1e9;
    printf("{\"rate\": %.0f, \"secs\": %.4f, \"cpu_us\": %.4f}\n", (double)total / seconds, seconds,
           (double)bench_cpu_ns() / 1e3 / (double)total);
}
