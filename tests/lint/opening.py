#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every file opens with its licence, every .c with the essay that says what it is."""
import os
import re

from lint import Lint

LABELS = ("Owns:", "Threads:", "Always:", "Tests:")


def main():
    lint = Lint("opening")
    for path in lint.files(ends=(".c", ".h", ".S", ".py", ".sh", ".cmake", "CMakeLists.txt")):
        text = lint.read(path)
        if "SPDX-License-Identifier: MIT" not in "\n".join(text.split("\n")[:2]):
            lint.report(path, 1, "begin with the SPDX line, /* SPDX-License-Identifier: MIT */")
            continue
        if not path.endswith((".c", ".h")):
            continue
        comment = re.match(r"[^\n]*\n/\*(.*?)\*/", text, re.S)
        if comment is None:
            lint.report(path, 2, "open with a comment that says what this file is")
        elif path.startswith("src/") and path.endswith(".c"):
            missing = [label for label in LABELS if label not in comment.group(1)]
            if missing:
                lint.report(path, 2, f"the opening comment lacks {', '.join(missing)}")
            named = re.findall(r"\btests/[\w/.]+", comment.group(1).split("Tests:")[-1])
            if not named and not missing:
                lint.report(path, 2, "name the file under tests/ that tests this one")
            for test in named:
                if not os.path.exists(os.path.join(lint.root, test)):
                    lint.report(path, 2, f"there is no {test}; name the file that tests this one")
    lint.finish()


main()
