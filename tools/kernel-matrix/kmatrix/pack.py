# SPDX-License-Identifier: MIT
"""What the test machine is given: PID 1, the programs, the list of jobs, as one initramfs."""

import os
import re
import shutil
import stat
import subprocess
import threading
from dataclasses import dataclass, field

from .catalogue import PARTS, Problem, cache

GUEST = PARTS / "guest"
COMPILERS = {"amd64": "cc", "arm64": "aarch64-linux-gnu-gcc"}
# What libc expects of a Unix system, name resolution above all.
ETC = {
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\n",
    "passwd": "root:x:0:0:root:/tmp:/bin/sh\n",
    "group": "root:x:0:\n",
    "services": "http 80/tcp\nhttps 443/tcp\n",
}
BASE_ENVIRONMENT = {"PATH": "/bin:/ouro", "HOME": "/tmp", "TMPDIR": "/tmp"}


@dataclass
class Job:
    """One program to run; `program` is a file of this machine, the rest as guest/init.c has it."""

    name: str
    program: str
    arguments: list = field(default_factory=list)
    environment: dict = field(default_factory=dict)
    timeout_s: int = 60
    settings: dict = field(default_factory=dict)  # uid, memlock, nofile, deny


@dataclass
class Place:
    """What all jobs of a boot share."""

    files: dict = field(default_factory=dict)    # path in the machine: file of this one
    sysctls: dict = field(default_factory=dict)
    disk: str = ""                               # size of an ext4 disk on /mnt, "64M"


def guest_init(arch):
    """PID 1, compiled when its source is newer."""
    built = cache() / "init" / f"init-{arch}"
    sources = sorted(GUEST.glob("*.[ch]"))
    if built.exists() and all(s.stat().st_mtime < built.stat().st_mtime for s in sources):
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    fresh = built.with_name(f"{built.name}.{os.getpid()}.{threading.get_ident()}")
    compiler = os.environ.get(f"OURO_KERNELS_CC_{arch.upper()}", COMPILERS[arch])
    subprocess.run([*compiler.split(), "-std=gnu11", "-O2", "-static", "-s", "-o", fresh,
                    *GUEST.glob("*.c")], check=True)
    fresh.rename(built)
    return built


class Archive:
    """A cpio archive in the "newc" format, which the kernel unpacks."""

    def __init__(self):
        self.parts = []
        self.folders = set()
        self.inode = 0

    def _entry(self, name, mode, data=b""):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % value for value in fields) + encoded
        self.parts += [header, b"\0" * (-len(header) % 4), data, b"\0" * (-len(data) % 4)]

    def add(self, path, data, mode=0o755):
        name = path.lstrip("/")
        folders = name.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            folder = "/".join(folders[:depth])
            if folder not in self.folders:
                self.folders.add(folder)
                self._entry(folder, stat.S_IFDIR | 0o755)
        self._entry(name, stat.S_IFREG | mode, data)

    def finish(self):
        self._entry("TRAILER!!!", 0)
        return b"".join(self.parts)


def _libraries(program):
    """The shared libraries of a dynamic program of this machine."""
    said = subprocess.run(["ldd", program], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False).stdout
    return re.findall(r"(?:=> |^\s+)(/\S+)", said, re.M)


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}") from error


def job_list(jobs, places, place):
    """The text of /ouro/jobs."""
    lines = [f"sysctl={key}={value}" for key, value in place.sysctls.items()]
    if place.disk:
        lines.append("disk=/dev/nvme0n1")
    for job in jobs:
        lines += [f"job={job.name}", f"arg={places[job.program]}"]
        lines += [f"arg={argument}" for argument in job.arguments]
        lines += [f"env={key}={value}"
                  for key, value in {**BASE_ENVIRONMENT, **job.environment}.items()]
        lines += [f"timeout_s={job.timeout_s}"]
        lines += [f"{key}={value}" for key, value in job.settings.items()]
    if any("\n" in line for line in lines):
        raise Problem("a newline in a job's argument or environment cannot be passed on")
    return "\n".join(lines) + "\n"


def initramfs(arch, jobs, place):
    archive = Archive()
    archive.add("/init", _read(guest_init(arch)))
    for name, text in ETC.items():
        archive.add(f"/etc/{name}", text.encode(), 0o644)
    places, libraries = {}, set()
    for job in jobs:
        if job.program in places:
            continue
        where = f"/ouro/{os.path.basename(job.program)}"
        if where in places.values():
            where = f"/ouro/{len(places)}/{os.path.basename(job.program)}"
        places[job.program] = where
        archive.add(where, _read(job.program))
        if arch == "amd64":
            libraries.update(_libraries(job.program))
    for where, source in place.files.items():
        archive.add(where, _read(source), 0o644 | (os.stat(source).st_mode & 0o111))
    for library in sorted(libraries):
        archive.add(library, _read(library))
    archive.add("/ouro/jobs", job_list(jobs, places, place).encode(), 0o644)
    return archive.finish()


def disk_image(path, size):
    maker = shutil.which("mke2fs", path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if not maker:
        raise Problem("a disk needs mke2fs (package e2fsprogs)")
    subprocess.run(["truncate", "-s", size, path], check=True)
    subprocess.run([maker, "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard", path],
                   check=True)
