/* SPDX-License-Identifier: MIT */
/*
 * AddressOrder: the order in which addresses are tried, and the one error that is reported.
 *
 * Two sides are enough: the family of the first address, and all others.  A cursor for each side
 * walks the list and skips the entries of the other side, so nothing is copied, sorted or
 * allocated, and the whole walk is linear.
 *
 * The error reported is that of the attempt that came closest, not of the last one.  When a server
 * is down on IPv4 and the machine has no IPv6, "connection refused" helps the user and "address not
 * available" does not.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  each address comes exactly once.
 * Tests:   tests/net/test_address_order.c
 */
#include "net/address_order.h"

#include <errno.h>

void ouro__address_order_init(struct ouro__address_order *order,
                              const struct ouro_socket_addr *list, size_t count, bool is_plain)
{
    *order = (struct ouro__address_order){.list = list, .count = count, .is_plain = is_plain};
}

/* 0 for the first address' family, 1 for any other. */
static int side_of(const struct ouro__address_order *order, size_t index)
{
    return ouro_socket_addr_family(&order->list[index]) != ouro_socket_addr_family(&order->list[0]);
}

/* The next address of one side, or NULL. */
static const struct ouro_socket_addr *take(struct ouro__address_order *order, int side)
{
    while (order->next[side] < order->count) {
        size_t index = order->next[side]++;
        if (order->is_plain || side_of(order, index) == side)
            return &order->list[index];
    }
    return NULL;
}

const struct ouro_socket_addr *ouro__address_order_next(struct ouro__address_order *order)
{
    if (order->is_plain)
        return take(order, 0);
    int side = order->turn;
    order->turn = !side;
    const struct ouro_socket_addr *addr = take(order, side);
    return addr != NULL ? addr : take(order, !side);
}

enum ouro__address_rank ouro__address_rank(int error)
{
    switch (-error) {
    case 0:
    case ECANCELED:
        return OURO__ADDRESS_RANK_NONE;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case EPROTO:
    case EAGAIN: /* a Unix listener whose queue is full */
        return OURO__ADDRESS_RANK_ANSWERED;
    case ETIMEDOUT:
        return OURO__ADDRESS_RANK_TIMED_OUT;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case ENONET:
        return OURO__ADDRESS_RANK_UNREACHABLE;
    case EACCES:
    case EPERM:
        return OURO__ADDRESS_RANK_DENIED;
    case EAFNOSUPPORT:
    case EPFNOSUPPORT:
    case EPROTONOSUPPORT:
    case ESOCKTNOSUPPORT:
    case EOPNOTSUPP:
    case EPROTOTYPE:
        return OURO__ADDRESS_RANK_UNSUPPORTED;
    default:
        return OURO__ADDRESS_RANK_LOCAL;
    }
}

int ouro__address_error_closest(int first, int second)
{
    return ouro__address_rank(second) > ouro__address_rank(first) ? second : first;
}
