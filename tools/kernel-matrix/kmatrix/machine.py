# SPDX-License-Identifier: MIT
"""Boot a kernel under QEMU, without KVM and without root, and run jobs on it.

One boot runs all jobs, one after the other. A job that takes the machine with it (a panic, a
hang, a process that cannot be killed) is recorded as such, and the jobs after it get a new boot.
A boot that fails before the first job starts says nothing about any job and is tried again.
"""

import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

from . import console, fetch, pack
from .catalogue import Problem

BOOT_TRIES = 3
BOOT_LIMIT_S = 120
SILENCE_S = 60  # beyond a job's own time limit: then its machine hangs
POLL_S = 0.1


@dataclass
class Options:
    cpus: int = 2
    memory: str = "1G"
    append: str = ""    # more words for the kernel's command line
    boot_limit_s: int = BOOT_LIMIT_S
    nice: int = 10
    accel: str = ""     # QEMU's, when not our choice


@dataclass
class Run:
    """All jobs on one kernel."""

    kernel: object
    release: str = ""
    qemu: str = ""
    boots: int = 0
    failed_boots: int = 0
    boot_ms: int = 0     # the first boot's, by the guest's clock
    wall_s: float = 0.0
    notes: list = field(default_factory=list)
    results: list = field(default_factory=list)
    log: bytes = b""

    def ok(self):
        return bool(self.results) and all(r.ok() or r.skipped() for r in self.results)


BINARIES = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}


@dataclass(frozen=True)
class Qemu:
    binary: str
    version: str
    arguments: tuple = ()

    def before(self, *version):
        return tuple(int(n) for n in self.version.split(".")[:2]) < version


