# SPDX-License-Identifier: MIT
"""Builds the programs of tools/bench/peers, each by itself: what cannot be built is left out, and
the page says why. They stand on Debian's packages and are no part of the project's own build.
"""

import os
import pathlib
import shutil
import subprocess

from . import programs

SOURCES = pathlib.Path(__file__).resolve().parents[1] / "peers"
CRATES = "/usr/share/cargo/registry"
BUILD_SECONDS = 600

C = "{cc} -O2 -D_GNU_SOURCE -I{sources}/.. {source} {sources}/../support.c -o {out} "
GO = "{go} build -o {out} {source}"
# program: (source, command, Debian's packages)
PEERS = {
    "echo_libuv": ("echo_libuv.c", C + "-luv -luring", "libuv1-dev"),
    "echo_libevent": ("echo_libevent.c", C + "-levent -luring", "libevent-dev"),
    "echo_asio": ("echo_asio.cpp", "{cxx} -O2 -std=c++17 {source} -pthread -o {out}",
                  "libasio-dev"),
    "echo_go": ("echo_go.go", GO, "golang-go"),
    "connect_go": ("connect_go.go", GO, "golang-go"),
    "echo_tokio": ("tokio", "tokio", "cargo librust-tokio-dev librust-tokio+full-dev"),
    "connect_tokio": ("tokio", "tokio", "cargo librust-tokio-dev librust-tokio+full-dev"),
}
TOOLS = {"cc": os.environ.get("CC", "cc"), "cxx": os.environ.get("CXX", "c++"), "go": "go"}


def newest(path):
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    return max(file.stat().st_mtime for file in files)


def run(words, folder, environment=None):
    """None, or the last line of what it said."""
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True,
                              timeout=BUILD_SECONDS, check=False, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, **(environment or {})))
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = (done.stderr or done.stdout).strip().splitlines() or [""]
    errors = [line for line in lines if "error" in line]
    return None if done.returncode == 0 else (errors or lines)[0]


def build_tokio(out):
    """Both programs; in a copy of the sources, for cargo writes beside them."""
    folder = out.parent / "tokio"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SOURCES / "tokio", folder)
    if not pathlib.Path(CRATES).is_dir():
        return f"{CRATES} is not there"
    wrong = run(["cargo", "build", "--offline", "--release",
                 "--config", 'source.crates-io.replace-with="debian"',
                 "--config", f'source.debian.directory="{CRATES}"'], folder,
                {"CARGO_TARGET_DIR": str(folder / "target")})
    if wrong is None:
        for name in ("echo_tokio", "connect_tokio"):
            shutil.copy2(folder / "target" / "release" / name, out.parent / name)
            os.utime(out.parent / name)
    return wrong


def build_one(name, out):
    source, command, _ = PEERS[name]
    if command == "tokio":
        return build_tokio(out)
    values = dict(TOOLS, source=SOURCES / source, sources=SOURCES, out=out)
    environment = {"GO111MODULE": "off", "CGO_ENABLED": "0", "GOFLAGS": ""}
    return run([word.format(**values) for word in command.split()], out.parent, environment)


def build(build_folder, needed, tell):
    """{program: why it could not be built}, of those in @needed that could not."""
    folder = build_folder / "bench" / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    failed = {}
    for name in [name for name in PEERS if name in needed]:
        source, _, packages = PEERS[name]
        out = folder / name
        if out.exists() and out.stat().st_mtime > newest(SOURCES / source):
            continue
        tell(f"building {name}")
        wrong = build_one(name, out)
        if wrong is not None:
            failed[name] = f"cannot be built without Debian's {packages}: " + \
                wrong.replace(str(SOURCES), "peers").replace(str(build_folder), "build")
    return failed


def named(tables):
    """The peers that some template of @tables runs."""
    text = " ".join(template for table in tables for template in table.values())
    return {name for name in PEERS if "{peers}/" + name + " " in text}


def packages():
    """All that the comparison can use, for --install."""
    words = " ".join([row[2] for row in PEERS.values()] + list(programs.PACKAGES.values()))
    return sorted(set(words.split()) - ({"cargo"} if shutil.which("cargo") else set()))
