/* SPDX-License-Identifier: MIT */
/*
 * CONNECT of AF_UNIX sockets, which have no state "in progress".
 *
 * The connection is made at once or, when the listener's queue is full, not at all: an O_NONBLOCK
 * socket gets -EAGAIN, a blocking one waits.  There is nothing to poll for, so the ring can only
 * try again (many kernels: 128 times) or let a worker thread wait.
 */
#include "fixture/kt.h"

enum {
    UD_CONNECT = 1,
    UD_CANCEL = 2,
    COST_ROUNDS = 7,
    COST_CALLS = 40,
    COST_LIMIT = 20,
    CANCEL_TRIES = 5
};

struct full_listener {
    struct sockaddr_un addr;
    socklen_t addr_len;
    int listener;
    int client; /* O_NONBLOCK, not connected */
};

static int unix_socket(struct kt *t, int type_flags)
{
    return (int)KT_SYS(t, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0));
}

static void fill_listener(struct kt *t, struct full_listener *full)
{
    full->listener = kt_unix_listen(t, 0, &full->addr, &full->addr_len);
    int rc = 0;
    for (int i = 0; i < 16 && rc == 0; i++) {
        full->client = unix_socket(t, SOCK_NONBLOCK);
        rc = connect(full->client, (const struct sockaddr *)&full->addr, full->addr_len);
    }
    KT_REQUIRE(t, rc < 0 && errno == EAGAIN, "the listener's queue does not fill");
}

static void connect_unix(struct kt *t)
{
    struct sockaddr_un addr;
    socklen_t addr_len;
    const int listener = kt_unix_listen(t, 8, &addr, &addr_len);
    static const int modes[] = {0, SOCK_NONBLOCK};
    for (int i = 0; i < 2; i++) {
        const char *mode = i == 0 ? "a blocking socket" : "an O_NONBLOCK socket";
        const int fd = unix_socket(t, modes[i]);
        kt_prep_connect(t, fd, &addr, addr_len, UD_CONNECT);
        kt_submit(t, 1);
        KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, 0, "CONNECT of %s", mode);
        KT_EXPECT_GE(t, accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), 0,
                     "accept(2) of the connection of %s", mode);
    }
    KT_SYS(t, close(listener));
    kt_prep_connect(t, unix_socket(t, 0), &addr, addr_len, UD_CONNECT);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, -ECONNREFUSED,
                  "CONNECT to a name nobody has any more");
}

static void by_ring(struct kt *t, void *arg, int calls)
{
    const struct full_listener *full = arg;
    for (int i = 0; i < calls; i++) {
        kt_prep_connect(t, full->client, &full->addr, full->addr_len, UD_CONNECT);
        struct io_uring_cqe *cqe = NULL;
        const int rc = io_uring_submit_and_wait(&t->ring.ring, 1);
        KT_REQUIRE(t, rc == 1, "io_uring_submit_and_wait: %d", rc);
        KT_REQUIRE(t, io_uring_peek_cqe(&t->ring.ring, &cqe) == 0, "no completion");
        KT_REQUIRE(t, cqe->res == -EAGAIN, "CONNECT: %d", cqe->res);
        io_uring_cqe_seen(&t->ring.ring, cqe);
    }
}

static void by_system_call(struct kt *t, void *arg, int calls)
{
    const struct full_listener *full = arg;
    for (int i = 0; i < calls; i++) {
        const int rc = connect(full->client, (const struct sockaddr *)&full->addr, full->addr_len);
        KT_REQUIRE(t, rc < 0 && errno == EAGAIN, "connect(2): %d", rc);
    }
}

static void connect_unix_backlog(struct kt *t)
{
    struct full_listener full;
    fill_listener(t, &full);
    kt_prep_connect(t, full.client, &full.addr, full.addr_len, UD_CONNECT);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, -EAGAIN,
                  "CONNECT of an O_NONBLOCK socket to a full listener");
    kt_pin(t);
    const double ratio = kt_cost_ratio(t, by_ring, by_system_call, &full, COST_ROUNDS, COST_CALLS);
    KT_EXPECT_SLOW_LE(t, ratio, COST_LIMIT, "times the cost of connect(2) doing the same");
}

static void connect_unix_waits(struct kt *t)
{
    struct full_listener full;
    fill_listener(t, &full);
    kt_prep_connect(t, unix_socket(t, 0), &full.addr, full.addr_len, UD_CONNECT);
    kt_submit(t, 1);
    kt_expect_silence(t, 20, "a blocking CONNECT to a full listener");
    KT_SYS(t, accept4(full.listener, NULL, NULL, SOCK_CLOEXEC));
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, 0, "the CONNECT after accept(2) made room");
}

