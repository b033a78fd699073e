/* SPDX-License-Identifier: MIT */
/*
 * Network namespaces by unshare(2) and two ioctls.
 *
 * The void is a route over loopback to addresses that are not ours: the packet comes back in, has
 * no local address, is not forwarded, and is dropped silently.
 *
 * Owns:    nothing; the namespace ends with its last process.
 * Threads: the only thread of its process.
 * Always:  loopback is up when it returns.
 */
#include "support/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/ouro_test.h"

void ouro_test_netns_enter(void)
{
    int flags = geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET;
    if (unshare(flags) != 0)
        ouro_test_skip("no network namespace: %s", strerror(errno));
    struct ifreq loopback = {.ifr_flags = IFF_UP | IFF_RUNNING};
    (void)snprintf(loopback.ifr_name, sizeof(loopback.ifr_name), "lo");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_msg(fd >= 0, "socket: %m");
    ck_assert_msg(ioctl(fd, SIOCSIFFLAGS, &loopback) == 0, "lo up: %m");
    (void)close(fd);
}

static struct sockaddr address_of(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr out;
    ck_assert_int_eq(inet_pton(AF_INET, text, &in.sin_addr), 1);
    memcpy(&out, &in, sizeof(out));
    return out;
}

void ouro_test_netns_add_void(void)
{
    char device[] = "lo";
    struct rtentry route = {
        .rt_dst = address_of(OURO_TEST_VOID_NETWORK),
        .rt_genmask = address_of("255.255.255.0"),
        .rt_flags = RTF_UP,
        .rt_dev = device,
    };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_msg(fd >= 0, "socket: %m");
    ck_assert_msg(ioctl(fd, SIOCADDRT, &route) == 0, "route: %m");
    (void)close(fd);
}

void ouro_test_netns_choose_ports(uint16_t first, uint16_t last)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "%d %d\n", first, last);
    int fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)length) != length)
        ouro_test_skip("the range of local ports cannot be set: %s", strerror(errno));
    (void)close(fd);
}
