# SPDX-License-Identifier: MIT
"""ouro proxy and the PROXY protocol: headers from clients, headers to targets, chains."""
import os
import socket
import struct
import time

from blackbox import LIMIT, Peer, contains, equal, read_all
from proxying import client, directory, drained, is_closed, last_line, proxy, take

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(family, source, target):
    return f"PROXY {family} {source[0]} {target[0]} {source[1]} {target[1]}\r\n".encode()


def v2(source, target, family=socket.AF_INET):
    addresses = socket.inet_pton(family, source[0]) + socket.inet_pton(family, target[0])
    addresses += struct.pack("!HH", source[1], target[1])
    kind = 0x11 if family == socket.AF_INET else 0x21
    return SIGNATURE + struct.pack("!BBH", 0x21, kind, len(addresses)) + addresses


class Recorder(Peer):
    """A target that keeps all that each connection brings, and answers with as many bytes."""

    def __init__(self, *args):
        self.seen = []
        super().__init__(self.record, *args)

    def record(self, connection):
        data = read_all(connection)
        self.seen.append(data)
        connection.sendall(b"r" * len(data))


def exchange(address, *parts):
    """Sends each part in a segment of its own, ends, and reads the answer to its end."""
    with client(address) as connection:
        names = connection.getsockname(), connection.getpeername()
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        return *names, len(read_all(connection))


def test_headers_are_sent(ouro):
    for version, make in (("v1", None), ("v2", None)):
        for listen, family, name in (("127.0.0.1:0", socket.AF_INET, "TCP4"),
                                     ("[::1]:0", socket.AF_INET6, "TCP6")):
            with Recorder() as target, proxy(ouro, target.address, "--send-proxy=" + version,
                                             listen=listen) as server:
                source, to, _ = exchange(server.addresses[0], b"hello")
                source, to = source[:2], to[:2]
                make = v1(name, source, to) if version == "v1" else v2(source, to, family)
                equal(target.seen, [make + b"hello"])
                source, to, _ = exchange(server.addresses[0])  # without a byte of its own
                source, to = source[:2], to[:2]
                make = v1(name, source, to) if version == "v1" else v2(source, to, family)
                equal(target.seen[1], make)


def test_ipv4_clients_of_an_ipv6_listener(ouro):
    with Recorder() as target, proxy(ouro, target.address, "--send-proxy=v1",
                                     listen="[::]:0") as server:
        source, to, _ = exchange(f"127.0.0.1:{server.port}", b"x")
        equal(target.seen, [v1("TCP4", source, to) + b"x"])


def test_headers_of_unix_connections(ouro):
    with directory() as folder, Recorder(socket.AF_UNIX, folder + "/t") as target:
        path = folder + "/listen"
        for version in ("v1", "v2"):
            with proxy(ouro, f"unix:{folder}/t", "--send-proxy=" + version,
                       listen="unix:" + path) as server:
                exchange(server.addresses[0], b"x")
                equal(drained(server), [], "messages")
        names = bytes(108) + path.encode().ljust(108, b"\0")
        equal(target.seen, [b"PROXY UNKNOWN\r\nx",
                            SIGNATURE + b"\x21\x31\0\xd8" + names + b"x"])


