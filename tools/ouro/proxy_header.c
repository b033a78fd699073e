/* SPDX-License-Identifier: MIT */
/*
 * ProxyHeader: the PROXY protocol's header, read and written.
 *
 * A header names the client of a connection that a proxy makes for it, so whoever trusts it must
 * not be deceived.  What is not exactly a header is refused: nothing is guessed, and nothing is
 * skipped except where the protocol says so.  Those places are
 *
 *   version 1    what follows UNKNOWN up to the end of the line
 *   version 2    all after the first 16 bytes for LOCAL and AF_UNSPEC; TLVs of other types than
 *                CRC32C
 *
 * A checksum is compared wherever there is one.  After LOCAL and AF_UNSPEC the bytes need not be
 * TLVs, so there it is looked for only when they can be read as such.
 *
 * "::ffff:192.0.2.1" is accepted as an IPv6 address in version 1: the protocol's text knows
 * hexadecimal digits only, but inet_ntop(3) writes mapped addresses this way, and so do the proxies
 * that use it.
 *
 * The functions see bytes, not sockets.  Whoever reads them calls proxy_header_parse() again with
 * more bytes while it returns 0.
 *
 * Owns:    nothing.
 * Threads: any.
 */
#include "proxy_header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define V2_FIXED_BYTES 16
#define V2_UNIX_BYTES 108
#define TLV_FIXED_BYTES 3
#define TLV_CRC32C 0x03

static const char v1_start[] = "PROXY ";
static const unsigned char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static ssize_t refuse(const char **out_why, const char *why)
{
    *out_why = why;
    return -EPROTO;
}

/* The address in a struct sockaddr of a family that has a size of its own, or is a Unix one. */
static struct ouro_socket_addr addr_from(const void *sockaddr, size_t size)
{
    struct ouro_socket_addr addr;
    if (ouro_socket_addr_from_sockaddr(sockaddr, size, &addr) < 0)
        addr = (struct ouro_socket_addr){0}; /* does not happen: the size fits the family */
    return addr;
}

static struct ouro_socket_addr inet_addr_of(const void *address, uint16_t port_be)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port_be};
    memcpy(&in.sin_addr, address, sizeof(in.sin_addr));
    return addr_from(&in, sizeof(in));
}

static struct ouro_socket_addr inet6_addr_of(const void *address, uint16_t port_be)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port_be};
    memcpy(&in6.sin6_addr, address, sizeof(in6.sin6_addr));
    return addr_from(&in6, sizeof(in6));
}

/* 108 bytes of a sun_path: a path up to its zero, an abstract name, or none. */
static struct ouro_socket_addr unix_addr_of(const unsigned char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t length = 0;
    if (path[0] != '\0') {
        length = strnlen((const char *)path, V2_UNIX_BYTES);
    } else {
        /* The length of an abstract name is not sent: it ends where only zeros follow. */
        for (size_t i = 0; i < V2_UNIX_BYTES; i++)
            if (path[i] != '\0')
                length = i + 1;
    }
    memcpy(un.sun_path, path, length);
    return addr_from(&un, offsetof(struct sockaddr_un, sun_path) + length);
}

/* The next field of a line: all up to @end or a space, which is passed.  False without one. */
static bool next_field(const char **at, const char *end, char *field, size_t field_size)
{
    const char *space = memchr(*at, ' ', (size_t)(end - *at));
    size_t length = (size_t)((space != NULL ? space : end) - *at);
    if (length == 0 || length >= field_size)
        return false;
    memcpy(field, *at, length);
    field[length] = '\0';
    *at += length + (space != NULL ? 1 : 0);
    return true;
}

