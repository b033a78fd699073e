#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mistakes put into the library's sources on purpose, to see that a test notices each.

mutants.py list                                    name and driver of each, one a line
mutants.py kill NAME ROOT COMPILER LINK...         0 when the test fails, as it must
mutants.py control NAME ROOT COMPILER LINK...      0 when the test passes without the mistake

A mutant names a text that stands in its source exactly once, what is put in its place, and the case
that must fail.  When the source has moved on, the mutant is to be written anew: that is an error,
too.  The mutated file and the case's file are compiled; LINK is what a test program is linked with,
the library included, of which the mutated object takes the place.  A mistake that makes the case
hang is noticed too.  tests/model has mutants of its own.
"""
import os
import subprocess
import sys
import tempfile

# name: (source, what stands there, what is put there, test file, case, driver)
MUTANTS = {
    "start_undo_forgets_the_opened_workers": (
        "runtime/threads.c",
        "if (handle->worker[i].is_open)\n                ouro__worker_fini", "if (false)\n"
        "                ouro__worker_fini",
        "runtime/test_start.c", "each_call_of_a_start_may_lack_memory", "epoll"),
    "start_undo_forgets_the_first_worker": (
        "runtime/runtime.c",
        "        ouro__handle_close_worker(&handle->worker[0]);\n"
        "        ouro__worker_fini(&handle->worker[0]);\n    }\n    return rc;",
        "        ouro__handle_close_worker(&handle->worker[0]);\n    }\n    return rc;",
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
    "start_ignores_a_masked_feature": (
        "runtime/choose.c",
        "bool masked = (config->feature_mask & ouro__feature_required_bits()) != 0;",
        "bool masked = false;",
        "runtime/test_choice.c", "a_masked_required_feature_means_epoll", "uring"),
    "start_uses_masked_features": (
        "runtime/choose.c", "choice.features = report.present & ~config->feature_mask;",
        "choice.features = report.present;",
        "runtime/test_masks.c", "a_masked_feature_is_not_asked_for", "uring"),
    "start_uses_masked_guards": (
        "runtime/choose.c", ".use_madv_guard = (config->feature_mask & guard) == 0,",
        ".use_madv_guard = guard != 0,",
        "runtime/test_masks.c", "a_masked_feature_is_not_asked_for", "epoll"),
    "start_gives_up_where_epoll_would_do": (
        "runtime/choose.c", "    choose_epoll(choice);\n    (void)snprintf",
        "    return false;\n    (void)snprintf",
        "runtime/test_start.c", "a_ring_refused_after_the_look_is_an_error_or_epoll", "uring"),
    "detection_takes_a_shortage_for_an_answer": (
        "probe/feature_kit.c", "if (is_obstacle && kit->obstacle == 0)", "if (false)",
        "probe/test_feature.c", "a_shortage_of_descriptors_is_not_a_missing_feature", "uring"),
    "detection_performs_what_nobody_wants": (
        "probe/feature_detect.c", "if ((step->finds & wanted) == 0)", "if (wanted == 0)",
        "probe/test_feature.c", "a_start_looks_only_at_what_it_uses", "uring"),
    "explanation_runs_over_its_buffer": (
        "probe/feature_explain.c", "line->used + 1 < line->size", "line->used < line->size",
        "probe/test_feature.c", "the_lines_end_where_their_buffers_end", "unit"),
}

NOT_FOR_THIS_KERNEL = 77


def mutate(root, folder, path, old, new):
    """The mutated source, in @folder under the file's own name."""
    with open(os.path.join(root, "src", path), encoding="utf-8") as file:
        text = file.read()
    if text.count(old) != 1:
        sys.exit(f"src/{path}: stands there {text.count(old)} times, not once; "
                 f"write this mutant anew:\n{old}")
    copy = os.path.join(folder, os.path.basename(path))
    with open(copy, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))
    return copy


def build(root, folder, compiler, sources, link):
    flags = ["-std=gnu11", "-g", "-O0", "-D_GNU_SOURCE=", "-DOURO_TESTING=1", "-w", "-pthread",
             "-fno-omit-frame-pointer"]
    flags += ["-I" + os.path.join(root, name) for name in ("src", "include", "tests")]
    program = os.path.join(folder, "test_mutant")
    subprocess.run([compiler, *flags, *sources, *link, "-o", program], check=True)
    return program


def run(program, case, driver):
    environment = dict(os.environ, CK_RUN_CASE=case, CK_FORK="no", OURO_TEST_DRIVER=driver)
    try:
        done = subprocess.run([program], env=environment, timeout=20, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace")
    except subprocess.TimeoutExpired:
        return 1, "the case hangs"
    return done.returncode, done.stdout


def control(name, root, compiler, link):
    """As kill(), with no mistake: what is compiled and linked here can pass."""
    path, old, _, test, case, driver = MUTANTS[name]
    with tempfile.TemporaryDirectory() as folder:
        source = mutate(root, folder, path, old, old)
        test_source = os.path.join(root, "tests", test)
        program = build(root, folder, compiler, [test_source, source], link)
        status, output = run(program, case, driver)
    print(output)
    return status


def kill(name, root, compiler, link):
    path, old, new, test, case, driver = MUTANTS[name]
    with tempfile.TemporaryDirectory() as folder:
        source = mutate(root, folder, path, old, new)
        test_source = os.path.join(root, "tests", test)
        program = build(root, folder, compiler, [test_source, source], link)
        status, output = run(program, case, driver)
    if status == NOT_FOR_THIS_KERNEL:
        print(output)
        return status
    if status == 0:
        print(f"{test}: {case} [{driver}] passes with the mistake in it")
        return 1
    print(f"noticed (status {status}):\n{output[-1500:]}")
    return 1 if status == 2 else 0  # 2: no such case


def main():
    if sys.argv[1] == "list":
        print("\n".join(f"{name} {mutant[-1]}" for name, mutant in MUTANTS.items()))
        return 0
    name, root, compiler = sys.argv[2:5]
    act = {"kill": kill, "control": control}[sys.argv[1]]
    return act(name, root, compiler, sys.argv[5:])


if __name__ == "__main__":
    sys.exit(main())
