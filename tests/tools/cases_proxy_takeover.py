# SPDX-License-Identifier: MIT
"""ouro proxy: a new process takes over from an old one."""
import array
import contextlib
import os
import signal
import socket
import threading

from blackbox import LIMIT, Peer, contains, echo_all, equal, ended, failed_with, read_line, until
from proxying import (ask, client, counts, directory, drained, lines_of, new_random, proxy,
                      random_bytes, until_counts)


@contextlib.contextmanager
def churning(address, count):
    """Clients that come and go meanwhile; none may be refused, reset or answered wrongly."""
    stop, failures, served = threading.Event(), [], []

    def churn(number):
        state = new_random()
        state.seed(number)
        while not stop.is_set() and not failures:
            try:
                with client(address) as connection:
                    ask(connection, random_bytes(state, 100000))
                    connection.shutdown(socket.SHUT_WR)
                    equal(connection.recv(1), b"", "the end")
                served.append(number)
            except BaseException as error:  # reported below
                failures.append(error)
    threads = [threading.Thread(target=churn, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield served
    finally:
        stop.set()
        for thread in threads:
            thread.join(LIMIT)
    if failures:
        raise failures[0]


def until_more(served):
    before = len(served)
    until("more clients were served", lambda: len(served) > before + 10)


def test_a_chain_of_restarts(ouro):
    """Each process takes over from the one before; connections in progress go on to their ends."""
    with directory() as folder, Peer(echo_all) as target, contextlib.ExitStack() as stack:
        listen = f"127.0.0.1:0,unix:{folder}/listen"
        control = f"--control={folder}/control"
        first = stack.enter_context(proxy(ouro, target.address, control, listen=listen))
        for address in first.addresses:
            with churning(address, 3) as served:
                until_more(served)
                held = stack.enter_context(client(address))
                ask(held, b"before")
                second = stack.enter_context(proxy(ouro, target.address, control, listen=listen))
                equal(second.addresses, first.addresses)
                ask(held, b"meanwhile")
                until_more(served)
                held.close()
                equal(ended(first), 0, "exit status of the old one")
                equal(lines_of(first), [], "messages of the old one")
                until_more(served)
            first = second
        equal(os.path.exists(folder + "/control"), True)
        equal(drained(first), [], "messages")
        equal(os.listdir(folder), [], "files that are left")


def test_what_is_in_the_backlog_is_not_lost(ouro):
    """Connections that the old one has not accepted are the new one's."""
    with directory() as folder, Peer(echo_all) as target, contextlib.ExitStack() as stack:
        control = f"--control={folder}/control"
        first = stack.enter_context(proxy(ouro, target.address, control, "--max=1"))
        held = stack.enter_context(client(first.addresses[0]))
        ask(held, b"x")
        waiting = [stack.enter_context(client(first.addresses[0])) for _ in range(10)]
        second = stack.enter_context(proxy(ouro, target.address, control,
                                           listen=first.addresses[0]))
        for connection in waiting:
            ask(connection, b"y")
        ask(held, b"still the first one's")
        until_counts(second, accepted=10)
        held.close()
        equal(ended(first), 0)


def test_another_command_line(ouro):
    """Addresses are taken over, opened or given up; the number of workers may change."""
    for old_workers, new_workers in (("1", "3"), ("3", "1"), ("2", "3")):
        with directory() as folder, Peer(echo_all) as target, contextlib.ExitStack() as stack:
            control = f"--control={folder}/control"
            first = stack.enter_context(proxy(ouro, target.address, control, "-w", old_workers,
                                              listen=f"127.0.0.1:0,127.0.0.1:0,unix:{folder}/a"))
            kept, given_up, path = first.addresses
            second = stack.enter_context(proxy(ouro, target.address, control, "-w", new_workers,
                                               listen=f"unix:{folder}/a,unix:{folder}/b,{kept}"))
            equal(second.addresses, [path, f"unix:{folder}/b", kept])
            equal(ended(first), 0)
            for address in second.addresses * 4:
                with client(address) as connection:
                    ask(connection, os.urandom(10000))
            try:
                client(given_up).close()
                raise AssertionError("an address that was given up is still open")
            except ConnectionRefusedError:
                pass
            until_counts(second, active=0, done=12)


@contextlib.contextmanager
def successor(path):
    """What takes over, up to where it has the descriptors."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        peer.settimeout(LIMIT)
        peer.connect(path)
        yield peer


def take_descriptors(peer):
    peer.send(b"ouro-proxy 1 takeover")
    descriptors, texts = array.array("i"), []
    while True:
        text, ancillary, _, _ = peer.recvmsg(512, socket.CMSG_SPACE(64 * 4))
        for level, kind, data in ancillary:
            equal((level, kind), (socket.SOL_SOCKET, socket.SCM_RIGHTS))
            descriptors.frombytes(data)
        if text == b"end":
            return texts, list(descriptors)
        texts.append(text.decode())


def test_a_successor_that_fails(ouro):
    """Whatever it does, the old one goes on, and a better one can take over."""
    with directory() as folder, Peer(echo_all) as target, contextlib.ExitStack() as stack:
        path = folder + "/control"
        first = stack.enter_context(proxy(ouro, target.address, "--control=" + path, "-w", "2"))
        for act in (lambda peer: None, lambda peer: peer.send(b"nonsense"),
                    lambda peer: peer.send(1000 * b"x"), take_descriptors,
                    lambda peer: (take_descriptors(peer), peer.send(b"no"))):
            with successor(path) as peer:
                result = act(peer)
                if act is take_descriptors:
                    texts, descriptors = result
                    equal((texts, len(descriptors)), (["listener 0 127.0.0.1:0"], 2))
                    for descriptor in descriptors:
                        os.close(descriptor)
            contains(read_line(first.stderr), "has not taken over")
            with client(first.addresses[0]) as connection:
                ask(connection, b"still here")
        # One that cannot open its second address.
        done = ouro.run("proxy", "--control=" + path, "127.0.0.1:0,192.0.2.1:1", target.address)
        failed_with(done, 1, "EADDRNOTAVAIL")
        contains(read_line(first.stderr), "has not taken over")
        with client(first.addresses[0]) as connection:
            ask(connection, b"still here")
        second = stack.enter_context(proxy(ouro, target.address, "--control=" + path))
        equal(second.addresses, first.addresses)
        equal(ended(first), 0)
        with client(second.addresses[0]) as connection:
            ask(connection, b"x")


def test_a_predecessor_that_dies(ouro):
    """What it has given is used, and the rest is opened."""
    with directory() as folder, Peer(echo_all) as target, socket.socket() as listener, \
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        listener.setblocking(False)
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        control.bind(folder + "/control")
        control.listen(8)

        def die():
            for given in (False, True):
                peer, _ = control.accept()
                with peer:
                    equal(peer.recv(100), b"ouro-proxy 1 takeover")
                    if given:
                        socket.send_fds(peer, [b"listener 0 " + address.encode()],
                                        [listener.fileno()])
        old = threading.Thread(target=die, daemon=True)
        old.start()
        failed_with(ouro.run("proxy", f"--control={folder}/control", address, target.address), 1,
                    "EADDRINUSE")
        with proxy(ouro, target.address, f"--control={folder}/control",
                   listen=f"{address},127.0.0.1:0") as server:
            old.join(LIMIT)
            equal(server.addresses[0], address)
            for each in server.addresses:
                with client(each) as connection:
                    ask(connection, b"x")
            equal(drained(server), [], "messages")


def refuses(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        return peer.connect_ex(path) != 0


def test_files_of_control_sockets(ouro):
    with directory() as folder, Peer(echo_all) as target:
        path = folder + "/control"
        with proxy(ouro, target.address, "--control=" + path) as server:
            until("the file is there", lambda: os.path.exists(path))
            equal(os.stat(path).st_mode & 0o777, 0o600)
            server.kill()
            server.wait()
        equal(os.listdir(folder), ["control"], "the file of the one that was killed")
        until("the kernel has closed what it had", lambda: refuses(path))
        with proxy(ouro, target.address, "--control=" + path) as server:
            with client(server.addresses[0]) as connection:
                ask(connection, b"x")
            equal(drained(server), [], "messages")
        equal(os.listdir(folder), [], "files that are left")
        with open(path, "w", encoding="ascii") as other:
            other.write("not a socket")
        done = ouro.run("proxy", "--control=" + path, "127.0.0.1:0", target.address)
        equal(done.returncode, 1)
        contains(done.err, path)
        with open(path, encoding="ascii") as other:
            equal(other.read(), "not a socket")


def test_after_a_signal_there_is_nothing_to_take_over(ouro):
    """While the old one drains, a new one starts as if it were the first."""
    with directory() as folder, Peer(echo_all) as target, \
            proxy(ouro, target.address, f"--control={folder}/control") as first, \
            client(first.addresses[0]) as held:
        ask(held, b"x")
        until("the file is there", lambda: os.path.exists(folder + "/control"))
        first.send_signal(signal.SIGTERM)
        until("the file is gone", lambda: not os.path.exists(folder + "/control"))
        until("the address is free", lambda: counts(first)["active"] == 1)
        with proxy(ouro, target.address, f"--control={folder}/control") as second:
            with client(second.addresses[0]) as connection:
                ask(connection, b"y")
            ask(held, b"z")
            held.close()
            equal(ended(first), 0)
            equal(os.path.exists(folder + "/control"), True, "the second one's file")


def test_wrong_control_paths(unit):
    for path in ("", "x" * 105):
        failed_with(unit.run("proxy", "--control=" + path, "127.0.0.1:0", "127.0.0.1:1"), 2,
                    "cannot be the path")
