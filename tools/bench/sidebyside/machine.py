# SPDX-License-Identifier: MIT
"""Where the programs run: which core, which priority, which network; and who else ran there."""

import ctypes
import os
import pathlib
import platform
import resource
import subprocess
import time

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
SERVER_CORE, CLIENT_CORE = 0, 1
NOWHERE = pathlib.Path("/nonexistent")  # the build of programs that are the system's


def own_network(warn):
    """A network namespace with nothing but lo and plain reno: no firewall, no tuning, no strangers'
    ports. Needs root; without it the machine's own loopback is used, and the report says so."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        warn(f"no network namespace ({os.strerror(ctypes.get_errno())}): measuring on the host's")
        return "the host's loopback"
    bring_up_lo()
    try:
        pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text("reno")
    except OSError as error:
        warn(f"congestion control stays as it is: {error}")
        return "a network namespace of its own"
    return "a network namespace of its own, reno"


def bring_up_lo():
    import fcntl
    import socket
    import struct
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def raise_priority():
    """As important as the system lets us be. Where the scheduler groups by session (autogroup),
    niceness counts within a session only; so this makes one and raises it as a whole."""
    try:
        if os.getpid() != os.getsid(0):
            os.setsid()
        pathlib.Path("/proc/self/autogroup").write_text("-19")
    except OSError:
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -19)
    except PermissionError:
        pass
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pin(core):
    """For preexec_fn."""
    return lambda: os.sched_setaffinity(0, {core % os.cpu_count()})


def cpu_seconds(pid):
    """CPU time of a process and all its threads, those that have ended included: the clock that
    clock_getcpuclockid(3) names."""
    return time.clock_gettime(~pid << 3 | 2)


def busy_seconds():
    """What all cores together have been busy with, the hypervisor's theft included."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Neighbours:
    """How many cores' worth of time others used while a run was going on."""

    def __init__(self):
        self.busy, self.start = busy_seconds(), time.monotonic()

    def cores(self, own_seconds):
        seconds = time.monotonic() - self.start
        return max(0.0, busy_seconds() - self.busy - own_seconds) / seconds


def describe():
    """The machine in general words."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in info.split("\n")
                  if line.startswith("model name")), platform.machine())
    kind = "virtual machine" if " hypervisor" in info else "machine"
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    return f"{kind} with {os.cpu_count()} CPUs ({model}), Linux {kernel}"


def revision(project):
    """The version that is measured, as its repository says; empty without one."""
    try:
        return subprocess.run(["git", "-C", project, "describe", "--always", "--dirty"],
                              capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