/* "0" to "65535" without leading zeros. */
static bool parse_port(const char *text, uint16_t *out_port_be)
{
    size_t length = strspn(text, "0123456789");
    unsigned value = 0;
    if (length == 0 || length > 5 || text[length] != '\0' || (length > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < length; i++)
        value = value * 10 + (unsigned)(text[i] - '0');
    *out_port_be = htons((uint16_t)value);
    return value <= UINT16_MAX;
}

/* "SOURCE DESTINATION PORT PORT", the rest of a line of TCP4 or TCP6, without its end. */
static bool parse_v1_addrs(const char *at, const char *end, int family, struct proxy_header *header)
{
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN], ports[2][6];
    unsigned char from[16], to[16];
    uint16_t port_be[2];
    if (!next_field(&at, end, source, sizeof(source)) || at == end ||
        !next_field(&at, end, destination, sizeof(destination)) || at == end ||
        !next_field(&at, end, ports[0], sizeof(ports[0])) || at == end ||
        !next_field(&at, end, ports[1], sizeof(ports[1])) || at != end || end[-1] == ' ')
        return false;
    /* inet_pton(3) takes four decimal numbers without leading zeros only, and no zones. */
    if (inet_pton(family, source, from) != 1 || inet_pton(family, destination, to) != 1 ||
        !parse_port(ports[0], &port_be[0]) || !parse_port(ports[1], &port_be[1]))
        return false;
    header->has_addrs = true;
    header->source =
        family == AF_INET ? inet_addr_of(from, port_be[0]) : inet6_addr_of(from, port_be[0]);
    header->destination =
        family == AF_INET ? inet_addr_of(to, port_be[1]) : inet6_addr_of(to, port_be[1]);
    return true;
}

/* Whether @text begins with @word, as far as there is text. */
static bool may_begin_with(const char *text, size_t size, const char *word)
{
    size_t length = strlen(word);
    return memcmp(text, word, size < length ? size : length) == 0;
}

/* The words that may follow "PROXY ".  A line that cannot become one of these is refused at once.
 */
static const struct {
    const char *word;
    int family; /* AF_UNSPEC: the rest of the line is ignored */
} v1_words[] = {
    {"TCP4 ", AF_INET}, {"TCP6 ", AF_INET6}, {"UNKNOWN ", AF_UNSPEC}, {"UNKNOWN\r\n", AF_UNSPEC}};

#define V1_WORDS (sizeof(v1_words) / sizeof(v1_words[0]))

/* Whether the text has only bytes that addresses and ports have; at its end one '\r', too. */
static bool is_v1_text(const char *text, size_t size)
{
    static const char known[] = "0123456789abcdefABCDEF.: ";
    for (size_t i = 0; i < size; i++) {
        bool is_end = text[i] == '\r' && i == size - 1;
        if (!is_end && (text[i] == '\0' || strchr(known, text[i]) == NULL))
            return false;
    }
    return true;
}

static ssize_t parse_v1(const char *text, size_t size, struct proxy_header *out_header,
                        const char **out_why)
{
    const char *word = text + strlen(v1_start);
    size_t word_size = size > strlen(v1_start) ? size - strlen(v1_start) : 0;
    size_t i = 0;
    while (i < V1_WORDS && !may_begin_with(word, word_size, v1_words[i].word))
        i++;
    if (i == V1_WORDS)
        return refuse(out_why, "version 1: the protocol is none of TCP4, TCP6 and UNKNOWN");
    size_t word_length = strlen(v1_words[i].word);
    if (word_size < word_length)
        return 0;

    /* "UNKNOWN\r\n" holds the end of the line already. */
    const char *rest = word + word_length - (word[word_length - 1] == '\n' ? 2 : 0);
    size_t line_max = size < PROXY_HEADER_V1_MAX ? size : PROXY_HEADER_V1_MAX;
    const char *end = memmem(rest, line_max - (size_t)(rest - text), "\r\n", 2);
    bool has_addrs = v1_words[i].family != AF_UNSPEC;
    if (has_addrs && !is_v1_text(rest, (size_t)((end != NULL ? end : text + line_max) - rest)))
        return refuse(out_why, "version 1: a byte that no address or port has");
    if (end == NULL && size >= PROXY_HEADER_V1_MAX)
        return refuse(out_why, "version 1: the line has no end within 107 bytes");
    if (end == NULL)
        return 0;
    struct proxy_header header = {.version = 1};
    if (has_addrs && !parse_v1_addrs(rest, end, v1_words[i].family, &header))
        return refuse(out_why, "version 1: the addresses or ports are malformed");
    *out_header = header;
    return end + 2 - text;
}

/* CRC-32C (Castagnoli) as in RFC 4960, appendix B; the four bytes at @hole count as zeros. */
static uint32_t crc32c(const unsigned char *bytes, size_t size, const unsigned char *hole)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        bool in_hole = bytes + i >= hole && bytes + i < hole + 4;
        crc ^= in_hole ? 0 : bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? UINT32_C(0x82f63b78) : 0);
    }
    return ~crc;
}

