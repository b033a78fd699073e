/* SPDX-License-Identifier: MIT */
/*
 * What operations on sockets cost, as ratios to the system calls they replace.
 *
 * Both ends of a connection belong to the measured thread wherever that is possible: no scheduler
 * decides then, and the ratio repeats within a few per cent on a busy machine.  Where a wake-up is
 * the thing to be measured, both threads share one processor.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

enum { UD_SEND = 1, UD_RECV = 2, UD_TIMER = 3, UD_REMOVE = 4, UD_CONNECT = 5, UD_ACCEPT = 6 };
enum { BYTES = 64, ROUNDS = 40 };

static void reap(struct kt *t, int count)
{
    struct kt_cqe cqe;
    for (int i = 0; i < count; i++)
        (void)kt_try_wait(t, KT_WAIT_MS, &cqe);
}

/* --- a byte through a connection ---------------------------------------------------------------
 */

static void send_recv_ring(struct kt *t, void *arg, int calls)
{
    const int *fds = arg;
    char out[BYTES] = {0};
    char in[BYTES];
    for (int i = 0; i < calls; i++) {
        kt_prep_send(t, fds[0], out, BYTES, 0, UD_SEND);
        kt_prep_recv(t, fds[1], in, BYTES, 0, UD_RECV);
        (void)kt_try_submit(t);
        reap(t, 2);
    }
}

static void send_recv_calls(struct kt *t, void *arg, int calls)
{
    (void)t;
    const int *fds = arg;
    char bytes[BYTES] = {0};
    for (int i = 0; i < calls; i++) {
        (void)!send(fds[0], bytes, BYTES, MSG_NOSIGNAL);
        (void)!recv(fds[1], bytes, BYTES, 0);
    }
}

static void send_recv(struct kt *t)
{
    int fds[2];
    kt_pin(t);
    kt_tcp_pair(t, fds);
    const double ratio = kt_cost_ratio(t, send_recv_ring, send_recv_calls, fds, ROUNDS, 40);
    kt_note(t, "SEND and RECV in one submit cost %.2f times send(2) and recv(2)", ratio);
    KT_EXPECT_SLOW_LE(t, ratio * 100, 250 * t->slack, "cost in %% of the two system calls");
}

/* --- a receive that has to wait: armed, then satisfied ------------------------------------------
 */

struct epoll_work {
    int fds[2];
    int epoll_fd;
};

static void armed_ring(struct kt *t, void *arg, int calls)
{
    const int *fds = ((const struct epoll_work *)arg)->fds;
    char in[BYTES];
    for (int i = 0; i < calls; i++) {
        kt_prep_recv(t, fds[1], in, BYTES, 0, UD_RECV);
        (void)kt_try_submit(t);
        (void)!send(fds[0], "0123456789", 10, MSG_NOSIGNAL);
        reap(t, 1);
    }
}

static void armed_epoll(struct kt *t, void *arg, int calls)
{
    (void)t;
    const struct epoll_work *work = arg;
    char in[BYTES];
    struct epoll_event event;
    for (int i = 0; i < calls; i++) {
        (void)!send(work->fds[0], "0123456789", 10, MSG_NOSIGNAL);
        (void)epoll_wait(work->epoll_fd, &event, 1, KT_WAIT_MS);
        (void)!recv(work->fds[1], in, BYTES, MSG_DONTWAIT);
    }
}

struct multishot_work {
    int *fds;
    struct kt_buffers *buffers;
    struct epoll_work *epoll;
};

static void armed_multishot(struct kt *t, void *arg, int calls)
{
    const struct multishot_work *work = arg;
    struct kt_cqe cqe = {0};
    for (int i = 0; i < calls; i++) {
        (void)!send(work->fds[0], "0123456789", 10, MSG_NOSIGNAL);
        if (!kt_try_wait(t, KT_WAIT_MS, &cqe) || KT_HAS(cqe, IORING_CQE_F_MORE) == 0)
            break;
        kt_buffers_give(work->buffers, kt_buffer_id(cqe));
    }
}

static void open_epoll(struct kt *t, struct epoll_work *work)
{
    struct epoll_event event = {.events = EPOLLIN};
    kt_tcp_pair(t, work->fds);
    work->epoll_fd = (int)KT_SYS(t, epoll_create1(EPOLL_CLOEXEC));
    KT_SYS(t, epoll_ctl(work->epoll_fd, EPOLL_CTL_ADD, work->fds[1], &event));
}

static void armed_receive(struct kt *t)
{
    struct epoll_work work;
    kt_pin(t);
    open_epoll(t, &work);
    const double ratio = kt_cost_ratio(t, armed_ring, armed_epoll, &work, ROUNDS, 40);
    kt_note(t, "a receive that waits costs %.2f times epoll_wait(2) and recv(2)", ratio);
    KT_EXPECT_SLOW_LE(t, ratio * 100, 250 * t->slack, "cost in %% of epoll_wait(2) and recv(2)");
}

static void multishot_epoll(struct kt *t, void *arg, int calls)
{
    armed_epoll(t, ((struct multishot_work *)arg)->epoll, calls);
}

