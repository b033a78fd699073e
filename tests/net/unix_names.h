/* SPDX-License-Identifier: MIT */
/*
 * Names for Unix sockets: in a scratch directory, and abstract.
 */
#ifndef OURO_TEST_UNIX_NAMES_H
#define OURO_TEST_UNIX_NAMES_H

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ouro/metrics.h"
#include "ouro/time.h"
#include "ouro/unix.h"
#include "support/ouro_test.h"
#include "support/scratch.h"

static inline struct ouro_socket_addr unix_addr(const char *path)
{
    struct ouro_socket_addr addr;
    char text[OURO_ADDR_TEXT_MAX];
    (void)snprintf(text, sizeof(text), "unix:%s", path);
    ck_assert_int_eq(ouro_socket_addr_parse(text, &addr), 0);
    return addr;
}

static inline struct ouro_socket_addr unix_path(struct ouro_test_scratch *scratch, const char *name)
{
    return unix_addr(ouro_test_scratch_path(scratch, name));
}

static inline struct ouro_socket_addr unix_abstract(const char *name)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "@ouro-test-%s-%d", name, (int)getpid());
    return unix_addr(text);
}

static inline struct ouro_unix_datagram *unix_datagram(const struct ouro_socket_addr *addr)
{
    struct ouro_unix_datagram *socket = NULL;
    int rc = ouro_unix_datagram_bind(addr, NULL, &socket);
    ck_assert_msg(rc == 0, "ouro_unix_datagram_bind: %d", rc);
    return socket;
}

/* Waits until @count operations are in flight in the calling task's runtime. */
static inline void await_inflight(uint64_t count)
{
    struct ouro_handle *handle = ouro_handle_current();
    struct ouro_io_driver_metrics metrics;
    do {
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        ck_assert_int_eq(ouro_handle_metrics(handle, &metrics), 0);
    } while (metrics.submitted - metrics.completed < count);
    ouro_handle_unref(handle);
}

#endif
