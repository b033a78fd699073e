/* SPDX-License-Identifier: MIT */
/*
 * What an idle connection costs, and what a process gives back after a peak of them: the numbers of
 * ouro/loan.h and ouro/serve.h.
 *
 * The process's anonymous memory is read from smaps_rollup, which counts exactly; the clients are
 * plain sockets of this process, and take none.
 */
#include "serve_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/compiler.h"
#include "ouro/loan.h"

/* Bytes: a page for the stack, and what is on the heap. */
enum { PARKED_MAX = 4710, REQUEST_MAX = 512 };
enum { MANY = 2000 };

/* What stays whatever the size of the peak: the C library's caches of small blocks, each of which
 * keeps a page, and the registrations that are kept. */
enum { KEPT_BYTES = 96 * 1024 };

static int echo_on_loan(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct ouro_loan loan;
    ssize_t n = 0;
    int rc = 0;
    (void)peer;
    (void)arg;
    while (rc == 0 && (n = ouro_stream_read_loan(stream, &loan)) > 0) {
        rc = ouro_stream_write_all(stream, loan.data, loan.size, NULL);
        ouro_loan_release(&loan);
    }
    return n < 0 ? (int)n : rc;
}

static int echo_a_request(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    char text[16];
    (void)peer;
    (void)arg;
    ssize_t n = ouro_stream_read(stream, text, sizeof(text));
    int rc = n < 0 ? (int)n : ouro_stream_write_all(stream, text, (size_t)n, NULL);
    return rc < 0 || n == 0 ? rc : OURO_SERVE_KEEP;
}

static int64_t anonymous_bytes(void)
{
    char line[256];
    long long kib = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    if (file == NULL)
        ouro_test_skip("/proc/self/smaps_rollup: %m");
    while (kib < 0 && fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, "Anonymous: %lld kB", &kib);
    (void)fclose(file);
    ck_assert_int_ge(kib, 0);
    return kib * 1024;
}

struct peak {
    int count;
    int64_t per_connection_max;
    int64_t before, held;
    int fds[MANY];
};

static bool is_given_back(void *arg)
{
    const struct peak *peak = arg;
    return anonymous_bytes() - peak->before <= (peak->held - peak->before) / 10 + KEPT_BYTES;
}

static void client(struct rig *rig)
{
    struct peak *peak = rig->data;
    for (int i = 0; i < 2; i++) { /* what the first connections make is not theirs alone */
        int fd = rig_connect(rig);
        rig_exchange(fd, "first");
        (void)close(fd);
    }
    peak->before = anonymous_bytes();
    for (int i = 0; i < peak->count; i++) {
        peak->fds[i] = rig_connect(rig);
        rig_exchange(peak->fds[i], "hello");
    }
    peak->held = anonymous_bytes();
    int64_t each = (peak->held - peak->before) / peak->count;
    ck_assert_int_gt(each, 0);
    ck_assert_int_le(each, peak->per_connection_max);
    for (int i = 0; i < peak->count; i++)
        (void)close(peak->fds[i]);
    ck_assert(ouro_test_until(is_given_back, peak, 10 * OURO_TEST_SECOND));
    ouro_server_stop(rig->server);
}

static int serve_peak(void *arg)
{
    return rig_run(arg);
}

static void hold_a_peak(ouro_serve_handler *handler, uint32_t flags, int64_t per_connection_max)
{
    static struct peak peak;
    struct rlimit limit;
#if OURO__ASAN || OURO__TSAN
    ouro_test_skip("the sanitizers take memory of their own for each connection");
#endif
    if (ouro_test_slowness() > 1)
        ouro_test_skip("memory is measured on a machine of usual speed");
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * MANY + 100)
        ouro_test_skip("too few descriptors: %llu", (unsigned long long)limit.rlim_cur);
    peak = (struct peak){.count = MANY, .per_connection_max = per_connection_max};
    for (int i = 0; i < MANY; i++)
        peak.fds[i] = -1; /* so that the array's own memory is there before */
    struct rig rig = {.handler = handler, .client = client, .data = &peak};
    rig.options.flags = flags | OURO_SERVE_F_NO_SIGNALS;
    struct ouro_runtime *runtime = open_place(IN_TASK, 0);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, serve_peak, &rig, NULL), 0);
    ouro_runtime_free(runtime);
}

OURO_TEST(a_parked_task_that_reads_on_loan_costs_a_page_and_a_half_kib)
{
    hold_a_peak(echo_on_loan, 0, PARKED_MAX);
}

OURO_TEST(an_idle_connection_in_request_mode_costs_half_a_kib)
{
    hold_a_peak(echo_a_request, OURO_SERVE_F_REQUESTS, REQUEST_MAX);
}
