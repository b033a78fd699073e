# SPDX-License-Identifier: MIT
"""ouro serve: its modes, starting, serving, running short, ending."""
import contextlib
import errno
import os
import resource
import signal
import socket
import tempfile
import time

from blackbox import LIMIT, contains, ended, equal, failed_with, read_line, until


def client(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
    return connection


def ask(connection, data):
    connection.sendall(data)
    received = b""
    while len(received) < len(data):
        part = connection.recv(1 << 16)
        if not part:
            break
        received += part
    equal(received == data, True, "the same bytes")


def test_echo_and_end(ouro):
    for number in (signal.SIGTERM, signal.SIGINT):
        with ouro.echo() as server:
            with client(server.port) as connection:
                ask(connection, b"hello")
                ask(connection, os.urandom(1 << 20) if number == signal.SIGINT else b"x")
                connection.shutdown(socket.SHUT_WR)
                equal(connection.recv(1), b"", "the end")
            equal(ended(server, number), 0)
            equal((server.stdout.read(), server.stderr.read()), (b"", b""))


def test_echo_of_every_length(ouro):
    """Short messages are read into the task's stack, longer ones on loan."""
    with ouro.echo() as server, client(server.port) as connection:
        for length in (1, 1279, 1280, 1281, 4096, 1279, 100000, 16384, 16385, 1280, 1280, 2):
            ask(connection, os.urandom(length))


def test_what_came_ignored_stays_ignored(ouro):
    """As under nohup, or in the background of a script: SIGINT is ignored by who starts it."""
    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for workers in ("1", "2"):
        with ouro.echo("--workers", workers, preexec_fn=ignore) as server:
            server.send_signal(signal.SIGINT)
            with client(server.port) as connection:
                ask(connection, b"still here")
            equal(server.poll(), None, "its end")
            equal(ended(server, signal.SIGTERM), 0)


def test_our_own_client(ouro):
    with ouro.echo() as server:
        done = ouro.run("connect", "--relay", server.address, stdin=b"hi\n")
        equal((done.returncode, done.stdout), (0, b"hi\n"))


def test_ends_with_connections_open(ouro):
    with ouro.echo() as server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(client(server.port)) for _ in range(50)]
        for connection in connections:
            ask(connection, b"here")
        equal(ended(server, signal.SIGTERM), 0)
        for connection in connections:
            equal(connection.recv(1), b"", "the end")


def test_many_connections(ouro):
    with ouro.echo() as server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(client(server.port)) for _ in range(300)]
        for i, connection in enumerate(connections):
            connection.sendall(b"%d " % i)
        for i, connection in enumerate(connections):
            equal(connection.recv(100), b"%d " % i)


def test_several_workers(ouro):
    with ouro.echo("--workers", "3") as server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(client(server.port)) for _ in range(60)]
        for i, connection in enumerate(connections):
            connection.sendall(b"%d " % i)
        for i, connection in enumerate(connections):
            equal(connection.recv(100), b"%d " % i)
        # Main, three workers; a runtime may have more.
        threads = len(os.listdir("/proc/%d/task" % server.pid))
        equal(threads >= 4, True, "%d threads" % threads)
        equal(ended(server, signal.SIGTERM), 0)


def sleeps(server, messages):
    """How often the server sleeps during so many messages, one after the other."""
    def count():
        with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
            return int(next(line for line in status if line.startswith("voluntary")).split()[1])
    with client(server.port) as connection:
        ask(connection, b"x")
        before = count()
        for _ in range(messages):
            ask(connection, b"x")
        return count() - before


def test_dial(ouro):
    """A server that looks for messages sleeps less.  Where others hold the processors it may find
    none in its time, so it is asked more than once."""
    with ouro.echo("--dial", "balanced") as server:
        sleeps(server, 1)
    with ouro.echo("--dial", "throughput") as calm, ouro.echo("--dial", "latency") as eager:
        until("the eager one sleeps less",
              lambda: 2 * sleeps(eager, 300) < sleeps(calm, 300))


