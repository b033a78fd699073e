/* SPDX-License-Identifier: MIT */
/*
 * The range of local ports: when it is read, what it says then, and for how long.  In a network of
 * the test's own, whose range can be set.
 */
#include "base/port_range.h"
#include "support/child.h"
#include "support/netns.h"
#include "support/ouro_test.h"

static bool asks_in_vain(struct ouro__port_range *range, uint16_t port, int64_t now_ns)
{
    bool may = true;
    for (int i = 0; i < OURO__PORT_RANGE_ASKED_MIN; i++)
        may = may && ouro__port_range_may_have(range, port, now_ns);
    return may;
}

static int look(void *arg)
{
    struct ouro__port_range range = {.until_ns = 0};
    int64_t now_ns = 5 * OURO__PORT_RANGE_KEEP_NS;
    (void)arg;
    ouro_test_netns_enter();

    ouro_test_netns_choose_ports(2000, 3001);
    ck_assert(asks_in_vain(&range, 1100, now_ns));
    ck_assert(!ouro__port_range_may_have(&range, 1100, now_ns));
    ck_assert(!ouro__port_range_may_have(&range, 1999, now_ns));
    ck_assert(ouro__port_range_may_have(&range, 2000, now_ns));
    ck_assert(ouro__port_range_may_have(&range, 3001, now_ns));
    ck_assert(!ouro__port_range_may_have(&range, 3002, now_ns));

    /* A change is not seen before the range is forgotten. */
    ouro_test_netns_choose_ports(1100, 1201);
    ck_assert(!ouro__port_range_may_have(&range, 1100, now_ns + OURO__PORT_RANGE_KEEP_NS - 1));
    now_ns += OURO__PORT_RANGE_KEEP_NS;
    ck_assert(asks_in_vain(&range, 3002, now_ns));
    ck_assert(!ouro__port_range_may_have(&range, 2000, now_ns));
    ck_assert(ouro__port_range_may_have(&range, 1100, now_ns));
    return 0;
}

OURO_TEST_UNIT(a_range_is_read_after_some_questions_and_believed_for_a_second)
{
    ouro_test_child_must_pass(look, NULL);
}

OURO_TEST_UNIT(few_questions_do_not_read)
{
    struct ouro__port_range range = {.until_ns = 0};
    int64_t now_ns = OURO__PORT_RANGE_KEEP_NS;
    for (int second = 0; second < 3; second++) {
        ck_assert(asks_in_vain(&range, 1, now_ns));
        ck_assert_uint_eq(range.last, 0); /* nothing was read */
        now_ns += OURO__PORT_RANGE_KEEP_NS;
    }
}
