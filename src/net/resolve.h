/* SPDX-License-Identifier: MIT */
/*
 * Resolve: names through getaddrinfo(3) on the blocking pool.
 */
#ifndef OURO_NET_RESOLVE_H
#define OURO_NET_RESOLVE_H

#include "net/to_socket_addrs.h"

/*
 * Appends the addresses @from stands for to the empty @vec, asking the resolver if need be.
 *
 * Suspends: for names only, until the resolver answers; an interrupted call returns at once, and
 *           the look-up ends by itself.
 * Owns:     @vec is to be released in any case.
 * Errors:   OURO__ADDRS_READY when they were known, OURO__ADDRS_QUESTION when the resolver was
 *           asked; those of ouro_resolve().
 */
int ouro__resolve(const struct ouro_to_socket_addrs *from, struct ouro__addr_vec *vec);

#ifdef OURO_TESTING
#include <netdb.h>

/* What stands in for getaddrinfo(3); its answers are released by freeaddrinfo(3). */
typedef int ouro__getaddrinfo_function(const char *name, const char *service,
                                       const struct addrinfo *hints, struct addrinfo **out_answer);

/* Replaces the resolver; NULL: the real one.  While no look-up is going on. */
void ouro__resolve_use(ouro__getaddrinfo_function *function);
#endif

#endif
