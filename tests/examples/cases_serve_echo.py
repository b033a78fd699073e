# SPDX-License-Identifier: MIT
from example import connect, receive_all
import pathlib
import re
import signal
import socket
import time


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def connect_to(server, port):
    """The program does not say when it listens."""
    while True:
        try:
            return connect(port)
        except ConnectionRefusedError:
            assert server.poll() is None, server.stderr.read()
            time.sleep(0.01)


def test_it_serves_and_drains(example):
    data = bytes(range(256)) * 400
    port = free_port()
    with example.start(f"127.0.0.1:{port}") as server:
        with connect_to(server, port) as peer, connect(port) as other:
            peer.sendall(data[:8])
            assert peer.recv(8, socket.MSG_WAITALL) == data[:8]
            server.send_signal(signal.SIGTERM)
            other.sendall(data)
            other.shutdown(socket.SHUT_WR)
            assert receive_all(other) == data
            assert server.poll() is None
            peer.shutdown(socket.SHUT_WR)
            assert receive_all(peer) == b""
        assert server.wait(20) == 0


def test_an_address_that_cannot_be_had_is_an_error(example):
    assert example.run("127.0.0.1:nonsense").returncode == 1
    assert example.run().returncode == 1


def test_it_has_at_most_twenty_lines(example):
    source = pathlib.Path(__file__).parents[2] / "examples" / "serve_echo.c"
    code = re.sub(r"/\*.*?\*/", "", source.read_text(encoding="utf-8"), flags=re.S)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 20, lines
