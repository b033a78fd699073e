#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Calls and habits that have no place in the library, and comment marks that have none anywhere."""
import re

from lint import Lint, code_only, line_of

CALLS = [  # pattern of names, what to use, files that are the exception
    (r"malloc|calloc|realloc|free|strdup|strndup|aligned_alloc|posix_memalign|asprintf|vasprintf",
     "use ouro__alloc() and ouro__free() of base/alloc.h", ("src/base/alloc.c",)),
    (r"getenv|secure_getenv|setenv|putenv",
     "the library reads no environment; take a config field", ()),
    (r"printf|fprintf|vprintf|vfprintf|dprintf|puts|fputs|putchar|perror|psignal",
     "the library prints nothing; return an error or report through the trace", ()),
    (r"sprintf|vsprintf|strcpy|strcat|stpcpy|gets|strtok", "unbounded; use snprintf or memcpy", ()),
    (r"atoi|atol|atoll|atof", "no error report; parse by hand or with strtoul", ()),
    (r"exit|quick_exit", "a library does not end the process; return an error", ()),
    (r"sleep|usleep", "wait for an event with a deadline", ()),
    (r"signal", "use sigaction", ()),
    (r"alloca", "stacks are small; use a bounded array", ()),
    (r"atomic_\w+|__atomic_\w+|__sync_\w+", "use the names of base/atomic.h, as models do",
     ("src/base/atomic.h",)),
]


def main():
    lint = Lint("banned")
    for path in lint.files("src", ends=(".c", ".h")):
        code = code_only(lint.read(path))
        for names, advice, exceptions in CALLS:
            if path in exceptions:
                continue
            # Not members (x->free(), x.free()), not declarations of attributes.
            for match in re.finditer(rf"(?<![\w.>])(?:{names})\s*\(", code):
                lint.report(path, line_of(code, match.start()), f"{match.group(0)[:-1]}: {advice}")
        for match in re.finditer(r"^\s*#\s*include\s*<assert\.h>", code, re.M):
            lint.report(path, line_of(code, match.start()), "use OURO__ASSERT of base/assert.h")
    for path in lint.files("src", "include", "tools", "tests", "examples", ends=(".c", ".h", ".S")):
        text = lint.read(path)
        code = re.sub(r'/\*.*?\*/', lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)
        code = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', code)
        for match in re.finditer(r"//", code):
            lint.report(path, line_of(code, match.start()), "write /* comments */")
        for match in re.finditer(r"\b(FIXME|TODO|XXX)\b(?!\(#\d+\))", text):
            lint.report(path, line_of(text, match.start()),
                        f"{match.group(1)} needs an issue: {match.group(1)}(#12)")
    lint.finish()


main()
