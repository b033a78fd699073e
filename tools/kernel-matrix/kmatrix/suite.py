# SPDX-License-Identifier: MIT
"""What a report runs: the project's static programs, built here, and the jobs made of them."""

import os
import pathlib
import re
import subprocess

from . import fetch
from .catalogue import PARTS, PROJECT, Problem, version_key
from .pack import Job

# What the project links; static Check needs subunit.
SYSROOT_PACKAGES = ("liburing-dev", "check", "libsubunit-dev", "libseccomp-dev", "libssl-dev",
                    "libjansson-dev")
TOOLCHAIN = PROJECT / "cmake" / "toolchain-aarch64.cmake"
TARGETS = r"^(?:\.\.\. )?(ouro-ktest|ouro_cli|test_(?!harness_outcomes)\w+)(?=:|$| )"
DRIVERS = ("unit", "uring", "epoll")  # tests/support/main.c

# Emulation costs a factor of ten to thirty and other work on the host comes on top; a time limit
# here is there to end what hangs, not to measure.
TEST_TIMEOUT_S = 240
KTEST_TIMEOUT_S = 420
PROBE_TIMEOUT_S = 60
TIMEOUT_FACTOR = "10"
KTEST_SLACK = "10"
# From here on the runtime must choose io_uring by itself, and below it epoll.
IO_URING_SINCE = (6, 1)
# init's own limit is 4,096, and some cases hold thousands of connections
TEST_SETTINGS = {"nofile": "65536"}


def _cmake(command, environment):
    done = subprocess.run(["cmake", *command], env=environment, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise Problem(f"cmake {' '.join(command)} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def build(arch, folder, parallel=2):
    """Configures and builds every program the matrix runs, linked statically."""
    configure = ["-S", str(PROJECT), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release",
                 "-DOURO_STATIC_TESTS=ON", "-DOURO_KTEST_STATIC=ON", "-DPKG_CONFIG_ARGN=--static",
                 f"-DCMAKE_PROJECT_INCLUDE={PARTS / 'static.cmake'}"]
    environment = dict(os.environ)
    if arch == "arm64":
        configure += [f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}"]
        environment["OURO_SYSROOT"] = str(fetch.sysroot("arm64", SYSROOT_PACKAGES))
    _cmake(configure, environment)
    # not everything: the examples, for one, are there to link the shared library
    known = _cmake(["--build", str(folder), "--target", "help"], environment)
    targets = sorted(set(re.findall(TARGETS, known, re.M)))
    if not targets:
        raise Problem(f"{folder}: the project has no program to run")
    _cmake(["--build", str(folder), "--parallel", str(parallel), "--target", *targets], environment)


def is_static(path):
    """An ELF program without an interpreter: it runs where nothing else is."""
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return False
    said = subprocess.run(["readelf", "-lW", path], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False).stdout
    return "INTERP" not in said


def _executables(folder):
    for path in sorted(pathlib.Path(folder).rglob("*")):
        inner = path.relative_to(folder).parts
        if "CMakeFiles" in inner or not path.is_file() or not os.access(path, os.X_OK):
            continue
        yield path


def programs(folder):
    """{"ktest": path, "ouro": path, "tests": {name: path}} of a build directory."""
    found = {"ktest": None, "ouro": None, "tests": {}}
    for path in _executables(folder):
        inner = path.relative_to(folder)
        if path.name == "ouro-ktest":
            found["ktest"] = path
        elif path.name == "ouro" and is_static(path):
            found["ouro"] = path
        elif (inner.parts[0] == "tests" and path.name != "test_harness_outcomes"  # fails on purpose
              and path.name.startswith("test_") and is_static(path)):
            found["tests"]["/".join(inner.parts[1:-1] + (path.name[len("test_"):],))] = path
    return found


def known_list(kernel):
    """The expected failures of that kernel, if the project ships a list of them."""
    folder = PROJECT / "tools" / "ktest" / "known"
    for name in (f"{kernel.version}-{kernel.arch}.txt", f"{kernel.version}.txt"):
        if (folder / name).exists():
            return folder / name
    return None


def jobs(kernel, found, drivers=DRIVERS):
    """The jobs for one kernel, and the files they need in the machine."""
    made, files = [], {}
    if found["ktest"]:
        arguments = ["--json", "--quiet", "--slow", "--slack", KTEST_SLACK]
        known = known_list(kernel)
        if known:
            files["/ouro/known.txt"] = str(known)
            arguments += ["--known", "/ouro/known.txt"]
        made.append(Job("ktest", str(found["ktest"]), arguments, timeout_s=KTEST_TIMEOUT_S))
    if found["ouro"]:
        made.append(Job("probe", str(found["ouro"]), ["probe", "--json"],
                        timeout_s=PROBE_TIMEOUT_S))
    own_choice = "uring" if version_key(kernel.version) >= IO_URING_SINCE else "epoll"
    for name, path in found["tests"].items():
        for driver in drivers:
            environment = {"OURO_TEST_DRIVER": driver, "OURO_TEST_TIMEOUT_FACTOR": TIMEOUT_FACTOR}
            if driver == own_choice:
                environment["OURO_TEST_AUTO"] = "1"
            made.append(Job(f"{name}[{driver}]", str(path), [], environment,
                            timeout_s=TEST_TIMEOUT_S, settings=TEST_SETTINGS))
    return made, files