static void multishot_receive(struct kt *t)
{
    int fds[2];
    struct epoll_work epoll;
    struct kt_buffers buffers;
    kt_pin(t);
    kt_tcp_pair(t, fds);
    open_epoll(t, &epoll);
    kt_buffers_open(t, &buffers, 1, 16, 16, 256, 0);
    kt_prep_recv_multishot(t, fds[1], 1, UD_RECV);
    kt_submit(t, 1);
    struct multishot_work work = {.fds = fds, .buffers = &buffers, .epoll = &epoll};
    const double ratio = kt_cost_ratio(t, armed_multishot, multishot_epoll, &work, ROUNDS, 40);
    kt_note(t, "a multishot receive costs %.2f times epoll_wait(2) and recv(2)", ratio);
    KT_EXPECT_SLOW_LE(t, ratio * 100, 200 * t->slack, "cost in %% of epoll_wait(2) and recv(2)");
    kt_write(t, fds[0], "x", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "the multishot receive is still armed");
}

/* --- connections --------------------------------------------------------------------------------
 */

struct listen_work {
    int listener;
    struct sockaddr_in addr;
};

/* A client that resets: thousands of sockets in TIME_WAIT would change what is measured. */
static void drop(int client, int server)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    (void)close(client);
    (void)close(server);
}

static void connect_ring(struct kt *t, void *arg, int calls)
{
    struct listen_work *work = arg;
    for (int i = 0; i < calls; i++) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        kt_prep_connect(t, fd, &work->addr, sizeof(work->addr), UD_CONNECT);
        (void)kt_try_submit(t);
        reap(t, 1);
        drop(fd, accept4(work->listener, NULL, NULL, SOCK_CLOEXEC));
    }
}

static void accept_ring(struct kt *t, void *arg, int calls)
{
    struct listen_work *work = arg;
    for (int i = 0; i < calls; i++) {
        struct kt_cqe cqe = {.res = -1};
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void)connect(fd, (struct sockaddr *)&work->addr, sizeof(work->addr));
        kt_prep_accept(t, work->listener, 0, UD_ACCEPT);
        (void)kt_try_submit(t);
        (void)kt_try_wait(t, KT_WAIT_MS, &cqe);
        drop(fd, cqe.res);
    }
}

static void connection_calls(struct kt *t, void *arg, int calls)
{
    (void)t;
    struct listen_work *work = arg;
    for (int i = 0; i < calls; i++) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void)connect(fd, (struct sockaddr *)&work->addr, sizeof(work->addr));
        drop(fd, accept4(work->listener, NULL, NULL, SOCK_CLOEXEC));
    }
}

static void measure_connections(struct kt *t, kt_work_fn *run, const char *what)
{
    struct listen_work work = {0};
    kt_pin(t);
    work.listener = kt_tcp_listen(t, 16, &work.addr);
    const double ratio = kt_cost_ratio(t, run, connection_calls, &work, ROUNDS, 5);
    kt_note(t, "a connection with %s through the ring costs %.2f times one without", what, ratio);
    KT_EXPECT_SLOW_LE(t, ratio * 100, 200 * t->slack, "cost in %% of a connection by system calls");
}

static void connect_cost(struct kt *t)
{
    measure_connections(t, connect_ring, "CONNECT");
}

static void accept_cost(struct kt *t)
{
    measure_connections(t, accept_ring, "ACCEPT");
}

/* --- timers, wake-ups ---------------------------------------------------------------------------
 */

static void timer_ring(struct kt *t, void *arg, int calls)
{
    (void)arg;
    const struct __kernel_timespec ts = kt_ts_ms(60000);
    for (int i = 0; i < calls; i++) {
        kt_prep_timeout(t, &ts, 0, 0, UD_TIMER);
        kt_sqe(t, IORING_OP_TIMEOUT_REMOVE, -1, UD_REMOVE)->addr = UD_TIMER;
        (void)kt_try_submit(t);
        reap(t, 2);
    }
}

static void timer_calls(struct kt *t, void *arg, int calls)
{
    (void)t;
    const int fd = *(int *)arg;
    const struct itimerspec set = {.it_value.tv_sec = 60};
    const struct itimerspec clear = {{0, 0}, {0, 0}};
    for (int i = 0; i < calls; i++) {
        (void)timerfd_settime(fd, 0, &set, NULL);
        (void)timerfd_settime(fd, 0, &clear, NULL);
    }
}

