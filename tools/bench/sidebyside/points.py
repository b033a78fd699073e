# SPDX-License-Identifier: MIT
"""What is measured: kinds of load, the points of each, and the targets at every point.

A point is made of its parameters, so stored data says by them what it was; the targets are here
and not in the data, and can be judged anew from it.
"""

import contextlib
import dataclasses

from . import backends, programs, runs
from .programs import (EPOLL, HAPROXY, IDLE_LOAN, IDLE_REQUESTS, LATENCY, NGINX, NGINX_STREAM,
                       NOT_LOOKING, OTHERS, OURO, OURO_EPOLL, RING, RINGS, SPLICE)
from .verdicts import Target

PEERS = (EPOLL, *OTHERS)
CPU = ("cpu_us", "CPU µs each", 2)
RATE, P50, P99 = ("rate", "each/s", 0), ("p50_us", "p50 µs", 0), ("p99_us", "p99 µs", 0)


@dataclasses.dataclass(frozen=True)
class Point:
    name: str
    title: str
    about: str
    table: dict
    base: str = EPOLL  # what the ratios of the table are to
    columns: tuple = (CPU, RATE, P50, P99)  # (key, heading, digits); the first is compared
    targets: tuple = ()
    measure: object = None  # of runs.py
    start: object = runs.Server  # how a program is started; None: the measure does it
    around: object = lambda values: contextlib.nullcontext()  # what is up behind the programs
    rounds_max: int = 1000


def echo(values):
    conns, size, depth = values["conns"], values["size"], values["depth"]
    targets = [Target("1", OURO, "cpu_us", 1.03, RINGS),
               Target("1", OURO, "cpu_us", 1.0, PEERS, peers=True),
               Target("9", OURO_EPOLL, "cpu_us", 1.03, (EPOLL,))]
    if conns == 1:
        targets[2:2] = [Target("2", OURO, "p50_us", 0.45, (EPOLL,)),
                        Target("2", OURO, "cpu_us", 1.05, (EPOLL,))]
    return Point(
        f"c{conns}-s{size}-d{depth}",
        f"Echo, {conns:,} connection{'s' * (conns > 1)}, {size:,} bytes"
        + (f", {depth} deep" if depth > 1 else ""),
        f"{depth if depth > 1 else 'One'} message{'s' * (depth > 1)} on the way on each "
        "connection; CPU time of the server for a message.",
        programs.ECHO, targets=tuple(targets), measure=runs.echo)


def churn(values):
    conc = values["conc"]
    targets = (Target("4", OURO, "cpu_us", 0.85, (EPOLL,)),
               Target("4", OURO, "cpu_us", 1.05, RINGS),
               Target("9", OURO_EPOLL, "cpu_us", 1.03, (EPOLL,)))
    return Point(f"f{conc}", f"Short connections, {conc} in flight",
                 "Connect, one message of 64 bytes and its echo, reset; CPU time of the server for "
                 "a connection.", programs.CHURN, targets=targets, measure=runs.churn)


def connect(values):
    conc = values["conc"]
    return Point(f"f{conc}", f"Connect storm, {conc} in flight",
                 f"{values['total']:,} connects a run to the same kind of sink, each closed by a "
                 "reset; CPU time of the client for a connect, its start included.",
                 programs.CONNECT, base=RING, columns=(CPU, RATE), start=None,
                 targets=(Target("3", OURO, "cpu_us", 1.03, (RING,)),), measure=runs.connect)


def look(values):
    load, number = values["load"], values["number"]
    targets = (Target("2", OURO, "cpu_us", 1.05, (NOT_LOOKING,)),)
    if load == "spin":
        return Point("spin", "Echo, 1 connection, the client spins",
                     "The client looks for the answer until it comes, and never sleeps; CPU time "
                     "of the server for a message.", programs.LOOK_SPIN, measure=runs.echo,
                     targets=targets + (Target("2", LATENCY, "p50_us", 0.30, (EPOLL,)),))
    title = f"Echo, {number:,} connection{'s' * (number > 1)}" if load == "echo" else \
        f"Short connections, {number} in flight"
    return Point(f"{load}{number}", f"{title}: looking before sleeping",
                 "The same program, with and without looking for completions before it sleeps; CPU "
                 "time of the server for a message or a connection.", programs.LOOK,
                 base=NOT_LOOKING, targets=targets,
                 measure=runs.echo if load == "echo" else runs.churn)


