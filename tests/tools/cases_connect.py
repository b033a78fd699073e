# SPDX-License-Identifier: MIT
"""ouro connect: one connection, its success and its ways to fail."""
import errno
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

from blackbox import (FACTOR, LIMIT, Peer, Skip, contains, equal, failed_with, needs_localhost,
                      read_all, refusing_address, unanswered_address, until, without_uring)


def connected(done):
    equal((done.returncode, done.out, done.err), (0, "created stream\n", ""))


def test_created_stream(ouro):
    with Peer() as peer:
        connected(ouro.run("connect", peer.address))
        until("one accepted connection", lambda: len(peer.peers) == 1)


def test_the_default_address(ouro):
    """In a network of its own, where port 6142 is free."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        raise Skip("needs unshare(1) and ip(8)")
    if subprocess.run(["unshare", "-rn", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("no network namespaces here")
    script = """
        set -e
        ip link set lo up
        mkfifo "$2/ready"
        "$1" serve echo > "$2/ready" &
        read -r line < "$2/ready"
        echo "$line"
        status=0
        "$1" connect --driver="$3" || status=$?
        kill $!
        wait $!
        exit $status"""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["unshare", "-rn", "sh", "-c", script, "sh", ouro.path, folder,
                               ouro.driver], capture_output=True, text=True, timeout=LIMIT)
    equal((done.returncode, done.stdout), (0, "listening on 127.0.0.1:6142\ncreated stream\n"),
          done.stderr)


def test_ipv6(ouro):
    with Peer(family=socket.AF_INET6, address=("::1", 0)) as peer:
        connected(ouro.run("connect", peer.address))


def test_a_name(ouro):
    needs_localhost()
    with Peer() as peer:
        connected(ouro.run("connect", "localhost:%d" % peer.port))


def test_a_name_without_address(ouro):
    # ".invalid" has no names, by RFC 6761.
    failed_with(ouro.run("connect", "nothing.invalid:80"), 1, "nothing.invalid:80: ", "EAI_")


def test_refused(ouro):
    with refusing_address() as address:
        done = ouro.run("connect", address)
    failed_with(done, 1)
    if not re.fullmatch(r"ouro connect: %s: [^()]+ \(ECONNREFUSED\) after \d+\.\d{3} ms\n" %
                        re.escape(address), done.err):
        raise AssertionError(done.err)


def test_each_address_tried_has_a_line(ouro):
    needs_localhost()
    with refusing_address() as address:
        port = address.rsplit(":", 1)[1]
        found = {info[4][0] for info in socket.getaddrinfo("localhost", port,
                                                           type=socket.SOCK_STREAM)}
        done = ouro.run("connect", "localhost:" + port)
    failed_with(done, 1, "127.0.0.1:%s: " % port)
    lines = done.err.splitlines()
    equal(len(lines), len(found), done.err)
    for line in lines:
        contains(line, "ouro connect: localhost:%s: " % port)
        contains(line, " after ")


def in_time(run):
    """@run gives how late it was, in seconds: never early, and within 50 ms unless the machine is
    busy with something else each time."""
    late_by = []
    while len(late_by) < 10 and (not late_by or min(late_by) > 0.05 * FACTOR):
        late_by.append(run())
        if late_by[-1] < 0:
            break
    if not 0 <= min(late_by) <= 0.05 * FACTOR:
        raise AssertionError(f"late by {late_by} s")


def test_the_timeout_ends_it_in_time(ouro):
    with unanswered_address() as address:
        def run():
            begin = time.monotonic()
            done = ouro.run("connect", "--timeout", "300ms", address)
            late_by = time.monotonic() - begin - 0.3
            failed_with(done, 1, address, "(ETIMEDOUT) after ")
            equal(len(done.err.splitlines()), 1, done.err)
            return late_by

        in_time(run)


def test_the_timeout_ends_a_black_hole_in_time(ouro):
    """An address that swallows what is sent to it, and a name server that does."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        raise Skip("needs unshare(1) and ip(8)")
    setup = """
        set -e
        ip link set lo up
        ip route add 198.51.100.0/24 dev lo  # what comes back is not ours, and dropped
        mount --bind "$1/resolv.conf" /etc/resolv.conf
        mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
        shift
        """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("resolv.conf", "nameserver 198.51.100.2\n"),
                           ("nsswitch.conf", "hosts: files dns\n")):
            with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                file.write(text)
        shell = ["unshare", "-rnm", "sh", "-c"]
        if subprocess.run(shell + [setup, "sh", folder], capture_output=True).returncode != 0:
            raise Skip("no network and mount namespaces here")
        # Timed inside, so that making the namespaces does not count.
        script = setup + 'before=$(date +%s%N); set +e; "$@"; echo $? $(($(date +%s%N) - before))'

        def run(address):
            done = subprocess.run(shell + [script, "sh", folder, ouro.path, "connect", address,
                                           "--timeout=300ms", "--driver=" + ouro.driver],
                                  capture_output=True, text=True, timeout=LIMIT)
            code, elapsed = done.stdout.split()
            equal(code, "1")
            contains(done.stderr, address + ": ")
            contains(done.stderr, "(ETIMEDOUT)")
            return int(elapsed) / 1e9 - 0.3

        in_time(lambda: run("198.51.100.9:80"))
        in_time(lambda: run("somewhere.example:80"))


