# SPDX-License-Identifier: MIT
"""The command line of tools/bench/compare."""

import argparse
import datetime
import json
import pathlib
import resource
import subprocess
import sys

from . import machine, page, peers, points, programs, report, rounds, store
from .programs import Problem

PROJECT = pathlib.Path(__file__).resolve().parents[3]

EPILOG = """\
Every program gets one short run a round, in shuffled order; what is compared are ratios within a
round, of which the median and the quartiles are printed. Servers run on core 0, clients on core 1.
As root it makes a network namespace of its own and raises its priority. A run that fails is an
error of its row; the others go on, and the exit status is 1.

  compare all --write docs/PERFORMANCE.md     all figures, tables and plots; about 20 minutes
  compare echo churn --rounds 15 --write docs/PERFORMANCE.md      some again; the rest stays
  compare --only-write docs/PERFORMANCE.md    the page anew, from the stored data
  compare --install                           the other runtimes and servers, by apt-get
  compare connect --conc 1 --only tokio
  compare echo --conns 8,100 --add mine='my_server {port}'

  echo    messages and their echoes               look    looking before sleeping, and not
  churn   connect, one message, reset             still   CPU with nothing to do
  connect a storm of connects                     fan     one message to many connections
  idle    memory of silent connections            relay   messages through a proxy
  proxy   redis-benchmark, pgbench, wrk through a proxy
  http    examples/http_server beside nginx       prims   switches, tasks, timers
  strategy  each way to receive, accept and relay that can be forced

A connect client makes {total} connects, {conc} at a time, resets each, and exits 0. A server
serves 127.0.0.1:{port} until SIGTERM; so does a proxy, which connects to 127.0.0.1:{sink}. With
several kinds, write --add connect:NAME=..., echo:NAME=...
"""


def warn(text):
    print(f"compare: {text}", file=sys.stderr, flush=True)


def tell(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def numbers(text):
    return [int(word) for word in text.split(",")]


def parser():
    found = argparse.ArgumentParser(
        prog="compare", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="ouro side by side with bare rings, epoll and other runtimes.")
    add = found.add_argument
    add("kinds", nargs="*", metavar="KIND", help="what to measure, or all")
    add("--build", type=pathlib.Path, default=PROJECT / "build" / "release",
        help="where it was built (build/release)")
    add("--add", action="append", default=[], metavar="NAME=CMD",
        help="another program to compare with; may be repeated")
    add("--only", metavar="NAME,...", help="of the programs, these, ouro and the bare ones")
    add("--rounds", type=int, default=7, help="at least 5 (7); memory is measured 3 times")
    add("--secs", type=float, default=0.4, help="seconds of a run (0.4)")
    add("--conns", type=numbers, default=points.DEFAULT_CONNS,
        help="echo, look: connections (1,8,100,1000); the larger messages by default only")
    add("--size", type=int, default=64, help="echo: bytes in a message (64)")
    add("--depth", type=int, default=1, help="echo: messages on the way (1)")
    add("--churn", type=numbers, default=[1, 64], help="churn, look: in flight (1,64)")
    add("--conc", type=numbers, default=[1, 64], help="connect: in flight (1,64)")
    add("--total", type=int, default=50000, help="connect: connects of a run (50000)")
    add("--receivers", type=int, default=1000, help="fan: connections (1000)")
    add("--parts", type=numbers, default=[32, 1024, 65536],
        help="relay: bytes in a message (32,1024,65536)")
    add("--held", type=int, default=10000,
        help="idle: connections, at most what the limit of descriptors allows (10000)")
    add("--settle", type=int, default=10, help="idle: seconds after they were closed (10)")
    add("--noise", type=float, default=0.2,
        help="cores used by others above which a run is marked as noisy (0.2)")
    add("--json", type=pathlib.Path, metavar="FILE", help="every value, as JSON")
    add("--write", type=pathlib.Path, metavar="PAGE",
        help="store the data beside the page and write its parts anew")
    add("--only-write", type=pathlib.Path, metavar="PAGE", help="the same, without measuring")
    add("--install", action="store_true", help="install what is missing, by apt-get, and end")
    return found


def parse(argv):
    arguments = parser()
    options = arguments.parse_args(argv)
    if not options.kinds and not options.only_write and not options.install:
        arguments.error("say what to measure, or all")
    unknown = [kind for kind in options.kinds if kind not in points.KINDS and kind != "all"]
    if unknown:
        arguments.error(f"{unknown[0]} is none of {', '.join(points.KINDS)}, all")
    if options.rounds < 5:
        arguments.error("fewer than 5 rounds say nothing")
    if "all" in options.kinds:
        options.kinds = list(points.KINDS)
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    options.held = min(options.held, descriptors - 64)
    options.build = options.build.resolve()
    return options


def install():
    """What Debian has of the other runtimes and servers."""
    for words in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends",
                                     *peers.packages()]):
        if subprocess.call(["apt-get", *words]) != 0:
            raise Problem("apt-get " + " ".join(words) + " failed")


