#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mistakes put into the library's sources on purpose, to see that the models notice them.

mutants.py list MODEL                               names, one a line
mutants.py kill MODEL NAME ROOT COMPILER SOURCE...  0 when the model fails, as it must

A mutant is a text that stands in the source exactly once, and what is put in its place.  When the
source has moved on, the mutant is to be written anew: that is an error, too.
"""
import os
import subprocess
import sys
import tempfile

MUTANTS = {
    "readiness": {
        "clear_ignores_the_read_tick": (
            "registry/readiness.c",
            "if (same_tick(before, snapshot, OURO__READ_TICK_SHIFT))", "if (true)"),
        "clear_ignores_the_write_tick": (
            "registry/readiness.c",
            "if (same_tick(before, snapshot, OURO__WRITE_TICK_SHIFT))", "if (true)"),
        "one_tick_for_both_directions": (
            "registry/readiness.c",
            "if (same_tick(before, snapshot, OURO__READ_TICK_SHIFT))",
            "if (same_tick(before, snapshot, OURO__READ_TICK_SHIFT) && "
            "same_tick(before, snapshot, OURO__WRITE_TICK_SHIFT))"),
        "eight_bits_of_the_tick_are_compared": (
            "registry/readiness.c",
            "return ((left ^ right) & (OURO__TICK_MASK << shift)) == 0;",
            "return ((left ^ right) & (UINT64_C(0xff) << shift)) == 0;"),
        "sixteen_bits_of_the_tick_are_compared": (
            "registry/readiness.c",
            "return ((left ^ right) & (OURO__TICK_MASK << shift)) == 0;",
            "return ((left ^ right) & (UINT64_C(0xffff) << shift)) == 0;"),
        "set_moves_no_read_tick": (
            "registry/readiness.c",
            "if ((ready & OURO__READY_READ_SIDE) != 0)", "if (false)"),
        "read_tick_runs_over_into_the_write_tick": (
            "registry/readiness.h",
            "return (word & ~(OURO__TICK_MASK << shift)) | (tick << shift);",
            "(void)tick; return word + (UINT64_C(1) << shift);"),
        "closed_bits_are_cleared": (
            "registry/readiness.c", "ready & OURO__READY_ALL & ~OURO__READY_FINAL;",
            "ready & OURO__READY_ALL;"),
        "clear_rebuilds_the_word": (
            "registry/readiness.c", "after = before & ~(uint64_t)bits;",
            "after = before & ~((uint64_t)bits | OURO__READINESS_SHUTDOWN);"),
        "clear_stores_without_comparing": (
            "registry/readiness.c",
            "    } while (!ouro__compare_exchange(word, &before, after, memory_order_acq_rel));\n"
            "    return after;",
            "    } while (false);\n    ouro__store(word, after, memory_order_release);\n"
            "    return after;"),
        "set_stores_without_comparing": (
            "registry/readiness.c",
            "    } while (!ouro__compare_exchange(word, &before, after, memory_order_acq_rel));\n"
            "    return before;",
            "    } while (false);\n    ouro__store(word, after, memory_order_release);\n"
            "    return before;"),
    },
    "waiters": {
        "poll_does_not_look_again": (
            "registry/scheduled_io.c",
            "    rc = look_locked(sio, interest, out_word);\n    if (rc == 0 && reads)",
            "    if (rc == 0 && reads)"),
        "link_does_not_look_again": (
            "registry/scheduled_io.c",
            "    ouro__mutex_lock(&sio->lock);\n"
            "    rc = look_locked(sio, node->interest, out_word);\n",
            "    ouro__mutex_lock(&sio->lock);\n"),
        "link_does_not_say_that_it_waits": (
            "registry/scheduled_io.c",
            "    rc = look_locked(sio, node->interest, out_word);\n",
            "    rc = look(sio, node->interest, out_word);\n"),
        "waited_is_forgotten_too_early": (
            "registry/scheduled_io.c", "if (complete && !is_waited_locked(sio))", "if (complete)"),
        "waited_is_said_after_the_look": (
            "registry/scheduled_io.c",
            "    uint64_t word = ouro__fetch_or("
            "&sio->readiness, OURO__READINESS_WAITED, memory_order_acq_rel);\n",
            "    uint64_t word = ouro__load(&sio->readiness, memory_order_acquire);\n"
            "    ouro__fetch_or(&sio->readiness, OURO__READINESS_WAITED, memory_order_acq_rel);\n"),
        "shutdown_wakes_nobody": (
            "registry/scheduled_io.c",
            "    wake(sio, ouro__readiness_shut_down(&sio->readiness), 0, true);",
            "    ouro__readiness_shut_down(&sio->readiness);"),
        "wakes_before_setting": (
            "registry/scheduled_io.c",
            "    wake(sio, ouro__readiness_set(&sio->readiness, ready), ready, false);",
            "    wake(sio, ouro__load(&sio->readiness, memory_order_acquire), ready, false);\n"
            "    ouro__readiness_set(&sio->readiness, ready);"),
        "wakes_with_the_lock_held": (
            "registry/scheduled_io.c",
            "        ouro__mutex_unlock(&sio->lock);\n        wake_and_drop(&batch);",
            "        wake_and_drop(&batch);\n        ouro__mutex_unlock(&sio->lock);"),
        "place_is_not_emptied": (
            "registry/scheduled_io.c", "    *waker = no_waker;\n}", "}"),
        "waker_is_not_dropped": (
            "registry/scheduled_io.c",
            "        batch->waker[i].vtable->drop(batch->waker[i].data);\n", ""),
        "replaced_waker_is_not_dropped": (
            "registry/scheduled_io.c", "    ouro_waker_drop(&old_reader);\n", ""),
        "full_batch_ends_the_wake": (
            "registry/scheduled_io.c",
            "        if (batch->count == WAKE_BATCH)\n            return false;",
            "        if (batch->count == WAKE_BATCH)\n            return true;"),
        "woken_node_stays_linked": (
            "registry/scheduled_io.c",
            "        ouro__list_remove(&node->link);\n        node->linked = false;\n"
            "        take(batch, &node->waker);",
            "        batch->waker[batch->count++] = node->waker;"),
        "unlink_leaves_the_node": (
            "registry/scheduled_io.c",
            "    if (node->linked) {\n        ouro__list_remove(&node->link);\n"
            "        node->linked = false;\n    }", "    node->linked = false;"),
        "writer_takes_the_reader_place": (
            "registry/scheduled_io.c", "        sio->writer = for_writer;",
            "        sio->reader = for_writer;"),
    },
    "unpark": {
        "sleeps_whatever_the_word_says": (
            "registry/unpark.h",
            "    if (ouro__compare_exchange(&unpark->state, &state, OURO__UNPARK_SLEEPING, "
            "memory_order_acq_rel))\n        return true;",
            "    ouro__store(&unpark->state, OURO__UNPARK_SLEEPING, memory_order_release);\n"
            "    if (state == OURO__UNPARK_RUNNING)\n        return true;"),
        "notification_is_not_taken": (
            "registry/unpark.h",
            "    ouro__store(&unpark->state, OURO__UNPARK_RUNNING, memory_order_release);\n"
            "    return false;", "    return false;"),
        "notify_only_marks_a_sleeper": (
            "registry/unpark.h",
            "    return ouro__exchange(&unpark->state, OURO__UNPARK_NOTIFIED, "
            "memory_order_acq_rel) ==\n           OURO__UNPARK_SLEEPING;",
            "    return ouro__load(&unpark->state, memory_order_acquire) == "
            "OURO__UNPARK_SLEEPING;"),
        "push_stores_without_comparing": (
            "registry/inbox.h",
            "    } while (!ouro__compare_exchange(&inbox->newest, &newest, node, "
            "memory_order_acq_rel));\n    return true;",
            "    } while (false);\n"
            "    ouro__store(&inbox->newest, node, memory_order_release);\n    return true;"),
        "take_loads_and_stores": (
            "registry/inbox.h",
            "ouro__exchange(&inbox->newest, NULL, memory_order_acquire);",
            "ouro__load(&inbox->newest, memory_order_acquire);\n"
            "    ouro__store(&inbox->newest, NULL, memory_order_release);"),
        "newest_message_runs_first": (
            "registry/inbox.h",
            "    while (newest != NULL) {\n        struct ouro__inbox_node *next = newest->next;",
            "    if (newest != NULL)\n        return newest;\n"
            "    while (newest != NULL) {\n        struct ouro__inbox_node *next = newest->next;"),
        "closes_with_messages_inside": (
            "registry/inbox.h",
            "    return ouro__compare_exchange(&inbox->newest, &newest, OURO__INBOX_CLOSED,",
            "    if (!ouro__inbox_is_empty(inbox))\n        return false;\n"
            "    ouro__store(&inbox->newest, OURO__INBOX_CLOSED, memory_order_release);\n"
            "    return ouro__compare_exchange(&inbox->newest, &newest, OURO__INBOX_CLOSED,"),
    },
    "driver": {
        "notifies_before_the_message_is_there": (
            "registry/driver.c",
            "    if (!ouro__inbox_push(&handle->inbox, node))\n        return false;\n"
            "    ouro__driver_unpark(handle);\n    return true;",
            "    ouro__driver_unpark(handle);\n"
            "    return ouro__inbox_push(&handle->inbox, node);"),
        "sleeps_without_saying_so": (
            "registry/driver.c", "ouro__unpark_begin_sleep(&handle->unpark);", "true;"),
        "drop_tells_nobody": (
            "registry/registration.c",
            "    if (nudge && !ouro__driver_is_here(handle))\n        ouro__driver_unpark(handle);",
            "    (void)nudge;"),
        "release_is_told_once_and_never_again": (
            "registry/registration_set.c", "    set->release_due = false;\n", ""),
        "second_drop_in_a_row_is_not_told": (
            "registry/registration_set.c",
            "    set->release_due = false;\n"
            "    ouro__list_splice_back(&batch, &set->pending);\n"
            "    ouro__mutex_unlock(&set->lock);",
            "    ouro__list_splice_back(&batch, &set->pending);\n"
            "    ouro__mutex_unlock(&set->lock);\n    ouro__mutex_lock(&set->lock);\n"
            "    set->release_due = false;\n    ouro__mutex_unlock(&set->lock);"),
        "freed_with_a_message_on_its_way": (
            "registry/registration_set.c",
            "ouro__load(&sio->messages, memory_order_acquire) == 0;", "true;"),
        "message_is_not_counted": (
            "uring/poll.c", "    ouro__store(&sio->messages, 1, memory_order_relaxed);\n", ""),
        "message_counts_for_ever": (
            "uring/poll.c",
            "    arm(&poll->op);\n    ouro__store(&sio->messages, 0, memory_order_release);",
            "    arm(&poll->op);"),
        "event_replaces_the_one_before": (
            "registry/driver.c", "    sio->ready_pending |= ready;", "    sio->ready_pending = 0;"),
    },
    "remote": {
        "cancel_does_not_look_for_finished": (
            "task/remote.c",
            "    if ((before & REMOTE_FINISHED) != 0)\n        return;\n", ""),
        "done_does_not_look_for_cancel": (
            "task/remote.c",
            "    if ((before & REMOTE_CANCEL) != 0 && !remote->cancel_seen)", "    if (false)"),
        "deferred_op_is_not_replied_to": (
            "task/remote.c",
            "    if (remote->deferred)\n        send_reply(remote);\n    else\n", ""),
        "reply_is_not_told_to_the_kernel": (
            "task/remote.c",
            "    ouro__futex_wake(word);\n", ""),
        "wakes_before_it_stores_the_reply": (
            "task/remote.c",
            "    ouro__store(word, 1, memory_order_release);\n",
            "    ouro__futex_wake(word);\n"
            "    ouro__store(word, 1, memory_order_release);\n    return;\n"),
        "gives_up_without_the_completion": (
            "task/remote.c",
            "            request_cancel(remote->op);\n            continue;",
            "            request_cancel(remote->op);\n            return;"),
        "the_waiters_runtime_is_not_kept": (
            "task/remote.c", "ouro_handle_ref(context->handle);", "NULL;"),
        "a_closed_driver_is_waited_for": (
            "task/remote.c",
            "    op->finished = true;\n"
            "    ouro__store(&remote->has_reply, 1, memory_order_release);\n", ""),
        "marks_are_stored_without_exchange": (
            "task/remote.c",
            "ouro__fetch_or(&remote->marks, REMOTE_FINISHED, memory_order_acq_rel);",
            "ouro__load(&remote->marks, memory_order_acquire);\n"
            "    ouro__store(&remote->marks, before | REMOTE_FINISHED, memory_order_release);"),
    },
    "join": {
        "the_end_stores_without_exchange": (
            "task/task.c",
            "ouro__exchange(&task->joiner, OURO__JOINER_DONE, memory_order_acq_rel);",
            "ouro__load(&task->joiner, memory_order_acquire);\n"
            "    ouro__store(&task->joiner, OURO__JOINER_DONE, memory_order_release);"),
        "the_end_wakes_nobody": (
            "task/task.c", "    ouro__wake_ref_wake(ref);\n", ""),
        "the_end_keeps_the_wake_ref": (
            "task/task.c", "    ouro__wake_ref_unref(ref);\n", ""),
        "a_detached_task_is_left_to_nobody": (
            "task/task.c",
            "    task->context.worker->ended = &task->context;", "    (void)task;"),
        "release_does_not_wait_for_the_cancel": (
            "task/task.c",
            "ouro__load(&task->cancel, memory_order_acquire) == OURO__TASK_CANCEL_SENT", "false"),
        "the_cancel_forgets_the_release_that_waits": (
            "task/task.c",
            "    if (task->release_pending)\n        release_here(task);\n    else if", "    if"),
        "the_cancel_does_not_say_it_has_arrived": (
            "task/task.c",
            "    ouro__store(&task->cancel, OURO__TASK_CANCEL_ARRIVED, memory_order_release);\n"
            "    if (task->release_pending)", "    if (task->release_pending)"),
        "a_second_cancel_is_sent_too": (
            "task/task.c", "                                memory_order_acq_rel))\n"
            "        return 0;", "                                memory_order_acq_rel))\n"
            "        (void)0;"),
        "giving_up_stores_without_comparing": (
            "task/join.c",
            "if (ouro__compare_exchange(&task->joiner, &mine, OURO__JOINER_NONE, "
            "memory_order_acq_rel))",
            "(void)mine; ouro__store(&task->joiner, OURO__JOINER_NONE, memory_order_release);"),
        "giving_up_keeps_the_wake_ref": (
            "task/join.c", "        ouro__wake_ref_unref(context->wake_ref);", "        (void)0;"),
        "detach_stores_without_comparing": (
            "task/join.c",
            "    if (!leave(task, OURO__JOINER_DETACHED, &before) && before == OURO__JOINER_DONE)",
            "    before = ouro__load(&task->joiner, memory_order_acquire);\n"
            "    ouro__store(&task->joiner, OURO__JOINER_DETACHED, memory_order_release);\n"
            "    if (before == OURO__JOINER_DONE)"),
        "detach_of_an_ended_task_releases_nothing": (
            "task/join.c",
            "    if (!leave(task, OURO__JOINER_DETACHED, &before) && before == OURO__JOINER_DONE)",
            "    (void)leave(task, OURO__JOINER_DETACHED, &before);\n    if (false)"),
        "detach_and_join_ignore_a_waker": (
            "task/join.c",
            "    if (*out_before != OURO__JOINER_WAKER)\n        return false;",
            "    if (true)\n        return false;"),
        "the_end_ignores_a_waker": (
            "task/task.c", "task->wakes_holder = joiner == OURO__JOINER_WAKER;",
            "if (joiner == OURO__JOINER_WAKER)\n            return;"),
        "the_wake_forgets_to_drop": (
            "task/task.c", "    ouro_waker_drop(&waker);\n", ""),
        "the_word_says_waker_before_it_is_there": (
            "task/join.c",
            "        task->waker = ouro_waker_clone(waker);\n"
            "        if (ouro__compare_exchange(&task->joiner, &before, OURO__JOINER_WAKER,\n"
            "                                   memory_order_acq_rel))\n"
            "            return OURO_POLL_PENDING;",
            "        bool ok = ouro__compare_exchange(&task->joiner, &before, OURO__JOINER_WAKER,\n"
            "                                   memory_order_acq_rel);\n"
            "        task->waker = ouro_waker_clone(waker);\n"
            "        if (ok)\n            return OURO_POLL_PENDING;"),
        "a_new_waker_is_stored_over_the_old_one": (
            "task/join.c",
            "    take_waker_back(task);\n"
            "    uintptr_t before = ouro__load(&task->joiner, memory_order_acquire);",
            "    uintptr_t before = ouro__load(&task->joiner, memory_order_acquire);\n"
            "    if (before == OURO__JOINER_WAKER) {\n"
            "        task->waker = ouro_waker_clone(waker);\n"
            "        return OURO_POLL_PENDING;\n    }"),
        "a_poll_that_meets_the_end_keeps_its_clone": (
            "task/join.c", "        ouro_waker_drop(&task->waker);\n", ""),
    },
    "group": {
        "the_end_looks_without_the_lock": (
            "task/group.c",
            "    ouro__mutex_lock(&group->lock);\n"
            "    bool empty = ouro__list_is_empty(&group->tasks);\n"
            "    group->is_awaited = !empty;\n    ouro__mutex_unlock(&group->lock);",
            "    ouro__model_point();\n"
            "    bool empty = ouro__list_is_empty(&group->tasks);\n"
            "    group->is_awaited = !empty;"),
        "the_end_does_not_say_that_it_waits": (
            "task/group.c", "    group->is_awaited = !empty;\n", ""),
        "the_last_task_wakes_without_a_reference": (
            "task/group.c",
            "        ouro__wake_ref_ref(waiter);\n    }", "    }"),
        "every_task_wakes_but_the_last": (
            "task/group.c",
            "if (group->is_awaited && ouro__list_is_empty(&group->tasks)) {",
            "if (group->is_awaited && !ouro__list_is_empty(&group->tasks)) {"),
        "the_last_task_wakes_after_looking_at_the_group": (
            "task/group.c",
            "    ouro__mutex_unlock(&group->lock);\n    /* From here on",
            "    ouro__mutex_unlock(&group->lock);\n    ouro__model_point();\n"
            "    if (!ouro__list_is_empty(&group->tasks))\n        return;\n    /* From here on"),
        "a_task_leaves_the_list_after_unlocking": (
            "task/group.c",
            "    ouro__mutex_lock(&group->lock);\n    ouro__list_remove(&task->group_link);",
            "    ouro__list_remove(&task->group_link);\n    ouro__mutex_lock(&group->lock);"),
        "a_spawn_ignores_the_cancellation": (
            "task/group.c", "    rc = group->is_cancelled ? -ECANCELED : 0;", "    rc = 0;"),
        "a_task_is_started_before_it_is_linked": (
            "task/group.c",
            "        ouro__list_push_back(&group->tasks, &task->group_link);\n"
            "        rc = ouro__task_start(task);\n"
            "        if (rc < 0)\n            ouro__list_remove(&task->group_link);",
            "        ouro__mutex_unlock(&group->lock);\n"
            "        rc = ouro__task_start(task);\n"
            "        ouro__mutex_lock(&group->lock);\n"
            "        if (rc == 0)\n"
            "            ouro__list_push_back(&group->tasks, &task->group_link);"),
        "a_task_that_did_not_start_stays_linked": (
            "task/group.c",
            "        if (rc < 0)\n            ouro__list_remove(&task->group_link);\n", ""),
        "an_interruption_cancels_nothing": (
            "task/group.c", "        (void)ouro_group_cancel(storage);\n", ""),
        "an_interrupted_end_does_not_wait": (
            "task/group.c",
            "        ouro__wait_uninterruptible(context, is_empty, group);\n", ""),
        "a_cancelled_task_has_failed": (
            "task/group.c",
            "bool was_asked_to = group->is_cancelled && result == -ECANCELED;",
            "bool was_asked_to = false;"),
        "the_last_failure_is_returned": (
            "task/group.c", "if (result < 0 && group->failure == 0 && !was_asked_to) {",
            "if (result < 0 && !was_asked_to) {"),
        "collecting_cancels_too": (
            "task/group.c",
            "        if ((group->flags & OURO_GROUP_F_COLLECT_ALL) == 0)\n"
            "            cancel_locked",
            "        if (true)\n            cancel_locked"),
        "a_failure_cancels_nothing": (
            "task/group.c",
            "        if ((group->flags & OURO_GROUP_F_COLLECT_ALL) == 0)\n"
            "            cancel_locked",
            "        if (false)\n            cancel_locked"),
    },
}


def mutate(root, overlay, mutant):
    path, old, new = mutant
    with open(os.path.join(root, "src", path), encoding="utf-8") as file:
        text = file.read()
    if text.count(old) != 1:
        sys.exit(f"src/{path}: stands there {text.count(old)} times, not once; "
                 f"write this mutant anew:\n{old}")
    copy = os.path.join(overlay, path)
    os.makedirs(os.path.dirname(copy), exist_ok=True)
    with open(copy, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))


def build(root, overlay, compiler, model, sources):
    src = os.path.join(root, "src")
    here = os.path.join(root, "tests", "model")

    def found(source):
        mutated = os.path.join(overlay, source)
        return mutated if os.path.exists(mutated) else os.path.join(src, source)

    flags = ["-std=gnu11", "-O1", "-ffunction-sections", "-D_GNU_SOURCE=", "-DOURO_MODEL=1", "-w"]
    flags += ["-I" + d for d in (overlay, src, os.path.join(root, "include"),
                                 os.path.join(root, "tests"))]
    switch = [os.path.join(src, "fiber", name)
              for name in ("switch_x86_64.S", "switch_aarch64.S", "switch_outline.c")]
    objects = []
    for number, source in enumerate(
            [os.path.join(here, name) for name in ("explorer.c", "heap.c", f"model_{model}.c")] +
            [found(source) for source in sources] + switch):
        objects.append(os.path.join(overlay, f"{number}.o"))
        points = ["-include", os.path.join(here, "points.h")] if source.endswith(".c") else []
        subprocess.run([compiler, *flags, *points, "-c", source, "-o", objects[-1]], check=True)
    program = os.path.join(overlay, "program")
    subprocess.run([compiler, *objects, "-Wl,--gc-sections", "-o", program], check=True)
    return program


def main():
    command, model = sys.argv[1:3]
    mutants = MUTANTS.get(model, {})
    if command == "list":
        print("\n".join(mutants))
        return 0
    name, root, compiler = sys.argv[3:6]
    with tempfile.TemporaryDirectory() as overlay:
        mutate(root, overlay, mutants[name])
        program = build(root, overlay, compiler, model, sys.argv[6:])
        status = subprocess.run([program, "--must-fail"], check=False).returncode
        if status < 0:
            print(f"the mutant is dead: signal {-status}")
        return max(status, 0)


if __name__ == "__main__":
    sys.exit(main())
