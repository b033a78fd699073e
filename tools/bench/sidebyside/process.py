# SPDX-License-Identifier: MIT
"""The processes of a run: servers that are up for all rounds, and loads that end."""

import os
import pathlib
import random
import select
import shutil
import socket
import subprocess
import tempfile
import time

from . import configs, machine, programs
from .programs import Problem

START_SECONDS, RUN_SECONDS = 15, 180


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


def last_line(file):
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


class Server:
    """A server on its core, from the moment it accepts; ends with the with-block. A proxy connects
    to the port @sink."""

    core = machine.SERVER_CORE
    user = {}  # for Popen

    def __init__(self, template, build, sink=None):
        self.template, self.build = template, build
        self.port = free_port()
        self.sink = free_port() if sink is None else sink
        self.folder = self.process = self.errors = None

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ouro-bench-"))
        configs.write(self.template, self.folder, self.port, self.sink)
        self.prepare()
        self.errors = tempfile.TemporaryFile()
        words, environment = programs.steps(self.template, self.build, port=self.port,
                                            sink=self.sink, folder=self.folder)[0]
        words[0] = words[0] if "/" in words[0] else programs.find(words[0]) or words[0]
        self.name = pathlib.Path(words[0]).name
        try:
            self.process = subprocess.Popen(
                words, preexec_fn=machine.pin(self.core), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=self.errors,
                env=dict(os.environ, **environment), **self.user)
            self.wait_until_it_accepts()
        except BaseException:
            self.__exit__()
            raise
        return self

    def prepare(self):
        """What a program needs before it starts."""

    def connection(self):
        return socket.create_connection(("127.0.0.1", self.port), START_SECONDS)

    def wait_until_it_accepts(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Problem(f"{self.name} ended at its start, {self.process.returncode}: "
                              + last_line(self.errors))
            try:
                self.connection().close()
                return
            except OSError:
                time.sleep(0.01)
        raise Problem(f"{self.name} did not accept within {START_SECONDS} s: "
                      + last_line(self.errors))

    def __exit__(self, *_):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(2)
                except subprocess.TimeoutExpired:
                    self.process.kill()
            self.process.wait()
        if self.errors is not None:
            self.errors.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def is_alive(self):
        return self.process.poll() is None

    def cpu_seconds(self):
        if not self.is_alive():
            raise Problem(f"{self.name} has ended, {self.process.returncode}: "
                          + last_line(self.errors))
        return machine.cpu_seconds(self.process.pid)


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
                raise Problem(f"{self.name} connects to nothing") from None
            return self


def run(words, core, build, environment=None, accept=(0,)):
    """(what it printed, its CPU seconds, wall seconds); its exit status must be accepted."""
    program = words[0] if "/" in words[0] else programs.find(words[0])
    if program is None:
        raise Problem(programs.missing(words[0], build))
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        process = subprocess.Popen([program] + words[1:], preexec_fn=machine.pin(core),
                                   stdout=output, stderr=errors, stdin=subprocess.DEVNULL,
                                   env=dict(os.environ, **(environment or {})))
        try:
            usage = wait(process, start + RUN_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
        wall = time.monotonic() - start
        if process.returncode not in accept:
            raise Problem(f"{pathlib.Path(program).name}: exit status {process.returncode}: "
                          + last_line(errors))
        output.seek(0)
        return output.read().decode(errors="replace"), usage.ru_utime + usage.ru_stime, wall


def wait(process, until):
    """Waits for the end, and not for ever. What it used."""
    pidfd = os.pidfd_open(process.pid)
    try:
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        if not ended.poll(max(0.0, until - time.monotonic()) * 1000):
            raise Problem(f"did not end within {RUN_SECONDS} s")
    finally:
        os.close(pidfd)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage
