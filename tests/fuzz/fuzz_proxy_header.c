/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: PROXY headers.  Build with clang:
 *
 *     clang -std=gnu11 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -Isrc \
 *         tests/fuzz/fuzz_proxy_header.c src/base/alloc.c src/base/assert.c src/base/error.c \
 *         src/net/socket_addr.c src/net/socket_addr_text.c
 *
 * Checked: nothing reads or writes outside its buffers; what is refused stays refused when more
 * bytes come; a header that is taken has the same length and addresses whatever follows it, and is
 * asked for to its last byte; and what is written of it is read back as the same.
 *
 * Owns:    nothing.
 * Threads: one.
 * Always:  traps on a broken property.
 */
#include <stdlib.h>

#include "../../tools/ouro/proxy_header.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        __builtin_trap();
}

/* In a block of exactly the size given, so that one byte too many is seen. */
static ssize_t parse(const uint8_t *data, size_t size, struct proxy_header *header)
{
    const char *why = NULL;
    uint8_t *block = malloc(size > 0 ? size : 1);
    require(block != NULL);
    memcpy(block, data, size);
    ssize_t rc = proxy_header_parse(block, size, header, &why);
    require(rc >= 0 || (rc == -EPROTO && why != NULL));
    free(block);
    return rc;
}

static void check_round_trip(const struct proxy_header *header)
{
    for (unsigned version = 1; version <= 2; version++) {
        uint8_t *buffer = malloc(PROXY_HEADER_WRITE_MAX);
        require(buffer != NULL);
        struct proxy_header out = *header, again;
        out.version = version;
        size_t size = proxy_header_write(&out, buffer);
        require(size <= PROXY_HEADER_WRITE_MAX);
        require(parse(buffer, size, &again) == (ssize_t)size);
        uint8_t *second = malloc(PROXY_HEADER_WRITE_MAX);
        require(second != NULL);
        require(proxy_header_write(&again, second) == size && memcmp(buffer, second, size) == 0);
        free(second);
        free(buffer);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header header, shorter;
    ssize_t whole = parse(data, size, &header);
    ssize_t before = 0;
    size_t step = size / 64 + 1;
    for (size_t i = 0; i < size; i += step) {
        ssize_t rc = parse(data, i, &shorter);
        require(before >= 0 || rc < 0);
        require(rc <= 0 || rc == whole);
        before = rc;
    }
    require(before >= 0 || whole < 0);
    if (whole <= 0)
        return 0;
    require((size_t)whole <= size);
    require(parse(data, (size_t)whole - 1, &shorter) == 0);
    require(parse(data, (size_t)whole, &shorter) == whole);
    require(shorter.has_addrs == header.has_addrs && shorter.version == header.version);
    check_round_trip(&header);
    return 0;
}
