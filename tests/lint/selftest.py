#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each lint finds what it is for: small trees with one fault each, and the same without it."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SPDX = "/* SPDX-License-Identifier: MIT */\n"
ESSAY = SPDX + "/*\n * A file.\n *\n * Owns:    -\n * Threads: -\n * Always:  -\n"
ESSAY += " * Tests:   tests/test_a.c\n */\n"
HEADER = SPDX + "/* A header. */\n#define OURO_API __attribute__((visibility(\"default\")))\n"
DOC = "/*\n * Does it.\n *\n * Errors: none.\n * Owns: nothing.\n * Since: 0.1\n */\n"

CASES = [  # script, file, good text, bad text, part of the finding
    ("layers", "src/net/a.c", '#include "task/task.h"\n', '#include "uring/ring.h"\n', "net/a.c:1"),
    ("layers", "src/base/a.c", '#include "base/b.h"\n', '#include "registry/b.h"\n',
     "may not include"),
    ("layers", "src/epoll/a.c", "#include <sys/epoll.h>\n", "#include <liburing.h>\n",
     "src/uring/ only"),
    ("layers", "tools/ouro/a.c", '#include "cli.h"\n', '#include "base/b.h"\n', "may not include"),
    ("layers", "tools/ktest/a.c", '#include "probe/abi.h"\n', '#include "uring/ring.h"\n',
     "may not"),
    ("layers", "tools/ktest/assert/a.c", '#include "fixture/kt.h"\n', '#include "report/b.h"\n',
     "may not"),
    ("headers", "include/ouro/a.h", HEADER + "int a(void);\n", HEADER + "size_t a(void);\n", "c11"),
    ("headers", "include/ouro/a.h", HEADER + "int a(int b);\n", HEADER + "int a(int new);\n",
     "c++17"),
    ("headers", "include/ouro/a.h", HEADER,
     HEADER + "static inline int a(void)\n{\n    return 1;\n}\n"
     "struct u { int (*f)(void); };\n", "function body"),
    ("headers", "include/ouro/a.h", HEADER, HEADER + "struct ouro__x;\n", "internal"),
    ("docs", "include/ouro/a.h", HEADER + DOC + "OURO_API int ouro_a(void);\n",
     HEADER + "\nOURO_API int ouro_a(void);\n", "no comment"),
    ("docs", "include/ouro/a.h", HEADER + DOC + "OURO_API int ouro_a(void);\n",
     HEADER + DOC.replace("Errors", "Returns") + "OURO_API int ouro_a(void);\n", "Errors:"),
    ("docs", "include/ouro/a.h", HEADER + DOC + "OURO_API int ouro_a(\n    struct x **out);\n",
     HEADER + DOC.replace("Owns", "Has") + "OURO_API int ouro_a(\n    struct x **out);\n", "Owns:"),
    ("docs", "include/ouro/a.h", HEADER + DOC + "OURO_API struct ouro_b *ouro_a(void);\n",
     HEADER + DOC.replace("Owns", "Has") + "OURO_API struct ouro_b *ouro_a(void);\n",
     "ouro_a hands"),
    ("banned", "src/net/a.c", ESSAY + "/* free() */ void f(void) { ouro__free(p); x->free(1); }\n",
     ESSAY + "void f(void) { free(p); }\n", "free"),
    ("banned", "src/net/a.c", ESSAY + 'const char *s = "http://x";\n', ESSAY + "int a; // b\n",
     "comments"),
    ("banned", "src/net/a.c", ESSAY, ESSAY + "#include <assert.h>\n", "OURO__ASSERT"),
    ("banned", "src/net/a.c", ESSAY + "int x = ouro__load(&a, b);\n",
     ESSAY + "int x = atomic_load(&a);\n", "base/atomic.h"),
    ("banned", "tools/a.c", SPDX + "/* FIX" + "ME(#3): x */\n", SPDX + "/* FIX" + "ME: x */\n",
     "issue"),
    ("seam", "src/net/a.c", "int f(void)\n{\n    return x->close(1) + x.bind(2);\n}\n",
     "void f(void)\n{\n    (void)close(1);\n}\n", "close:"),
    ("seam", "src/stream/a.c", "static int read(int a);\n/* bind() */\nint a = x_bind(1);\n",
     "int f(void)\n{\n    return bind(1);\n}\n", "kernel.h"),
    ("seam", "src/task/a.c", "int64_t a = ouro__clock_now_ns();\n",
     "void f(void)\n{\n    if (clock_gettime (0, 0) != 0)\n        g();\n}\n", "a.c:3"),
    ("rows", "src/uring/a.c", "struct x x = {.code = OURO__OP_RECV};\n",
     "int f(void)\n{\n    return op->code == OURO__OP_RECV;\n}\n", "a.c:3"),
    ("rows", "src/epoll/a.c", "int a;\n", "case OURO__OP_RECV:\n", "row"),
    ("sizes", "src/a.c", "int a;" + " " * 0 + "\n", "int " + "a" * 100 + ";\n", "columns"),
    ("sizes", "src/a.c", "void f(void)\n{\n" + "a();\n" * 70 + "}\n",
     "void f(void)\n{\n" + "a();\n" * 71 + "}\n", "71 lines"),
    ("sizes", "src/a.c", "a\n" * 600, "a\n" * 601, "601 lines"),
    ("opening", "src/a.c", ESSAY, "/* A file. */\n", "SPDX"),
    ("opening", "src/a.c", ESSAY, ESSAY.replace("Always:", "Never:"), "lacks Always:"),
    ("opening", "src/a.c", ESSAY, ESSAY.replace("test_a.c", "test_b.c"), "there is no"),
    ("opening", "src/a.c", ESSAY, ESSAY.replace("tests/test_a.c", "-"), "name the file"),
    ("opening", "tests/a.c", SPDX + "/* A test. */\n", SPDX + "int a;\n", "open with"),
    ("paths", "README.md", "/usr/lib/x\n", "/ho" + "me/somebody\n", "one machine"),
    ("paths", "README.md", "127.0.0.1\n", "192" + ".168.1.1\n", "one network"),
]


