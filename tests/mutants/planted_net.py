# SPDX-License-Identifier: MIT
"""The mistakes planted in connecting, sending and streams; as in planted.py."""

SLOW = {
    "close_lingers",
    "relay_lets_the_other_direction_wait",
}

MUTANTS = {
    "self_connect_is_compared_with_the_target": (
        "net/socket.c", "ouro_socket_addr_equal(&local, &peer) != 0",
        "ouro_socket_addr_equal(&local, target) != 0",
        "net/test_self_connect.c", "a_connect_to_nobody_is_refused_at_every_port_and_address",
        "epoll"),
    "ports_are_compared_in_network_order": (
        "net/socket.c", "ouro__port_range_may_have(ports, ntohs(port),",
        "ouro__port_range_may_have(ports, port,",
        "net/test_self_connect.c", "a_connect_to_nobody_is_refused_after_many_that_were_not",
        "epoll"),
    "port_range_ends_before_its_last": (
        "base/port_range.c", "port <= range->last", "port < range->last",
        "base/test_port_range.c",
        "a_range_is_read_after_some_questions_and_believed_for_a_second", "unit"),
    "port_range_is_believed_for_ever": (
        "base/port_range.c", "        range->asked = 0;\n", "",
        "base/test_port_range.c",
        "a_range_is_read_after_some_questions_and_believed_for_a_second", "unit"),
    "resolver_is_asked_without_descriptors": (
        "net/resolve.c", "    int rc = check_descriptors();\n", "    int rc = 0;\n",
        "net/test_resolve_shortage.c", "without_descriptors_a_name_is_not_unknown", "epoll"),
    "resolver_is_believed_without_descriptors": (
        "net/resolve.c", "    rc = check_descriptors(); /* used up", "    rc = 0; /* used up",
        "net/test_resolve_shortage.c", "an_answer_that_came_without_descriptors_is_not_believed",
        "epoll"),
    "pool_that_ends_forgets_its_lookups": (
        "net/resolve.c",
        "    end_lookup(OURO__CONTAINER_OF(job, struct lookup, job), -OURO_ESHUTDOWN);",
        "    end_lookup(OURO__CONTAINER_OF(job, struct lookup, job), 0);",
        "net/test_resolve.c", "a_pool_that_ends_refuses_the_lookups_in_its_queue", "epoll"),
    "close_lingers": (
        "stream/stream.c", "        stop_lingering(stream);", "        (void)stop_lingering;",
        "stream/test_close.c", "close_does_not_linger_and_loses_nothing", "epoll"),
    "close_stops_a_reset": (
        "stream/stream.c", "if (linger.l_onoff == 0 || linger.l_linger == 0)",
        "if (linger.l_onoff == 0)",
        "stream/test_close.c", "a_linger_time_of_zero_still_resets", "epoll"),
    "close_leaves_a_pipe_open": (
        "stream/descriptor.c",
        "((sio->flags & OURO__SIO_ACCEPTS) != 0 || ouro__driver_is_here(sio->handle));",
        "(sio->flags & OURO__SIO_ACCEPTS) != 0;",
        "stream/test_pipe.c", "the_other_end_sees_a_close_at_once", "uring"),
    "pipe_leaves_its_signal_pending": (
        "stream/sigpipe.c", "if (may_be_raised && !held->was_pending) {",
        "if (may_be_raised && false) {",
        "stream/test_pipe.c", "no_write_raises_sigpipe_on_kernels_without_the_flag", "epoll"),
    "pipe_takes_a_signal_of_others": (
        "stream/sigpipe.c", "if (may_be_raised && !held->was_pending) {",
        "if (may_be_raised) {",
        "stream/test_pipe.c", "a_pending_sigpipe_stays_pending", "epoll"),
    "write_all_tells_nothing_on_failure": (
        "stream/write_all.c",
        "    if (out_written != NULL)\n        *out_written = written;\n    return rc;\n}\n\n"
        "/* What is left",
        "    if (out_written != NULL && rc == 0)\n        *out_written = written;\n"
        "    return rc;\n}\n\n/* What is left",
        "stream/test_stream_ends.c", "a_write_ends_at_its_deadline_and_tells_how_far_it_came",
        "epoll"),
    "race_reports_the_last_error": (
        "net/connect_race.c",
        "        connect->error = ouro__address_error_closest(connect->error, rc);",
        "        connect->error = rc;",
        "net/test_tcp_connect.c", "when_all_fail_the_closest_error_is_returned", "epoll"),
    "bind_takes_a_port_from_everybody": (
        "net/socket.c",
        "        (void)ouro__socket_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);",
        "        (void)0;",
        "net/test_connect_options.c", "the_local_address_can_be_chosen", "epoll"),
    "aborted_connection_ends_accept": (
        "net/acceptor.c", "    case ECONNABORTED:\n", "",
        "net/test_shortage.c", "a_connection_that_fails_in_the_backlog_ends_no_accept",
        "epoll"),
    "relay_does_not_pass_the_end_on": (
        "stream/relay_way.c", "return rc < 0 ? rc : pass_end_on(way);", "return rc;",
        "stream/test_relay_ends.c", "the_end_of_the_second_is_passed_on", "epoll"),
    "relay_counts_what_it_read": (
        "stream/relay_way.c",
        "            wish = (size_t)n;\n",
        "            wish = (size_t)n;\n            *way->count += (size_t)n;\n",
        "stream/test_relay_ends.c", "a_stalled_relay_ends_at_its_limit_and_counts_what_arrived",
        "epoll"),
    "relay_keeps_a_pipe_with_bytes": (
        "stream/relay_way.c", "way->pipe, way->held == 0);", "way->pipe, true);",
        "stream/test_relay_ends.c", "a_later_relay_gets_no_bytes_of_an_earlier_one", "epoll"),
    "relay_lets_the_other_direction_wait": (
        "stream/relay.c", "        note(relay, rc);\n        interrupt(relay->caller);\n",
        "        note(relay, rc);\n",
        "stream/test_relay_ends.c", "a_reset_of_an_idle_connection_ends_the_relay", "epoll"),
    "relay_leaves_its_caller_interrupted": (
        "stream/relay.c", "        calm(context);", "        (void)calm;",
        "stream/test_relay_ends.c", "an_idle_relay_ends_at_its_limit", "epoll"),
    "relay_raises_sigpipe": (
        "stream/relay_way.c", "    ouro__sigpipe_hold(&held);\n    do {",
        "    (void)sigemptyset(&held.before);\n    held.was_blocked = true;\n"
        "    held.was_pending = true;\n    do {",
        "stream/test_relay_obstacles.c", "no_relay_raises_sigpipe", "epoll"),
    "send_file_sends_the_first_piece_again": (
        "stream/send_file.c", "        piece.offset += *sent;\n", "",
        "stream/test_send_file.c", "every_byte_of_the_range_arrives_and_no_other", "epoll"),
    "writev_all_begins_a_buffer_again": (
        "stream/write_all.c", "        rest->done -= rest->vectors->iov_len;\n",
        "        rest->done = 0;\n",
        "stream/test_write_all.c", "many_buffers_arrive_once_and_in_order", "epoll"),
    "writev_all_counts_an_attempt": (
        "stream/write_all.c",
        "        if (n < 0)\n            return (int)n;\n        *written += (size_t)n;\n"
        "        advance",
        "        *written += n < 0 ? 1 : (size_t)n;\n        if (n < 0)\n"
        "            return (int)n;\n        advance",
        "stream/test_write_all.c", "a_failure_tells_how_many_bytes_were_written", "epoll"),
    "short_send_is_sent_again": (
        "stream/write_all.c",
        "stream->kind->write(stream, context, buffer + *written,",
        "stream->kind->write(stream, context, buffer,",
        "stream/test_stream.c", "more_than_one_call_can_carry_is_sent_once", "epoll"),
    "loans_have_no_limit": (
        "stream/loan.c",
        "if (loans_out(account) >= stream->descriptor.handle->config.loans_per_stream)",
        "if (false)", "stream/test_loan.c", "a_stream_has_at_most_its_credit", "epoll"),
    "close_says_nothing_of_loans": (
        "stream/stream.c", "        rc = ouro__loan_close(stream);",
        "        (void)ouro__loan_close(stream);",
        "stream/test_loan_ends.c", "a_close_with_loans_out_says_so_and_they_stay_valid", "epoll"),
    "reader_searches_each_piece_alone": (
        "stream/reader.c", "if (own_count - in_own >= from && in_loan <= loan_count &&",
        "if (in_loan == 0 && in_loan <= loan_count &&",
        "stream/test_reader.c", "messages_cross_the_borders_of_buffers", "epoll"),
    "reader_takes_more_than_the_maximum": (
        "stream/reader.c", "if (end != 0 && end <= size_max)", "if (end != 0)",
        "stream/test_reader.c", "a_maximum_and_the_end_in_the_middle_lose_nothing", "epoll"),
    "datagram_that_is_cut_tells_the_cut_length": (
        "net/datagram.c", "op.arg.message.flags = flags | MSG_TRUNC;",
        "op.arg.message.flags = flags;",
        "net/test_udp.c", "empty_datagrams_are_data_and_long_ones_tell_their_length", "uring"),
    "datagram_send_goes_on_after_the_shutdown": (
        "net/datagram.c", "if (OURO__UNLIKELY(ouro__handle_is_shutdown(handle)))", "if (false)",
        "net/test_udp.c", "a_socket_may_outlive_its_runtime", "epoll"),
    "udp_send_fails_for_another_destination": (
        "net/udp_error.c",
        "return lane == OURO__LANE_READ || found > 0 || (*tries)++ < REPEATS;",
        "(void)tries;\n    (void)found;\n    return lane == OURO__LANE_READ;",
        "net/test_udp_error.c", "one_destinations_error_fails_no_send_to_another", "epoll"),
    "udp_receiver_leaves_the_error_queue_full": (
        "net/udp_error.c", "errors->reader_waits ? 0 : empty_queue_locked(socket);", "0;",
        "net/test_udp_error.c", "a_receiver_waits_on_behind_errors_that_nobody_reads", "uring"),
    "udp_answer_comes_from_anywhere": (
        "net/udp_message.c", "    info.ipi_spec_dst = local.sin_addr;", "    (void)local;",
        "net/test_udp_options.c", "a_message_tells_its_local_address_interface_and_tos", "epoll"),
    "unix_surplus_descriptors_stay_open": (
        "net/unix_fds.c",
        "    ouro__kernel_close(fd);\n    if (fds != NULL)", "    if (fds != NULL)",
        "net/test_unix_fds.c", "descriptors_without_room_are_closed_and_said", "epoll"),
    "unix_live_file_is_replaced": (
        "net/unix_path.c", "return rc == -ECONNREFUSED;", "return rc != -ENOENT;",
        "net/test_unix_bind.c", "a_dead_process_file_is_replaced_and_a_live_one_is_not", "epoll"),
    "unix_close_removes_another_file": (
        "net/unix_path.c", "if (device == path->device && inode == path->inode)", "if (true)",
        "net/test_unix_bind.c", "close_removes_only_its_own_file", "epoll"),
    "unix_empty_message_is_the_end": (
        "net/unix_datagram.c", "&& header.msg_controllen == 0)", ")",
        "net/test_unix_datagram.c", "the_end_of_a_seqpacket_is_no_empty_message", "uring"),
    "rest_is_written_from_a_buffer_at_home": (
        "stream/write_loan.c", "    ouro__atomic_init(&send->holders, 2);",
        "    ouro__atomic_init(&send->holders, 1);",
        "stream/test_write_loan.c", "the_rest_of_a_loan_keeps_its_buffer", "uring"),
    "lent_loans_count_for_the_credit": (
        "stream/loan.c", "    return references_of(counts) - lent_of(counts) - 1;",
        "    return references_of(counts) - 1;",
        "stream/test_write_loan.c", "a_runtime_ends_while_buffers_are_being_sent", "uring"),
    "lending_knows_no_limit": (
        "stream/loan.c", "lent_of(counts) >= account->handle->config.loans_per_stream ||", "",
        "stream/test_write_loan.c", "a_runtime_ends_while_buffers_are_being_sent", "uring"),
    "report_of_a_copy_is_not_heard": (
        "stream/write_loan.c", "zero_copy->was_copied ? REPORT_COPIED : REPORT_NOT_COPIED",
        "REPORT_NOT_COPIED",
        "stream/test_write_loan.c", "a_stream_that_the_kernel_copies_is_left_alone", "uring"),
    "what_a_short_send_leaves_is_lost": (
        "stream/write_loan.c", "    if (rc == 0)\n        rc = ouro__stream_write_rest(",
        "    if (rc == 0 && *written == 0)\n        rc = ouro__stream_write_rest(",
        "stream/test_write_loan.c", "what_the_socket_does_not_take_at_once_follows", "uring"),
    "closing_driver_forgets_what_is_lent": (
        "registry/driver.c",
        "    handle->driver = NULL;\n    ouro__zero_copy_run(&handle->zero_copy);\n",
        "    handle->driver = NULL;\n",
        "registry/test_zero_copy.c", "a_driver_closes_while_memory_is_lent", "uring"),
    "all_sizes_are_one_class": (
        "registry/zero_copy.c", "    return &zero_copy->class[i];", "    return zero_copy->class;",
        "registry/test_zero_copy.c", "each_class_of_sizes_is_tried_by_itself", "uring"),
}
