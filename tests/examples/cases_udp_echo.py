# SPDX-License-Identifier: MIT
from example import LIMIT_S, port_of
import socket


def peer_of(port):
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.settimeout(LIMIT_S)
    peer.connect(("127.0.0.1", port))
    return peer


def test_it_sends_each_datagram_back_to_its_sender(example):
    with example.start("127.0.0.1:0") as server:
        port = port_of(server)
        peers = [peer_of(port) for _ in range(5)]
        for size in (0, 1, 1400, 10000):
            for number, peer in enumerate(peers):
                peer.send(bytes([number]) * size)
            for number, peer in enumerate(peers):
                assert peer.recv(65536) == bytes([number]) * size
        for peer in peers:
            peer.close()


def test_it_outlives_a_sender_that_has_gone(example):
    with example.start("127.0.0.1:0") as server:
        port = port_of(server)
        for _ in range(20):
            peer = peer_of(port)
            peer.send(b"gone")
            peer.close()
        peer = peer_of(port)
        peer.send(b"here")
        assert peer.recv(100) == b"here"
        peer.close()


def test_an_address_that_cannot_be_had_is_an_error(example):
    done = example.run("127.0.0.1:nonsense")
    assert done.returncode == 1, done
    assert done.stderr.startswith("udp_echo: "), done