def test_a_timeout_that_is_not_reached(ouro):
    with Peer() as peer:
        connected(ouro.run("connect", "--timeout", "10s", peer.address))


def test_only_ipv4_and_only_ipv6(ouro):
    needs_localhost()
    with Peer() as peer:
        done, result = ouro.json("connect", "-4", "--json", "localhost:%d" % peer.port)
        equal((done.returncode, result["peer"]), (0, peer.address))
        failed_with(ouro.run("connect", "-6", peer.address), 1, "OURO_ENOADDRESS")
        connected(ouro.run("connect", "-4", "-6", peer.address))
    with Peer(family=socket.AF_INET6, address=("::1", 0)) as peer:
        connected(ouro.run("connect", "-6", peer.address))
        failed_with(ouro.run("connect", "-4", peer.address), 1, "OURO_ENOADDRESS")


def test_from_an_address(ouro):
    with Peer() as peer:
        for address in ("127.0.0.2", "127.0.0.3:0"):
            done, result = ouro.json("connect", "--from", address, "--json", peer.address)
            equal(done.returncode, 0)
            contains(result["local"], address.split(":")[0] + ":")
        until("two accepted connections", lambda: len(peer.peers) == 2)
        equal([host for host, _ in peer.peers], ["127.0.0.2", "127.0.0.3"])
        # TEST-NET-1: an address of nobody's.
        failed_with(ouro.run("connect", "--from", "192.0.2.1", peer.address), 1, "EADDRNOTAVAIL")
    with Peer(family=socket.AF_INET6, address=("::1", 0)) as peer:
        connected(ouro.run("connect", "--from", "::1", peer.address))


def test_unix(ouro):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        failed_with(ouro.run("connect", "unix:" + path), 1, "unix:" + path + ": ", "ENOENT")
        with Peer(family=socket.AF_UNIX, address=path):
            connected(ouro.run("connect", "unix:" + path))
        failed_with(ouro.run("connect", "unix:" + path), 1, "ECONNREFUSED")
    name = "ouro-test-%d" % os.getpid()
    with Peer(family=socket.AF_UNIX, address="\0" + name):
        done, result = ouro.json("connect", "--json", "unix:@" + name)
        equal((done.returncode, result["connected"], result["peer"]), (0, True, "unix:@" + name))


def test_json_of_a_success(ouro):
    with Peer() as peer:
        done, result = ouro.json("connect", "--json", peer.address)
        until("the accepted connection", lambda: peer.peers)
        equal((done.returncode, done.err), (0, ""))
        equal(set(result), {"connected", "target", "driver", "driver_reason", "us", "attempts",
                            "local", "peer"})
        equal((result["connected"], result["target"], result["peer"]),
              (True, peer.address, peer.address))
        equal(result["local"], "%s:%d" % peer.peers[0])
        equal(result["driver"], ouro.driver)
        equal(bool(result["driver_reason"]), ouro.driver == "epoll")
        attempt, = result["attempts"]
        equal((attempt["address"], attempt["error"]), (peer.address, None))
        if not 0 < attempt["duration_us"] <= result["us"]:
            raise AssertionError(result)


def test_json_of_a_failure(ouro):
    with refusing_address() as address:
        done, result = ouro.json("connect", "--json", address)
    equal((done.returncode, done.err), (1, ""))
    equal((result["connected"], result["error"]), (False, "ECONNREFUSED"))
    if not result["message"]:
        raise AssertionError(result)
    equal([(attempt["address"], attempt["error"]) for attempt in result["attempts"]],
          [(address, "ECONNREFUSED")])


def test_the_stream_is_closed_at_the_end(ouro):
    received = []
    with Peer(serve=lambda connection: received.append(read_all(connection))) as peer:
        connected(ouro.run("connect", peer.address))
        until("the end of the stream", lambda: received)
    equal(received, [b""])


def test_a_result_that_cannot_be_written(ouro):
    with Peer() as peer, open("/dev/full", "wb") as full:
        for more in ([], ["--json"]):
            done = ouro.run("connect", *more, peer.address, stdout=full)
            equal(done.returncode, 1)
            contains(done.err, "cannot write")


def test_uring_refused(unit):
    """By a seccomp filter: chosen by itself, epoll does the work; demanded, uring says why not."""
    with Peer() as peer:
        for error in (errno.EPERM, errno.ENOSYS):
            refused = {"preexec_fn": without_uring(error)}
            done, result = unit.json("connect", "--json", peer.address, **refused)
            equal((done.returncode, result["driver"]), (0, "epoll"))
            contains(result["driver_reason"], errno.errorcode[error])
            done = unit.run("connect", "--driver=uring", peer.address, **refused)
            failed_with(done, 1, "OURO_ENODRIVER", "why: ", errno.errorcode[error])


def test_epoll_makes_no_uring_call(unit):
    """Where such a call would kill."""
    with Peer() as peer:
        refused = {"preexec_fn": without_uring("kill")}
        connected(unit.run("connect", "--driver=epoll", peer.address, **refused))
        done = unit.run("connect", "--driver=uring", peer.address, **refused)
        equal(done.returncode, -31, "the filter kills (SIGSYS)")
