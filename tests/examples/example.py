#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs one case of an example program.

    example.py PROGRAM REFUSE FILE CASE uring|epoll

On epoll the program runs behind REFUSE, which denies io_uring (EPERM).  Exit status: 0 passed, 1
failed."""
import contextlib
import importlib.util
import re
import signal
import socket
import subprocess
import sys
import traceback

LIMIT_S = 20


class Example:
    def __init__(self, program, refuse, driver):
        self.command = [program] if driver == "uring" else [refuse, "1", program]

    def run(self, *args):
        return subprocess.run(self.command + list(args), capture_output=True, text=True,
                              timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL)

    @contextlib.contextmanager
    def start(self, *args):
        """A program that is running; killed at the end if it is then."""
        with subprocess.Popen(self.command + list(args), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                              text=True) as process:
            try:
                yield process
            finally:
                process.kill()


def port_of(process):
    """The port that the program says it listens on."""
    line = process.stdout.readline()
    match = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
    assert match, line
    return int(match.group(1))


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)


def end(process):
    """Sends SIGTERM and returns the exit status.  ThreadSanitizer notes a signal that comes while a
    fiber runs with that fiber, and loses it when the fiber ends: then it is sent again."""
    for _ in range(LIMIT_S // 2):
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(2)
    return process.wait(0)


def receive_all(peer):
    parts = []
    while part := peer.recv(65536):
        parts.append(part)
    return b"".join(parts)


@contextlib.contextmanager
def listening():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_S)
        yield listener, f"127.0.0.1:{listener.getsockname()[1]}"


def main():
    program, refuse, file, case, driver = sys.argv[1:6]
    sys.modules["example"] = sys.modules["__main__"]
    spec = importlib.util.spec_from_file_location("cases", file)
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    try:
        getattr(cases, case)(Example(program, refuse, driver))
    except (AssertionError, OSError, subprocess.TimeoutExpired):
        traceback.print_exc()
        sys.exit(1)


main()
