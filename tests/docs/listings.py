#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each listing of a document is a program that compiles as shown and prints what stands below it.

Usage: listings.py DOCUMENT ROOT LIBRARY REFUSE CC [FLAGS...]
Each program runs twice, the second time behind REFUSE, which denies io_uring (EPERM).
A program is a ```c block with a main(); the ```text block after it is what it prints.  A block
without a main() is a fragment and is left alone; a document without any program is a fault.
"""
import os
import re
import subprocess
import sys
import tempfile

BLOCK = re.compile(r"^```(c|text)\n(.*?)^```$", re.M | re.S)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def programs(text):
    """(line, source, expected output or None) of each program."""
    blocks = list(BLOCK.finditer(text))
    for at, block in enumerate(blocks):
        if block.group(1) != "c" or "int main(" not in block.group(2):
            continue
        after = blocks[at + 1] if at + 1 < len(blocks) else None
        expected = after.group(2) if after is not None and after.group(1) == "text" else None
        yield line_of(text, block.start()) + 1, block.group(2), expected


def check(source, expected, root, library, refuse, compiler, flags):
    """A sentence about what is wrong with the program, or None."""
    folder = os.path.dirname(library)
    with tempfile.TemporaryDirectory() as directory:
        path, program = f"{directory}/t.c", f"{directory}/t"
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        built = subprocess.run(
            [compiler, "-Wall", "-Wextra", "-Werror", *flags, f"-I{root}/include", path, "-o",
             program, f"-L{folder}", f"-Wl,-rpath,{folder}", "-louro", "-pthread"],
            capture_output=True, text=True, check=False)
        if built.returncode != 0:
            return f"does not compile: {built.stderr}"
        for command in ([program], [refuse, "1", program]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                                  stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                return f"{command} ended with {done.returncode}: {done.stderr}"
            if expected is None:
                return "says nothing of what it prints; add a ```text block"
            if done.stdout != expected:
                return f"{command} prints\n{done.stdout}instead of\n{expected}"
    return None


def main():
    document, root, library, refuse, compiler = sys.argv[1:6]
    with open(os.path.join(root, document), encoding="utf-8") as file:
        text = file.read()
    count = failed = 0
    for line, source, expected in programs(text):
        count += 1
        trouble = check(source, expected, root, library, refuse, compiler, sys.argv[6:])
        if trouble is not None:
            failed += 1
            print(f"{document}:{line}: {trouble}")
    print(f"{count} programs, {failed} wrong")
    sys.exit(1 if failed or count == 0 else 0)


main()
