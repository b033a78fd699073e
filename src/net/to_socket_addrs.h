/* SPDX-License-Identifier: MIT */
/*
 * ToSocketAddrs: turns what a caller named into addresses, or into a question for the resolver.
 *
 * This part never waits and starts no thread; net/resolve.h calls the resolver.
 */
#ifndef OURO_NET_TO_SOCKET_ADDRS_H
#define OURO_NET_TO_SOCKET_ADDRS_H

#include <ouro/addr.h>

#include <stddef.h>
#include <stdint.h>

/* How many addresses a list holds without heap memory; most names have fewer. */
#define OURO__ADDR_VEC_INLINE 8

/* A list of addresses.  Not to be copied: two would own one heap block. */
struct ouro__addr_vec {
    size_t count;
    size_t capacity;
    struct ouro_socket_addr *heap; /* NULL: they stand in place */
    struct ouro_socket_addr place[OURO__ADDR_VEC_INLINE];
};

void ouro__addr_vec_init(struct ouro__addr_vec *vec);
void ouro__addr_vec_fini(struct ouro__addr_vec *vec);

/* Makes room for @count addresses in all.  Errors: -ENOMEM, and the list is as it was. */
int ouro__addr_vec_reserve(struct ouro__addr_vec *vec, size_t count);

/* Appends.  Errors: -ENOMEM. */
int ouro__addr_vec_push(struct ouro__addr_vec *vec, const struct ouro_socket_addr *addr);

/* Makes a heap list the contents of an empty vec.  Owns: takes @list. */
void ouro__addr_vec_adopt(struct ouro__addr_vec *vec, struct ouro_socket_addr *list, size_t count);

/*
 * Takes the addresses out, as a heap list; the vec is empty then.
 *
 * Owns:    release the list with ouro__free().
 * Errors:  NULL when out of memory, and the vec is as it was.
 */
struct ouro_socket_addr *ouro__addr_vec_release(struct ouro__addr_vec *vec);

/* The addresses, vec->count of them; valid until the next change. */
struct ouro_socket_addr *ouro__addr_vec_items(struct ouro__addr_vec *vec);

/* Longest name in text form: RFC 1035's 255 octets are 253 characters, and a dot may end it. */
#define OURO__NAME_MAX 254

/* A question for the resolver. */
struct ouro__name_query {
    char name[OURO__NAME_MAX + 1];
    uint16_t port;
    int family; /* AF_UNSPEC, AF_INET or AF_INET6 */
};

enum ouro__addrs_answer {
    OURO__ADDRS_READY = 0,   /* the list is complete */
    OURO__ADDRS_QUESTION = 1 /* a name: the list is empty, the query is filled in */
};

/*
 * Appends the addresses of @from to the empty @vec, or fills in @query.
 *
 * Owns:    copies all it keeps; @vec is to be released in any case.
 * Errors:  one of enum ouro__addrs_answer, or -EINVAL for an unknown kind, flag or list entry;
 *          -OURO_EADDRSYNTAX; -OURO_ENOADDRESS for an empty list or nothing left after the flags;
 *          -ENAMETOOLONG for a Unix path; -ENOMEM.
 */
int ouro__to_socket_addrs(const struct ouro_to_socket_addrs *from, struct ouro__addr_vec *vec,
                          struct ouro__name_query *query);

#endif
