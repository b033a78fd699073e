#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The headers are the manual: every declaration has a comment with its labels."""
import re

from lint import Lint, declarations


def gives_pointer(declaration):
    """Whether the caller receives a pointer: returned, or by a `type **` output."""
    if declaration.returns.endswith("*"):
        return True
    return re.search(r"\bstruct \w+ \*\*\w", declaration.parameters) is not None


def main():
    lint = Lint("docs")
    for d in declarations(lint):
        if not d.comment:
            lint.report(d.path, d.line, f"{d.name} has no comment; write one, right above it")
            continue
        if d.is_function and d.returns in ("int", "ssize_t") and "Errors:" not in d.comment:
            lint.report(d.path, d.line, f"{d.name} returns {d.returns}: add `Errors:`")
        if d.is_function and gives_pointer(d) and "Owns:" not in d.comment:
            lint.report(d.path, d.line, f"{d.name} hands out a pointer: add `Owns:`")
        if "Since:" not in d.comment:
            lint.report(d.path, d.line, f"{d.name}: add `Since:`")
    lint.finish()


main()
