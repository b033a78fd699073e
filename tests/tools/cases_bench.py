# SPDX-License-Identifier: MIT
"""ouro bench echo: what it counts, on servers that behave and on servers that do not."""
import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import threading
import time

from blackbox import (LIMIT, Peer, contains, echo_all, ended, equal, failed_with, handles,
                      read_line, refusing_address, take, unanswered_address, until)

KEYS = {"bench", "unit", "target", "driver", "interrupted", "connections", "size", "depth",
        "rate_asked", "secs", "done", "lost", "unsent", "rate", "bytes_rate", "p50", "p90", "p99",
        "p999", "max", "errors", "server", "generator"}


def patient(args):
    """With a time limit that a busy machine does not reach, where the case sets none."""
    return args if "--timeout" in args else args + ("--timeout", f"{LIMIT}s")


def bench(ouro, *args):
    """A run that must end well; its JSON."""
    done, result = ouro.json("bench", *patient(args), "--json")
    equal((done.returncode, done.err), (0, ""), f"{args} {result}")
    return result


def failing(ouro, *args):
    """A run that must not."""
    done, result = ouro.json("bench", *patient(args), "--json")
    equal((done.returncode, done.err), (1, ""), f"{args} {result}")
    return result


def timed(ouro, *args):
    """A run for a short time.  A busy machine may leave no operation that ends well in it."""
    done, result = ouro.json("bench", *patient(args), "--json")
    equal((done.returncode, done.err), (0 if result["done"] > 0 else 1, ""), f"{args} {result}")
    return result


def test_json(ouro):
    with ouro.echo() as server:
        result = bench(ouro, "echo", server.address, "-c", 8, "-s", 100, "-P", 3, "--count", 2000,
                       "--pid", server.pid)
    equal(set(result), KEYS)
    equal([result[key] for key in ("bench", "unit", "target", "driver", "interrupted",
                                   "connections", "size", "depth", "rate_asked", "done", "lost",
                                   "unsent", "errors")],
          ["echo", "message", server.address, ouro.driver, False, 8, 100, 3, None, 2000, 0, 0, {}])
    equal(0 < result["p50"] <= result["p90"] <= result["p99"] <= result["p999"] <= result["max"]
          <= result["secs"] * 1e6, True, f"{result}")
    rate = 2000 / result["secs"]
    equal(abs(result["rate"] - rate) <= rate / 1000, True, f"{result}")
    equal(abs(result["bytes_rate"] - 100 * rate) <= rate / 10, True, f"{result}")
    equal(set(result["server"]), {"pid", "cpu_us", "busy", "processes", "threads", "rss"})
    equal((result["server"]["pid"], result["server"]["processes"]), (server.pid, 1))
    equal(result["server"]["threads"] > 0 and result["server"]["rss"] > 100000, True, f"{result}")
    equal(set(result["generator"]), {"cpu_us", "busy", "limit"})


def test_text(ouro):
    with ouro.echo() as server:
        done = ouro.run("bench", "echo", server.address, "--count", 50, "--pid", server.pid)
    equal((done.returncode, done.err), (0, ""))
    for part in ("echo " + server.address, "50 messages in ", "0 lost", "messages/s", "MB/s",
                 "99.9 %", "server: ", "of CPU per message", "generator: "):
        contains(done.out, part)


def test_every_shape(ouro):
    """Messages of one byte, many at once, and more than the kernel's buffers hold."""
    def echo_in_pieces(connection):
        size = 1
        while part := connection.recv(size):
            connection.sendall(part)
            size = size * 7 % 8191
    for size, depth, count in ((1, 1, 50), (1, 300, 3000), (64, 16, 500), (1000, 40, 500),
                               (100000, 1, 20), (300001, 3, 9), (1 << 20, 2, 4)):
        for rate in ((), ("--rate", 100000)):
            load = ("-c", 2, "-s", size, "-P", depth, "--count", count) + rate
            with ouro.echo() as server:
                equal(bench(ouro, "echo", server.address, *load)["done"], count)
            if size < 100000:
                with Peer(serve=echo_in_pieces) as peer:
                    equal(bench(ouro, "echo", peer.address, "--fin", *load)["done"], count)


def test_unix(ouro):
    path = "\0ouro-bench-%d" % os.getpid()
    with Peer(serve=echo_all, family=socket.AF_UNIX, address=path):
        result = bench(ouro, "echo", "unix:@" + path[1:], "--count", 200, "-P", 4)
    equal(result["done"], 200)


def test_duration_and_warm_up(ouro):
    with ouro.echo() as server:
        result = timed(ouro, "echo", server.address, "-d", "200ms", "--warm-up", "100ms")
    equal((result["secs"], result["lost"], result["errors"]), (0.2, 0, {}))


