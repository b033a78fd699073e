# SPDX-License-Identifier: MIT
"""Verdicts, known failures, baselines, exit codes."""
import errno
import os

from blackbox import without_uring
from run_case import Skip, contains, equal

HIDDEN = "selftest."


def chosen(*names):
    return [word for name in names for word in ("-o", HIDDEN + name)]


def test_each_verdict(ktest):
    runs = ktest.verdicts("-t", "1", *chosen("*"))
    wanted = {"passes": "pass", "fails": "fail", "slow": "slow", "errs": "error",
              "looks-at-nothing": "error", "missing": "missing", "skips": "skip",
              "hangs": "hang", "hangs-with-child": "hang", "crashes": "crash", "ends": "crash"}
    equal({name[len(HIDDEN):].split("/")[0]: run["verdict"] for name, run in runs.items()}, wanted,
          "verdicts")


def test_hang_is_told_in_words(ktest):
    run = ktest.verdicts("-t", "1", *chosen("hangs"))[HIDDEN + "hangs/plain"]
    contains(run["message"], "no end after 1 s, while: waiting for what never comes")
    assert 900 < run["duration_ms"] < 20000, run["duration_ms"]


def test_hang_takes_its_children_along(ktest):
    ktest.verdicts("-t", "1", *chosen("hangs-with-child"))
    path = os.path.realpath(ktest.path)
    left = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                ours = f"KTEST_CASE={os.getpid()}".encode() in environ.read()
            if ours and os.readlink(f"/proc/{pid}/exe") == path:
                left.append(pid)
        except OSError:
            continue
    equal(left, [], "processes left")


def test_crash_is_told_in_words(ktest):
    runs = ktest.verdicts(*chosen("crashes", "ends"))
    contains(runs[HIDDEN + "crashes/plain"]["message"], "ended by SIGSEGV, while: about to crash")
    contains(runs[HIDDEN + "ends/plain"]["message"], "exited with 3 without a verdict")


def test_known_failures(ktest):
    known = ktest.file("known", "# a comment\n\n"
                                "selftest.fails/plain fail that one\n"
                                "selftest.s* slow|skip either way\n")
    status, report = ktest.json(*chosen("fails", "slow", "passes"), "--known", known)
    equal(status, 0, "exit status")
    reasons = {run["id"]: run["known"] for run in report["runs"]}
    equal(reasons, {HIDDEN + "fails": "that one", HIDDEN + "slow": "either way",
                    HIDDEN + "passes": None}, "reasons")
    table = ktest.run("-q", *chosen("fails", "slow"), "--known", known).stdout
    contains(table, "known: that one")
    contains(table, "2 known")


def test_known_on_the_other_ring(ktest):
    known = ktest.file("known", "selftest.fails/defer fail not here\n")
    equal(ktest.json(*chosen("fails"), "--known", known)[0], 1, "exit status")


def test_known_with_another_verdict(ktest):
    known = ktest.file("known", "selftest.crashes fail it only failed so far\n")
    equal(ktest.json(*chosen("crashes"), "--known", known)[0], 1, "exit status")


def test_unexpected_pass(ktest):
    known = ktest.file("known", "selftest.passes fail repaired by now\n")
    status, report = ktest.json(*chosen("passes"), "--known", known)
    equal(status, 1, "exit status")
    equal(report["runs"][0]["unexpected_pass"], True, "unexpected_pass")
    contains(ktest.run("-q", *chosen("passes"), "--known", known).stdout,
             "passes, but is listed as known to fail")
    known = ktest.file("known", "selftest.passes fail|pass a race\n")
    equal(ktest.json(*chosen("passes"), "--known", known)[0], 0, "exit status of a race")


def test_known_directory(ktest):
    release = os.uname().release
    series = ".".join(release.split("-")[0].split(".")[:2])
    version = release.split("-")[0].split("+")[0]
    if "Debian " in os.uname().version:
        version = os.uname().version.split("Debian ")[1].split("-")[0]
        series = ".".join(version.split(".")[:2])
    args = [*chosen("fails"), "--known", ktest.directory]
    done = ktest.run("-q", *args)
    equal(done.returncode, 1, "exit status without a list")
    contains(done.stderr, "has no list for this kernel")
    ktest.file(f"{series}.txt", "selftest.fails fail the series\n")
    equal(ktest.json(*args)[1]["runs"][0]["known"], "the series", "reason")
    ktest.file(f"{version}.txt", "selftest.fails fail the version\n")
    equal(ktest.json(*args)[1]["runs"][0]["known"], "the version", "reason")


