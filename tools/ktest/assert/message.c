/* SPDX-License-Identifier: MIT */
/*
 * Datagrams and messages: addresses, truncation, the error queue, several parts.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"
#include "fixture/stream.h"

#include <linux/errqueue.h>
#include <netinet/ip.h>

enum { UD_RECV = 1, UD_SEND = 2, UD_CANCEL = 3 };

static struct io_uring_sqe *prep_message(struct kt *t, uint8_t opcode, int fd, struct msghdr *msg,
                                         int msg_flags, uint64_t user_data)
{
    struct io_uring_sqe *sqe = kt_sqe(t, opcode, fd, user_data);
    sqe->addr = (uint64_t)(uintptr_t)msg;
    sqe->len = 1;
    sqe->msg_flags = (uint32_t)msg_flags;
    return sqe;
}

static int udp_socket(struct kt *t, struct sockaddr_in *out_addr)
{
    const int fd = (int)KT_SYS(t, socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    *out_addr =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(*out_addr);
    KT_SYS(t, bind(fd, (const struct sockaddr *)out_addr, len));
    KT_SYS(t, getsockname(fd, (struct sockaddr *)out_addr, &len));
    return fd;
}

static void message_address(struct kt *t)
{
    struct sockaddr_in addr[2];
    const int fds[2] = {udp_socket(t, &addr[0]), udp_socket(t, &addr[1])};
    char data[16] = {0};
    struct iovec in = {.iov_base = data, .iov_len = sizeof(data)};
    struct sockaddr_in from = {0};
    struct msghdr receive = {
        .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &in, .msg_iovlen = 1};
    prep_message(t, IORING_OP_RECVMSG, fds[1], &receive, 0, UD_RECV);
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "RECVMSG with nothing sent");
    char text[] = "to you";
    struct iovec out = {.iov_base = text, .iov_len = 6};
    struct msghdr send = {
        .msg_name = &addr[1], .msg_namelen = sizeof(addr[1]), .msg_iov = &out, .msg_iovlen = 1};
    prep_message(t, IORING_OP_SENDMSG, fds[0], &send, 0, UD_SEND);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SEND).res, 6, "SENDMSG to an address");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 6, "RECVMSG of it");
    KT_EXPECT_EQ(t, memcmp(data, text, 6), 0, "difference of the bytes");
    KT_EXPECT_EQ(t, receive.msg_namelen, sizeof(from), "length of the sender's address");
    KT_EXPECT_EQ(t, ntohs(from.sin_port), ntohs(addr[0].sin_port), "the sender's port");
    KT_EXPECT_EQ(t, receive.msg_flags & MSG_TRUNC, 0, "MSG_TRUNC of a datagram that fits");
}

static void message_truncated(struct kt *t)
{
    int fds[2];
    char data[4];
    kt_udp_pair(t, fds);
    struct iovec in = {.iov_base = data, .iov_len = sizeof(data)};
    struct msghdr receive = {.msg_iov = &in, .msg_iovlen = 1};
    kt_write(t, fds[0], "longer", 6);
    prep_message(t, IORING_OP_RECVMSG, fds[1], &receive, 0, UD_RECV);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 4, "RECVMSG of 6 bytes into 4");
    KT_EXPECT_EQ(t, receive.msg_flags & MSG_TRUNC, MSG_TRUNC, "MSG_TRUNC of it");
    kt_write(t, fds[0], "longer", 6);
    kt_prep_recv(t, fds[1], data, sizeof(data), MSG_TRUNC, UD_RECV);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 6, "RECV of 6 bytes into 4 with MSG_TRUNC");
    kt_write(t, fds[0], "longer", 6);
    kt_prep_recv(t, fds[1], data, sizeof(data), 0, UD_RECV);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 4, "RECV of 6 bytes into 4");
    kt_write(t, fds[0], "next", 4);
    kt_prep_recv(t, fds[1], data, sizeof(data), MSG_PEEK, UD_RECV);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 4, "RECV with MSG_PEEK of the next datagram");
    KT_EXPECT_EQ(t, memcmp(data, "next", 4), 0, "difference of its bytes");
    memset(data, 0, sizeof(data));
    kt_prep_recv(t, fds[1], data, sizeof(data), 0, UD_RECV);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 4, "RECV of the datagram that was peeked at");
    KT_EXPECT_EQ(t, memcmp(data, "next", 4), 0, "difference of its bytes");
}

static void message_send_to(struct kt *t)
{
    struct sockaddr_in addr[2];
    const int fds[2] = {udp_socket(t, &addr[0]), udp_socket(t, &addr[1])};
    struct io_uring_sqe *sqe = kt_prep_send(t, fds[0], "direct", 6, 0, UD_SEND);
    sqe->addr2 = (uint64_t)(uintptr_t)&addr[1];
    sqe->addr_len = sizeof(addr[1]);
    kt_submit(t, 1);
    const int res = kt_wait_for(t, UD_SEND).res;
    if (res == -EINVAL || res == -EDESTADDRREQ)
        KT_ABSENT(t, "SEND with an address gives %d", res);
    KT_EXPECT_RES(t, res, 6, "SEND to an address");
    char data[8] = {0};
    KT_EXPECT_EQ(t, kt_read(t, fds[1], data, 6), 6, "bytes that arrived there");
    KT_EXPECT_EQ(t, memcmp(data, "direct", 6), 0, "difference of the bytes");
}

/* A socket that is connected to a port where nobody will take its datagrams. */
static int unreachable_peer(struct kt *t)
{
    struct sockaddr_in addr;
    struct sockaddr_in elsewhere;
    const int deaf = udp_socket(t, &addr);
    (void)udp_socket(t, &elsewhere);
    /* Bound, so that the port stays ours, but connected to another: ours are refused. */
    KT_SYS(t, connect(deaf, (const struct sockaddr *)&elsewhere, sizeof(elsewhere)));
    const int fd = (int)KT_SYS(t, socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    KT_SYS(t, connect(fd, (const struct sockaddr *)&addr, sizeof(addr)));
    return fd;
}

static void message_error_queue(struct kt *t)
{
    const int fd = unreachable_peer(t);
    const int on = 1;
    KT_SYS(t, setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)));
    char data[16];
    union {
        struct cmsghdr align;
        uint8_t bytes[256];
    } control;
    struct iovec in = {.iov_base = data, .iov_len = sizeof(data)};
    struct msghdr receive = {.msg_iov = &in,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    prep_message(t, IORING_OP_RECVMSG, fd, &receive, MSG_ERRQUEUE, UD_RECV);
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "RECVMSG from an error queue that is empty");
    kt_write(t, fd, "lost", 4);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 4, "RECVMSG of the datagram that was refused");
    KT_EXPECT_EQ(t, receive.msg_flags & MSG_ERRQUEUE, MSG_ERRQUEUE, "MSG_ERRQUEUE of it");
    uint32_t error = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&receive); c != NULL; c = CMSG_NXTHDR(&receive, c)) {
        struct sock_extended_err extended;
        if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_RECVERR)
            continue;
        memcpy(&extended, CMSG_DATA(c), sizeof(extended));
        error = extended.ee_errno;
    }
    KT_EXPECT_EQ(t, error, ECONNREFUSED, "the error in its control message");
}

