# SPDX-License-Identifier: MIT
"""ouro connect --relay: whatever stdin, stdout and stderr are, the bytes get through, and what is
shared with others stays as it was."""
import contextlib
import errno
import fcntl
import os
import platform
import pty
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
import threading
import tty

from blackbox import (LIMIT, Peer, Skip, contains, echo_all, ended, equal, failed_with, read_all,
                      read_line, refuse_calls, reset, until)

SAID = "created stream\n"
# Whole lines, fewer bytes than any pipe or terminal keeps.
TEXT = b"".join(b"line %04d %s\n" % (i, b"x" * 50) for i in range(45))


def is_nonblocking(fd):
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK != 0


class Ends(contextlib.ExitStack):
    """What a relay is given, and the other side of each; all closed at the end."""

    def __init__(self):
        super().__init__()
        self.closed = set()
        self.folder = self.enter_context(tempfile.TemporaryDirectory())

    def own(self, fd):
        self.closed.discard(fd)  # the number of one that was closed
        self.callback(self.close_once, fd)
        return fd

    def close_once(self, fd):
        if fd not in self.closed:
            self.closed.add(fd)
            os.close(fd)

    def file(self, content=b"", flags=os.O_RDWR):
        fd, path = tempfile.mkstemp(dir=self.folder)
        os.write(fd, content)
        os.close(fd)
        return self.own(os.open(path, flags))

    def pipe(self):
        read, write = os.pipe()
        return self.own(read), self.own(write)

    def fifo(self):
        path = tempfile.mktemp(dir=self.folder)
        os.mkfifo(path)
        read = self.own(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        write = self.own(os.open(path, os.O_WRONLY))
        os.set_blocking(read, True)
        return read, write

    def sockets(self):
        ours, theirs = socket.socketpair()
        return self.own(ours.detach()), self.own(theirs.detach())

    def terminal(self):
        """A pty, raw: (master, terminal)."""
        main, terminal = pty.openpty()
        tty.setraw(terminal)
        return self.own(main), self.own(terminal)


def read_some(fd, size):
    data = b""
    while len(data) < size:
        equal(bool(select.select([fd], [], [], LIMIT)[0]), True, "more than %r" % data[-100:])
        part = os.read(fd, size - len(data))
        if not part:
            break
        data += part
    return data


# Each gives a descriptor that reads as TEXT and then ends.
def file_source(ends):
    fd = ends.file(b"before " + TEXT)
    os.lseek(fd, len(b"before "), os.SEEK_SET)
    return fd


def written_source(make):
    def source(ends):
        read, write = make(ends)
        os.write(write, TEXT)
        ends.close_once(write)
        return read
    return source


def terminal_source(ends):
    main, terminal = ends.terminal()
    flags = termios.tcgetattr(terminal)
    flags[3] |= termios.ICANON
    flags[6][termios.VEOF] = b"\x04"
    termios.tcsetattr(terminal, termios.TCSANOW, flags)
    os.write(main, TEXT + b"\x04")
    return terminal


def master_source(ends):
    main, terminal = ends.terminal()
    os.write(terminal, TEXT)
    ends.close_once(terminal)
    return main


SOURCES = {"file": file_source, "pipe": written_source(Ends.pipe),
           "fifo": written_source(Ends.fifo), "socket": written_source(Ends.sockets),
           "terminal": terminal_source, "master": master_source}


# Each gives a descriptor to be written, and a function that gives what was.
def file_sink(ends):
    fd = ends.file(b"before; between; after" + b"." * 5000)
    os.lseek(fd, len(b"before; "), os.SEEK_SET)

    def written():
        equal(os.lseek(fd, 0, os.SEEK_CUR), len(b"before; ") + len(TEXT), "the shared offset")
        equal(os.pread(fd, len(b"before; "), 0), b"before; ", "what was before")
        return os.pread(fd, len(TEXT), len(b"before; "))
    return fd, written


def append_sink(ends):
    fd = ends.file(b"before; ", os.O_RDWR | os.O_APPEND)
    return fd, lambda: os.pread(fd, 1 << 20, 0).removeprefix(b"before; ")


def read_sink(make):
    def sink(ends):
        read, write = make(ends)
        return write, lambda: read_some(read, len(TEXT))
    return sink


SINKS = {"file": file_sink, "append": append_sink, "pipe": read_sink(Ends.pipe),
         "fifo": read_sink(Ends.fifo), "socket": read_sink(Ends.sockets),
         "terminal": read_sink(Ends.terminal),
         "master": read_sink(lambda ends: tuple(reversed(ends.terminal())))}


def cross(ouro, nonblocking):
    """Every source with every sink; the flags of what is shared never change."""
    with Peer(serve=echo_all) as peer:
        for source in SOURCES:
            for sink in SINKS:
                with Ends() as ends:
                    stdin = SOURCES[source](ends)
                    stdout, written = SINKS[sink](ends)
                    for fd in (stdin, stdout):
                        os.set_blocking(fd, not nonblocking)
                    done = ouro.run("connect", "--relay", peer.address, stdin=stdin, stdout=stdout)
                    what = f"from a {source} to a {sink}"
                    equal((done.returncode, done.err), (0, SAID), what)
                    equal(written() == TEXT, True, what)
                    equal((is_nonblocking(stdin), is_nonblocking(stdout)), (nonblocking,) * 2, what)


def test_every_kind_to_every_kind(ouro):
    cross(ouro, nonblocking=False)


def test_descriptors_that_came_non_blocking(ouro):
    cross(ouro, nonblocking=True)


def test_much_data_through_a_pty_master(ouro):
    """Both ways at once, more than the terminal keeps; its end ends stdin."""
    data = os.urandom(300000)
    with Ends() as ends, Peer(serve=echo_all) as peer:
        main, terminal = ends.terminal()
        with ouro.start("connect", "--relay", peer.address, stdin=main, stdout=main) as process:
            equal(read_line(process.stderr), SAID)
            left = [data]

            def write():
                while left[0]:
                    left[0] = left[0][os.write(terminal, left[0]):]

            writer = threading.Thread(target=write, daemon=True)
            writer.start()
            equal(read_some(terminal, len(data)) == data, True, "the same bytes")
            writer.join(LIMIT)
            equal(is_nonblocking(main), False, "the shared master is non-blocking")
            ends.close_once(terminal)
            equal(ended(process), 0)


def unprivileged(*paths):
    """For preexec_fn: from then on without the rights to open @paths, whose modes permit nobody."""
    for path in paths:
        os.chmod(path, 0)
    if os.getuid() != 0:
        return None

    def become_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    return become_nobody


@contextlib.contextmanager
def shared_terminal(ouro, ends, peer, kind):
    """A relay on a terminal; gives the process, and the descriptors of both sides: what is written
    to the first is read there again."""
    main, terminal = ends.terminal()
    ours, theirs = (terminal, main) if kind == "master" else (main, terminal)
    options = {}
    if kind == "not to be opened":
        options["preexec_fn"] = unprivileged(os.ttyname(terminal))
    with ouro.start("connect", "--relay", peer.address, stdin=theirs, stdout=theirs,
                    process_group=0, **options) as process:
        equal(read_line(process.stderr), SAID)
        yield process, ours, theirs


def echo_once(fd, word):
    os.write(fd, word)
    equal(read_some(fd, len(word)), word)


def test_a_terminal_shared_with_others(ouro):
    """Stopped, continued and ended: it never becomes non-blocking, also where it cannot be opened a
    second time (a terminal of another user, after su)."""
    kinds = ["terminal", "master"]
    as_other = {"preexec_fn": unprivileged(), "stdout": subprocess.DEVNULL}
    try:
        kinds += ["not to be opened"] if ouro.run("--version", **as_other).returncode == 0 else []
    except PermissionError:
        pass  # root alone can run what is tested: the kind is left out
    for kind in kinds:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with Ends() as ends, Peer(serve=echo_all) as peer:
                process, ours, theirs = ends.enter_context(
                    shared_terminal(ouro, ends, peer, kind))
                echo_once(ours, b"before")
                equal(is_nonblocking(theirs), False, kind)
                process.send_signal(signal.SIGTSTP)
                _, status = os.waitpid(process.pid, os.WUNTRACED)
                equal(os.WIFSTOPPED(status), True, kind)
                equal(is_nonblocking(theirs), False, kind + ", stopped")
                process.send_signal(signal.SIGCONT)
                echo_once(ours, b"after")
                equal(is_nonblocking(theirs), False, kind + ", continued")
                equal(ended(process, number), -number)
                equal(is_nonblocking(theirs), False, kind + ", ended")


def test_a_failure_ends_a_relay_that_waits_for_stdin(ouro):
    """Of every kind that can be waited for: nobody writes, the peer resets, the relay ends."""
    for kind in ("pipe", "fifo", "socket", "terminal", "master"):
        with Ends() as ends, Peer() as peer:
            if kind in ("pipe", "fifo"):
                stdin, _ = getattr(ends, kind)()
            elif kind == "socket":
                stdin, _ = ends.sockets()
            else:
                main, terminal = ends.terminal()
                stdin = main if kind == "master" else terminal
            with ouro.start("connect", "--relay", peer.address, stdin=stdin) as process:
                equal(read_line(process.stderr), SAID)
                until("the connection is accepted", lambda: peer.held)
                reset(peer.held[0])
                equal(ended(process), 1, kind)
                contains(process.stderr.read().decode(), "ECONNRESET")


def test_a_block_device(ouro):
    """Read and written from the offset that it came with, not from the first block."""
    if os.getuid() != 0 or not shutil.which("losetup"):
        raise Skip("needs losetup(8) and the rights for it")
    with Ends() as ends, Peer(serve=echo_all) as peer:
        path = os.path.join(ends.folder, "image")
        image = b"".join(b"%-4096d" % i for i in range(64))
        with open(path, "wb") as file:
            file.write(image)
        made = subprocess.run(["losetup", "--find", "--show", path], capture_output=True,
                              text=True, check=False)
        if made.returncode != 0:
            raise Skip("no loop device: " + made.stderr.strip())
        device = made.stdout.strip()
        ends.callback(lambda: subprocess.run(["losetup", "--detach", device], check=False))
        fd = ends.own(os.open(device, os.O_RDWR))
        os.lseek(fd, 60 * 4096, os.SEEK_SET)
        done = ouro.run("connect", "--relay", peer.address, stdin=fd)
        equal((done.returncode, done.err), (0, SAID))
        equal(done.stdout == image[60 * 4096:], True, "what follows the offset")
        os.lseek(fd, 8 * 4096, os.SEEK_SET)
        done = ouro.run("connect", "--relay", peer.address, stdin=b"y" * 4096, stdout=fd)
        equal((done.returncode, done.err), (0, SAID))
        wanted = image[:8 * 4096] + b"y" * 4096 + image[9 * 4096:]
        equal(os.pread(fd, len(image), 0) == wanted, True, "the one block that was written")


def test_without_threads(ouro):
    """Files are read and written by a thread; where none can be made, the relay waits itself."""
    CLONE, CLONE3 = {"x86_64": 56, "aarch64": 220}.get(platform.machine()), 435
    if CLONE is None:
        raise Skip("not written for " + platform.machine())
    LD, JEQ, RET = 0x20, 0x15, 0x06
    refused = refuse_calls([(LD, 0, 0, 0), (JEQ, 2, 0, CLONE), (JEQ, 1, 0, CLONE3),
                            (RET, 0, 0, 0x7FFF0000), (RET, 0, 0, 0x00050000 | errno.EAGAIN)])
    with Ends() as ends, Peer(serve=echo_all) as peer:
        stdout, written = file_sink(ends)
        done = ouro.run("connect", "--relay", peer.address, stdin=file_source(ends), stdout=stdout,
                        preexec_fn=refused)
        equal((done.returncode, done.err), (0, SAID))
        equal(written() == TEXT, True)


def test_devices(ouro):
    with Peer(serve=echo_all) as peer, open("/dev/full", "wb") as full:
        failed_with(ouro.run("connect", "--relay", peer.address, stdin=b"x", stdout=full), 1,
                    "stdout: ", "ENOSPC")
    with Peer(serve=lambda connection: connection.recv(1 << 20)) as peer:
        # Without end: the peer's end ends it.
        with open("/dev/zero", "rb") as zero:
            equal(ouro.run("connect", "--relay", peer.address, stdin=zero).returncode, 1)


def full_pipe(ends):
    read, write = ends.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"." * 4096)
    os.set_blocking(write, True)
    return write


