# SPDX-License-Identifier: MIT
from example import connect, listening, port_of, receive_all
import os
import socket
import tempfile


def carry(listener, port):
    """Both directions, and the end of each told apart."""
    data = os.urandom(100000)
    with connect(port) as client:
        client.sendall(b"ping")
        server, _ = listener.accept()
        with server:
            assert server.recv(4, socket.MSG_WAITALL) == b"ping"
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b""
            server.sendall(data)  # goes on after the client's end
            server.shutdown(socket.SHUT_WR)
            assert receive_all(client) == data


def test_it_carries_both_directions(example):
    with listening() as (listener, address), example.start("127.0.0.1:0", address) as relay:
        port = port_of(relay)
        for _ in range(3):
            carry(listener, port)


def test_it_carries_to_a_unix_socket(example):
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = os.path.join(folder, "socket")
        listener.bind(path)
        listener.listen()
        listener.settimeout(20)
        with example.start("127.0.0.1:0", "unix:" + path) as relay:
            carry(listener, port_of(relay))


def test_a_target_that_refuses_ends_only_that_connection(example):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # and does not listen
        target = "127.0.0.1:%d" % holder.getsockname()[1]
        with example.start("127.0.0.1:0", target) as relay:
            port = port_of(relay)
            for _ in range(2):
                with connect(port) as client:
                    assert client.recv(1) == b""
                assert relay.stderr.readline() == f"relay: {target}: connection refused\n"


def test_wrong_arguments_are_an_error(example):
    assert example.run().returncode == 2
