/* SPDX-License-Identifier: MIT */
/*
 * Addresses as values and as text: what is read, what is refused, and that both ways agree.
 */
#include "support/ouro_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ouro/addr.h"
#include "ouro/error.h"

static struct ouro_socket_addr parsed(const char *text)
{
    struct ouro_socket_addr addr;
    int rc = ouro_socket_addr_parse(text, &addr);
    ck_assert_msg(rc == 0, "%s: %s", text, ouro_strerror(rc));
    return addr;
}

static const char *formatted(const struct ouro_socket_addr *addr)
{
    static char text[OURO_ADDR_TEXT_MAX];
    return ouro_socket_addr_format(addr, text, sizeof(text));
}

OURO_TEST_UNIT(literals_come_back_as_text)
{
    static const struct {
        const char *text;
        const char *back; /* NULL: the same */
        int family;
        uint16_t port;
    } rows[] = {
        {"127.0.0.1:6142", NULL, AF_INET, 6142},
        {"0.0.0.0:0", NULL, AF_INET, 0},
        {"255.255.255.255:65535", NULL, AF_INET, 65535},
        {"1.2.3.4:080", "1.2.3.4:80", AF_INET, 80},
        {"[::1]:80", NULL, AF_INET6, 80},
        {"[::]:0", NULL, AF_INET6, 0},
        {"[2001:DB8:0:0:0:0:0:1]:443", "[2001:db8::1]:443", AF_INET6, 443},
        {"[::ffff:1.2.3.4]:5", NULL, AF_INET6, 5},
        {"[1:2:3:4:5:6:7:8]:9", NULL, AF_INET6, 9},
        {"[fe80::1%7]:80", NULL, AF_INET6, 80},
        {"[fe80::1%4294967295]:80", NULL, AF_INET6, 80},
        {"[fe80::1%0]:80", "[fe80::1]:80", AF_INET6, 80},
        {"unix:/run/x.sock", NULL, AF_UNIX, 0},
        {"unix:relative", NULL, AF_UNIX, 0},
        {"unix:/with:colon:80", NULL, AF_UNIX, 0},
        {"unix:@abstract", NULL, AF_UNIX, 0},
        {"unix:@a@b", NULL, AF_UNIX, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ouro_socket_addr addr = parsed(rows[i].text);
        ck_assert_str_eq(formatted(&addr), rows[i].back != NULL ? rows[i].back : rows[i].text);
        ck_assert_int_eq(ouro_socket_addr_family(&addr), rows[i].family);
        ck_assert_uint_eq(ouro_socket_addr_port(&addr), rows[i].port);
        struct ouro_socket_addr again = parsed(formatted(&addr));
        ck_assert_int_eq(ouro_socket_addr_equal(&addr, &again), 1);
    }
}

OURO_TEST_UNIT(other_text_is_refused)
{
    static const char *const texts[] = {
        "",
        ":",
        ":80",
        "80",
        "127.0.0.1",
        "127.0.0.1:",
        "localhost:80",
        "127.0.0.1:http",
        /* ports are digits, at most five, at most 65535 */
        "127.0.0.1:65536",
        "127.0.0.1:99999",
        "127.0.0.1:000080",
        "127.0.0.1:-1",
        "127.0.0.1:+80",
        "127.0.0.1: 80",
        "127.0.0.1:80 ",
        "127.0.0.1:80x",
        "127.0.0.1:0x50",
        "127.0.0.1:18446744073709551696",
        "127.0.0.1:80:80",
        /* IPv4 has four decimal parts */
        "127.1:80",
        "2130706433:80",
        "0x7f.0.0.1:80",
        "127.0.0.01:80",
        "256.0.0.1:80",
        "1.2.3.4.5:80",
        " 1.2.3.4:80",
        "1.2.3:80",
        "1.2.3.4%lo:80",
        /* IPv6 has brackets, and only IPv6 */
        "::1:80",
        "[::1]",
        "[::1]80",
        "[::1]:",
        "[::1:80",
        "::1]:80",
        "[]:80",
        "[:80",
        "]:80",
        "[1.2.3.4]:80",
        "[localhost]:80",
        "[::1]]:80",
        "[[::1]]:80",
        "[:::1]:80",
        "[::g]:80",
        "[1:2:3:4:5:6:7:8:9]:80",
        "[12345::]:80",
        /* scopes exist */
        "[fe80::1%]:80",
        "[fe80::1%nosuchif0]:80",
        "[fe80::1%4294967296]:80",
        "[fe80::1%-1]:80",
        "[fe80::1%1%1]:80",
        "[fe80::1%averyveryverylonginterface]:80",
        "unix:",
        "unix:@",
        "Unix:/x",
        "unix",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct ouro_socket_addr addr = {.length = 77};
        int rc = ouro_socket_addr_parse(texts[i], &addr);
        ck_assert_msg(rc == -OURO_EADDRSYNTAX, "\"%s\": %d", texts[i], rc);
        ck_assert_uint_eq(addr.length, 77); /* untouched */
    }
}

OURO_TEST_UNIT(null_is_an_argument_error)
{
    struct ouro_socket_addr addr = {.length = 0};
    char text[8];

    ck_assert_int_eq(ouro_socket_addr_parse(NULL, &addr), -EINVAL);
    ck_assert_int_eq(ouro_socket_addr_parse("1.2.3.4:5", NULL), -EINVAL);
    ck_assert_int_eq(ouro_socket_addr_from_sockaddr(NULL, 16, &addr), -EINVAL);
    ck_assert_ptr_null(ouro_socket_addr_sockaddr(NULL));
    ck_assert_int_eq(ouro_socket_addr_family(NULL), AF_UNSPEC);
    ck_assert_uint_eq(ouro_socket_addr_port(NULL), 0);
    ck_assert_int_eq(ouro_socket_addr_set_port(NULL, 1), -EINVAL);
    ck_assert_int_eq(ouro_socket_addr_equal(NULL, &addr), 0);
    ck_assert_str_eq(ouro_socket_addr_format(NULL, text, sizeof(text)), "");
    ck_assert_str_eq(ouro_socket_addr_format(&addr, NULL, 0), "");
}

OURO_TEST_UNIT(scope_is_the_index_of_the_interface)
{
    struct ouro_socket_addr addr = parsed("[fe80::1%lo]:80");
    struct sockaddr_in6 in6;
    char expected[64];

    memcpy(&in6, ouro_socket_addr_sockaddr(&addr), sizeof(in6));
    ck_assert_uint_gt(in6.sin6_scope_id, 0);
    ck_assert_uint_eq(in6.sin6_scope_id, if_nametoindex("lo"));
    (void)snprintf(expected, sizeof(expected), "[fe80::1%%%u]:80", in6.sin6_scope_id);
    ck_assert_str_eq(formatted(&addr), expected);
}

OURO_TEST_UNIT(unix_paths_fit_or_are_refused)
{
    char text[200] = "unix:/";
    struct ouro_socket_addr addr;

    memset(text + 6, 'p', 106); /* 107 bytes and the terminator: all of sun_path */
    addr = parsed(text);
    ck_assert_uint_eq(addr.length, sizeof(struct sockaddr_un));
    ck_assert_str_eq(formatted(&addr), text);
    text[6 + 106] = 'p';
    ck_assert_int_eq(ouro_socket_addr_parse(text, &addr), -ENAMETOOLONG);

    text[5] = '@'; /* 107 bytes after the zero: an abstract name has no terminator */
    addr = parsed(text);
    ck_assert_uint_eq(addr.length, sizeof(struct sockaddr_un));
    ck_assert_str_eq(formatted(&addr), text);
    text[6 + 107] = 'p';
    ck_assert_int_eq(ouro_socket_addr_parse(text, &addr), -ENAMETOOLONG);
}

OURO_TEST_UNIT(kernel_takes_and_returns_unix_addresses)
{
    static const char *const texts[] = {"unix:@ouro-test-address", "unix:/nonexistent/x"};
    for (size_t i = 0; i < 2; i++) {
        struct ouro_socket_addr addr = parsed(texts[i]);
        struct sockaddr_un un;
        socklen_t length = sizeof(un);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int rc = bind(fd, ouro_socket_addr_sockaddr(&addr), addr.length);
        if (i == 1) {
            ck_assert(rc < 0 && errno == ENOENT);
        } else {
            struct ouro_socket_addr back;
            ck_assert_int_eq(rc, 0);
            ck_assert_int_eq(getsockname(fd, (struct sockaddr *)(void *)&un, &length), 0);
            ck_assert_int_eq(
                ouro_socket_addr_from_sockaddr((struct sockaddr *)(void *)&un, length, &back), 0);
            ck_assert_int_eq(ouro_socket_addr_equal(&addr, &back), 1);
            ck_assert_str_eq(formatted(&back), texts[i]);
        }
        (void)close(fd);
    }
}

static int take(const void *sockaddr, size_t length, struct ouro_socket_addr *out)
{
    return ouro_socket_addr_from_sockaddr(sockaddr, length, out);
}

OURO_TEST_UNIT(lengths_are_checked)
{
    struct sockaddr_storage storage = {.ss_family = AF_INET};
    struct ouro_socket_addr addr = {.length = 77};

    ck_assert_int_eq(take(&storage, 0, &addr), -EINVAL);
    ck_assert_int_eq(take(&storage, 1, &addr), -EINVAL);
    ck_assert_int_eq(take(&storage, sizeof(struct sockaddr_in) - 1, &addr), -EINVAL);
    ck_assert_int_eq(take(&storage, sizeof(storage) + 1, &addr), -EINVAL);
    storage.ss_family = AF_INET6;
    ck_assert_int_eq(take(&storage, sizeof(struct sockaddr_in6) - 1, &addr), -EINVAL);
    storage.ss_family = AF_UNIX;
    ck_assert_int_eq(take(&storage, sizeof(struct sockaddr_un) + 1, &addr), -EINVAL);
    ck_assert_uint_eq(addr.length, 77);

    storage.ss_family = AF_INET;
    ck_assert_int_eq(take(&storage, sizeof(storage), &addr), 0);
    ck_assert_uint_eq(addr.length, sizeof(struct sockaddr_in));
}

OURO_TEST_UNIT(other_families_are_kept_and_named)
{
    struct sockaddr_storage storage = {.ss_family = AF_NETLINK};
    struct ouro_socket_addr addr;
    char expected[32];

    ck_assert_int_eq(take(&storage, 12, &addr), 0);
    (void)snprintf(expected, sizeof(expected), "family %d", AF_NETLINK);
    ck_assert_str_eq(formatted(&addr), expected);
    ck_assert_int_eq(ouro_socket_addr_set_port(&addr, 1), -EAFNOSUPPORT);
    ck_assert_uint_eq(ouro_socket_addr_port(&addr), 0);

    struct ouro_socket_addr empty = {.length = 0};
    ck_assert_str_eq(formatted(&empty), "family 0");
    ck_assert_int_eq(ouro_socket_addr_equal(&empty, &empty), 0);
    struct ouro_socket_addr broken = parsed("1.2.3.4:5");
    broken.length = 4000;
    ck_assert_str_eq(formatted(&broken), "family 0");
    ck_assert_uint_eq(ouro_socket_addr_port(&broken), 0);
}

OURO_TEST_UNIT(unix_addresses_from_the_kernel)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct ouro_socket_addr addr;
    struct ouro_socket_addr other;

    ck_assert_int_eq(take(&un, sizeof(sa_family_t), &addr), 0); /* an unnamed socket */
    ck_assert_str_eq(formatted(&addr), "unix:");

    /* A path is what stands before its terminator, whatever length came with it. */
    memcpy(un.sun_path, "/a\0garbage", sizeof("/a\0garbage"));
    ck_assert_int_eq(take(&un, sizeof(un), &addr), 0);
    other = parsed("unix:/a");
    ck_assert_int_eq(ouro_socket_addr_equal(&addr, &other), 1);

    /* All 108 bytes may be path. */
    memset(un.sun_path, 'z', sizeof(un.sun_path));
    ck_assert_int_eq(take(&un, sizeof(un), &addr), 0);
    ck_assert_uint_eq(strlen(formatted(&addr)), strlen("unix:") + sizeof(un.sun_path));

    /* Zero bytes inside an abstract name count, and show. */
    memcpy(un.sun_path, "\0a\0b", 4);
    ck_assert_int_eq(take(&un, sizeof(sa_family_t) + 4, &addr), 0);
    ck_assert_str_eq(formatted(&addr), "unix:@a@b");
    other = parsed("unix:@a@b");
    ck_assert_int_eq(ouro_socket_addr_equal(&addr, &other), 0);

    /* A file named "@x" is not the abstract "x". */
    memcpy(un.sun_path, "@x", 3);
    ck_assert_int_eq(take(&un, sizeof(sa_family_t) + 3, &addr), 0);
    ck_assert_str_eq(formatted(&addr), "unix:./@x");
}