/* Until a worker thread has taken the request up; a DEFER ring hands it over only in an enter. */
static void wait_for_worker(struct kt *t)
{
    struct kt_cqe cqe;
    const int64_t start_ns = kt_now_ns();
    while (kt_worker_count(t) == 0 && kt_ms_since(start_ns) < kt_slack_ms(t, 2000))
        KT_REQUIRE(t, !kt_try_wait_for(t, UD_CONNECT, 1, &cqe), "the CONNECT completed");
}

static void connect_unix_cancel(struct kt *t)
{
    struct full_listener full;
    fill_listener(t, &full);
    kt_prep_connect(t, unix_socket(t, 0), &full.addr, full.addr_len, UD_CONNECT);
    kt_submit(t, 1);
    wait_for_worker(t);
    kt_expect_silence(t, 20, "a blocking CONNECT to a full listener");
    int cancelled = 0;
    int tries = 0;
    bool ended = false;
    struct kt_cqe cqe = {0};
    /* 7.2 sometimes returns -ENOENT for a request that it did interrupt, so the request's own
     * result decides. */
    while (!ended && tries < CANCEL_TRIES) {
        kt_prep_cancel(t, UD_CONNECT, 0, UD_CANCEL);
        kt_submit(t, 1);
        cancelled = kt_wait_for(t, UD_CANCEL).res;
        ended = kt_try_wait_for(t, UD_CONNECT, (int)kt_slack_ms(t, 200), &cqe);
        tries++;
    }
    const int connected = cqe.res;
    KT_EXPECT_EQ(t, ended, 1, "CONNECTs that ended after %d cancels", tries);
    KT_EXPECT_LE(t, connected, -1, "result of the cancelled CONNECT");
    KT_EXPECT_GE(t, connected, -EHWPOISON, "result of the cancelled CONNECT, an errno of errno.h");
    kt_metric(t, "cancel_tries", tries);
    kt_note(t, "ASYNC_CANCEL %d, the CONNECT %d", cancelled, connected);
}

static const struct kt_assertion assertions[] = {
    {
        .id = "connect.unix",
        .sentence = "CONNECT of an AF_UNIX socket completes with 0, or with -ECONNREFUSED when "
                    "nobody has the name.",
        .source = "unix(7), connect(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "Clients of local services fail.",
        .avoid = "Connect AF_UNIX sockets with connect(2).",
        .rings = KT_ON_BOTH,
        .run = connect_unix,
    },
    {
        .id = "connect.unix-backlog",
        .alias = "K011",
        .sentence = "CONNECT of an O_NONBLOCK AF_UNIX socket to a full listener completes with "
                    "-EAGAIN at no more than 20 times the cost of connect(2).",
        .source = "connect(2); fixed in 6.12.117, 7.3",
        .since = "5.7",
        .broken = "5.10 to 7.2 with all stables but 6.12.117 (over 100 times); 7.3 is right",
        .absence = "The opcode is in the probe since 5.5; the cost is measured in the same run.",
        .impact = "A client of an overloaded local service burns a processor, a thread's worth a "
                  "few thousand attempts a second.",
        .avoid = "Connect AF_UNIX sockets with connect(2).",
        .guards = "128 retries where nothing can be polled for",
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = connect_unix_backlog,
    },
    {
        .id = "connect.unix-waits",
        .sentence = "CONNECT of a blocking AF_UNIX socket to a full listener waits and completes "
                    "with 0 once there is room.",
        .source = "unix(7), connect(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "Clients of a busy local service fail, or wait for ever.",
        .avoid = "Use O_NONBLOCK AF_UNIX sockets and try again after a while.",
        .rings = KT_ON_BOTH,
        .run = connect_unix_waits,
    },
    {
        .id = "connect.unix-cancel",
        .sentence = "A CONNECT that waits in a worker thread ends with an error of errno.h when "
                    "cancelled: as a rule -EINTR, the cancel having said -EALREADY.",
        .source = "io_uring_prep_cancel(3): already running",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; a request that stays is breakage.",
        .impact = "A worker thread and its socket are held for ever.",
        .avoid = "Use O_NONBLOCK AF_UNIX sockets with CONNECT.",
        .rings = KT_ON_BOTH,
        .flags = KT_F_INFO,
        .run = connect_unix_cancel,
    },
};

const struct kt_area kt_area_connect_unix = KT_AREA("connect of AF_UNIX", assertions);
