#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs one black-box case of the ouro command, and holds what the cases need: the command under
test, peers written with plain sockets, and filters that take io_uring away.

    blackbox.py OURO FILE CASE uring|epoll|unit

Exit status: 0 passed, 1 failed, 77 skipped."""
import contextlib
import ctypes
import importlib.util
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

# How much slower than a plain build this one may be (sanitizers).
FACTOR = int(os.environ.get("OURO_TEST_TIMEOUT_FACTOR", "1"))
LIMIT = 20 * FACTOR  # seconds until a run that does not end is a failure


class Skip(Exception):
    pass


def needs_localhost():
    """A system without /etc/hosts resolves no "localhost"."""
    try:
        socket.getaddrinfo("localhost", None, socket.AF_INET)
    except OSError as error:
        raise Skip(f"this system resolves no localhost: {error}") from error


class Ouro:
    """The command, on one driver."""

    def __init__(self, path, driver):
        self.path = path
        self.driver = driver

    def argv(self, *args):
        """What makes a runtime runs on the case's driver, unless the case names one itself."""
        args = [arg if isinstance(arg, bytes) else str(arg) for arg in args]
        chosen = any(os.fsencode(arg).startswith(b"--driver") for arg in args)
        takes_one = args and args[0] in ("connect", "serve", "proxy", "bench")
        if takes_one and self.driver != "unit" and not chosen:
            args.insert(1, "--driver=" + self.driver)
        return [self.path] + args

    def run(self, *args, stdin=b"", **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        if isinstance(stdin, bytes):
            options["input"] = stdin
        else:
            options["stdin"] = stdin
        done = subprocess.run(self.argv(*args), timeout=LIMIT, **options)
        done.out = (done.stdout or b"").decode(errors="replace")
        done.err = (done.stderr or b"").decode(errors="replace")
        return done

    def json(self, *args, **options):
        done = self.run(*args, **options)
        try:
            return done, json.loads(done.out)
        except ValueError:
            raise AssertionError(f"no JSON (exit {done.returncode}): {done.out!r} {done.err!r}")

    @contextlib.contextmanager
    def start(self, *args, **options):
        """A process that is still running; killed at the end if it is then."""
        options.setdefault("stdin", subprocess.PIPE)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        process = subprocess.Popen(self.argv(*args), **options)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    with contextlib.suppress(OSError):
                        stream.close()
            process.wait()

    @contextlib.contextmanager
    def serve(self, mode, *addresses, args=(), **options):
        """`ouro serve MODE`, ready; gives the process, which then has .addresses, in the order
        given, and the .address and .port of the first."""
        with self.start("serve", mode, *addresses, *args, **options) as process:
            process.addresses = []
            for _ in addresses:
                line = read_line(process.stdout)
                prefix = "listening on "
                if not line.startswith(prefix):
                    raise AssertionError(
                        f"instead of {prefix!r}: {line!r} {process.stderr.read()!r}")
                process.addresses.append(line[len(prefix):].strip())
            process.address = process.addresses[0]
            if not process.address.startswith("unix:"):
                process.port = int(process.address.rsplit(":", 1)[1])
            yield process

    def echo(self, *args, address="127.0.0.1:0", **options):
        return self.serve("echo", address, args=args, **options)


def read_line(pipe):
    """The next line of a pipe, or what there is of it when the limit has passed."""
    deadline = time.monotonic() + LIMIT
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            break
        byte = os.read(pipe.fileno(), 1)
        if not byte:
            break
        line += byte
    return line.decode()


def ended(process, number=None):
    """Waits for the end of a process, after sending a signal if one is given; its exit status."""
    if number is not None:
        process.send_signal(number)
    return process.wait(timeout=LIMIT)


def handles(process, number):
    """Whether a signal would reach the process's own code: it is blocked, or has a handler."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        masks = [int(line.split()[1], 16) for line in status
                 if line.startswith(("SigBlk:", "SigCgt:"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def until(what, condition):
    """Polls a condition that nothing announces."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("did not come to pass: " + what)
        select.select([], [], [], 0.002)


def equal(seen, wanted, what=""):
    if seen != wanted:
        raise AssertionError(f"{what or 'value'}: {seen!r} instead of {wanted!r}")


def contains(text, part, what="text"):
    if part not in text:
        raise AssertionError(f"{what}: no {part!r} in {text!r}")


def failed_with(done, code, *parts):
    """Ended with @code, nothing on stdout, and every one of @parts on stderr."""
    equal(done.returncode, code, f"exit status ({done.err!r})")
    equal(done.out, "", "stdout")
    for part in parts:
        contains(done.err, part, "stderr")


class Peer:
    """A listener whose connections are each served by @serve(connection) in a thread."""

    def __init__(self, serve=None, family=socket.AF_INET, address=("127.0.0.1", 0)):
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind(address)
        self.listener.listen(512)
        self.serve = serve or self.hold
        self.held = []
        self.peers = []
        self.threads = []
        self.failures = []

    def hold(self, connection):
        self.held.append(connection)

    def __enter__(self):
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()
        return self

    def __exit__(self, *_):
        # The thread may sit in accept: shutdown wakes it.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.accepting.join(LIMIT)  # first: it adds to the others
        self.listener.close()
        for thread in self.threads:
            thread.join(LIMIT)
        for connection in self.held:
            connection.close()
        if self.failures:
            raise AssertionError("the peer failed: " + "; ".join(self.failures[:3]))

    def accept(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            if self.serve == self.hold:
                self.hold(connection)
                continue
            thread = threading.Thread(target=self.guarded, args=(connection,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def guarded(self, connection):
        try:
            self.serve(connection)
        except Exception as error:  # reported by __exit__
            self.failures.append(repr(error))
        finally:
            connection.close()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    @property
    def address(self):
        host, port = self.listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_all(connection):
    """Everything until the end of the stream."""
    data = bytearray()
    while True:
        part = connection.recv(1 << 16)
        if not part:
            return bytes(data)
        data += part


def echo_all(connection):
    while True:
        part = connection.recv(1 << 16)
        if not part:
            return
        connection.sendall(part)


def take(connection):
    """Reads nothing, and closes when the other side does, be it by a reset."""
    with contextlib.suppress(ConnectionResetError):
        connection.recv(1)


def reset(connection):
    """Closes with an RST instead of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextlib.contextmanager
def refusing_address():
    """An address that refuses: bound, so that nobody else gets the port, and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield "127.0.0.1:%d" % bound.getsockname()[1]


@contextlib.contextmanager
def unanswered_address():
    """An address that answers nothing: with its backlog full, the kernel drops SYNs."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield "127.0.0.1:%d" % listener.getsockname()[1]


def refuse_calls(instructions):
    """For preexec_fn: from then on the system calls pass this filter: (code, jt, jf, k) each."""
    PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)

    def install():
        filter = Program(len(program) // 8, program)
        if (libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 or
                libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter)) < 0):
            os._exit(126)

    return install


def without_uring(action):
    """For preexec_fn: from then on io_uring_setup, _enter and _register end in @action: an errno,
    or "kill" to kill the process."""
    BPF_LD_W_ABS, BPF_JGE, BPF_RET = 0x20, 0x35, 0x06
    RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
    result = RET_KILL_PROCESS if action == "kill" else RET_ERRNO | action
    return refuse_calls((
        (BPF_LD_W_ABS, 0, 0, 0),  # the number: 425 to 427, the same on every architecture
        (BPF_JGE, 0, 2, 425),
        (BPF_JGE, 1, 0, 428),
        (BPF_RET, 0, 0, result),
        (BPF_RET, 0, 0, RET_ALLOW)))


def main():
    path, file, case, driver = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # children inherit what was ignored
    # A second of sleep at exit while another thread runs, one that asks a resolver: cases measure.
    os.environ["TSAN_OPTIONS"] = os.environ.get("TSAN_OPTIONS", "") + ":atexit_sleep_ms=0"
    sys.modules["blackbox"] = sys.modules["__main__"]
    sys.path.insert(0, os.path.dirname(os.path.abspath(file)))
    spec = importlib.util.spec_from_file_location("cases", file)
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    ouro = Ouro(path, driver)
    try:
        if driver == "uring" and not ouro.json("probe", "--json")[1]["uring_usable"]:
            if os.environ.get("OURO_TEST_REQUIRE_URING") == "1":
                raise AssertionError("io_uring is required and not usable here")
            raise Skip("io_uring is not usable here")
        getattr(cases, case)(ouro)
    except Skip as reason:
        print("skipped:", reason)
        return 77
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
