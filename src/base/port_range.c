/* SPDX-License-Identifier: MIT */
/*
 * PortRange: ip_local_port_range of ip(7), read at most once a second.
 *
 * Reading the file costs as much as some thirty looks at a socket's name, so it is read only where
 * many connects are made.  The range belongs to the network namespace of the thread that reads.
 * Where it cannot be read (no /proc), every port may be in it.
 *
 * Owns:    nothing.
 * Threads: the one that owns the range.
 * Always:  after a change of the range, or of the thread's network namespace, the old range is
 *          believed for a second at most.
 * Tests:   tests/base/test_port_range.c, tests/net/test_self_connect.c
 */
#include "base/port_range.h"

#include "base/kernel.h"

#include <stdlib.h>

static void read_range(struct ouro__port_range *range)
{
    char text[32];
    char *end = text;
    range->first = 0;
    range->last = UINT16_MAX;
    if (ouro__kernel_read_small_file("/proc/sys/net/ipv4/ip_local_port_range", text,
                                     sizeof(text)) <= 0)
        return;
    unsigned long first = strtoul(text, &end, 10);
    unsigned long last = strtoul(end, NULL, 10);
    if (first > 0 && first <= last && last <= UINT16_MAX) {
        range->first = (uint16_t)first;
        range->last = (uint16_t)last;
    }
}

bool ouro__port_range_may_have(struct ouro__port_range *range, uint16_t port, int64_t now_ns)
{
    if (now_ns >= range->until_ns) {
        range->until_ns = now_ns + OURO__PORT_RANGE_KEEP_NS;
        range->asked = 0;
    }
    if (range->asked <= OURO__PORT_RANGE_ASKED_MIN) {
        if (range->asked++ < OURO__PORT_RANGE_ASKED_MIN)
            return true;
        read_range(range);
    }
    return port >= range->first && port <= range->last;
}
