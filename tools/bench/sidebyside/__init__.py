# SPDX-License-Identifier: MIT
"""Runs programs side by side, in rounds, and compares what an operation costs them.

machine.py   where they run: pinned, undisturbed as far as may be, in a network of their own
programs.py  what is compared, and which target each comparison has
runs.py      one run of one program: a storm of connects, a server under load (echo, short and idle
             connections), primitives
rounds.py    all programs in turn, round after round, in shuffled order
report.py    medians of per-round ratios, as Markdown
cli.py       the command line
"""
