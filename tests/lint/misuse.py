#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every symbol of src/libouro.map has one entry MISUSE(symbol) in tests/misuse; no other has."""
import re

from lint import Lint, line_of

MAP = "src/libouro.map"


def main():
    lint = Lint("misuse")
    symbols = lint.read(MAP)
    entries = {}
    for path in lint.files("tests/misuse", ends=(".c",)):
        text = lint.read(path)
        for match in re.finditer(r"^MISUSE\((\w+)\)", text, re.M):
            name, line = match.group(1), line_of(text, match.start())
            if name in entries:
                lint.report(path, line, f"{name} has an entry already; keep one")
            entries[name] = (path, line)
    for match in re.finditer(r"\b(ouro_\w+);", symbols):
        if match.group(1) not in entries:
            lint.report(MAP, line_of(symbols, match.start()),
                        f"{match.group(1)}: write MISUSE({match.group(1)}) in tests/misuse, with "
                        "each misuse that its header names")
        entries.pop(match.group(1), None)
    for name, (path, line) in entries.items():
        lint.report(path, line, f"{name} is no symbol of {MAP}")
    lint.finish()


main()
