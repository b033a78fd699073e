# SPDX-License-Identifier: MIT
"""What is compared with what: the commands.

A command is a template: {port} is the server's port, {sink} the port that a proxy connects to,
{total} and {conc} a storm's number of connects and how many of them are in flight at once, {folder}
a directory with the configurations of configs.py, {bin}, {bench}, {peers} and {examples} the
build's directories. A template may begin with NAME=VALUE for the environment.
"""

import os
import pathlib
import shlex
import shutil

OURO, OURO_EPOLL = "ouro", "ouro on epoll"
RING, MULTISHOT, EPOLL = "bare ring", "bare ring, multishot", "bare epoll"
RINGS = (RING, MULTISHOT)
SPLICE = "bare epoll, splice"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

SERVE = "{bin}/ouro serve echo 127.0.0.1:{port} --driver "
OWN = "{bench}/bench_serve_ouro {port} "
PROXY = "{bin}/ouro proxy 127.0.0.1:{port} 127.0.0.1:{sink} --driver "
CONNECT_OURO = "{bin}/ouro connect 127.0.0.1:{port} --count {total} --concurrency {conc} --json " \
               "--driver "

OTHERS = {
    "libuv": "{peers}/echo_libuv {port}",
    "libevent": "{peers}/echo_libevent {port}",
    "Asio": "{peers}/echo_asio {port}",
    "tokio": "{peers}/echo_tokio {port}",
    "Go": "GOMAXPROCS=1 {peers}/echo_go {port}",
}
ECHO = {
    OURO: SERVE + "uring",
    OURO_EPOLL: SERVE + "epoll",
    RING: "{bench}/bench_echo_uring {port}",
    MULTISHOT: "{bench}/bench_echo_uring_multishot {port}",
    EPOLL: "{bench}/bench_echo_epoll {port}",
    **OTHERS,
}
CHURN = {
    **ECHO,
    "ouro_serve()": OWN + "uring stack",
    "ouro_serve(), request mode": OWN + "uring requests",
}
IDLE_LOAN, IDLE_REQUESTS = "ouro, parked on loan", "ouro, request mode"
IDLE = {
    IDLE_LOAN: OWN + "uring loan",
    IDLE_REQUESTS: OWN + "uring requests",
    "ouro, 16 KiB on the stack": OWN + "uring stack",
    "ouro on epoll, parked on loan": OWN + "epoll loan",
    "ouro on epoll, request mode": OWN + "epoll requests",
    RING: ECHO[RING],
    MULTISHOT: ECHO[MULTISHOT],
    EPOLL: ECHO[EPOLL],
    **OTHERS,
}
SETTLE = {name: IDLE[name] for name in (IDLE_LOAN, IDLE_REQUESTS)}
NOT_LOOKING, LATENCY = "ouro, not looking", "ouro, dial at latency"
LOOK = {OURO: OWN + "uring stack auto", NOT_LOOKING: OWN + "uring stack never"}
LOOK_SPIN = {LATENCY: OWN + "uring stack latency", **LOOK, RING: ECHO[RING], EPOLL: ECHO[EPOLL]}
STILL = {OURO: ECHO[OURO], OURO_EPOLL: ECHO[OURO_EPOLL], LATENCY: LOOK_SPIN[LATENCY]}
CONNECT = {
    OURO: CONNECT_OURO + "uring",
    OURO_EPOLL: CONNECT_OURO + "epoll",
    RING: "{bench}/bench_connect_uring {port} {total} {conc} basic",
    "bare ring, linked": "{bench}/bench_connect_uring {port} {total} {conc} linked",
    EPOLL: "{bench}/bench_connect_epoll {port} {total} {conc}",
    "libuv": "{bench}/bench_connect_libuv {port} {total} {conc}",
    "tokio": "{peers}/connect_tokio {port} {total} {conc}",
    "Go": "GOMAXPROCS=1 {peers}/connect_go {port} {total} {conc}",
}
FAN = {
    OURO: OWN + "uring fan",
    OURO_EPOLL: OWN + "epoll fan",
    RING: "{bench}/bench_fan_uring {port}",
    EPOLL: "{bench}/bench_fan_epoll {port}",
}
RELAY = {
    OURO: PROXY + "uring",
    OURO_EPOLL: PROXY + "epoll",
    EPOLL: "{bench}/bench_relay_epoll {port} {sink} copy",
    SPLICE: "{bench}/bench_relay_epoll {port} {sink} splice",
}
STRATEGY_ECHO = {
    f"{name}, {mode}": OWN + f"{driver} {what}"
    for driver, name in (("uring", "ouro"), ("epoll", "ouro on epoll"))
    for what, mode in (("stack", "buffer on the stack"), ("loan", "on loan"),
                       ("requests", "request mode"))
}
STRATEGY_ECHO["ouro, on loan, zero copy"] = OWN + "uring loan zerocopy"
STRATEGY_ACCEPT = {
    "ouro, multishot accept": OWN + "uring stack",
    "ouro, single accepts": OWN + "uring stack singly",
    OURO_EPOLL: OWN + "epoll stack",
}
STRATEGY_RELAY = {
    f"{name}, {mode}": OWN + f"{driver} {what} {{sink}}"
    for driver, name in (("uring", "ouro"), ("epoll", "ouro on epoll"))
    for what, mode in (("relay", "chooses"), ("copy", "copies"), ("splice", "splices"))
}
HAPROXY, NGINX_STREAM, NGINX = "HAProxy", "nginx stream", "nginx"
PROXIES = {
    OURO: PROXY + "uring",
    OURO_EPOLL: PROXY + "epoll",
    HAPROXY: "haproxy -db -q -f {folder}/haproxy.cfg",
    NGINX_STREAM: "nginx -p {folder} -e {folder}/error.log -c {folder}/stream.conf",
}
HTTP = {
    OURO: "{examples}/http_server 127.0.0.1:{port} requests",
    "ouro, a task for each connection": "{examples}/http_server 127.0.0.1:{port} tasks",
    NGINX: "nginx -p {folder} -e {folder}/error.log -c {folder}/http.conf",
}
PRIMS = {OURO: "{bench}/bench_prim_switch --json && {bench}/bench_prim_task 1 --json"}

