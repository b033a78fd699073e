# SPDX-License-Identifier: MIT
"""ouro proxy: how it ends."""
import contextlib
import os
import signal
import socket
import threading
import time

from blackbox import (LIMIT, Peer, contains, echo_all, equal, ended, unanswered_address, until)
from proxying import (ask, client, counts, directory, drained, echo_until_cut, is_closed, lines_of,
                      proxy, until_counts)


def refuses(address):
    try:
        client(address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except ConnectionResetError:  # it came while the listener was being closed
        pass
    return False


def test_drain(ouro):
    """After the signal nobody new comes in, and who is in finishes."""
    for number, workers in ((signal.SIGTERM, "1"), (signal.SIGINT, "2")):
        with directory() as folder, Peer(echo_all) as target, \
                proxy(ouro, target.address, "-w", workers,
                      listen=f"127.0.0.1:0,unix:{folder}/listen") as server, \
                contextlib.ExitStack() as stack:
            held = [stack.enter_context(client(server.addresses[i % 2])) for i in range(6)]
            for connection in held:
                ask(connection, b"before")
            server.send_signal(number)
            for address in server.addresses:
                until("new connections are refused", lambda a=address: refuses(a))
            for connection in held:
                ask(connection, os.urandom(100000))
                connection.shutdown(socket.SHUT_WR)
                equal(connection.recv(1), b"", "the end")
            equal(ended(server), 0)
            equal(lines_of(server), [], "messages")


def test_what_is_in_the_backlog_is_served(ouro):
    """Connections that the kernel had completed when the signal came are not reset."""
    with directory() as folder, Peer(echo_all) as target, \
            proxy(ouro, target.address, listen=f"127.0.0.1:0,unix:{folder}/listen") as server, \
            contextlib.ExitStack() as stack:
        server.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.pid, os.WSTOPPED)
        waiting = [stack.enter_context(client(server.addresses[i % 2])) for i in range(40)]
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGCONT)
        for connection in waiting:
            ask(connection, b"x")
            connection.close()
        equal(ended(server), 0)


def test_ends_at_once_without_connections(ouro):
    with Peer(echo_all) as target, proxy(ouro, target.address) as server:
        begin = time.monotonic()
        equal(ended(server, signal.SIGTERM), 0)
        equal(time.monotonic() - begin < LIMIT / 2, True, "no grace time")


def cut_off(server, held, count):
    for connection in held:
        equal(is_closed(connection), True)
    equal(ended(server), 1)
    contains(lines_of(server)[-1], f"{count} connections were cut off")


def test_grace_time(ouro):
    with Peer(echo_until_cut) as target, proxy(ouro, target.address, "--grace=300ms") as server, \
            contextlib.ExitStack() as stack:
        held = [stack.enter_context(client(server.addresses[0])) for _ in range(3)]
        for connection in held:
            ask(connection, b"x")
        begin = time.monotonic()
        server.send_signal(signal.SIGTERM)
        cut_off(server, held, 3)
        equal(time.monotonic() - begin > 0.28, True, "not before its time")


def test_second_signal(ouro):
    for grace in ("--grace=10m", "--grace=none"):
        with Peer(echo_until_cut) as target, \
                proxy(ouro, target.address, grace, "-w", "2") as server, \
                contextlib.ExitStack() as stack:
            held = [stack.enter_context(client(server.addresses[0])) for _ in range(3)]
            for connection in held:
                ask(connection, b"x")
            server.send_signal(signal.SIGTERM)
            until("new connections are refused", lambda: refuses(server.addresses[0]))
            until_counts(server, active=3)
            for connection in held:
                ask(connection, b"still here")
            server.send_signal(signal.SIGINT)
            cut_off(server, held, 3)


def test_end_in_the_middle_of_a_connect(ouro):
    """Also a connection that waits for its header, or for a target, is cut off."""
    with unanswered_address() as silent, \
            proxy(ouro, silent, "--connect-timeout=none", "--grace=100ms") as server, \
            client(server.addresses[0]) as connection:
        until("it is accepted", lambda: counts(server)["active"] == 1)
        server.send_signal(signal.SIGTERM)
        cut_off(server, [connection], 1)
    with Peer(echo_until_cut) as target, \
            proxy(ouro, target.address, "--accept-proxy", "--header-timeout=10m",
                  "--grace=100ms") as server, client(server.addresses[0]) as connection:
        until("it is accepted", lambda: counts(server)["active"] == 1)
        server.send_signal(signal.SIGTERM)
        cut_off(server, [connection], 1)


def test_under_load(ouro):
    """A drain while clients come and go: each is served to its end or refused as a whole."""
    with Peer(echo_until_cut) as target, proxy(ouro, target.address, "-w", "2") as server:
        results, stop = [], threading.Event()

        def churn():
            while not stop.is_set():
                try:
                    connection = client(server.addresses[0])
                except ConnectionError:  # refused, or reset while the listener was being closed
                    return
                with connection:
                    try:
                        ask(connection, b"x" * 1000)
                        results.append("served")
                    except ConnectionError:
                        results.append("reset")
        threads = [threading.Thread(target=churn, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        until("some were served", lambda: len(results) > 50)
        server.send_signal(signal.SIGTERM)
        equal(ended(server), 0)
        stop.set()
        for thread in threads:
            thread.join(LIMIT)
        # One that arrives between the last accept and the close is reset by the kernel.
        equal(results.count("reset") <= 4, True, f"{results.count('reset')} resets")


def test_what_came_ignored_stays_ignored(ouro):
    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Peer(echo_all) as target, proxy(ouro, target.address, preexec_fn=ignore) as server:
        server.send_signal(signal.SIGINT)
        with client(server.addresses[0]) as connection:
            ask(connection, b"still here")
        equal(drained(server), [], "messages")
