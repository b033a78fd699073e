# SPDX-License-Identifier: MIT
"""docs/KERNELS.md, written from the results and from nothing else."""

import re

from . import heatmap, results, verdicts
from .catalogue import version_key

INTRODUCTION = """\
# Kernels

<!-- Written by `tools/kernel-matrix/kernel-matrix report`; do not edit. -->

Which io_uring behaviours that networking depends on are there, and right, on which kernel; and
which driver ouro runs on there. Everything on this page was observed by running `ouro-ktest`,
`ouro probe` and the runtime's own tests on the kernels named, Debian's builds booted under QEMU.

![assertions by kernel](kernels.svg)
"""

OWN_CHOICE = """\
Tests are counted in cases. Those of the driver that ouro uses on a kernel ran with the choice left
to it, and had to find themselves on that driver; those of the other driver asked for it.
"""

HOW = """\
## How this page is made

    tools/kernel-matrix/kernel-matrix report

It downloads the kernels into ~/.cache/ouro/kernels if they are not there, builds static programs,
boots every kernel and writes this page; about an hour on two cores.

Each kernel is booted with software emulation (no KVM) and two CPUs; all programs run in one boot.
Emulated time is slow and uneven: this page says what is right and wrong, not what is fast. The
arm64 kernels run on an emulated CPU with the host's strong memory order, so they prove the code
generation, the calling convention and the context switch, not weak-memory correctness. Debian's
"5.10" has the io_uring of 5.15: the version in its name says nothing. To add a kernel, add a line
to tools/kernel-matrix/kernels.txt; to run one program on them, see
`tools/kernel-matrix/kernel-matrix --help`.
"""


def _sorted(records):
    return sorted(records, key=lambda r: (r["arch"], version_key(r["version"])))


def _header(record):
    """"6.12.117" as two short lines, so that twenty columns fit."""
    series, _, patch = record["version"].rpartition(".")
    arch = "" if record["arch"] == "amd64" else f"<br>{record['arch']}"
    return f"{series}<br>.{patch}{arch}"


