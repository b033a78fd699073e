# SPDX-License-Identifier: MIT
"""The mistakes that mutants.py plants.

name: (source below src/, what stands there, what is put there, test file below tests/, case,
       driver, and where they are needed: a list of further sources to compile, below the root:
       those that include a mutated header, or the C++ half of a test)

What goes wrong with a mistake is what its case says.  The cases of SLOW fail only at the end of a
time limit; tools/test --mutants runs them.
"""

import planted_accept
import planted_idle
import planted_net
import planted_serve

SLOW = {
    "copy_of_a_group_is_a_group",
    "embedded_driver_hears_no_unpark",
    "embedded_thread_is_never_away",
    "forked_io_function_waits_on",
    "loop_without_progress_yields_not",
    "poll_join_wakes_nobody",
    "quiesce_does_not_cancel_the_slots",
    "shield_does_not_end",
    "shutdown_loses_the_wakes_of_an_own_thread",
    "shutdown_waits_for_no_operation",
    "start_takes_eperm_for_not_yet",
    "trim_does_not_wake_an_idle_worker",
    "trim_forgets_the_shared_pools",
    "worker_takes_the_process_signals",
}

MUTANTS = {
    "peer_table_moves_nobody_up": (
        "net/peer_table.c", "if (way >= ((at - gap) & mask)) {", "if (false) {",
        "net/test_peer_table.c", "counts_are_those_of_a_plain_array", "unit"),
    "start_undo_forgets_the_opened_workers": (
        "runtime/threads.c",
        "if (handle->worker[i].is_open)\n                ouro__worker_fini", "if (false)\n"
        "                ouro__worker_fini",
        "runtime/test_start.c", "each_call_of_a_start_may_lack_memory", "epoll"),
    "start_undo_forgets_the_first_worker": (
        "runtime/runtime.c",
        "        close_own_worker(handle);\n"
        "        ouro__worker_fini(&handle->worker[0]);\n    }\n    return rc;",
        "        close_own_worker(handle);\n    }\n    return rc;",
        "runtime/test_start.c", "each_call_of_a_start_may_lack_memory", "epoll"),
    "start_takes_eperm_for_not_yet": (
        "runtime/threads.c", "#define NOT_YET UINT32_MAX", "#define NOT_YET 1",
        "runtime/test_start.c", "a_ring_refused_after_the_look_is_an_error_or_epoll", "uring"),
    "start_undoes_a_handler_that_was_refused": (
        "runtime/runtime.c",
        "    int rc = ouro__overflow_install();\n    if (rc < 0)\n        return rc;\n"
        "    rc = start_workers(handle);",
        "    int rc = ouro__overflow_install();\n    if (rc == 0)\n"
        "        rc = start_workers(handle);",
        "runtime/test_start.c", "each_call_of_a_start_may_be_refused", "epoll"),
    "start_goes_on_without_a_signal_stack": (
        "task/worker.c", "rc = ouro__overflow_thread_start(&worker->overflow);",
        "(void)ouro__overflow_thread_start(&worker->overflow);",
        "runtime/test_start.c", "each_call_of_a_start_may_be_refused", "epoll"),
    "start_keeps_every_answer_about_the_kernel": (
        "probe/feature_detect.c",
        "return report->obstacle == 0 && (report->error == 0 || report->error == -ENOTSUP);",
        "(void)report; return true;",
        "runtime/test_choice.c", "a_shortage_at_the_first_look_is_not_remembered", "uring"),
    "start_looks_at_everything": (
        "runtime/choose.c",
        "uint64_t wanted = ouro__uring_uses() & "
        "~OURO__FEATURE_BIT(OURO__FEATURE_MADV_GUARD);",
        "uint64_t wanted = OURO__FEATURE_ALL;",
        "runtime/test_start.c", "a_start_makes_few_system_calls", "uring"),
    "start_believes_its_parents_look": (
        "runtime/choose.c", "if (!has_looked || ouro__fork_is_child(generation)) {",
        "if (!has_looked) {",
        "runtime/test_choice.c", "a_forked_child_looks_at_the_kernel_itself", "uring"),
    "start_forgets_the_quirk_mask": (
        "runtime/choose.c",
        "(report.quirks | report.quirks_untested | config->quirk_mask) &",
        "(report.quirks | report.quirks_untested) &",
        "runtime/test_masks.c", "a_quirk_bit_reaches_the_driver_that_has_a_path", "uring"),
    "start_takes_an_untested_quirk_for_absent": (
        "runtime/choose.c",
        "(report.quirks | report.quirks_untested | config->quirk_mask) &",
        "(report.quirks | config->quirk_mask) &",
        "runtime/test_masks.c", "a_quirk_bit_reaches_the_driver_that_has_a_path", "uring"),
    "start_ignores_a_masked_feature": (
        "runtime/choose.c",
        "bool masked = (config->feature_mask & ouro__feature_required_bits()) != 0;",
        "bool masked = false;",
        "runtime/test_choice.c", "a_masked_required_feature_means_epoll", "uring"),
    "start_uses_masked_features": (
        "runtime/choose.c",
        "choice.features = (report.present | ouro__uring_uses_later()) & ~config->feature_mask;",
        "choice.features = report.present | ouro__uring_uses_later();",
        "runtime/test_masks.c", "a_masked_feature_is_not_asked_for", "uring"),
    "start_uses_masked_guards": (
        "runtime/choose.c", ".use_madv_guard = (config->feature_mask & guard) == 0,",
        ".use_madv_guard = guard != 0,",
        "runtime/test_masks.c", "a_masked_feature_is_not_asked_for", "epoll"),
    "start_blames_the_ring_for_everything": (
        "runtime/runtime.c", "*out_refused = driver_is_refused(handle);",
        "*out_refused = true;",
        "runtime/test_start.c", "each_call_of_a_start_that_chooses_may_be_refused", "uring"),
    "start_gives_up_where_epoll_would_do": (
        "runtime/choose.c", "        return false;\n    choose_epoll(choice);\n",
        "        return false;\n    return false;\n    choose_epoll(choice);\n",
        "runtime/test_start.c", "a_ring_refused_after_the_look_is_an_error_or_epoll", "uring"),
    "detection_takes_a_shortage_for_an_answer": (
        "probe/feature_kit.c", "if (ouro__kit_is_obstacle(rc) && kit->obstacle == 0)",
        "if (false)",
        "probe/test_feature.c", "a_shortage_of_descriptors_is_not_a_missing_feature", "uring"),
    "detection_performs_what_nobody_wants": (
        "probe/feature_detect.c", "if ((step->finds & wanted) == 0)", "if (wanted == 0)",
        "probe/test_feature.c", "a_start_looks_only_at_what_it_uses", "uring"),
    "detection_goes_on_with_a_disturbed_ring": (
        "probe/feature_detect.c", "rc = ouro__kit_reopen(kit);", "rc = 0;",
        "probe/test_feature.c", "a_refused_call_says_nothing_about_the_kernel", "uring"),
    "detection_loses_the_descriptor_it_was_brought": (
        "probe/feature_kit.c", "if (cqe.user_data == user_data && cqe.res >= 0)", "if (false)",
        "probe/test_feature.c", "a_refused_call_says_nothing_about_the_kernel", "uring"),
    "explanation_blames_a_filter_for_a_busy_machine": (
        "probe/feature_explain.c", "} else if (!is_refusal(report->error)) {",
        "} else if (false) {",
        "probe/test_feature.c", "a_refusal_names_its_cause_and_its_remedy", "unit"),
    "text_runs_over_its_buffer": (
        "base/text.h", "text->size > 0 ? text->size - 1 - text->length : 0",
        "text->size > 0 ? text->size - text->length : 0",
        "base/test_text.c", "a_text_is_cut_where_the_buffer_ends", "unit"),

    # The drivers.
    "driver_quiesce_ends_one_operation_early": (
        "registry/driver.c",
        "    if (sio->inflight == 0 && sio->lane[OURO__LANE_QUIESCE] != NULL)",
        "    if (sio->inflight <= 1 && sio->lane[OURO__LANE_QUIESCE] != NULL)",
        "registry/test_driver.c", "quiesce_ends_every_lane_then_itself", "epoll"),
    "driver_takes_operations_after_its_shutdown": (
        "registry/driver.c",
        "op->lane < OURO__LANE_ACCEPT && !ouro__driver_is_shut_down(driver->handle) &&",
        "op->lane < OURO__LANE_ACCEPT &&",
        "registry/test_driver.c", "an_operation_that_arrives_after_the_shutdown_is_cancelled",
        "epoll"),
    "uring_forgets_a_poll_that_has_ended": (
        "uring/poll.c", "    if (op->result >= 0)\n        arm(op);", "    (void)op;",
        "uring/test_poll.c", "a_poll_that_a_full_queue_ended_is_armed_again", "uring"),
    "uring_forgets_a_wake_that_failed": (
        "uring/complete.c", "    uring->wake_armed = false;\n",
        "    uring->wake_armed = result < 0;\n",
        "uring/test_ring.c", "a_failed_wake_is_armed_again", "uring"),
    "epoll_table_loses_entries_when_it_grows": (
        "epoll/epoll_set.c",
        "        memcpy(token, set->token, set->size * sizeof(*token));", "        (void)0;",
        "epoll/test_epoll_set.c", "table_grows_with_the_numbers", "epoll"),
    "op_slots_lose_entries_when_they_grow": (
        "registry/op_slots.c",
        "        memcpy(slot, slots->slot, slots->size * sizeof(*slot));", "        (void)0;",
        "registry/test_op_slots.c", "growing_keeps_every_entry", "unit"),
    "op_slot_keeps_its_generation": (
        "registry/op_slots.c", "    slot->generation++;\n", "",
        "registry/test_op_slots.c", "a_token_names_one_operation_for_ever", "unit"),
    "quiesce_does_not_cancel_the_slots": (
        "registry/driver.c",
        "    ouro__op_slots_for_each(&driver->slots, cancel_slot, &cancelling);\n}\n\n"
        "void ouro__driver_refuse",
        "    (void)cancelling;\n    (void)cancel_slot;\n}\n\nvoid ouro__driver_refuse",
        "registry/test_op_slots.c", "a_descriptor_waits_for_its_operations_in_slots", "uring"),
    "uring_gives_eagain": (
        "uring/complete.c", "bool waits = *result == -EAGAIN && row->waits_for != 0;",
        "bool waits = false;",
        "uring/test_rows.c", "not_yet_is_no_result", "uring"),
    "uring_lets_restart_codes_out": (
        "uring/complete.c", "if (result <= RESTART_FIRST && result >= RESTART_LAST)",
        "if (false)",
        "uring/test_rows.c", "not_yet_is_no_result", "uring"),
    "uring_sends_what_was_sent": (
        "uring/rows.c", "    size_t sent = (size_t)op->result;\n", "    size_t sent = 0;\n",
        "uring/test_rows.c", "no_thread_for_a_write_to_a_half_closed_peer", "uring"),
    "uring_lets_the_kernel_wait_for_room": (
        "uring/rows.c", "(uring->waits_to_send ? MSG_DONTWAIT : 0)", "0",
        "uring/test_rows.c", "no_thread_for_a_write_to_a_half_closed_peer", "uring"),
    "connect_ends_before_it_has_an_answer": (
        "registry/connect_end.c", "error == EALREADY || ", "",
        "registry/test_connect_end.c", "without_an_answer_it_goes_on", "unit"),
    "connect_that_has_a_peer_fails": (
        "registry/connect_end.c", "error == EISCONN ? 0 : -error", "-error",
        "registry/test_connect_end.c", "zero_means_a_peer", "unit"),
    "hang_up_that_passes_is_final": (
        "registry/descriptor_kind.c",
        "*kind != OURO__KIND_UNCONNECTED && *kind != OURO__KIND_OTHER;", "*kind != 99;",
        "net/test_poll_hangup.c", "a_socket_may_be_registered_before_it_listens", "uring"),
    "hang_up_that_has_passed_is_believed": (
        "registry/registration.c", "!ouro__load(&sio->must_check, memory_order_relaxed)", "true",
        "net/test_poll_hangup.c", "a_socket_may_be_registered_before_it_connects", "epoll"),
    "yield_tells_of_no_cancellation": (
        "task/worker.c", "    return ouro__context_interrupted(ouro__context_current());\n",
        "    return 0;\n",
        "task/test_task.c", "a_yield_tells_of_a_cancellation_that_came_meanwhile", "epoll"),
    "loop_without_progress_yields_not": (
        "net/poll_evented.c", "        ouro__context_yield(context);", "        (void)context;",
        "net/test_poll_hangup.c", "a_loop_without_progress_yields_and_keeps_its_deadline",
        "epoll"),
    "uring_believes_urgent_data": (
        "uring/poll.c", "        events &= ~(uint32_t)POLLPRI;", "        events |= 0;",
        "net/test_poll_hangup.c", "urgent_data_is_a_priority", "uring"),
    "hang_up_alone_wakes_no_writer": (
        "registry/readiness.h", "        mask |= OURO_WRITE_CLOSED;", "        mask |= 0;",
        "net/test_poll_evented.c", "a_hang_up_alone_wakes_a_writer", "epoll",
        ["src/registry/scheduled_io.c", "src/registry/registration.c",
         "src/net/poll_evented.c"]),

    # Tasks and stacks.
    "spawn_that_fails_keeps_its_place": (
        "task/task.c",
        "    if (OURO__UNLIKELY(task == NULL)) {\n        ouro__handle_count_out(handle);\n",
        "    if (OURO__UNLIKELY(task == NULL)) {\n",
        "task/test_tasks_max.c", "a_spawn_that_fails_keeps_no_place_in_tasks_max", "epoll"),
    "spawn_that_fails_late_keeps_its_place": (
        "task/task.c",
        "    ouro__handle_count_out(task->context.handle);\n    ouro__task_put_stack",
        "    ouro__task_put_stack",
        "task/test_tasks_max.c", "a_spawn_that_fails_keeps_no_place_in_tasks_max", "epoll"),

    # Shutdown, and calls from inside a worker's loop.
    "shutdown_leaves_messages_unread": (
        "task/worker.c",
        "worker->live == 0 &&\n           ouro__io_handle_close_inbox(&worker->io);",
        "worker->live == 0;",
        "runtime/test_shutdown_race.c", "a_spawn_during_shutdown_runs_or_fails", "epoll"),
    "shutdown_waits_for_no_operation": (
        "registry/io_handle.c", "    return is_idle && ouro__inbox_close",
        "    return ouro__inbox_close",
        "runtime/test_shutdown_race.c", "an_operation_that_begins_during_shutdown_ends", "epoll"),
    "a_send_begins_again_after_its_try": (
        "registry/driver.c", "        done = op->result;", "        done = 0;",
        "epoll/test_emulate.c", "a_send_ends_at_once_or_goes_on_where_it_was", "epoll"),
    "looking_is_free": (
        "registry/trial.c", "trial->ratio >= 1 - MARGIN", "trial->ratio >= 100",
        "registry/test_busy_poll.c", "looking_that_never_finds_anything_stops", "unit"),
    "a_wait_brings_one_event": (
        "registry/busy_poll.h", "brought != poll->brought ? brought - poll->brought : 1", "1",
        "registry/test_busy_poll.c", "looking_stops_where_a_sleep_brings_many_events", "unit"),
    "a_change_of_work_goes_unnoticed": (
        "registry/trial.c", "        trial->stretches_left = 1;", "        trial->ratio = 0;",
        "registry/test_busy_poll.c", "looking_begins_when_the_work_has_changed", "unit"),
    "shutdown_is_told_before_registrations_know": (
        "task/handle.c", "    if (OURO__UNLIKELY(ouro__handle_is_shutdown(handle)))",
        "    if (false)",
        "runtime/test_shutdown_race.c", "a_registration_after_the_shutdown_was_told_fails",
        "epoll"),
    "shutdown_looks_like_a_cancel_from_outside": (
        "task/remote.c", "    op->result = ouro__driver_result(op);\n", "",
        "runtime/test_shutdown_race.c", "a_task_of_another_runtime_is_told_of_the_shutdown",
        "epoll"),
    "shutdown_loses_the_wakes_of_an_own_thread": (
        "task/wake_ref.c", "    ouro__driver_unpark(&ref->worker->io.handle);\n", "",
        "runtime/test_shutdown_race.c", "an_own_thread_waits_under_a_shield_after_the_shutdown",
        "epoll"),
    "task_may_wait_for_a_runtime": (
        "task/worker.c",
        "return worker != NULL && !ouro__fork_is_child(worker->main.fork_generation);",
        "return false;",
        "runtime/test_nested.c", "a_task_cannot_wait_for_a_runtime_nor_make_one", "epoll"),
    "waker_keeps_the_own_threads_context": (
        "task/worker.c",
        "    worker_of_thread = worker;\n    ouro__context_set_current(NULL);",
        "    worker_of_thread = worker;",
        "runtime/test_nested.c", "a_waker_called_by_a_waiting_own_thread_cannot_wait", "epoll"),
    "trim_empties_hot_stacks_too": (
        "fiber/stack_trim.c", "            trim->cold = pool->idle_low;\n",
        "            trim->cold = pool->idle_low = pool->idle_count;\n",
        "fiber/test_stack_trim.c", "a_load_that_comes_back_within_a_window_keeps_its_memory",
        "unit"),
    "trim_empties_what_was_taken_meanwhile": (
        "fiber/stack_trim.c",
        "    if (trim->cold > pool->idle_low) /* taken since the step before */\n"
        "        trim->cold = pool->idle_low;\n", "",
        "fiber/test_stack_trim.c", "stacks_taken_between_two_steps_are_not_emptied", "unit"),
    "trim_unmaps_a_slab_under_a_handler": (
        "fiber/stack_trim.c",
        "    if (ouro__stack_slab_is_watched())\n        return OURO__STACK_TRIM_WINDOW_NS;\n", "",
        "fiber/test_stack_trim.c", "no_slab_is_unmapped_under_a_handler_that_looks", "unit"),
    "trim_does_not_wake_an_idle_worker": (
        "task/worker.c", "        next_ns = trim_ns < next_ns ? trim_ns : next_ns;\n",
        "        (void)trim_ns;\n",
        "task/test_stacks_given_back.c", "workers_idle_for_ever_give_memory_back", "epoll"),
    "trim_forgets_the_shared_pools": (
        "task/task.c", "        task->context.worker->trims_shared = true;", "        (void)0;",
        "task/test_stacks_given_back.c", "stacks_of_plain_threads_tasks_are_given_back", "epoll"),
    "exceptions_stay_with_the_thread": (
        "task/worker.c", "    worker->ended = &worker->main;\n}", "}",
        "cxx/test_exceptions.c", "each_task_rethrows_its_own", "epoll",
        ["tests/cxx/throws.cpp"]),
    "exceptions_are_inherited_by_new_tasks": (
        "fiber/exceptions.h", "    *here = *to;\n",
        "    if (to->caught != NULL)\n        *here = *to;\n",
        "cxx/test_exceptions.c", "each_task_rethrows_its_own", "epoll",
        ["src/task/worker.c", "tests/cxx/throws.cpp"]),

    # The process.
    "forked_task_returns_into_the_loop": (
        "task/task.c", "ouro__fork_check(task->context.fork_generation, task->result);", "",
        "runtime/test_fork.c", "a_child_that_comes_back_runs_nothing_of_the_parents", "epoll"),
    "forked_waker_returns_into_the_loop": (
        "registry/scheduled_io.c", "ouro__fork_check(generation, 0);", "(void)generation;",
        "runtime/test_fork.c", "a_child_that_comes_back_runs_nothing_of_the_parents", "epoll"),
    "forked_io_function_waits_on": (
        "net/poll_evented.c",
        "return ouro__fork_is_child(context->fork_generation) ? -OURO_EFORKED : result;",
        "(void)context; return result;",
        "runtime/test_fork.c", "a_child_made_in_a_poll_function_gets_an_error", "epoll"),
    "blocking_call_blocks_signals": (
        "blocking/pool.c", "(void)pthread_sigmask(SIG_SETMASK, &pool->program_mask, NULL);", ";",
        "runtime/test_signals.c", "programs_that_tasks_start_have_the_programs_mask", "epoll"),
    "larger_options_are_not_looked_at": (
        "base/options.c", "theirs > size && !is_zero(", "theirs > size && 0 && is_zero(",
        "runtime/test_options.c", "task_options_of_other_sizes", "epoll"),
    "smaller_options_are_read_past_their_end": (
        "base/options.c", "theirs < size ? theirs : size", "size",
        "runtime/test_options.c", "task_options_of_other_sizes", "epoll"),
    "embedded_turn_has_no_bound": (
        "task/worker.c", "EMBEDDED_ROUNDS_MAX = 8", "EMBEDDED_ROUNDS_MAX = 100000",
        "runtime/test_embedding.c", "busy_tasks_leave_the_loop_its_turns", "epoll"),
    "embedded_timer_stays_due": (
        "registry/embedding.c", "if (due_ns == embedding->armed_ns)",
        "if (due_ns == embedding->armed_ns || due_ns == OURO__NEVER)",
        "runtime/test_embedding.c", "timers_wake_a_foreign_loop_and_do_not_spin_it", "epoll"),
    "embedded_thread_is_never_away": (
        "registry/embedding.c", "handle->is_away = true;", "handle->is_away = false;",
        "runtime/test_embedding.c", "what_the_loops_thread_does_between_turns_is_done", "epoll"),
    "embedded_driver_hears_no_unpark": (
        "registry/embedding.c", "if (!ouro__unpark_begin_sleep(&handle->unpark))", "if (false)",
        "runtime/test_embedding.c", "other_threads_wake_a_foreign_loop", "epoll"),
    "worker_takes_the_process_signals": (
        "task/handle.c", "is_programs_thread(worker) ? NULL : ouro__signals_quiet()", "NULL",
        "runtime/test_signals.c", "idle_threads_take_no_signals_of_the_process", "epoll"),
    "cancel_in_a_child_is_not_refused": (
        "task/task.c",
        "    if (ouro__fork_is_child(task->context.handle->fork_generation))\n"
        "        return -OURO_EFORKED;\n    uint32_t before", "    uint32_t before",
        "runtime/test_fork.c", "every_call_in_a_child_is_refused", "epoll"),

    # Time, scopes, groups, loans.
    "timer_is_rounded_down": (
        "task/timer.c", "return ((uint64_t)when_ns + OURO__TIMER_TICK_NS - 1) >>",
        "return ((uint64_t)when_ns) >>",
        "task/test_timer.c", "fires_in_time_on_every_level", "unit"),
    "timer_ticks_in_milliseconds": (
        "task/timer.h", "OURO__TIMER_TICK_SHIFT = 14", "OURO__TIMER_TICK_SHIFT = 20",
        "task/test_timer.c", "a_tick_is_fine_enough_and_the_wheel_reaches_far_enough", "unit",
        ["src/task/timer.c"]),
    "timer_wheel_reaches_a_month": (
        "task/timer.h", "OURO__WHEEL_LEVELS = 7", "OURO__WHEEL_LEVELS = 6",
        "task/test_timer.c", "a_tick_is_fine_enough_and_the_wheel_reaches_far_enough", "unit",
        ["src/task/timer.c"]),
    "timers_share_no_wake": (
        "task/timer.c", "return tick + (63u - (unsigned)__builtin_clzll(near));",
        "(void)near;\n    return tick;",
        "task/test_timer.c", "timers_close_to_each_other_share_a_wake_up", "unit"),
    "timer_wakes_at_each_level": (
        "task/timer.c", ": wake_in(&wheel->slot[level][slot], tick);", ": tick;",
        "task/test_timer.c", "a_lone_timer_needs_one_wake_up", "unit"),
    "timer_slot_of_now_comes_first": (
        "task/timer.c",
        "unsigned first = (unsigned)((wheel->now >> shift) + 1) & SLOT_MASK;",
        "unsigned first = (unsigned)((wheel->now >> shift) + (level < 6)) & SLOT_MASK;",
        "task/test_timer.c", "an_endless_timer_hides_no_other", "unit"),
    "deadline_is_seen_by_its_timer_only": (
        "task/scope.c", "(interrupts | OURO__INTERRUPT_CLOCK)", "interrupts",
        "net/test_late_deadline.c", "a_call_after_the_deadline_takes_nothing", "uring"),
    "scope_that_has_ended_ends_again": (
        "task/scope.c", "return context->scope_open[scope->depth - 1] == scope->serial;",
        "return true;",
        "task/test_deadline.c", "ends_in_any_order_leave_what_is_open", "epoll"),
    "deep_scope_never_ends": (
        "task/scope.c", "return (int32_t)(scope->serial - last_kept) > 0;", "return false;",
        "task/test_deadline.c", "a_forgotten_end_lasts_no_longer_than_the_scope_around_it",
        "epoll"),
    "leave_keeps_the_scopes": (
        "task/enter.c", "    ouro__scope_end_all(context);", "    (void)0;",
        "task/test_deadline.c", "a_forgotten_end_lasts_no_longer_than_the_scope_around_it",
        "epoll"),
    "scope_is_ended_by_anybody": (
        "task/deadline.c", " && scope->context == ouro__context_current())", ")",
        "task/test_deadline.c", "nobody_ends_the_scope_of_another", "epoll"),
    "shield_lets_a_cancel_through": (
        "task/context.c", "if ((interrupts & OURO__SHIELDED) == 0) {", "if (true) {",
        "task/test_shield.c", "a_cancelled_task_cleans_up", "epoll"),
    "shield_keeps_the_outer_deadline": (
        "task/shield.c",
        "    if (context->deadline_ns != OURO__NEVER)\n"
        "        ouro__scope_set_deadline(context, OURO__NEVER, 0);\n", "",
        "task/test_shield.c", "outer_deadlines_are_held_off_and_inner_ones_hold", "epoll"),
    "shield_does_not_end": (
        "task/scope.c", "ouro__context_is_shielded(context) != scope->outer_is_shielded", "false",
        "task/test_shield.c", "a_cancelled_task_cleans_up", "epoll"),
    "shield_holds_a_shutdown_off_from_io": (
        "task/worker.h", "return ouro__context_is_shutdown(context) ? -OURO_ESHUTDOWN : 0;",
        "return 0;",
        "task/test_shield.c", "a_shutdown_is_held_off_from_sleeping_but_not_from_io", "epoll",
        ["src/stream/pipe.c"]),
    "group_left_open_by_a_task_is_not_noticed": (
        "task/task.c", "if (OURO__UNLIKELY(task->context.groups != 0))", "if (false)",
        "task/test_group_misuse.c", "a_group_left_open_stops_the_program_with_a_message", "epoll"),
    "group_left_open_by_a_thread_is_not_noticed": (
        "task/enter.c", "if (OURO__UNLIKELY(context->groups != 0))", "if (false)",
        "task/test_group_misuse.c", "a_group_left_open_stops_the_program_with_a_message", "epoll"),
    "copy_of_a_group_is_a_group": (
        "task/group.c", "return MAGIC + (uintptr_t)group;", "(void)group;\n    return MAGIC;",
        "task/test_group_misuse.c", "misuse_is_an_error", "epoll"),
    "group_ends_twice": (
        "task/group.c", "    group->magic = 0;\n    context->groups--;", "    context->groups--;",
        "task/test_group_misuse.c", "misuse_is_an_error", "epoll"),
    "spawn_here_goes_anywhere": (
        "task/task.c", "    options.worker = OURO_WORKER_CURRENT;\n", "",
        "task/test_poll_join.c", "spawn_here_stays_on_the_callers_worker", "epoll"),
    "poll_join_wakes_nobody": (
        "task/task.c", "    ouro_waker_wake(&waker); /* the holder may", "    /* the holder may",
        "task/test_poll_join.c", "a_waker_may_poll_from_inside_its_wake", "epoll"),
    "loan_of_a_failed_receive_is_kept": (
        "uring/loan_rows.c", "    ouro__lending_undo(op);\n    return OURO__URING_ENDS;\n}",
        "    return OURO__URING_ENDS;\n}",
        "uring/test_buffers.c", "a_failed_receive_that_names_a_buffer_returns_it", "uring"),
    "loan_of_a_receive_that_goes_on_is_kept": (
        "uring/complete.c", "if ((waits || restarts) && row->undo != NULL)", "if (false)",
        "uring/test_buffers.c", "a_failed_receive_that_names_a_buffer_returns_it", "uring"),
    "loan_is_waited_for_by_a_cancelled_receive": (
        "uring/loan_rows.c", "    if ((op->backend & OURO__URING_CANCELLED) == 0)",
        "    if (true)",
        "uring/test_buffers.c", "a_cancelled_receive_waits_for_no_buffer", "uring"),
    "loan_of_a_late_result_is_kept": (
        "uring/complete.c", "    take_buffer(uring, NULL, cqe);\n", "",
        "uring/test_buffers.c", "a_late_result_with_a_buffer_is_dropped_and_the_buffer_returned",
        "uring"),
    "loan_at_the_end_of_a_stream_is_kept": (
        "epoll/loan.c", "if (!has_ended || *out_result <= 0)", "if (!has_ended)",
        "stream/test_loan.c", "every_kind_is_read_on_loan", "epoll"),
    "loans_of_a_buffer_are_all_alike": (
        "registry/loan_pool.c", "    word += OURO__LOAN_STATES;", "    word += 0;",
        "registry/test_loan_pool.c", "those_that_wait_get_buffers_in_order_before_the_pool",
        "unit"),
    "old_kernels_wait_in_milliseconds": (
        "epoll/events.c", "if (timeout_ns > 0 && !epoll->lacks_ppoll) {", "if (false) {",
        "epoll/test_events.c", "turn_waits_in_nanoseconds_without_pwait2", "epoll"),
}

MUTANTS.update(planted_accept.MUTANTS)
MUTANTS.update(planted_idle.MUTANTS)
MUTANTS.update(planted_net.MUTANTS)
MUTANTS.update(planted_serve.MUTANTS)
SLOW |= planted_accept.SLOW | planted_idle.SLOW | planted_net.SLOW
