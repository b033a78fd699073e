/* SPDX-License-Identifier: MIT */
/*
 * Target: the short form of connecting, from one text and one timeout to a stream.
 *
 * Owns:    nothing.
 * Threads: the caller's.
 * Always:  the deadline scope has ended when the call returns.
 * Tests:   tests/net/test_target.c
 */
#include "net/socket_addr.h"

#include <ouro/stream.h>
#include <ouro/tcp.h>
#include <ouro/time.h>
#include <ouro/unix.h>

#include <errno.h>

static int connect_to(const char *target, struct ouro_stream **out_stream)
{
    struct ouro_socket_addr addr;
    if (!ouro__socket_addr_is_unix_text(target))
        return ouro_tcp_stream_connect(OURO_ADDRS(target), out_stream);
    int rc = ouro_socket_addr_parse(target, &addr);
    return rc < 0 ? rc : ouro_unix_stream_connect(&addr, out_stream);
}

int ouro_connect(const char *target, int64_t timeout_ns, struct ouro_stream **out_stream)
{
    struct ouro_deadline scope;
    if (target == NULL || out_stream == NULL)
        return -EINVAL;
    if (timeout_ns == INT64_MAX) /* works in a runtime without time, too */
        return connect_to(target, out_stream);
    int rc = ouro_deadline_begin(&scope, timeout_ns);
    if (rc < 0)
        return rc;
    rc = connect_to(target, out_stream);
    ouro_deadline_end(&scope);
    return rc;
}
