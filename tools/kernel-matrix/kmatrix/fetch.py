# SPDX-License-Identifier: MIT
"""Kernels and cross-compiling packages, downloaded and unpacked into the cache, never installed.

CACHE/kernels/ARCH/VERSION/{vmlinuz,release,package}: a kernel that is there is kept, with no use
of the network, so a warm cache works offline. VERSION.absent beside it says why one is not there.
"""

import hashlib
import re
import shutil
import subprocess

from .apt import Apt, machine_suite
from .catalogue import Problem, cache

# Until 6.18 the kernel is in linux-image-*; since then that is an empty package and
# linux-binary-* has it. "-unsigned" lacks only the Secure Boot signature.
KERNEL_PACKAGE = r"linux-(image|binary|binary-unsigned)-[0-9]\S*-cloud-%s(-unsigned)?"
EMPTY_PACKAGE_BYTES = 4_000_000


def _apt(arch, refresh):
    apt = Apt(arch)
    if refresh or not apt.indexes():
        apt.update()
    return apt


def on_mirror(arch, refresh=False):
    """Every kernel package of that architecture, oldest first; the signed ones last."""
    found = [p for p in _apt(arch, refresh).packages(KERNEL_PACKAGE % arch)
             if p.size_bytes > EMPTY_PACKAGE_BYTES]
    return sorted(found, key=lambda p: "unsigned" not in p.name)


def fetch(kernel, refresh=False):
    """Sees to it that the kernel is in the cache; raises Problem, and notes it, where it can't."""
    if kernel.fetched():
        return
    note = kernel.folder.with_name(kernel.folder.name + ".absent")
    note.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(kernel, refresh)
        note.unlink(missing_ok=True)
    except Problem as problem:
        note.write_text(f"{problem}\n")
        raise


def _fetch(kernel, refresh):
    wanted = [p for p in on_mirror(kernel.arch, refresh)
              if kernel.package_version in ("", p.version) and p.upstream == kernel.version]
    if not wanted:
        raise Problem(f"the mirror lists no build {kernel.package_version or kernel.version}")
    failure = None
    for package in reversed(wanted):
        # an index may name a package that is gone from the pool: then its unsigned twin
        try:
            deb = Apt(kernel.arch).download(package)
        except Problem as problem:
            failure = problem
            continue
        _unpack(kernel, package, deb)
        return
    raise failure


def _unpack(kernel, package, deb):
    fresh = kernel.folder.with_name(kernel.folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    tar = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", fresh, "--wildcards", "./boot/vmlinuz-*",
                    "./usr/lib/modules/*/vmlinuz"],
                   stdin=tar.stdout, stderr=subprocess.DEVNULL, check=False)
    tar.stdout.close()
    tar.wait()
    images = [*fresh.glob("boot/vmlinuz-*"), *fresh.glob("usr/lib/modules/*/vmlinuz")]
    if not images:
        raise Problem(f"{package.name} {package.version}: no kernel inside")
    image = images[0]
    release = (image.name[len("vmlinuz-"):] if image.parent.name == "boot"
               else image.parent.name)
    image.rename(fresh / "vmlinuz")
    for leftover in ("boot", "usr"):
        shutil.rmtree(fresh / leftover, ignore_errors=True)
    (fresh / "release").write_text(release + "\n")
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    (fresh / "package").write_text(f"{package.name} {package.version} {package.suite} {digest}\n")
    shutil.rmtree(kernel.folder, ignore_errors=True)
    fresh.rename(kernel.folder)


QEMU_PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")


def _qemu_suite():
    return machine_suite() + "-backports"


def fetch_qemu():
    """A newer QEMU for x86 than the machine's release has, unpacked beside it."""
    return sysroot("amd64", QEMU_PACKAGES, _qemu_suite())


def unpacked_qemu():
    folder = cache() / "sysroot" / "amd64" / _qemu_suite()
    return folder if all((folder / f".{name}").exists() for name in QEMU_PACKAGES) else None


def sysroot(arch, names, suite=None):
    """Development packages of another architecture, unpacked beside the machine's own.

    Only the named packages, not what they depend on. No dpkg --add-architecture, nothing
    installed. Returns the folder.
    """
    suite = suite or machine_suite()
    folder = cache() / "sysroot" / arch / suite
    missing = [name for name in names if not (folder / f".{name}").exists()]
    if not missing:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    apt = _apt(arch, refresh=False)
    for name in missing:
        found = [p for p in apt.packages(re.escape(name)) if p.suite == suite]
        if not found:
            raise Problem(f"no package {name} in {suite} for {arch}")
        subprocess.run(["dpkg-deb", "-x", apt.download(found[-1]), folder], check=True)
        (folder / f".{name}").write_text(found[-1].version + "\n")
    return folder