def test_ipv6(ouro):
    with ouro.echo(address="[::1]:0") as server:
        contains(server.address, "[::1]:")
        with socket.create_connection(("::1", server.port), timeout=LIMIT) as connection:
            ask(connection, b"hello")


def test_address_in_use(ouro):
    """Whatever the number of workers is: those of one server share the address, two servers do
    not."""
    for first, second in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 3)):
        with ouro.echo("--workers", first) as server:
            done = ouro.run("serve", "echo", "--workers", second, server.address)
            failed_with(done, 1, server.address, "EADDRINUSE")
            with client(server.port) as connection:
                ask(connection, b"still here")
    failed_with(ouro.run("serve", "echo", "192.0.2.1:0"), 1, "EADDRNOTAVAIL")


def cpu_s(pid):
    """CPU time of a process so far, in seconds."""
    with open("/proc/%d/stat" % pid, encoding="ascii") as stat:
        fields = stat.read().rsplit(")")[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_out_of_descriptors(ouro):
    """Newcomers wait in the backlog and are served when others have gone."""
    with ouro.echo(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))) as \
            server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(client(server.port)) for _ in range(60)]
        contains(read_line(server.stderr), "EMFILE")
        ask(connections[0], b"still here")
        # It sleeps between its tries: asking without end would take all of this half second.
        begin, before = time.monotonic(), cpu_s(server.pid)
        until("half a second", lambda: time.monotonic() > begin + 0.5)
        equal(cpu_s(server.pid) - before < 0.2, True, "mostly idle")
        for connection in connections[:40]:
            connection.close()
        for connection in connections[40:]:
            ask(connection, b"at last")
        equal(ended(server, signal.SIGTERM), 0)


def test_output_that_cannot_be_written(ouro):
    with open("/dev/full", "wb") as full:
        done = ouro.run("serve", "echo", "127.0.0.1:0", stdout=full)
    equal(done.returncode, 1)
    contains(done.err, "cannot write")


def test_discard(ouro):
    """Takes everything, says nothing, and closes when the client has ended."""
    with ouro.serve("discard", "127.0.0.1:0") as server:
        with client(server.port) as connection:
            connection.sendall(os.urandom(1 << 21))
            connection.setblocking(False)
            try:
                equal(connection.recv(1), None, "nothing, not even an end")
            except BlockingIOError:
                pass
            connection.settimeout(LIMIT)
            connection.shutdown(socket.SHUT_WR)
            equal(connection.recv(1), b"", "the end")
        equal(ended(server, signal.SIGTERM), 0)


