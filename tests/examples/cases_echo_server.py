# SPDX-License-Identifier: MIT
from example import connect, port_of, receive_all
import socket


def test_it_sends_back_what_each_connection_sends(example):
    data = bytes(range(256)) * 400
    with example.start("127.0.0.1:0") as server:
        port = port_of(server)
        peers = [connect(port) for _ in range(5)]
        for peer in peers:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
        for peer in peers:
            assert receive_all(peer) == data
            peer.close()


def test_an_address_that_cannot_be_had_is_an_error(example):
    done = example.run("127.0.0.1:nonsense")
    assert done.returncode == 1, done
    assert done.stderr.startswith("echo_server: "), done
