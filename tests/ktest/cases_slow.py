# SPDX-License-Identifier: MIT
"""What takes long: whole runs."""
import os
import threading
import time

from run_case import BAD, KNOWN, Skip, equal

ROUNDS = 10
LIMIT_S = 90


def test_whole_run_as_known(ktest):
    """On this kernel nothing unexpected, and in time."""
    start = time.monotonic()
    done = ktest.run("-q", "--slow", "--known", KNOWN)
    took = time.monotonic() - start
    if done.returncode == 77:
        raise Skip(done.stdout)
    if "no list for this kernel" in done.stderr:
        raise Skip(done.stderr)
    print(done.stdout)
    equal(done.returncode, 0, "exit status")
    assert took <= LIMIT_S, f"{took:.0f} s"


def keep_busy(stop):
    while not stop.is_set():
        sum(range(10000))


def test_ten_whole_runs_agree(ktest):
    """The same verdicts ten times in a row, with something else using the machine."""
    stop = threading.Event()
    other = threading.Thread(target=keep_busy, args=(stop,))
    other.start()
    try:
        first, changed = None, {}
        for _ in range(ROUNDS):
            runs = {name: run["verdict"] for name, run in ktest.verdicts().items()}
            first = first or runs
            for name, verdict in runs.items():
                if verdict != first[name]:
                    changed.setdefault(name, {first[name]}).add(verdict)
    finally:
        stop.set()
        other.join()
    print(f"{len(first)} runs, {sum(v in BAD for v in first.values())} bad, load {os.getloadavg()}")
    differ = {name: sorted(verdicts) for name, verdicts in changed.items()}
    equal(differ, {}, "verdicts that differ")
