/* SPDX-License-Identifier: MIT */
/*
 * The options of a UDP socket, and what a message tells beside its data: local address, interface,
 * type of service; IPv4 over an IPv6 socket; scopes.
 */
#include "everywhere.h"
#include "udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "support/netns.h"

static int option(const struct ouro_udp_socket *socket, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof(value);
    ck_assert_int_eq(getsockopt(ouro_udp_socket_fd(socket), level, name, &value, &length), 0);
    return value;
}

static int set_options(void *arg)
{
    struct ouro_udp_options options = OURO_UDP_OPTIONS_INIT;
    struct ouro_udp_socket *first = NULL;
    struct ouro_udp_socket *second = NULL;
    struct ouro_socket_addr addr;
    (void)arg;
    options.flags = OURO_UDP_F_REUSEPORT | OURO_UDP_F_BROADCAST;
    options.send_buffer_bytes = 30000;
    options.receive_buffer_bytes = 50000;
    ck_assert_int_eq(ouro_udp_socket_bind(OURO_ADDRS("127.0.0.1:0"), &options, &first), 0);
    ck_assert_int_eq(option(first, SOL_SOCKET, SO_BROADCAST), 1);
    ck_assert_int_eq(option(first, SOL_SOCKET, SO_SNDBUF), 60000); /* the kernel doubles it */
    ck_assert_int_eq(option(first, SOL_SOCKET, SO_RCVBUF), 100000);
    ck_assert_int_eq(ouro_udp_socket_local_addr(first, &addr), 0);
    ck_assert_int_eq(ouro_udp_socket_bind(OURO_ADDR_LIST(&addr, 1), &options, &second), 0);
    ck_assert_int_eq(ouro_udp_socket_close(second), 0);
    ck_assert_int_eq(ouro_udp_socket_close(first), 0);

    options = (struct ouro_udp_options)OURO_UDP_OPTIONS_INIT;
    ck_assert_int_eq(ouro_udp_socket_bind(OURO_ADDRS("127.0.0.1:0"), &options, &first), 0);
    ck_assert_int_eq(option(first, SOL_SOCKET, SO_BROADCAST), 0);
    ck_assert_int_eq(ouro_socket_addr_parse("127.255.255.255:9", &addr), 0);
    ck_assert_int_eq(ouro_udp_socket_send_to(first, "x", 1, &addr), -EACCES);
    ck_assert_int_eq(ouro_udp_socket_close(first), 0);
    return 0;
}

OURO_TEST(options_are_set_on_the_socket)
{
    everywhere(set_options, NULL);
}

/* Sends from the wildcard to 127.0.0.2, with a type of service; the answer comes from there. */
static int tell_all(void *arg)
{
    const bool v6 = arg != NULL;
    const uint32_t flags = OURO_UDP_F_LOCAL | OURO_UDP_F_TOS;
    struct ouro_socket_addr client_addr;
    struct ouro_socket_addr addr;
    struct ouro_socket_addr here;
    struct ouro_udp_socket *client = udp_with(0, "127.0.0.1:0", &client_addr);
    struct ouro_udp_socket *server = udp_with(flags, v6 ? "[::]:0" : "0.0.0.0:0", &addr);
    char buffer[8] = "hello";
    struct ouro_udp_message message = {
        .buffer = buffer, .length = 5, .flags = OURO_UDP_MESSAGE_F_TOS, .tos = 0xb8 | 1};
    ck_assert_int_eq(ouro_socket_addr_parse("127.0.0.2:0", &message.peer), 0);
    ck_assert_int_eq(ouro_socket_addr_set_port(&message.peer, ouro_socket_addr_port(&addr)), 0);
    ck_assert_int_eq(ouro_udp_socket_send_batch(client, &message, 1), 1);

    struct ouro_udp_message in = {.buffer = buffer, .buffer_bytes = sizeof(buffer)};
    ck_assert_int_eq(ouro_udp_socket_recv_batch(server, &in, 1), 1);
    ck_assert_uint_eq(in.flags, OURO_UDP_MESSAGE_F_TOS);
    ck_assert_uint_eq(in.tos, 0xb8 | 1);
    ck_assert_uint_eq(in.interface_index, if_nametoindex("lo"));
    ck_assert_int_eq(ouro_socket_addr_parse(v6 ? "[::ffff:127.0.0.2]:0" : "127.0.0.2:0", &here), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&in.local, &here), 1);

    /* As it is, it goes back from the address that it had come to. */
    ck_assert_int_eq(ouro_udp_socket_send_batch(server, &in, 1), 1);
    struct ouro_socket_addr from;
    ck_assert_int_eq(ouro_udp_socket_recv_from(client, buffer, 8, &from), 5);
    ck_assert_int_eq(ouro_socket_addr_equal(&from, &message.peer), 1);

    /* An IPv4 source on an IPv6 socket; and only an interface. */
    ck_assert_int_eq(ouro_socket_addr_parse("127.0.0.3:0", &in.local), 0);
    ck_assert_int_eq(ouro_udp_socket_send_batch(server, &in, 1), 1);
    ck_assert_int_eq(ouro_udp_socket_recv_from(client, buffer, 8, &from), 5);
    ck_assert_int_eq(ouro_socket_addr_set_port(&from, 0), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&from, &in.local), 1);
    in.local.length = 0;
    ck_assert_int_eq(ouro_udp_socket_send_batch(server, &in, 1), 1);
    ck_assert_int_eq(ouro_udp_socket_recv_from(client, buffer, 8, &from), 5);
    if (!v6) {
        ck_assert_int_eq(ouro_socket_addr_parse("[::1]:0", &in.local), 0);
        ck_assert_int_eq(ouro_udp_socket_send_batch(server, &in, 1), -EAFNOSUPPORT);
    }
    ck_assert_int_eq(ouro_udp_socket_close(client), 0);
    ck_assert_int_eq(ouro_udp_socket_close(server), 0);
    return 0;
}

