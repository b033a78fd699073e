# SPDX-License-Identifier: MIT
"""Ratios within a round, their spread, and whether a target is met.

A target is met when the median and both quartiles are on the right side of its limit, missed when
they are all on the wrong side, and not settled otherwise: the spread is part of the result.
"""

import dataclasses
import statistics

MET, MISSED, UNSETTLED, UNKNOWN = "met", "missed", "not settled", "not measured"


@dataclasses.dataclass(frozen=True)
class Target:
    """@program's @key, divided by that of the best of @against of the same round; by itself where
    that is empty. `peers`: at no peer above it by more than the spread; then @against are those.
    """
    figure: str
    program: str
    key: str
    limit: float
    against: tuple = ()
    at_least: bool = False
    peers: bool = False
    unit: str = ""  # of a value that is no ratio


@dataclasses.dataclass(frozen=True)
class Verdict:
    target: Target
    verdict: str
    other: str = ""  # which of `against` it was compared with
    low: float = 0.0
    middle: float = 0.0
    high: float = 0.0


def quartiles(values):
    """(first quartile, median, third quartile)."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def values(rows, name, key):
    """A program's values of the rounds in which it did not fail."""
    return [run[key] for run in rows.get(name, []) if key in run]


def ratios(rows, name, other, key):
    """A program's value divided by another's of the same round, where both have one."""
    pairs = zip(rows.get(name, []), rows.get(other, []))
    return [mine[key] / theirs[key] for mine, theirs in pairs
            if key in mine and theirs.get(key, 0) > 0]


def best(rows, names, key):
    """Which of the programs has the lowest median; None when none has a value."""
    medians = {name: statistics.median(found) for name in names
               if (found := values(rows, name, key))}
    return min(medians, key=medians.get) if medians else None


def place(spread, limit, at_least=False):
    """A spread beside a limit."""
    right = [value >= limit if at_least else value <= limit for value in spread]
    return MET if all(right) else MISSED if not any(right) else UNSETTLED


def judge_peers(rows, target):
    """The peer that comes closest stands for all."""
    found = [(ratio, name) for name in target.against
             if (ratio := ratios(rows, target.program, name, target.key))]
    if not found:
        return Verdict(target, UNKNOWN)
    spreads = [(quartiles(ratio), name) for ratio, name in found]
    spread, name = max(spreads, key=lambda row: row[0][0])
    return Verdict(target, MISSED if spread[0] > target.limit else MET, name, *spread)


def judge(rows, target):
    """A target and the runs of a point: {program: [{key: value} of each round]}."""
    if target.peers:
        return judge_peers(rows, target)
    other = ""
    if target.against:
        other = best(rows, target.against, target.key)
        found = ratios(rows, target.program, other, target.key) if other else []
    else:
        found = values(rows, target.program, target.key)
    if not found:
        return Verdict(target, UNKNOWN, other or "")
    spread = quartiles(found)
    return Verdict(target, place(spread, target.limit, target.at_least), other or "", *spread)
