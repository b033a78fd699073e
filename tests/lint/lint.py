# SPDX-License-Identifier: MIT
"""What the lint scripts share: which files, C without its comments, public declarations, findings.

Every script is run as `script.py ROOT` and prints `file:line: rule: what to do`; it exits 1 when it
found something and 77 when it cannot look.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/man"))
import ouro_headers  # noqa: E402 (the path comes first)
from ouro_headers import code_only, line_of  # noqa: E402, F401 (for the scripts)

SKIPPED_FOLDERS = {".git", "build", ".cache", "__pycache__"}


class Lint:
    def __init__(self, rule):
        self.rule = rule
        self.root = os.path.abspath(sys.argv[1])
        self.count = 0

    def files(self, *folders, ends=(".c", ".h")):
        """Paths relative to the root, sorted; without folders: the whole tree."""
        found = []
        for folder in folders or ("",):
            for where, names, files in os.walk(os.path.join(self.root, folder)):
                names[:] = [n for n in names if n not in SKIPPED_FOLDERS]
                found += [os.path.relpath(os.path.join(where, f), self.root)
                          for f in files if f.endswith(ends)]
        return sorted(set(found))

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as file:
            return file.read()

    def report(self, path, line, what):
        self.count += 1
        print(f"{path}:{line}: {self.rule}: {what}")

    def finish(self):
        sys.exit(1 if self.count else 0)


def cannot(why):
    print(f"skipped: {why}")
    sys.exit(77)


def declarations(lint):
    """All public ones."""
    result = []
    for path in ouro_headers.headers(lint.root):
        result += ouro_headers.declarations_of(path, lint.read(path))
    return result