def run(script, path, text, extra=None):
    with tempfile.TemporaryDirectory() as root:
        for name, content in {path: text, **(extra or {})}.items():
            os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
            with open(f"{root}/{name}", "w", encoding="utf-8") as file:
                file.write(content)
        done = subprocess.run([sys.executable, "-B", f"{HERE}/{script}.py", root],
                              capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


def main():
    failed = False
    declared = {"include/ouro/a.h": HEADER + DOC + "OURO_API int ouro_a(void);\n"}
    test_of_a = {"tests/test_a.c": SPDX + "/* Its tests. */\n"}
    chain = {"src/a/one.h": '#include "a/two.h"\n', "src/a/one.c": '#include "a/one.h"\n',
             "src/a/two.h": '#include "b/three.h"\n'}
    cases = [case + (test_of_a,) for case in CASES] + [
        ("tested", "tests/a.c", "int x = ouro_a();\n", "/* ouro_a() */\n", "no test", declared),
        ("circles", "src/b/three.c", '#include "b/three.h"\n', '#include "a/one.h"\n',
         "src/b/three.c:1", chain),
        ("circles", "src/a/two.c", '/* #include "a/one.h" */\n', '#include "a/one.h"\n',
         "a/one and a/two", chain)]
    for script, path, good, bad, finding, extra in cases:
        status, output = run(script, path, good, extra)
        if status == 77:
            print(f"{script}: not tried: {output}")
            continue
        if status != 0:
            print(f"{script}: finds fault with what is right, {good!r}: {output}")
            failed = True
        status, output = run(script, path, bad, extra)
        if status != 1 or finding not in output:
            print(f"{script}: does not find {bad!r}; exit {status}: {output}")
            failed = True
    sys.exit(1 if failed else 0)


main()
