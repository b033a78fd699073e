# SPDX-License-Identifier: MIT
from example import LIMIT_S, port_of
import contextlib
import signal
import socket


class Member:
    def __init__(self, port, name):
        self.peer = socket.socket()
        self.peer.settimeout(LIMIT_S)
        if name == "slow":  # has small buffers
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.peer.connect(("127.0.0.1", port))
        self.file = self.peer.makefile("rb")
        assert self.line() == "name?"
        self.say(name)

    def line(self):
        return self.file.readline().decode().rstrip("\n")

    def say(self, text):
        self.peer.sendall(text.encode() + b"\n")

    def close(self):
        self.file.close()
        self.peer.close()


@contextlib.contextmanager
def room(example, *names):
    """Members in the order of their names; each has seen those after it come."""
    with example.start("127.0.0.1:0") as server:
        port = port_of(server)
        members = []
        for name in names:
            members.append(Member(port, name))
            for member in members[:-1]:
                assert member.line() == f"* {name} has come"
            # It is in the room when its own line reaches the one before it.
            if members[:-1]:
                members[-1].say("here")
                for member in members[:-1]:
                    assert member.line() == f"{name}: here"
        yield server, port, members
        for member in members:
            member.close()


def test_lines_go_to_everybody_else(example):
    with room(example, "ada", "ben", "cleo") as (_, _, (ada, ben, cleo)):
        ada.say("hello")
        ben.peer.sendall(b"with CR\r\n")
        assert ben.line() == "ada: hello"
        assert [cleo.line(), cleo.line()] == ["ada: hello", "ben: with CR"]
        assert ada.line() == "ben: with CR"
        ben.close()
        assert ada.line() == cleo.line() == "* ben has left"


def test_names_are_checked(example):
    with room(example, "ada") as (_, port, _):
        for name in ("ada", "", "a b", "x" * 33, "x" * 5000, "\0"):
            other = Member(port, name)
            assert other.line() == "* not that name", name
            assert other.line() == ""
            other.close()


def test_a_line_that_is_too_long_ends_its_member(example):
    with room(example, "ada", "ben") as (_, _, (ada, ben)):
        ben.say("x" * 5000)
        assert ben.line() == "* that line is too long"
        assert ada.line() == "* ben has left"


def test_who_reads_too_slowly_is_told_and_dropped(example):
    """The others go on at their own speed meanwhile."""
    with room(example, "slow", "ada", "ben") as (_, port, (slow, ada, ben)):
        lines = 0
        while True:
            ada.peer.sendall((b"x" * 1000 + b"\n") * 20)
            got = [ben.line() for _ in range(20)]
            lines += 20
            if "* slow was too slow" in got:
                break
            assert set(got) == {"ada: " + "x" * 1000}
            assert lines < 10000
        assert slow.file.read().endswith(b"* you read too slowly\n")
        again = Member(port, "slow")  # the name is free
        assert ada.line() == "* slow was too slow"
        again.close()


def test_members_who_vanish_harm_nobody(example):
    with room(example, "ada", "ben") as (server, port, (ada, ben)):
        for number in range(20):
            guest = Member(port, f"guest{number}")
            assert ada.line() == f"* guest{number} has come"
            guest.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            guest.close()
            assert ada.line() == f"* guest{number} has left"
        ben.say("still here")
        assert ada.line() == "ben: still here"
        assert server.poll() is None


def test_the_end_of_the_server_is_told(example):
    with room(example, "ada", "ben") as (server, _, (ada, ben)):
        server.send_signal(signal.SIGTERM)
        for member in (ada, ben):
            rest = member.file.read()
            assert b"* the server is going down\n" in rest, rest
        assert server.wait(LIMIT_S) == 0


def test_an_address_that_cannot_be_had_is_an_error(example):
    done = example.run("127.0.0.1:nonsense")
    assert done.returncode == 1, done
    assert done.stderr.startswith("chat_server: "), done
