# SPDX-License-Identifier: MIT
"""Too little of something, and failures for good: exit status 0 only if all was done."""
import contextlib
import ctypes
import errno
import json
import os
import platform
import resource
import signal
import socket
import stat

from blackbox import (LIMIT, Peer, Skip, contains, ended, equal, read_line, refuse_calls,
                      take)

EPOLL_CTL = {"x86_64": 233, "aarch64": 21}
PIDFD_OPEN, PIDFD_GETFD = 434, 438


def limited(bytes_max):
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (bytes_max, bytes_max))


def short_of_memory(ouro, *args):
    """Runs with limits of memory, from too little to start to enough; gives each end."""
    page = 4096
    too_little, enough = page, 1 << 30
    if ouro.run(*args, preexec_fn=limited(enough)).returncode != 0:
        raise Skip("a sanitizer's shadow needs more address space than a limit can leave")
    while enough - too_little > 4 * page:  # until the dynamic loader, which exits 127, has enough
        middle = (too_little + enough) // 2 // page * page
        if ouro.run("--version", preexec_fn=limited(middle)).returncode in (127, -signal.SIGSEGV):
            too_little = middle
        else:
            enough = middle
    for more in [64 << 10] * 20 + [1 << 20] * 4:
        enough += more
        done = ouro.run(*args, preexec_fn=limited(enough))
        if done.returncode not in (0, 1):
            raise AssertionError(f"{enough} bytes: exit {done.returncode} {done.err!r}")
        equal(done.returncode == 0 or done.err != "", True, "a failure has a message")
        yield done


def test_out_of_memory(ouro):
    """Either all connects were made, or the exit status says that they were not."""
    codes = set()
    with Peer(serve=take) as peer:
        for done in short_of_memory(ouro, "connect", "--count", "40", "--concurrency", "40",
                                    "--json", peer.address):
            codes.add(done.returncode)
            if done.returncode == 0:
                result = json.loads(done.out)
                equal((result["connected"], result["failed"]), (40, 0))
            elif done.out:
                json.loads(done.out)
        for done in short_of_memory(ouro, "connect", "--json", "--trace", peer.address):
            codes.add(done.returncode)
            if done.returncode == 0:
                result = json.loads(done.out)
                equal((result["connected"], len(result["attempts"])), (True, 1))
                equal(result["trace"][-1]["step"] in ("released", "created"), True, "all steps")
        for done in short_of_memory(ouro, "probe", "--json"):
            codes.add(done.returncode)
            if done.returncode == 0:
                equal(len(json.loads(done.out)["features"]) > 20, True, "all features")
    equal(codes, {0, 1}, "the limits reach from too little to enough")


@contextlib.contextmanager
def descriptor_of(pid, wanted):
    """The number of the process's first descriptor for which @wanted holds, and a duplicate."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = libc.syscall(PIDFD_OPEN, pid, 0)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, process)
        for number in sorted(map(int, os.listdir(f"/proc/{pid}/fd"))):
            fd = libc.syscall(PIDFD_GETFD, process, number, 0)
            if fd < 0:
                raise Skip("no pidfd_getfd(2): " + os.strerror(ctypes.get_errno()))
            stack.callback(os.close, fd)
            if wanted(fd):
                yield number, fd
                return
    raise AssertionError("no such descriptor")


def is_listener(fd):
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    with socket.socket(fileno=os.dup(fd)) as duplicate:
        return duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def test_an_accept_that_fails_for_good(ouro):
    """It ends the server, and not with status 0, however many workers there are."""
    for workers in (1, 2, 3):
        with ouro.echo("--workers", workers) as server, \
                socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) as connection:
            connection.sendall(b"x")
            equal(connection.recv(1), b"x")
            with descriptor_of(server.pid, is_listener) as (_, fd), \
                    socket.socket(fileno=os.dup(fd)) as listener:
                listener.shutdown(socket.SHUT_RDWR)
            equal(ended(server), 1, f"{workers} workers")
            contains(server.stderr.read().decode(), "accept: ")
            equal(connection.recv(1), b"", "the connections end with it")


def test_out_of_epoll_watches(unit):
    """ENOSPC from epoll_ctl(2), which counts them for each user, is a shortage: the server waits
    for it to end instead of ending."""
    number = EPOLL_CTL.get(platform.machine())
    if number is None:
        raise Skip("written for " + ", ".join(EPOLL_CTL))
    with unit.echo("--driver=epoll") as server:
        with descriptor_of(server.pid, is_listener) as (listener, _):
            pass
    # struct seccomp_data: the number at 0, and of the arguments (u64) the operation at 24, the
    # descriptor at 32.  EPOLL_CTL_ADD is 1.  The listener is refused, and what comes after it.
    LD, JEQ, JGE, RET = 0x20, 0x15, 0x35, 0x06
    program = [(LD, 0, 0, 0), (JEQ, 0, 5, number), (LD, 0, 0, 24), (JEQ, 0, 3, 1), (LD, 0, 0, 32),
               (JGE, 0, 1, listener), (RET, 0, 0, 0x00050000 | errno.ENOSPC),
               (RET, 0, 0, 0x7FFF0000)]
    with unit.echo("--driver=epoll", preexec_fn=refuse_calls(program)) as server:
        contains(read_line(server.stderr), "(ENOSPC); waiting")
        equal(ended(server, signal.SIGTERM), 0)


def test_messages_do_not_end_the_server(ouro):
    """It runs out of descriptors, and nobody reads that on stderr."""
    read, write = os.pipe()
    with open(read, "rb") as reader, open(write, "wb") as writer:
        with ouro.echo(stderr=writer, preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_NOFILE, (40, 40))) as server, contextlib.ExitStack() as stack:
            reader.close()
            connections = [stack.enter_context(socket.create_connection(
                ("127.0.0.1", server.port), timeout=LIMIT)) for _ in range(60)]
            for connection in connections[:30]:
                connection.close()
            for connection in connections[30:]:
                connection.sendall(b"x")
                equal(connection.recv(1), b"x")
            equal(ended(server, signal.SIGTERM), 0)
