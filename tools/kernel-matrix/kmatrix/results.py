# SPDX-License-Identifier: MIT
"""The results directory: what a report is made of, kept so that it can be made again.

    ARCH/VERSION/result.json       how each job ended, and how the boot went
    ARCH/VERSION/JOB.out, JOB.err  what each printed
    ARCH/VERSION/console.log       the serial line as it was

A kernel that could not be run has a result.json that says why, and nothing else.  When only some
jobs are run again the others stay as they were; each job has its own date and version of ouro.
"""

import datetime
import functools
import json
import shutil
import subprocess
from dataclasses import asdict

from .catalogue import PROJECT


def file_name(job):
    return job.replace("/", ".")


@functools.cache
def project_version():
    """Asked for once, before the programs are built: the sources may change while they run."""
    if shutil.which("git") is None:
        return "unversioned"
    said = subprocess.run(["git", "-C", PROJECT, "describe", "--always", "--dirty", "--tags"],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return said.stdout.strip() or "unversioned"


def today():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")


def _folder(root, kernel):
    return root / kernel.arch / kernel.version


def _fresh_folder(root, kernel):
    folder = _folder(root, kernel)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _describe(kernel):
    return {"version": kernel.version, "arch": kernel.arch, "why": kernel.why,
            "package_version": kernel.package_version, "suite": kernel.suite}


def absent(kernel, reason):
    return {**_describe(kernel), "not_run": reason}


def save_absent(root, kernel, reason):
    folder = _fresh_folder(root, kernel)
    (folder / "result.json").write_text(json.dumps(absent(kernel, reason), indent=1) + "\n")


def _jobs_before(root, kernel):
    path = _folder(root, kernel) / "result.json"
    return json.loads(path.read_text()).get("jobs", []) if path.exists() else []


def save(root, run, keep=False):
    """With @keep what was found before stays, but for the jobs that have been run now."""
    again = {result.name for result in run.results}
    kept = [job for job in _jobs_before(root, run.kernel) if keep and job["name"] not in again]
    folder = _folder(root, run.kernel) if kept else _fresh_folder(root, run.kernel)
    when = {"date": today(), "project": project_version()}
    record = {**_describe(run.kernel), "release": run.release, "qemu": run.qemu, "boots": run.boots,
              "failed_boots": run.failed_boots, "boot_ms": run.boot_ms,
              "wall_s": round(run.wall_s, 1), "notes": run.notes, "jobs": kept}
    for result in run.results:
        job = {**asdict(result), **when}
        for stream in ("out", "err"):
            path = folder / f"{file_name(result.name)}.{stream}"
            path.unlink(missing_ok=True)
            text = job.pop(stream)
            if text:
                path.write_bytes(text)
        record["jobs"].append(job)
    (folder / "console.log").write_bytes(run.log)
    (folder / "result.json").write_text(json.dumps(record, indent=1) + "\n")


def load(root):
    """Every kernel's record, with "folder" added, in the order of the catalogue."""
    records = []
    for path in root.glob("*/*/result.json"):
        record = json.loads(path.read_text())
        record["folder"] = path.parent
        records.append(record)
    return records


def output(record, job, stream="out"):
    path = record["folder"] / f"{file_name(job)}.{stream}"
    return path.read_bytes() if path.exists() else b""
