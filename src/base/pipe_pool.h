/* SPDX-License-Identifier: MIT */
/*
 * PipePool: a worker's pipes for moving bytes by splice(2), kept for the next user.
 *
 * Making and closing a pipe costs as much as copying some ten kilobytes, so empty pipes are kept, a
 * few of them.  A user takes a pipe only while bytes are under way in it.
 */
#ifndef OURO_BASE_PIPE_POOL_H
#define OURO_BASE_PIPE_POOL_H

#include <stdbool.h>

/* How many idle pipes are kept: two descriptors each. */
enum { OURO__PIPE_POOL_SIZE = 4 };

struct ouro__pipe {
    int read_fd;
    int write_fd;
};

struct ouro__pipe_pool {
    struct ouro__pipe idle[OURO__PIPE_POOL_SIZE];
    unsigned count;
};

/* All of it on the thread that owns the pool; a zeroed one is empty. */

/* An empty pipe, close-on-exec and non-blocking.  Errors: those of pipe(2). */
int ouro__pipe_pool_take(struct ouro__pipe_pool *pool, struct ouro__pipe *out_pipe);

/* Gives it back.  One that is not empty is closed, and so is one too many. */
void ouro__pipe_pool_put(struct ouro__pipe_pool *pool, struct ouro__pipe pipe, bool is_empty);

/* Closes what is kept. */
void ouro__pipe_pool_fini(struct ouro__pipe_pool *pool);

#endif
