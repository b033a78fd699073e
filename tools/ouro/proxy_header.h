/* SPDX-License-Identifier: MIT */
/*
 * The header of the PROXY protocol, versions 1 and 2: bytes to addresses, and addresses to bytes.
 * The protocol is described in proxy-protocol.txt of HAProxy; the numbers of sections below are
 * its.
 */
#ifndef OURO_CLI_PROXY_HEADER_H
#define OURO_CLI_PROXY_HEADER_H

#include <ouro.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The longest line of version 1, and the longest header of version 2 (section 2). */
#define PROXY_HEADER_V1_MAX 107
#define PROXY_HEADER_V2_MAX (16 + 65535)

/* Room for every header that proxy_header_write() makes: version 2 with two Unix addresses. */
#define PROXY_HEADER_WRITE_MAX (16 + 216)

struct proxy_header {
    unsigned version; /* 1 or 2 */
    /*
     * Whether the addresses are known.  Without them (UNKNOWN, LOCAL, AF_UNSPEC, a protocol that
     * is no stream) the ends are those of the connection that carried the header.
     */
    bool has_addrs;
    struct ouro_socket_addr source;      /* the client */
    struct ouro_socket_addr destination; /* what the client connected to */
};

/*
 * Reads a header from the beginning of @bytes.  Returns its length when it is there as a whole; 0
 * when all bytes so far belong to a header that goes on; -EPROTO when this is no valid header, and
 * *out_why, a constant text, says why.  *out_header is set with a length only.
 */
ssize_t proxy_header_parse(const void *bytes, size_t size, struct proxy_header *out_header,
                           const char **out_why);

/*
 * Writes the header into @buffer of at least PROXY_HEADER_WRITE_MAX bytes, and returns its length.
 * IPv4 addresses that are mapped into IPv6 are written as IPv4 when both are.  Addresses that the
 * version cannot carry (two families; Unix addresses in version 1) become UNKNOWN or AF_UNSPEC.
 */
size_t proxy_header_write(const struct proxy_header *header, void *buffer);

#endif
