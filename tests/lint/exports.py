#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Symbols of libouro.so = OURO_API declarations = src/libouro.map, all ouro_[a-z]*.

Usage: exports.py ROOT LIBRARY checks; exports.py ROOT --write puts declarations that the map lacks
into its newest node, and takes those out that are gone.
"""
import re
import shutil
import subprocess
import sys

from lint import Lint, declarations

MAP = "src/libouro.map"


def nodes(text):
    """[(node, [symbols])] in order; `local:` ends a node's symbols."""
    result = []
    for name, body in re.findall(r"(\w[\w.]*)\s*\{(.*?)\}", text, re.S):
        result.append((name, re.findall(r"\b(ouro_\w+);", body.split("local:")[0])))
    return result


def write(lint, declared):
    kept = nodes(lint.read(MAP))
    older = {s for _, symbols in kept[:-1] for s in symbols}
    kept[-1] = (kept[-1][0], sorted(declared - older))
    parts, previous = [], ""
    for position, (name, symbols) in enumerate(kept):
        body = "  global:\n" + "".join(f"    {s};\n" for s in symbols) if symbols else ""
        local = "  local:\n    *;\n" if position == 0 else ""
        parts.append(f"{name} {{\n{body}{local}}}{previous};\n")
        previous = f" {name}"
    with open(f"{lint.root}/{MAP}", "w", encoding="utf-8") as file:
        file.write("\n".join(parts))


def released(lint):
    """Symbols of the map as of the last tag; None where there is no git or no tag."""
    if shutil.which("git") is None:
        return None
    git = ["git", "-C", lint.root]
    tag = subprocess.run(git + ["describe", "--tags", "--abbrev=0"], capture_output=True, text=True)
    if tag.returncode != 0:
        return None
    old = subprocess.run(git + ["show", f"{tag.stdout.strip()}:{MAP}"], capture_output=True,
                         text=True)
    return {s for _, symbols in nodes(old.stdout) for s in symbols}


def main():
    lint = Lint("exports")
    where = {d.name: d for d in declarations(lint)}
    declared = set(where)
    if sys.argv[2] == "--write":
        write(lint, declared)
        return
    dump = subprocess.run(["nm", "-D", "--defined-only", sys.argv[2]], capture_output=True,
                          text=True, check=True).stdout
    exported = {line.split()[-1].split("@")[0] for line in dump.splitlines()
                if line.split()[-2] in "TtDdBbRrVvWw"}
    mapped = {s for _, symbols in nodes(lint.read(MAP)) for s in symbols}
    for name in sorted(declared - mapped):
        lint.report(where[name].path, where[name].line,
                    f"{name} is not in {MAP}; run tests/lint/exports.py . --write")
    for name in sorted(mapped - declared):
        lint.report(MAP, 1, f"{name} is declared by no header; run tests/lint/exports.py . --write")
    for name in sorted((declared & mapped) - exported):
        lint.report(where[name].path, where[name].line, f"{name} is declared but not defined")
    for name in sorted(exported - declared):
        lint.report(MAP, 1, f"{name} leaves the library but no header declares it with OURO_API")
    for name in sorted(exported | declared):
        if not re.match(r"ouro_[a-z]", name):
            lint.report(MAP, 1, f"{name} must begin with ouro_ and a letter")
    before = released(lint)
    if before is not None:
        for node, symbols in nodes(lint.read(MAP))[:-1]:
            for name in set(symbols) - before:
                lint.report(MAP, 1, f"{name} is new: it belongs in the newest node, not {node}")
    lint.finish()


main()
