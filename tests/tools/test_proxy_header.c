/* SPDX-License-Identifier: MIT */
/*
 * The PROXY protocol's header: what is accepted, to which addresses; every way to be malformed; and
 * what is written.
 *
 * Each header is given byte by byte as well: every beginning of a good header asks for more, and
 * no beginning of a bad one is taken for a whole header.
 */
#include "support/ouro_test.h"

#include <stdlib.h>

#include "../../tools/ouro/proxy_header.c"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define V2_IPV4 V2 "\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x30\x39\x01\xbb"
#define UNKNOWN_79 "0123456789012345678901234567890123456789012345678901234567890123456789012345678"

/* A header as bytes with zeros inside. */
#define BYTES(text) (text), (sizeof(text) - 1)

static struct ouro_socket_addr addr_of(const char *text)
{
    struct ouro_socket_addr addr;
    ck_assert_msg(ouro_socket_addr_parse(text, &addr) == 0, "%s", text);
    return addr;
}

/* Parses a block of exactly @size bytes, so that a read behind it is seen. */
static ssize_t parse_exactly(const void *bytes, size_t size, struct proxy_header *header,
                             const char **why)
{
    char *block = malloc(size > 0 ? size : 1);
    ck_assert_ptr_nonnull(block);
    memcpy(block, bytes, size);
    *why = NULL;
    ssize_t rc = proxy_header_parse(block, size, header, why);
    free(block);
    return rc;
}

/* A good header of @size bytes: each shorter one goes on, and what follows it is not looked at. */
static struct proxy_header accept_header(const char *bytes, size_t size)
{
    struct proxy_header header;
    const char *why;
    for (size_t i = 0; i < size; i++)
        ck_assert_msg(parse_exactly(bytes, i, &header, &why) == 0, "%zu of %zu bytes: %s", i, size,
                      why);
    ck_assert_msg(parse_exactly(bytes, size, &header, &why) == (ssize_t)size, "%zu: %s", size, why);
    char *longer = malloc(size + 100);
    ck_assert_ptr_nonnull(longer);
    memcpy(longer, bytes, size);
    memset(longer + size, '\r', 100);
    ck_assert_int_eq(proxy_header_parse(longer, size + 100, &header, &why), (ssize_t)size);
    free(longer);
    return header;
}

/* A bad header: refused as a whole, with a reason; a shorter one is never taken for a whole. */
static void refuse_header(const char *bytes, size_t size, const char *part)
{
    struct proxy_header header;
    const char *why;
    bool is_refused = false;
    for (size_t i = 0; i < size; i++) {
        ssize_t rc = parse_exactly(bytes, i, &header, &why);
        ck_assert_msg(rc <= 0, "%zu of %zu bytes of '%s' are taken", i, size, bytes);
        ck_assert_msg(rc < 0 || !is_refused, "what was refused is not any more: '%s'", bytes);
        is_refused = rc < 0;
    }
    ssize_t rc = parse_exactly(bytes, size, &header, &why);
    ck_assert_msg(rc == -EPROTO, "%zd for '%s'", rc, bytes);
    ck_assert_msg(strstr(why, part) != NULL, "'%s' for '%s'", why, bytes);
}

static void check_addrs(const struct proxy_header *header, const char *source,
                        const char *destination)
{
    struct ouro_socket_addr from = addr_of(source), to = addr_of(destination);
    char seen[2][OURO_ADDR_TEXT_MAX];
    ck_assert(header->has_addrs);
    ck_assert_msg(ouro_socket_addr_equal(&header->source, &from) &&
                      ouro_socket_addr_equal(&header->destination, &to),
                  "%s and %s", ouro_socket_addr_format(&header->source, seen[0], sizeof(seen[0])),
                  ouro_socket_addr_format(&header->destination, seen[1], sizeof(seen[1])));
}

