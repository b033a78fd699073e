# SPDX-License-Identifier: MIT
"""ouro proxy: bytes, halves, resets; targets that work, do not, and come back."""
import contextlib
import os
import signal
import socket
import threading
import time

from blackbox import (LIMIT, Peer, contains, echo_all, equal, failed_with, needs_localhost,
                      read_all, read_line, refusing_address, reset, unanswered_address, until)
from proxying import (ask, client, counts, directory, drained, echo_until_cut, is_closed,
                      new_random, proxy, random_bytes, take)


def in_threads(count, function):
    """Runs it with 0 to count - 1, at the same time; the first failure is raised."""
    failures = []

    def guarded(number):
        try:
            function(number)
        except BaseException as error:  # reported below
            failures.append(error)
    threads = [threading.Thread(target=guarded, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        equal(thread.is_alive(), False, "a client that does not end")
    if failures:
        raise failures[0]


@contextlib.contextmanager
def each_kind_of_target(folder, serve):
    """A TCP and a Unix target; gives their addresses."""
    path = os.path.join(folder, "target")
    with Peer(serve) as tcp, Peer(serve, socket.AF_UNIX, path):
        yield tcp.address, "unix:" + path


def test_bytes_both_ways(ouro):
    """Many connections at a time, each with bytes of its own, TCP and Unix on both sides."""
    with directory() as folder, each_kind_of_target(folder, echo_all) as targets:
        for target in targets:
            listen = f"127.0.0.1:0,unix:{folder}/listen,unix:@ouro-proxy-{os.getpid()}"
            with proxy(ouro, target, listen=listen) as server:
                def talk(number):
                    state = new_random()
                    state.seed(number)
                    with client(server.addresses[number % 3]) as connection:
                        for _ in range(8):
                            ask(connection, random_bytes(state, 300000))
                        connection.shutdown(socket.SHUT_WR)
                        equal(connection.recv(1), b"", "the end")
                in_threads(24, talk)
                equal(drained(server), [], "messages")


def test_workers(ouro):
    with Peer(echo_all) as target, directory() as folder:
        with proxy(ouro, target.address, "-w", "3",
                   listen=f"127.0.0.1:0,unix:{folder}/listen") as server:
            def talk(number):
                with client(server.addresses[number % 2]) as connection:
                    ask(connection, os.urandom(100000))
            in_threads(24, talk)
            equal(drained(server), [], "messages")


def test_either_half_ends_first(ouro):
    """The end of one side's data is passed on at once, and the other side goes on."""
    big = os.urandom(1 << 20)

    def target_ends_first(connection):
        connection.sendall(big)
        connection.shutdown(socket.SHUT_WR)
        equal(read_all(connection) == big, True, "what the client sent afterwards")

    def client_ends_first(connection):
        equal(read_all(connection) == big, True, "what the client sent")
        connection.sendall(big)

    with directory() as folder:
        with each_kind_of_target(folder, target_ends_first) as targets:
            for target in targets:
                with proxy(ouro, target, listen=f"unix:{folder}/a") as server, \
                        client(server.addresses[0]) as connection:
                    equal(read_all(connection) == big, True, "what the target sent")
                    connection.sendall(big)
                    connection.shutdown(socket.SHUT_WR)
                    equal(drained(server), [], "messages")
        with Peer(client_ends_first) as target, proxy(ouro, target.address) as server, \
                client(server.addresses[0]) as connection:
            connection.sendall(big)
            connection.shutdown(socket.SHUT_WR)
            equal(read_all(connection) == big, True, "what the target sent afterwards")
            equal(drained(server), [], "messages")


def test_a_reset_is_passed_on(ouro):
    """A connection that broke must not look like one that ended."""
    seen = []
    arrived = threading.Event()

    def until_reset(connection):
        connection.recv(1)
        arrived.set()
        try:
            connection.recv(1)
            seen.append("end")
        except ConnectionResetError:
            seen.append("reset")

    with Peer(until_reset) as target, proxy(ouro, target.address) as server:
        connection = client(server.addresses[0])
        connection.sendall(b"x")
        equal(arrived.wait(LIMIT), True, "the first byte")
        reset(connection)
        until("the target has noticed", lambda: seen)
        equal(seen, ["reset"])
    with Peer(lambda connection: (connection.recv(1), reset(connection))) as target, \
            proxy(ouro, target.address) as server, client(server.addresses[0]) as connection:
        connection.sendall(b"x")
        try:
            equal(connection.recv(1), "a reset")
        except ConnectionResetError:
            pass


def test_a_target_that_reads_nothing_more(ouro):
    """What it sent before is delivered, though it takes nothing."""
    def answer_and_close(connection):
        take(connection, 10)
        connection.sendall(b"enough")
        connection.shutdown(socket.SHUT_WR)

    with Peer(answer_and_close) as target, proxy(ouro, target.address) as server, \
            client(server.addresses[0]) as connection:
        connection.sendall(b"0123456789")
        equal(take(connection, 6), b"enough")


def counting(name, seen):
    def serve(connection):
        seen.append(name)
        echo_all(connection)
    return serve


def test_targets_take_turns(ouro):
    seen = []
    with Peer(counting(0, seen)) as first, Peer(counting(1, seen)) as second, \
            Peer(counting(2, seen)) as third:
        with proxy(ouro, f"{first.address},{second.address},{third.address}") as server:
            for _ in range(9):
                with client(server.addresses[0]) as connection:
                    ask(connection, b"x")
            equal(seen, [0, 1, 2] * 3)


def test_least_connections(ouro):
    seen = []
    with Peer(counting(0, seen)) as first, Peer(counting(1, seen)) as second:
        with proxy(ouro, f"{first.address},{second.address}", "--balance=least-connections") as \
                server, contextlib.ExitStack() as stack:
            held = []
            for _ in range(4):
                held.append(stack.enter_context(client(server.addresses[0])))
                ask(held[-1], b"x")
            equal(sorted(seen), [0, 0, 1, 1])
            for connection in [held[i] for i in range(4) if seen[i] == 1]:
                connection.close()
            until("the proxy has noticed", lambda: counts(server)["active"] == 2)
            for _ in range(2):
                ask(stack.enter_context(client(server.addresses[0])), b"x")
            equal(seen[4:], [1, 1])


def test_a_dead_target_is_passed_over(ouro):
    """Each client is served, and the dead target is tried once and not for each of them."""
    with directory() as folder, refusing_address() as dead, Peer(echo_all) as live:
        for first in (dead, f"unix:{folder}/nobody"):
            with proxy(ouro, f"{first},{live.address}", "--retry=10m", "--retry-max=10m") as server:
                for _ in range(6):
                    with client(server.addresses[0]) as connection:
                        ask(connection, b"x")
                lines = drained(server)
                equal(len(lines), 1, f"messages {lines}")
                contains(lines[0], first)
                contains(lines[0], "left out for 600.000 s")


def test_a_target_that_does_not_answer(ouro):
    with unanswered_address() as silent, Peer(echo_all) as live:
        with proxy(ouro, f"{silent},{live.address}", "--connect-timeout=100ms") as server:
            for _ in range(3):
                with client(server.addresses[0]) as connection:
                    ask(connection, b"x")
            contains(drained(server)[0], "ETIMEDOUT")


def test_a_target_that_is_killed(ouro):
    """Its connections break, the next ones go elsewhere, and nothing else changes."""
    with ouro.echo() as first, ouro.echo() as second:
        with proxy(ouro, f"{first.address},{second.address}", "--retry=10m",
                   "--retry-max=10m") as server, contextlib.ExitStack() as stack:
            held = [stack.enter_context(client(server.addresses[0])) for _ in range(4)]
            for connection in held:
                ask(connection, b"before")
            first.kill()
            equal(first.wait(timeout=LIMIT), -signal.SIGKILL)
            broken = [connection for connection in held[0::2] if is_closed(connection)]
            equal(len(broken), 2, "connections of the one that was killed")
            for connection in held[1::2]:
                ask(connection, b"after")
            for _ in range(6):
                with client(server.addresses[0]) as connection:
                    ask(connection, b"elsewhere")
            for connection in held:
                connection.close()
            lines = drained(server)
            equal(len(lines), 1, f"messages {lines}")
            contains(lines[0], "ECONNREFUSED")


def test_all_targets_dead(ouro):
    """The client sees a close at once; one that comes back is used at once."""
    with socket.socket() as bound, refusing_address() as dead:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % bound.getsockname()[1]
        with proxy(ouro, f"{address},{dead}", "--retry=10m", "--retry-max=10m") as server:
            for _ in range(3):
                begin = time.monotonic()
                with client(server.addresses[0]) as connection:
                    equal(is_closed(connection), True)
                equal(time.monotonic() - begin < LIMIT / 2, True, "at once")
            bound.listen(8)
            with client(server.addresses[0]) as connection:
                served, _ = bound.accept()
                served.settimeout(LIMIT)
                connection.sendall(b"x")
                equal(served.recv(1), b"x")
                served.close()
            lines = drained(server)
            equal(len([line for line in lines if "no target takes it" in line]), 3, f"{lines}")
            equal(len([line for line in lines if "left out" in line]), 2, f"{lines}")
            contains(lines[-1], "it is back")


def test_a_target_is_tried_again(ouro):
    with socket.socket() as bound, Peer(echo_until_cut) as live:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % bound.getsockname()[1]
        with proxy(ouro, f"{address},{live.address}", "--retry=50ms", "--retry-max=50ms") as server:
            with client(server.addresses[0]) as connection:
                ask(connection, b"x")
            contains(read_line(server.stderr), "left out for 0.050 s")
            bound.listen(8)
            bound.setblocking(False)

            def is_used():
                with client(server.addresses[0]) as connection:
                    connection.sendall(b"x")
                    with contextlib.suppress(BlockingIOError):
                        bound.accept()[0].close()
                        return True
                    return False
            until("the target is used again", is_used)
            contains(read_line(server.stderr), "it is back")


def test_addresses(ouro):
    needs_localhost()
    with Peer(echo_all) as target:
        with proxy(ouro, f"localhost:{target.port}", listen="127.0.0.1:0,[::1]:0") as server:
            for address in server.addresses:
                with client(address) as connection:
                    ask(connection, b"x")
        with proxy(ouro, target.address) as server:
            done = ouro.run("proxy", server.addresses[0], target.address)
            failed_with(done, 1, server.addresses[0], "EADDRINUSE")
            with client(server.addresses[0]) as connection:
                ask(connection, b"still here")


def refuses(path):
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) != 0


def test_files_of_unix_sockets(ouro):
    with directory() as folder, Peer(echo_all) as target:
        path = os.path.join(folder, "listen")
        with proxy(ouro, target.address, listen="unix:" + path) as server:
            failed_with(ouro.run("proxy", "unix:" + path, target.address), 1, "EADDRINUSE")
            server.kill()
            server.wait()
            until("the kernel has closed what it had", lambda: refuses(path))
        equal(os.path.exists(path), True, "the file of the one that was killed")
        with proxy(ouro, target.address, listen="unix:" + path) as server:
            with client("unix:" + path) as connection:
                ask(connection, b"x")
            equal(drained(server), [], "messages")
        equal(os.path.exists(path), False, "the file of the one that ended")
        with open(path, "w", encoding="ascii") as other:
            other.write("not a socket")
        failed_with(ouro.run("proxy", "unix:" + path, target.address), 1, "EADDRINUSE")
        equal(os.path.exists(path), True, "a file that is no socket")


def test_wrong_command_lines(unit):
    for args, part in (
            ((), "say where to listen"),
            (("127.0.0.1:0",), "which targets"),
            (("127.0.0.1:0", "127.0.0.1:1", "x"), "one list"),
            (("127.0.0.1", "127.0.0.1:1"), "'127.0.0.1'"),
            (("127.0.0.1:0,", "127.0.0.1:1"), "''"),
            (("127.0.0.1:0", "127.0.0.1:1,,127.0.0.1:2"), "''"),
            (("127.0.0.1:0", "unix:"), "unix:"),
            (("-w", "0", "127.0.0.1:0", "127.0.0.1:1"), "--workers"),
            (("--send-proxy=v3", "127.0.0.1:0", "127.0.0.1:1"), "v1 or v2"),
            (("--balance=random", "127.0.0.1:0", "127.0.0.1:1"), "round-robin"),
            (("--idle-timeout=5", "127.0.0.1:0", "127.0.0.1:1"), "duration"),
            (("--header-timeout=none", "127.0.0.1:0", "127.0.0.1:1"), "duration"),
            (("--max=0", "127.0.0.1:0", "127.0.0.1:1"), "--max"),
            (("--max-per-peer=-1", "127.0.0.1:0", "127.0.0.1:1"), "--max-per-peer"),
            (("--retry=2s", "--retry-max=1s", "127.0.0.1:0", "127.0.0.1:1"), "--retry-max"),
            (("127.0.0.1:0", ",".join(["127.0.0.1:1"] * 65)), "64 targets")):
        failed_with(unit.run("proxy", *args), 2, part)


def test_output_that_cannot_be_written(ouro):
    with open("/dev/full", "wb") as full:
        done = ouro.run("proxy", "127.0.0.1:0", "127.0.0.1:1", stdout=full)
    equal(done.returncode, 1)
    contains(done.err, "cannot write")