def broken_pipe(ends):
    read, write = ends.pipe()
    ends.close_once(read)
    return write


def full_socket(ends):
    ours, theirs = ends.sockets()
    os.set_blocking(theirs, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(theirs, b"." * 4096)
    os.set_blocking(theirs, True)
    return theirs


def stopped_terminal(ends):
    _, terminal = ends.terminal()
    termios.tcflow(terminal, termios.TCOOFF)
    return terminal


def hung_up_terminal(ends):
    main, terminal = ends.terminal()
    ends.close_once(main)
    return terminal


def test_messages_never_stop_it(ouro):
    """Nobody takes what it says on stderr: it says less, and relays."""
    kinds = {"closed": None, "full disk": lambda ends: ends.own(os.open("/dev/full", os.O_WRONLY)),
             "full pipe": full_pipe, "broken pipe": broken_pipe, "full socket": full_socket,
             "stopped terminal": stopped_terminal, "hung-up terminal": hung_up_terminal}
    for more in ([], ["--json"], ["--trace"]):
        for name, make in kinds.items():
            with Ends() as ends, Peer(serve=echo_all) as peer:
                options = {"stderr": make(ends)} if make else {
                    "stderr": subprocess.DEVNULL, "preexec_fn": lambda: os.close(2)}
                done = ouro.run("connect", "--relay", *more, peer.address, stdin=b"hi", **options)
                equal((done.returncode, done.stdout), (0, b"hi"), f"stderr: {name} {more}")


def test_failures_without_messages(ouro):
    """The exit status tells of a failure that stderr does not take."""
    with Ends() as ends, Peer(serve=read_all) as peer, open("/dev/full", "wb") as full:
        stderr = full_pipe(ends)
        done = ouro.run("connect", "--relay", peer.address, stdin=None, stderr=stderr,
                        preexec_fn=lambda: os.close(0))
        equal((done.returncode, done.stdout), (1, b""))
    with Ends() as ends, Peer(serve=echo_all) as peer, open("/dev/full", "wb") as full:
        done = ouro.run("connect", "--relay", peer.address, stdin=b"x", stdout=full,
                        stderr=broken_pipe(ends))
        equal(done.returncode, 1)