def test_malformed_known_list(ktest):
    for text in ("selftest.fails\n", "selftest.fails fail\n", "selftest.fails wrong reason\n"):
        known = ktest.file("known", "# first\n" + text)
        done = ktest.run("-q", *chosen("fails"), "--known", known)
        equal(done.returncode, 2, text)
        contains(done.stderr, f"{known}:2: want ID")


def test_baseline_both_ways(ktest):
    good, bad = ktest.directory / "good", ktest.directory / "bad"
    one = ["-q", "-o", "ring.order"]
    lie = ["--plant", "ring.order:1"]
    if ktest.run(*one, "--save", good).returncode == 77:
        raise Skip("no io_uring")
    equal(ktest.run(*one, *lie, "--save", bad).returncode, 1, "with a lie")
    contains(ktest.run(*one, *lie, "--baseline", good).stdout,
             "broke        ring.order/plain: fail, was pass")
    contains(ktest.run(*one, "--baseline", bad).stdout,
             "repaired     ring.order/plain: pass, was fail")
    contains(ktest.run(*one, "--baseline", good).stdout, "no verdict changed")


def test_baseline_of_another_kernel(ktest):
    saved = ktest.directory / "saved"
    both = ["-q", *chosen("passes", "skips")]
    if ktest.run(*both, "--save", saved).returncode == 77:
        raise Skip("no io_uring")
    text = saved.read_text()
    saved.write_text(text.replace("passes/plain pass", "passes/plain skip")
                     .replace("skips/plain skip", "skips/plain pass")
                     .replace("ratio=1.000", "ratio=0.500"))
    out = ktest.run(*both, "--baseline", saved).stdout
    contains(out, "appeared     selftest.passes/plain: pass, was skip")
    contains(out, "disappeared  selftest.skips/plain: skip, was pass")
    contains(out, "slower       selftest.passes/plain: ratio 1.00, was 0.50")
    saved.write_text("something else\n")
    equal(ktest.run(*both, "--baseline", saved).returncode, 1, "a file that is no baseline")


def test_wrong_usage(ktest):
    for args in (["--no-such-option"], ["argument"], ["--timeout", "0"], ["--timeout", "x"],
                 ["--slack", "101"], ["--jobs", "3"], ["--only", "nothing.like-this"],
                 ["--explain", "nothing.like-this"], ["--junit"],
                 ["--known", "/nonexistent/list", "-o", HIDDEN + "passes"]):
        done = ktest.run("-q", *args)
        equal(done.returncode, 2, args)
        assert done.stderr.strip(), f"{args}: not a word"
        equal(done.stdout, "", args)


def test_help_and_version(ktest):
    done = ktest.run("--help")
    equal(done.returncode, 0, "--help")
    for option in ("--only", "--slow", "--list", "--explain", "--tap", "--json", "--junit",
                   "--known", "--save", "--baseline", "--timeout", "--slack", "--jobs"):
        contains(done.stdout, option)
    contains(ktest.run("--version").stdout, "ouro-ktest ")


def refused(ktest, number):
    done = ktest.run("-q", preexec_fn=without_uring(number))
    equal(done.returncode, 77, done.stderr)
    equal(len(done.stdout.splitlines()), 1, "lines")
    equal(done.stderr, "", "standard error")
    contains(done.stdout, "ouro-ktest: io_uring is not to be had here: ")
    contains(done.stdout, "; to change that: ")


def test_filter_eperm(ktest):
    refused(ktest, errno.EPERM)


def test_filter_enosys(ktest):
    refused(ktest, errno.ENOSYS)


def test_list_needs_no_io_uring(ktest):
    filtered = without_uring("kill")
    equal(ktest.run("--list", preexec_fn=filtered).returncode, 0, "--list")
    equal(ktest.run("--explain", "K002", preexec_fn=filtered).returncode, 0, "--explain")


def test_unprivileged_run_is_the_same(ktest):
    if os.getuid() != 0:
        raise Skip("needs root to become nobody")
    args = ["-o", "con*", "-o", "r*", "-o", "wait.*", "-o", "close.*", "-o", "msgring.*"]
    as_root = ktest.verdicts(*args)
    try:
        os.stat(ktest.path)
        as_nobody = ktest.verdicts(*args, user=65534, group=65534, extra_groups=[])
    except PermissionError:
        raise Skip("nobody cannot reach the program") from None
    for name, run in as_root.items():
        equal(as_nobody[name]["verdict"], run["verdict"], name)
