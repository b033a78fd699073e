/* SPDX-License-Identifier: MIT */
/*
 * The pool of pipes: which pipes are kept, and that all are closed in the end (the harness looks
 * for descriptors that are left).
 */
#include <fcntl.h>
#include <unistd.h>

#include "base/pipe_pool.h"
#include "support/ouro_test.h"

OURO_TEST_UNIT(an_empty_pipe_is_kept_for_the_next)
{
    struct ouro__pipe_pool pool = {.count = 0};
    struct ouro__pipe pipe;
    struct ouro__pipe again;
    char byte = 0;
    ck_assert_int_eq(ouro__pipe_pool_take(&pool, &pipe), 0);
    ck_assert_int_eq(fcntl(pipe.read_fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    ck_assert_int_eq(fcntl(pipe.write_fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(write(pipe.write_fd, "x", 1), 1);
    ck_assert_int_eq(read(pipe.read_fd, &byte, 1), 1);
    ouro__pipe_pool_put(&pool, pipe, true);
    ck_assert_int_eq(ouro__pipe_pool_take(&pool, &again), 0);
    ck_assert_int_eq(again.read_fd, pipe.read_fd);
    ouro__pipe_pool_put(&pool, again, true);
    ouro__pipe_pool_fini(&pool);
}

OURO_TEST_UNIT(a_pipe_with_bytes_is_not_kept)
{
    struct ouro__pipe_pool pool = {.count = 0};
    struct ouro__pipe pipe;
    ck_assert_int_eq(ouro__pipe_pool_take(&pool, &pipe), 0);
    ck_assert_int_eq(write(pipe.write_fd, "x", 1), 1);
    ouro__pipe_pool_put(&pool, pipe, false);
    ck_assert_uint_eq(pool.count, 0);
    ck_assert_int_eq(fcntl(pipe.read_fd, F_GETFD), -1);
    ck_assert_int_eq(fcntl(pipe.write_fd, F_GETFD), -1);
    ouro__pipe_pool_fini(&pool);
}

OURO_TEST_UNIT(a_pool_keeps_only_a_few)
{
    enum { MANY = OURO__PIPE_POOL_SIZE + 3 };
    struct ouro__pipe_pool pool = {.count = 0};
    struct ouro__pipe pipe[MANY];
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(ouro__pipe_pool_take(&pool, &pipe[i]), 0);
    for (int i = 0; i < MANY; i++)
        ouro__pipe_pool_put(&pool, pipe[i], true);
    ck_assert_uint_eq(pool.count, OURO__PIPE_POOL_SIZE);
    ouro__pipe_pool_fini(&pool);
    ck_assert_uint_eq(pool.count, 0);
}
