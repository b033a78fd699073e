/* SPDX-License-Identifier: MIT */
/*
 * Peers that mean harm, or are broken: they cost a bounded amount of memory each, the idle limit
 * ends them, and other connections are served as before.
 *
 * The time of an answer is compared within a run: the 99th percentile of a round of questions
 * beside the hostile peers, against that of the middle one of the rounds without them.  A busy
 * machine makes single rounds slow, so one round of many has to keep to it.  All of it runs on one
 * processor: an answer within a processor takes a tenth of one that wakes another, and which of
 * them it is would be the scheduler's choice.
 */
#include "net/serve_rig.h"
#include "volume.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>

#include "ouro/reader.h"
#include "ouro/time.h"

enum {
    HOSTILE_PART = 200,
    HOSTILE_FULL = 2000,
    ROUNDS_ALONE = 9,
    QUESTIONS = 200,
    ANSWER_BIG = 1 << 20,
    LINE_MAX_SIZE = 256,
    /* The number of ouro/serve.h: the stack's pages, the stream, and a buffer on loan.  What the
     * kernel has for a socket is not counted. */
    MEMORY_MAX = 24 * 1024,
};

#define IDLE_NS (2 * OURO_SECOND)
/* For so long a round is looked for that was not disturbed by other programs. */
#define TRY_NS (10 * OURO_SECOND)

struct attack {
    const char *name;
    /* A new peer's first act. */
    void (*begin)(int fd);
    /* What each peer goes on with; NULL: nothing. */
    void (*go_on)(struct rig *rig, int *fd);
    bool is_idle; /* the server cuts them */
};

/* Answers lines; a 'b' asks for a big answer. */
static int serve_lines(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    static const char big[ANSWER_BIG];
    struct ouro_reader reader;
    const void *line = NULL;
    ssize_t n = 0;
    int rc = 0;
    (void)peer, (void)arg;
    ck_assert_int_eq(ouro_reader_init(&reader, stream), 0);
    while (rc == 0 && (n = ouro_reader_read_until(&reader, "\n", 1, LINE_MAX_SIZE, &line)) > 0) {
        bool is_big = *(const char *)line == 'b';
        rc = is_big ? ouro_stream_write_all(stream, big, sizeof(big), NULL)
                    : ouro_stream_write_all(stream, line, (size_t)n, NULL);
    }
    ouro_reader_fini(&reader);
    return rc < 0 ? rc : (int)n;
}

static void say_nothing(int fd)
{
    (void)fd;
}

static void ask_for_much(int fd)
{
    ouro_test_write_exactly(fd, "b\nb\nb\n", 6);
}

static void end_half(int fd)
{
    ouro_test_write_exactly(fd, "b\n", 2);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
}

