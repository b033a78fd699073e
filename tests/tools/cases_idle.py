# SPDX-License-Identifier: MIT
"""ouro bench idle: connections that are held, and the memory of the server."""
import json
import signal
import socket

from blackbox import (Peer, contains, ended, equal, failed_with, refusing_address, take, until)
from cases_bench import bench, failing


def test_memory(ouro):
    with ouro.echo() as server:
        result = bench(ouro, "idle", server.address, "-c", 300, "-d", "100ms", "--settle", "100ms",
                       "--pid", server.pid)
    equal((result["bench"], result["unit"], result["connections"], result["done"], result["lost"],
           result["secs"]), ("idle", "connection", 300, 300, 0, 0.1))
    memory = result["memory"]
    equal(set(memory), {"before", "held", "settled", "per_connection"})
    equal(0 < memory["before"] < memory["held"] and memory["settled"] > 0, True, f"{memory}")
    equal(round(memory["per_connection"]), round((memory["held"] - memory["before"]) / 300))


def test_without_a_pid(ouro):
    with ouro.echo() as server:
        result = bench(ouro, "idle", server.address, "-c", 20, "-d", "50ms")
        equal((result["done"], result["memory"], result["server"]), (20, None, None))
        done = ouro.run("bench", "idle", server.address, "-c", 20, "-d", "50ms", "--pid",
                        server.pid)
    equal((done.returncode, done.err), (0, ""))
    for part in ("20 connections held in 0.050 s", "memory: ", "bytes for each connection"):
        contains(done.out, part)


def test_all_are_open_at_the_same_time(ouro):
    """Each brings one message before the time, and one after it."""
    received, most = [], [0]

    def count(connection):
        received.append(0)
        number = len(received) - 1
        while part := connection.recv(64, socket.MSG_WAITALL):
            received[number] += 1
            most[0] = max(most[0], sum(count == 1 for count in received))
            connection.sendall(part)
    with Peer(serve=count) as peer:
        equal(bench(ouro, "idle", peer.address, "-c", 30, "-d", "50ms", "--fin")["done"], 30)
    equal((received, most[0]), ([2] * 30, 30))


def test_those_that_were_closed_are_lost(ouro):
    def once(connection):
        connection.sendall(connection.recv(64, socket.MSG_WAITALL))

    def corrupt_the_second(connection):
        connection.sendall(connection.recv(64, socket.MSG_WAITALL))
        connection.recv(64, socket.MSG_WAITALL)
        connection.sendall(bytes(64))
        take(connection)
    for serve, names in ((once, {"EARLY_END", "EPIPE", "ECONNRESET"}),
                         (corrupt_the_second, {"WRONG_BYTES"})):
        with Peer(serve=serve) as peer:
            result = failing(ouro, "idle", peer.address, "-c", 10, "-d", "100ms")
        equal((result["done"], result["lost"]), (0, 10), f"{result}")
        equal(set(result["errors"]) <= names, True, f"{result}")


def test_a_server_that_does_not_take_them_all(ouro):
    with refusing_address() as address:
        failed_with(ouro.run("bench", "idle", address, "--json"), 1, "connection 1 of 1000",
                    "ECONNREFUSED")
    with Peer(serve=lambda connection: None) as peer:
        done = ouro.run("bench", "idle", peer.address, "-c", 5)
        equal((done.returncode, done.out), (1, ""))
        contains(done.err, "connection 1 of 5")
    with Peer() as peer:
        failed_with(ouro.run("bench", "idle", peer.address, "-c", 5, "--timeout", "100ms"), 1,
                    "connection 1 of 5", "ETIMEDOUT")


def test_interrupted(ouro):
    """While they are held."""
    with ouro.echo() as server:
        with ouro.start("bench", "idle", server.address, "-c", 20, "-d", "1h", "--pid",
                        server.pid, "--json") as process:
            until("20 connections", lambda: established_to(server.port) == 20)
            equal(ended(process, signal.SIGINT), 130)
            result = json.loads(process.stdout.read())
    equal((result["interrupted"], result["lost"], result["errors"]), (True, 0, {}))


def established_to(port):
    """How many sockets are connected to a port."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split()[:4] for line in list(table)[1:]]
    return sum(state == "01" and int(remote.split(":")[1], 16) == port
               for _, _, remote, state in rows)
