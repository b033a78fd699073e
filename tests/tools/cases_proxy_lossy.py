# SPDX-License-Identifier: MIT
"""ouro proxy over a network that loses, delays, reorders and doubles packets, on both sides."""
import os
import socket
import threading

from blackbox import LIMIT, Peer, equal, read_all, until
from lossy_link import HERE, THERE, LossyLink
from proxying import client, drained, proxy, take

SIZES = (0, 1, 1000, 20000, 100000)


def header_of(connection):
    """The header of version 2 that the proxy sent, for an IPv4 client."""
    header = take(connection, 28)
    equal(header[:16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c")
    return socket.inet_ntoa(header[16:20]), int.from_bytes(header[24:26], "big")


def test_every_byte_arrives(ouro):
    """Random bytes in both directions at the same time, and either side ends first."""
    received, answers = {}, {}

    def serve(connection):
        peer = header_of(connection)
        answer = answers.setdefault(peer, os.urandom(SIZES[peer[1] % len(SIZES)]))
        sender = threading.Thread(target=lambda: (connection.sendall(answer),
                                                  connection.shutdown(socket.SHUT_WR)))
        sender.start()
        received[peer] = read_all(connection)
        sender.join(LIMIT)

    with LossyLink(loss=0.03, double=0.01, delay_s=0.004) as link, \
            Peer(serve, address=(HERE, 0)) as target:
        with proxy(ouro, target.address, "--send-proxy=v2", "-w", "2", "--connect-timeout=20s",
                   listen=f"{THERE}:0", preexec_fn=link.enter_there) as server:
            failures = []

            def talk(number):
                try:
                    data = os.urandom(SIZES[number % len(SIZES)])
                    with client(server.addresses[0]) as connection:
                        me = connection.getsockname()
                        seen = []
                        reader = threading.Thread(target=lambda: seen.append(read_all(connection)),
                                                  daemon=True)
                        reader.start()
                        connection.sendall(data)
                        connection.shutdown(socket.SHUT_WR)
                        reader.join(3 * LIMIT)
                        equal(seen == [answers[me]], True, "what the target sent")
                        until("the target has all", lambda: me in received)
                        equal(received[me] == data, True, "what the client sent")
                except BaseException as error:  # reported below
                    failures.append(error)
            clients = [threading.Thread(target=talk, args=(i,), daemon=True) for i in range(10)]
            for thread in clients:
                thread.start()
            for thread in clients:
                thread.join(3 * LIMIT)
            if failures:
                raise failures[0]
            equal(len(received), 10, "connections that the target saw to their ends")
            equal(drained(server), [], "messages")
        for what in ("lost", "doubled", "overtaken"):
            equal(link.counts[what] > 2, True, f"packets: {link.counts}")
