/* SPDX-License-Identifier: MIT */
/*
 * ToSocketAddrs: what is an address at once, what is a question for the resolver, what is neither.
 */
#include "support/ouro_test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "net/to_socket_addrs.h"
#include "ouro/addr.h"
#include "ouro/error.h"

#define IPV4 OURO_ADDRS_F_IPV4
#define IPV6 OURO_ADDRS_F_IPV6

static struct ouro__addr_vec vec;
static struct ouro__name_query query;

static int ask(const struct ouro_to_socket_addrs *from)
{
    ouro__addr_vec_fini(&vec);
    memset(&query, 0, sizeof(query));
    return ouro__to_socket_addrs(from, &vec, &query);
}

static int ask_text(const char *text, uint32_t flags)
{
    return ask(
        &(struct ouro_to_socket_addrs){.kind = OURO_ADDRS_TEXT, .text = text, .flags = flags});
}

static int ask_host(const char *host, uint16_t port)
{
    return ask(OURO_HOST_PORT(host, port));
}

/* The addresses of the last answer as text, separated by blanks. */
static const char *answer(void)
{
    static char text[1024];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < vec.count; i++) {
        if (i > 0)
            text[at++] = ' ';
        (void)ouro_socket_addr_format(&ouro__addr_vec_items(&vec)[i], text + at, sizeof(text) - at);
        at += strlen(text + at);
    }
    return text;
}

OURO_TEST_UNIT(literals_are_ready_at_once)
{
    ck_assert_int_eq(ask(OURO_ADDRS("127.0.0.1:6142")), OURO__ADDRS_READY);
    ck_assert_str_eq(answer(), "127.0.0.1:6142");
    ck_assert_int_eq(ask(OURO_ADDRS("[::1]:80")), OURO__ADDRS_READY);
    ck_assert_str_eq(answer(), "[::1]:80");
    ck_assert_int_eq(ask(OURO_ADDRS("unix:/run/x")), OURO__ADDRS_READY);
    ck_assert_str_eq(answer(), "unix:/run/x");
    ck_assert_int_eq(ask(OURO_HOST_PORT("192.0.2.7", 81)), OURO__ADDRS_READY);
    ck_assert_str_eq(answer(), "192.0.2.7:81");
    ck_assert_int_eq(ask(OURO_HOST_PORT("fe80::1%4", 81)), OURO__ADDRS_READY);
    ck_assert_str_eq(answer(), "[fe80::1%4]:81");
}

OURO_TEST_UNIT(literals_need_no_heap)
{
    uint64_t before = ouro__alloc_calls();
    ck_assert_int_eq(ask(OURO_ADDRS("127.0.0.1:6142")), OURO__ADDRS_READY);
    ck_assert_int_eq(ask(OURO_ADDRS("localhost:6142")), OURO__ADDRS_QUESTION);
    ck_assert_uint_eq(ouro__alloc_calls(), before);
}

OURO_TEST_UNIT(names_are_questions)
{
    ck_assert_int_eq(ask_text("localhost:6142", 0), OURO__ADDRS_QUESTION);
    ck_assert_str_eq(query.name, "localhost");
    ck_assert_uint_eq(query.port, 6142);
    ck_assert_int_eq(query.family, AF_UNSPEC);
    ck_assert_uint_eq(vec.count, 0);

    ck_assert_int_eq(ask_text("example.org.:1", IPV4), OURO__ADDRS_QUESTION);
    ck_assert_str_eq(query.name, "example.org.");
    ck_assert_int_eq(query.family, AF_INET);
    ck_assert_int_eq(ask_text("example.org:1", IPV6), OURO__ADDRS_QUESTION);
    ck_assert_int_eq(query.family, AF_INET6);
    ck_assert_int_eq(ask_text("example.org:1", IPV4 | IPV6), OURO__ADDRS_QUESTION);
    ck_assert_int_eq(query.family, AF_UNSPEC);

    ck_assert_int_eq(ask_host("_srv.my-host.42x", 9), OURO__ADDRS_QUESTION);
    ck_assert_str_eq(query.name, "_srv.my-host.42x");
    ck_assert_uint_eq(query.port, 9);
    /* An id of twelve digits is a container's name, and too large for an address. */
    ck_assert_int_eq(ask_host("123456789012", 9), OURO__ADDRS_QUESTION);
    ck_assert_int_eq(ask_host("b\xc3\xbc"
                              "cher.example",
                              9),
                     OURO__ADDRS_QUESTION);
}

