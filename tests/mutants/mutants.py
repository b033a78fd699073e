#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mistakes put into the library's sources on purpose, to see that a test notices each.

mutants.py list                                    name, driver and label of each, one a line
mutants.py kill NAME ROOT COMPILER LINK...         0 when the test fails, as it must
mutants.py control NAME ROOT COMPILER LINK...      0 when the test passes without the mistake

planted.py has them.  A mutant names a text that stands in its source exactly once, what is put in
its place, and the case that must fail.  When the source has moved on, the mutant is to be written
anew: that is an error, too.  The mutated file, the case's file and what else the mutant names are
compiled; LINK is what a test program is linked with, the library included, of which the objects
compiled here take the place.  A mistake that makes the case hang is noticed too.  tests/model has
mutants of its own.
"""
import os
import subprocess
import sys
import tempfile

from planted import MUTANTS, SLOW

NOT_FOR_THIS_KERNEL = 77
TRIES = 5


def mutate(root, folder, path, old, new):
    """The mutated source, in @folder under the path it has below src/."""
    with open(os.path.join(root, "src", path), encoding="utf-8") as file:
        text = file.read()
    if text.count(old) != 1:
        sys.exit(f"src/{path}: stands there {text.count(old)} times, not once; "
                 f"write this mutant anew:\n{old}")
    copy = os.path.join(folder, path)
    os.makedirs(os.path.dirname(copy), exist_ok=True)
    with open(copy, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))
    return copy


def build(root, folder, compiler, sources, link):
    flags = ["-g", "-O0", "-DOURO_TESTING=1", "-w", "-pthread", "-fno-omit-frame-pointer"]
    # A mutated header lies in @folder and is found there first.
    flags += ["-I" + folder]
    flags += ["-I" + os.path.join(root, name) for name in ("src", "include", "tests")]
    objects = []
    for source in sources:
        language = ["-std=gnu++17"] if source.endswith(".cpp") else ["-std=gnu11", "-D_GNU_SOURCE="]
        objects.append(os.path.join(folder, f"{len(objects)}.o"))
        subprocess.run([compiler, *language, *flags, "-c", source, "-o", objects[-1]], check=True)
    if any(source.endswith(".cpp") for source in sources):
        link = [*link, "-lstdc++"]
    program = os.path.join(folder, "test_mutant")
    subprocess.run([compiler, *objects, *link, "-pthread", "-o", program], check=True)
    return program


def plant(name, root, folder, compiler, link, with_mistake):
    """Builds the mutant's test program and runs its case: status and output."""
    path, old, new, test, case, driver, *also = MUTANTS[name]
    mutated = mutate(root, folder, path, old, new if with_mistake else old)
    sources = [os.path.join(root, "tests", test)]
    sources += [mutated] if path.endswith(".c") else []
    sources += [os.path.join(root, other) for other in (also[0] if also else ())]
    program = build(root, folder, compiler, sources, link)
    status, output = run(program, case, driver)
    # Some mistakes show in a part of the schedules only, and a busy machine has fewer of them.
    for _ in range(TRIES - 1 if with_mistake else 0):
        if status != 0:
            break
        status, output = run(program, case, driver)
    return test, case, driver, status, output


def run(program, case, driver):
    environment = dict(os.environ, CK_RUN_CASE=case, CK_FORK="no", OURO_TEST_DRIVER=driver)
    try:
        done = subprocess.run([program], env=environment, timeout=20, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace")
    except subprocess.TimeoutExpired:
        return 1, "the case hangs"
    return done.returncode, done.stdout


def control(name, root, compiler, link):
    """As kill(), with no mistake: what is compiled and linked here can pass."""
    with tempfile.TemporaryDirectory() as folder:
        *_, status, output = plant(name, root, folder, compiler, link, with_mistake=False)
    print(output)
    return status


def kill(name, root, compiler, link):
    with tempfile.TemporaryDirectory() as folder:
        test, case, driver, status, output = plant(name, root, folder, compiler, link,
                                                   with_mistake=True)
    if status == NOT_FOR_THIS_KERNEL:
        print(output)
        return status
    if status == 0:
        print(f"{test}: {case} [{driver}] passes with the mistake in it")
        return 1
    print(f"noticed (status {status}):\n{output[-1500:]}")
    return 1 if status == 2 else 0  # 2: no such case


def main():
    if sys.argv[1] == "list":
        for name, mutant in MUTANTS.items():
            print(name, mutant[5], "mutant-slow" if name in SLOW else "mutant")
        return 0
    name, root, compiler = sys.argv[2:5]
    act = {"kill": kill, "control": control}[sys.argv[1]]
    return act(name, root, compiler, sys.argv[5:])


if __name__ == "__main__":
    sys.exit(main())
