# SPDX-License-Identifier: MIT
"""What is compared with what, and the targets.

A command is a template: {port} is the server's port, {sink} the port that a proxy connects to,
{total} and {conc} a storm's number of connects and how many of them are in flight at once, {bin}
and {bench} the build's directories.
"""

import pathlib
import shlex

OURO = "ouro"

CONNECT = {
    OURO: "{bin}/ouro connect 127.0.0.1:{port} --driver uring --count {total} "
          "--concurrency {conc} --json",
    "bare ring": "{bench}/bench_connect_uring {port} {total} {conc} basic",
    "bare ring, linked": "{bench}/bench_connect_uring {port} {total} {conc} linked",
    "bare epoll": "{bench}/bench_connect_epoll {port} {total} {conc}",
    "libuv": "{bench}/bench_connect_libuv {port} {total} {conc}",
    "ouro on epoll": "{bin}/ouro connect 127.0.0.1:{port} --driver epoll --count {total} "
                     "--concurrency {conc} --json",
}
ECHO = {
    OURO: "{bin}/ouro serve echo 127.0.0.1:{port} --driver uring",
    "bare ring": "{bench}/bench_echo_uring {port}",
    "bare epoll": "{bench}/bench_echo_epoll {port}",
}
PRIMS = {
    OURO: "{bench}/bench_prim_switch --json && {bench}/bench_prim_task 1 --json",
}
# The same servers, for loads of connections: short ones, and ones that do nothing.
CHURN = dict(ECHO)
IDLE = dict(ECHO)
RELAY = {
    OURO: "{bin}/ouro proxy 127.0.0.1:{port} 127.0.0.1:{sink} --driver uring",
    "ouro on epoll": "{bin}/ouro proxy 127.0.0.1:{port} 127.0.0.1:{sink} --driver epoll",
    "bare epoll": "{bench}/bench_relay_epoll {port} {sink} copy",
    "bare epoll, splice": "{bench}/bench_relay_epoll {port} {sink} splice",
}
RELAY_LOAD = "{bin}/ouro bench relay 127.0.0.1:{port} --sink 127.0.0.1:{sink} --driver epoll " \
             "--size {size} --depth {depth} --duration {millis}ms --warm-up 200ms --pid {pid} " \
             "--json"
CHURN_LOAD = "{bin}/ouro bench churn 127.0.0.1:{port} --driver epoll --connections {conc} " \
             "--duration {millis}ms --warm-up 200ms --pid {pid} --json"
IDLE_LOAD = "{bin}/ouro bench idle 127.0.0.1:{port} --driver epoll --connections {held} " \
            "--duration 300ms --timeout 30s --pid {pid} --json"
SINK = "{bench}/bench_sink {port}"
LOAD = "{bench}/bench_load"
MILLION = "{bench}/bench_prim_switch --million --json"
TABLES = {"connect": CONNECT, "echo": ECHO, "churn": CHURN, "relay": RELAY,
          "idle": IDLE, "prims": PRIMS}

BASE, RELAY_BASE = "bare ring", "bare epoll"
# ouro divided by another: at most. 1.0 for those it is to stay below.
CONNECT_TARGETS = {"bare ring": 1.05, "bare epoll": 1.0, "libuv": 1.0, "tokio": 1.0}
ECHO_TARGETS = {"bare ring": 1.03}
CHURN_TARGETS = {"bare ring": 1.05, "bare epoll": 0.85}
RELAY_TARGETS = {"bare epoll": 0.95, "bare epoll, splice": 0.95}
IDLE_TARGET_BYTES = 4608
# Name of a row: (key of its value, at most).
PRIM_TARGETS = {
    "switch there and back": ("ns", 4),
    "yield, 2 tasks": ("ns", 15),
    "spawn + join, 1000 at a time": ("ns", 60),
    "timer insert + cancel, 100k live": ("ns", 40),
    "parked fiber, resident": ("bytes", 4608),
}


class Problem(Exception):
    """What the user is told, without a traceback."""


def add(tables, what, text):
    """--add [KIND:]NAME=COMMAND; without the prefix it is for what is run."""
    name, equals, command = text.partition("=")
    if not equals or not name or not command:
        raise Problem(f"--add {text!r}: write NAME='COMMAND {{port}} ...'")
    kind, colon, rest = name.partition(":")
    if colon and kind in tables:
        tables[kind][rest] = command
    elif what in tables:
        tables[what][name] = command
    else:
        raise Problem(f"--add {name}: with 'all' say for what, e.g. connect:{name}=...")


def needed(table):
    """The two rows that a comparison needs: ouro, and what the others are divided by."""
    return OURO, BASE if BASE in table else RELAY_BASE


def only(table, names):
    """The named rows, with the two that are needed."""
    return {name: template for name, template in table.items()
            if name in names or name in needed(table)}


def steps(template, build, **values):
    """A template's commands, as lists of words."""
    values = dict(values, bin=build / "bin", bench=build / "bench")
    for key, value in values.items():
        template = template.replace("{%s}" % key, str(value))
    return [shlex.split(step) for step in template.split("&&")]


def present(table, build, warn):
    """The rows whose programs are there."""
    there = {}
    for name, template in table.items():
        missing = [words[0] for words in steps(template, build)
                   if "/" in words[0] and not pathlib.Path(words[0]).exists()]
        if not missing:
            there[name] = template
        elif name in needed(table):
            raise Problem(f"{missing[0]} is not there: cmake --preset release && "
                          "cmake --build --preset release, or name the directory with --build")
        else:
            warn(f"left out: {name} ({missing[0]} is not there)")
    return there
