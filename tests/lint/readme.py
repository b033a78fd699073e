#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""README's first C program: at most 25 lines, examples/hello_world.c has the same, and it runs.

Usage: readme.py ROOT LIBRARY CC [FLAGS...].  It runs against an echo listener on 127.0.0.1:6142 in
a network namespace of its own, so that nothing else on the machine can answer or be in the
way; where namespaces are forbidden, on the machine's own loopback if the port is free.
"""
import ctypes
import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading

from lint import Lint, cannot, line_of

LINES_MAX = 25
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def own_network():
    flags = CLONE_NEWNET | (CLONE_NEWUSER if os.geteuid() else 0)
    if ctypes.CDLL(None).unshare(flags) == 0:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def serve(listener, received):
    connection, _ = listener.accept()
    while data := connection.recv(4096):
        received.append(data)
        try:
            connection.sendall(data)
        except OSError:
            break


def run(program):
    """(exit status, stderr, bytes the listener got)"""
    own_network()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", 6142))
    except OSError as error:
        cannot(f"127.0.0.1:6142: {error}")
    listener.listen()
    received = []
    thread = threading.Thread(target=serve, args=(listener, received), daemon=True)
    thread.start()
    done = subprocess.run([program], capture_output=True, text=True, timeout=30)
    thread.join(5)
    return done.returncode, done.stderr, b"".join(received)


def main():
    lint = Lint("readme")
    library, compiler = sys.argv[2:4]
    if not os.path.exists(f"{lint.root}/README.md"):
        cannot("no README.md")
    readme = lint.read("README.md")
    block = re.search(r"^```c\n(.*?)^```", readme, re.M | re.S)
    if block is None:
        lint.report("README.md", 1, "show a program in a ```c block")
        lint.finish()
    text, line = block.group(1), line_of(readme, block.start()) + 1
    if text.count("\n") > LINES_MAX:
        lint.report("README.md", line, f"{text.count(chr(10))} lines; at most {LINES_MAX}")
    if text not in lint.read("examples/hello_world.c"):
        lint.report("README.md", line, "examples/hello_world.c must contain this very text")
    with tempfile.TemporaryDirectory() as directory:
        source, program = f"{directory}/hello.c", f"{directory}/hello"
        with open(source, "w", encoding="utf-8") as file:
            file.write(text)
        folder = os.path.dirname(library)
        built = subprocess.run(
            [compiler, "-Wall", "-Wextra", "-Werror", *sys.argv[4:], f"-I{lint.root}/include",
             source, "-o", program, f"-L{folder}", f"-Wl,-rpath,{folder}", "-louro"],
            capture_output=True, text=True)
        if built.returncode != 0:
            lint.report("README.md", line, f"does not compile as shown: {built.stderr}")
            lint.finish()
        status, errors, received = run(program)
        if status != 0 or not received:
            lint.report("README.md", line, f"exit {status}, sent {received!r}, said: {errors}")
    lint.finish()


main()
