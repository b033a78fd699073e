# SPDX-License-Identifier: MIT
"""What the lint scripts share: which files, C without its comments, public declarations, findings.

Every script is run as `script.py ROOT` and prints `file:line: rule: what to do`; it exits 1 when it
found something and 77 when it cannot look.
"""
import os
import re
import sys

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


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text, keep_strings=False):
    """C text with comments (and what strings hold) blanked, so that lines keep their numbers."""
    def blank(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token if keep_strings else token[0] * 2
        return "\n" * token.count("\n") or " "
    return TOKEN.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


class Declaration:
    """One OURO_API declaration: name, returned type, parameters, line, and the comment above."""

    def __init__(self, path, line, text, comment):
        self.path, self.line, self.comment = path, line, comment
        flat = re.sub(r"__attribute__\s*\(\(.*?\)\)", " ", " ".join(text.split()))
        found = re.match(r"OURO_API (?:extern )?(.*?)\b(ouro_\w+)\s*(\(|;|\[)", flat)
        if found is None:
            raise ValueError(f"{path}:{line}: cannot read this declaration: {flat}")
        self.returns = found.group(1).strip()
        self.name = found.group(2)
        self.is_function = found.group(3) == "("
        self.parameters = flat[found.end():]


def declarations(lint):
    """All of include/.  Declarations without an empty line between them share a comment."""
    result = []
    for path in lint.files("include", ends=(".h",)):
        text = lint.read(path)
        code = code_only(text)
        for match in re.finditer(r"^OURO_API\b[^;]*;", code, re.M):
            line = line_of(code, match.start())
            above = text.split("\n")[:line - 1]
            while above and above[-1].strip() and not above[-1].strip().endswith("*/"):
                above.pop()
            comment = ""
            if above and above[-1].strip().endswith("*/"):
                joined = "\n".join(above)
                comment = joined[joined.rfind("/*"):]
            result.append(Declaration(path, line, match.group(0), comment))
    return result
