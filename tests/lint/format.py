#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""C files are as clang-format 14 writes them (`tests/lint/format.py . --write` does it)."""
import re
import shutil
import subprocess
import sys

from lint import Lint, cannot

VERSION = "14"


def find():
    for name in (f"clang-format-{VERSION}", "clang-format"):
        path = shutil.which(name)
        if path is None:
            continue
        text = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        if re.search(rf"version {VERSION}\.", text):
            return path
    return cannot(f"no clang-format {VERSION}; other versions format differently")


def main():
    lint = Lint("format")
    program = find()
    paths = lint.files("src", "include", "tests", "tools", "examples", ends=(".c", ".h"))
    if "--write" in sys.argv:
        subprocess.run([program, "-i", *paths], cwd=lint.root, check=True)
        return
    if not paths:
        return
    run = subprocess.run([program, "--dry-run", *paths], cwd=lint.root, capture_output=True,
                         text=True)
    seen = set()
    for path, line in re.findall(r"^(\S+?):(\d+):\d+: warning: code should be", run.stderr, re.M):
        if path not in seen:
            lint.report(path, line, "run tests/lint/format.py . --write")
        seen.add(path)
    lint.finish()


main()
