# SPDX-License-Identifier: MIT
"""ouro proxy: limits, idle connections, counters, messages, shortages."""
import contextlib
import json
import re
import resource
import signal
import socket
import tempfile
import threading
import time

from blackbox import (LIMIT, Peer, contains, echo_all, equal, ended, read_line, refusing_address,
                      reset, until)
from proxying import (ask, client, counts, directory, drained, echo_until_cut, is_closed,
                      last_line, proxy, take, until_counts)


def test_at_most_so_many(ouro):
    """One more waits in the backlog, and is served when there is room."""
    for workers in ("1", "3"):
        with Peer(echo_all) as target, proxy(ouro, target.address, "--max=2", "-w", workers) as \
                server, contextlib.ExitStack() as stack:
            held = [stack.enter_context(client(server.addresses[0])) for _ in range(2)]
            for connection in held:
                ask(connection, b"x")
            third = stack.enter_context(client(server.addresses[0]))
            third.sendall(b"y")
            equal(counts(server)["accepted"], 2)
            third.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                equal(third.recv(1), "nothing yet")
            third.settimeout(LIMIT)
            held[0].close()
            equal(take(third, 1), b"y")
            ask(held[1], b"still here")


def test_per_peer(ouro):
    with Peer(echo_all) as target, proxy(ouro, target.address, "--max-per-peer=2") as server:
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(client(server.addresses[0])) for _ in range(2)]
            for connection in held:
                ask(connection, b"x")
            with client(server.addresses[0]) as third:
                equal(is_closed(third), True)
            with client(server.addresses[0], ("127.0.0.2", 0)) as other:
                ask(other, b"x")
            held[0].close()
            until_counts(server, active=1)
            with client(server.addresses[0]) as fourth:
                ask(fourth, b"x")
        until_counts(server, active=0, refused=1)


def test_idle_connections_end(ouro):
    """One that moves in a single direction is not idle."""
    stop = threading.Event()

    def trickle(connection):
        with contextlib.suppress(ConnectionError):
            while not stop.wait(0.05):
                connection.sendall(b"t")

    with directory() as folder:
        stats = folder + "/stats"
        with Peer(echo_until_cut) as target, proxy(ouro, target.address, "--idle-timeout=300ms",
                                             "--stats=" + stats) as server:
            begin = time.monotonic()
            with client(server.addresses[0]) as silent, client(server.addresses[0]) as other:
                ask(other, b"x")
                equal((is_closed(silent), is_closed(other)), (True, True))
                equal(time.monotonic() - begin > 0.28, True, "not before its time")
            until_counts(server, active=0)
            drained(server)
        equal(last_line(stats)["idle"], 2)
        with Peer(trickle) as target, proxy(ouro, target.address,
                                            "--idle-timeout=1s") as server:
            with client(server.addresses[0]) as connection:
                equal(take(connection, 40), b"t" * 40)  # two seconds
                stop.set()
        with Peer(echo_until_cut) as target, \
                proxy(ouro, target.address, "--idle-timeout=none") as server:
            with client(server.addresses[0]) as connection:
                ask(connection, b"x")


def test_counters_add_up(ouro):
    """Every way to end once or more; SIGUSR1 and the lines of JSON agree with what was done."""
    with directory() as folder:
        stats = folder + "/stats"
        address = f"unix:{folder}/target"
        with proxy(ouro, address, "--accept-proxy", "--max-per-peer=3", "--idle-timeout=400ms",
                   "--grace=200ms", "--retry=1ms", "--retry-max=1ms", "--stats=" + stats,
                   "-w", "2") as server:
            header = b"PROXY TCP4 192.0.2.%d 192.0.2.200 1 2\r\n"
            for number in range(3):  # nobody listens yet
                with client(server.addresses[0]) as connection:
                    connection.sendall(header % number)
                    equal(is_closed(connection), True)
            with Peer(echo_until_cut, socket.AF_UNIX, folder + "/target"), \
                    contextlib.ExitStack() as stack:
                for number in range(5):
                    with client(server.addresses[0]) as connection:
                        connection.sendall(header % number)
                        ask(connection, b"d" * 1000)
                with client(server.addresses[0]) as connection:
                    connection.sendall(b"nonsense")
                    equal(is_closed(connection), True)
                until_counts(server, active=0)
                connection = client(server.addresses[0])
                connection.sendall(header % 50)
                ask(connection, b"b" * 10)
                reset(connection)
                until_counts(server, broken=1)
                held = [stack.enter_context(client(server.addresses[0])) for _ in range(4)]
                for connection in held:
                    connection.sendall(header % 60)
                until_counts(server, refused=1)
                until_counts(server, idle=3)
                last = stack.enter_context(client(server.addresses[0]))
                last.sendall(header % 70)
                ask(last, b"c" * 7)
                now = counts(server)
                equal(now["active"], 1)
                lines = drained(server, 1)
                contains(lines[-1], "1 connections were cut off")
        line = last_line(stats)
        wanted = {"accepted": 15, "done": 5, "no_target": 3, "bad_header": 1, "broken": 1,
                  "refused": 1, "idle": 3, "cut": 1, "bytes_to_targets": 5017,
                  "bytes_to_clients": 5017}
        equal({name: line[name] for name in wanted}, wanted)
        of_target, = line["targets"]
        equal((of_target["target"], of_target["active"], of_target["connected"],
               of_target["failed"]), (address, 0, 10, 3))