static void send_descriptor(struct kt *t, int fd, int passed)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec data = {.iov_base = "d", .iov_len = 1};
    struct msghdr msg = {.msg_iov = &data,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    control.align = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(&control.align), &passed, sizeof(passed));
    KT_SYS(t, sendmsg(fd, &msg, MSG_NOSIGNAL));
}

/* There is room for the descriptor's control message and no other. */
static void message_descriptor(struct kt *t)
{
    static const char *const when[] = {"sent before", "sent after"};
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    for (int late = 0; late < 2; late++) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control = {.bytes = {0}};
        char byte = 0;
        struct iovec data = {.iov_base = &byte, .iov_len = 1};
        struct msghdr msg = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
        if (late == 0)
            send_descriptor(t, fds[0], fds[0]);
        prep_message(t, IORING_OP_RECVMSG, fds[1], &msg, MSG_CMSG_CLOEXEC, UD_RECV);
        kt_submit(t, 1);
        if (late == 1)
            send_descriptor(t, fds[0], fds[0]);
        KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "RECVMSG of a byte %s", when[late]);
        KT_EXPECT_EQ(t, msg.msg_flags & MSG_CTRUNC, 0, "MSG_CTRUNC of a message %s", when[late]);
        KT_EXPECT_EQ(t, msg.msg_controllen, sizeof(control.bytes), "control bytes, %s", when[late]);
        KT_EXPECT_EQ(t, control.align.cmsg_type, SCM_RIGHTS, "their type, %s", when[late]);
    }
}

