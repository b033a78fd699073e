/* SPDX-License-Identifier: MIT */
/*
 * Making sockets through the ring: SOCKET, BIND, LISTEN.
 *
 * A socket is a descriptor or a slot of the ring's own table; from then on it is the same socket.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <fcntl.h>

enum {
    UD_SOCKET = 1,
    UD_CONNECT = 2,
    UD_BIND = 3,
    UD_LISTEN = 4,
    UD_SEND = 5,
    SLOTS = 4,
    SLOT = 2
};

static struct io_uring_sqe *prep_socket(struct kt *t, uint32_t type)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_SOCKET, AF_INET, UD_SOCKET);
    sqe->off = type;
    return sqe;
}

static void socket_creates(struct kt *t)
{
    struct sockaddr_in addr;
    (void)kt_tcp_listen(t, 4, &addr);
    static const uint32_t flags[] = {0, SOCK_CLOEXEC, SOCK_CLOEXEC | SOCK_NONBLOCK};
    for (int i = 0; i < 3; i++) {
        prep_socket(t, SOCK_STREAM | flags[i]);
        kt_submit(t, 1);
        const int fd = kt_wait_for(t, UD_SOCKET).res;
        KT_EXPECT_GE(t, fd, 0, "descriptor of socket %d", i);
        KT_EXPECT_EQ(t, fcntl(fd, F_GETFD), flags[i] & SOCK_CLOEXEC ? FD_CLOEXEC : 0,
                     "FD_CLOEXEC of socket %d", i);
        KT_EXPECT_EQ(t, fcntl(fd, F_GETFL) & O_NONBLOCK, flags[i] & SOCK_NONBLOCK ? O_NONBLOCK : 0,
                     "O_NONBLOCK of socket %d", i);
        kt_prep_connect(t, fd, &addr, sizeof(addr), UD_CONNECT);
        kt_submit(t, 1);
        KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, 0, "CONNECT of socket %d", i);
    }
    struct io_uring_sqe *sqe = prep_socket(t, SOCK_STREAM);
    sqe->fd = 9999;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SOCKET).res, -EAFNOSUPPORT, "SOCKET of no known family");
}

static void socket_direct(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 4, &addr);
    KT_SYS(t, io_uring_register_files_sparse(&t->ring.ring, SLOTS));
    prep_socket(t, SOCK_STREAM | SOCK_CLOEXEC)->file_index = SLOT + 1;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SOCKET).res, -EINVAL, "SOCK_CLOEXEC of a slot");
    prep_socket(t, SOCK_STREAM)->file_index = SLOT + 1;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SOCKET).res, 0, "SOCKET into a given slot");
    kt_prep_connect(t, SLOT, &addr, sizeof(addr), UD_CONNECT)->flags |= IOSQE_FIXED_FILE;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, 0, "CONNECT of the slot");
    kt_prep_send(t, SLOT, "d", 1, 0, UD_SEND)->flags |= IOSQE_FIXED_FILE;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SEND).res, 1, "SEND from the slot");
    const int server = (int)KT_SYS(t, accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    char got = 0;
    KT_EXPECT_EQ(t, kt_read(t, server, &got, 1), 1, "bytes that came from the slot");
    KT_EXPECT_EQ(t, got, 'd', "the byte that came from the slot");
    prep_socket(t, SOCK_STREAM)->file_index = IORING_FILE_INDEX_ALLOC;
    kt_submit(t, 1);
    const int chosen = kt_wait_for(t, UD_SOCKET).res;
    KT_EXPECT_GE(t, chosen, 0, "the free slot the kernel chose");
    KT_EXPECT_LE(t, chosen, SLOTS - 1, "the free slot the kernel chose");
    KT_EXPECT_NE(t, chosen, SLOT, "the free slot the kernel chose");
    prep_socket(t, SOCK_STREAM)->file_index = SLOTS + 1;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SOCKET).res, -EINVAL, "SOCKET into a slot beyond the table");
}

static void socket_bind_listen(struct kt *t)
{
    const int fd = kt_tcp_socket(t, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct io_uring_sqe *sqe = kt_sqe(t, OURO__OP_BIND, fd, UD_BIND);
    sqe->addr = (uint64_t)(uintptr_t)&addr;
    sqe->addr2 = sizeof(addr);
    sqe->flags |= IOSQE_IO_LINK;
    kt_sqe(t, OURO__OP_LISTEN, fd, UD_LISTEN)->len = 4;
    kt_submit(t, 2);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_BIND).res, 0, "BIND to a free port");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_LISTEN).res, 0, "LISTEN linked behind it");
    socklen_t len = sizeof(addr);
    KT_SYS(t, getsockname(fd, (struct sockaddr *)&addr, &len));
    KT_EXPECT_NE(t, addr.sin_port, 0, "the port that was bound");
    const int client = kt_tcp_socket(t, 0);
    const int rc = connect(client, (const struct sockaddr *)&addr, sizeof(addr));
    KT_EXPECT_RES(t, rc < 0 ? -errno : 0, 0, "connect(2) to the listener");
    sqe = kt_sqe(t, OURO__OP_BIND, kt_tcp_socket(t, 0), UD_BIND);
    sqe->addr = (uint64_t)(uintptr_t)&addr;
    sqe->addr2 = sizeof(addr);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_BIND).res, -EADDRINUSE, "BIND to a port in use");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "socket.creates",
        .alias = "K019",
        .sentence = "SOCKET gives a usable descriptor with the flags asked for, and an error for "
                    "an unknown family.",
        .source = "io_uring_prep_socket(3)",
        .since = "5.19",
        .absence = "The probe lists the opcode or it does not.",
        .impact = "A client cannot make sockets, or leaks them to programs it starts.",
        .avoid = "Make sockets with socket(2).",
        .needs = KT_NEEDS(SOCKET),
        .rings = KT_ON_BOTH,
        .run = socket_creates,
    },
    {
        .id = "socket.direct",
        .sentence =
            "SOCKET into a slot gives a usable socket, allocates where told to, and refuses "
            "SOCK_CLOEXEC and slots beyond the table with -EINVAL.",
        .source = "io_uring_prep_socket_direct(3)",
        .since = "5.19",
        .absence = "The probe lists the opcode or it does not.",
        .impact = "A socket is lost in the table or overwrites another one.",
        .avoid = "Use normal descriptors.",
        .needs = KT_NEEDS(SOCKET) | KT_NEEDS(DIRECT_FD),
        .rings = KT_ON_BOTH,
        .run = socket_direct,
    },
    {
        .id = "socket.bind-listen",
        .sentence =
            "BIND with LISTEN linked behind it makes a listener that takes connections, and "
            "BIND reports -EADDRINUSE.",
        .source = "io_uring_prep_bind(3), io_uring_prep_listen(3)",
        .since = "6.11",
        .absence = "The probe lists the opcodes or it does not.",
        .impact = "A server does not come up.",
        .avoid = "Use bind(2) and listen(2).",
        .needs = KT_NEEDS(BIND_LISTEN),
        .rings = KT_ON_BOTH,
        .run = socket_bind_listen,
    },
};

const struct kt_area kt_area_socket = KT_AREA("socket", assertions);
