# SPDX-License-Identifier: MIT
"""What the command prints: JSON of any bytes, long messages, output that cannot be written."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import tempfile
import termios

from blackbox import (LIMIT, Peer, contains, ended, equal, refusing_address, take,
                      unanswered_address)

# Bytes on a command line or in a path, and what JSON shows of them.  Each byte that is part of no
# valid UTF-8 sequence is one U+FFFD.
BYTES = [
    (b"plain", "plain"),
    ("caf\u00e9 \u20ac \U0001f600".encode(), "caf\u00e9 \u20ac \U0001f600"),
    (b"caf\xe9", "caf\ufffd"),  # Latin-1
    (b"\xe2\x82", "\ufffd\ufffd"),  # cut within a character
    (b"\xc0\xaf", "\ufffd\ufffd"),  # longer than need be
    (b"\xed\xa0\x80", "\ufffd" * 3),  # a surrogate
    (b"\xf4\x90\x80\x80", "\ufffd" * 4),  # beyond Unicode
    (b"\xff\xfea", "\ufffd\ufffda"),
    (b'"\\\x01\x7f', '"\\\x01\x7f'),
]


def test_json_of_any_bytes(ouro):
    """A Unix path is any bytes; the result comes all the same, and the exit status is the same."""
    with tempfile.TemporaryDirectory() as folder:
        for name, shown in BYTES:
            path = os.path.join(folder.encode(), name)
            target, wanted = b"unix:" + path, "unix:" + os.path.join(folder, shown)
            done, result = ouro.json("connect", "--json", "--trace", target)
            equal((done.returncode, result["error"], result["target"]), (1, "ENOENT", wanted))
            with Peer(serve=take, family=socket.AF_UNIX, address=path):
                done, result = ouro.json("connect", "--json", "--trace", target)
                equal((done.returncode, result["target"], result["peer"],
                       result["attempts"][0]["address"]), (0, wanted, wanted, wanted))
                done, result = ouro.json("connect", "--json", "--count=3", target)
                equal((done.returncode, result["target"]), (0, wanted))
                done = ouro.run("connect", "--json", "--relay", target, stdin=b"")
                equal((done.returncode, json.loads(done.err)["target"]), (0, wanted))


def test_json_of_a_name_of_any_bytes(ouro):
    done, result = ouro.json("connect", "--json", "--trace", b"caf\xe9.invalid:80")
    equal((done.returncode, result["connected"], result["target"]),
          (1, False, "caf\ufffd.invalid:80"))
    # The trace keeps the beginning of a name, which may end within a character.
    done, result = ouro.json("connect", "--json", "--trace", "\u20ac" * 40 + ".invalid:80")
    equal((done.returncode, result["connected"]), (1, False))


def test_messages_about_long_targets(ouro):
    """The reason comes last, and it is never cut off."""
    host = "x" * 60 + "." + "y" * 60 + ".invalid"
    for target in (host + ":80", "z" * 5000 + ":80"):
        done = ouro.run("connect", target)
        contains(done.err, target)
        contains(done.err, "(EAI_" if target.startswith(host) else "neither HOST:PORT")
    path = "unix:" + "p" * 20000
    done = ouro.run("connect", path)
    equal(done.returncode, 2)
    contains(done.err, path)
    contains(done.err, "name too long")


def lines_of_output():
    """Command lines that print something, and end by themselves."""
    lines = [[], ["connect"], ["serve"], ["probe"]]
    lines = [words + [option] for words in lines for option in ("--help", "--usage", "--version")]
    return lines + [["probe"], ["probe", "--json"]]


def test_output_that_cannot_be_written(unit):
    """A full disk, and a closed stdout: neither ends with exit status 0, and both are told."""
    for words in lines_of_output():
        with open("/dev/full", "wb") as full:
            done = unit.run(*words, stdout=full)
        equal(done.returncode, 1, " ".join(words))
        equal(done.err.count("cannot write the result"), 1, done.err)
        contains(done.err.lower(), "no space left")
        done = unit.run(*words, preexec_fn=lambda: os.close(1))
        equal(done.returncode, 1, " ".join(words))
        equal(done.err.count("cannot write the result"), 1, done.err)


def test_results_that_cannot_be_written(ouro):
    with Peer(serve=take) as peer, open("/dev/full", "wb") as full:
        for words in ([], ["--json"], ["--count=5"], ["--count=5", "--json"]):
            done = ouro.run("connect", *words, peer.address, stdout=full)
            equal(done.returncode, 1, " ".join(words))
            equal(done.err.count("cannot write the result"), 1, done.err)
        done = ouro.run("serve", "echo", "127.0.0.1:0", stdout=full)
        equal(done.returncode, 1)
        equal(done.err.count("cannot write the result"), 1, done.err)
        # The trace is a result too, and goes to stderr.
        equal(ouro.run("connect", "--trace", peer.address, stderr=full).returncode, 1)


def test_failures_count_without_stderr(ouro):
    """The exit status of a failure does not depend on its message."""
    with refusing_address() as address, open("/dev/full", "wb") as full:
        for more in ({"stderr": full}, {"preexec_fn": lambda: os.close(2)}):
            equal(ouro.run("connect", address, **more).returncode, 1)
            equal(ouro.run("connect", "nonsense", **more).returncode, 2)


class Terminal:
    """A terminal of so many columns; what was written on it, and how it looks like."""

    def __init__(self, columns):
        self.columns = columns
        self.main, self.fd = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.main)
        os.close(self.fd)

    def read(self):
        equal(bool(select.select([self.main], [], [], LIMIT)[0]), True, "something on the terminal")
        return os.read(self.main, 4096)


def test_progress_fits_the_terminal(ouro):
    """Never as wide as the terminal, so that it does not wrap and the next one draws over it."""
    for columns in (200, 80, 40, 20, 7, 0):
        with Terminal(columns) as terminal, unanswered_address() as address:
            with ouro.start("connect", "--count", "4000000000", address,
                            stderr=terminal.fd) as process:
                drawn = b""
                while drawn.count(b"\r") < 3:
                    drawn += terminal.read()
                equal(ended(process, signal.SIGINT), 130)
        for line in drawn.decode().split("\r")[1:-1]:
            text = re.fullmatch(r"\x1b\[K(.*)", line)[1]
            equal(len(text) < (columns or 80), True, f"{text!r} on {columns} columns")
            equal(text.strip() != "", True, "something is shown")
            if columns >= 80:
                contains(text, "[....")
                contains(text, " 0 of 4000000000 ")


def test_progress_on_a_stopped_terminal(ouro):
    """^S stops the terminal, not the measurement."""
    with Terminal(80) as terminal, unanswered_address() as address:
        termios.tcflow(terminal.fd, termios.TCOOFF)
        done, result = ouro.json("connect", "--count", "4", "--timeout", "300ms", "--json", address,
                                 stderr=terminal.fd)
        equal((done.returncode, result["errors"]), (1, {"ETIMEDOUT": 4}))