OURO_TEST(a_message_tells_its_local_address_interface_and_tos)
{
    everywhere(tell_all, NULL);
}

OURO_TEST(an_ipv6_socket_tells_the_same_of_ipv4)
{
    ouro_test_need_family(AF_INET6);
    everywhere(tell_all, (void *)(uintptr_t)1);
}

static int tell_ipv6(void *arg)
{
    const uint32_t flags = OURO_UDP_F_LOCAL | OURO_UDP_F_TOS;
    struct ouro_socket_addr addr;
    struct ouro_socket_addr here;
    struct ouro_udp_socket *socket = udp_with(flags, "[::]:0", &addr);
    char buffer[8] = "hello";
    struct ouro_udp_message out = {
        .buffer = buffer, .length = 5, .flags = OURO_UDP_MESSAGE_F_TOS, .tos = 0x2a};
    struct ouro_udp_message in = {.buffer = buffer, .buffer_bytes = sizeof(buffer)};
    (void)arg;
    ck_assert_int_eq(ouro_socket_addr_parse("[::1]:0", &here), 0);
    out.peer = here;
    out.local = here;
    ck_assert_int_eq(ouro_socket_addr_set_port(&out.peer, ouro_socket_addr_port(&addr)), 0);
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, &out, 1), 1);
    ck_assert_int_eq(ouro_udp_socket_recv_batch(socket, &in, 1), 1);
    ck_assert_uint_eq(in.flags, OURO_UDP_MESSAGE_F_TOS);
    ck_assert_uint_eq(in.tos, 0x2a);
    ck_assert_int_eq(ouro_socket_addr_equal(&in.local, &here), 1);
    ck_assert_int_eq(ouro_socket_addr_equal(&in.peer, &out.peer), 1);
    ck_assert_uint_eq(in.interface_index, if_nametoindex("lo"));
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
    return 0;
}

OURO_TEST(an_ipv6_message_tells_its_local_address_interface_and_tos)
{
    ouro_test_need_family(AF_INET6);
    everywhere(tell_ipv6, NULL);
}

static int v6only(void *arg)
{
    struct ouro_socket_addr addr;
    struct ouro_socket_addr v4;
    struct ouro_udp_socket *both = udp_with(0, "[::]:0", &addr);
    struct ouro_udp_socket *alone = udp_with(OURO_UDP_F_V6ONLY, "[::]:0", &addr);
    char buffer[4];
    (void)arg;
    struct ouro_udp_socket *ipv4 = udp(&v4);
    ck_assert_int_eq(ouro_udp_socket_connect(alone, OURO_ADDR_LIST(&v4, 1)), -EAFNOSUPPORT);
    ck_assert_int_eq(ouro_udp_socket_connect(both, OURO_ADDR_LIST(&v4, 1)), 0);
    ck_assert_int_eq(ouro_udp_socket_send(both, "x", 1), 1);
    ck_assert_int_eq(ouro_udp_socket_recv(ipv4, buffer, 4), 1);
    /* To a connected peer, with an interface: by IPv4 too. */
    struct ouro_udp_message message = {
        .buffer = buffer, .length = 1, .interface_index = if_nametoindex("lo")};
    ck_assert_int_eq(ouro_udp_socket_send_batch(both, &message, 1), 1);
    ck_assert_int_eq(ouro_udp_socket_recv(ipv4, buffer, 4), 1);
    ck_assert_int_eq(ouro_udp_socket_close(both), 0);
    ck_assert_int_eq(ouro_udp_socket_close(alone), 0);
    ck_assert_int_eq(ouro_udp_socket_close(ipv4), 0);
    return 0;
}

OURO_TEST(an_ipv6_socket_sends_ipv4_unless_v6only)
{
    ouro_test_need_family(AF_INET6);
    everywhere(v6only, NULL);
}

