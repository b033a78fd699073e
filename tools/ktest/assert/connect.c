/* SPDX-License-Identifier: MIT */
/*
 * IORING_OP_CONNECT.
 *
 * The kernel always tries without blocking, arms a poll when the connection takes time, and then
 * reads the result; so one completion carries the final result, whether or not the socket is
 * O_NONBLOCK.  The code that remembers "an attempt is in progress" was wrong in several stable
 * series.
 */
#include "fixture/kt.h"

enum { UD_CONNECT = 1, UD_NEXT = 2, UD_TIMER = 3, UD_FIRST_BAD = 10 };

static int64_t result_of_connect(struct kt *t, int fd, const void *addr, socklen_t len)
{
    kt_prep_connect(t, fd, addr, len, UD_CONNECT);
    kt_submit(t, 1);
    return kt_wait_for(t, UD_CONNECT).res;
}

static void connect_succeeds(struct kt *t)
{
    struct sockaddr_in addr;
    (void)kt_tcp_listen(t, 8, &addr);
    static const int modes[] = {0, SOCK_NONBLOCK};
    for (int i = 0; i < 2; i++) {
        const char *mode = i == 0 ? "a blocking socket" : "an O_NONBLOCK socket";
        const int fd = kt_tcp_socket(t, modes[i]);
        kt_prep_connect(t, fd, &addr, sizeof(addr), UD_CONNECT);
        kt_submit(t, 1);
        const struct kt_cqe cqe = kt_wait_for(t, UD_CONNECT);
        KT_EXPECT_RES(t, cqe.res, 0, "CONNECT of %s", mode);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE on CONNECT of %s", mode);
        struct sockaddr_in peer;
        socklen_t len = sizeof(peer);
        KT_EXPECT_EQ(t, getpeername(fd, (struct sockaddr *)&peer, &len), 0,
                     "getpeername() after CONNECT of %s", mode);
        kt_expect_silence(t, 5, "after CONNECT completed");
    }
}

static void connect_refused(struct kt *t)
{
    const struct sockaddr_in addr = kt_tcp_closed_port(t);
    const int fd = kt_tcp_socket(t, 0);
    kt_prep_connect(t, fd, &addr, sizeof(addr), UD_CONNECT);
    kt_submit(t, 1);
    const struct kt_cqe cqe = kt_wait_for(t, UD_CONNECT);
    KT_EXPECT_RES(t, cqe.res, -ECONNREFUSED, "CONNECT to a port nobody listens on");
    KT_EXPECT_EQ(t, kt_socket_error(t, fd), 0, "SO_ERROR after the completion carried the error");
}

static void connect_refused_again(struct kt *t)
{
    const struct sockaddr_in addr = kt_tcp_closed_port(t);
    const struct sockaddr_in any = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fds[] = {kt_tcp_socket(t, 0), kt_tcp_socket(t, 0)};
    KT_SYS(t, bind(fds[1], (const struct sockaddr *)&any, sizeof(any)));
    for (int i = 0; i < 2; i++) {
        for (int attempt = 1; attempt <= 3; attempt++)
            KT_EXPECT_RES(t, result_of_connect(t, fds[i], &addr, sizeof(addr)), -ECONNREFUSED,
                          "attempt %d on %s socket", attempt, i == 0 ? "a fresh" : "a bound");
    }
}

static void connect_already_connected(struct kt *t)
{
    struct sockaddr_in addr;
    (void)kt_tcp_listen(t, 8, &addr);
    static const int modes[] = {0, SOCK_NONBLOCK};
    for (int i = 0; i < 2; i++) {
        const char *mode = i == 0 ? "a blocking socket" : "an O_NONBLOCK socket";
        const int fd = kt_tcp_socket(t, modes[i]);
        KT_EXPECT_RES(t, result_of_connect(t, fd, &addr, sizeof(addr)), 0, "CONNECT of %s", mode);
        for (int attempt = 2; attempt <= 3; attempt++)
            KT_EXPECT_RES(t, result_of_connect(t, fd, &addr, sizeof(addr)), -EISCONN,
                          "CONNECT number %d of %s", attempt, mode);
    }
}

