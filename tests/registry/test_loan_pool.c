/* SPDX-License-Identifier: MIT */
/*
 * The pool of buffers by itself: who has a buffer, and in which order those that wait get one.
 */
#include "support/ouro_test.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/alloc.h"
#include "registry/loan_pool.h"
#include "support/child.h"

enum { COUNT = 5, BYTES = 1000 };

static struct ouro__op *come_home(struct ouro__loan_buffer *buffer)
{
    ck_assert(ouro__loan_buffer_give_back(buffer, ouro__loan_buffer_word(buffer)));
    return ouro__loan_pool_put(buffer->pool, buffer);
}

OURO_TEST_UNIT(buffers_do_not_overlap_and_the_last_is_the_first)
{
    static const size_t sizes[] = {64, 65, 4095, 4096, 4097, 16384};
    for (unsigned s = 0; s < 6; s++) {
        struct ouro__loan_pool *pool = ouro__loan_pool_new(NULL, sizes[s], COUNT);
        struct ouro__loan_buffer *buffer[COUNT];
        for (unsigned i = 0; i < COUNT; i++) {
            buffer[i] = ouro__loan_pool_take(pool);
            memset(buffer[i]->data, (int)i + 1, sizes[s]);
        }
        ck_assert_ptr_null(ouro__loan_pool_take(pool));
        ck_assert_ptr_null(ouro__loan_pool_offer(pool));
        for (unsigned i = 0; i < COUNT; i++) {
            for (size_t j = 0; j < sizes[s]; j++)
                ck_assert_int_eq(buffer[i]->data[j], (char)(i + 1));
        }
        ck_assert(ouro__loan_pool_is_used(pool));
        for (unsigned i = 0; i < COUNT; i++)
            ck_assert_ptr_null(come_home(buffer[i]));
        ck_assert(!ouro__loan_pool_is_used(pool));
        ck_assert_uint_eq(pool->home_count, COUNT);
        ck_assert_ptr_eq(ouro__loan_pool_take(pool), buffer[COUNT - 1]);
        ck_assert_ptr_null(come_home(buffer[COUNT - 1]));
        ouro__loan_pool_free(pool);
    }
}

OURO_TEST_UNIT(those_that_wait_get_buffers_in_order_before_the_pool)
{
    struct ouro__loan_pool *pool = ouro__loan_pool_new(NULL, BYTES, 1);
    struct ouro__loan_buffer *buffer = ouro__loan_pool_take(pool);
    struct ouro__op ops[4] = {{.arg.io.loan = NULL}};
    for (int i = 0; i < 4; i++)
        ouro__loan_pool_wait(pool, &ops[i]);
    ouro__loan_pool_leave(pool, &ops[1]);
    ouro__loan_pool_leave(pool, &ops[3]);
    uint32_t word = ouro__loan_buffer_word(buffer);
    ck_assert_ptr_eq(come_home(buffer), &ops[0]);
    ck_assert_ptr_eq(ops[0].arg.io.loan, buffer);
    ck_assert_ptr_eq(ops[0].arg.io.buffer, buffer->data);
    ck_assert(!ouro__loan_buffer_give_back(buffer, word)); /* of the loan before */
    ck_assert_ptr_eq(come_home(buffer), &ops[2]);
    ck_assert_ptr_null(come_home(buffer));
    ck_assert_uint_eq(pool->home_count, 1);
    ouro__loan_pool_free(pool);
}

OURO_TEST_UNIT(what_was_offered_is_claimed_or_withdrawn)
{
    struct ouro__loan_pool *pool = ouro__loan_pool_new(NULL, BYTES, COUNT);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(ouro__loan_pool_offer(pool)->index, i);
    ck_assert_uint_eq(pool->offered_count, 3);
    struct ouro__loan_buffer *claimed = ouro__loan_pool_claim(pool, 1);
    ck_assert_uint_eq(pool->offered_count, 2);
    ouro__loan_pool_withdraw(pool);
    ck_assert_uint_eq(pool->offered_count, 0);
    ck_assert_uint_eq(pool->home_count, COUNT - 1);
    ck_assert_ptr_null(come_home(claimed));
    ouro__loan_pool_free(pool);
}

enum { MANY = 3 * OURO__LOANS_STEP + 7 };