OURO_TEST_UNIT(equality_ignores_padding_and_flow)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    struct ouro_socket_addr a;
    struct ouro_socket_addr b;

    ck_assert_int_eq(take(&in, sizeof(in), &a), 0);
    memset(in.sin_zero, 0xff, sizeof(in.sin_zero));
    ck_assert_int_eq(take(&in, sizeof(in), &b), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&a, &b), 1);
    ck_assert_int_eq(memcmp(&a, &b, sizeof(a)), 0);

    ck_assert_int_eq(take(&in6, sizeof(in6), &a), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&a, &b), 0); /* another family */
    in6.sin6_flowinfo = htonl(7);
    ck_assert_int_eq(take(&in6, sizeof(in6), &b), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&a, &b), 1);
    in6.sin6_scope_id = 1;
    ck_assert_int_eq(take(&in6, sizeof(in6), &b), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&a, &b), 0);
}

OURO_TEST_UNIT(set_port_changes_the_port_only)
{
    static const char *const texts[][2] = {
        {"1.2.3.4:5", "1.2.3.4:40000"},
        {"[fe80::1%3]:5", "[fe80::1%3]:40000"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct ouro_socket_addr addr = parsed(texts[i][0]);
        ck_assert_int_eq(ouro_socket_addr_set_port(&addr, 40000), 0);
        ck_assert_str_eq(formatted(&addr), texts[i][1]);
        ck_assert_uint_eq(ouro_socket_addr_port(&addr), 40000);
    }
    struct ouro_socket_addr addr = parsed("unix:/x");
    ck_assert_int_eq(ouro_socket_addr_set_port(&addr, 1), -EAFNOSUPPORT);
}

OURO_TEST_UNIT(format_cuts_and_terminates)
{
    struct ouro_socket_addr addr = parsed("[2001:db8::1]:443");
    const char *whole = "[2001:db8::1]:443";
    for (size_t size = 1; size <= strlen(whole) + 1; size++) {
        char text[32];
        memset(text, '#', sizeof(text));
        ck_assert_ptr_eq(ouro_socket_addr_format(&addr, text, size), text);
        ck_assert_uint_eq(strlen(text), size - 1);
        ck_assert_int_eq(strncmp(text, whole, size - 1), 0);
        ck_assert_int_eq(text[size], '#');
    }
}
