# SPDX-License-Identifier: MIT
"""Runs programs side by side, in rounds, and compares what an operation costs them.

points.py    what is measured: kinds of load, the points of each, the targets
programs.py  what is compared: the commands
configs.py   the configurations of programs that take theirs from a file
peers.py     builds the programs on other runtimes
machine.py   where they run: pinned, undisturbed as far as may be, in a network of their own
process.py   servers that are up for all rounds, and loads that end
backends.py  real servers behind a proxy, and their loads
runs.py      one run of one program
rounds.py    all programs in turn, round after round, in shuffled order
verdicts.py  ratios within a round, and whether a target is met
store.py     the raw data, as JSON
report.py    tables, as Markdown
plot.py      pictures, as SVG
page.py      docs/PERFORMANCE.md
cli.py       the command line
"""
