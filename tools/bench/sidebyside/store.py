# SPDX-License-Identifier: MIT
"""The raw data: a file of JSON for each kind, every value of every round. Measuring some points
again replaces those and leaves the others.

    {"schema": 1, "kind": "echo", "points": {NAME: {
        "values": parameters of the point, "measured": when, where, how,
        "rows": {PROGRAM: [{KEY: number} or {"error": why} of each round]},
        "left_out": {PROGRAM: why}}}}
"""

import json
import numbers

from .programs import Problem

SCHEMA = 1
MEASURED = {"date", "machine", "network", "rounds", "secs", "noise", "revision"}
DIGITS = 6  # more than a clock has


def is_run(run):
    if set(run) == {"error"}:
        return isinstance(run["error"], str)
    return bool(run) and all(isinstance(value, numbers.Real) for value in run.values())


def faults(data):
    """What is wrong with the data of a kind, one text each."""
    found = []
    if data.get("schema") != SCHEMA:
        found.append(f"schema {data.get('schema')} is not {SCHEMA}")
    if not isinstance(data.get("kind"), str):
        found.append("no kind")
    for name, point in data.get("points", {}).items():
        if set(point) != {"values", "measured", "rows", "left_out"}:
            found.append(f"{name}: fields {sorted(point)}")
            continue
        if set(point["measured"]) != MEASURED:
            found.append(f"{name}: measured {sorted(point['measured'])}")
        rounds = {len(runs) for runs in point["rows"].values()}
        if len(rounds) > 1:
            found.append(f"{name}: rows of {sorted(rounds)} rounds")
        found += [f"{name}: {row}: {run}" for row, runs in point["rows"].items()
                  for run in runs if not is_run(run)]
        found += [f"{name}: left out without a reason: {row}"
                  for row, why in point["left_out"].items() if not why]
    return found


def check(data, what):
    found = faults(data)
    if found:
        raise Problem(f"{what}: {'; '.join(found[:5])}")
    return data


def short(value):
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def point(values, measured, rows, left_out):
    return {"values": values, "measured": measured, "left_out": left_out,
            "rows": {name: [{key: short(value) for key, value in run.items()} for run in runs]
                     for name, runs in rows.items()}}


def load(folder, kind):
    """The stored data of a kind; without points when there is none."""
    path = folder / f"{kind}.json"
    if not path.exists():
        return {"schema": SCHEMA, "kind": kind, "points": {}}
    return check(json.loads(path.read_text()), path.name)


def merge(stored, points):
    """Stored data with new points in the place of those of the same name."""
    return dict(stored, points={**stored["points"], **points})


def text(data):
    """A run to a line: differences of two measurements can be read."""
    lines = [f'{{"schema": {data["schema"]}, "kind": {json.dumps(data["kind"])}, "points": {{']
    for number, (name, point_data) in enumerate(data["points"].items()):
        lines.append(("," if number else "") + json.dumps(name) + ": {")
        for key in ("values", "measured", "left_out"):
            lines.append(f' "{key}": {json.dumps(point_data[key])},')
        rows = [f"  {json.dumps(row)}: [\n   "
                + ",\n   ".join(json.dumps(run) for run in runs) + "]"
                for row, runs in point_data["rows"].items()]
        lines.append(' "rows": {\n' + ",\n".join(rows) + "}}")
    return "\n".join(lines + ["}}"]) + "\n"


def save(folder, data):
    check(data, data["kind"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{data['kind']}.json").write_text(text(data))
