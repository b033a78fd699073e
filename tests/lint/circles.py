#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""No circle of includes in src/.

A header and the source of the same name are one module.  A module may not include, over however
many others, a module that includes it: then neither can be read, tested or replaced by itself.
"""
import os
import re

from lint import Lint, code_only, line_of


def module_of(path):
    return os.path.splitext(path)[0]


def read_includes(lint):
    """{module: {included module: (path, line)}}, for the project's own headers."""
    includes = {}
    for path in lint.files("src", ends=(".c", ".h", ".S")):
        module = module_of(os.path.relpath(path, "src"))
        mine = includes.setdefault(module, {})
        code = code_only(lint.read(path), keep_strings=True)
        for match in re.finditer(r'^\s*#\s*include\s*"([^"]+)"', code, re.M):
            included = module_of(match.group(1))
            if included != module:
                mine.setdefault(included, (path, line_of(code, match.start(1))))
    return includes


def circles(includes):
    """The sets of modules that include each other (Tarjan's strongly connected components)."""
    order, low, stack, found = {}, {}, [], []

    def visit(module):
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(includes.get(module, {})):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            circle = set()
            while module not in circle:
                circle.add(stack.pop())
            if len(circle) > 1:
                found.append(circle)

    for module in sorted(includes):
        if module not in order:
            visit(module)
    return found


def main():
    lint = Lint("circles")
    includes = read_includes(lint)
    for circle in circles(includes):
        for module in sorted(circle):
            for other in sorted(set(includes[module]) & circle):
                path, line = includes[module][other]
                lint.report(path, line, f"{module} and {other} include each other in a circle; "
                            "move what both need down, or hand it over as an argument or a table")
    lint.finish()


main()
