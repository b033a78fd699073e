#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""No path of one machine, no address of one network, in anything that is shipped."""
import re

from lint import Lint, line_of

ENDS = (".c", ".h", ".S", ".py", ".sh", ".cmake", ".txt", ".md", ".json", ".in", ".map", ".1",
        "run", "test", "quickstart", "kernel-matrix", ".svg")
PATTERNS = [
    (re.compile(r"(?<![\w.$}])/(?:work|farm|home|root|Users)/\w"), "a path of one machine"),
    (re.compile(r"/tmp/(?:brief|b-)\w*"), "a path of one machine"),
    (re.compile(r"\b(?:10\.\d+\.\d+\.\d+|192\.168\.\d+\.\d+)\b"), "an address of one network; "
     "use 127.0.0.1, ::1 or the documentation ranges"),
]


def main():
    lint = Lint("paths")
    for path in lint.files(ends=ENDS):
        text = lint.read(path)
        for pattern, what in PATTERNS:
            for match in pattern.finditer(text):
                lint.report(path, line_of(text, match.start()), f"{match.group(0)}: {what}")
    lint.finish()


main()
