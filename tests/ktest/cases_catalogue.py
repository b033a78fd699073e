# SPDX-License-Identifier: MIT
"""The catalogue: complete, without doubles, explained; and every assertion can fail."""
import concurrent.futures
import re

from run_case import BAD, FACTOR, contains, equal

AT_LEAST = 95
MOST_LIES = 12  # about one assertion
# What the facts about kernels promise to check: K001 to K070, P001 to P012.
PROMISED = [f"K{n:03}" for n in range(1, 71)] + [f"P{n:03}" for n in range(1, 13)]


def test_ids_and_aliases_are_unique(ktest):
    catalogue = ktest.catalogue()
    ids = [entry[1] for entry in catalogue]
    aliases = [entry[0] for entry in catalogue if entry[0] != "-"]
    equal(sorted(set(ids)), sorted(ids), "ids")
    equal(sorted(set(aliases)), sorted(aliases), "aliases")
    assert len(ids) >= AT_LEAST, f"only {len(ids)} assertions"
    for name in ids:
        assert re.fullmatch(r"[a-z0-9-]+\.[a-z0-9-]+", name), name


def test_promised_numbers_are_there(ktest):
    aliases = {entry[0] for entry in ktest.catalogue()}
    equal([number for number in PROMISED if number not in aliases], [], "numbers not there")


def test_each_is_explained(ktest):
    for alias, name, since, sentence in ktest.catalogue():
        done = ktest.run("--explain", name)
        equal(done.returncode, 0, name)
        for label in ("Source:", "Since:", "If absent:", "Impact:", "Avoid:", "Rings:"):
            line = next((line for line in done.stdout.splitlines() if label in line), "")
            assert len(line.split(label)[1].strip()) > 2, f"{name} says nothing about {label}"
        assert re.fullmatch(r"\d+\.\d+", since), f"{name}: since {since}"
        assert sentence.endswith("."), f"{name}: {sentence}"
        if alias != "-":
            equal(ktest.run("--explain", alias).stdout, done.stdout, alias)


def test_self_test_is_hidden(ktest):
    for args in ([], ["-o", "*"], ["-o", "selftes[t].*"]):
        done = ktest.run("--list", *args)
        assert "selftest." not in done.stdout, args
    contains(ktest.run("--list", "-o", "selftest.*").stdout, "selftest.hangs")


def numbers(last, most):
    """1 to @last, or @most of them at equal distances."""
    if last <= most:
        return range(1, last + 1)
    return sorted({1 + (last - 1) * n // (most - 1) for n in range(most)})


def planted(ktest, name, number):
    """Lies about observation @number of @name; what stayed green in spite of it."""
    _, report = ktest.json("--slow", "-o", name, "--plant", f"{name}:{number}")
    green = []
    for run in report["runs"]:
        # A kind of ring that looks at less has nothing to lie about, and says so.
        beyond = run["verdict"] == "error" and "planted in observation" in run["message"]
        if run["verdict"] == "pass" or run["verdict"] == "error" and not beyond:
            green.append(f"{name}/{run['ring']}, observation {number}: {run['verdict']} "
                         f"{run['message']}")
    return green


def test_every_assertion_turns_red(ktest):
    """Each observation of each; of many, or of slow ones, some with the first and the last."""
    _, report = ktest.json("--slow")
    lies, absent = [], set()
    for name in sorted({run["id"] for run in report["runs"]}):
        runs = [run for run in report["runs"]
                if run["id"] == name and run["verdict"] not in ("skip", "missing")]
        if not runs:
            absent.add(name)
            continue
        last = max(run["observations"] for run in runs)
        assert last > 0, f"{name} observes nothing"
        quick = sum(run["duration_ms"] for run in runs) < 300 * FACTOR
        lies += [(name, n) for n in numbers(last, MOST_LIES if quick else 2)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        green = sum(pool.map(lambda lie: planted(ktest, *lie), lies), [])
    print(f"{len(lies)} lies about {len({name for name, _ in lies})} assertions; absent here: "
          f"{sorted(absent) or 'none'}")
    equal(green, [], "green in spite of a lie")


def test_lie_built_in(ktest):
    red = ktest.verdicts("-o", "connect.refused", program=ktest.planted)
    assert red, "connect.refused did not run"
    for name, run in red.items():
        assert run["verdict"] in BAD, (name, run["verdict"])
    for name, run in ktest.verdicts("-o", "connect.refused").items():
        equal(run["verdict"], "pass", name)
