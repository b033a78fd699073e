# SPDX-License-Identifier: MIT
"""Real servers behind a proxy, and the loads that Debian has for them: Redis, PostgreSQL, nginx.

They share the client's core: what they and the load use is not the proxy's.
"""

import csv
import os
import pwd
import re
import shutil
import subprocess
import time

from . import machine, programs
from .process import START_SECONDS, Server
from .programs import Problem

REDIS_REQUESTS = 60000  # for a second
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}


class Behind(Server):
    core = machine.CLIENT_CORE


class Postgres(Behind):
    """A database of its own, without fsync. It refuses to run as root."""

    def __init__(self, build):
        super().__init__("postgres -D {folder}/data -p {port} -k {folder}/data -F "
                         "-c listen_addresses=127.0.0.1", build)
        if os.geteuid() == 0:
            try:
                entry = pwd.getpwnam("postgres")
            except KeyError:
                raise Problem("there is no user postgres") from None
            self.user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def tool(self, *words):
        program = programs.find(words[0])
        done = subprocess.run([program, *map(str, words[1:])], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, cwd=self.folder,
                              preexec_fn=machine.pin(self.core), **self.user)
        return done.returncode, done.stderr.strip().split("\n")[-1]

    def prepare(self):
        data = self.folder / "data"
        data.mkdir(0o700)
        if self.user:
            self.folder.chmod(0o755)
            shutil.chown(data, self.user["user"], self.user["group"])
        status, text = self.tool("initdb", "-D", data, "-A", "trust", "-U", "postgres",
                                 "--no-sync")
        if status != 0:
            raise Problem(f"initdb: {text}")

    def wait_until_it_accepts(self):
        super().wait_until_it_accepts()
        until = time.monotonic() + START_SECONDS
        where = ("-h", "127.0.0.1", "-p", self.port, "-U", "postgres")
        while self.tool("pg_isready", "-q", *where)[0] != 0:
            if time.monotonic() > until:
                raise Problem("the database did not start")
            time.sleep(0.05)
        status, text = self.tool("pgbench", *where, "-i", "-q", "postgres")
        if status != 0:
            raise Problem(f"pgbench -i: {text}")


class Target:
    """A server behind the proxies; entering gives its port."""

    NEEDS = {"redis-benchmark": ("redis-server", "redis-benchmark"),
             "pgbench": ("postgres", "initdb", "pgbench"), "wrk": ("nginx", "wrk")}

    def __init__(self, load):
        for name in self.NEEDS[load]:
            if programs.find(name) is None:
                raise Problem(f"{name} is not installed (package {programs.PACKAGES[name]})")
        build = machine.NOWHERE
        self.server = {
            "redis-benchmark": lambda: Behind("redis-server --port {port} --bind 127.0.0.1 "
                                              "--save '' --dir {folder}", build),
            "pgbench": lambda: Postgres(build),
            "wrk": lambda: Behind(programs.HTTP[programs.NGINX], build),
        }[load]()

    def __enter__(self):
        return self.server.__enter__().port

    def __exit__(self, *_):
        self.server.__exit__()


def target(values):
    return Target(values["load"])


def redis(port, secs):
    words = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-t", "get", "-c", "50",
             "-n", str(round(REDIS_REQUESTS * secs)), "--csv"]

    def parse(output):
        row = list(csv.reader(output.strip().splitlines()))[-1]
        return int(words[-2]), {"p50_us": float(row[4]) * 1e3, "p99_us": float(row[6]) * 1e3}
    return words, parse


def pgbench(port, secs):
    words = ["pgbench", "-n", "-S", "-M", "prepared", "-c", "16", "-j", "1", "-T",
             str(max(1, round(secs))), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres",
             "postgres"]

    def parse(output):
        count = re.search(r"actually processed: (\d+)", output)
        average = re.search(r"latency average = ([\d.]+) ms", output)
        if not count:
            raise Problem("pgbench: no result")
        return int(count[1]), {"p50_us": float(average[1]) * 1e3} if average else {}
    return words, parse


def wrk(port, secs, conns=64):
    words = ["wrk", "-t1", f"-c{conns}", f"-d{max(1, round(secs))}s", "--latency",
             f"http://127.0.0.1:{port}/"]

    def parse(output):
        count = re.search(r"(\d+) requests in", output)
        if not count or "Non-2xx" in output or "Socket errors" in output:
            raise Problem("wrk: " + " ".join(output.split())[-200:])
        found = {}
        for percent in ("50", "99"):
            part = re.search(percent + r"%\s+([\d.]+)(us|ms|s|m)", output)
            found[f"p{percent}_us"] = float(part[1]) * UNITS[part[2]]
        return int(count[1]), found
    return words, parse


LOADS = {"redis-benchmark": redis, "pgbench": pgbench, "wrk": wrk}
