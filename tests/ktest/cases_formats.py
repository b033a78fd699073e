# SPDX-License-Identifier: MIT
"""The reports for programs, each read by a strict parser that is not ours."""
import json
import shutil
import subprocess
import xml.etree.ElementTree

from run_case import HERE, SCHEMA, Skip, equal

# Texts with <, &, " and # in them, every verdict, and a few real ones.
CHOSEN = ["-t", "1", "-q", "-o", "selftest.*", "-o", "connect.re*", "-o", "wait.timeout"]


def test_json_fits_its_schema(ktest):
    try:
        import jsonschema
    except ImportError:
        raise Skip("no python3-jsonschema") from None
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for args in (["-q"], CHOSEN):
        done = ktest.run("--json", *args)
        if done.returncode == 77:
            raise Skip(done.stdout)
        report = json.loads(done.stdout)
        validator.validate(report)
        equal(report["ok"], done.returncode == 0, "ok and the exit status")
    verdicts = {run["verdict"] for run in report["runs"]}
    equal(verdicts, {"pass", "fail", "skip", "missing", "slow", "error", "hang", "crash"},
          "verdicts seen")
    report["runs"][0]["verdict"] = "fine"
    assert list(validator.iter_errors(report)), "the schema accepts any verdict"


def test_junit_fits_its_schema(ktest):
    path = ktest.directory / "junit.xml"
    known = ktest.file("known", "selftest.fails fail known & <expected>\n")
    done = ktest.run(*CHOSEN, "--junit", path, "--known", known)
    assert done.returncode in (1, 77), done
    if done.returncode == 77:
        raise Skip(done.stdout)
    if shutil.which("xmllint") is None:
        raise Skip("no xmllint")
    lint = subprocess.run(["xmllint", "--noout", "--nonet", "--schema", HERE / "junit.xsd", path],
                          capture_output=True, text=True)
    equal(lint.returncode, 0, lint.stderr)
    suite = xml.etree.ElementTree.parse(path).getroot().find("testsuite")
    runs = ktest.verdicts(*CHOSEN, "--known", known)
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    equal(sorted(cases), sorted(runs), "runs")
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        equal(int(suite.get(count)), len(list(suite.iter(tag))), count)
    for name, run in runs.items():
        green = not list(cases[name])
        equal(green, run["verdict"] == "pass", name)


def test_ktap_is_strict_tap(ktest):
    known = ktest.file("known", "selftest.fails fail known # and expected\n"
                                "selftest.passes fail not any more\n")
    if shutil.which("perl") is None:
        raise Skip("no perl")
    done = ktest.run("--tap", *CHOSEN, "--known", known)
    if done.returncode == 77:
        raise Skip(done.stdout)
    lines = done.stdout.splitlines()
    equal(lines[0], "KTAP version 1", "the first line")
    parsed = subprocess.run(["perl", HERE / "strict_tap.pl"], input=done.stdout, text=True,
                            capture_output=True)
    equal(parsed.returncode, 0, parsed.stderr)
    seen = dict(line.rsplit(" ", 1) for line in parsed.stdout.splitlines())
    runs = ktest.verdicts(*CHOSEN, "--known", known)
    equal(sorted(seen), sorted(runs), "runs")
    for name, run in runs.items():
        wanted = "not-ok"
        if run["verdict"] == "skip":
            wanted = "skip"
        elif run["verdict"] == "pass" and not run["unexpected_pass"]:
            wanted = "ok"
        equal(seen[name], wanted, name)
    text = done.stdout
    for directive in ("# SKIP ", "# XFAIL ", "# TIMEOUT ", "# ERROR "):
        assert directive in text, f"no {directive!r}"


def test_table_fits_a_terminal(ktest):
    done = ktest.run("-q")
    if done.returncode == 77:
        raise Skip(done.stdout)
    rows = [line for line in done.stdout.splitlines() if line.rstrip().endswith(" ms")]
    assert len(rows) > 90, len(rows)
    assert max(len(row) for row in rows) <= 80, max(rows, key=len)
    assert "\033" not in done.stdout, "colours although nobody looks"
    equal(done.stderr, "", "progress although nobody looks")


def test_a_report_that_cannot_be_written(ktest):
    """Whatever is printed: on a full disk the exit status is 1, and one line says why."""
    for args in (["--help"], ["--version"], ["--list"], ["--explain", "connect.refused"],
                 *([*CHOSEN, *format] for format in ([], ["--json"], ["--tap"]))):
        with open("/dev/full", "wb") as full:
            argv = [ktest.path, *args]
            done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        equal(done.returncode, 1, " ".join(args))
        equal(done.stderr.count("cannot be written"), 1, done.stderr)
    known = ktest.run("-q", "-o", "wait.timeout", "--known", "/proc/self/mem")
    equal(known.returncode in (2, 77), True, "a list that cannot be read")