static const struct kt_assertion assertions[] = {
    {
        .id = "message.address",
        .sentence = "SENDMSG to an address arrives, and RECVMSG tells the sender's address.",
        .source = "io_uring_prep_sendmsg(3), io_uring_prep_recvmsg(3)",
        .since = "5.7",
        .absence = "The opcodes are in the probe since 5.3; another result is breakage.",
        .impact = "A datagram server answers the wrong client.",
        .avoid = "Use sendmsg(2) and recvmsg(2) with POLL_ADD.",
        .rings = KT_ON_BOTH,
        .run = message_address,
    },
    {
        .id = "message.truncated",
        .sentence = "A datagram that does not fit is cut: RECVMSG says MSG_TRUNC, RECV with "
                    "MSG_TRUNC the full length; MSG_PEEK leaves it in the socket.",
        .source = "recv(2)",
        .since = "5.7",
        .absence = "The opcodes are in the probe since 5.6; another result is breakage.",
        .impact = "Cut datagrams pass for whole ones, or the next one is damaged.",
        .avoid = "Give datagram receives room for the largest datagram.",
        .rings = KT_ON_BOTH,
        .run = message_truncated,
    },
    {
        .id = "message.send-to",
        .sentence = "SEND with an address sends there, as sendto(2) does.",
        .source = "io_uring_prep_send_set_addr(3)",
        .since = "6.1",
        .absence = "Before 6.1 the address gives -EINVAL.",
        .impact = "Datagrams go nowhere.",
        .avoid = "Use SENDMSG.",
        .rings = KT_ON_BOTH,
        .run = message_send_to,
    },
    {
        .id = "message.descriptor",
        .sentence = "RECVMSG on AF_UNIX delivers a descriptor that is passed, sent before or after "
                    "it, and no control message that was not asked for.",
        .source = "unix(7), io_uring_prep_recvmsg(3)",
        .since = "5.3",
        .broken = "6.17.13 (adds SCM_INQ, for which a late SCM_RIGHTS has to make room)",
        .absence = "The opcode is in the probe since 5.3; another result is breakage.",
        .impact = "A server loses descriptors that were passed to it.",
        .avoid = "Give RECVMSG room for one more control message than is expected, and look for "
                 "yours among them.",
        .guards = "SCM_INQ posted to whoever had not asked, 6.17",
        .rings = KT_ON_BOTH,
        .run = message_descriptor,
    },
    {
        .id = "message.error-queue",
        .sentence = "RECVMSG with MSG_ERRQUEUE waits for an error and then delivers it.",
        .source = "recv(2), ip(7); POLLERR repaired in 6.1.147, 6.12.41",
        .since = "5.19",
        .broken = "6.1.129 to 6.1.146, 6.12.15 to 6.12.40",
        .absence = "The opcode is in the probe since 5.3; another result is breakage.",
        .impact = "Time stamps and ICMP errors are lost.",
        .avoid = "Read the error queue with recvmsg(2).",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = message_error_queue,
    },
};

const struct kt_area kt_area_message = KT_AREA("datagrams and messages", assertions);
