/* SPDX-License-Identifier: MIT */
/*
 * SocketAddr as text, both ways.
 *
 * The grammar is narrow on purpose: four decimal parts for IPv4 (the older forms "127.1" and
 * "0x7f000001" serve to by-pass filters), brackets around IPv6 whenever a port follows, a port of
 * digits only.  An IPv6 scope is read as a number or the name of an interface.  It is written as a
 * number, which needs no system call and stays right when an interface is renamed.
 *
 *     1.2.3.4:80    [::1]:80    [fe80::1%lo]:80    unix:/path    unix:@abstract
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  what format() writes of an address that parse() made, parse() reads back as its equal.
 * Tests:   tests/net/test_socket_addr.c, tests/fuzz/fuzz_socket_addr.c
 */
#include "net/socket_addr.h"

#include <ouro/error.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/compiler.h"
#include "base/kernel.h"
#include "base/text.h"

static const char unix_prefix[] = "unix:";

#define UNIX_PREFIX_LENGTH (sizeof(unix_prefix) - 1)
#define UNIX_PATH_AT offsetof(struct sockaddr_un, sun_path)
#define PORT_DIGITS_MAX 5
#define SCOPE_DIGITS_MAX 10

/* A number of at most @digits_max decimal digits, all of @length bytes; false for anything else. */
static bool parse_number(const char *text, size_t length, size_t digits_max, uint64_t *out)
{
    uint64_t value = 0;
    if (length == 0 || length > digits_max)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *out = value;
    return true;
}

int ouro__socket_addr_parse_port(const char *text, uint16_t *out_port)
{
    uint64_t value = 0;
    if (!parse_number(text, strlen(text), PORT_DIGITS_MAX, &value) || value > UINT16_MAX)
        return -OURO_EADDRSYNTAX;
    *out_port = (uint16_t)value;
    return 0;
}

/* Copies @length bytes into a terminated @buffer; false when they do not fit or contain a zero. */
static bool copy_text(const char *text, size_t length, char *buffer, size_t size)
{
    if (length == 0 || length >= size || memchr(text, '\0', length) != NULL)
        return false;
    memcpy(buffer, text, length);
    buffer[length] = '\0';
    return true;
}

static int parse_scope(const char *text, size_t length, uint32_t *out_scope_id)
{
    uint64_t number = 0;
    char name[IF_NAMESIZE];

    if (parse_number(text, length, SCOPE_DIGITS_MAX, &number)) {
        if (number > UINT32_MAX)
            return -OURO_EADDRSYNTAX;
        *out_scope_id = (uint32_t)number;
        return 0;
    }
    if (!copy_text(text, length, name, sizeof(name)))
        return -OURO_EADDRSYNTAX;
    int64_t index = ouro__kernel_interface_index(name);
    /* The look-up needs a descriptor.  Without one the text may still be right. */
    if (index == -EMFILE || index == -ENFILE || index == -ENOMEM)
        return (int)index;
    if (index < 0)
        return -OURO_EADDRSYNTAX;
    *out_scope_id = (uint32_t)index;
    return 0;
}

int ouro__socket_addr_parse_host(const char *host, size_t length, uint16_t port,
                                 struct ouro_socket_addr *out_addr)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr in;
    struct in6_addr in6;
    uint32_t scope_id = 0;

    const char *percent = memchr(host, '%', length);
    size_t digits = percent == NULL ? length : (size_t)(percent - host);
    if (!copy_text(host, digits, text, sizeof(text)))
        return -OURO_EADDRSYNTAX;
    if (percent == NULL && inet_pton(AF_INET, text, &in) == 1) {
        *out_addr = ouro__socket_addr_ipv4(in, port);
        return 0;
    }
    if (inet_pton(AF_INET6, text, &in6) != 1)
        return -OURO_EADDRSYNTAX;
    if (percent != NULL) {
        int rc = parse_scope(percent + 1, length - digits - 1, &scope_id);
        if (rc < 0)
            return rc;
    }
    *out_addr = ouro__socket_addr_ipv6(&in6, scope_id, port);
    return 0;
}

bool ouro__socket_addr_is_unix_text(const char *text)
{
    return strncmp(text, unix_prefix, UNIX_PREFIX_LENGTH) == 0;
}

