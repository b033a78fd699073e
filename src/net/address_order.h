/* SPDX-License-Identifier: MIT */
/*
 * In which order addresses are tried, and which of their errors is the one to report.
 *
 * Pure: no clock, no system call, no memory.
 */
#ifndef OURO_NET_ADDRESS_ORDER_H
#define OURO_NET_ADDRESS_ORDER_H

#include <ouro/addr.h>

#include <stdbool.h>
#include <stddef.h>

/*
 * A walk over a list in the order of RFC 8305 section 4: the first address, then one of another
 * family, then one of the first's family again, ...; when one side has run out, the rest of the
 * other.  Within a side the list's own order stays, which is the resolver's (RFC 6724).
 */
struct ouro__address_order {
    const struct ouro_socket_addr *list; /* borrowed, unchanged during the walk */
    size_t count;
    size_t next[2]; /* where to look on: [0] for the first address' family, [1] for the others */
    int turn;       /* which side is next */
    bool is_plain;  /* the list's own order, for callers that asked for it */
};

/* Begins the walk.  With @is_plain it follows the order of the list. */
void ouro__address_order_init(struct ouro__address_order *order,
                              const struct ouro_socket_addr *list, size_t count, bool is_plain);

/*
 * The next address, or NULL after the last.
 *
 * Owns:    points into the list.
 */
const struct ouro_socket_addr *ouro__address_order_next(struct ouro__address_order *order);

/* How far an attempt came; a greater one came further. */
enum ouro__address_rank {
    OURO__ADDRESS_RANK_NONE = 0,    /* no failure of the address: 0, cancelled */
    OURO__ADDRESS_RANK_UNSUPPORTED, /* this machine cannot speak that family or protocol */
    OURO__ADDRESS_RANK_LOCAL,       /* anything else that failed before a packet was sent */
    OURO__ADDRESS_RANK_DENIED,      /* a rule of this machine forbids it */
    OURO__ADDRESS_RANK_UNREACHABLE, /* no route, or a router reported that there is none */
    OURO__ADDRESS_RANK_TIMED_OUT,   /* no answer */
    OURO__ADDRESS_RANK_ANSWERED     /* the peer refused */
};

/* The rank of a negative code. */
enum ouro__address_rank ouro__address_rank(int error);

/*
 * Of two negative codes the one that came closer; of equals the earlier one, @first.  Begin with 0:
 * every real error comes closer than that.
 */
int ouro__address_error_closest(int first, int second);

#endif