OURO_TEST_UNIT(version_1_with_addresses)
{
    static const struct {
        const char *line, *source, *destination;
    } good[] = {
        {"PROXY TCP4 198.51.100.1 198.51.100.11 56324 443\r\n", "198.51.100.1:56324",
         "198.51.100.11:443"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535",
         "255.255.255.255:65535"},
        {"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0", "0.0.0.0:0"},
        {"PROXY TCP6 ::1 ::2 1 2\r\n", "[::1]:1", "[::2]:2"},
        {"PROXY TCP6 :: :: 1 2\r\n", "[::]:1", "[::]:2"},
        {"PROXY TCP6 2001:DB8::a 2001:0db8:0000:0000:0000:0000:0000:000b 1 2\r\n",
         "[2001:db8::a]:1", "[2001:db8::b]:2"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
        {"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n", "[::ffff:192.0.2.1]:1",
         "[::ffff:192.0.2.2]:2"},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct proxy_header header = accept_header(good[i].line, strlen(good[i].line));
        ck_assert_uint_eq(header.version, 1);
        check_addrs(&header, good[i].source, good[i].destination);
    }
}

OURO_TEST_UNIT(version_1_unknown_ignores_the_rest_of_its_line)
{
    static const char *const good[] = {
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN \r\n",
        "PROXY UNKNOWN 1.2.3.4 nonsense \r and \n and \x80 bytes\r\n",
        "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "PROXY UNKNOWN " UNKNOWN_79 "012345678901\r\n", /* 107 bytes */
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct proxy_header header = accept_header(good[i], strlen(good[i]));
        ck_assert_uint_eq(header.version, 1);
        ck_assert(!header.has_addrs);
    }
    struct proxy_header header = accept_header(BYTES("PROXY UNKNOWN a\0b\r\n"));
    ck_assert(!header.has_addrs);
}

static const char *const bad_v1[] = {
    /* the start and the protocol */
    "PROXX TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    " PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
    "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
    "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "PROXY \r\n",
    "PROXY TCP4\r\n",
    "PROXY UNKNOWNX\r\n",
    "PROXY UNKNOWN\rx\r\n",
    "PROXY UNKNOWN\n\r\n",
    "PROXY unknown\r\n",
    "GET / HTTP/1.1\r\n",
    "\r\nGET",
    "\n",
    /* fields missing, empty, or too many */
    "PROXY TCP4 \r\n",
    "PROXY TCP4 1.2.3.4\r\n",
    "PROXY TCP4 1.2.3.4 \r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
    "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
    "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4  1 2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1  2\r\n",
    /* addresses */
    "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
    "PROXY TCP4 1.2.3.4.5 1.2.3.4 1 2\r\n",
    "PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
    "PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
    "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.00.4 1 2\r\n",
    "PROXY TCP4 1.2..4 1.2.3.4 1 2\r\n",
    "PROXY TCP4 .1.2.3.4 1.2.3.4 1 2\r\n",
    "PROXY TCP4 1.2.3.4. 1.2.3.4 1 2\r\n",
    "PROXY TCP4 16909060 1.2.3.4 1 2\r\n",
    "PROXY TCP4 1.2.3.a 1.2.3.4 1 2\r\n",
    "PROXY TCP4 ::1 ::2 1 2\r\n",
    "PROXY TCP4 1.2.3.4 ::2 1 2\r\n",
    "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
    "PROXY TCP6 ::1 1.2.3.4 1 2\r\n",
    "PROXY TCP6 1::2::3 ::1 1 2\r\n",
    "PROXY TCP6 ::12345 ::1 1 2\r\n",
    "PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n",
    "PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n",
    "PROXY TCP6 : ::1 1 2\r\n",
    "PROXY TCP6 :1:2:3:4:5:6:7 ::1 1 2\r\n",
    "PROXY TCP6 ::ffff:1.2.3.04 ::1 1 2\r\n",
    "PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
    "PROXY TCP6 [::1] [::1] 1 2\r\n",
    "PROXY TCP6 00000000000000000000000000000000000000000000001::1 ::1 1 2\r\n",
    /* ports */
    "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 99999 2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 100000 2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 4294967297 2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 0x2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1.0 2\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 a 2\r\n",
    /* the end of the line */
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rx\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n",
    "PROXY TCP4 1.2.3.4 1.2.3.4 1 2GET / HTTP/1.1\r\n",
};

OURO_TEST_UNIT(version_1_malformed_is_refused)
{
    for (size_t i = 0; i < sizeof(bad_v1) / sizeof(bad_v1[0]); i++)
        refuse_header(bad_v1[i], strlen(bad_v1[i]), "");
    refuse_header(BYTES("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n"), "a byte that no");
    refuse_header(BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\0\r\n"), "a byte that no");
}

OURO_TEST_UNIT(version_1_line_of_108_bytes_is_refused)
{
    refuse_header(BYTES("PROXY UNKNOWN " UNKNOWN_79 "0123456789012\r\n"), "within 107 bytes");
    refuse_header(BYTES("PROXY UNKNOWN " UNKNOWN_79 "01234567890123456789"), "within 107 bytes");
    refuse_header(BYTES("PROXY TCP6 11111111111111111111111111111111111111111111111111111111111"
                        "1111111111111111111111111111111111111111111111111"),
                  "within 107 bytes");
}

OURO_TEST_UNIT(version_2_with_addresses)
{
    struct proxy_header header = accept_header(BYTES(V2_IPV4));
    ck_assert_uint_eq(header.version, 2);
    check_addrs(&header, "192.0.2.1:12345", "192.0.2.2:443");

    header = accept_header(BYTES(V2 "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                                    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xff\0\0"));
    check_addrs(&header, "[2001:db8::1]:65535", "[::1]:0");
}

/* A header of two Unix addresses; each of 108 bytes, the rest is zero. */
static struct proxy_header unix_header(const char *source, size_t source_size, const char *to,
                                       size_t to_size)
{
    char bytes[16 + 216] = V2 "\x21\x31\0\xd8";
    memcpy(bytes + 16, source, source_size);
    memcpy(bytes + 16 + 108, to, to_size);
    return accept_header(bytes, sizeof(bytes));
}

OURO_TEST_UNIT(version_2_with_unix_addresses)
{
    struct proxy_header header = unix_header("/run/a", 6, "/b\0junk", 7);
    check_addrs(&header, "unix:/run/a", "unix:/b");
    header = unix_header("\0name", 5, "", 0);
    ck_assert(header.has_addrs);
    char text[OURO_ADDR_TEXT_MAX];
    ck_assert_str_eq(ouro_socket_addr_format(&header.source, text, sizeof(text)), "unix:@name");
    ck_assert_str_eq(ouro_socket_addr_format(&header.destination, text, sizeof(text)), "unix:");

    char full[108]; /* without a zero at its end */
    memset(full, 'x', sizeof(full));
    header = unix_header(full, sizeof(full), "/b", 2);
    ck_assert_uint_eq(strlen(ouro_socket_addr_format(&header.source, text, sizeof(text))), 113);
}

OURO_TEST_UNIT(version_2_without_addresses)
{
    static const struct {
        const char *bytes;
        size_t size;
    } good[] = {
        {BYTES(V2 "\x20\0\0\0")},       /* LOCAL */
        {BYTES(V2 "\x20\x11\0\0")},     /* its family is ignored */
        {BYTES(V2 "\x20\xff\0\x02zz")}, /* and so is what follows */
        {BYTES(V2 "\x20\x11\0\x0c"
                  "abcdefghijkl")},
        {BYTES(V2 "\x21\0\0\0")}, /* AF_UNSPEC */
        {BYTES(V2 "\x21\0\0\x05zzzzz")},
        {BYTES(V2 "\x21\x10\0\x0c"
                  "abcdefghijkl")}, /* UNSPEC protocol */
        {BYTES(V2 "\x21\x01\0\0")},
        {BYTES(V2 "\x21\x12\0\x0c"
                  "abcdefghijkl")}, /* UDP: its ends cannot be a stream's */
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct proxy_header header = accept_header(good[i].bytes, good[i].size);
        ck_assert_uint_eq(header.version, 2);
        ck_assert(!header.has_addrs);
    }
}

static const struct {
    const char *bytes;
    size_t size;
    const char *why;
} bad_v2[] = {
    {BYTES("\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c"
           "abcdefghijkl"),
     "no PROXY header"},
    {BYTES("\r\n\r\n\x01\r\nQUIT\n\x21\x11\0\x0c"
           "abcdefghijkl"),
     "no PROXY header"},
    {BYTES(V2 "\x11\x11\0\x0c"
              "abcdefghijkl"),
     "version is not 2"},
    {BYTES(V2 "\x31\x11\0\x0c"
              "abcdefghijkl"),
     "version is not 2"},
    {BYTES(V2 "\x01\x11\0\x0c"
              "abcdefghijkl"),
     "version is not 2"},
    {BYTES(V2 "\x22\x11\0\x0c"
              "abcdefghijkl"),
     "neither LOCAL nor PROXY"},
    {BYTES(V2 "\x2f\x11\0\x0c"
              "abcdefghijkl"),
     "neither LOCAL nor PROXY"},
    {BYTES(V2 "\x21\x41\0\x0c"
              "abcdefghijkl"),
     "unknown family or protocol"},
    {BYTES(V2 "\x21\xf1\0\x0c"
              "abcdefghijkl"),
     "unknown family or protocol"},
    {BYTES(V2 "\x21\x13\0\x0c"
              "abcdefghijkl"),
     "unknown family or protocol"},
    {BYTES(V2 "\x21\x1f\0\x0c"
              "abcdefghijkl"),
     "unknown family or protocol"},
    {BYTES(V2 "\x21\x11\0\0"), "shorter than its addresses"},
    {BYTES(V2 "\x21\x11\0\x0b"
              "abcdefghijk"),
     "shorter than its addresses"},
    {BYTES(V2 "\x21\x12\0\x0b"
              "abcdefghijk"),
     "shorter than its addresses"},
    {BYTES(V2 "\x21\x21\0\x23"
              "abcdefghijklabcdefghijklabcdefghijk"),
     "shorter than its"},
    {BYTES(V2 "\x21\x31\0\xd7"), "shorter than its addresses"},
    {BYTES(V2 "\x21\x11\0\x0d"
              "abcdefghijkl\x04"),
     "cut off"},
    {BYTES(V2 "\x21\x11\0\x0e"
              "abcdefghijkl\x04\0"),
     "cut off"},
    {BYTES(V2 "\x21\x11\0\x0f"
              "abcdefghijkl\x04\0\x01"),
     "longer than the header"},
    {BYTES(V2 "\x21\x11\0\x0f"
              "abcdefghijkl\x04\xff\xff"),
     "longer than the header"},
    {BYTES(V2 "\x21\x11\0\x12"
              "abcdefghijkl\x03\0\x03"
              "abc"),
     "has not 4 bytes"},
    {BYTES(V2 "\x21\x11\0\x13"
              "abcdefghijkl\x03\0\x04"
              "abcd"),
     "does not match"},
    {BYTES(V2 "\x21\x11\0\x1a"
              "abcdefghijkl\x03\0\x04"
              "abcd\x03\0\x04"
              "abcd"),
     "two"},
    {BYTES(V2 "\x20\0\0\x07\x03\0\x04"
              "abcd"),
     "does not match"},
    {BYTES(V2 "\x21\0\0\x07\x03\0\x04"
              "abcd"),
     "does not match"},
};

OURO_TEST_UNIT(version_2_malformed_is_refused)
{
    for (size_t i = 0; i < sizeof(bad_v2) / sizeof(bad_v2[0]); i++)
        refuse_header(bad_v2[i].bytes, bad_v2[i].size, bad_v2[i].why);
}

/* Puts the right checksum into the four bytes at @at of a header. */
static void put_checksum(char *header, size_t size, size_t at)
{
    uint32_t crc = crc32c((unsigned char *)header, size, (unsigned char *)header + at);
    for (int i = 0; i < 4; i++)
        header[at + (size_t)i] = (char)(crc >> (24 - 8 * i));
}

OURO_TEST_UNIT(version_2_checksum_is_compared)
{
    /* The check value of CRC-32C, and RFC 3720's of 32 zeros (appendix B.4). */
    ck_assert_uint_eq(crc32c((const unsigned char *)"123456789", 9, NULL), 0xe3069283);
    unsigned char zeros[32];
    memset(zeros, 'x', sizeof(zeros));
    memset(zeros + 4, 0, sizeof(zeros) - 4);
    ck_assert_uint_eq(crc32c(zeros, sizeof(zeros), zeros), 0x8a9136aa);

    char header[] = V2 "\x21\x11\0\x18"
                       "abcdefghijkl\x04\0\x02zz\x03\0\x04????";
    size_t size = sizeof(header) - 1;
    put_checksum(header, size, size - 4);
    struct proxy_header parsed = accept_header(header, size);
    check_addrs(&parsed, "97.98.99.100:26986", "101.102.103.104:27500");
    for (size_t i = 16; i < size; i++) { /* any other byte in it is noticed */
        if (i == size - 7)
            continue; /* its type: without it there is no checksum */
        header[i] ^= 1;
        struct proxy_header unused;
        const char *why;
        ck_assert_int_eq(proxy_header_parse(header, size, &unused, &why), -EPROTO);
        header[i] ^= 1;
    }

    char local[] = V2 "\x20\0\0\x07\x03\0\x04????";
    put_checksum(local, sizeof(local) - 1, sizeof(local) - 5);
    parsed = accept_header(local, sizeof(local) - 1);
    ck_assert(!parsed.has_addrs);
}

OURO_TEST_UNIT(version_2_of_the_greatest_length)
{
    size_t tlv = 65535 - 12 - 3;
    char *header = calloc(1, PROXY_HEADER_V2_MAX);
    ck_assert_ptr_nonnull(header);
    memcpy(header, V2_IPV4, sizeof(V2_IPV4) - 1);
    header[14] = header[15] = (char)0xff;
    header[28] = 0x04;
    header[29] = (char)(tlv >> 8);
    header[30] = (char)tlv;
    struct proxy_header parsed;
    const char *why;
    ck_assert_int_eq(proxy_header_parse(header, PROXY_HEADER_V2_MAX - 1, &parsed, &why), 0);
    ck_assert_int_eq(proxy_header_parse(header, PROXY_HEADER_V2_MAX, &parsed, &why),
                     PROXY_HEADER_V2_MAX);
    check_addrs(&parsed, "192.0.2.1:12345", "192.0.2.2:443");
    free(header);
}

static struct proxy_header header_of(unsigned version, const char *source, const char *destination)
{
    return (struct proxy_header){.version = version,
                                 .has_addrs = true,
                                 .source = addr_of(source),
                                 .destination = addr_of(destination)};
}

static void check_line(const char *source, const char *destination, const char *line)
{
    char buffer[PROXY_HEADER_WRITE_MAX + 1];
    struct proxy_header header = header_of(1, source, destination);
    size_t size = proxy_header_write(&header, buffer);
    buffer[size] = '\0';
    ck_assert_str_eq(buffer, line);
}

OURO_TEST_UNIT(version_1_is_written)
{
    check_line("192.0.2.1:65535", "192.0.2.2:1", "PROXY TCP4 192.0.2.1 192.0.2.2 65535 1\r\n");
    check_line("[2001:db8::1]:2", "[::1]:0", "PROXY TCP6 2001:db8::1 ::1 2 0\r\n");
    check_line("[::ffff:192.0.2.1]:2", "[::ffff:192.0.2.2]:3",
               "PROXY TCP4 192.0.2.1 192.0.2.2 2 3\r\n");
    check_line("[::ffff:192.0.2.1]:2", "[::1]:3", "PROXY TCP6 ::ffff:192.0.2.1 ::1 2 3\r\n");
    check_line("192.0.2.1:2", "[::1]:3", "PROXY UNKNOWN\r\n");
    check_line("unix:/a", "unix:/b", "PROXY UNKNOWN\r\n");
    check_line("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
               "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
               "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
               "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n");
}

OURO_TEST_UNIT(version_2_is_written)
{
    char buffer[PROXY_HEADER_WRITE_MAX];
    struct proxy_header header = header_of(2, "192.0.2.1:12345", "192.0.2.2:443");
    ck_assert_uint_eq(proxy_header_write(&header, buffer), sizeof(V2_IPV4) - 1);
    ck_assert_mem_eq(buffer, V2_IPV4, sizeof(V2_IPV4) - 1);
    header = header_of(2, "[::ffff:192.0.2.1]:12345", "[::ffff:192.0.2.2]:443");
    ck_assert_uint_eq(proxy_header_write(&header, buffer), sizeof(V2_IPV4) - 1);
    ck_assert_mem_eq(buffer, V2_IPV4, sizeof(V2_IPV4) - 1);
    header = header_of(2, "192.0.2.1:12345", "[::1]:443");
    ck_assert_uint_eq(proxy_header_write(&header, buffer), 16);
    ck_assert_mem_eq(buffer, V2 "\x21\0\0\0", 16);
}

OURO_TEST_UNIT(what_is_written_is_read_back)
{
    static const char *const addrs[] = {
        "192.0.2.1:12345", "255.255.255.255:65535", "0.0.0.0:0", "[2001:db8::1]:1",
        "[::]:65535",      "unix:/run/a",           "unix:@name"};
    char buffer[PROXY_HEADER_WRITE_MAX];
    size_t count = sizeof(addrs) / sizeof(addrs[0]);
    for (size_t i = 0; i < count * count * 2; i++) {
        struct proxy_header header =
            header_of(1 + i % 2, addrs[i / 2 % count], addrs[i / 2 / count]);
        size_t size = proxy_header_write(&header, buffer);
        struct proxy_header back = accept_header(buffer, size);
        ck_assert_uint_eq(back.version, header.version);
        int family = ouro_socket_addr_family(&header.source);
        bool fits = family == ouro_socket_addr_family(&header.destination) &&
                    (header.version == 2 || family != AF_UNIX);
        ck_assert(back.has_addrs == fits);
        if (fits)
            check_addrs(&back, addrs[i / 2 % count], addrs[i / 2 / count]);
    }
}