/* What comes by broadcast is flagged, and tells an address that it can be answered from. */
static int hear_a_broadcast(void *arg)
{
    struct ouro_socket_addr addr;
    struct ouro_socket_addr all;
    struct ouro_socket_addr from;
    struct ouro_udp_socket *server = udp_with(OURO_UDP_F_LOCAL, "0.0.0.0:0", &addr);
    char buffer[8] = "hello";
    (void)arg;
    ck_assert_int_eq(ouro_socket_addr_parse("127.255.255.255:1", &all), 0);
    ck_assert_int_eq(ouro_socket_addr_set_port(&all, ouro_socket_addr_port(&addr)), 0);
    struct ouro_udp_socket *client = udp_with(OURO_UDP_F_BROADCAST, "127.0.0.1:0", &addr);
    ck_assert_int_eq(ouro_udp_socket_send_to(client, buffer, 5, &all), 5);
    struct ouro_udp_message in = {.buffer = buffer, .buffer_bytes = sizeof(buffer)};
    ck_assert_int_eq(ouro_udp_socket_recv_batch(server, &in, 1), 1);
    ck_assert_uint_eq(in.flags, OURO_UDP_MESSAGE_F_GROUP);
    ck_assert_int_eq(ouro_socket_addr_family(&in.local), AF_INET);
    ck_assert_int_eq(ouro_socket_addr_equal(&in.local, &all), 0);
    ck_assert_int_eq(ouro_udp_socket_send_batch(server, &in, 1), 1);
    ck_assert_int_eq(ouro_udp_socket_recv_from(client, buffer, 8, &from), 5);
    ck_assert_int_eq(ouro_udp_socket_close(client), 0);
    ck_assert_int_eq(ouro_udp_socket_close(server), 0);
    return 0;
}

OURO_TEST(a_broadcast_is_flagged_and_can_be_answered)
{
    everywhere(hear_a_broadcast, NULL);
}

/* <linux/ipv6.h> has it, and cannot be included beside <netinet/in.h>. */
struct ipv6_request {
    struct in6_addr addr;
    uint32_t prefix_length;
    int interface;
};

/* Whether a datagram to the address arrives.  It can be bound before the kernel has a route to it.
 */
static bool is_usable(void *arg)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_scope_id = if_nametoindex("lo")};
    socklen_t length = sizeof(in6);
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    in6.sin6_addr = ((struct ipv6_request *)arg)->addr;
    bool usable = bind(fd, (struct sockaddr *)(void *)&in6, length) == 0 &&
                  getsockname(fd, (struct sockaddr *)(void *)&in6, &length) == 0 &&
                  sendto(fd, "x", 1, 0, (struct sockaddr *)(void *)&in6, length) == 1 &&
                  ouro_test_poll(fd, POLLIN, 10 * OURO_TEST_MS) != 0;
    (void)close(fd);
    return usable;
}

/* Gives loopback the address fe80::1, in a network of this case's own. */
static void add_link_local(void)
{
    struct ipv6_request request = {.prefix_length = 64, .interface = (int)if_nametoindex("lo")};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(inet_pton(AF_INET6, "fe80::1", &request.addr), 1);
    ck_assert_msg(ioctl(fd, SIOCSIFADDR, &request) == 0, "SIOCSIFADDR: %m");
    (void)close(fd);
    ck_assert(ouro_test_until(is_usable, &request, 10 * OURO_TEST_SECOND));
}

/* A scope is part of an address: it is kept from the text to the peer that a receive tells. */
static int keep_the_scope(void *arg)
{
    struct ouro_socket_addr addr;
    struct ouro_socket_addr target;
    struct ouro_udp_socket *socket = udp_with(OURO_UDP_F_LOCAL, "[::]:0", &addr);
    struct sockaddr_in6 in6;
    char buffer[8] = "scoped";
    (void)arg;
    ck_assert_int_eq(ouro_socket_addr_parse("[fe80::1%lo]:1", &target), 0);
    ck_assert_int_eq(ouro_socket_addr_set_port(&target, ouro_socket_addr_port(&addr)), 0);
    ck_assert_int_eq(ouro_udp_socket_send_to(socket, buffer, 6, &target), 6);
    struct ouro_udp_message in = {.buffer = buffer, .buffer_bytes = sizeof(buffer)};
    ck_assert_int_eq(ouro_udp_socket_recv_batch(socket, &in, 1), 1);
    ck_assert_uint_eq(in.length, 6);
    ck_assert_int_eq(ouro_socket_addr_equal(&in.peer, &target), 1);
    memcpy(&in6, ouro_socket_addr_sockaddr(&in.local), sizeof(in6));
    ck_assert_uint_eq(in6.sin6_scope_id, if_nametoindex("lo"));
    ck_assert_uint_eq(in.interface_index, if_nametoindex("lo"));
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, &in, 1), 1);
    ck_assert_int_eq(ouro_udp_socket_recv(socket, buffer, 8), 6);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
    return 0;
}

OURO_TEST(a_scope_is_kept)
{
    ouro_test_need_family(AF_INET6);
    ouro_test_netns_enter();
    add_link_local();
    everywhere(keep_the_scope, NULL);
}