/* @name is what follows "unix:"; a leading '@' stands for the zero byte of an abstract name. */
static int parse_unix(const char *name, struct ouro_socket_addr *out_addr)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    bool abstract = name[0] == '@';

    if (length == (abstract ? 1u : 0u))
        return -OURO_EADDRSYNTAX;
    if (length > sizeof(un.sun_path) || (!abstract && length == sizeof(un.sun_path)))
        return -ENAMETOOLONG;
    memcpy(un.sun_path, name, length);
    if (abstract)
        un.sun_path[0] = '\0';
    return ouro_socket_addr_from_sockaddr((const struct sockaddr *)(const void *)&un,
                                          UNIX_PATH_AT + length + (abstract ? 0 : 1), out_addr);
}

int ouro_socket_addr_parse(const char *text, struct ouro_socket_addr *out_addr)
{
    uint16_t port = 0;

    if (text == NULL || out_addr == NULL)
        return -EINVAL;
    if (ouro__socket_addr_is_unix_text(text))
        return parse_unix(text + UNIX_PREFIX_LENGTH, out_addr);

    const char *colon = strrchr(text, ':');
    if (colon == NULL || ouro__socket_addr_parse_port(colon + 1, &port) < 0)
        return -OURO_EADDRSYNTAX;
    size_t length = (size_t)(colon - text);
    if (text[0] == '[') {
        if (length < 2 || text[length - 1] != ']' || memchr(text, ':', length) == NULL)
            return -OURO_EADDRSYNTAX;
        return ouro__socket_addr_parse_host(text + 1, length - 2, port, out_addr);
    }
    if (memchr(text, ':', length) !=
        NULL) /* "::1:80" is ambiguous: an address, or one with a port */
        return -OURO_EADDRSYNTAX;
    return ouro__socket_addr_parse_host(text, length, port, out_addr);
}

static void put_ipv6(struct ouro__text *text, const struct sockaddr_in6 *in6)
{
    char host[INET6_ADDRSTRLEN];
    ouro__text_put(text, "[");
    ouro__text_put(text, inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)));
    if (in6->sin6_scope_id != 0) {
        ouro__text_put(text, "%");
        ouro__text_put_number(text, in6->sin6_scope_id);
    }
    ouro__text_put(text, "]");
}

static void put_unix(struct ouro__text *text, const struct ouro_socket_addr *addr)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t size = addr->length - UNIX_PATH_AT;

    memcpy(&un, addr->storage, addr->length);
    ouro__text_put(text, unix_prefix);
    if (size == 0)
        return;
    if (un.sun_path[0] != '\0') {
        if (un.sun_path[0] == '@') /* a file whose name begins with '@', not an abstract name */
            ouro__text_put(text, "./");
        ouro__text_put_bytes(text, un.sun_path, strnlen(un.sun_path, size));
        return;
    }
    for (size_t i = 0; i < size; i++) /* as ss(8) shows it: every zero byte as '@' */
        ouro__text_put_bytes(text, un.sun_path[i] == '\0' ? "@" : &un.sun_path[i], 1);
}

const char *ouro_socket_addr_format(const struct ouro_socket_addr *addr, char *buffer,
                                    size_t size_bytes)
{
    char host[INET_ADDRSTRLEN];

    if (buffer == NULL || size_bytes == 0)
        return "";
    struct ouro__text text = ouro__text_in(buffer, size_bytes);
    if (addr == NULL)
        return buffer;
    if (!ouro__socket_addr_is_valid(addr)) {
        ouro__text_put(&text, "family 0");
        return buffer;
    }
    switch (ouro_socket_addr_family(addr)) {
    case AF_INET: {
        struct sockaddr_in in;
        memcpy(&in, addr->storage, sizeof(in));
        ouro__text_put(&text, inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host)));
        break;
    }
    case AF_INET6: {
        struct sockaddr_in6 in6;
        memcpy(&in6, addr->storage, sizeof(in6));
        put_ipv6(&text, &in6);
        break;
    }
    case AF_UNIX:
        put_unix(&text, addr);
        return buffer;
    default:
        ouro__text_put(&text, "family ");
        ouro__text_put_number(&text, (uint32_t)ouro_socket_addr_family(addr));
        return buffer;
    }
    ouro__text_put(&text, ":");
    ouro__text_put_number(&text, ouro_socket_addr_port(addr));
    return buffer;
}
