# SPDX-License-Identifier: MIT
"""Medians, spreads and verdicts, as Markdown."""

import statistics

from . import points, programs, verdicts
from .verdicts import MET, MISSED, UNKNOWN, UNSETTLED

WORDS = {MET: "met", MISSED: "**missed**", UNSETTLED: "not settled", UNKNOWN: "not measured"}


def number(value, digits):
    return f"{value:,.{digits}f}"


def spread(found, digits):
    low, middle, high = verdicts.quartiles(found)
    return f"{number(middle, digits)} ({number(low, digits)}-{number(high, digits)})"


def bold(name):
    return f"**{name}**" if name.startswith(programs.OURO) else name


def what(verdict):
    """What a target says of which programs."""
    target = verdict.target
    names = {"cpu_us": "CPU", "p50_us": "p50", "p99_us": "p99"}
    text = f"{target.program}, {names.get(target.key, target.key)}"
    if target.peers:
        return f"{text}: closest peer, {verdict.other}" if verdict.other else text
    if verdict.other:
        text += f" / {verdict.other}"
        if len(target.against) > 1:
            text += ", the best of its kind"
    return text


def limit(target):
    if target.peers:
        return "not above"
    digits = 2 if target.against else 0 if target.limit >= 2 else 1
    return ("at least " if target.at_least else "at most ") + number(target.limit, digits) + \
        (f" {target.unit}" if target.unit else "")


def measured(verdict):
    if verdict.verdict == UNKNOWN:
        return ""
    digits = 3 if verdict.target.against else 0 if verdict.middle >= 100 else \
        1 if verdict.middle >= 10 else 3
    return "{} ({}-{})".format(*(number(value, digits) for value in
                                 (verdict.middle, verdict.low, verdict.high)))


def judged(kind, stored):
    """The verdicts of a stored point."""
    point = points.make(kind, stored["values"])
    return [verdicts.judge(stored["rows"], target) for target in point.targets]


def verdict_lines(found):
    return [f"- {'Figure ' + v.target.figure + ', ' if v.target.figure else ''}{what(v)}: "
            f"{measured(v)}, {limit(v.target)}: {WORDS[v.verdict]}"
            for v in found if v.verdict != UNKNOWN] + \
           [f"- {'Figure ' + v.target.figure + ', ' if v.target.figure else ''}{what(v)}: "
            f"{limit(v.target)}: {WORDS[UNKNOWN]}" for v in found if v.verdict == UNKNOWN]


def failures(stored):
    """What has failed, said with each table: a row without a value must say why."""
    lines = []
    for name, runs in stored["rows"].items():
        errors = [run["error"] for run in runs if "error" in run]
        if errors:
            lines.append(f"- {name} failed in {len(errors)} of {len(runs)} rounds: {errors[0]}")
    lines += [f"- {name} is left out: {why}" for name, why in stored["left_out"].items()]
    return lines


def about(point, stored):
    how = stored["measured"]
    rounds = max((len(runs) for runs in stored["rows"].values()), default=0)
    foreign = [run["foreign"] for runs in stored["rows"].values() for run in runs
               if "foreign" in run]
    noise = ""
    if foreign:
        noisy = sum(cores > how["noise"] for cores in foreign)
        noise = f" {noisy} of {len(foreign)} runs noisy."
    version = f", {how['revision']}" if how["revision"] else ""
    return f"{point.about} {rounds} rounds, {how['date']}{version}.{noise}"


def table(point, rows):
    key, heading, digits = point.columns[0]
    found = {name: verdicts.values(rows, name, key) for name in rows}
    against = {name: verdicts.ratios(rows, name, point.base, key) for name in rows}
    noise = any("foreign" in run for runs in rows.values() for run in runs)
    heads = [heading] + [f"/ {point.base}"] * bool(point.base) + \
        [column[1] for column in point.columns[1:]] + ["others' cores"] * noise
    text = ["| | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(heads)]

    def place(name):
        ratio = against[name] or found[name]
        return statistics.median(ratio) if ratio else float("inf")
    for name in sorted(rows, key=place):
        cells = [spread(found[name], digits) if found[name] else "failed"]
        if point.base:
            cells.append(spread(against[name], 3) if against[name] else "")
        for other, _, other_digits in point.columns[1:] + (("foreign", "", 2),) * noise:
            values = verdicts.values(rows, name, other)
            cells.append(number(statistics.median(values), other_digits) if values else "")
        text.append(f"| {bold(name)} | " + " | ".join(cells) + " |")
    return text


def primitives(rows, found):
    """A row for each primitive."""
    names = list(dict.fromkeys(key for runs in rows.values() for run in runs for key in run
                               if key not in ("foreign", "error")))
    targets = {verdict.target.key: verdict for verdict in found}
    text = ["| | " + " | ".join(rows) + " | target | |",
            "|---|" + "--:|" * len(rows) + "--:|---|"]
    for key in names:
        cells = []
        for name in rows:
            values = verdicts.values(rows, name, key)
            cells.append(spread(values, 1 if statistics.median(values) < 1000 else 0)
                         if values else "")
        verdict = targets.get(key)
        cells += [f"{verdict.target.limit:g}", WORDS[verdict.verdict]] if verdict else ["", ""]
        text.append(f"| {key} | " + " | ".join(cells) + " |")
    return text


def section(kind, stored):
    """A point: its table, what failed, its verdicts."""
    point = points.make(kind, stored["values"])
    found = judged(kind, stored)
    text = [f"### {point.title}", "", about(point, stored), ""]
    if kind == "prims":
        return "\n".join(text + primitives(stored["rows"], found)
                         + ([""] + failures(stored) if failures(stored) else [])) + "\n"
    if stored["rows"]:
        text += table(point, stored["rows"]) + [""]
    return "\n".join(text + failures(stored) + verdict_lines(found)) + "\n"


def figures(data):
    """All targets of all stored data, by figure. @data: {kind: stored data}."""
    rows, counts = [], {}
    for kind, stored in data.items():
        for name in order(kind, stored["points"]):
            stored_point = stored["points"][name]
            title = points.make(kind, stored_point["values"]).title
            for verdict in judged(kind, stored_point):
                if verdict.target.figure:
                    rows.append((verdict.target.figure, title, verdict))
                    counts[verdict.verdict] = counts.get(verdict.verdict, 0) + 1
    total = ", ".join(f"{counts[word]} {word}" for word in WORDS if word in counts)
    text = [f"{len(rows)} targets: {total}." if rows else "Nothing is measured yet.", "",
            "| figure | where | what | measured | target | |", "|--:|---|---|--:|--:|---|"]
    for figure, title, verdict in sorted(rows, key=lambda row: row[0]):
        text.append(f"| {figure} | {title} | {what(verdict)} | {measured(verdict)} "
                    f"| {limit(verdict.target)} | {WORDS[verdict.verdict]} |")
    return "\n".join(text) + "\n"


def order(kind, names):
    """The names of points as the kind lists them, then others."""
    listed = points.names(kind)
    return sorted(names, key=lambda name: (listed.index(name) if name in listed
                                           else len(listed), name))
