/* SPDX-License-Identifier: MIT */
/*
 * SocketAddr inside the library: what the public calls of ouro/addr.h leave out.
 *
 * The storage of an address is an array of words.  It is read and written by memcpy into a
 * sockaddr_in, _in6 or _un of one's own, never through a cast pointer: only the kernel looks at it
 * in place.
 */
#ifndef OURO_NET_SOCKET_ADDR_H
#define OURO_NET_SOCKET_ADDR_H

#include <ouro/addr.h>

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the length fits the family.  Every address that comes from a caller is checked with this
 * first. */
bool ouro__socket_addr_is_valid(const struct ouro_socket_addr *addr);

/* Makes an address of its parts; @scope_id 0: none. */
struct ouro_socket_addr ouro__socket_addr_ipv4(struct in_addr host, uint16_t port);
struct ouro_socket_addr ouro__socket_addr_ipv6(const struct in6_addr *host, uint32_t scope_id,
                                               uint16_t port);

/*
 * Parses a literal host of @length bytes, "1.2.3.4", "fe80::1%lo": no brackets, no port.
 *
 * Errors:  -OURO_EADDRSYNTAX when it is none, or names an interface that does not exist; -EMFILE,
 *          -ENFILE, -ENOMEM when the interface could not be looked up.
 */
int ouro__socket_addr_parse_host(const char *host, size_t length, uint16_t port,
                                 struct ouro_socket_addr *out_addr);

/*
 * Parses a port: one to five digits and nothing else, at most 65535.
 *
 * Errors:  -OURO_EADDRSYNTAX.
 */
int ouro__socket_addr_parse_port(const char *text, uint16_t *out_port);

/* Whether @text begins with "unix:". */
bool ouro__socket_addr_is_unix_text(const char *text);

#endif
