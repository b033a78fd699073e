#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every public function is called in some file under tests/."""
import re

from lint import Lint, code_only, declarations


def main():
    lint = Lint("tested")
    called = set()
    for path in lint.files("tests", ends=(".c",)):
        called |= set(re.findall(r"\b(ouro_\w+)\s*[(,;)]", code_only(lint.read(path))))
    for d in declarations(lint):
        if d.is_function and d.name not in called:
            lint.report(d.path, d.line, f"{d.name} is called by no test; write one under tests/")
    lint.finish()


main()
