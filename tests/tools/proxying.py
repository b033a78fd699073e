# SPDX-License-Identifier: MIT
"""What the cases of `ouro proxy` share: a proxy that is ready, clients, targets."""
import contextlib
import json
import random
import re
import signal
import socket
import tempfile
import threading

from blackbox import LIMIT, echo_all, ended, equal, read_line, until


@contextlib.contextmanager
def proxy(ouro, targets, *args, listen="127.0.0.1:0", **options):
    """`ouro proxy`, ready; the process has .addresses, as it says them, and .port of the first."""
    count = listen.count(",") + 1
    with ouro.start("proxy", *args, listen, targets, **options) as process:
        process.addresses = []
        for _ in range(count):
            line = read_line(process.stdout)
            prefix = "listening on "
            if not line.startswith(prefix):
                raise AssertionError(f"instead of {prefix!r}: {line!r} {process.stderr.read()!r}")
            process.addresses.append(line[len(prefix):].strip())
        if not process.addresses[0].startswith("unix:"):
            process.port = int(process.addresses[0].rsplit(":", 1)[1])
        yield process


def client(address, source=None):
    """A connection to an address as the proxy says it."""
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(LIMIT)
        name = address[len("unix:"):]
        connection.connect("\0" + name[1:] if name.startswith("@") else name)
        return connection
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), timeout=LIMIT,
                                    source_address=source)


@contextlib.contextmanager
def directory():
    """A folder with a short name: a Unix address has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="o") as path:
        yield path


def take(connection, size):
    """Exactly so many bytes, or what there was before the end."""
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(size - len(data), 1 << 16))
        if not part:
            break
        data += part
    return bytes(data)


def echo_until_cut(connection):
    """An echo whose connections may be reset."""
    with contextlib.suppress(ConnectionError):
        echo_all(connection)


def ask(connection, data):
    """Sends and expects the same back."""
    sender = threading.Thread(target=connection.sendall, args=(data,), daemon=True)
    sender.start()
    seen = take(connection, len(data))
    sender.join(LIMIT)
    if seen != data:
        raise AssertionError(f"{len(seen)} of {len(data)} bytes came back, or others")


def is_closed(connection):
    """Whether the other side has ended the connection, by an end or a reset, without a byte."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def random_bytes(random_state, most):
    return random_state.randbytes(random_state.choice((1, 17, 1460, 4096, 65536, most)))


def lines_of(process):
    """All messages of a process that has ended."""
    return process.stderr.read().decode().splitlines()


def drained(process, code=0):
    """Ends the proxy by SIGTERM and gives its messages."""
    equal(ended(process, signal.SIGTERM), code, "exit status")
    return lines_of(process)


OUTCOMES = ("done", "refused", "bad_header", "no_target", "idle", "broken", "cut")


def counts(process):
    """The counters that SIGUSR1 prints; other messages before them are passed over."""
    process.send_signal(signal.SIGUSR1)
    while True:
        line = read_line(process.stderr)
        found = re.search(r": (\d+) active, (\d+) accepted; ended: (.*)\n", line)
        if found:
            break
        if not line:
            raise AssertionError("no counters")
    values = {"active": int(found[1]), "accepted": int(found[2])}
    values.update((name, int(value)) for value, name in re.findall(r"(\d+) (\w+)", found[3]))
    equal(values["accepted"], values["active"] + sum(values[name] for name in OUTCOMES))
    moved = re.search(r"bytes: (\d+) to targets, (\d+) to clients", read_line(process.stderr))
    values["bytes_to_targets"], values["bytes_to_clients"] = int(moved[1]), int(moved[2])
    return values


def until_counts(process, **wanted):
    """Waits until the counters with these names have these values."""
    until(f"counters are {wanted}", lambda: wanted.items() <= counts(process).items())


def last_line(path):
    """The last line of --stats=FILE, when the proxy has ended."""
    with open(path, encoding="utf-8") as lines:
        line = json.loads(lines.read().splitlines()[-1])
    equal(line["active"], 0)
    equal(line["accepted"], sum(line[name] for name in OUTCOMES), "all ways to end")
    return line


def new_random():
    return random.Random(6142)
