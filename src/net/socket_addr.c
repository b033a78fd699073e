/* SPDX-License-Identifier: MIT */
/*
 * SocketAddr: an address as a value.
 *
 * Addresses come from callers, the kernel and the resolver.  Each is normalized when it comes in:
 * the length is that of the family (for a Unix path: up to its terminator) and unused bytes are
 * zero.  So an address can be given to the kernel without a check.
 *
 * Owns:    nothing.
 * Threads: any; addresses are values.
 * Always:  reads no further than the address' length, also when a caller has overwritten it.
 * Tests:   tests/net/test_socket_addr.c
 */
#include "net/socket_addr.h"

#include <ouro/error.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define UNIX_PATH_AT offsetof(struct sockaddr_un, sun_path)

_Static_assert(sizeof(struct sockaddr_un) <= sizeof(((struct ouro_socket_addr *)0)->storage),
               "an address holds the longest Unix path");
_Static_assert(sizeof(((struct ouro_socket_addr *)0)->storage) == sizeof(struct sockaddr_storage),
               "an address holds what the kernel may return");

static struct sockaddr_in ipv4_of(const struct ouro_socket_addr *addr)
{
    struct sockaddr_in in;
    memcpy(&in, addr->storage, sizeof(in));
    return in;
}

static struct sockaddr_in6 ipv6_of(const struct ouro_socket_addr *addr)
{
    struct sockaddr_in6 in6;
    memcpy(&in6, addr->storage, sizeof(in6));
    return in6;
}

static struct ouro_socket_addr pack(const void *sockaddr, size_t length)
{
    struct ouro_socket_addr addr = {.length = (uint32_t)length};
    memcpy(addr.storage, sockaddr, length);
    return addr;
}

/* The shortest and longest length an address of the family may have; false for unknown families.
 */
static bool length_bounds(int family, size_t *out_min, size_t *out_max)
{
    switch (family) {
    case AF_INET:
        *out_min = *out_max = sizeof(struct sockaddr_in);
        return true;
    case AF_INET6:
        *out_min = *out_max = sizeof(struct sockaddr_in6);
        return true;
    case AF_UNIX:
        *out_min = UNIX_PATH_AT;
        *out_max = sizeof(struct sockaddr_un);
        return true;
    default:
        *out_min = sizeof(sa_family_t);
        *out_max = sizeof(((struct ouro_socket_addr *)0)->storage);
        return false;
    }
}

/* Each connect looks at it several times: no call, unlike the public function. */
static inline int family_of(const struct ouro_socket_addr *addr)
{
    sa_family_t family = AF_UNSPEC;
    if (addr == NULL || addr->length < sizeof(family))
        return AF_UNSPEC;
    memcpy(&family, addr->storage, sizeof(family));
    return family;
}

bool ouro__socket_addr_is_valid(const struct ouro_socket_addr *addr)
{
    size_t length_min = 0;
    size_t length_max = 0;
    const int family = family_of(addr);
    if (family == AF_UNSPEC)
        return false;
    (void)length_bounds(family, &length_min, &length_max);
    return addr->length >= length_min && addr->length <= length_max;
}

struct ouro_socket_addr ouro__socket_addr_ipv4(struct in_addr host, uint16_t port)
{
    const struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host};
    return pack(&in, sizeof(in));
}

struct ouro_socket_addr ouro__socket_addr_ipv6(const struct in6_addr *host, uint32_t scope_id,
                                               uint16_t port)
{
    const struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                                     .sin6_port = htons(port),
                                     .sin6_addr = *host,
                                     .sin6_scope_id = scope_id};
    return pack(&in6, sizeof(in6));
}

/*
 * The kernel reports a path with its terminator or, when 108 bytes are all path, without.  Bytes
 * behind the terminator are not part of the address; an abstract name has no terminator, every byte
 * of it counts.
 */
static size_t unix_length(const struct sockaddr_un *un, size_t length)
{
    size_t size = length - UNIX_PATH_AT;
    if (size == 0 || un->sun_path[0] == '\0')
        return length;
    size_t path = strnlen(un->sun_path, size);
    return UNIX_PATH_AT + (path < sizeof(un->sun_path) ? path + 1 : path);
}