/* What the TLVs from @at to the header's end say.  NULL: nothing against the header. */
static const char *check_tlvs(const unsigned char *header, size_t at, size_t end)
{
    const unsigned char *checksum = NULL;
    while (at < end) {
        if (end - at < TLV_FIXED_BYTES)
            return "version 2: a TLV that is cut off";
        size_t length = (size_t)header[at + 1] << 8 | header[at + 2];
        const unsigned char *value = &header[at + TLV_FIXED_BYTES];
        if (length > end - at - TLV_FIXED_BYTES)
            return "version 2: a TLV that is longer than the header";
        if (header[at] == TLV_CRC32C) {
            if (length != 4)
                return "version 2: a checksum that has not 4 bytes";
            if (checksum != NULL)
                return "version 2: two checksums";
            checksum = value;
        }
        at += TLV_FIXED_BYTES + length;
    }
    if (checksum == NULL)
        return NULL;
    uint32_t seen = (uint32_t)checksum[0] << 24 | (uint32_t)checksum[1] << 16 |
                    (uint32_t)checksum[2] << 8 | checksum[3];
    return crc32c(header, end, checksum) == seen ? NULL : "version 2: the checksum does not match";
}

/* Whether the bytes from @at to @end can be read as TLVs. */
static bool are_tlvs(const unsigned char *header, size_t at, size_t end)
{
    while (end - at >= TLV_FIXED_BYTES) {
        size_t length = (size_t)header[at + 1] << 8 | header[at + 2];
        if (length > end - at - TLV_FIXED_BYTES)
            return false;
        at += TLV_FIXED_BYTES + length;
    }
    return at == end;
}

/* The size of the two addresses of a family, ports included; 0 for AF_UNSPEC and unknown ones. */
static size_t v2_addrs_size(unsigned family)
{
    static const size_t sizes[] = {0, 12, 36, 216};
    return family < sizeof(sizes) / sizeof(sizes[0]) ? sizes[family] : 0;
}

static void take_v2_addrs(const unsigned char *at, unsigned family, struct proxy_header *header)
{
    uint16_t ports_be[2];
    header->has_addrs = true;
    if (family == 1) {
        memcpy(ports_be, at + 8, sizeof(ports_be));
        header->source = inet_addr_of(at, ports_be[0]);
        header->destination = inet_addr_of(at + 4, ports_be[1]);
    } else if (family == 2) {
        memcpy(ports_be, at + 32, sizeof(ports_be));
        header->source = inet6_addr_of(at, ports_be[0]);
        header->destination = inet6_addr_of(at + 16, ports_be[1]);
    } else {
        header->source = unix_addr_of(at);
        header->destination = unix_addr_of(at + V2_UNIX_BYTES);
    }
}

static ssize_t parse_v2(const unsigned char *bytes, size_t size, struct proxy_header *out_header,
                        const char **out_why)
{
    if (size > 12 && bytes[12] >> 4 != 2)
        return refuse(out_why, "version 2: the version is not 2");
    if (size > 12 && (bytes[12] & 0xf) > 1)
        return refuse(out_why, "version 2: the command is neither LOCAL nor PROXY");
    if (size < V2_FIXED_BYTES)
        return 0;
    bool is_local = (bytes[12] & 0xf) == 0;
    unsigned family = bytes[13] >> 4, protocol = bytes[13] & 0xf;
    size_t length = (size_t)bytes[14] << 8 | bytes[15];
    size_t addrs_size = v2_addrs_size(family), end = V2_FIXED_BYTES + length;
    if (!is_local && (family > 3 || protocol > 2))
        return refuse(out_why, "version 2: an unknown family or protocol");
    if (!is_local && length < addrs_size)
        return refuse(out_why, "version 2: shorter than its addresses");
    if (size < end)
        return 0;

    struct proxy_header header = {.version = 2};
    size_t tlvs_at = V2_FIXED_BYTES + (addrs_size <= length ? addrs_size : 0);
    bool is_skipped = is_local || family == 0 || protocol == 0;
    if (!is_skipped || are_tlvs(bytes, tlvs_at, end)) {
        const char *why = check_tlvs(bytes, tlvs_at, end);
        if (why != NULL)
            return refuse(out_why, why);
    }
    if (!is_skipped && protocol == 1)
        take_v2_addrs(bytes + V2_FIXED_BYTES, family, &header);
    *out_header = header;
    return (ssize_t)end;
}