def cpu_s(pid):
    """CPU time of a process and of the children it has waited for, in seconds."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")")[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def test_cpu_time_of_the_server(ouro):
    """The kernel's account: how much that is, a virtual machine's busy host has a say in.  Ticks
    are 10 ms, and connecting is not measured."""
    with ouro.echo() as server:
        before = cpu_s(server.pid)
        result = timed(ouro, "echo", server.address, "-d", "400ms", "--warm-up", "0s", "--pid",
                       server.pid)
        used = cpu_s(server.pid) - before
    measured = result["server"]["cpu_us"] * result["done"] / 1e6
    equal(used / 2 - 0.03 <= measured <= used + 0.03, True, f"{used} s, {result}")
    equal(measured / 0.8 - 0.01 <= result["server"]["busy"] <= measured / 0.4 + 0.01, True,
          f"{measured} s, {result}")


def test_open_loop_counts_what_was_due(ouro):
    """Counted, not timed: each message that is due in the measured time is one that counts, however
    late a busy machine sends it."""
    with ouro.echo() as server:
        for rate, connections, warm_up in ((2000, 1, "0s"), (2000, 7, "100ms"), (300, 50, "50ms")):
            result = bench(ouro, "echo", server.address, "--rate", rate, "-c", connections, "-d",
                           "500ms", "--warm-up", warm_up, "--timeout", "20s")
            equal((result["rate_asked"], result["secs"]), (rate, 0.5))
            equal(abs(result["done"] - rate / 2) <= 1, True, f"{result}")
            equal(abs(result["rate"] - rate) <= 2, True, f"{result}")


def test_a_stall_delays_what_is_due(ouro):
    """One message in 600 waits, and those that are due meanwhile count the wait as theirs."""
    def stall_once(connection):
        received = 0
        while part := connection.recv(64):
            received += len(part)
            if received >= 6400:
                time.sleep(0.3)
                received = -1 << 40
            connection.sendall(part)
    with Peer(serve=stall_once) as peer:
        result = bench(ouro, "echo", peer.address, "--rate", 1000, "-c", 1, "--count", 600,
                       "--fin")
    equal(result["p90"] >= 100e3, True, f"{result}")


def test_wrong_bytes(ouro):
    def corrupt_the_third(connection):
        for number in range(3):
            part = bytearray(connection.recv(64, socket.MSG_WAITALL))
            part[-1] ^= number == 2
            connection.sendall(part)
        take(connection)
    with Peer(serve=corrupt_the_third) as peer:
        result = failing(ouro, "echo", peer.address, "-c", 1, "--count", 9)
    equal((result["done"], result["lost"], result["errors"]), (6, 3, {"WRONG_BYTES": 3}))


def test_bytes_of_another_connection(ouro):
    """Two connections get each other's bytes: both see it in the first message."""
    both = threading.Barrier(2)
    connections = []

    def cross(connection):
        connections.append(connection)
        both.wait(LIMIT)
        other = connections[1] if connection is connections[0] else connections[0]
        with contextlib.suppress(OSError):
            other.sendall(connection.recv(64, socket.MSG_WAITALL))
        take(connection)
        both.wait(LIMIT)
    with Peer(serve=cross) as peer:
        result = failing(ouro, "echo", peer.address, "-c", 2, "--count", 2)
    equal((result["done"], result["lost"], result["errors"]), (0, 2, {"WRONG_BYTES": 2}))


def test_more_than_was_sent(ouro):
    def twice(connection):
        with contextlib.suppress(OSError):
            while part := connection.recv(64):
                connection.sendall(part + part)
    with Peer(serve=twice) as peer:
        result = failing(ouro, "echo", peer.address, "-c", 1, "--count", 3)
    equal(result["errors"].get("WRONG_BYTES", 0) > 0, True, f"{result}")


def test_early_end(ouro):
    """The server leaves in the middle of every second message."""
    def leave(connection):
        connection.sendall(connection.recv(64, socket.MSG_WAITALL))
        connection.sendall(connection.recv(64, socket.MSG_WAITALL)[:10])
    with Peer(serve=leave) as peer:
        result = failing(ouro, "echo", peer.address, "-c", 1, "--count", 6)
    equal((result["done"], result["lost"], result["errors"]), (3, 3, {"EARLY_END": 3}))


def test_never_answers(ouro):
    for load in ((), ("--rate", 1000), ("-s", 1 << 20)):
        with Peer() as peer:
            result = failing(ouro, "echo", peer.address, "-c", 3, "-d", "5s", "--warm-up", "0s",
                             "--timeout", "200ms", *load)
        equal((result["done"], result["errors"].get("ETIMEDOUT", 0) >= 3), (0, True), f"{result}")
        equal(result["secs"] <= 5, True, f"{result}")


