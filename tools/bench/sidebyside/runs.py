# SPDX-License-Identifier: MIT
"""One run of one program.

CPU time is the kernel's account of the whole process, the same for everybody: of a client that has
ended (wait4), of a server by its CPU clock. What programs say of themselves is not used, but for
the primitives, which time themselves. Where `ouro bench` is the generator, a round's servers all
have the same one; the load of the echo is a program of its own, so that a change of ouro does not
change what ouro is measured with (load.c).

A run that is measured for a time waits for its condition too: at least one operation must have
ended in it. Where none has, on a machine whose cores others hold, it is made again for longer.
"""

import json
import time

from . import backends, machine, programs
from .process import Proxy, Server, run  # noqa: F401 (Proxy: how a point starts)
from .programs import Problem

LONGER = (1, 4, 16)  # times the seconds of a run


def measured(server, words, options, core=machine.CLIENT_CORE, accept=(0,)):
    """(output, the server's CPU seconds, wall seconds, foreign cores) of a load on a server."""
    before = server.cpu_seconds()
    neighbours = machine.Neighbours()
    output, cpu, wall = run(words, core, options.build, accept=accept)
    used = server.cpu_seconds() - before
    return output, used, wall, neighbours.cores(cpu + used)


def connect(template, options, values):
    """A storm against a sink of its own. The client is the one that is measured."""
    with Server(programs.SINK, options.build) as sink:
        words, environment = programs.steps(template, options.build, port=sink.port,
                                            total=values["total"], conc=values["conc"])[0]
        before = sink.cpu_seconds()
        neighbours = machine.Neighbours()
        _, cpu, wall = run(words, machine.CLIENT_CORE, options.build, environment)
        return {"cpu_us": cpu * 1e6 / values["total"], "rate": values["total"] / wall,
                "foreign": neighbours.cores(cpu + sink.cpu_seconds() - before)}


def by_load(template, server, options, **more):
    words = programs.words_of(template, options.build, port=server.port, pid=server.process.pid,
                              secs=options.secs, **more)
    output, _, _, foreign = measured(server, words, options)
    result = json.loads(output)
    return {key: result[key] for key in ("cpu_us", "rate", "p50_us", "p99_us")} | \
        {"foreign": foreign}


def echo(server, options, values):
    """A while of load on a server. The server is the one that is measured."""
    spins = values.get("load") == "spin"
    return by_load(programs.LOAD, server, options, conns=values.get("conns", values.get("number")),
                   size=values.get("size", 64), depth=values.get("depth", 1),
                   wait="spin" if spins else "")


def fan(server, options, values):
    return by_load(programs.FAN_LOAD, server, options, receivers=values["receivers"], size=64)


def by_ouro(load, server, options, **values):
    for factor in LONGER:
        words = programs.words_of(load, options.build, port=server.port, pid=server.process.pid,
                                  millis=round(options.secs * factor * 1000),
                                  warm=min(200, round(options.secs * 500)), **values)
        output, _, _, foreign = measured(server, words, options, accept=(0, 1))
        if not output.startswith("{"):
            raise Problem(f"{words[1]} {words[2]} has no result: {output.strip() or 'no output'}")
        result = json.loads(output)
        if result["errors"] or result["lost"]:
            raise Problem(f"{words[1]} {words[2]}: {result['lost']} lost, {result['errors']}")
        if result["done"] > 0:
            return {"cpu_us": result["server"]["cpu_us"], "rate": result["rate"],
                    "p50_us": result["p50"], "p99_us": result["p99"], "foreign": foreign}
    raise Problem(f"no operation ended in {options.secs * LONGER[-1]:g} s")


def churn(server, options, values):
    """Short connections for a while, each with one message."""
    return by_ouro(programs.CHURN_LOAD, server, options,
                   conc=values.get("conc", values.get("number")))


def relay(proxy, options, values):
    """Messages through a proxy. As many are on their way as make 64 KiB, at least one."""
    return by_ouro(programs.RELAY_LOAD, proxy, options, sink=proxy.sink, size=values["size"],
                   depth=max(65536 // values["size"], 1))


def proxy(front, options, values):
    """A real program's load through a proxy, to the target that is up behind it."""
    return by_client(front, options, backends.LOADS[values["load"]])


def http(server, options, values):
    return by_client(server, options, lambda port, secs: backends.wrk(port, secs,
                                                                      values["conns"]))


def by_client(server, options, load):
    for factor in LONGER:
        words, parse = load(server.port, options.secs * factor)
        output, used, wall, foreign = measured(server, words, options)
        count, latency = parse(output)
        if count > 0:
            return {"cpu_us": used * 1e6 / count, "rate": count / wall, "foreign": foreign,
                    **latency}
    raise Problem(f"{words[0]}: no request ended")


def still(server, options, _):
    """A server with one connection that says nothing, after it has been used."""
    with server.connection() as connection:
        connection.sendall(b"x")
        if connection.recv(1) != b"x":
            raise Problem("no echo")
        time.sleep(0.1)  # what it does after a message
        neighbours = machine.Neighbours()
        before, begin = server.cpu_seconds(), time.monotonic()
        time.sleep(2 * options.secs)
        used, wall = server.cpu_seconds() - before, time.monotonic() - begin
        return {"share": 100 * used / wall, "foreign": neighbours.cores(used)}


def held_memory(template, options, values, *more):
    with Server(template, options.build) as server:
        words = programs.words_of(programs.IDLE_LOAD, options.build, port=server.port,
                                  pid=server.process.pid, held=values["held"],
                                  millis=min(300, round(options.secs * 1000))) + list(more)
        output, _, _ = run(words, machine.CLIENT_CORE, options.build)
        return json.loads(output)["memory"]


def idle(template, options, values):
    """Memory of a server that has just begun, with and without connections that do nothing."""
    return {"bytes": held_memory(template, options, values)["per_connection"]}


def settle(template, options, values):
    """The same, and 10 seconds after they were closed."""
    memory = held_memory(template, options, values, "--settle", f"{options.settle}s")
    grown = memory["held"] - memory["before"]
    if grown <= 0:
        raise Problem("the server's memory did not grow")
    return {"returned": 100 * (memory["held"] - memory["settled"]) / grown}


def prims(template, options, _):
    """What a program of primitives measures, by its name: its lines of JSON."""
    found = {}
    neighbours, total = machine.Neighbours(), 0.0
    for words, environment in programs.steps(template, options.build):
        output, cpu, _ = run(words, machine.CLIENT_CORE, options.build, environment)
        total += cpu
        for line in output.splitlines():
            if line.startswith("{"):
                row = json.loads(line)
                found[row["name"]] = row["ns" if "ns" in row else "bytes"]
    return dict(found, foreign=neighbours.cores(total))
