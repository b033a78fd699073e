# SPDX-License-Identifier: MIT
"""An apt of our own beside the machine's.

The machine's sources, lists, caches and package database stay as they are: every call points all
of those paths into CACHE/apt/ARCH. Only proxy and authentication settings are still read from the
machine's apt.conf.d. The mirror's address is taken from the machine's own sources at run time (or
from OURO_KERNELS_MIRROR and OURO_KERNELS_SECURITY_MIRROR); none is written here. Signatures are
checked by apt, against Debian's archive keyring.
"""

import os
import pwd
import re
import subprocess
from dataclasses import dataclass

from .catalogue import Problem, cache, version_key

SUITES = ("bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid")
SECURITY_SUITES = ("bullseye-security", "bookworm-security", "trixie-security")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    suite: str
    size_bytes: int

    @property
    def upstream(self):
        return re.sub(r"-[^-]*$", "", re.sub(r"^\d+:", "", self.version))


def machine_suite():
    for line in open("/etc/os-release", encoding="utf-8"):
        if line.startswith("VERSION_CODENAME="):
            return line.strip().split("=", 1)[1].strip('"')
    raise Problem("/etc/os-release names no release: not a Debian machine?")


class Apt:
    def __init__(self, arch):
        self.arch = arch
        self.folder = cache() / "apt" / arch
        base, lists = self.folder, self.folder / "lists"
        self.options = [
            f"-oDir::Etc::SourceList={base}/sources.list",
            "-oDir::Etc::SourceParts=/dev/null",
            "-oDir::Etc::Preferences=/dev/null",
            "-oDir::Etc::PreferencesParts=/dev/null",
            f"-oDir::State={base}/state",
            f"-oDir::State::Lists={lists}",
            "-oDir::State::Status=/dev/null",
            f"-oDir::Cache={base}/cache",
            "-oDir::Cache::pkgcache=pkgcache.bin",
            f"-oDir::Log={base}",
            f"-oAPT::Architecture={arch}",
            f"-oAPT::Architectures={arch}",
            f"-oAPT::Sandbox::User={pwd.getpwuid(os.getuid()).pw_name}",
            "-oAcquire::Languages=none",
            "-oAcquire::Retries=3",
        ]

    def _run(self, *arguments, cwd=None):
        return subprocess.run(["apt-get", "-q", *self.options, *arguments], cwd=cwd, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    def update(self):
        """Writes our source list and fetches the indexes; suites the mirror lacks are left out."""
        main = os.environ.get("OURO_KERNELS_MIRROR") or _machine_mirror(machine_suite())
        security = (os.environ.get("OURO_KERNELS_SECURITY_MIRROR")
                    or _machine_mirror(machine_suite() + "-security"))
        if not main:
            raise Problem("this machine's apt sources name no Debian mirror; "
                          "set OURO_KERNELS_MIRROR and OURO_KERNELS_SECURITY_MIRROR")
        for part in ("lists/partial", "state", "cache/archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        lines = [f"deb [signed-by={KEYRING}] {main} {suite} main" for suite in SUITES]
        if security:
            lines += [f"deb [signed-by={KEYRING}] {security} {suite} main"
                      for suite in SECURITY_SUITES]
        (self.folder / "sources.list").write_text("\n".join(lines) + "\n")
        (self.folder / "update.log").write_text(self._run("update").stdout)
        if not self.indexes():
            raise Problem(f"no package index could be fetched: {self.folder}/update.log")

    def indexes(self):
        """[(suite, file)] of each package index that is there."""
        if not (self.folder / "sources.list").exists():
            return []
        said = self._run("indextargets", "--format", "$(RELEASE) $(FILENAME)",
                         "Created-By: Packages").stdout
        pairs = [line.split(" ", 1) for line in said.splitlines() if " /" in line]
        return [(suite, file) for suite, file in pairs if os.path.exists(file)]

    def packages(self, pattern):
        """Every package whose name matches the regular expression, oldest first."""
        wanted, found = re.compile(pattern), set()
        for suite, file in self.indexes():
            text = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", file], check=True,
                                  stdout=subprocess.PIPE).stdout.decode("utf-8", "replace")
            for match in re.finditer(r"^Package: (\S+)\n(?:.+\n)*", text, re.M):
                if wanted.fullmatch(match[1]):
                    fields = dict(re.findall(r"^(Version|Size): (\S+)", match[0], re.M))
                    found.add(Package(match[1], fields["Version"], suite,
                                      int(fields.get("Size", 0))))
        return sorted(found, key=lambda p: (version_key(p.upstream), p.version, p.name))

    def download(self, package):
        """Its .deb, from the cache or the mirror. Raises Problem where it cannot be had."""
        debs = cache() / "debs"
        debs.mkdir(parents=True, exist_ok=True)
        stem = f"{package.name}_{package.version.replace(':', '%3a')}_"
        for arch in (self.arch, "all"):
            if (debs / f"{stem}{arch}.deb").exists():
                return debs / f"{stem}{arch}.deb"
        said = self._run("download", f"{package.name}={package.version}", cwd=debs)
        for arch in (self.arch, "all"):
            if (debs / f"{stem}{arch}.deb").exists():
                return debs / f"{stem}{arch}.deb"
        errors = [line for line in said.stdout.splitlines() if line.startswith("E: ")]
        reason = re.sub(r"https?://\S*/", ".../", errors[0][3:] if errors else "apt said nothing")
        raise Problem(f"{package.name} {package.version}: {reason}")


def _machine_mirror(suite):
    said = subprocess.run(["apt-get", "indextargets", "--format",
                           "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"],
                          text=True, stdout=subprocess.PIPE, check=False).stdout
    for line in said.splitlines():
        fields = line.split()
        if fields[:2] == [suite, "main"]:
            return fields[2]
    return None
