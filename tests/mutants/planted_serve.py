# SPDX-License-Identifier: MIT
"""The mistakes planted in servers and in what counts their bytes; as in planted.py."""

MUTANTS = {
    "serve_catches_what_is_ignored": (
        "base/signal_watch.c",
        "        if (before[number].sa_handler == SIG_IGN)\n            return 0;\n", "",
        "net/test_serve_end.c", "a_signal_that_is_ignored_stays_ignored", "epoll"),
    "serve_forgets_that_a_peer_has_left": (
        "net/serve_connection.c", "    ouro__connection_leave_table(connection);\n    ouro__free",
        "    ouro__free",
        "net/test_serve_limits.c", "connections_of_one_peer_are_limited", "epoll"),
    "serve_takes_a_slow_reader_for_idle": (
        "net/serve_connection.c", "if (now_moved != connection->now.handler.moved) {",
        "if (false) {",
        "net/test_serve_limits.c", "a_peer_that_reads_slowly_is_not_idle", "uring"),
    "serve_takes_a_slow_unix_reader_for_idle": (
        "net/serve_connection.c", "return (counted << 24) + (uint64_t)(unread > 0 ? unread : 0);",
        "return (counted << 24 | (uint64_t)(unread > 0 ? unread : 0)) == UINT64_MAX;",
        "net/test_serve_unix.c", "a_peer_of_a_unix_socket_that_reads_slowly_is_not_idle", "uring"),
    "serve_lets_a_listener_report_a_shortage": (
        "net/serve_listener.c", "    listener->acceptor->reports_shortage = false;\n", "",
        "net/test_serve.c", "a_shortage_that_a_listener_reports_does_not_end_the_server", "epoll"),
    "serve_accepts_unix_on_one_worker": (
        "net/serve_listener.c", "i < server->shards_count; i++)\n        add_accept",
        "i < 1; i++)\n        add_accept",
        "net/test_serve_unix.c", "unix_addresses_are_served_beside_tcp_ones", "epoll"),
    "meter_counts_what_was_peeked": (
        "stream/meter.c", "(flags & MSG_PEEK) != 0 ? n : received(meter, n)",
        "received(meter, n)",
        "net/test_serve_bytes.c", "bytes_are_counted_whichever_call_moves_them", "uring"),
    "meter_forgets_what_was_spliced": (
        "stream/relay_way.c", "return ouro__stream_meter_sent(way->to, n);", "return n;",
        "net/test_serve_bytes.c", "bytes_are_limited_whichever_call_moves_them", "epoll"),
    "serve_cancels_at_the_first_signal": (
        "net/serve_end.c", "is_first ? OURO__SERVER_DRAINS : OURO__SERVER_CANCELS",
        "OURO__SERVER_CANCELS",
        "net/test_serve_end.c", "a_signal_drains_the_server", "uring"),
    "serve_request_counts_from_one": (
        "net/serve_connection.c", "out_peer->request = connection->requests;",
        "out_peer->request = connection->requests + 1;",
        "net/test_serve_requests.c", "each_request_has_its_handler", "epoll"),
}