def test_lines_of_statistics(ouro):
    with Peer(echo_all) as target, proxy(ouro, target.address, "--stats") as server:
        first = json.loads(read_line(server.stdout))
        with client(server.addresses[0]) as connection:
            ask(connection, b"x" * 100)
            second = json.loads(read_line(server.stdout))
            while second["active"] == 0:
                second = json.loads(read_line(server.stdout))
        equal(900 <= second["time_ms"] - first["time_ms"], True, "a line a second")
        equal((second["accepted"], second["active"], second["bytes_to_clients"]), (1, 1, 100))
        until_counts(server, active=0)
        equal(ended(server, signal.SIGTERM), 0)
        last = json.loads(server.stdout.read().splitlines()[-1])
        equal((last["accepted"], last["active"], last["done"]), (1, 0, 1))


def test_statistics_that_nobody_reads(ouro):
    """A pipe that is full, or closed, does not stop the proxy."""
    with Peer(echo_all) as target, proxy(ouro, target.address, "--stats") as server:
        server.stdout.close()
        contains(read_line(server.stderr), "EPIPE")
        with client(server.addresses[0]) as connection:
            ask(connection, b"still here")
    with Peer(echo_all) as target, proxy(ouro, target.address, "--stats=/nonexistent/x") as server:
        contains(read_line(server.stderr), "ENOENT")
        with client(server.addresses[0]) as connection:
            ask(connection, b"still here")


def test_messages_are_not_too_many(ouro):
    """A line for each failure, up to a number in each second; the others are counted."""
    with refusing_address() as dead, tempfile.TemporaryFile() as messages:
        with proxy(ouro, dead, "--retry=10m", "--retry-max=10m", stderr=messages) as server:
            begin = time.monotonic()
            for _ in range(200):
                with client(server.addresses[0]) as connection:
                    equal(is_closed(connection), True)
            seconds = int(time.monotonic() - begin) + 2
            equal(ended(server, signal.SIGTERM), 0)
        messages.seek(0)
        lines = messages.read().decode().splitlines()
    left_out = sum(int(number) for number in re.findall(r"(\d+) more messages", "\n".join(lines)))
    written = [line for line in lines if "more messages" not in line]
    equal(len(written) <= 20 * seconds, True, f"{len(written)} lines in {seconds} s")
    equal(len(written) + left_out, 201, "lines, and those left out")


def test_out_of_descriptors(ouro):
    """Connections that there are no descriptors for wait; nobody is closed for want of them."""
    with Peer(echo_all) as target, \
            proxy(ouro, target.address,
                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))) as \
            server, contextlib.ExitStack() as stack:
        held = [stack.enter_context(client(server.addresses[0])) for _ in range(40)]
        ask(held[0], b"x")
        served = counts(server)["accepted"]
        equal(0 < served < 40, True, f"{served} at a time")
        for i, connection in enumerate(held):
            ask(connection, b"%d" % i)
            connection.close()
        until_counts(server, active=0, accepted=40, done=40)


def test_a_shortage_of_descriptors(ouro):
    """With a --max beyond what there is, accepting waits and goes on."""
    with Peer(echo_all) as target, \
            proxy(ouro, target.address, "--max=1000",
                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))) as \
            server, contextlib.ExitStack() as stack:
        held = [stack.enter_context(client(server.addresses[0])) for _ in range(60)]
        contains(read_line(server.stderr), "EMFILE")
        for connection in held:
            connection.close()

        def is_served():
            with client(server.addresses[0]) as connection, \
                    contextlib.suppress(ConnectionError, AssertionError):
                ask(connection, b"x")
                return True
            return False
        until("it serves again", is_served)
