# SPDX-License-Identifier: MIT
"""ouro bench churn and storm: connections that are made to be closed."""
import json
import signal
import socket

from blackbox import (Peer, echo_all, ended, equal, refusing_address, reset, take,
                      unanswered_address, until)
from cases_bench import bench, connecting_to, failing


def test_churn(ouro):
    with ouro.echo() as server:
        for load in ((), ("--fin",), ("-s", 32768), ("--rate", 100000)):
            result = bench(ouro, "churn", server.address, "-c", 8, "--count", 200, "--pid",
                           server.pid, *load)
            equal((result["bench"], result["unit"], result["done"], result["lost"],
                   result["errors"], result["connections"]),
                  ("churn", "connection", 200, 0, {}, 8))
            equal(result["server"]["pid"], server.pid)


def test_each_connection_is_a_new_one(ouro):
    """One echo each, ended by a reset or by a FIN as asked for."""
    for load, end in (((), "reset"), (("--fin",), "fin")):
        ends = []

        def once(connection):
            connection.sendall(connection.recv(64, socket.MSG_WAITALL))
            try:
                equal(connection.recv(1), b"", "the end")
                ends.append("fin")
            except ConnectionResetError:
                ends.append("reset")
        with Peer(serve=once) as peer:
            bench(ouro, "churn", peer.address, "-c", 4, "--count", 40, *load)
            until("40 ends", lambda: len(ends) == 40)
        equal(ends, [end] * 40)
        equal(len(peer.peers), 40)


def test_churn_that_goes_wrong(ouro):
    def corrupt(connection):
        connection.sendall(bytes(64))
        take(connection)

    def leave(connection):
        connection.sendall(connection.recv(64, socket.MSG_WAITALL)[:10])
    for serve, name in ((corrupt, "WRONG_BYTES"), (leave, "EARLY_END")):
        with Peer(serve=serve) as peer:
            result = failing(ouro, "churn", peer.address, "-c", 2, "--count", 6)
        equal((result["done"], result["lost"], result["errors"]), (0, 6, {name: 6}))
    with Peer() as peer:
        result = failing(ouro, "churn", peer.address, "-c", 2, "--count", 6, "--timeout", "200ms")
    equal((result["done"], result["lost"], result["errors"]), (0, 6, {"ETIMEDOUT": 6}))
    with Peer(serve=reset) as peer:
        result = failing(ouro, "churn", peer.address, "-c", 2, "--count", 6)
    # A reset can come before connect has returned, or before the message was written.
    equal((result["lost"], set(result["errors"]) <= {"ECONNRESET", "EPIPE", "ECONNREFUSED"}),
          (6, True), f"{result}")


def test_refused(ouro):
    with refusing_address() as address:
        for kind in ("storm", "churn"):
            result = failing(ouro, kind, address, "--count", 50)
            equal((result["done"], result["lost"], result["errors"]),
                  (0, 50, {"ECONNREFUSED": 50}))


def test_storm(ouro):
    with Peer(serve=take) as peer:
        result = bench(ouro, "storm", peer.address, "-c", 8, "--count", 300)
        equal((result["bench"], result["unit"], result["done"], result["lost"], result["errors"],
               "size" in result), ("storm", "connect", 300, 0, {}, False))
        until("300 connections", lambda: len(peer.peers) == 300)


def test_rate_counts_what_was_due(ouro):
    with ouro.echo() as server:
        for kind in ("storm", "churn"):
            result = bench(ouro, kind, server.address, "--rate", 500, "-d", "400ms", "--warm-up",
                           "0s", "--timeout", "20s")
            equal((result["done"], result["unsent"], result["secs"]), (200, 0, 0.4))


def test_unix(ouro):
    with Peer(serve=echo_all, family=socket.AF_UNIX, address="") as peer:
        name = "unix:@" + peer.listener.getsockname()[1:].decode()
        equal(bench(ouro, "churn", name, "--count", 100)["done"], 100)


def test_interrupted(ouro):
    with unanswered_address() as address:
        with ouro.start("bench", "storm", address, "--timeout", "1h", "--json") as process:
            port = int(address.rsplit(":", 1)[1])
            until("64 connects under way", lambda: connecting_to(port) >= 64)
            equal(ended(process, signal.SIGINT), 130)
            result = json.loads(process.stdout.read())
    equal((result["interrupted"], result["done"], result["lost"], result["errors"]),
          (True, 0, 0, {}))
