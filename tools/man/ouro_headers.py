# SPDX-License-Identifier: MIT
"""The public declarations of include/ouro, as text: for the manual pages and the lint tests."""
import os
import re

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
        # As a program's author reads it: without the attributes.
        self.text = re.sub(r"\bOURO_(?:API|MUST_CHECK)\b ?", "", text).replace(" ;", ";").strip()


def comment_above(text, line):
    """The comment that ends right above @line (1 is the first); "" without one."""
    above = text.split("\n")[:line - 1]
    while above and above[-1].strip() and not above[-1].strip().endswith("*/"):
        above.pop()
    if not above or not above[-1].strip().endswith("*/"):
        return ""
    joined = "\n".join(above)
    return joined[joined.rfind("/*"):]


def declarations_of(path, text):
    """All of one header.  Declarations without an empty line between them share a comment."""
    result = []
    code = code_only(text)
    for match in re.finditer(r"^OURO_API\b[^;]*;", code, re.M):
        line = line_of(code, match.start())
        result.append(Declaration(path, line, match.group(0), comment_above(text, line)))
    return result


def headers(root):
    """Paths of the public headers, relative to @root, sorted."""
    found = []
    for where, _, files in os.walk(os.path.join(root, "include")):
        found += [os.path.relpath(os.path.join(where, f), root) for f in files if f.endswith(".h")]
    return sorted(found)
