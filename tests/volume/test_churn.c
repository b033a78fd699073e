/* SPDX-License-Identifier: MIT */
/*
 * Connections that come and go beside many that stay: the memory of the process does not grow, and
 * those that stay are served to the end.
 */
#include "net/serve_rig.h"
#include "volume.h"

#include <stdio.h>
#include <sys/resource.h>

#include "ouro/task.h"

enum {
    HELD_PART = 800,
    HELD_FULL = 8000,
    CHURN_PART = 20000,
    CHURN_FULL = 1000000,
    AT_ONCE = 32,
    GROWTH_MAX = 512, /* KiB */
};

struct churn {
    struct rig *rig;
    unsigned held;
    unsigned churned;
    uint32_t flags;
};

static void need_descriptors(unsigned count)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < count)
        ouro_test_skip("needs %u descriptors, may have %llu", count,
                       (unsigned long long)limit.rlim_max);
    if (limit.rlim_cur < count)
        limit.rlim_cur = count;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d %ld", &pages), 1);
    (void)fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Connections that say something, hear it, and are reset, so that no port is left waiting. */
static void come_and_go(struct rig *rig, unsigned count)
{
    int fds[AT_ONCE];
    for (unsigned done = 0; done < count; done += AT_ONCE) {
        for (unsigned i = 0; i < AT_ONCE; i++) {
            fds[i] = rig_connect(rig);
            ouro_test_write_exactly(fds[i], "12345678", 8);
        }
        for (unsigned i = 0; i < AT_ONCE; i++) {
            char back[8];
            ouro_test_read_exactly(fds[i], back, sizeof(back));
            ck_assert_mem_eq(back, "12345678", 8);
            ouro_test_reset(fds[i]);
        }
    }
}

static void churn_client(struct rig *rig)
{
    const struct churn *churn = rig->data;
    int *held = calloc(churn->held, sizeof(*held));
    ck_assert_ptr_nonnull(held);
    for (unsigned i = 0; i < churn->held; i++) {
        held[i] = rig_connect(rig);
        rig_exchange(held[i], "stays");
    }
    come_and_go(rig, churn->churned / 5);
    long before_kib = resident_kib();
    come_and_go(rig, churn->churned);
    long after_kib = resident_kib();
    ck_assert_msg(!volume_tells_memory() || after_kib - before_kib <= GROWTH_MAX,
                  "grew from %ld to %ld KiB", before_kib, after_kib);
    for (unsigned i = 0; i < churn->held; i++) {
        rig_exchange(held[i], "is still there");
        ouro_test_reset(held[i]);
    }
    free(held);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

/* In request mode: one exchange. */
static int echo_once(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    char buffer[64];
    (void)peer, (void)arg;
    ssize_t n = ouro_stream_read(stream, buffer, sizeof(buffer));
    if (n > 0)
        n = ouro_stream_write_all(stream, buffer, (size_t)n, NULL);
    return n < 0 ? (int)n : OURO_SERVE_KEEP;
}

static int churn_in(void *arg)
{
    struct churn *churn = arg;
    struct rig rig = {
        .handler = churn->flags == 0 ? rig_echo : echo_once, .client = churn_client, .data = churn};
    rig.options.flags = churn->flags;
    rig.options.per_peer_max = OURO_SERVE_NO_LIMIT;
    ck_assert_int_eq(rig_run(&rig), 0);
    return 0;
}

static void churn_with(uint32_t flags)
{
    struct churn churn = {.held = volume_of(HELD_PART, HELD_FULL),
                          .churned = volume_of(CHURN_PART, CHURN_FULL),
                          .flags = flags};
    need_descriptors(2 * churn.held + 500);
    in_place(IN_WORKER_TASK, churn_in, &churn);
}

OURO_TEST(connections_come_and_go_in_the_same_memory, .timeout_s = 600)
{
    churn_with(0);
}

OURO_TEST(connections_come_and_go_in_the_same_memory_in_request_mode, .timeout_s = 600)
{
    churn_with(OURO_SERVE_F_REQUESTS);
}
