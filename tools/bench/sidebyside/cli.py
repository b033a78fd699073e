# SPDX-License-Identifier: MIT
"""The command line of tools/bench/compare."""

import argparse
import datetime
import json
import pathlib
import resource
import shlex
import sys

from . import machine, programs, report, rounds
from .programs import Problem

PROJECT = pathlib.Path(__file__).resolve().parents[3]

EPILOG = """\
Every program gets one short run a round, in shuffled order; what is compared are ratios within a
round, of which the median and the quartiles are printed. Servers run on core 0, clients on core 1.
As root it makes a network namespace of its own and raises its priority.

  compare all                              about twelve minutes
  compare connect --rounds 15 --conc 1
  compare echo --conns 8,100,1000
  compare connect --add tokio='tokio_connect {port} {total} {conc}'
  compare echo --add tokio='tokio_echo {port}'
  compare churn --churn 1,64               connect, one message, reset
  compare relay --parts 32,1024,65536      messages through a proxy
  compare idle --held 10000                memory of connections that do nothing
  compare prims --add tokio=tokio_prims    prints lines of {"name": ..., "ns": ...}

A connect client makes {total} connects, {conc} at a time, resets each, and exits 0. An echo server
serves 127.0.0.1:{port} until SIGTERM; so does a proxy, which connects to 127.0.0.1:{sink}. With
`all`, write --add connect:NAME=..., echo:NAME=...
"""


def warn(text):
    print(f"compare: {text}", file=sys.stderr)


def tell(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="compare", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="ouro side by side with bare rings, epoll and other runtimes.")
    parser.add_argument("what", choices=("connect", "echo", "churn", "relay", "idle",
                                         "prims", "all"))
    parser.add_argument("--build", type=pathlib.Path, default=PROJECT / "build" / "release",
                        help="where it was built (build/release)")
    parser.add_argument("--add", action="append", default=[], metavar="NAME=CMD",
                        help="another program to compare with; may be repeated")
    parser.add_argument("--only", metavar="NAME,...",
                        help="of the programs, these, besides ouro and the bare ring")
    parser.add_argument("--rounds", type=int, default=9, help="at least 5 (9)")
    parser.add_argument("--total", type=int, default=100000, help="connects in a storm (100000)")
    parser.add_argument("--conc", type=int, default=64, help="of them in flight (64)")
    parser.add_argument("--conns", default="8,100,1000", help="echo: connections (8,100,1000)")
    parser.add_argument("--churn", default="1,64", help="churn: connections in flight (1,64)")
    parser.add_argument("--parts", default="32,1024,65536",
                        help="relay: bytes in a message (32,1024,65536)")
    parser.add_argument("--held", type=int, default=10000,
                        help="idle: connections, at most what the limit of descriptors allows")
    parser.add_argument("--size", type=int, default=64, help="echo: bytes in a message (64)")
    parser.add_argument("--secs", type=float, default=1,
                        help="echo, churn, relay: seconds of a run (1)")
    parser.add_argument("--noise", type=float, default=0.2,
                        help="cores used by others above which a run is marked as noisy (0.2)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="every value, as JSON")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE",
                        help="the Markdown, into a file as well")
    options = parser.parse_args(argv)
    if options.rounds < 5:
        parser.error("fewer than 5 rounds say nothing")
    options.conns = [int(number) for number in options.conns.split(",")]
    options.churn = [int(number) for number in options.churn.split(",")]
    options.parts = [int(number) for number in options.parts.split(",")]
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    options.held = min(options.held, descriptors - 64)
    options.build = options.build.resolve()
    return options


def run_connect(table, options, emit, data):
    results = rounds.connect(table, options, tell)
    emit(report.comparison(
        f"Connect storm, {options.conc} in flight",
        f"{options.total:,} connects a run to the same kind of sink, each closed by a reset, "
        f"{options.rounds} rounds; CPU time of the client's process for a connect.",
        results, programs.CONNECT_TARGETS, options))
    data["connect"] = {"runs": results,
                       "verdicts": report.verdicts(results, programs.CONNECT_TARGETS)}


