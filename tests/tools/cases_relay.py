# SPDX-License-Identifier: MIT
"""ouro connect --relay: stdin and stdout of every kind, ends of both sides in every order."""
import contextlib
import fcntl
import hashlib
import os
import pty
import random
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
import tty

from blackbox import (LIMIT, Peer, contains, echo_all, ended, equal, failed_with, read_all,
                      read_line, refusing_address, reset, until)

SAID = "created stream\n"
BIG = random.Random(6142).randbytes(8 << 20)


def relayed(done, data):
    equal(done.returncode, 0, f"exit status ({done.err!r})")
    equal(done.err, SAID, "stderr")
    if done.stdout != data:
        raise AssertionError(f"{len(done.stdout)} bytes instead of {len(data)}, or other ones")


def is_nonblocking(fd):
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK != 0


def test_echo(ouro):
    with Peer(serve=echo_all) as peer:
        relayed(ouro.run("connect", "--relay", peer.address, stdin=b"hi\n"), b"hi\n")


def test_nothing_at_all(ouro):
    with Peer(serve=echo_all) as peer:
        relayed(ouro.run("connect", "--relay", peer.address, stdin=b""), b"")


def test_much_data_both_ways(ouro):
    with Peer(serve=echo_all) as peer:
        relayed(ouro.run("connect", "--relay", peer.address, stdin=BIG), BIG)


def test_much_data_through_a_unix_socket(ouro):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        with Peer(serve=echo_all, family=socket.AF_UNIX, address=path):
            relayed(ouro.run("connect", "--relay", "unix:" + path, stdin=BIG), BIG)


def test_answer_after_the_end_of_stdin(ouro):
    """The peer answers only when it has seen the end: the write half alone was shut down."""
    def digest(connection):
        connection.sendall(hashlib.sha256(read_all(connection)).hexdigest().encode() + BIG)

    with Peer(serve=digest) as peer:
        relayed(ouro.run("connect", "--relay", peer.address, stdin=BIG),
                hashlib.sha256(BIG).hexdigest().encode() + BIG)


def test_peer_ends_first(ouro):
    """Its end leaves stdin to be sent on."""
    received = []

    def speak_then_listen(connection):
        connection.sendall(b"greetings")
        connection.shutdown(socket.SHUT_WR)
        received.append(read_all(connection))

    with Peer(serve=speak_then_listen) as peer:
        with ouro.start("connect", "--relay", peer.address) as process:
            equal(process.stdout.read(len(b"greetings")), b"greetings")
            process.stdin.write(b"and ")
            process.stdin.flush()
            process.stdin.write(b"farewell")
            process.stdin.close()
            equal(ended(process), 0)
            equal(process.stdout.read(), b"")
    equal(received, [b"and farewell"])


def test_files(ouro):
    with Peer(serve=echo_all) as peer, tempfile.TemporaryFile() as source, \
            tempfile.TemporaryFile() as sink:
        source.write(BIG)
        source.seek(0)
        done = ouro.run("connect", "--relay", peer.address, stdin=source, stdout=sink)
        equal((done.returncode, done.err), (0, SAID))
        sink.seek(0)
        equal(sink.read() == BIG, True, "the same bytes")


def test_a_file_is_appended_to(ouro):
    """stdout goes on where the shell's redirection stands: `{ echo a; ouro ...; } > file`."""
    with Peer(serve=echo_all) as peer, tempfile.TemporaryFile() as sink:
        sink.write(b"before ")
        sink.flush()
        done = ouro.run("connect", "--relay", peer.address, stdin=b"after", stdout=sink)
        equal(done.returncode, 0)
        sink.seek(0)
        equal(sink.read(), b"before after")


def test_dev_null(ouro):
    with Peer(serve=echo_all) as peer:
        relayed(ouro.run("connect", "--relay", peer.address, stdin=subprocess.DEVNULL), b"")
        done = ouro.run("connect", "--relay", peer.address, stdin=b"into the void",
                        stdout=subprocess.DEVNULL)
        equal((done.returncode, done.err), (0, SAID))


def test_sockets_as_stdin_and_stdout(ouro):
    ours, theirs = socket.socketpair()
    with Peer(serve=echo_all) as peer, ours, theirs:
        with ouro.start("connect", "--relay", peer.address, stdin=theirs,
                        stdout=theirs) as process:
            writer = threading.Thread(target=lambda: (ours.sendall(BIG),
                                                      ours.shutdown(socket.SHUT_WR)), daemon=True)
            writer.start()
            received = bytearray()
            while len(received) < len(BIG):
                received += ours.recv(1 << 16)
                equal(is_nonblocking(theirs.fileno()), False, "the shared socket is non-blocking")
            writer.join(LIMIT)
            equal(ended(process), 0)
    equal(bytes(received) == BIG, True, "the same bytes")