ssize_t proxy_header_parse(const void *bytes, size_t size, struct proxy_header *out_header,
                           const char **out_why)
{
    size_t v2_size = size < sizeof(v2_signature) ? size : sizeof(v2_signature);
    if (may_begin_with(bytes, size, v1_start))
        return parse_v1(bytes, size, out_header, out_why);
    if (memcmp(bytes, v2_signature, v2_size) == 0)
        return parse_v2(bytes, size, out_header, out_why);
    return refuse(out_why, "no PROXY header");
}

/* An IPv4 address that is mapped into IPv6 (RFC 4291, section 2.5.5.2), as IPv4. */
static bool unmap(const struct ouro_socket_addr *addr, struct ouro_socket_addr *out_addr)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)addr->storage;
    if (ouro_socket_addr_family(addr) != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        return false;
    *out_addr = inet_addr_of(&in6->sin6_addr.s6_addr[12], in6->sin6_port);
    return true;
}

/* The address itself, without port: 4, 16 or 108 bytes.  Returns how many. */
static size_t address_bytes(const struct ouro_socket_addr *addr, void *out)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)addr->storage;
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr->storage;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)addr->storage;
    size_t head = offsetof(struct sockaddr_un, sun_path);
    switch (ouro_socket_addr_family(addr)) {
    case AF_INET:
        memcpy(out, &in->sin_addr, 4);
        return 4;
    case AF_INET6:
        memcpy(out, &in6->sin6_addr, 16);
        return 16;
    default:
        memset(out, 0, V2_UNIX_BYTES);
        if (addr->length > head) {
            size_t length = addr->length - head;
            memcpy(out, un->sun_path, length < V2_UNIX_BYTES ? length : V2_UNIX_BYTES);
        }
        return V2_UNIX_BYTES;
    }
}

static size_t write_v1(const struct proxy_header *header, char *buffer)
{
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
    unsigned char bytes[V2_UNIX_BYTES];
    int family = ouro_socket_addr_family(&header->source);
    if (!header->has_addrs || family == AF_UNIX)
        return (size_t)sprintf(buffer, "PROXY UNKNOWN\r\n");
    (void)address_bytes(&header->source, bytes);
    (void)inet_ntop(family, bytes, source, sizeof(source));
    (void)address_bytes(&header->destination, bytes);
    (void)inet_ntop(family, bytes, destination, sizeof(destination));
    return (size_t)sprintf(buffer, "PROXY TCP%c %s %s %u %u\r\n", family == AF_INET ? '4' : '6',
                           source, destination, ouro_socket_addr_port(&header->source),
                           ouro_socket_addr_port(&header->destination));
}

static size_t write_v2(const struct proxy_header *header, unsigned char *buffer)
{
    int family = header->has_addrs ? ouro_socket_addr_family(&header->source) : AF_UNSPEC;
    size_t size = V2_FIXED_BYTES;
    memcpy(buffer, v2_signature, sizeof(v2_signature));
    buffer[12] = 0x21; /* version 2, PROXY */
    buffer[13] = family == AF_INET    ? 0x11
                 : family == AF_INET6 ? 0x21
                 : family == AF_UNIX  ? 0x31
                                      : 0x00;
    if (header->has_addrs) {
        size += address_bytes(&header->source, buffer + size);
        size += address_bytes(&header->destination, buffer + size);
    }
    if (family == AF_INET || family == AF_INET6) {
        uint16_t ports_be[2] = {htons(ouro_socket_addr_port(&header->source)),
                                htons(ouro_socket_addr_port(&header->destination))};
        memcpy(buffer + size, ports_be, sizeof(ports_be));
        size += sizeof(ports_be);
    }
    buffer[14] = 0;
    buffer[15] = (unsigned char)(size - V2_FIXED_BYTES); /* at most 216 */
    return size;
}

size_t proxy_header_write(const struct proxy_header *header, void *buffer)
{
    struct proxy_header plain = *header;
    struct ouro_socket_addr source, destination;
    if (plain.has_addrs && unmap(&plain.source, &source) &&
        unmap(&plain.destination, &destination)) {
        plain.source = source;
        plain.destination = destination;
    }
    int family = ouro_socket_addr_family(&plain.source);
    if (family != ouro_socket_addr_family(&plain.destination) ||
        (family != AF_INET && family != AF_INET6 && family != AF_UNIX))
        plain.has_addrs = false;
    return plain.version == 1 ? write_v1(&plain, buffer) : write_v2(&plain, buffer);
}
