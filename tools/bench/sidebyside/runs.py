# SPDX-License-Identifier: MIT
"""One run of one program.

CPU time is the kernel's account of the whole process, the same for everybody: of a client that has
ended (wait4), of a server by its CPU clock. What programs say of themselves is not used, but for
the primitives, which time themselves. Where `ouro bench` is the generator, a round's servers all
have the same one; the load of the echo is a program of its own, so that a change of ouro does not
change what ouro is measured with (load.c).
"""

import json
import os
import random
import socket
import subprocess
import tempfile
import time

from . import machine, programs
from .programs import Problem

START_SECONDS, RUN_SECONDS = 5, 180


def free_port():
    """Below the ports that kernels choose for themselves, where servers are: a client need not fear
    there that it has connected to itself."""
    for _ in range(100):
        port = random.randrange(20000, 32000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise Problem("no free port from 20000 to 32000")


class Server:
    """A server on its core, from the moment it accepts; ends with the with-block."""

    def __init__(self, template, build):
        self.port = free_port()
        self.sink = free_port()  # of a proxy
        words = programs.steps(template, build, port=self.port, sink=self.sink)[0]
        self.words = words
        self.process = subprocess.Popen(words, preexec_fn=machine.pin(machine.SERVER_CORE),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def __enter__(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.01)
        self.__exit__()
        raise Problem(f"did not start: {' '.join(self.words)}")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def cpu_seconds(self):
        return machine.cpu_seconds(self.process.pid)


def run(words, core):
    """(what it printed, its CPU seconds, wall seconds); it must succeed."""
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        process = subprocess.Popen(words, preexec_fn=machine.pin(core), stdout=output,
                                   stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
        if process.returncode != 0:
            raise Problem(f"exit status {process.returncode}: {' '.join(words)}\n{text}")
        return text, usage.ru_utime + usage.ru_stime, wall


def connect(template, options):
    """A storm against a sink of its own. The client is the one that is measured."""
    with Server(programs.SINK, options.build) as sink:
        sink_before = sink.cpu_seconds()
        neighbours = machine.Neighbours()
        words = programs.steps(template, options.build, port=sink.port, total=options.total,
                               conc=options.conc)[0]
        _, cpu, wall = run(words, machine.CLIENT_CORE)
        sink_cpu = sink.cpu_seconds() - sink_before
        return {"cpu_us": cpu * 1e6 / options.total, "rate": options.total / wall,
                "foreign": neighbours.cores(cpu + sink_cpu)}


def echo(server, connections, options):
    """A while of load on a server. The server is the one that is measured."""
    words = programs.steps(programs.LOAD, options.build)[0]
    words += [str(x) for x in (server.port, server.process.pid, connections, options.size,
                               options.secs)]
    before = server.cpu_seconds()
    neighbours = machine.Neighbours()
    output, cpu, _ = run(words, machine.CLIENT_CORE)
    foreign = neighbours.cores(cpu + server.cpu_seconds() - before)
    return dict(json.loads(output), foreign=foreign)


class Proxy(Server):
    """A server that connects to its sink when it is connected to. There is one at the start, too: a
    proxy may leave out for a while what has refused it."""

    def __enter__(self):
        with socket.create_server(("127.0.0.1", self.sink)) as sink:
            super().__enter__()
            sink.settimeout(START_SECONDS)
            try:
                sink.accept()[0].close()
            except TimeoutError:
                self.__exit__()
                raise Problem(f"connects to nothing: {' '.join(self.words)}") from None
            return self


def churn(server, conc, options):
    """Short connections for a while, each with one message."""
    return by_ouro(programs.CHURN_LOAD, server, options, conc=conc)


def relay(proxy, size, options):
    """Messages through a proxy. As many are on their way as make 64 KiB, at least one."""
    return by_ouro(programs.RELAY_LOAD, proxy, options, sink=proxy.sink, size=size,
                   depth=max(65536 // size, 1))


def by_ouro(load, server, options, **values):
    """The server is the one measured, by the same generator for all."""
    words = programs.steps(load, options.build, port=server.port, pid=server.process.pid,
                           millis=round(options.secs * 1000), **values)[0]
    before = server.cpu_seconds()
    neighbours = machine.Neighbours()
    output, cpu, _ = run(words, machine.CLIENT_CORE)
    foreign = neighbours.cores(cpu + server.cpu_seconds() - before)
    result = json.loads(output)
    return {"cpu_us": result["server"]["cpu_us"], "rate": result["rate"], "p50_us": result["p50"],
            "p99_us": result["p99"], "foreign": foreign}


def idle(template, options):
    """Memory of a server that has just begun, with and without connections that do nothing."""
    with Server(template, options.build) as server:
        words = programs.steps(programs.IDLE_LOAD, options.build, port=server.port,
                               pid=server.process.pid, held=options.held)[0]
        output, _, _ = run(words, machine.CLIENT_CORE)
        return {"bytes": json.loads(output)["memory"]["per_connection"]}


def lines(template, options):
    """What a program of primitives measures: its lines of JSON."""
    rows = []
    neighbours, total = machine.Neighbours(), 0.0
    for words in programs.steps(template, options.build):
        output, cpu, _ = run(words, machine.CLIENT_CORE)
        total += cpu
        rows += [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return rows, neighbours.cores(total)
