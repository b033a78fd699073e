#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is special about an operation stands in its row, and in no switch over operation codes."""
import re

from lint import Lint, code_only, line_of

ROWS = ("src/uring/rows.c", "src/epoll/rows.c", "src/registry/op.c")
FOLDERS = ("src/registry", "src/uring", "src/epoll", "src/sim", "src/task", "src/stream", "src/net",
           "src/fs", "src/process", "src/time", "src/runtime")


def main():
    lint = Lint("rows")
    for path in lint.files(*FOLDERS):
        if path in ROWS:
            continue
        code = code_only(lint.read(path))
        for match in re.finditer(r"\bcase\s+OURO__OP_|(?:->|\.)code\s*[=!]=", code):
            lint.report(path, line_of(code, match.start()),
                        "asks which operation it is; put the difference into the backend's row")
    lint.finish()


main()