static void timer_cost(struct kt *t)
{
    kt_pin(t);
    int fd = (int)KT_SYS(t, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    const double ratio = kt_cost_ratio(t, timer_ring, timer_calls, &fd, ROUNDS, 100);
    kt_note(t, "TIMEOUT and its removal cost %.2f times two timerfd_settime(2)", ratio);
    KT_EXPECT_SLOW_LE(t, ratio * 100, 400 * t->slack, "cost in %% of two timerfd_settime(2)");
}

/* Another thread on the same processor answers each byte with a byte. */
struct echo {
    int fd;
};

static void *echo_bytes(void *arg)
{
    const struct echo *echo = arg;
    char byte = 0;
    while (read(echo->fd, &byte, 1) == 1)
        if (write(echo->fd, &byte, 1) != 1)
            break;
    return arg;
}

static void ping_ring(struct kt *t, void *arg, int calls)
{
    const int fd = ((const int *)arg)[0];
    char out = 'p';
    char in = 0;
    for (int i = 0; i < calls; i++) {
        kt_prep_send(t, fd, &out, 1, 0, UD_SEND);
        kt_prep_recv(t, fd, &in, 1, 0, UD_RECV);
        (void)io_uring_submit_and_wait(&t->ring.ring, 2);
        reap(t, 2);
    }
}

static void ping_calls(struct kt *t, void *arg, int calls)
{
    (void)t;
    const int fd = ((const int *)arg)[0];
    char byte = 'p';
    for (int i = 0; i < calls; i++) {
        (void)!write(fd, &byte, 1);
        (void)!read(fd, &byte, 1);
    }
}

static void ping_pong(struct kt *t)
{
    int fds[2];
    struct kt_thread thread;
    kt_pin(t);
    kt_tcp_pair(t, fds);
    struct echo echo = {.fd = fds[1]};
    kt_thread_start(t, &thread, echo_bytes, &echo);
    const double ratio = kt_cost_ratio(t, ping_ring, ping_calls, fds, ROUNDS, 10);
    KT_SYS(t, shutdown(fds[0], SHUT_RDWR));
    (void)kt_thread_join(t, &thread);
    kt_note(t, "a round trip costs %.2f times write(2) and read(2)", ratio);
    KT_EXPECT_SLOW_LE(t, ratio * 100, 200 * t->slack, "cost in %% of write(2) and read(2)");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "cost.send-recv",
        .alias = "P004",
        .sentence = "A SEND and a RECV that are ready, in one submit, cost at most 2.5 times "
                    "send(2) and recv(2).",
        .source = "measured on the kernels of the matrix",
        .since = "5.7",
        .absence = "Not applicable.",
        .impact = "Every message costs more than by system calls.",
        .avoid = "Batch operations of many connections, or use epoll.",
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = send_recv,
    },
    {
        .id = "cost.armed-receive",
        .alias = "P005",
        .sentence = "A receive that has to wait costs at most 2.5 times epoll_wait(2) and "
                    "recv(2).",
        .source = "measured on the kernels of the matrix",
        .since = "5.7",
        .absence = "Not applicable.",
        .impact = "An idle connection's next message costs more than with epoll.",
        .avoid = "Measure against epoll before choosing the ring.",
        .needs = KT_NEEDS(FAST_POLL),
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = armed_receive,
    },
    {
        .id = "cost.multishot-receive",
        .alias = "P006",
        .sentence = "A multishot receive costs at most twice epoll_wait(2) and recv(2), and stays "
                    "armed.",
        .source = "measured on the kernels of the matrix",
        .since = "6.0",
        .absence = "Not applicable.",
        .impact = "The fast way to receive is slower than the old one.",
        .avoid = "Use single receives.",
        .needs = KT_NEEDS(RECV_MULTISHOT) | KT_NEEDS(PBUF_RING),
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = multishot_receive,
    },
    {
        .id = "cost.connect",
        .alias = "P007",
        .sentence = "A connection opened by CONNECT costs at most twice one by connect(2).",
        .source = "measured on the kernels of the matrix",
        .since = "5.7",
        .absence = "Not applicable.",
        .impact = "A proxy opens connections at half its rate.",
        .avoid = "Use a non-blocking connect(2) and a poll.",
        .needs = KT_NEEDS(FAST_POLL),
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = connect_cost,
    },
    {
        .id = "cost.accept",
        .alias = "P008",
        .sentence = "A connection taken by ACCEPT costs at most twice one by accept4(2).",
        .source = "measured on the kernels of the matrix",
        .since = "5.7",
        .absence = "Not applicable.",
        .impact = "A server takes connections at half its rate.",
        .avoid = "Use accept4(2) after a poll.",
        .needs = KT_NEEDS(FAST_POLL),
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = accept_cost,
    },
    {
        .id = "cost.timer",
        .alias = "P009",
        .sentence = "A TIMEOUT and its removal cost at most four times setting and clearing a "
                    "timerfd.",
        .source = "measured on the kernels of the matrix",
        .since = "5.5",
        .absence = "Not applicable.",
        .impact = "Idle timeouts for many connections are expensive.",
        .avoid = "Keep timers in user space and give the wait a limit.",
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = timer_cost,
    },
    {
        .id = "cost.ping-pong",
        .alias = "P010",
        .sentence = "A round trip with another thread on the same processor costs at most twice "
                    "one by write(2) and read(2).",
        .source = "13.6 to 14.5 us where system calls take 12.8",
        .since = "5.7",
        .absence = "Not applicable.",
        .impact = "Every request waits longer for its answer.",
        .avoid = "Measure against epoll before choosing the ring.",
        .needs = KT_NEEDS(FAST_POLL),
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = ping_pong,
    },
};

const struct kt_area kt_area_cost_net = KT_AREA("cost on the network", assertions);
