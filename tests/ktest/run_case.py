#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs one case of ouro-ktest's tests, and holds what the cases need.

    run_case.py OURO-KTEST PLANTED FILE CASE

Exit status: 0 passed, 1 failed, 77 skipped."""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback

HERE = pathlib.Path(__file__).resolve().parent
KTEST = HERE.parent.parent / "tools" / "ktest"
SCHEMA = KTEST / "ktest.schema.json"
KNOWN = KTEST / "known"
FACTOR = int(os.environ.get("OURO_TEST_TIMEOUT_FACTOR", "1"))
# What the tests time-limit is the tool, not the kernel; sanitizers make both slow.
SLACK = ["--slack", str(FACTOR)] if FACTOR > 1 else []
BAD = {"fail", "missing", "slow", "error", "hang", "crash"}


class Skip(Exception):
    pass


class Ktest:
    """The program under test, its twin with a lie built in, and a directory to write into."""

    def __init__(self, path, planted, directory):
        self.path = path
        self.planted = planted
        self.directory = pathlib.Path(directory)

    def run(self, *args, program=None, **options):
        argv = [program or self.path, *SLACK, *[str(arg) for arg in args]]
        options.setdefault("timeout", 280 * FACTOR)
        options.setdefault("env", dict(os.environ, KTEST_CASE=str(os.getpid())))
        return subprocess.run(argv, capture_output=True, text=True, **options)

    def json(self, *args, **options):
        done = self.run("--json", "-q", *args, **options)
        if done.returncode == 77:
            raise Skip(done.stdout.strip())
        assert done.returncode in (0, 1), (done.returncode, done.stderr)
        return done.returncode, json.loads(done.stdout)

    def verdicts(self, *args, **options):
        """Each run by name: verdict and the run itself."""
        _, report = self.json(*args, **options)
        return {f"{run['id']}/{run['ring']}": run for run in report["runs"]}

    def catalogue(self):
        """(alias, id, since, sentence) of every assertion of the list."""
        done = self.run("--list")
        assert done.returncode == 0, done.stderr
        return [line.split(None, 3) for line in done.stdout.splitlines()]

    def file(self, name, text=""):
        path = self.directory / name
        path.write_text(text)
        return path


def equal(seen, wanted, what=""):
    assert seen == wanted, f"{what}: {seen!r}, must be {wanted!r}"


def contains(text, part):
    assert part in text, f"no {part!r} in:\n{text}"


def main():
    path, planted, file, case = sys.argv[1:]
    sys.modules["run_case"] = sys.modules["__main__"]
    sys.path.insert(0, str(HERE.parent / "tools"))
    spec = importlib.util.spec_from_file_location("cases", file)
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    with tempfile.TemporaryDirectory() as directory:
        try:
            getattr(cases, case)(Ktest(path, planted, directory))
        except Skip as reason:
            print("skipped:", reason)
            sys.exit(77)
        except Exception:
            traceback.print_exc()
            sys.exit(1)


if __name__ == "__main__":
    main()
