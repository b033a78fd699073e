# SPDX-License-Identifier: MIT
"""Which kernels there are, and where everything lies."""

import os
import pathlib
from dataclasses import dataclass

PARTS = pathlib.Path(__file__).resolve().parent.parent
PROJECT = PARTS.parent.parent
ARCHES = ("amd64", "arm64")


class Problem(Exception):
    """Something a person has to know; the text says it all."""


def cache():
    """Downloads and what is made of them; outlives a build directory."""
    named = os.environ.get("OURO_KERNELS_CACHE")
    if named:
        return pathlib.Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "ouro" / "kernels"


@dataclass(frozen=True)
class Kernel:
    version: str          # 6.12.117: the name it goes by
    arch: str             # Debian's word: amd64, arm64
    package_version: str  # 6.12.117-1, or "" for whatever the mirror has of that version
    suite: str
    why: str

    @property
    def folder(self):
        return cache() / "kernels" / self.arch / self.version

    @property
    def image(self):
        return self.folder / "vmlinuz"

    @property
    def title(self):
        return self.version if self.arch == "amd64" else f"{self.version} {self.arch}"

    def fetched(self):
        return self.image.exists()

    def why_not(self):
        """Why it cannot be run; None if it can."""
        if self.fetched():
            return None
        note = self.folder.with_name(self.folder.name + ".absent")
        return note.read_text().strip() if note.exists() else "not fetched"


def version_key(version):
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def read(path=PARTS / "kernels.txt"):
    kernels = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split(None, 4)
        if len(fields) != 5 or fields[1] not in ARCHES:
            raise Problem(f"{path}:{number}: want VERSION ARCH PACKAGE-VERSION SUITE WHY")
        kernels.append(Kernel(*fields))
    return sorted(kernels, key=lambda k: (k.arch, version_key(k.version)))


def choose(names, arch=None, kernels=None):
    """The catalogue's kernels of that architecture (all, if None) and those names (all, if none).

    A name is a version, or a series ("6.12": its newest build here), or "newest". One that is in
    no line is taken as a version the mirror may have, for bisecting over stable builds.
    """
    kernels = [k for k in (kernels or read()) if arch in (None, k.arch)]
    if not names:
        return kernels
    chosen = []
    for name in names:
        found = [k for k in kernels if k.version == name]
        for wanted in ARCHES if not found else ():
            of_arch = [k for k in kernels if k.arch == wanted]
            series = [k for k in of_arch
                      if name == "newest" or k.version.startswith(name + ".")]
            found += series[-1:]
        if not found:
            found = [Kernel(name, arch or "amd64", "", "", "asked for by its version")]
        chosen += [k for k in found if k not in chosen]
    return chosen
