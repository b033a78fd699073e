# SPDX-License-Identifier: MIT
"""All programs of a point in turn, round after round.

A machine's speed changes by tens of percent from one minute to the next, more when others use it. A
round is short, so what changes changes for all of them; therefore only ratios within a round are
compared, and the order is shuffled so that no program always runs after the same one. Nothing is
repeated or left out; a run during which others used more than `noise` cores is marked.

A run that fails is an error of its row in that round: {"error": why}. It is said at once, and the
others go on.
"""

import random

from .programs import Problem

GIVE_UP = 2  # rounds in which a row has failed, and nothing else


class Row:
    """A program of a point: what it is started as, and what it has measured."""

    def __init__(self, name, template, point, options, warn, behind):
        self.name, self.template, self.point = name, template, point
        self.options, self.warn, self.behind = options, warn, behind
        self.server = None
        self.runs = []

    def fail(self, problem):
        text = str(problem).replace(str(self.options.build), "build")
        self.warn(f"FAILED: {self.point.title}: {self.name}: {text}")
        self.runs.append({"error": text.split("\n", 1)[0]})

    def has_given_up(self):
        return len(self.runs) >= GIVE_UP and all("error" in run for run in self.runs)

    def start(self):
        if self.point.start is None:
            return
        if self.server is not None and self.server.is_alive():
            return
        self.stop()
        server = self.point.start(self.template, self.options.build, self.behind)
        self.server = server.__enter__()

    def stop(self):
        if self.server is not None:
            self.server.__exit__()
            self.server = None

    def run(self, values):
        if self.has_given_up():
            self.runs.append(dict(self.runs[-1]))
            return
        try:
            self.start()
            what = self.template if self.point.start is None else self.server
            self.runs.append(self.point.measure(what, self.options, values))
        except (Problem, OSError, ValueError, KeyError) as problem:
            self.fail(problem)


def interleave(point, table, values, options, tell, warn):
    """{program: [result of each round]}. Where a program serves, all are up together: a round
    changes between them at once."""
    with point.around(values) as behind:
        rows = [Row(name, template, point, options, warn, behind)
                for name, template in table.items()]
        return take_turns(point, rows, values, options, tell)


def take_turns(point, rows, values, options, tell):
    count = min(options.rounds, point.rounds_max)
    try:
        for number in range(count):
            order = list(rows)
            random.shuffle(order)
            for row in order:
                row.run(values)
            tell(f"{point.title}: round {number + 1} of {count}")
    finally:
        for row in rows:
            row.stop()
    return {row.name: row.runs for row in rows}
