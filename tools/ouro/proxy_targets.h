/* SPDX-License-Identifier: MIT */
/*
 * The targets of the proxy: which of them the next connection is tried on, and which are left out.
 * The time comes from the caller.
 */
#ifndef OURO_CLI_PROXY_TARGETS_H
#define OURO_CLI_PROXY_TARGETS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "target.h"

#define PROXY_TARGETS_MAX 64 /* the bits of a set */

enum proxy_balance { PROXY_ROUND_ROBIN, PROXY_LEAST_CONNECTIONS };

struct proxy_target {
    struct target where;
    uint64_t active;      /* connections that it has, attempts included */
    uint64_t connected;   /* attempts that have succeeded, ever */
    uint64_t failed;      /* attempts that have failed, ever */
    unsigned failures;    /* that have left it out, since it last connected; 0: it is healthy */
    int64_t out_until_ns; /* with failures: when it is tried again */
};

struct proxy_targets {
    pthread_mutex_t lock; /* of all below but what never changes */
    enum proxy_balance balance;
    int64_t out_first_ns; /* how long a target is left out after its first failure */
    int64_t out_max_ns;   /* the time doubles up to this one */
    size_t count;
    size_t next; /* where the next choice begins to look */
    struct proxy_target list[PROXY_TARGETS_MAX];
};

/* One attempt at one target. */
struct proxy_choice {
    size_t index;
    unsigned failures;   /* that the target had when it was chosen */
    bool is_last_resort; /* it was left out, like all others */
};

/*
 * Chooses a target that is not in the set *tried, and adds it.  Among those that are healthy, or
 * whose time out is over, the balance decides; when there is none, the one whose time is over first
 * is taken.  False when all are in the set.  An attempt is to be ended with one of the three calls
 * below.
 */
bool proxy_targets_choose(struct proxy_targets *targets, int64_t now_ns, uint64_t *tried,
                          struct proxy_choice *out_choice);

/*
 * The target took the connection, which is to be ended with proxy_targets_end().  Returns whether
 * it had been left out, and is healthy again from now on.
 */
bool proxy_targets_connected(struct proxy_targets *targets, const struct proxy_choice *choice);

/*
 * The target did not take the connection.  Returns how long it is left out from now on; 0 when
 * another attempt has left it out already.
 */
int64_t proxy_targets_failed(struct proxy_targets *targets, const struct proxy_choice *choice,
                             int64_t now_ns);

/* The connection is over, or the attempt, without having said anything about the target. */
void proxy_targets_end(struct proxy_targets *targets, const struct proxy_choice *choice);

/* Copies a target, for reading its counters; with *out_is_out whether it is left out now. */
void proxy_targets_read(struct proxy_targets *targets, size_t index, int64_t now_ns,
                        struct proxy_target *out_target, bool *out_is_out);

#endif