static void connect_bad_arguments(struct kt *t)
{
    struct sockaddr_in addr;
    (void)kt_tcp_listen(t, 8, &addr);
    struct sockaddr_in foreign = addr;
    foreign.sin_family = AF_INET6;
    int pipe_fds[2];
    KT_SYS(t, pipe(pipe_fds));
    const int unused_fd = 500; /* far above what is open here */
    const struct {
        int fd;
        const void *addr;
        socklen_t len;
        int result;
        const char *what;
    } cases[] = {
        {unused_fd, &addr, sizeof(addr), -EBADF, "a descriptor that is not open"},
        {pipe_fds[0], &addr, sizeof(addr), -ENOTSOCK, "a pipe"},
        {kt_tcp_socket(t, 0), &addr, sizeof(addr.sin_family), -EINVAL, "too short an address"},
        {kt_tcp_socket(t, 0), &foreign, sizeof(foreign), -EAFNOSUPPORT, "another family"},
        {kt_tcp_socket(t, 0), (const void *)8, sizeof(addr), -EFAULT, "unmapped memory"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        kt_prep_connect(t, cases[i].fd, cases[i].addr, cases[i].len, UD_FIRST_BAD + i);
        kt_submit(t, 1);
        KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST_BAD + i).res, cases[i].result, "CONNECT with %s",
                      cases[i].what);
    }
    kt_prep_connect(t, kt_tcp_socket(t, 0), &addr, sizeof(addr), UD_CONNECT)->len = 1;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, -EINVAL, "CONNECT with a reserved field set");
}

/* CONNECT to @addr with a NOP linked behind it by @link: the NOP's result. */
static int64_t result_behind(struct kt *t, const struct sockaddr_in *addr, uint8_t link, int result)
{
    kt_prep_connect(t, kt_tcp_socket(t, 0), addr, sizeof(*addr), UD_CONNECT)->flags |= link;
    kt_sqe(t, IORING_OP_NOP, -1, UD_NEXT);
    kt_submit(t, 2);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, result, "the CONNECT of the chain");
    return kt_wait_for(t, UD_NEXT).res;
}

static void connect_chain(struct kt *t)
{
    struct sockaddr_in open_addr;
    (void)kt_tcp_listen(t, 8, &open_addr);
    const struct sockaddr_in closed_addr = kt_tcp_closed_port(t);
    KT_EXPECT_RES(t, result_behind(t, &open_addr, IOSQE_IO_LINK, 0), 0,
                  "the request linked behind a CONNECT that succeeded");
    KT_EXPECT_RES(t, result_behind(t, &closed_addr, IOSQE_IO_LINK, -ECONNREFUSED), -ECANCELED,
                  "the request linked behind a refused CONNECT");
    KT_EXPECT_RES(t, result_behind(t, &closed_addr, IOSQE_IO_HARDLINK, -ECONNREFUSED), 0,
                  "the request hard-linked behind a refused CONNECT");
}

static void connect_copies_arguments(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 8, &addr);
    const struct sockaddr_in closed_addr = kt_tcp_closed_port(t);
    struct sockaddr_in given = addr;
    struct sockaddr_in given_later = addr;
    struct __kernel_timespec ts = kt_ts_ms(20);
    const int first = kt_tcp_socket(t, 0);
    const int later = kt_tcp_socket(t, 0);
    kt_prep_connect(t, first, &given, sizeof(given), UD_CONNECT);
    kt_prep_timeout(t, &ts, 0, 0, UD_TIMER)->flags |= IOSQE_IO_HARDLINK;
    kt_prep_connect(t, later, &given_later, sizeof(given_later), UD_NEXT);
    kt_submit(t, 3);
    given = closed_addr;
    given_later = closed_addr;
    ts = kt_ts_ms(3600 * 1000);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, 0, "CONNECT, its address overwritten");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMER).res, -ETIME, "a timeout, its timespec overwritten");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NEXT).res, 0,
                  "CONNECT later in the chain, its address overwritten before it was issued");
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    for (int i = 0; i < 2; i++) {
        KT_REQUIRE(t, poll(&waiting, 1, (int)kt_slack_ms(t, 1000)) == 1, "no connection arrived");
        KT_EXPECT_GE(t, accept4(listener, NULL, NULL, SOCK_CLOEXEC), 0,
                     "connection %d at the address that was given first", i + 1);
    }
}