def test_refused(ouro):
    with refusing_address() as address:
        done = ouro.run("bench", "echo", address, "--json")
    failed_with(done, 1, address, "connection 1 of 50", "ECONNREFUSED")


def test_a_server_that_dies(ouro):
    """The run ends, says what went wrong, and that the process is gone."""
    with ouro.echo() as server:
        with ouro.start("bench", "echo", server.address, "-c", 2, "-d", "20s", "--warm-up", "0s",
                        "--timeout", "300ms", "--pid", server.pid, "--json") as process:
            until("two connections", lambda: len(os.listdir(f"/proc/{server.pid}/fd")) > 0 and
                  sockets_of(server.pid) >= 3)
            server.kill()
            server.wait()
            equal(ended(process), 1)
            result = json.loads(process.stdout.read())
    equal(result["server"], {"pid": server.pid, "error": "ESRCH"})
    equal(result["errors"].get("ECONNREFUSED", 0) > 0, True, f"{result}")
    done = ouro.run("bench", "echo", server.address, "--pid", server.pid)
    failed_with(done, 1, "process %d" % server.pid)


def sockets_of(pid):
    """How many sockets a process has."""
    found = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
    return found


def test_the_server_is_counted_with_its_children(ouro):
    """A shell that has started the server, and waits."""
    argv = ouro.argv("serve", "echo", "127.0.0.1:0")
    with subprocess.Popen(["/bin/sh", "-c", '"$0" "$@" & echo $! >&2; wait'] + argv,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shell:
        child = int(read_line(shell.stderr))
        try:
            address = read_line(shell.stdout).split()[-1]
            before = cpu_s(child)
            result = timed(ouro, "echo", address, "-d", "400ms", "--warm-up", "0s", "--pid",
                           shell.pid)
            used = cpu_s(child) - before
        finally:
            os.kill(child, signal.SIGTERM)
    equal(result["server"]["processes"], 2)
    measured = result["server"]["cpu_us"] * result["done"] / 1e6
    equal(used / 2 - 0.03 <= measured <= used + 0.03, True, f"{used} s, {result}")


def test_interrupted(ouro):
    """What was measured so far is printed."""
    counted = [0]

    def count(connection):
        with contextlib.suppress(ConnectionResetError):  # an echo was on its way
            while part := connection.recv(64):
                connection.sendall(part)
                counted[0] += 1
    for number in (signal.SIGINT, signal.SIGTERM):
        counted[0] = 0
        with Peer(serve=count) as peer:
            with ouro.start("bench", "echo", peer.address, "-c", 2, "-d", "1h", "--warm-up", "0s",
                            "--json", "--fin") as process:
                until("200 messages", lambda: counted[0] > 200)
                equal(ended(process, number), 128 + number)
                result = json.loads(process.stdout.read())
        equal((result["interrupted"], result["lost"], result["errors"]), (True, 0, {}))
        equal(result["done"] >= 100, True, f"{result}")


def test_interrupted_while_connecting(ouro):
    with unanswered_address() as address:
        with ouro.start("bench", "echo", address, "--timeout", "1h", "--json",
                        "--driver=" + ouro.driver) as process:
            port = int(address.rsplit(":", 1)[1])
            until("a connect under way", lambda: connecting_to(port) > 0)
            until("it takes signals", lambda: handles(process, signal.SIGINT))
            equal(ended(process, signal.SIGINT), 130)
            result = json.loads(process.stdout.read())
    equal((result["interrupted"], result["done"], result["secs"]), (True, 0, 0))


def connecting_to(port):
    """How many sockets wait for an answer to their SYN to a port."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split()[:4] for line in list(table)[1:]]
    return sum(state == "02" and int(remote.split(":")[1], 16) == port
               for _, _, remote, state in rows)


def test_progress_on_a_terminal(ouro):
    main, terminal = pty.openpty()
    try:
        with ouro.echo() as server:
            with ouro.start("bench", "echo", server.address, "-d", "1h", "--warm-up", "0s",
                            stderr=terminal) as process:
                drawn = b""
                while b" of 3600.0 s" not in drawn:
                    equal(bool(select.select([main], [], [], LIMIT)[0]), True, "a bar")
                    drawn += os.read(main, 4096)
                equal(ended(process, signal.SIGINT), 130)
                contains(process.stdout.read().decode(), "(interrupted)")
    finally:
        os.close(main)
        os.close(terminal)


def test_output_that_cannot_be_written(ouro):
    with ouro.echo() as server, open("/dev/full", "wb") as full:
        done = ouro.run("bench", "echo", server.address, "--count", 10, stdout=full)
    equal(done.returncode, 1)
    contains(done.err, "cannot write")
