# SPDX-License-Identifier: MIT
from example import Example, connect, end, port_of, receive_all
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import sys

MODES = ("requests", "tasks")
HOST = b"Host: here\r\n"


@contextlib.contextmanager
def served(example, mode="requests", seconds="20"):
    with example.start("127.0.0.1:0", mode, seconds) as server:
        yield server, port_of(server)


class Client:
    """One connection; reads answers one by one."""

    def __init__(self, port):
        self.peer = connect(port)
        self.file = self.peer.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.peer.close()

    def send(self, data):
        self.peer.sendall(data)

    def answer(self, to_head=False):
        """(status, headers, body)"""
        status = int(re.fullmatch(rb"HTTP/1\.1 (\d+) .*\r\n", self.file.readline()).group(1))
        headers = {}
        while (line := self.file.readline()) != b"\r\n":
            name, value = line.decode().rstrip("\r\n").split(": ", 1)
            headers[name.lower()] = value
        size = 0 if to_head or status == 100 else int(headers["content-length"])
        return status, headers, self.file.read(size)

    def ask(self, data, to_head=False):
        self.send(data)
        return self.answer(to_head)

    def is_at_end(self):
        return self.file.read(1) == b""


def post(body, headers=b""):
    return (b"POST /echo HTTP/1.1\r\n" + HOST + headers +
            b"Content-Length: %d\r\n\r\n" % len(body) + body)


def chunked(parts):
    return (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" +
            b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b"")))


GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
HELLO = b"hello, world\n"


def refusal(port, data):
    """The status of the answer to a request that ends the connection."""
    with Client(port) as client:
        client.send(data)
        status, headers, _ = client.answer()
        assert headers["connection"] == "close", headers
        assert client.is_at_end()
        return status


def test_it_answers_and_keeps_the_connection(example):
    for mode in MODES:
        with served(example, mode) as (_, port), Client(port) as client:
            for _ in range(3):
                status, headers, body = client.ask(GET)
                assert (status, body) == (200, HELLO)
                assert "connection" not in headers and "date" in headers, headers
            status, headers, body = client.ask(GET.replace(b"GET", b"HEAD"), to_head=True)
            assert (status, headers["content-length"], body) == (200, "13", b"")
            assert client.ask(post(b"some\0bytes"))[2] == b"some\0bytes"
            assert client.ask(chunked((b"one ", b"two ", b"three")))[2] == b"one two three"
            assert client.ask(GET.replace(b"/ ", b"/nowhere "))[0] == 404
            status, headers, _ = client.ask(GET.replace(b"GET", b"DELETE"))
            assert (status, headers["allow"]) == (405, "GET, HEAD")
            assert client.ask(b"GET /?q=1 HTTP/1.1\r\n" + HOST + b"\r\n")[0] == 200


def test_a_connection_ends_when_the_client_wants_it(example):
    for mode in MODES:
        with served(example, mode) as (_, port):
            assert refusal(port, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) == 200
            assert refusal(port, b"GET / HTTP/1.0\r\n\r\n") == 200
            with Client(port) as client:
                old = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
                for _ in range(2):
                    status, headers, _ = client.ask(old)
                    assert (status, headers["connection"]) == (200, "keep-alive")


def test_pipelined_requests_are_answered_in_order(example):
    bodies = [b"%d" % number * (number % 50) for number in range(500)]
    for mode in MODES:
        with served(example, mode) as (_, port), Client(port) as client:
            client.send(b"".join(post(body) if number % 2 else chunked((body,) if body else ())
                                 for number, body in enumerate(bodies)))
            for body in bodies:
                assert client.answer()[::2] == (200, body)


def test_any_split_of_the_bytes_gives_the_same_answers(example):
    data = GET + chunked((b"a" * 20, b"b")) + post(b"c" * 9)
    with served(example) as (_, port), Client(port) as client:
        client.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for size in (1, 2, 3, 7, 50):
            for at in range(0, len(data), size):
                client.send(data[at:at + size])
            answers = [client.answer()[2] for _ in range(3)]
            assert answers == [HELLO, b"a" * 20 + b"b", b"c" * 9], answers


def test_a_body_is_sent_when_the_server_wants_it(example):
    with served(example) as (_, port):
        with Client(port) as client:
            request = post(b"later", b"Expect: 100-continue\r\n")
            assert client.ask(request[:-5])[0] == 100
            assert client.ask(b"later")[::2] == (200, b"later")
            assert client.ask(request)[::2] == (200, b"later")  # it has not waited
            assert client.ask(GET)[0] == 200
        too_large = b"POST /echo HTTP/1.1\r\n" + HOST
        too_large += b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
        assert refusal(port, too_large) == 413
        assert refusal(port, post(b"", b"Expect: a-miracle\r\n")) == 417