def still(_):
    return Point("still", "Nothing to do",
                 "Share of a core that a server uses while its one connection is silent.",
                 programs.STILL, base="", columns=(("share", "% of a core", 4),),
                 targets=(Target("2", OURO, "share", 0.5, unit="%"),), measure=runs.still)


def fan(values):
    receivers = values["receivers"]
    return Point(f"r{receivers}", f"Fan-out to {receivers:,} connections",
                 "One message of 64 bytes, sent to all; the next one when the last receiver has "
                 "it. CPU time of the server for a message to all; latency until the last has it.",
                 programs.FAN, targets=(Target("5", OURO, "cpu_us", 0.90, (EPOLL,)),
                                        Target("5", OURO, "p99_us", 1.0, (EPOLL,))),
                 columns=(("cpu_us", "CPU µs each", 0), RATE, P50, P99), measure=runs.fan)


def relay(values):
    size = values["size"]
    return Point(f"s{size}", f"Relay, messages of {size:,} bytes",
                 "10 connections through a proxy, one direction, 64 KiB on their way on each; CPU "
                 "time of the proxy for a message.", programs.RELAY,
                 columns=(("cpu_us", "CPU µs each", 3), RATE, P50, P99), start=runs.Proxy,
                 targets=(Target("7", OURO, "cpu_us", 0.95, (EPOLL, SPLICE)),),
                 measure=runs.relay)


def strategy(values):
    """The same load with each way that can be forced. No targets: it is what choices rest on."""
    load, number, size = values["load"], values["number"], values["size"]
    if load == "echo":
        return Point(f"echo{number}-s{size}", f"Receiving: echo, {number:,} "
                     f"connection{'s' * (number > 1)}, {size:,} bytes",
                     "One message on the way on each connection; CPU time of the server for a "
                     "message.", programs.STRATEGY_ECHO, base=next(iter(programs.STRATEGY_ECHO)),
                     measure=runs.echo)
    if load == "churn":
        return Point(f"churn{number}", f"Accepting: short connections, {number} in flight",
                     "Connect, one message of 64 bytes and its echo, reset; CPU time of the server "
                     "for a connection.", programs.STRATEGY_ACCEPT,
                     base=next(iter(programs.STRATEGY_ACCEPT)), measure=runs.churn)
    return Point(f"relay-s{size}", f"Relaying: messages of {size:,} bytes",
                 f"{number} connections, one direction, 64 KiB on their way on each; CPU time of "
                 "the relay for a message.", programs.STRATEGY_RELAY,
                 base=next(iter(programs.STRATEGY_RELAY)), start=runs.Proxy,
                 columns=(("cpu_us", "CPU µs each", 3), RATE, P50, P99), measure=runs.relay)


STRATEGIES = [("echo", 1, 64), ("echo", 100, 64), ("echo", 1000, 64), ("echo", 50, 16384),
              ("churn", 1, 64), ("churn", 64, 64),
              ("relay", 10, 32), ("relay", 10, 1024), ("relay", 10, 65536)]
PROXY_LOADS = {"redis-benchmark": "GET, 50 connections, of a Redis server",
               "pgbench": "SELECT, 16 connections, of a PostgreSQL server; p50 is the mean",
               "wrk": "64 connections kept alive, of nginx"}


def proxy(values):
    load = values["load"]
    return Point(load, f"Proxies under {load}",
                 f"{PROXY_LOADS[load]}. One thread each; the load and the target share the "
                 "client's core. CPU time of the proxy for a request.", programs.PROXIES,
                 base=HAPROXY, columns=(CPU, RATE, P50, P99), around=backends.target,
                 targets=(Target("7", OURO, "cpu_us", 0.85, (HAPROXY, NGINX_STREAM)),),
                 measure=runs.proxy)


