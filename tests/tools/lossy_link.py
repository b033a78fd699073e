# SPDX-License-Identifier: MIT
"""Two network namespaces, and a link between them that loses, delays, reorders and doubles packets.

The link is a TUN device in each namespace and a thread that carries packets between them, so no
queueing discipline of the kernel (sch_netem) is needed.  What it does to a packet is decided by a
random sequence of its own.

    here      the namespace of the calling thread from then on: 192.0.2.2
    there     that of processes started with preexec_fn=link.enter_there: 192.0.2.1
"""
import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import socket
import struct
import threading
import time

from blackbox import Skip

HERE, THERE = "192.0.2.2", "192.0.2.1"

CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFFLAGS = 0x8916, 0x891C, 0x8914
IFF_UP, IFF_RUNNING = 0x1, 0x40

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    if getattr(libc, name)(*args) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def set_interface(control, request, name, payload):
    fcntl.ioctl(control, request, struct.pack("16s24s", name, payload))


def address(text):
    return struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(text))


def bring_up(control, name):
    set_interface(control, SIOCSIFFLAGS, name, struct.pack("H", IFF_UP | IFF_RUNNING))


def new_namespace(own_address):
    """Enters a new namespace and makes its end of the link; its descriptor, and the device's."""
    call("unshare", CLONE_NEWNET)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"lossy", IFF_TUN | IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        bring_up(control, b"lo")
        set_interface(control, SIOCSIFADDR, b"lossy", address(own_address))
        set_interface(control, SIOCSIFNETMASK, b"lossy", address("255.255.255.0"))
        bring_up(control, b"lossy")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC), tun


class LossyLink:
    """How many packets it carried, and what became of them, is in its counts."""

    def __init__(self, loss, double, delay_s):
        self.loss, self.double, self.delay_s = loss, double, delay_s
        self.counts = {"carried": 0, "lost": 0, "doubled": 0, "overtaken": 0}
        self.random = random.Random(6142)
        self.stop = threading.Event()
        if os.geteuid() != 0:
            raise Skip("needs root for network namespaces")
        try:
            self.there_ns, self.there_tun = new_namespace(THERE)
            self.here_ns, self.here_tun = new_namespace(HERE)
        except OSError as error:
            raise Skip(f"no namespaces with TUN devices: {error}") from error
        self.thread = threading.Thread(target=self.carry, daemon=True)

    def enter_there(self):
        call("setns", self.there_ns, CLONE_NEWNET)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        for descriptor in (self.there_ns, self.there_tun, self.here_ns, self.here_tun):
            os.close(descriptor)

    def carry(self):
        to = {self.here_tun: self.there_tun, self.there_tun: self.here_tun}
        waiting, number, newest = [], 0, {descriptor: 0 for descriptor in to}
        while not self.stop.is_set():
            wait_s = max(0, waiting[0][0] - time.monotonic()) if waiting else 0.05
            for source in select.select(list(to), [], [], min(wait_s, 0.05))[0]:
                with contextlib.suppress(BlockingIOError):
                    packet = os.read(source, 65536)
                    for _ in range(self.times()):
                        number += 1
                        due = time.monotonic() + self.random.uniform(0, self.delay_s)
                        heapq.heappush(waiting, (due, number, to[source], packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, sent, target, packet = heapq.heappop(waiting)
                self.counts["overtaken"] += sent < newest[target]
                newest[target] = max(newest[target], sent)
                self.counts["carried"] += 1
                with contextlib.suppress(BlockingIOError):
                    os.write(target, packet)

    def times(self):
        """How often a packet arrives."""
        chance = self.random.random()
        if chance < self.loss:
            self.counts["lost"] += 1
            return 0
        if chance < self.loss + self.double:
            self.counts["doubled"] += 1
            return 2
        return 1