def test_flags_of_shared_pipes_stay(ouro):
    """What the shell shares never becomes non-blocking, not even by being killed."""
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        with Peer(serve=echo_all) as peer, contextlib.ExitStack() as stack:
            for fd in (in_read, out_read, out_write):
                stack.callback(os.close, fd)
            process = stack.enter_context(ouro.start("connect", "--relay", peer.address,
                                                     stdin=in_read, stdout=out_write))
            os.write(in_write, b"x")
            equal(os.read(out_read, 1), b"x")
            equal((is_nonblocking(in_read), is_nonblocking(out_write)), (False, False), "during")
            if number is None:
                os.close(in_write)
                equal(ended(process), 0)
            else:
                equal(ended(process, number), -number)
                os.close(in_write)
            equal((is_nonblocking(in_read), is_nonblocking(out_write)), (False, False), "after")


def test_a_terminal(ouro):
    main, terminal = pty.openpty()
    tty.setraw(terminal)
    with Peer(serve=echo_all) as peer, contextlib.ExitStack() as stack:
        stack.callback(os.close, main)
        stack.callback(os.close, terminal)
        process = stack.enter_context(ouro.start("connect", "--relay", peer.address, stdin=terminal,
                                                 stdout=terminal))
        for word in (b"one", b"two"):
            os.write(main, word)
            seen = b""
            while len(seen) < len(word):
                equal(bool(select.select([main], [], [], LIMIT)[0]), True, "an answer")
                seen += os.read(main, 100)
            equal(seen, word)
        equal(is_nonblocking(terminal), False, "the terminal is non-blocking")
        equal(ended(process, signal.SIGTERM), -signal.SIGTERM)
        equal(is_nonblocking(terminal), False, "the terminal is non-blocking")


def test_a_slow_reader_of_stdout(ouro):
    """Nothing is lost while nobody reads: the pipe fills, the stream fills, the peer waits."""
    sent = threading.Event()

    def send_all(connection):
        connection.sendall(BIG)
        connection.shutdown(socket.SHUT_WR)
        sent.set()
        read_all(connection)

    with Peer(serve=send_all) as peer:
        with ouro.start("connect", "--relay", peer.address) as process:
            process.stdin.close()
            read_line(process.stderr)
            equal(sent.wait(0.2), False, "the peer could send all to nobody")
            equal(process.stdout.read() == BIG, True, "the same bytes")
            equal(ended(process), 0)


def test_reader_of_stdout_has_gone(ouro):
    with Peer(serve=echo_all) as peer:
        with ouro.start("connect", "--relay", peer.address) as process:
            equal(read_line(process.stderr), SAID)
            process.stdout.close()
            process.stdin.write(b"x")
            process.stdin.flush()
            equal(ended(process), 1)  # though stdin is still open
            contains(process.stderr.read().decode(), "stdout: ")


def test_peer_resets(ouro):
    with Peer(serve=lambda connection: (connection.recv(1), reset(connection))) as peer:
        with ouro.start("connect", "--relay", peer.address) as process:
            process.stdin.write(b"x")
            process.stdin.flush()
            equal(ended(process), 1)
            contains(process.stderr.read().decode(), "ECONNRESET")


def test_refused(ouro):
    with refusing_address() as address:
        failed_with(ouro.run("connect", "--relay", address, stdin=b"x"), 1, "ECONNREFUSED")


def test_closed_stdin_and_stdout(ouro):
    with Peer(serve=echo_all) as peer:
        done = ouro.run("connect", "--relay", peer.address, stdin=None,
                        preexec_fn=lambda: os.close(0))
        failed_with(done, 1, "stdin: ", "EBADF")
        done = ouro.run("connect", "--relay", peer.address, stdin=b"x",
                        preexec_fn=lambda: os.close(1))
        failed_with(done, 1, "stdout: ", "EBADF")


def test_json_goes_to_stderr(ouro):
    with Peer(serve=echo_all) as peer:
        done = ouro.run("connect", "--relay", "--json", peer.address, stdin=b"hi")
        equal((done.returncode, done.stdout), (0, b"hi"))
        contains(done.err, '"connected": true')


def test_timeout_is_for_the_connect_only(ouro):
    with Peer(serve=echo_all) as peer:
        with ouro.start("connect", "--relay", "--timeout", "100ms", peer.address) as process:
            equal(read_line(process.stderr), SAID)
            begin = time.monotonic()
            until("the deadline has passed", lambda: time.monotonic() > begin + 0.15)
            process.stdin.write(b"late")
            process.stdin.close()
            equal(process.stdout.read(), b"late")
            equal(ended(process), 0)