int ouro_socket_addr_from_sockaddr(const struct sockaddr *addr, size_t length_bytes,
                                   struct ouro_socket_addr *out_addr)
{
    sa_family_t family = AF_UNSPEC;
    size_t length_min = 0;
    size_t length_max = 0;

    if (addr == NULL || out_addr == NULL || length_bytes < sizeof(family) ||
        length_bytes > sizeof(struct sockaddr_storage))
        return -EINVAL;
    memcpy(&family, addr, sizeof(family));
    bool known = length_bounds(family, &length_min, &length_max);
    if (length_bytes < length_min)
        return -EINVAL;

    if (family == AF_UNIX) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        if (length_bytes > length_max)
            return -EINVAL;
        memcpy(&un, addr, length_bytes);
        *out_addr = pack(&un, unix_length(&un, length_bytes));
        return 0;
    }
    if (family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, addr, sizeof(in));
        memset(in.sin_zero, 0, sizeof(in.sin_zero));
        *out_addr = pack(&in, sizeof(in));
        return 0;
    }
    /* Many callers pass the size of a sockaddr_storage for every family. */
    *out_addr = pack(addr, known && length_bytes > length_max ? length_max : length_bytes);
    return 0;
}

const struct sockaddr *ouro_socket_addr_sockaddr(const struct ouro_socket_addr *addr)
{
    return addr == NULL ? NULL : (const struct sockaddr *)(const void *)addr->storage;
}

int ouro_socket_addr_family(const struct ouro_socket_addr *addr)
{
    return family_of(addr);
}

uint16_t ouro_socket_addr_port(const struct ouro_socket_addr *addr)
{
    if (!ouro__socket_addr_is_valid(addr))
        return 0;
    switch (family_of(addr)) {
    case AF_INET:
        return ntohs(ipv4_of(addr).sin_port);
    case AF_INET6:
        return ntohs(ipv6_of(addr).sin6_port);
    default:
        return 0;
    }
}

int ouro_socket_addr_set_port(struct ouro_socket_addr *addr, uint16_t port)
{
    if (addr == NULL)
        return -EINVAL;
    if (!ouro__socket_addr_is_valid(addr))
        return -EAFNOSUPPORT;
    switch (family_of(addr)) {
    case AF_INET: {
        struct sockaddr_in in = ipv4_of(addr);
        in.sin_port = htons(port);
        *addr = pack(&in, sizeof(in));
        return 0;
    }
    case AF_INET6: {
        struct sockaddr_in6 in6 = ipv6_of(addr);
        in6.sin6_port = htons(port);
        *addr = pack(&in6, sizeof(in6));
        return 0;
    }
    default:
        return -EAFNOSUPPORT;
    }
}

static bool equal_ipv4(const struct sockaddr_in *left, const struct sockaddr_in *right)
{
    return left->sin_port == right->sin_port && left->sin_addr.s_addr == right->sin_addr.s_addr;
}

/* Without the flow label, which marks packets and is no part of their destination. */
static bool equal_ipv6(const struct sockaddr_in6 *left, const struct sockaddr_in6 *right)
{
    return left->sin6_port == right->sin6_port && left->sin6_scope_id == right->sin6_scope_id &&
           memcmp(&left->sin6_addr, &right->sin6_addr, sizeof(left->sin6_addr)) == 0;
}

int ouro_socket_addr_equal(const struct ouro_socket_addr *left,
                           const struct ouro_socket_addr *right)
{
    if (!ouro__socket_addr_is_valid(left) || !ouro__socket_addr_is_valid(right))
        return 0;
    if (family_of(left) != family_of(right))
        return 0;
    switch (family_of(left)) {
    case AF_INET: {
        const struct sockaddr_in a = ipv4_of(left);
        const struct sockaddr_in b = ipv4_of(right);
        return equal_ipv4(&a, &b);
    }
    case AF_INET6: {
        const struct sockaddr_in6 a = ipv6_of(left);
        const struct sockaddr_in6 b = ipv6_of(right);
        return equal_ipv6(&a, &b);
    }
    default:
        return left->length == right->length &&
               memcmp(left->storage, right->storage, left->length) == 0;
    }
}
