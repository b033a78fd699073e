#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A folder includes only what stands below it; system interfaces stay in their folder."""
import re

from lint import Lint, code_only, line_of

BELOW = {
    "base": "",
    "probe": "base",
    "fiber": "base",
    "blocking": "base",
    "registry": "base",
    # The backends see no task code.
    "uring": "base probe registry",
    "epoll": "base registry",
    "sim": "base registry",
    "task": "base fiber blocking registry",
    "time": "base fiber blocking registry task",
    "sync": "base fiber blocking registry task",
    "stream": "base fiber blocking registry task time sync",
    "net": "base fiber blocking registry task time sync stream",
    "fs": "base fiber blocking registry task time sync stream",
    "process": "base fiber blocking registry task time sync stream",
    # Where a program's parts are put together: the only folder that names the backends.
    "runtime": "base probe fiber blocking registry uring epoll sim task time sync "
               "stream net fs process",
    "tls": "",
}
FEATURE_TABLE = ("probe/abi.h", "probe/feature.h", "probe/quirk.h")
HOME = [  # who may include a system's header
    (re.compile(r"liburing|linux/io_uring"),
     ("src/uring/", "src/probe/", "tools/ktest/", "tools/bench/", "tests/")),
    # A self-test of the kernel asks how a ring looks to somebody else's epoll.
    (re.compile(r"sys/epoll\.h"),
     ("src/epoll/", "src/probe/quirk", "tools/ktest/",
     "tools/bench/", "tests/")),
    # Which descriptors can be waited for is what epoll_ctl(2) says, on io_uring too.
    (re.compile(r"linux/eventpoll\.h"), ("src/uring/pollable.c",)),
    (re.compile(r"openssl/"), ("src/tls/", "tests/tls/")),
]


def allowed(path, included):
    """Whether @path may include the project's header @included."""
    if included.startswith("ouro/") or "/" not in included:
        return True
    if path.startswith("src/"):
        folder = path.split("/")[1]
        return included.split("/")[0] in [folder] + BELOW.get(folder, "").split()
    if path.startswith("tools/ktest/"):
        # Assertions see their fixtures and the feature table, nothing of the runner or the reports.
        return included in FEATURE_TABLE or included.startswith("fixture/")
    if path.startswith(("tools/bench/", "tests/")):
        return True
    return included.split("/")[0] not in BELOW


def main():
    lint = Lint("layers")
    for path in lint.files("src", "include", "tools", "examples", "tests", ends=(".c", ".h", ".S")):
        if path.startswith("tools/kernel-matrix"):
            continue
        code = code_only(lint.read(path), keep_strings=True)
        if path.startswith("src/") and path.split("/")[1] not in BELOW:
            lint.report(path, 1, "unknown layer; give it a place in tests/lint/layers.py")
        for match in re.finditer(r'^\s*#\s*include\s*(["<][^">]+)[">]', code, re.M):
            included = match.group(1)[1:]
            line = line_of(code, match.start(1))
            if match.group(1)[0] == '"' and not allowed(path, included):
                lint.report(path, line, f"may not include {included}; move what you need down, "
                            "or reach it through a table or a waker")
            for pattern, homes in HOME:
                if pattern.search(included) and not path.startswith(homes):
                    lint.report(path, line, f"<{included}> belongs in {homes[0]} only")
    lint.finish()


main()
