# SPDX-License-Identifier: MIT
from example import connect, end, port_of, receive_all
import signal
import socket


def refused(port):
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


def test_connections_end_by_themselves_in_the_grace_time(example):
    with example.start("127.0.0.1:0", "20") as server:
        port = port_of(server)
        with connect(port) as client:
            client.sendall(b"one")
            assert client.recv(3, socket.MSG_WAITALL) == b"one"
            server.send_signal(signal.SIGTERM)
            assert server.stdout.readline() == "shutting down, 1 open\n"
            assert refused(port)
            client.sendall(b"two")  # the connection is still served
            assert client.recv(3, socket.MSG_WAITALL) == b"two"
            client.shutdown(socket.SHUT_WR)
            assert receive_all(client) == b""
        assert server.stdout.readline() == "all have ended\n"
        assert server.wait(20) == 0


def test_what_is_left_after_it_is_told_and_cut_off(example):
    with example.start("127.0.0.1:0", "0.1") as server:
        with connect(port_of(server)) as client:
            client.sendall(b"one")
            assert client.recv(3, socket.MSG_WAITALL) == b"one"
            server.send_signal(signal.SIGINT)
            assert receive_all(client) == b"the server is going down\n"
        assert server.stdout.readline() == "shutting down, 1 open\n"
        assert server.stdout.readline() == "the rest was cut off\n"
        assert server.wait(20) == 0


def test_without_connections_it_ends_at_once(example):
    with example.start("127.0.0.1:0", "60") as server:
        port_of(server)
        assert end(server) == 0
        assert server.stdout.read() == "shutting down, 0 open\nall have ended\n"
