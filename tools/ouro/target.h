/* SPDX-License-Identifier: MIT */
/*
 * Target: where to connect to, TCP or Unix.
 */
#ifndef OURO_CLI_TARGET_H
#define OURO_CLI_TARGET_H

#include <ouro.h>
#include <stdbool.h>

/* How many attempts are kept for the report; a name has rarely more addresses. */
#define TARGET_ATTEMPTS_MAX 64

struct target {
    const char *text; /* as given */
    bool is_unix;
    struct ouro_socket_addr unix_addr; /* where is_unix */
    struct ouro_to_socket_addrs addrs; /* elsewhere */
    bool has_from;
    struct ouro_socket_addr from; /* the local address to bind */
};

/* What was tried, in the order of the beginnings. */
struct attempts {
    size_t count; /* may exceed what was kept */
    struct ouro_connect_attempt kept[TARGET_ATTEMPTS_MAX];
};

/*
 * Whether target->text is an address that the other fields allow; sets `addrs` and `unix_addr`.
 * NULL if it is, else what is wrong with it, for people: constant text to follow "'TEXT': ".
 */
const char *target_check(struct target *target);

/*
 * Connects within @timeout_ns (INT64_MAX: no limit).  @flags are OURO_CONNECT_F_...; @attempts may
 * be NULL.  *out_stream is the caller's.
 */
int target_connect(const struct target *target, uint32_t flags, int64_t timeout_ns,
                   struct attempts *attempts, struct ouro_stream **out_stream);

#endif
