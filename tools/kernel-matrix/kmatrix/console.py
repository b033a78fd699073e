# SPDX-License-Identifier: MIT
"""Reads back what the test machine said on its serial line; guest/console.c has the form."""

import re
from dataclasses import dataclass, field


@dataclass
class Result:
    """How one job ended.

    outcome: exit, signal, timeout   the job's own end; value is the status, number or seconds
             panic, hang, lost       it took the machine with it: the kernel died, nothing came
                                     any more, QEMU ended by itself
             error                   it could not be started
             not-run                 the machine never came up
    """

    name: str
    outcome: str
    value: int = 0
    took_ms: int = 0
    out: bytes = b""
    err: bytes = b""
    kernel_log: list = field(default_factory=list)
    hang: list = field(default_factory=list)

    def ok(self):
        return self.outcome == "exit" and self.value == 0

    def skipped(self):
        return self.outcome == "exit" and self.value == 77

    def words(self):
        if self.outcome in ("exit", "signal"):
            return f"{self.outcome} {self.value}"
        return f"timeout {self.value} s" if self.outcome == "timeout" else self.outcome


@dataclass
class Said:
    release: str = ""
    boot_ms: int = 0
    started: bool = False
    ended: bool = False
    running: str = ""  # the job that had begun and not ended
    notes: list = field(default_factory=list)
    results: list = field(default_factory=list)


def parse(log, nonce):
    """What the bytes of a console log tell, up to wherever they end."""
    mark = b"@ouro " + nonce.encode() + b" "
    said, at, current = Said(), 0, None
    while (at := log.find(mark, at)) >= 0:
        end = log.find(b"\n", at)
        if end < 0:
            break
        kind, _, text = log[at + len(mark):end].decode("utf-8", "replace").strip().partition(" ")
        at = end + 1
        if kind in ("out", "err") and current and text.isdigit():
            setattr(current, kind, getattr(current, kind) + log[at:at + int(text)])
            at += int(text)
        elif kind == "begin":
            said.started = True
            said.release = re.search(r"release=(\S*)", text)[1]
            said.boot_ms = int(re.search(r"boot_ms=(\d+)", text)[1])
        elif kind == "job":
            current = _job(said, current, text)
        elif kind == "kmsg" and current:
            current.kernel_log.append(text)
        elif kind == "hang" and current:
            current.hang.append(text)
        elif kind == "note":
            said.notes.append(text)
        elif kind == "end":
            said.ended = True
    said.running = current.name if current else ""
    if current:
        said.results.append(current)
    return said


def _job(said, current, text):
    started = re.fullmatch(r"\d+ start (.*)", text)
    if started:
        return Result(started[1], "lost")
    ended = re.fullmatch(r"\d+ (exit|signal|timeout|error)=(\S+)(?: ms=(\d+))?.*", text)
    if ended and current:
        current.outcome = ended[1]
        current.value = int(ended[2]) if ended[2].lstrip("-").isdigit() else 0
        current.took_ms = int(ended[3] or 0)
        said.results.append(current)
    return None
