/* SPDX-License-Identifier: MIT */
/*
 * PipePool: a worker's pipes for moving bytes by splice(2), kept for the next user.
 *
 * Owns:    the idle pipes.
 * Threads: the owner's.
 * Always:  what is kept is empty, so no byte reaches another connection.
 * Tests:   tests/base/test_pipe_pool.c
 */
#include "base/pipe_pool.h"

#include "base/kernel.h"

static void close_pipe(struct ouro__pipe pipe)
{
    ouro__kernel_close(pipe.read_fd);
    ouro__kernel_close(pipe.write_fd);
}

int ouro__pipe_pool_take(struct ouro__pipe_pool *pool, struct ouro__pipe *out_pipe)
{
    if (pool->count > 0) {
        *out_pipe = pool->idle[--pool->count];
        return 0;
    }
    int fds[2];
    int rc = ouro__kernel_pipe(fds);
    if (rc == 0)
        *out_pipe = (struct ouro__pipe){.read_fd = fds[0], .write_fd = fds[1]};
    return rc;
}

void ouro__pipe_pool_put(struct ouro__pipe_pool *pool, struct ouro__pipe pipe, bool is_empty)
{
    if (is_empty && pool->count < OURO__PIPE_POOL_SIZE)
        pool->idle[pool->count++] = pipe;
    else
        close_pipe(pipe);
}

void ouro__pipe_pool_fini(struct ouro__pipe_pool *pool)
{
    while (pool->count > 0)
        close_pipe(pool->idle[--pool->count]);
}
