/* SPDX-License-Identifier: MIT */
/*
 * PortRange: the ports from which the kernel chooses one for a connect, as a worker remembers them.
 *
 * A connect can end at its own socket only if the target's port is one of these, so with any other
 * port nobody has to look (net/socket.c).
 */
#ifndef OURO_BASE_PORT_RANGE_H
#define OURO_BASE_PORT_RANGE_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    /* So many connects look before the range is read: reading costs as much as they do. */
    OURO__PORT_RANGE_ASKED_MIN = 32,
};
/* For so long a range that was read is believed: a change of it is seen after that time. */
#define OURO__PORT_RANGE_KEEP_NS OURO__NS_PER_SEC

struct ouro__port_range {
    int64_t until_ns; /* the range is forgotten then */
    uint32_t asked;   /* how often, since it was forgotten */
    uint16_t first;   /* both in host byte order, and known after OURO__PORT_RANGE_ASKED_MIN */
    uint16_t last;
};

/*
 * Whether the kernel may choose @port, which is in host byte order; true as long as it is not
 * known.  The thread that owns @range; a zeroed one knows nothing.
 */
bool ouro__port_range_may_have(struct ouro__port_range *range, uint16_t port, int64_t now_ns);

#endif