def _row(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _table(head, rows, centred_from=1):
    rule = [":--" if i < centred_from else ":-:" for i in range(len(head))]
    return "\n".join([_row(head), _row(rule), *[_row(row) for row in rows]]) + "\n"


def _job(record, name):
    return next((job for job in record.get("jobs", ()) if job["name"] == name), None)


def _tests(record, driver):
    """(passed cases, failed cases, [what failed], programs, skipped programs) on one driver."""
    passed = failed = programs = skipped = 0
    wrong = []
    for job in record["jobs"]:
        if not job["name"].endswith(f"[{driver}]"):
            continue
        programs += 1
        text = results.output(record, job["name"]).decode("utf-8", "replace")
        counts = re.findall(r"Checks: (\d+), Failures: (\d+), Errors: (\d+)", text)
        bad = sum(int(failures) + int(errors) for _, failures, errors in counts)
        passed += sum(int(checks) for checks, _, _ in counts) - bad
        failed += bad
        if job["outcome"] == "exit" and job["value"] == 77:
            skipped += 1
        elif job["outcome"] != "exit" or job["value"] != 0:
            how = "failed" if job["outcome"] == "exit" else job["outcome"]
            cases = re.findall(r"^\S+?:\d+:[FE]:([^:]+):", text, re.M)
            errors = results.output(record, job["name"], "err").decode("utf-8", "replace")
            reason = re.search(r"^tests/\S+: .*$", errors, re.M)
            wrong.append(f"`{job['name']}` {how}" + (f" ({', '.join(cases)})" if cases else "")
                         + (f": `{reason[0][:200]}`" if reason else ""))
            failed += 0 if bad else 1
    return passed, failed, wrong, programs, skipped


def _suite_cell(record, driver):
    passed, failed, _, programs, skipped = _tests(record, driver)
    if not programs:
        return ""
    if skipped == programs:
        return "skipped"
    return f"{passed} ✓" if not failed else f"{passed} ✓ **{failed} ✗**"


def _drivers(records):
    found = {re.search(r"\[(\w+)\]$", job["name"])[1] for record in records
             for job in record["jobs"] if job["name"].endswith("]")}
    return [d for d in ("auto", "unit", "uring", "epoll") if d in found]


def _overview(records, ktests, probes):
    drivers = _drivers(records)
    head = ["kernel", "build", "ouro uses", "optional features used", "quirks",
            "assertions right / wrong / absent", *[f"tests: {d}" for d in drivers]]
    rows = []
    for record, ktest, probe in zip(records, ktests, probes):
        values = [a.verdict for a in ktest.assertions.values()]
        tally = f"{values.count('pass')} / {len(ktest.wrong())} / {values.count('skip')}"
        tally = ", ".join(([tally] if values else []) + ([ktest.trouble] if ktest.trouble else []))
        quirks = probe.quirks or ktest.quirks
        rows.append([f"{record['version']} {record['arch']}", f"`{record['release']}`",
                     probe.driver or probe.trouble,
                     probe.optional_used(),
                     ", ".join(name for name, state in quirks.items() if state == "wrong") or
                     ("none" if quirks else ""),
                     tally, *[_suite_cell(record, d) for d in drivers]])
    return _table(head, rows, len(head))


def _assertion_tables(records, ktests):
    catalogue = {}
    for ktest in ktests:
        for identifier, assertion in ktest.assertions.items():
            catalogue.setdefault(identifier, assertion)
    if not catalogue:
        return [], []
    parts = ["## Assertions by kernel\n",
             "✓ as documented · ✗ present and wrong · `·` absent, and rightly so · ? absent though "
             "it should be there · s slow · ! could not be judged. **Bold**: not in the list of "
             "what is known of that kernel. `ouro-ktest --explain ID` tells what each one is about"
             " and what it does to a server.\n"]
    areas = {}
    for identifier in catalogue:
        areas.setdefault(identifier.split(".")[0], []).append(identifier)
    head_rest = [_header(record) for record in records]
    for area, members in areas.items():
        rows = []
        for identifier in members:
            cells = [ktest.assertions[identifier].symbol() if identifier in ktest.assertions else ""
                     for ktest in ktests]
            rows.append([f"`{identifier}`", *cells])
        parts.append(f"### {area}\n")
        parts.append(_table([area, *head_rest], rows))
    return parts, list(catalogue)


def _title(record):
    return record["version"] + ("" if record["arch"] == "amd64" else f" {record['arch']}")


def _wrong(records, ktests):
    """What is not as documented, and where: one line an assertion."""
    where = {}
    for record, ktest in zip(records, ktests):
        for assertion in ktest.wrong():
            where.setdefault(assertion.identifier, []).append((_title(record), assertion))
    if not where:
        return []
    lines = []
    for identifier, places in where.items():
        kinds = {}
        for title, assertion in places:
            kinds.setdefault(assertion.verdict, []).append(title)
        text = "; ".join(f"{verdict} on {', '.join(titles)}" for verdict, titles in kinds.items())
        title, last = places[-1]
        lines.append(f"- `{identifier}`: {last.sentence}<br>\n  {text}.<br>\n  On {title} "
                     f"({' and '.join(last.rings)} ring): {last.message}")
    return ["## Not as documented\n", "\n".join(lines) + "\n"]


def _advice(records, ktests):
    lines = []
    for record, ktest in zip(records, ktests):
        advice = list(dict.fromkeys(a.avoid for a in ktest.wrong() if a.avoid))
        if advice:
            lines.append(f"- **{_title(record)}**: {' '.join(advice)}")
    return ["## What a server should avoid\n", "\n".join(lines) + "\n"] if lines else []


def _features(records, ktests, probes):
    """The runtime's view where there is one, else what ouro-ktest found of the same table."""
    states = [probe.features or ktest.features for ktest, probe in zip(ktests, probes)]
    names = list(dict.fromkeys(name for state in states for name in state))
    if not names:
        return []
    marks = {"used": "●", "present": "○", "claimed": "?", "distrusted": "✗", "absent": "·"}
    required = set().union(*[probe.required for probe in probes])
    names.sort(key=lambda name: name not in required)
    rows = [[f"`{name}`" + (" (needed)" if name in required else ""),
             *[marks.get(state.get(name), "") for state in states]] for name in names]
    return ["## Features\n",
            "● used · ○ present · ? listed by the kernel, but does not do what it should · ✗ "
            "present, but a self-test found it wrong, so not used · `·` absent. Where one that is "
            "needed is absent, ouro runs on epoll; all others are optional.\n",
            _table(["feature", *[_header(record) for record in records]], rows)]


def _epoll_reasons(records, probes):
    lines = [f"- {_title(record)}: {probe.reason}" for record, probe in zip(records, probes)
             if probe.reason]
    return ["Why epoll:\n", "\n".join(lines) + "\n"] if lines else []


def _test_failures(records):
    """One line a failure, with all kernels that have it."""
    where = {}
    for record in records:
        for driver in _drivers([record]):
            for text in _tests(record, driver)[2]:
                where.setdefault(text, []).append(_title(record))
    lines = [f"- {text} on {', '.join(titles)}" for text, titles in where.items()]
    return ["## Tests that failed\n", "\n".join(lines) + "\n"] if lines else []


def _kernel_warnings(records):
    lines = []
    for record in records:
        for job in record["jobs"]:
            if job["kernel_log"]:
                lines.append(f"- {record['version']} {record['arch']}, `{job['name']}`: "
                             f"`{job['kernel_log'][0]}`"
                             + (f" and {len(job['kernel_log']) - 1} lines more"
                                if len(job["kernel_log"]) > 1 else ""))
    return ["## Kernel warnings\n", "\n".join(lines) + "\n"] if lines else []


def _when(records):
    jobs = [job for record in records for job in record.get("jobs", ())]
    dates = sorted({job["date"] for job in jobs})
    versions = sorted({job["project"] for job in jobs})
    emulators = sorted({record["qemu"] for record in records if "qemu" in record})
    span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return span, ", ".join(versions), ", ".join(emulators)


def write(records, page_path, picture_path):
    records = _sorted(records)
    ran = [record for record in records if "not_run" not in record]
    absent = [record for record in records if "not_run" in record]
    ktests = [verdicts.ktest(results.output(r, "ktest"), _job(r, "ktest")) for r in ran]
    probes = [verdicts.probe(results.output(r, "probe"), _job(r, "probe")) for r in ran]
    span, version, qemu = _when(records)

    tables, identifiers = _assertion_tables(ran, ktests)
    parts = [INTRODUCTION,
             f"Run on {span}; ouro {version}; QEMU {qemu}; {len(ran)} kernels.\n",
             "## Kernels and drivers\n", _overview(ran, ktests, probes)]
    if _drivers(ran):
        parts.append(OWN_CHOICE)
    parts += [*_epoll_reasons(ran, probes), *_wrong(ran, ktests), *_advice(ran, ktests),
              *_features(ran, ktests, probes), *tables, *_test_failures(ran),
              *_kernel_warnings(ran)]
    parts.append("## Kernels not run\n")
    parts.append("\n".join(f"- {r['version']} {r['arch']}: {r['not_run']}" for r in absent)
                 + "\n" if absent else "None: every kernel of the list was run.\n")
    parts.append(HOW)
    page_path.write_text("\n".join(parts))

    columns = [(_title(r), r["arch"], {i: a.verdict for i, a in k.assertions.items()}, p.driver)
               for r, k, p in zip(ran, ktests, probes)]
    picture_path.write_text(heatmap.draw(
        columns, identifiers, f"{len(identifiers)} assertions of ouro-ktest on {len(ran)} kernels, "
                              f"{span}"))
