/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: address texts.  Build with clang:
 *
 *     clang -std=gnu11 -D_GNU_SOURCE -DOURO_TESTING=1 -g -O1 -fsanitize=fuzzer,address,undefined \
 *         -Iinclude -Isrc tests/fuzz/fuzz_socket_addr.c src/base/alloc.c src/base/assert.c \
 *         src/net/socket_addr.c src/net/socket_addr_text.c src/net/to_socket_addrs.c
 *
 * Checked: nothing reads or writes outside its buffers; what parse takes, format writes in a form
 * that parse takes for the same address; bytes from the kernel format within their buffer; and
 * ToSocketAddrs agrees with parse about what is an address.
 *
 * Owns:    nothing.
 * Threads: one.
 * Always:  traps on a broken property.
 */
#include <ouro/addr.h>
#include <ouro/error.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/to_socket_addrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        __builtin_trap();
}

/* Formats into a block of exactly the size given, so that one byte too many is seen. */
static void check_format(const struct ouro_socket_addr *addr)
{
    for (size_t size = 1; size <= OURO_ADDR_TEXT_MAX; size += 21) {
        char *buffer = malloc(size);
        require(buffer != NULL);
        require(ouro_socket_addr_format(addr, buffer, size) == buffer);
        require(strnlen(buffer, size) < size);
        free(buffer);
    }
}

static void check_round_trip(const struct ouro_socket_addr *addr)
{
    char text[OURO_ADDR_TEXT_MAX];
    struct ouro_socket_addr back;
    require(strlen(ouro_socket_addr_format(addr, text, sizeof(text))) < sizeof(text) - 1);
    require(ouro_socket_addr_parse(text, &back) == 0);
    require(ouro_socket_addr_equal(addr, &back));
}

static void check_text(const char *text)
{
    struct ouro_socket_addr addr;
    struct ouro__addr_vec vec;
    struct ouro__name_query query;

    int parsed = ouro_socket_addr_parse(text, &addr);
    require(parsed == 0 || parsed == -OURO_EADDRSYNTAX || parsed == -ENAMETOOLONG);
    if (parsed == 0) {
        check_round_trip(&addr);
        check_format(&addr);
    }
    ouro__addr_vec_init(&vec);
    int rc = ouro__to_socket_addrs(OURO_ADDRS(text), &vec, &query);
    require((rc == OURO__ADDRS_READY) == (parsed == 0));
    if (rc == OURO__ADDRS_READY)
        require(vec.count == 1 && ouro_socket_addr_equal(ouro__addr_vec_items(&vec), &addr));
    if (rc == OURO__ADDRS_QUESTION)
        require(strlen(query.name) > 0 && strlen(query.name) <= OURO__NAME_MAX);
    ouro__addr_vec_fini(&vec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ouro_socket_addr addr;
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    char *text = malloc(size + 1);

    require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    check_text(text);
    free(text);

    memcpy(&storage, data, size < sizeof(storage) ? size : sizeof(storage));
    if (ouro_socket_addr_from_sockaddr((struct sockaddr *)(void *)&storage,
                                       size < sizeof(storage) ? size : sizeof(storage),
                                       &addr) == 0) {
        check_format(&addr);
        require(ouro_socket_addr_family(&addr) == AF_UNSPEC ||
                ouro_socket_addr_equal(&addr, &addr));
    }
    return 0;
}
