# SPDX-License-Identifier: MIT
"""ouro bench relay: messages through proxies that behave, and through some that do not."""
import contextlib
import signal
import socket
import threading

from blackbox import (LIMIT, Peer, contains, ended, equal, failed_with, read_line,
                      refusing_address)
from cases_bench import bench, failing


@contextlib.contextmanager
def free_address():
    """An address that stays ours until the command listens there."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        yield "127.0.0.1:%d" % bound.getsockname()[1]


def copy(source, target, change, ends):
    """One direction: what @change makes of each part; the end only if @ends."""
    with contextlib.suppress(OSError):
        while part := source.recv(1 << 16):
            target.sendall(change(part))
        if ends:
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(there=lambda part: part, back=lambda part: part, ends=True, before=lambda address: None):
    """A proxy's address and its sink's."""
    with free_address() as sink:
        host, port = sink.split(":")

        def serve(connection):
            before((host, int(port)))
            with contextlib.suppress(ConnectionRefusedError), \
                    socket.create_connection((host, int(port)), timeout=LIMIT) as onward:
                onward.settimeout(None)
                other = threading.Thread(target=copy, args=(onward, connection, back, ends))
                other.start()
                copy(connection, onward, there, ends)
                other.join(LIMIT)
        with Peer(serve=serve) as peer:
            yield peer.address, sink


def test_both_ways(ouro):
    for load in (("-s", 32), ("-s", 1000, "-P", 40), ("-s", 100000, "-P", 2), ("--rate", 5000)):
        for directions, both in ((1, ()), (2, ("--both",))):
            with proxy() as (address, sink):
                result = bench(ouro, "relay", address, "--sink", sink, "-c", 3, "--count", 300,
                               *load, *both)
            equal([result[key] for key in ("bench", "unit", "connections", "directions", "done",
                                           "lost", "unsent", "errors")],
                  ["relay", "message", 3, directions, 300, 0, 0, {}])


def test_through_our_own_proxy(ouro):
    with free_address() as sink:
        with ouro.start("proxy", "--driver=" + ouro.driver, "127.0.0.1:0", sink) as process:
            address = read_address(process)
            result = bench(ouro, "relay", address, "--sink", sink, "-c", 5, "--count", 1000,
                           "--both", "--pid", process.pid)
            equal((result["done"], result["server"]["pid"]), (1000, process.pid))
            equal(ended(process, signal.SIGTERM), 0)


def read_address(process):
    return read_line(process.stdout).split()[2]


def test_text(ouro):
    with proxy() as (address, sink):
        done = ouro.run("bench", "relay", address, "--sink", sink, "--count", 50, "--both")
    equal((done.returncode, done.err), (0, ""))
    for part in ("relay " + address, "16384 bytes, depth 4, both directions", "50 messages in"):
        contains(done.out, part)


def corrupt(after):
    """Changes one bit of the byte at an offset."""
    seen = [0]

    def change(part):
        begin, seen[0] = seen[0], seen[0] + len(part)
        if begin <= after < seen[0]:
            part = bytearray(part)
            part[after - begin] ^= 1
        return part
    return change


def test_wrong_bytes(ouro):
    for wrong, both in (({"there": corrupt(5000)}, ()), ({"there": corrupt(5000)}, ("--both",)),
                        ({"back": corrupt(5000)}, ("--both",))):
        with proxy(**wrong) as (address, sink):
            result = failing(ouro, "relay", address, "--sink", sink, "-c", 1, "-s", 1000,
                             "--count", 100, *both)
        equal(result["errors"].get("WRONG_BYTES"), 1, f"{result}")


def test_an_end_that_is_not_relayed(ouro):
    """All messages come, and then nothing: it is an error of the proxy."""
    with proxy(ends=False) as (address, sink):
        result = failing(ouro, "relay", address, "--sink", sink, "-c", 1, "--count", 5,
                         "--timeout", "300ms")
    equal((result["done"], result["errors"]), (5, {"ETIMEDOUT": 1}))


def test_strangers_at_the_sink(ouro):
    """Others connect to the sink before the proxy does: one leaves, one says something."""
    def knock(address):
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(address, timeout=LIMIT).close()
            with socket.create_connection(address, timeout=LIMIT) as stranger:
                stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    stranger.recv(1)
    with proxy(before=knock) as (address, sink):
        equal(bench(ouro, "relay", address, "--sink", sink, "-c", 2, "--count", 50)["done"], 50)


def test_what_cannot_be_opened(ouro):
    with refusing_address() as address, free_address() as sink:
        failed_with(ouro.run("bench", "relay", address, "--sink", sink), 1, address, sink,
                    "connection 1 of 10", "ECONNREFUSED")
    with Peer() as peer, free_address() as sink:  # connects to nothing
        failed_with(ouro.run("bench", "relay", peer.address, "--sink", sink, "--timeout", "200ms"),
                    1, "connection 1 of 10", "ETIMEDOUT")
    with Peer() as peer:  # the sink's address is taken
        failed_with(ouro.run("bench", "relay", peer.address, "--sink", peer.address), 1,
                    "EADDRINUSE")
