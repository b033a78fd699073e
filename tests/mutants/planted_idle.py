# SPDX-License-Identifier: MIT
"""The mistakes planted in what gives idle memory back; as in planted.py."""

SLOW = {
    "heap_keeps_a_peak",
    "released_mutex_wakes_nobody",
}

MUTANTS = {
    "registrations_of_a_peak_are_kept": (
        "registry/trim.c", "    if (trim->cold_chunks > 0) {\n", "    if (false) {\n",
        "registry/test_trim.c", "registrations_of_a_peak_are_given_back", "epoll"),
    "new_chunk_begins_with_old_generations": (
        "registry/registration_set.c",
        "        chunk->slot[i].generation = set->generation;\n", "",
        "registry/test_trim.c", "registrations_of_a_peak_are_given_back", "epoll"),
    "registrations_go_before_a_window_has_passed": (
        "registry/trim.c", "    trim->cold_chunks = ouro__registration_set_cold(&handle->set);\n",
        "    (void)ouro__registration_set_cold(&handle->set);\n    trim->cold_chunks = 1000;\n",
        "registry/test_trim.c", "registrations_of_a_load_that_comes_back_stay", "epoll"),
    "idle_buffers_keep_their_memory": (
        "registry/loan_pool.c", "    (void)madvise(data, pool->unit_bytes, MADV_DONTNEED);\n",
        "    (void)data;\n",
        "registry/test_trim.c", "buffers_of_a_peak_give_their_memory_back", "epoll"),
    "buffer_that_is_out_loses_its_memory": (
        "registry/loan_pool.c", "state_of(word) != OURO__LOAN_HOME ||\n            (buffer",
        "(buffer",
        "registry/test_trim.c", "buffers_of_a_peak_give_their_memory_back", "epoll"),
    "offered_buffers_are_kept": (
        "uring/buffers.c", "        give_up_ring(buffers, ring, pool);\n", "        return;\n",
        "registry/test_trim.c", "buffers_of_a_burst_of_receives_give_their_memory_back", "uring"),
    "ring_is_given_up_under_a_receive": (
        "uring/buffers.c", "if (!is_receiving && pool->offered_count", "if (pool->offered_count",
        "registry/test_trim.c", "what_is_offered_is_left_alone_while_one_receives", "uring"),
    "heap_keeps_a_peak": (
        "registry/trim.c", "        ouro__alloc_trim();\n", "",
        "net/test_idle_memory.c", "an_idle_connection_in_request_mode_costs_half_a_kib", "epoll"),
    "mutex_of_one_thread_is_not_held": (
        "base/mutex.h",
        "        ouro__store(&mutex->word, OURO__MUTEX_HELD, memory_order_relaxed);\n",
        "        (void)word;\n",
        "base/test_mutex.c", "a_process_with_one_thread_locks_too", "unit"),
    "released_mutex_wakes_nobody": (
        "base/mutex.c", "    ouro__futex_wake_one(&mutex->word);\n", "    (void)mutex;\n",
        "base/test_mutex.c", "all_who_wait_get_it_in_the_end", "unit"),
}