def characters(size):
    """What RFC 864 recommends: lines of 72 of the printable characters, each a step further."""
    printable = bytes(range(ord(" "), ord("~") + 1)) * 2
    lines = b"".join(printable[first:first + 72] + b"\r\n" for first in range(95))
    return (lines * (size // len(lines) + 1))[:size]


def test_chargen(ouro):
    with ouro.serve("chargen", "127.0.0.1:0") as server:
        for half in (None, socket.SHUT_WR):
            with client(server.port) as connection:
                if half is not None:
                    connection.shutdown(half)
                received = bytearray()
                while len(received) < 100000:
                    part = connection.recv(1 << 16)
                    equal(part != b"", True, "no end")
                    received += part
                equal(bytes(received) == characters(len(received)), True, "the pattern")
        until("all connections to end", lambda: len(os.listdir(f"/proc/{server.pid}/fd")) <= fds(
            ouro))
        equal(ended(server, signal.SIGTERM), 0)


def fds(ouro):
    """How many descriptors a server has without connections."""
    with ouro.serve("chargen", "127.0.0.1:0") as server:
        return len(os.listdir(f"/proc/{server.pid}/fd"))


def test_chargen_throws_away_what_it_gets(ouro):
    """More than the kernel's buffers hold, while its own characters are not read."""
    with ouro.serve("chargen", "127.0.0.1:0") as server, client(server.port) as connection:
        connection.sendall(bytes(32 << 20))
        equal(connection.recv(1), b" ")


def test_several_addresses(ouro):
    for mode, workers in (("echo", 1), ("echo", 2), ("chargen", 1)):
        with ouro.serve(mode, "127.0.0.1:0", "[::1]:0", "127.0.0.1:0",
                        args=("--workers", workers)) as server:
            contains(server.addresses[1], "[::1]:")
            ports = [int(address.rsplit(":", 1)[1]) for address in server.addresses]
            for host, port in zip(("127.0.0.1", "::1", "127.0.0.1"), ports):
                with socket.create_connection((host, port), timeout=LIMIT) as connection:
                    if mode == "echo":
                        ask(connection, b"hello")
                    else:
                        equal(connection.recv(1), b" ")
            equal(ended(server, signal.SIGTERM), 0)


def test_one_of_several_addresses_in_use(ouro):
    """Then none is served, and the message says which it was."""
    with ouro.echo() as server:
        done = ouro.run("serve", "echo", "127.0.0.1:0", server.address)
        failed_with(done, 1, server.address, "EADDRINUSE")


def test_unix(ouro):
    """A path and an abstract name, besides TCP, for any number of workers."""
    name = "unix:@ouro-serve-%d" % os.getpid()
    for workers in (1, 3):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            with ouro.serve("echo", "unix:" + path, name, "127.0.0.1:0",
                            args=("--workers", workers)) as server:
                equal(server.addresses[:2], ["unix:" + path, name])
                for address in (path, "\0" + name[6:]):
                    with contextlib.ExitStack() as stack:
                        connections = [stack.enter_context(socket.socket(socket.AF_UNIX))
                                       for _ in range(20)]
                        for connection in connections:
                            connection.settimeout(LIMIT)
                            connection.connect(address)
                        for connection in connections:
                            ask(connection, os.urandom(1000))
                        connections[0].shutdown(socket.SHUT_WR)
                        equal(connections[0].recv(1), b"", "the end")
                with client(int(server.addresses[2].rsplit(":", 1)[1])) as connection:
                    ask(connection, b"hello")
                equal(ended(server, signal.SIGTERM), 0)
            equal(os.path.exists(path), False, "the file of the socket")


def refuses(path):
    """Whether nobody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) == errno.ECONNREFUSED


def test_unix_paths(ouro):
    """What a killed server has left is replaced; what another listens on is not, nor a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        with ouro.serve("discard", "unix:" + path) as server:
            failed_with(ouro.run("serve", "echo", "unix:" + path), 1, "unix:" + path, "EADDRINUSE")
            server.kill()
            server.wait()
        equal(os.path.exists(path), True, "it was killed")
        # The kernel releases what a ring has in flight a moment after the end of its process.
        until("the socket to be closed", lambda: refuses(path))
        with ouro.serve("echo", "unix:" + path):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(LIMIT)
                connection.connect(path)
                ask(connection, b"hello")
        os.unlink(path)
        with open(path, "wb"):
            pass
        failed_with(ouro.run("serve", "echo", "unix:" + path), 1, "EADDRINUSE")
        failed_with(ouro.run("serve", "echo", "unix:" + folder + "/no/socket"), 1, "ENOENT")


def test_unix_out_of_descriptors(ouro):
    """Newcomers wait in the backlog, as those of TCP do."""
    name = "unix:@ouro-serve-%d" % os.getpid()
    with ouro.serve("echo", name, preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (40, 40))) as server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(60)]
        for connection in connections:
            connection.settimeout(LIMIT)
            connection.connect("\0" + name[6:])
        contains(read_line(server.stderr), "EMFILE")
        for connection in connections[:40]:
            connection.close()
        for connection in connections[40:]:
            ask(connection, b"at last")
        equal(ended(server, signal.SIGTERM), 0)