def run_echo(table, options, emit, data):
    data["echo"] = {}
    for connections in options.conns:
        results = rounds.echo(table, connections, options, tell)
        emit(report.comparison(
            f"Echo, {connections} connections, {options.size} bytes",
            f"One message on its way on each connection, {options.rounds} rounds of "
            f"{options.secs:g} s; CPU time of the server's process for a message.",
            results, programs.ECHO_TARGETS, options, latency=True))
        data["echo"][str(connections)] = {
            "runs": results, "verdicts": report.verdicts(results, programs.ECHO_TARGETS)}


def run_churn(table, options, emit, data):
    data["churn"] = {}
    for conc in options.churn:
        results = rounds.churn(table, conc, options, tell)
        emit(report.comparison(
            f"Short connections, {conc} in flight",
            f"Connect, one message of 64 bytes and its echo, reset; {options.rounds} rounds of "
            f"{options.secs:g} s; CPU time of the server's process for a connection.",
            results, programs.CHURN_TARGETS, options, latency=True))
        data["churn"][str(conc)] = {
            "runs": results, "verdicts": report.verdicts(results, programs.CHURN_TARGETS)}


def run_relay(table, options, emit, data):
    data["relay"] = {}
    for size in options.parts:
        results = rounds.relay(table, size, options, tell)
        emit(report.comparison(
            f"Relay, messages of {size} bytes",
            f"10 connections through a proxy, one direction, 64 KiB on their way on each; "
            f"{options.rounds} rounds of {options.secs:g} s; CPU time of the proxy's process for a "
            f"message.", results, programs.RELAY_TARGETS, options, latency=True,
            base=programs.RELAY_BASE))
        data["relay"][str(size)] = {
            "runs": results, "verdicts": report.verdicts(results, programs.RELAY_TARGETS)}


def run_idle(table, options, emit, data):
    results = rounds.idle(table, options, tell)
    emit(report.memory(results, options))
    data["idle"] = {"runs": results, "verdicts": [report.idle_verdict(results)]}


def run_prims(table, options, emit, data):
    rows, units, foreign = rounds.prims(table, options, tell)
    emit(report.primitives(rows, units, foreign, list(table), options))
    million = rounds.million(options)
    emit(report.million(million))
    data["prims"] = {"runs": rows, "units": units, "million": million, "foreign": foreign,
                     "verdicts": report.prim_verdicts(rows)}


RUNNERS = {"connect": run_connect, "echo": run_echo, "churn": run_churn,
           "relay": run_relay, "idle": run_idle, "prims": run_prims}


def compare(options, argv):
    tables = {kind: dict(table) for kind, table in programs.TABLES.items()}
    for text in options.add:
        programs.add(tables, options.what, text)
    kinds = list(RUNNERS) if options.what == "all" else [options.what]
    if options.only:
        tables = {kind: programs.only(tables[kind], options.only.split(",")) for kind in kinds}
    tables = {kind: programs.present(tables[kind], options.build, warn) for kind in kinds}
    network = machine.own_network(warn)
    machine.raise_priority()
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    pages = []

    def emit(text):
        tell("")
        print(text, flush=True)
        pages.append(text)

    plain = [word for word in argv if not word.startswith("/")]  # no paths of this machine
    emit(f"Measured {today} by `tools/bench/compare {options.what}`, {options.rounds} rounds, on a "
         f"{machine.describe()}, in {network}.\n")
    data = {"date": today, "machine": machine.describe(), "network": network,
            "arguments": shlex.join(plain)}
    for kind in kinds:
        RUNNERS[kind](tables[kind], options, emit, data)
    if options.write:
        options.write.write_text("\n".join(pages))
    if options.json:
        options.json.write_text(json.dumps(data, indent=1) + "\n")


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    options = parse(argv)
    try:
        compare(options, argv)
    except Problem as problem:
        warn(problem)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