def http(values):
    return Point("wrk", "HTTP under wrk",
                 f"{values['conns']} connections kept alive; `return 200` of nginx beside "
                 "examples/http_server. CPU time of the server for a request.", programs.HTTP,
                 base=NGINX, targets=(Target("8", OURO, "cpu_us", 0.90, (NGINX,)),),
                 measure=runs.http)


def idle(values):
    held = values["held"]
    if values["settle"]:
        return Point("settle", "Memory that is given back",
                     f"{held:,} connections are made, used once, held and closed; how much of what "
                     "the server's resident memory grew by is gone 10 seconds later.",
                     programs.SETTLE, base="", columns=(("returned", "% given back", 1),),
                     targets=tuple(Target("6", name, "returned", 90, at_least=True, unit="%")
                                   for name in programs.SETTLE),
                     measure=runs.settle, start=None, rounds_max=3)
    return Point("held", "Memory of an idle connection",
                 f"{held:,} held, after one 64-byte echo on each; what the resident memory of a "
                 "server that has just begun grew by.", programs.IDLE, base="",
                 columns=(("bytes", "bytes each", 0),), measure=runs.idle, start=None,
                 targets=(Target("6", IDLE_LOAN, "bytes", 4.6 * 1024, unit="bytes"),
                          Target("6", IDLE_REQUESTS, "bytes", 512, unit="bytes")), rounds_max=3)


def prims(_):
    limits = {"switch there and back": 4, "yield, 2 tasks": 15, "spawn + join, 1000 at a time": 60,
              "timer insert + cancel, 100k live": 40, "parked fiber, resident": 4608}
    return Point("prims", "Primitives", "One thread; nanoseconds, or bytes where the row says so.",
                 programs.PRIMS, base="", columns=(), measure=runs.prims, start=None,
                 targets=tuple(Target("", OURO, key, limit) for key, limit in limits.items()))


# kind: (what makes a point of parameters, the parameters of all points)
def _echoes(options):
    points = [{"conns": conns, "size": options.size, "depth": options.depth}
              for conns in options.conns]
    if options.conns == DEFAULT_CONNS:
        points += [{"conns": 100, "size": 4096, "depth": 1},
                   {"conns": 50, "size": 16384, "depth": 1},
                   {"conns": 100, "size": 64, "depth": 16}]
    return points


DEFAULT_CONNS = [1, 8, 100, 1000]
KINDS = {
    "echo": (echo, _echoes),
    "look": (look, lambda options: [{"load": "spin", "number": 1}] +
             [{"load": "echo", "number": conns} for conns in options.conns] +
             [{"load": "churn", "number": conc} for conc in options.churn]),
    "still": (still, lambda options: [{}]),
    "connect": (connect, lambda options: [{"conc": conc, "total": options.total}
                                          for conc in options.conc]),
    "churn": (churn, lambda options: [{"conc": conc} for conc in options.churn]),
    "fan": (fan, lambda options: [{"receivers": options.receivers}]),
    "idle": (idle, lambda options: [{"held": options.held, "settle": settle}
                                    for settle in (False, True)]),
    "relay": (relay, lambda options: [{"size": size} for size in options.parts]),
    "strategy": (strategy, lambda options: [{"load": load, "number": number, "size": size}
                                            for load, number, size in STRATEGIES]),
    "proxy": (proxy, lambda options: [{"load": load} for load in PROXY_LOADS]),
    "http": (http, lambda options: [{"conns": 64}]),
    "prims": (prims, lambda options: [{}]),
}


def make(kind, values):
    """A point of its parameters; the same when they come from stored data."""
    return KINDS[kind][0](values)


class Defaults:
    """The parameters of the points that `all` has, as far as they name points."""
    conns, size, depth, churn, conc = DEFAULT_CONNS, 64, 1, [1, 64], [1, 64]
    total, receivers, parts, held = 50000, 1000, [32, 1024, 65536], 10000


def names(kind):
    """Of all points of a kind, in order."""
    return [make(kind, values).name for values in KINDS[kind][1](Defaults)]