SINK = "{bench}/bench_sink {port}"
LOAD = "{bench}/bench_load {port} {pid} {conns} {size} {secs} {depth} {wait}"
FAN_LOAD = "{bench}/bench_fan_load {port} {pid} {receivers} {size} {secs}"
BY_OURO = " --driver epoll --pid {pid} --json --duration {millis}ms "
RELAY_LOAD = "{bin}/ouro bench relay 127.0.0.1:{port} --sink 127.0.0.1:{sink}" + BY_OURO + \
             "--size {size} --depth {depth} --warm-up {warm}ms"
CHURN_LOAD = "{bin}/ouro bench churn 127.0.0.1:{port}" + BY_OURO + \
             "--connections {conc} --warm-up {warm}ms"
IDLE_LOAD = "{bin}/ouro bench idle 127.0.0.1:{port}" + BY_OURO + \
            "--connections {held} --timeout 30s"

# Debian's packages of what a machine may lack, by program.
PACKAGES = {
    "haproxy": "haproxy", "nginx": "nginx-light libnginx-mod-stream", "wrk": "wrk",
    "redis-server": "redis-server", "redis-benchmark": "redis-tools",
    "pgbench": "postgresql", "initdb": "postgresql", "postgres": "postgresql",
}


class Problem(Exception):
    """What the user is told, without a traceback."""


def find(program):
    """Where a program is, Debian's PostgreSQL included; None."""
    found = shutil.which(program, path=PATH)
    if found:
        return found
    places = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(places[-1]) if places else None


def steps(template, build, **values):
    """A template's commands, as [(words, environment)]."""
    values = dict(values, bin=build / "bin", bench=build / "bench", examples=build / "examples",
                  peers=build / "bench" / "peers")
    for key, value in values.items():
        template = template.replace("{%s}" % key, str(value))
    commands = []
    for step in template.split("&&"):
        words, environment = shlex.split(step), {}
        while words and "=" in words[0] and "/" not in words[0].split("=")[0]:
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        commands.append((words, environment))
    return commands


def words_of(template, build, **values):
    return steps(template, build, **values)[0][0]


def missing(template, build):
    """Why a template cannot run; None when it can."""
    for words, _ in steps(template, build):
        if "/" in words[0] and not pathlib.Path(words[0]).exists():
            return f"{pathlib.Path(words[0]).name} is not built"
        if "/" not in words[0] and find(words[0]) is None:
            package = PACKAGES.get(words[0])
            return f"{words[0]} is not installed" + (f" (package {package})" if package else "")
    return None


def present(table, build, unbuilt):
    """(the rows whose programs are there, {name: why not}). @unbuilt: reasons by program's name,
    of peers that could not be built."""
    there, absent = {}, {}
    for name, template in table.items():
        reason = missing(template, build)
        if reason is None:
            there[name] = template
        else:
            program = reason.split(" ")[0]
            absent[name] = unbuilt.get(program, reason)
    return there, absent


def add(tables, kinds, text):
    """--add [KIND:]NAME=COMMAND; without the prefix it is for what is run."""
    name, equals, command = text.partition("=")
    if not equals or not name or not command:
        raise Problem(f"--add {text!r}: write NAME='COMMAND {{port}} ...'")
    kind, colon, rest = name.partition(":")
    if colon and kind in tables:
        tables[kind][rest] = command
    elif len(kinds) == 1:
        tables[kinds[0]][name] = command
    else:
        raise Problem(f"--add {name}: with several kinds say for which, e.g. connect:{name}=...")