OURO_TEST_UNIT(what_is_neither_is_a_syntax_error)
{
    static const char *const texts[] = {
        "",
        ":",
        ":80",
        "localhost",
        "localhost:",
        "localhost:http",
        "localhost:65536",
        "localhost:80:80",
        "::1:80",
        "[localhost]:80",
        "[::1]",
        "[::1%nosuchif0]:80",
        "unix:",
        "my host:80",
        "host\n:80",
        "host%lo:80",
        "user@host:80",
        "http://host:80",
        ".:80",
        ".host:80",
        "-host:80",
        "*:80",
        /* the old ways to write IPv4 */
        "127.1:80",
        "2130706433:80",
        "0x7f000001:80",
        "0177.0.0.1:80",
        "127.0.0.01:80",
        "0:80",
        "1.2.3.256:80x",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int rc = ask_text(texts[i], 0);
        ck_assert_msg(rc == -OURO_EADDRSYNTAX, "\"%s\": %d", texts[i], rc);
        ck_assert_uint_eq(vec.count, 0);
    }
    static const char *const hosts[] = {"", "[::1]", "1.2.3.4:80", "host:80", "unix:/x", "127.1"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        ck_assert_msg(ask_host(hosts[i], 80) == -OURO_EADDRSYNTAX, "\"%s\"", hosts[i]);
}

OURO_TEST_UNIT(names_have_a_longest_length)
{
    char host[OURO__NAME_MAX + 2];
    memset(host, 'a', sizeof(host));
    host[OURO__NAME_MAX + 1] = '\0';
    ck_assert_int_eq(ask_host(host, 1), -OURO_EADDRSYNTAX);
    host[OURO__NAME_MAX] = '\0';
    ck_assert_int_eq(ask_host(host, 1), OURO__ADDRS_QUESTION);
    ck_assert_str_eq(query.name, host);
}

OURO_TEST_UNIT(flags_filter_literals)
{
    ck_assert_int_eq(ask_text("1.2.3.4:5", IPV4), OURO__ADDRS_READY);
    ck_assert_int_eq(ask_text("1.2.3.4:5", IPV6), -OURO_ENOADDRESS);
    ck_assert_int_eq(ask_text("[::1]:5", IPV6), OURO__ADDRS_READY);
    ck_assert_int_eq(ask_text("[::1]:5", IPV4), -OURO_ENOADDRESS);
    ck_assert_int_eq(ask_text("[::1]:5", IPV4 | IPV6), OURO__ADDRS_READY);
    ck_assert_int_eq(ask_text("unix:/x", IPV4), -OURO_ENOADDRESS);
}

static void fill_list(struct ouro_socket_addr *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = i % 2 == 0 ? "192.0.2.1:0" : "[2001:db8::1]:0";
        ck_assert_int_eq(ouro_socket_addr_parse(text, &list[i]), 0);
        ck_assert_int_eq(ouro_socket_addr_set_port(&list[i], (uint16_t)i), 0);
    }
}

OURO_TEST_UNIT(lists_are_taken_as_they_stand)
{
    struct ouro_socket_addr list[40];
    fill_list(list, 40);
    for (size_t count = 1; count <= 40; count++) {
        ck_assert_int_eq(ask(OURO_ADDR_LIST(list, count)), OURO__ADDRS_READY);
        ck_assert_uint_eq(vec.count, count);
        for (size_t i = 0; i < count; i++)
            ck_assert_int_eq(ouro_socket_addr_equal(&ouro__addr_vec_items(&vec)[i], &list[i]), 1);
    }
    struct ouro_to_socket_addrs from = *OURO_ADDR_LIST(list, 5);
    from.flags = IPV6;
    ck_assert_int_eq(ask(&from), OURO__ADDRS_READY);
    ck_assert_str_eq(answer(), "[2001:db8::1]:1 [2001:db8::1]:3");
    ouro__addr_vec_fini(&vec);
}

OURO_TEST_UNIT(empty_and_broken_lists_are_errors)
{
    struct ouro_socket_addr list[2];
    fill_list(list, 2);

    ck_assert_int_eq(ask(OURO_ADDR_LIST(list, 0)), -OURO_ENOADDRESS);
    ck_assert_int_eq(ask(OURO_ADDR_LIST(NULL, 0)), -OURO_ENOADDRESS);
    ck_assert_int_eq(ask(OURO_ADDR_LIST(NULL, 1)), -EINVAL);
    list[1].length = 0;
    ck_assert_int_eq(ask(OURO_ADDR_LIST(list, 2)), -EINVAL);
    ck_assert_int_eq(ask(OURO_ADDR_LIST(list, 1)), OURO__ADDRS_READY);
}

OURO_TEST_UNIT(misuse_is_an_argument_error)
{
    ck_assert_int_eq(ask(NULL), -EINVAL);
    ck_assert_int_eq(ask_text(NULL, 0), -EINVAL);
    ck_assert_int_eq(ask_host(NULL, 1), -EINVAL);
    ck_assert_int_eq(ask_text("1.2.3.4:5", 4), -EINVAL);
    ck_assert_int_eq(ask(&(struct ouro_to_socket_addrs){.text = "1.2.3.4:5"}), -EINVAL);
}

OURO_TEST_UNIT(lack_of_memory_leaves_nothing_behind)
{
    static struct ouro_socket_addr list[20];
    fill_list(list, 20);
    ouro__alloc_fail_at(1);
    ck_assert_int_eq(ask(OURO_ADDR_LIST(list, 20)), -ENOMEM);
    ck_assert_uint_eq(vec.count, 0);
    ouro__alloc_fail_at(0);
}

OURO_TEST_UNIT(vec_grows_and_keeps_its_items)
{
    struct ouro_socket_addr list[100];
    fill_list(list, 100);
    ouro__addr_vec_init(&vec);
    for (size_t i = 0; i < 100; i++)
        ck_assert_int_eq(ouro__addr_vec_push(&vec, &list[i]), 0);
    ck_assert_uint_eq(vec.count, 100);
    for (size_t i = 0; i < 100; i++)
        ck_assert_int_eq(ouro_socket_addr_equal(&ouro__addr_vec_items(&vec)[i], &list[i]), 1);
    ouro__addr_vec_fini(&vec);
    ck_assert_uint_eq(vec.count, 0);
}