static void connect_udp(struct kt *t)
{
    const struct sockaddr_in first = kt_tcp_closed_port(t);
    const struct sockaddr_in second = kt_tcp_closed_port(t);
    const int fd = (int)KT_SYS(t, socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const struct sockaddr_in *const peers[] = {&first, &second};
    for (int i = 0; i < 2; i++) {
        KT_EXPECT_RES(t, result_of_connect(t, fd, peers[i], sizeof(*peers[i])), 0,
                      "CONNECT number %d of a datagram socket", i + 1);
        struct sockaddr_in peer = {0};
        socklen_t len = sizeof(peer);
        KT_SYS(t, getpeername(fd, (struct sockaddr *)&peer, &len));
        KT_EXPECT_EQ(t, ntohs(peer.sin_port), ntohs(peers[i]->sin_port), "the peer's port");
    }
}

static const struct kt_assertion assertions[] = {
    {
        .id = "connect.succeeds",
        .alias = "K001",
        .sentence = "CONNECT to a listening socket completes once with 0, for blocking and "
                    "O_NONBLOCK sockets alike.",
        .source = "io_uring_prep_connect(3); fast poll, 5.7",
        .since = "5.7",
        .broken = "6.0.0 to 6.0.2 and stables with the bluetooth fix (-EINPROGRESS)",
        .absence = "The opcode is in the probe since 5.5; anything but 0 is breakage.",
        .impact = "A client takes a connection in progress for a failed or an established one.",
        .avoid = "Treat -EINPROGRESS from CONNECT as \"poll for writability, then read SO_ERROR\".",
        .guards = "liburing #26, #671, #841",
        .rings = KT_ON_BOTH,
        .run = connect_succeeds,
    },
    {
        .id = "connect.refused",
        .alias = "K002",
        .sentence = "CONNECT to a closed port completes with -ECONNREFUSED and leaves SO_ERROR 0.",
        .source = "connect(2), io_uring_prep_connect(3)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "A client cannot tell a refused connection from other errors.",
        .avoid = "Read SO_ERROR after every failed CONNECT.",
        .rings = KT_ON_BOTH,
        .run = connect_refused,
    },
    {
        .id = "connect.refused-again",
        .alias = "K003",
        .sentence = "Three CONNECTs in a row to a closed port on one socket all complete with "
                    "-ECONNREFUSED, on a bound socket too.",
        .source = "connect(2)",
        .since = "5.7",
        .broken = "6.1 to 6.1.24 (-ECONNABORTED from the second on)",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "A client that retries on one socket sees an error it does not expect.",
        .avoid = "Use a new socket for every connection attempt.",
        .guards = "liburing #828",
        .rings = KT_ON_BOTH,
        .run = connect_refused_again,
    },
    {
        .id = "connect.already-connected",
        .alias = "K004",
        .sentence = "CONNECT on a connected socket completes with -EISCONN.",
        .source = "connect(2)",
        .since = "5.7",
        .broken = "before 6.1.64 and 6.5.13 (0 instead)",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "A client's mix-up of sockets passes for a new connection.",
        .avoid = "Never CONNECT a socket twice.",
        .guards = "liburing #980",
        .rings = KT_ON_BOTH,
        .run = connect_already_connected,
    },
    {
        .id = "connect.bad-arguments",
        .sentence = "CONNECT reports a bad descriptor, no socket, a short address, a foreign "
                    "family, bad memory and a reserved field as connect(2) and the man page say.",
        .source = "connect(2), io_uring_enter(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "A program's error is reported as another one, or not at all.",
        .avoid = "Check addresses and descriptors before CONNECT.",
        .rings = KT_ON_BOTH,
        .run = connect_bad_arguments,
    },
    {
        .id = "connect.breaks-chain",
        .sentence = "A refused CONNECT cancels what is linked behind it, a hard link goes on.",
        .source = "io_uring_enter(2), IOSQE_IO_LINK",
        .since = "5.7",
        .absence = "Links are there since 5.3; another order of events is breakage.",
        .impact = "A request is sent on a socket that is not connected.",
        .avoid = "Do not link requests behind CONNECT; wait for its completion.",
        .rings = KT_ON_BOTH,
        .run = connect_chain,
    },
    {
        .id = "connect.copies-arguments",
        .alias = "K009",
        .sentence = "Address and timespec may be overwritten as soon as submit has returned, those "
                    "of later links of a chain too.",
        .source = "io_uring_setup(2), IORING_FEAT_SUBMIT_STABLE",
        .since = "5.5",
        .absence = "The feature bit promises it; use of the overwritten memory is breakage.",
        .impact = "Connections go to a wrong address, timers run for a wrong time.",
        .avoid = "Keep addresses and timespecs unchanged until the completion.",
        .needs = KT_NEEDS(SUBMIT_STABLE),
        .rings = KT_ON_BOTH,
        .run = connect_copies_arguments,
    },
    {
        .id = "connect.udp",
        .sentence = "CONNECT of a datagram socket completes with 0 and can be repeated with "
                    "another peer.",
        .source = "connect(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "A datagram client talks to a former peer.",
        .avoid = "Connect datagram sockets with connect(2).",
        .rings = KT_ON_BOTH,
        .run = connect_udp,
    },
};

const struct kt_area kt_area_connect = KT_AREA("connect", assertions);
