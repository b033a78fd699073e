# SPDX-License-Identifier: MIT
"""ouro connect --count: the storm of connects and what it reports."""
import json
import os
import pty
import resource
import select
import signal
import socket
import tempfile

from blackbox import (LIMIT, Peer, contains, ended, equal, needs_localhost, refusing_address, take,
                      unanswered_address, until)

KEYS = {"target", "driver", "count", "concurrency", "connected", "failed", "interrupted", "rate",
        "secs", "cpu_us", "p50", "p90", "p99", "p999", "max", "errors"}


def sockets_to_port(port):
    """State, as /proc/net/tcp numbers them, of each socket connected to a TCP port, by its local
    address.  There may be old ones: a port is used again while they are still in TIME_WAIT."""
    states = {}
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            _, local, remote, state = line.split()[:4]
            if int(remote.split(":")[1], 16) == port:
                states[local] = int(state, 16)
    return states


def test_json(ouro):
    with Peer(serve=take) as peer:
        done, result = ouro.json("connect", "--count", "500", "--concurrency", "16", "--json",
                                 peer.address)
        equal((done.returncode, done.err), (0, ""))
        equal(set(result), KEYS)
        equal((result["count"], result["concurrency"], result["connected"], result["failed"],
               result["interrupted"], result["errors"], result["driver"]),
              (500, 16, 500, 0, False, {}, ouro.driver))
        until("500 accepted connections", lambda: len(peer.peers) == 500)
        if not (0 < result["p50"] <= result["p90"] <= result["p99"] <= result["p999"]
                <= result["max"]):
            raise AssertionError(result)
        if not (result["max"] < result["secs"] * 1e6 and result["cpu_us"] > 0):
            raise AssertionError(result)
        expected = 500 / result["secs"]
        if abs(result["rate"] - expected) > expected / 1000:
            raise AssertionError(result)


def test_no_socket_waits_for_its_time(ouro):
    with Peer(serve=take) as peer:
        before = sockets_to_port(peer.port)
        equal(ouro.run("connect", "--count", "50", peer.address).returncode, 0)
        TIME_WAIT = 6
        equal([local for local, state in sockets_to_port(peer.port).items()
               if state == TIME_WAIT and local not in before], [])


def test_text(ouro):
    with Peer(serve=take) as peer:
        done = ouro.run("connect", "--count", "20", peer.address)
    equal((done.returncode, done.err), (0, ""))
    for part in ("20 connected, 0 failed", "connects/s", "of CPU per connect", "50 %", "99.9 %"):
        contains(done.out, part)


def test_one_at_a_time(ouro):
    with Peer(serve=take) as peer:
        done, result = ouro.json("connect", "--count", "20", "--concurrency", "1", "--json",
                                 peer.address)
    equal((done.returncode, result["connected"], result["concurrency"]), (0, 20, 1))


def test_refused(ouro):
    with refusing_address() as address:
        done, result = ouro.json("connect", "--count", "200", "--json", address)
        equal((done.returncode, result["connected"], result["failed"], result["errors"],
               result["rate"]), (1, 0, 200, {"ECONNREFUSED": 200}, 0))
        done = ouro.run("connect", "--count", "200", address)
        equal(done.returncode, 1)
        contains(done.out, "200  ECONNREFUSED  ")


def test_timeout_of_each_connect(ouro):
    with unanswered_address() as address:
        done, result = ouro.json("connect", "--count", "4", "--concurrency", "2", "--timeout",
                                 "100ms", "--json", address)
    equal((done.returncode, result["errors"]), (1, {"ETIMEDOUT": 4}))
    if not 0.2 <= result["secs"] < LIMIT:
        raise AssertionError(result)


def test_interrupted(ouro):
    """With connects under way that would never end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with unanswered_address() as address:
            with ouro.start("connect", "--count", "1000", "--json", address) as process:
                port = int(address.rsplit(":", 1)[1])
                SYN_SENT = 2
                until("64 connects under way", lambda:
                      list(sockets_to_port(port).values()).count(SYN_SENT) >= 64)
                equal(ended(process, number), 128 + number)
                result = json.loads(process.stdout.read())
        equal((result["interrupted"], result["connected"], result["failed"]), (True, 0, 0))


def test_what_came_ignored_stays_ignored(ouro):
    """SIGINT under nohup or in the background of a script: only SIGTERM ends the storm."""
    with unanswered_address() as address:
        with ouro.start("connect", "--count", "1000", "--json", address, preexec_fn=lambda:
                        signal.signal(signal.SIGINT, signal.SIG_IGN)) as process:
            port = int(address.rsplit(":", 1)[1])
            SYN_SENT = 2
            until("64 connects under way", lambda:
                  list(sockets_to_port(port).values()).count(SYN_SENT) >= 64)
            process.send_signal(signal.SIGINT)
            equal(ended(process, signal.SIGTERM), 128 + signal.SIGTERM)


def test_progress_on_a_terminal(ouro):
    main, terminal = pty.openpty()
    try:
        with unanswered_address() as address:
            with ouro.start("connect", "--count", "1000", address, stderr=terminal) as process:
                drawn = b""
                while b"0 of 1000" not in drawn:
                    equal(bool(select.select([main], [], [], LIMIT)[0]), True, "a bar")
                    drawn += os.read(main, 4096)
                equal(ended(process, signal.SIGINT), 130)
                contains(process.stdout.read().decode(), "(interrupted)")
    finally:
        os.close(main)
        os.close(terminal)


def test_a_name(ouro):
    needs_localhost()
    with Peer(serve=take) as peer:
        done, result = ouro.json("connect", "-4", "--count", "30", "--json",
                                 "localhost:%d" % peer.port)
        equal((done.returncode, result["connected"]), (0, 30))
    done = ouro.run("connect", "--count", "30", "--json", "nothing.invalid:1")
    equal((done.returncode, done.out), (1, ""))
    contains(done.err, "EAI_")


def test_unix(ouro):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        with Peer(serve=take, family=socket.AF_UNIX, address=path):
            done, result = ouro.json("connect", "--count", "100", "--json", "unix:" + path)
    equal((done.returncode, result["connected"]), (0, 100))


def test_few_descriptors(ouro):
    """A shortage is counted, not fatal."""
    with unanswered_address() as address:
        done, result = ouro.json(
            "connect", "--count", "60", "--concurrency", "60", "--timeout", "200ms", "--json",
            address, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
    equal((done.returncode, result["failed"]), (1, 60))
    equal(set(result["errors"]), {"ETIMEDOUT", "EMFILE"})
