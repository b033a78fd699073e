#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each public header compiles alone as C11 and as C++17, and holds no code and nothing private."""
import re
import shutil
import subprocess

from lint import Lint, cannot, code_only, line_of

# What a header's macros must compile to, in both languages.
USES = {
    "ouro/time.h": "static inline void use(void) { OURO_DEADLINE(a, 1); OURO_DEADLINE(b, 2); }\n",
}
STRICT = ["-fsyntax-only", "-pedantic-errors", "-Wall", "-Wextra", "-Werror"]


def compilers():
    c = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    cxx = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if c is None or cxx is None:
        cannot("no C or no C++ compiler; install g++")
    return [(c, "c", "c11"), (cxx, "c++", "c++17")]


def main():
    lint = Lint("headers")
    for path in lint.files("include", ends=(".h",)):
        name = path[len("include/"):]
        for compiler, language, standard in compilers():
            run = subprocess.run(
                [compiler, f"-std={standard}", "-x", language, *STRICT,
                 f"-I{lint.root}/include", "-"],
                input=f"#include <{name}>\nextern int not_empty;\n{USES.get(name, '')}",
                capture_output=True, text=True)
            if run.returncode != 0:
                first = next((s for s in run.stderr.splitlines() if "error" in s), run.stderr)
                lint.report(path, 1, f"does not compile alone as {standard}: {first}")
        text = lint.read(path)
        code = re.sub(r"^\s*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m.group(0).count("\n"),
                      code_only(text), flags=re.M)
        for match in re.finditer(r"\)\s*(?:[A-Z_]+\s*)?\{", code):
            lint.report(path, line_of(code, match.start()),
                        "a function body; move it to src/, the interface has no inline functions")
        for match in re.finditer(r"\bouro__\w+", code):
            lint.report(path, line_of(code, match.start()),
                        f"{match.group(0)} is internal; keep it out of include/")
        for match in re.finditer(r"^\s*#\s*include\s*<(?:liburing|openssl|seccomp)", text, re.M):
            lint.report(path, line_of(text, match.start()), "no foreign types in include/")
    lint.finish()


main()
