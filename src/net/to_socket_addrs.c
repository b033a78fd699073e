/* SPDX-License-Identifier: MIT */
/*
 * ToSocketAddrs: tells literals from names.
 *
 * Text that parses as a literal address is one.  Other text is a name if it consists of letters,
 * digits, '-', '_', '.' and bytes beyond ASCII.  The old forms of IPv4, "127.1" and "2130706433",
 * consist of these too, and getaddrinfo(3) would turn them into addresses silently.  They are
 * refused here: otherwise a program that filters by the text it was given would be by-passed.
 *
 * Owns:    an addr_vec owns its heap block.
 * Threads: any.
 * Always:  never waits, and never calls the resolver.
 * Tests:   tests/net/test_to_socket_addrs.c
 */
#include "net/to_socket_addrs.h"

#include <ouro/error.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "net/socket_addr.h"

#define FLAGS_KNOWN (OURO_ADDRS_F_IPV4 | OURO_ADDRS_F_IPV6)

void ouro__addr_vec_init(struct ouro__addr_vec *vec)
{
    vec->count = 0;
    vec->capacity = OURO__ADDR_VEC_INLINE;
    vec->heap = NULL;
}

void ouro__addr_vec_fini(struct ouro__addr_vec *vec)
{
    ouro__free(vec->heap);
    ouro__addr_vec_init(vec);
}

struct ouro_socket_addr *ouro__addr_vec_items(struct ouro__addr_vec *vec)
{
    return vec->heap != NULL ? vec->heap : vec->place;
}

int ouro__addr_vec_reserve(struct ouro__addr_vec *vec, size_t count)
{
    if (count <= vec->capacity)
        return 0;
    struct ouro_socket_addr *heap = ouro__calloc(count, sizeof(*heap));
    if (heap == NULL)
        return -ENOMEM;
    memcpy(heap, ouro__addr_vec_items(vec), vec->count * sizeof(*heap));
    ouro__free(vec->heap);
    vec->heap = heap;
    vec->capacity = count;
    return 0;
}

int ouro__addr_vec_push(struct ouro__addr_vec *vec, const struct ouro_socket_addr *addr)
{
    if (vec->count == vec->capacity) {
        int rc = ouro__addr_vec_reserve(vec, vec->capacity * 2);
        if (rc < 0)
            return rc;
    }
    ouro__addr_vec_items(vec)[vec->count++] = *addr;
    return 0;
}

void ouro__addr_vec_adopt(struct ouro__addr_vec *vec, struct ouro_socket_addr *list, size_t count)
{
    OURO__ASSERT(vec->count == 0);
    ouro__addr_vec_fini(vec);
    vec->heap = list;
    vec->count = count;
    vec->capacity = count;
}

struct ouro_socket_addr *ouro__addr_vec_release(struct ouro__addr_vec *vec)
{
    struct ouro_socket_addr *list = vec->heap;
    if (list == NULL) {
        list = ouro__calloc(vec->count, sizeof(*list));
        if (list == NULL)
            return NULL;
        memcpy(list, vec->place, vec->count * sizeof(*list));
    }
    ouro__addr_vec_init(vec);
    return list;
}

/* The family that the flags select; both flags, or none, select all. */
static int family_of(uint32_t flags)
{
    switch (flags & FLAGS_KNOWN) {
    case OURO_ADDRS_F_IPV4:
        return AF_INET;
    case OURO_ADDRS_F_IPV6:
        return AF_INET6;
    default:
        return AF_UNSPEC;
    }
}

static int push_if_wanted(struct ouro__addr_vec *vec, const struct ouro_socket_addr *addr,
                          int family)
{
    if (family != AF_UNSPEC && ouro_socket_addr_family(addr) != family)
        return 0;
    return ouro__addr_vec_push(vec, addr);
}

static bool is_name_byte(unsigned char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-' || byte == '_' || byte == '.' ||
           byte >= 0x80;
}

/* Makes @length bytes the name to look up; false when they cannot be a name. */
static bool take_name(const char *name, size_t length, struct ouro__name_query *query)
{
    struct in_addr ignored;

    /* No name begins with a dot; and text that begins with '-' is a misplaced option. */
    if (length == 0 || length > OURO__NAME_MAX || name[0] == '.' || name[0] == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_name_byte((unsigned char)name[i]))
            return false;
    memcpy(query->name, name, length);
    query->name[length] = '\0';
    return inet_aton(query->name, &ignored) == 0;
}

static int from_list(const struct ouro_to_socket_addrs *from, struct ouro__addr_vec *vec,
                     int family)
{
    if (from->list == NULL && from->count > 0)
        return -EINVAL;
    for (size_t i = 0; i < from->count; i++)
        if (!ouro__socket_addr_is_valid(&from->list[i]))
            return -EINVAL;
    int rc = ouro__addr_vec_reserve(vec, from->count);
    for (size_t i = 0; rc == 0 && i < from->count; i++)
        rc = push_if_wanted(vec, &from->list[i], family);
    return rc;
}

static int from_host(const char *host, size_t length, uint16_t port, int family,
                     struct ouro__addr_vec *vec, struct ouro__name_query *query)
{
    struct ouro_socket_addr addr;

    int rc = ouro__socket_addr_parse_host(host, length, port, &addr);
    if (rc == 0)
        return push_if_wanted(vec, &addr, family);
    if (rc != -OURO_EADDRSYNTAX)
        return rc;
    query->port = port;
    query->family = family;
    return take_name(host, length, query) ? OURO__ADDRS_QUESTION : -OURO_EADDRSYNTAX;
}

static int from_text(const char *text, int family, struct ouro__addr_vec *vec,
                     struct ouro__name_query *query)
{
    struct ouro_socket_addr addr;
    uint16_t port = 0;

    if (text == NULL)
        return -EINVAL;
    if (text[0] == '[' || ouro__socket_addr_is_unix_text(text)) { /* never names */
        int rc = ouro_socket_addr_parse(text, &addr);
        return rc < 0 ? rc : push_if_wanted(vec, &addr, family);
    }
    const char *colon = strchr(text, ':');
    if (colon == NULL)
        return -OURO_EADDRSYNTAX;
    int rc = ouro__socket_addr_parse_port(colon + 1, &port); /* refuses a second colon */
    if (rc < 0)
        return rc;
    return from_host(text, (size_t)(colon - text), port, family, vec, query);
}

int ouro__to_socket_addrs(const struct ouro_to_socket_addrs *from, struct ouro__addr_vec *vec,
                          struct ouro__name_query *query)
{
    int rc = -EINVAL;

    if (from == NULL || (from->flags & ~FLAGS_KNOWN) != 0)
        return -EINVAL;
    int family = family_of(from->flags);
    switch (from->kind) {
    case OURO_ADDRS_TEXT:
        rc = from_text(from->text, family, vec, query);
        break;
    case OURO_ADDRS_HOST_PORT:
        if (from->text != NULL)
            rc = from_host(from->text, strlen(from->text), from->port, family, vec, query);
        break;
    case OURO_ADDRS_LIST:
        rc = from_list(from, vec, family);
        break;
    }
    return rc == OURO__ADDRS_READY && vec->count == 0 ? -OURO_ENOADDRESS : rc;
}