OURO_TEST_UNIT(buffers_are_made_when_they_are_needed)
{
    static struct ouro__loan_buffer *buffer[MANY];
    static const size_t sizes[] = {64, 4096, 16384};
    for (unsigned s = 0; s < OURO__ARRAY_LEN(sizes); s++) {
        struct ouro__loan_pool *pool = ouro__loan_pool_new(NULL, sizes[s], MANY);
        for (uint32_t i = 0; i < MANY; i++) {
            uint32_t steps = i / OURO__LOANS_STEP + 1;
            buffer[i] = ouro__loan_pool_take(pool);
            ck_assert_uint_eq(buffer[i]->index, i);
            ck_assert_uint_eq(pool->made, steps <= 3 ? steps * OURO__LOANS_STEP : MANY);
            memset(buffer[i]->data, (int)i, sizes[s]);
        }
        ck_assert_ptr_null(ouro__loan_pool_take(pool));
        for (uint32_t i = 0; i < MANY; i++) {
            ck_assert_int_eq(buffer[i]->data[0], (char)i);
            ck_assert_int_eq(buffer[i]->data[sizes[s] - 1], (char)i);
            ck_assert_ptr_null(come_home(buffer[i]));
        }
        ck_assert_uint_eq(pool->home_count, MANY);
        ck_assert_ptr_eq(ouro__loan_pool_take(pool), buffer[MANY - 1]); /* and no new one */
        ck_assert_ptr_null(come_home(buffer[MANY - 1]));
        ouro__loan_pool_free(pool);
    }
}

/* Without memory for more, what is there goes to those that wait, in order; then there is more. */
OURO_TEST_UNIT(a_step_that_fails_is_made_later)
{
    static struct ouro__loan_buffer *buffer[OURO__LOANS_STEP];
    struct ouro__loan_pool *pool = ouro__loan_pool_new(NULL, BYTES, MANY);
    struct ouro__op op = {.arg.io.loan = NULL};
    for (uint32_t i = 0; i < OURO__LOANS_STEP; i++)
        buffer[i] = ouro__loan_pool_take(pool);
    ouro__alloc_fail_at(1);
    ck_assert_ptr_null(ouro__loan_pool_take(pool));
    ouro__alloc_fail_at(0);
    ouro__loan_pool_wait(pool, &op);
    ck_assert_ptr_null(ouro__loan_pool_take(pool)); /* it would overtake the one that waits */
    ck_assert_ptr_null(ouro__loan_pool_offer(pool));
    ck_assert_ptr_eq(come_home(buffer[0]), &op);
    buffer[0] = ouro__loan_pool_take(pool);
    ck_assert_uint_eq(buffer[0]->index, OURO__LOANS_STEP);
    ck_assert_ptr_null(come_home(op.arg.io.loan));
    for (uint32_t i = 0; i < OURO__LOANS_STEP; i++)
        ck_assert_ptr_null(come_home(buffer[i]));
    ouro__loan_pool_free(pool);
}

OURO_TEST_UNIT(without_memory_there_is_no_pool)
{
    for (uint64_t nth = 1; nth <= 3; nth++) {
        ouro__alloc_fail_at(nth);
        ck_assert_ptr_null(ouro__loan_pool_new(NULL, BYTES, COUNT));
        ouro__alloc_fail_at(0);
    }
    ck_assert_ptr_null(ouro__loan_pool_new(NULL, SIZE_MAX / 4, COUNT));
}

enum wrong {
    HOME_COMES_HOME,
    HOME_IS_CLAIMED,
    OUT_IS_CLAIMED,
    ABSENT_IS_CLAIMED,
    USED_IS_FREED,
    WRONGS
};

static int do_wrong(void *arg)
{
    enum wrong wrong = *(const enum wrong *)arg;
    struct ouro__loan_pool *pool = ouro__loan_pool_new(NULL, BYTES, COUNT);
    struct ouro__loan_buffer *out = ouro__loan_pool_take(pool);
    if (wrong == HOME_COMES_HOME)
        (void)ouro__loan_pool_put(pool, pool->home);
    if (wrong == HOME_IS_CLAIMED)
        (void)ouro__loan_pool_claim(pool, pool->home->index);
    if (wrong == OUT_IS_CLAIMED)
        (void)ouro__loan_pool_claim(pool, out->index);
    if (wrong == ABSENT_IS_CLAIMED)
        (void)ouro__loan_pool_claim(pool, COUNT);
    if (wrong == USED_IS_FREED)
        ouro__loan_pool_free(pool);
    return 0;
}

OURO_TEST_UNIT(a_buffer_with_two_owners_stops_the_program)
{
    for (int i = 0; i < WRONGS; i++) {
        enum wrong wrong = (enum wrong)i;
        struct ouro_test_child child;
        ouro_test_child_run(do_wrong, &wrong, &child);
        ck_assert_msg(child.signal_number == SIGABRT, "%d: %d, %s", i, child.exit_status,
                      child.output);
    }
}