def test_what_is_too_large_is_refused(example):
    with served(example) as (_, port):
        line = b"GET / HTTP/1.1\r\n" + HOST
        assert refusal(port, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n") == 414
        assert refusal(port, line + b"A: " + b"b" * 9000 + b"\r\n\r\n") == 431
        assert refusal(port, line + b"a" * 9000 + b": b\r\n\r\n") == 431
        assert refusal(port, line + b"A: b\r\n" * 200 + b"\r\n") == 431
        assert refusal(port, line + b"A:" + b" " * 40000 + b"b\r\n\r\n") == 431
        assert refusal(port, b"POST /echo HTTP/1.1\r\n" + HOST +
                       b"Content-Length: 1048577\r\n\r\n") == 413
        assert refusal(port, chunked([b"x" * 65536] * 17)) == 413
        assert refusal(port, b"POST /echo HTTP/1.1\r\n" + HOST +
                       b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 9000 + b"\r\n") == 431
        largest = bytes(range(256)) * 4096
        with Client(port) as client:
            assert client.ask(post(largest))[::2] == (200, largest)
            assert client.ask(chunked([largest[:1000]] * 1000))[::2] == (200, largest[:1000] * 1000)


MALFORMED = (
    b"\0\1\2\3\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",  # no host
    b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    b"GET / HTTP/1.1\n" + HOST + b"A B: c\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"A\0: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"A: b\0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1x\r\n\r\nx",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    # A line that ends with CR alone: a proxy before us may see one header less.
    b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rTransfer-Encoding: chunked\r\n\r\n",
)


def test_malformed_requests_are_refused(example):
    for mode in MODES:
        with served(example, mode) as (_, port):
            for data in MALFORMED:
                assert refusal(port, data) in (400, 505), data
                # A request before it is answered first.
                with Client(port) as client:
                    client.send(GET + data)
                    assert client.answer()[0] == 200, data
                    assert client.answer()[0] in (400, 505), data
                    assert client.is_at_end()
            assert refusal(port, b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n") == 501
            with Client(port) as client:  # an offer of another protocol is passed over
                upgrade = b"Connection: upgrade\r\nUpgrade: h2c\r\n"
                assert client.ask(GET.replace(HOST, HOST + upgrade))[0] == 200
                assert client.ask(GET)[0] == 200


def test_a_request_that_does_not_end_is_cut(example):
    """In the middle of the line, of the headers, and of a body."""
    for mode in MODES:
        with served(example, mode, "0.2") as (_, port), contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(port)) for _ in range(3)]
            for client, data in zip(clients, (b"GET /", GET[:-2], post(b"body")[:-1])):
                client.send(data)
            idle = stack.enter_context(Client(port))
            for client in clients:
                assert client.answer()[0] == 408
                assert client.is_at_end()
            assert idle.ask(GET)[0] == 200  # it had not begun one


def test_clients_that_vanish_harm_nobody(example):
    for mode in MODES:
        with served(example, mode) as (server, port):
            for data in (b"", GET, GET[:9], post(b"x" * 1000)[:-1], GET * 2000):
                with connect(port) as peer:
                    peer.sendall(data)
                with connect(port) as peer:
                    peer.sendall(data)
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            with Client(port) as client:
                assert client.ask(GET)[0] == 200
            assert server.poll() is None


def test_the_drain_answers_what_has_begun(example):
    with served(example) as (server, port), Client(port) as busy, Client(port) as idle:
        request = post(b"body", b"Expect: 100-continue\r\n")
        assert idle.ask(GET)[0] == 200
        assert busy.ask(request[:-4])[0] == 100
        server.send_signal(signal.SIGTERM)
        assert idle.is_at_end()
        status, headers, body = busy.ask(b"body")
        assert (status, headers["connection"], body) == (200, "close", b"body")
        assert busy.is_at_end()
        assert server.wait(20) == 0


def test_answers_to_a_pipeline_are_one_write(example):
    """A receive of the whole pipeline gives all answers in one piece."""
    with served(example) as (_, port), Client(port) as client:
        client.ask(GET)
        client.send(GET * 20)
        parts = [client.peer.recv(65536)]
        assert parts[0].count(HELLO) == 20, parts


def test_wrk_drives_it(example):
    if shutil.which("wrk") is None:
        print("skipped: wrk is not installed", file=sys.stderr)
        sys.exit(77)
    for mode in MODES:
        with served(example, mode) as (server, port):
            done = subprocess.run(["wrk", "-t1", "-c64", "-d1s", f"http://127.0.0.1:{port}/"],
                                  capture_output=True, text=True, timeout=40, check=False)
            assert done.returncode == 0, done
            assert "Socket errors" not in done.stdout and "Non-2xx" not in done.stdout, done.stdout
            assert int(re.search(r"(\d+) requests in", done.stdout).group(1)) > 100, done.stdout
            assert end(server) == 0


def test_wrong_arguments_are_refused(example):
    assert isinstance(example, Example)
    assert example.run("127.0.0.1:0", "neither").returncode == 2
    done = example.run("127.0.0.1:nonsense")
    assert done.returncode == 1, done
    assert done.stderr.startswith("http_server: "), done