/* One byte in a segment of its own. */
static void drip(struct rig *rig, int *fd)
{
    const int on = 1;
    (void)rig;
    ck_assert_int_eq(setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    (void)send(*fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void drip_lines(struct rig *rig, int *fd)
{
    char back[16];
    drip(rig, fd);
    (void)send(*fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)recv(*fd, back, sizeof(back), MSG_DONTWAIT);
}

static void reset_and_return(struct rig *rig, int *fd)
{
    ouro_test_reset(*fd);
    *fd = rig_connect(rig);
    ouro_test_write_exactly(*fd, "half a li", 9);
}

static const struct attack attacks[] = {
    {"never reads", ask_for_much, NULL, true},
    {"half-closed, never reads", end_half, NULL, true},
    {"slowloris", say_nothing, drip, false},
    {"one-byte segments", say_nothing, drip_lines, false},
    {"resets", say_nothing, reset_and_return, false},
};

static int compare_times(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a;
    const int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* A round of questions; what 99 of 100 took at most.  The peers act before it: a question that
 * comes with what they do would measure the processors of this machine. */
static int64_t round_p99(struct rig *rig, int asker, const struct attack *attack, int *peers,
                         unsigned count)
{
    int64_t took[QUESTIONS];
    for (unsigned i = 0; attack->go_on != NULL && i < count; i++)
        attack->go_on(rig, &peers[i]);
    for (unsigned i = 0; i < QUESTIONS; i++) {
        int64_t begin_ns = ouro_test_now_ns();
        rig_exchange(asker, "question\n");
        took[i] = ouro_test_now_ns() - begin_ns;
        if (i == 0) /* it came behind what they did */
            took[i] = 0;
    }
    qsort(took, QUESTIONS, sizeof(took[0]), compare_times);
    return took[QUESTIONS * 99 / 100];
}

static long resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d %ld", &pages), 1);
    (void)fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static unsigned wanted; /* of the rig that runs */

static bool all_are_served(void *arg)
{
    return rig_stats(arg).accepted >= wanted + 1;
}

static bool only_the_asker_is_left(void *arg)
{
    return rig_stats(arg).active == 1;
}

static void attack_client(struct rig *rig)
{
    const struct attack *attack = rig->data;
    unsigned count = volume_of(HOSTILE_PART, HOSTILE_FULL);
    int *peers = calloc(count, sizeof(*peers));
    int asker = rig_connect(rig);
    int64_t alone[ROUNDS_ALONE];
    int64_t beside_ns = INT64_MAX;
    ck_assert_ptr_nonnull(peers);
    for (int i = 0; i < ROUNDS_ALONE; i++)
        alone[i] = round_p99(rig, asker, attack, peers, 0);
    qsort(alone, ROUNDS_ALONE, sizeof(alone[0]), compare_times);
    int64_t alone_ns = alone[ROUNDS_ALONE / 2];
    long before = resident_bytes();
    wanted = count;
    for (unsigned i = 0; i < count; i++) {
        peers[i] = rig_connect(rig);
        attack->begin(peers[i]);
        if (i % 64 == 0)
            rig_exchange(asker, "still here\n"); /* it is not idle, so the server keeps it */
    }
    while (!all_are_served(rig))
        rig_exchange(asker, "still here\n");
    const int64_t until_ns = ouro_test_now_ns() + TRY_NS;
    while (beside_ns > 2 * alone_ns && ouro_test_now_ns() < until_ns)
        beside_ns = round_p99(rig, asker, attack, peers, count);
    ck_assert_msg(beside_ns <= 2 * alone_ns, "%s: %lld us instead of %lld", attack->name,
                  (long long)beside_ns / 1000, (long long)alone_ns / 1000);
    long each = (resident_bytes() - before) / (long)count;
    ck_assert_msg(!volume_tells_memory() || each <= MEMORY_MAX, "%s: %ld bytes for each",
                  attack->name, each);
    if (attack->is_idle) {
        while (!only_the_asker_is_left(rig))
            rig_exchange(asker, "still here\n");
    }
    for (unsigned i = 0; i < count; i++)
        ouro_test_reset(peers[i]);
    (void)close(asker);
    free(peers);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int endure(void *arg)
{
    struct rig rig = {.handler = serve_lines, .client = attack_client, .data = arg};
    rig.options.idle_ns = IDLE_NS;
    ck_assert_int_eq(rig_run(&rig), 0);
    return 0;
}

static void stay_on_one_processor(void)
{
    cpu_set_t here;
    int cpu = sched_getcpu();
    ck_assert_int_ge(cpu, 0);
    CPU_ZERO(&here);
    CPU_SET((unsigned)cpu, &here);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(here), &here), 0);
}

static void endure_attack(const char *name)
{
    stay_on_one_processor();
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        if (strcmp(attacks[i].name, name) == 0)
            in_place(IN_TASK, endure, (void *)(uintptr_t)&attacks[i]);
    }
}

OURO_TEST(peers_that_never_read_harm_nobody, .timeout_s = 120)
{
    endure_attack("never reads");
}

OURO_TEST(half_closed_peers_harm_nobody, .timeout_s = 120)
{
    endure_attack("half-closed, never reads");
}

OURO_TEST(peers_that_never_finish_a_line_harm_nobody, .timeout_s = 120)
{
    endure_attack("slowloris");
}

OURO_TEST(segments_of_one_byte_harm_nobody, .timeout_s = 120)
{
    endure_attack("one-byte segments");
}

OURO_TEST(storms_of_resets_harm_nobody, .timeout_s = 120)
{
    endure_attack("resets");
}
