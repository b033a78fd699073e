/* SPDX-License-Identifier: MIT */
/*
 * Socket addresses, and ToSocketAddrs: the forms in which a caller can name addresses.
 *
 * Literals ("127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80") are parsed in the calling thread,
 * without waiting.  Names are looked up by getaddrinfo(3) on the blocking pool, so /etc/hosts and
 * nsswitch.conf apply.  The old forms of IPv4 ("127.1", "0x7f000001") are refused.
 */
#ifndef OURO_ADDR_H
#define OURO_ADDR_H

#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sockaddr;

/* Size of the longest text of an address, with its terminator: "unix:" and an AF_UNIX path. */
#define OURO_ADDR_TEXT_MAX 128

/* One IPv4, IPv6 or Unix address.  Copy it as a value; compare with ouro_socket_addr_equal(). */
struct ouro_socket_addr {
    uint32_t length;      /* of the struct sockaddr in storage, in bytes */
    uint32_t reserved;    /* 0 */
    uint64_t storage[16]; /* a struct sockaddr_in, _in6 or _un */
};

/* Where addresses come from. */
enum ouro_addrs_kind {
    OURO_ADDRS_TEXT = 1,      /* "HOST:PORT": a literal or a name; the port is a number */
    OURO_ADDRS_HOST_PORT = 2, /* host, port: a literal without brackets, or a name */
    OURO_ADDRS_LIST = 3       /* an array of addresses */
};

#define OURO_ADDRS_F_IPV4 (1u << 0) /* only IPv4 addresses; with both bits or none: either */
#define OURO_ADDRS_F_IPV6 (1u << 1) /* only IPv6 addresses */

struct ouro_to_socket_addrs {
    enum ouro_addrs_kind kind;
    uint32_t flags;                      /* OURO_ADDRS_F_... */
    const char *text;                    /* TEXT: all of it; HOST_PORT: the host */
    const struct ouro_socket_addr *list; /* LIST */
    size_t count;                        /* LIST: how many */
    uint16_t port;                       /* HOST_PORT: in host byte order */
};

#ifndef __cplusplus
/* "127.0.0.1:6142", "[::1]:80", "example.org:443", as an argument of a call. */
#define OURO_ADDRS(address_text)                                                                   \
    (&(const struct ouro_to_socket_addrs){.kind = OURO_ADDRS_TEXT, .text = (address_text)})
/* Host and port as two arguments.  The host is a literal without brackets, or a name. */
#define OURO_HOST_PORT(host_text, port_number)                                                     \
    (&(const struct ouro_to_socket_addrs){                                                         \
        .kind = OURO_ADDRS_HOST_PORT, .text = (host_text), .port = (port_number)})
/* An array of addresses. */
#define OURO_ADDR_LIST(address_list, address_count)                                                \
    (&(const struct ouro_to_socket_addrs){                                                         \
        .kind = OURO_ADDRS_LIST, .list = (address_list), .count = (address_count)})
#endif

/*
 * Parses "1.2.3.4:80", "[::1]:80", "[fe80::1%lo]:80" or "unix:/path" ("unix:@name": abstract).
 *
 * Errors:  -OURO_EADDRSYNTAX when the text has none of these forms (a host name has none);
 *          -ENAMETOOLONG for a path that does not fit; -EINVAL for NULL.
 * Threads: any.
 * Since:   0.1
 */
OURO_API int ouro_socket_addr_parse(const char *text,
                                    struct ouro_socket_addr *out_addr) OURO_MUST_CHECK;

/*
 * Writes the address in the form that ouro_socket_addr_parse() reads.  An address of an unknown
 * family becomes "family N", an unnamed Unix address "unix:".
 *
 * Owns:    @buffer is the caller's; the text is cut to @size_bytes, always terminated.  Returns it,
 *          or "" without a buffer.
 * Threads: any.
 * Since:   0.1
 */
OURO_API const char *ouro_socket_addr_format(const struct ouro_socket_addr *addr, char *buffer,
                                             size_t size_bytes);

/*
 * Makes an address from a struct sockaddr.
 *
 * Errors:  -EINVAL for NULL, or a length that is too short for the family or too long to keep.
 * Threads: any.
 * Since:   0.1
 */
OURO_API int ouro_socket_addr_from_sockaddr(const struct sockaddr *addr, size_t length_bytes,
                                            struct ouro_socket_addr *out_addr) OURO_MUST_CHECK;

/*
 * Returns the address as a struct sockaddr; its length is addr->length.
 *
 * Owns:    points into *addr.
 * Threads: any.
 * Since:   0.1
 */
OURO_API const struct sockaddr *ouro_socket_addr_sockaddr(const struct ouro_socket_addr *addr);

/*
 * Returns the family: AF_INET, AF_INET6 or AF_UNIX; AF_UNSPEC for an empty address.
 *
 * Errors:  none.
 * Threads: any.
 * Since:   0.1
 */
OURO_API int ouro_socket_addr_family(const struct ouro_socket_addr *addr);

/*
 * Returns the port in host byte order, or 0 when the address has none.
 *
 * Threads: any.
 * Since:   0.1
 */
OURO_API uint16_t ouro_socket_addr_port(const struct ouro_socket_addr *addr);

/*
 * Sets the port, in host byte order.
 *
 * Errors:  -EAFNOSUPPORT for an address that has none; -EINVAL for NULL.
 * Threads: any.
 * Since:   0.1
 */
OURO_API int ouro_socket_addr_set_port(struct ouro_socket_addr *addr, uint16_t port);

/*
 * Compares two addresses: 1 when family, address, port and scope are equal, else 0.
 *
 * Errors:  none.
 * Threads: any.
 * Since:   0.1
 */
OURO_API int ouro_socket_addr_equal(const struct ouro_socket_addr *left,
                                    const struct ouro_socket_addr *right);

/*
 * Resolves @from to a list of addresses.  Literals are parsed at once.  Names are looked up by the
 * resolver, whose order (RFC 6724) is kept.
 *
 * Suspends: for names only, until the resolver answers.  An interrupted call returns at once; the
 *           look-up continues on its thread, and its result is discarded.
 * Owns:     *out_list is the caller's; release with ouro_addr_list_free().
 * Errors:   -OURO_EADDRSYNTAX; -OURO_ENOADDRESS for an empty list or nothing left after the flags;
 *           -(OURO_ERESOLVE + code) from getaddrinfo(3), and its errno for EAI_SYSTEM; -EMFILE or
 *           -ENFILE with fewer than eight descriptors left for the resolver; -ENAMETOOLONG;
 *           -ENOMEM; -EINVAL; those of every suspending call.
 * Since:    0.1
 */
OURO_API int ouro_resolve(const struct ouro_to_socket_addrs *from,
                          struct ouro_socket_addr **out_list, size_t *out_count) OURO_MUST_CHECK;

/*
 * Releases a list that ouro_resolve() made; NULL is ignored.
 *
 * Owns:    takes @list.
 * Threads: any.
 * Since:   0.1
 */
OURO_API void ouro_addr_list_free(struct ouro_socket_addr *list);

#ifdef __cplusplus
}
#endif

#endif