def qemu(arch):
    """The QEMU to use: one that `fetch --qemu` unpacked, else the machine's."""
    binary, arguments = BINARIES[arch], ()
    unpacked = fetch.unpacked_qemu()
    if arch == "amd64" and unpacked:
        share = unpacked / "usr" / "share"
        binary = str(unpacked / "usr" / "bin" / binary)
        arguments = ("-L", str(share / "qemu"), "-L", str(share / "seabios"))
    if not shutil.which(binary):
        raise Problem(f"{binary} is not installed (packages qemu-system-x86, qemu-system-arm)")
    done = subprocess.run([binary, "--version"], text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise Problem(f"{binary} does not run: {done.stderr.strip()} (the packages "
                      "qemu-system-x86 and qemu-system-arm bring the libraries it needs)")
    said = done.stdout
    return Qemu(binary, re.search(r"version (\d+\.\d+(?:\.\d+)?)", said)[1], arguments)


def _accelerator(arch, emulator, options):
    """TCG, and how many threads.

    One host thread for all of an x86 machine's CPUs where QEMU is older than 8.1. With a thread
    each, 7.2 was seen to crash about one boot in a hundred ("Oops: int3", as a CPU met code that
    another was patching); with one for all, one boot in some sixty still died while code was
    patched (in do_sync_core). Others report the same, and as fixed in 8.x: `fetch --qemu`.
    """
    if options.accel:
        return options.accel
    old = arch == "amd64" and emulator.before(8, 1)
    return "tcg,thread=single" if old else "tcg,thread=multi"


def _command(kernel, options, nonce, files, with_disk):
    emulator = qemu(kernel.arch)
    # q35 and not microvm: that gains 0.3 s at best and has no PM timer to calibrate the TSC by,
    # so that some kernels now and then hang there. reboot=t: restart by triple fault, at once.
    # arm64: pointer authentication by a plain hash, as QEMU's real one is slow.
    if kernel.arch == "amd64":
        tty, extra = "ttyS0", "reboot=t"
        machine = ["-machine", "q35", "-cpu", "max"]
    else:
        tty, extra = "ttyAMA0", ""
        machine = ["-machine", "virt", "-cpu", "max,pauth-impdef=on"]
    # loglevel=1: nothing on the console but a dying kernel's words (0 would hide these too);
    # its warnings come by /dev/kmsg
    words = (f"console={tty} quiet loglevel=1 panic=-1 oops=panic mitigations=off "
             f"ouro={nonce} {extra} {options.append}")
    command = ["nice", "-n", str(options.nice), emulator.binary, *emulator.arguments, *machine,
               "-accel", _accelerator(kernel.arch, emulator, options),
               "-smp", str(options.cpus), "-m", options.memory, "-nodefaults", "-no-user-config",
               "-display", "none", "-monitor", "none", "-no-reboot",
               "-serial", f"file:{files}/log", "-kernel", str(kernel.image),
               "-initrd", f"{files}/initrd", "-append", words.strip()]
    if with_disk:
        command += ["-drive", f"file={files}/disk,if=none,id=d0,format=raw,cache=unsafe",
                    "-device", "nvme,drive=d0,serial=ouro"]
    return command


def _watch(process, log_path, nonce, job_limit_s, options):
    """Waits for QEMU to end; kills it when the boot, or the job that runs, is overdue."""
    mark = b"@ouro " + nonce.encode() + b" "
    seen, tail, since, started = 0, b"", time.monotonic(), False
    while process.poll() is None:
        time.sleep(POLL_S)
        with open(log_path, "rb") as log:
            log.seek(seen)
            fresh = log.read()
        seen += len(fresh)
        if mark in tail + fresh:  # a job's output or end: somebody is alive in there
            started, since = True, time.monotonic()
        tail = fresh[-len(mark):]
        limit_s = job_limit_s + SILENCE_S if started else options.boot_limit_s
        if time.monotonic() - since > limit_s:
            process.kill()
            process.wait()
            return True
    return False


def _boot(kernel, jobs, place, options):
    """One boot. Returns (what was said, the log, whether we had to kill it)."""
    nonce = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="ouro-kernel.") as files:
        with open(f"{files}/initrd", "wb") as initrd:
            initrd.write(pack.initramfs(kernel.arch, jobs, place))
        if place.disk:
            pack.disk_image(f"{files}/disk", place.disk)
        open(f"{files}/log", "wb").close()
        with open(f"{files}/qemu", "wb") as words:
            process = subprocess.Popen(_command(kernel, options, nonce, files, bool(place.disk)),
                                       stdin=subprocess.DEVNULL, stdout=words, stderr=words)
            try:
                killed = _watch(process, f"{files}/log", nonce,
                                max(job.timeout_s for job in jobs), options)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        with open(f"{files}/log", "rb") as log, open(f"{files}/qemu", "rb") as words:
            text = log.read() + words.read()
    return console.parse(text, nonce), text, killed


def run(kernel, jobs, place=None, options=None):
    place, options = place or pack.Place(), options or Options()
    names = [job.name for job in jobs]
    if len(set(names)) != len(names):
        raise Problem("two jobs of one name")
    if not kernel.fetched():
        raise Problem(f"{kernel.title}: {kernel.why_not()}")
    result = Run(kernel, qemu=qemu(kernel.arch).version)
    begin, remaining, tries = time.monotonic(), list(jobs), 0
    while remaining:
        said, log, killed = _boot(kernel, remaining, place, options)
        result.boots += 1
        result.log += log
        result.notes += [note for note in said.notes if note not in result.notes]
        result.release = result.release or said.release
        result.boot_ms = result.boot_ms or said.boot_ms
        if not said.results:
            result.failed_boots += 1
            tries += 1
            if b"Initramfs unpacking failed" in log:
                raise Problem(f"{kernel.title}: the programs do not fit into {options.memory} of "
                              "memory, of which half is for files: give more by --memory")
            if tries == BOOT_TRIES:
                result.results += [console.Result(job.name, "not-run") for job in remaining]
                break
            continue
        if said.running:
            last = said.results[-1]
            last.outcome = ("panic" if b"Kernel panic" in log else "hang" if killed else "lost")
        tries = 0
        result.results += said.results
        remaining = remaining[len(said.results):]
    result.wall_s = time.monotonic() - begin
    return result
