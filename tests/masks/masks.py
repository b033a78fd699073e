#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the runtime's suite with one kernel feature masked, or one quirk believed, at a time.

usage: masks.py OURO TESTS-DIR REFUSE [--all] [--only NAME] [--jobs N]

OURO is the command, whose probe lists the features and quirks; TESTS-DIR has the test programs;
REFUSE runs a command from which io_uring is kept.
Without --all: the optional features that the runtime uses here, all of them masked at once.  With
--all each by itself, and those as well that io_uring needs: where one is masked the suite must pass
on epoll, chosen by the runtime itself.
What the runtime does not use (src/probe/uses.c) has no path that a mask could change.
Always: each quirk for which the runtime has a second path (the probe says which), and the system
calls refused.
"""
import argparse
import concurrent.futures
import errno
import json
import os
import subprocess
import sys

SUITES = ("net", "stream", "runtime", "task", "blocking", "uring", "registry", "epoll")


def programs(tests_dir):
    found = []
    for suite in SUITES:
        folder = os.path.join(tests_dir, suite)
        if not os.path.isdir(folder):
            continue
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if name.startswith("test_") and os.access(path, os.X_OK) and os.path.isfile(path):
                found.append(path)
    return found


def variants(probe, everything, only):
    """(name, driver, environment, error that io_uring is refused with) of each run."""
    for error in (errno.EPERM, errno.ENOSYS):
        name = f"io_uring refused with {errno.errorcode[error]}"
        if not only or only == errno.errorcode[error]:
            yield name, "epoll", {"OURO_TEST_AUTO": "1"}, error
    optional = sum(1 << bit for bit, item in enumerate(probe["features"])
                   if item["used"] and not item["required"])
    if optional and not everything and not only:
        yield ("without what is optional", "uring",
               {"OURO_TEST_FEATURE_MASK": hex(optional)}, 0)
    for bit, item in enumerate(probe["features"]):
        if not everything and not only:
            break
        wanted = everything if item["required"] else item["used"]
        if not wanted or (only and item["name"] != only):
            continue
        env = {"OURO_TEST_FEATURE_MASK": hex(1 << bit)}
        if item["required"]:
            env["OURO_TEST_AUTO"] = "1"
        yield "without " + item["name"], "epoll" if item["required"] else "uring", env, 0
    for bit, item in enumerate(probe["quirks"]):
        if item["used"] and (not only or item["name"] == only):
            yield "with " + item["name"], "uring", {"OURO_TEST_QUIRK_MASK": hex(1 << bit)}, 0


def run(command, driver, env):
    full = dict(os.environ, OURO_TEST_DRIVER=driver, **env)
    full.pop("CK_RUN_CASE", None)
    done = subprocess.run(command, env=full, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=600)
    # 2: no case of this program is for this driver; 77: all were skipped.
    return done.returncode in (0, 2, 77), done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ouro")
    parser.add_argument("tests")
    parser.add_argument("refuse")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    probe = json.loads(subprocess.run([options.ouro, "probe", "--json"], check=True,
                                      stdout=subprocess.PIPE, text=True).stdout)
    if probe["driver"] not in ("uring", "io_uring"):
        print("no io_uring here: nothing to mask")
        return 77
    suite = programs(options.tests)
    failed = runs = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for name, driver, env, error in variants(probe, options.all, options.only):
            bad = 0
            prefix = [options.refuse, str(error)] if error else []
            outcomes = pool.map(
                lambda program: (program, *run([*prefix, program], driver, env)), suite)
            for program, passed, output in outcomes:
                if not passed:
                    bad += 1
                    print(f"{name} [{driver}]: {os.path.basename(program)} failed\n{output}")
            runs += 1
            failed += bad > 0
            print(f"{'not ok' if bad else 'ok'} {runs} {name} [{driver}], {len(suite)} programs",
                  flush=True)
    print(f"{runs - failed} of {runs} variants passed")
    return 1 if failed or runs == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