def test_headers_in_any_pieces(ouro):
    """Nothing of what follows a header is lost, however the bytes come."""
    source, to = ("192.0.2.1", 1111), ("192.0.2.2", 2222)
    long = v2(source, to)
    tlv = b"\x04" + struct.pack("!H", 5000) + bytes(5000)
    long = long[:14] + struct.pack("!H", 12 + len(tlv)) + long[16:] + tlv
    with Recorder() as target, proxy(ouro, target.address, "--accept-proxy") as server:
        for header in (v1("TCP4", source, to), v2(source, to), long, SIGNATURE + b"\x20\0\0\0",
                       b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN what ever\r\n"):
            body = os.urandom(70000)
            pieces = [header[i:i + 1] for i in range(min(len(header), 60))] + [header[60:] + body]
            for parts in ((header + body,), (header, body), pieces, (header[:-1], header[-1:]),
                          (header,)):
                del target.seen[:]
                sent = b"".join(parts)
                _, _, answered = exchange(server.addresses[0], *parts)
                equal(target.seen == [sent[len(header):]], True, "what follows the header")
                equal(answered, len(sent) - len(header))
        equal(drained(server), [], "messages")


BAD = (
    b"GET / HTTP/1.1\r\n\r\n", b"\0", b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
    b"PROXY UNKNOWN " + 100 * b"x", SIGNATURE + b"\x11\x11\0\x0c" + 12 * b"x",
    SIGNATURE + b"\x22\0\0\0", SIGNATURE + b"\x21\x41\0\0", SIGNATURE + b"\x21\x11\0\x0b",
    SIGNATURE + b"\x21\x11\0\x13" + 12 * b"x" + b"\x03\0\x04abcd")


def test_malformed_headers_are_refused(ouro):
    """Closed at once, with a line that says why; the target never hears of it."""
    with directory() as folder, Recorder() as target:
        stats = folder + "/stats"
        with proxy(ouro, target.address, "--accept-proxy", "--header-timeout=10m",
                   "--stats=" + stats) as server:
            for bad in BAD:
                with client(server.addresses[0]) as connection:
                    connection.sendall(bad)
                    equal(is_closed(connection), True, repr(bad))
            for cut in (b"PRO", SIGNATURE, v2(("192.0.2.1", 1), ("192.0.2.2", 2))[:-1]):
                with client(server.addresses[0]) as connection:
                    connection.sendall(cut)
                    connection.shutdown(socket.SHUT_WR)
                    equal(is_closed(connection), True, repr(cut))
            with client(server.addresses[0]) as connection:  # no byte: no message
                connection.shutdown(socket.SHUT_WR)
                equal(is_closed(connection), True)
            lines = drained(server)
        equal(len([line for line in lines if "PROXY header: " in line]), len(BAD) + 3, f"{lines}")
        contains(lines[-1], "the connection ended within it")
        equal(last_line(stats)["bad_header"], len(BAD) + 4)
        equal(target.peers, [])


def test_a_header_that_does_not_come(ouro):
    with Recorder() as target, proxy(ouro, target.address, "--accept-proxy",
                                     "--header-timeout=200ms") as server:
        begin = time.monotonic()
        with client(server.addresses[0]) as silent, client(server.addresses[0]) as slow:
            slow.sendall(b"PROXY TCP4 ")
            equal((is_closed(silent), is_closed(slow)), (True, True))
        equal(time.monotonic() - begin > 0.19, True, "not before its time")
        lines = drained(server)
        equal(len([line for line in lines if "did not come in time" in line]), 2, f"{lines}")
        equal(target.peers, [])


def test_a_chain_names_the_first_client(ouro):
    """Two proxies, one behind the other, in both versions: the target learns of the client."""
    for first_version, second_version in (("v1", "v2"), ("v2", "v1")):
        with Recorder() as target, \
                proxy(ouro, target.address, "--accept-proxy",
                      "--send-proxy=" + second_version) as second, \
                proxy(ouro, second.addresses[0], "--send-proxy=" + first_version) as first:
            source, to, answered = exchange(first.addresses[0], b"body")
            header = v1("TCP4", source, to) if second_version == "v1" else v2(source, to)
            equal(target.seen, [header + b"body"])
            equal(answered, len(header) + 4)


def test_without_addresses_the_connection_itself_counts(ouro):
    with Recorder() as target, proxy(ouro, target.address, "--accept-proxy",
                                     "--send-proxy=v1") as server:
        for header in (b"PROXY UNKNOWN 1.2.3.4 5.6.7.8 9 10\r\n", SIGNATURE + b"\x20\0\0\0",
                       SIGNATURE + b"\x21\0\0\0", SIGNATURE + b"\x21\x12\0\x0c" + 12 * b"x"):
            del target.seen[:]
            source, to, _ = exchange(server.addresses[0], header + b"x")
            equal(target.seen, [v1("TCP4", source, to) + b"x"])


def test_the_target_may_speak_first(ouro):
    """With --send-proxy nothing waits for the client's first byte."""
    def greet(connection):
        take(connection, 28)
        connection.sendall(b"220 ready")
        connection.recv(1)

    with Peer(greet) as target, proxy(ouro, target.address, "--send-proxy=v2") as server, \
            client(server.addresses[0]) as connection:
        equal(take(connection, 9), b"220 ready")


def test_per_peer_counts_by_the_header(ouro):
    with Peer(lambda connection: take(connection, 1) and connection.sendall(b"y") or
              connection.recv(1)) as target, \
            proxy(ouro, target.address, "--accept-proxy", "--max-per-peer=1") as server:
        to = ("192.0.2.9", 9)
        with client(server.addresses[0]) as first, client(server.addresses[0]) as again, \
                client(server.addresses[0]) as other:
            first.sendall(v1("TCP4", ("192.0.2.1", 1), to) + b"x")
            equal(take(first, 1), b"y")
            again.sendall(v1("TCP4", ("192.0.2.1", 2), to) + b"x")
            equal(is_closed(again), True)
            other.sendall(v2(("192.0.2.2", 1), to) + b"x")
            equal(take(other, 1), b"y")
            first.settimeout(LIMIT)
        lines = drained(server)
        equal(len(lines), 1, f"{lines}")
        contains(lines[0], "192.0.2.1:2: refused")
