# SPDX-License-Identifier: MIT
"""The mistakes planted in what accepts connections; as in planted.py."""

SLOW = {
    "acceptor_jumps_the_line",
    "last_cqe_of_a_multishot_accept_is_dropped",
    "surplus_never_stops_the_multishot",
    "untaken_connection_stays_open",
}

MUTANTS = {
    "acceptor_jumps_the_line": (
        "registry/accept.c",
        "    struct ouro__op *op = ouro__accept_queue_pop(queue);\n    if (op == NULL) {\n"
        "        keep(driver, queue, fd);",
        "    struct ouro__op *op = NULL;\n    if (op == NULL) {\n        keep(driver, queue, fd);",
        "uring/test_accept_many.c", "acceptors_that_come_back_at_once_get_a_multishot", "uring"),
    "untaken_connection_stays_open": (
        "registry/accept_queue.c",
        "    while ((fd = ouro__accept_queue_take(queue)) >= 0)\n        ouro__kernel_close(fd);",
        "    while ((fd = ouro__accept_queue_take(queue)) >= 0)\n        continue;",
        "uring/test_accept_many.c", "what_nobody_has_taken_is_closed_at_the_end", "uring"),
    "surplus_never_stops_the_multishot": (
        "registry/accept.c",
        "if (queue->is_surplus && queue->many.state == OURO__OP_INFLIGHT)", "if (false)",
        "uring/test_accept_many.c", "a_surplus_stops_the_multishot", "uring"),
    "last_cqe_of_a_multishot_accept_is_dropped": (
        "uring/rows.c",
        "    event_accept_many((struct ouro__uring *)(uintptr_t)uring, op, *result);\n",
        "    (void)uring;\n    (void)op;\n",
        "uring/test_accept_many.c", "an_overflow_loses_no_connection", "uring"),
    "cancelled_acceptor_stays_in_line": (
        "registry/accept_queue.c", "        if (node != &op->node)\n", "",
        "registry/test_accept.c", "cancelled_acceptors_leave_the_line", "epoll"),
    "shortage_sheds_nothing": (
        "net/acceptor.c", "            if (fd == -EMFILE || fd == -ENFILE)\n",
        "            if (false)\n",
        "net/test_shortage.c", "no_shortage_reaches_the_caller", "epoll"),
}
