#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Lines of 100 columns, functions of 70 lines, files of 600."""
from lint import Lint

LINE_MAX, FUNCTION_MAX, FILE_MAX = 100, 70, 600
SOURCES = (".c", ".h", ".S", ".py", ".sh", ".cmake", "CMakeLists.txt")
# Files that may exceed a limit.  This list may only shrink.
EXEMPT = ()


def main():
    lint = Lint("sizes")
    for path in lint.files(ends=SOURCES):
        if path in EXEMPT:
            continue
        lines = lint.read(path).split("\n")
        if len(lines) > FILE_MAX + 1:
            lint.report(path, FILE_MAX + 1, f"{len(lines) - 1} lines; split it by noun")
        begin = None
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_MAX:
                lint.report(path, number, f"{len(line)} columns; break it at {LINE_MAX}")
            if line.rstrip() != line:
                lint.report(path, number, "white space at the end of the line; remove it")
            if not path.endswith(".c"):
                continue
            # A function's braces are the only ones that stand alone in the first column.
            if line == "{":
                begin = number
            elif line == "}" and begin is not None:
                if number - begin - 1 > FUNCTION_MAX:
                    lint.report(path, begin, f"a function of {number - begin - 1} lines; "
                                f"at most {FUNCTION_MAX}: give its parts names")
                begin = None
    lint.finish()


main()
