# SPDX-License-Identifier: MIT
"""All programs in turn, round after round.

A machine's speed changes by tens of percent from one minute to the next, more when others use it. A
round is short, so what changes changes for all of them; therefore only ratios within a round are
compared, and the order is shuffled so that no program always runs after the same one. Nothing is
repeated or left out; a run during which others used more than `noise` cores is marked.
"""

import contextlib
import random

from . import programs, runs


def interleave(names, rounds, one, tell):
    """{name: [result of each round]}."""
    results = {name: [] for name in names}
    for number in range(rounds):
        order = list(names)
        random.shuffle(order)
        for name in order:
            results[name].append(one(name))
        tell(f"round {number + 1} of {rounds}")
    return results


def connect(table, options, tell):
    return interleave(table, options.rounds, lambda name: runs.connect(table[name], options), tell)


def served(table, one, options, tell, kind=runs.Server):
    """@one measures a server. They are up together: a round changes between them at once."""
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(kind(template, options.build))
                   for name, template in table.items()}
        return interleave(table, options.rounds, lambda name: one(servers[name]), tell)


def echo(table, connections, options, tell):
    return served(table, lambda server: runs.echo(server, connections, options), options, tell)


def churn(table, conc, options, tell):
    return served(table, lambda server: runs.churn(server, conc, options), options, tell)


def relay(table, size, options, tell):
    return served(table, lambda proxy: runs.relay(proxy, size, options), options, tell, runs.Proxy)


def idle(table, options, tell):
    return interleave(table, options.rounds, lambda name: runs.idle(table[name], options), tell)


def prims(table, options, tell):
    """{row: {program: [value of each round]}}, {row: unit}, and the runs' foreign cores."""
    rows, units, foreign = {}, {}, []

    def one(name):
        measured, cores = runs.lines(table[name], options)
        foreign.append(cores)
        for row in measured:
            unit = "ns" if "ns" in row else "bytes"
            units[row["name"]] = unit
            rows.setdefault(row["name"], {}).setdefault(name, []).append(row[unit])

    interleave(table, options.rounds, one, tell)
    return rows, units, foreign


def million(options):
    measured, _ = runs.lines(programs.MILLION, options)
    return measured[0]