def chosen(table, options):
    """--only: the named rows, with ouro's and the bare ones, which others are divided by."""
    if not options.only:
        return table
    names = options.only.split(",")
    return {name: template for name, template in table.items()
            if name in names or name.startswith(("ouro", "bare"))}


def add_rows(options):
    tables = {kind: {} for kind in points.KINDS}
    for text in options.add:
        programs.add(tables, options.kinds, text)
    return tables


def measure_point(kind, values, options, added, unbuilt, how):
    """The stored form of a point."""
    point = points.make(kind, values)
    table = chosen({**point.table, **added[kind]}, options)
    there, absent = programs.present(table, options.build, unbuilt)
    rows = {}
    try:
        rows = rounds.interleave(point, there, values, options, tell, warn) if there else {}
    except Problem as problem:  # what is to be up behind the programs
        absent = dict.fromkeys(there, str(problem)) | absent
    for name, why in absent.items():
        warn(f"left out: {point.title}: {name}: {why}")
    return point.name, store.point(values, how, rows, absent)


def failed(stored):
    return any("error" in run for point in stored["points"].values()
               for runs in point["rows"].values() for run in runs)


def compare(options):
    added = add_rows(options)
    planned = [(kind, values) for kind in options.kinds
               for values in points.KINDS[kind][1](options)]
    tables = [chosen(points.make(kind, values).table, options) for kind, values in planned]
    unbuilt = peers.build(options.build, peers.named(tables), tell)
    revision = machine.revision(PROJECT)
    network = machine.own_network(warn)
    machine.raise_priority()
    how = {"machine": machine.describe(), "network": network, "rounds": options.rounds,
           "secs": options.secs, "noise": options.noise, "revision": revision}
    print(f"On a {how['machine']}, in {network}.\n")
    found = {kind: {"schema": store.SCHEMA, "kind": kind, "points": {}} for kind in options.kinds}
    for kind, values in planned:
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        name, stored = measure_point(kind, values, options, added, unbuilt, dict(how, date=now))
        found[kind]["points"][name] = stored
        tell("")
        print(report.section(kind, stored), flush=True)
        if options.write:  # at once: what is measured stays, whatever happens to the rest
            folder = page.folder_of(options.write)
            store.save(folder, store.merge(store.load(folder, kind), {name: stored}))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.write:
        page.write(options.write)
    return 1 if any(failed(stored) for stored in found.values()) else 0


def main(argv=None):
    options = parse(sys.argv[1:] if argv is None else argv)
    try:
        if options.install:
            install()
        if options.only_write:
            page.write(options.only_write)
        return compare(options) if options.kinds else 0
    except Problem as problem:
        warn(problem)
        return 1
    except KeyboardInterrupt:
        return 130
