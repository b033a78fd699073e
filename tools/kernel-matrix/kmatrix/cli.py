# SPDX-License-Identifier: MIT
"""The command line of tools/kernel-matrix."""

import argparse
import concurrent.futures
import os
import pathlib
import re
import sys
import threading

from . import catalogue, fetch, machine, page, pack, results, suite
from .catalogue import PROJECT, Problem

EPILOG = """\
A KERNEL is a version of the list (6.12.117), a series (6.12: its newest build in the list) or
"newest"; any other full version is looked for on the mirror. Downloads go to
$OURO_KERNELS_CACHE (default ~/.cache/ouro/kernels).

  kernel-matrix fetch                     every kernel of the list, about 1 GB
  kernel-matrix run ./a ./b               both programs, in one boot, on every kernel fetched
  kernel-matrix run -k 6.1 ./a -- --all   with arguments, on one
  kernel-matrix report                    fetch, build, run everything, write docs/KERNELS.md

Needs on Debian: qemu-system-x86 gcc libc6-dev; for arm64 qemu-system-arm gcc-aarch64-linux-gnu
libc6-dev-arm64-cross; for --disk e2fsprogs. Neither root nor KVM.
"""
_print_lock = threading.Lock()


def say(text, file=sys.stderr):
    with _print_lock:
        print(text, file=file, flush=True)


def _selected(args):
    return catalogue.choose(args.kernel, args.arch)


def command_list(args):
    if args.mirror:
        for arch in [args.arch] if args.arch else catalogue.ARCHES:
            for package in sorted(fetch.on_mirror(arch, args.refresh),
                                  key=lambda p: catalogue.version_key(p.upstream)):
                if "unsigned" not in package.name:
                    print(f"{package.upstream:10} {arch}  {package.version:20} {package.suite:18} "
                          f"{package.size_bytes / 1e6:5.1f} MB  {package.name}")
        return 0
    for kernel in _selected(args):
        print(f"{kernel.version:10} {kernel.arch}  {kernel.why_not() or 'fetched':12} {kernel.why}")
    return 0


def command_fetch(args):
    """A kernel that cannot be had is said to be so, and is no failure of the command unless it
    was asked for by name."""
    missing = 0
    if args.qemu:
        say(f"QEMU: {fetch.fetch_qemu()}")
    for kernel in _selected(args):
        try:
            fetch.fetch(kernel, args.refresh)
            say(f"{kernel.title}: {(kernel.folder / 'package').read_text().split()[0]}")
        except Problem as problem:
            missing += 1
            say(f"{kernel.title}: cannot be had: {problem}")
    return 1 if missing and args.kernel else 0


def command_sysroot(args):
    print(fetch.sysroot(args.arch or "arm64", args.package or suite.SYSROOT_PACKAGES))
    return 0


def _options(args):
    return machine.Options(cpus=args.cpus, memory=args.memory, append=args.append,
                           boot_limit_s=args.boot_timeout, nice=args.nice, accel=args.accel)


def _pairs(texts, what):
    if any("=" not in text for text in texts):
        raise Problem(f"{what} wants NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


def _each(kernels, parallel, work):
    """work(kernel) for each, `parallel` at a time, results in order."""
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        return list(pool.map(work, kernels))


def command_run(args):
    programs, arguments = args.program, []
    if "--" in programs:
        cut = programs.index("--")
        programs, arguments = programs[:cut], programs[cut + 1:]
    if not programs:
        raise Problem("no program to run; arguments stand after --")
    settings = _pairs(args.limit, "--limit")
    if args.uid:
        settings["uid"] = args.uid
    if args.deny:
        settings["deny"] = args.deny
    jobs = [pack.Job(os.path.basename(program), program, arguments,
                     _pairs(args.env, "--env"), args.timeout, settings) for program in programs]
    place = pack.Place(sysctls=_pairs(args.sysctl, "--sysctl"), disk=args.disk)
    for text in args.file:
        source, _, where = text.partition(":")
        place.files[where or f"/ouro/{os.path.basename(source)}"] = source
    kernels = [k for k in _selected(args) if k.fetched() or args.kernel]

    def one(kernel):
        run = machine.run(kernel, jobs, place, _options(args))
        failed = 0
        for note in run.notes:
            say(f"note kernel={kernel.version} arch={kernel.arch} {note}")
        for result in run.results:
            fine = (result.ok() or result.skipped()) and not (args.strict and result.kernel_log)
            failed += not fine
            with _print_lock:
                sys.stdout.buffer.write(result.out)
                sys.stdout.flush()
                sys.stderr.buffer.write(result.err)
                for line in result.hang:
                    print(f"  hang {line}", file=sys.stderr)
                for line in result.kernel_log:
                    print(f"  kernel {line}", file=sys.stderr)
                print(f"{'ok  ' if fine else 'FAIL'} kernel={kernel.version} arch={kernel.arch} "
                      f"program={result.name} {result.words().replace(' ', '=', 1)} "
                      f"ms={result.took_ms} boots={run.boots} wall_s={run.wall_s:.1f}",
                      file=sys.stderr, flush=True)
        if args.log:
            pathlib.Path(args.log).mkdir(parents=True, exist_ok=True)
            (pathlib.Path(args.log) / f"{kernel.arch}-{kernel.version}.log").write_bytes(run.log)
        return failed

    failed = sum(_each(kernels, args.parallel, one))
    say(f"{len(kernels)} kernels, {len(kernels) * len(jobs) - failed} passed, {failed} failed")
    return 1 if failed or not kernels else 0


def _newer_qemu():
    """QEMU before 8.1 now and then kills an x86 kernel; the run goes on with it all the same."""
    try:
        if not machine.qemu("amd64").before(8, 1):
            return
    except Problem:
        pass
    try:
        say(f"QEMU: {fetch.fetch_qemu()}")
    except Problem as problem:
        say(f"no newer QEMU: {problem}")


def _run_for_report(kernels, found, args, folder):
    def one(kernel):
        try:
            fetch.fetch(kernel)
            made, files = suite.jobs(kernel, found[kernel.arch], args.driver or suite.DRIVERS)
            made = [job for job in made if re.search(args.jobs, job.name)]
            run = machine.run(kernel, made, pack.Place(files=files), _options(args))
        except Problem as problem:
            results.save_absent(folder, kernel, str(problem))
            say(f"{kernel.title:16} not run: {problem}")
            return
        results.save(folder, run, keep=bool(args.jobs))
        odd = [f"{r.name} {r.words()}" for r in run.results if not r.ok() and not r.skipped()]
        say(f"{kernel.title:16} {len(run.results)} jobs, {run.boots} boots, {run.wall_s:.0f} s"
            + (": " + ", ".join(odd) if odd else ""))
    _each(kernels, args.parallel, one)


def command_report(args):
    base = pathlib.Path(args.build)
    folder = pathlib.Path(args.results) if args.results else base / "results"
    if not args.only_write:
        results.project_version()
        kernels, found = _selected(args), {}
        if any(kernel.arch == "amd64" for kernel in kernels):
            _newer_qemu()
        for arch in {kernel.arch for kernel in kernels}:
            if not args.no_build:
                say(f"building for {arch}")
                suite.build(arch, base / arch)
            found[arch] = suite.programs(base / arch)
            if not any(found[arch].values()):
                raise Problem(f"{base / arch} holds no static program to run")
        _run_for_report(kernels, found, args, folder)
    records = results.load(folder)
    if not records:
        raise Problem(f"no results in {folder}")
    run = {(record["version"], record["arch"]) for record in records}
    records += [results.absent(kernel, "no results of it yet") for kernel in catalogue.read()
                if (kernel.version, kernel.arch) not in run]
    docs = pathlib.Path(args.docs)
    docs.mkdir(parents=True, exist_ok=True)
    page.write(records, docs / "KERNELS.md", docs / "kernels.svg")
    say(f"{docs}/KERNELS.md and kernels.svg written, {len(records)} kernels")
    return 0


def _machine_arguments(parser):
    parser.add_argument("-j", "--parallel", type=int, default=1, metavar="N",
                        help="machines at a time (default 1)")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--append", default="", metavar="WORDS",
                        help="for the kernel's command line")
    parser.add_argument("--boot-timeout", type=int, default=machine.BOOT_LIMIT_S, metavar="S")
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--accel", default="", help="QEMU's accelerator (default TCG)")


def parser():
    top = argparse.ArgumentParser(prog="kernel-matrix", epilog=EPILOG,
                                  description="Run programs on real kernels under QEMU.",
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, function, words):
        made = sub.add_parser(name, help=words, description=words)
        made.set_defaults(function=function)
        made.add_argument("-a", "--arch", choices=catalogue.ARCHES, help="default: both")
        return made

    listing = command("list", command_list, "the kernels, and which are fetched")
    listing.add_argument("kernel", nargs="*", metavar="KERNEL")
    listing.add_argument("--mirror", action="store_true", help="what the mirror has instead")
    listing.add_argument("--refresh", action="store_true", help="fetch the package indexes anew")

    fetching = command("fetch", command_fetch, "download kernels into the cache")
    fetching.add_argument("kernel", nargs="*", metavar="KERNEL")
    fetching.add_argument("--qemu", action="store_true",
                          help="also a newer QEMU for x86, from the release's backports")
    fetching.add_argument("--refresh", action="store_true", help="fetch the package indexes anew")

    root = command("sysroot", command_sysroot,
                   "unpack another architecture's -dev packages and print where")
    root.add_argument("package", nargs="*", metavar="PACKAGE")

    running = command("run", command_run, "run programs, all in one boot, on each kernel")
    running.add_argument("program", nargs=argparse.REMAINDER, metavar="BINARY... [-- ARGS...]")
    running.add_argument("-k", "--kernel", action="append", default=[], metavar="KERNEL")
    running.add_argument("-t", "--timeout", type=int, default=60, metavar="S",
                         help="each program's time (default 60)")
    running.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    running.add_argument("-f", "--file", action="append", default=[], metavar="FILE[:/PATH]",
                         help="take a file along, as /ouro/FILE or PATH")
    running.add_argument("-s", "--sysctl", action="append", default=[], metavar="KEY=VALUE")
    running.add_argument("-l", "--limit", action="append", default=[],
                         metavar="NAME=N", help="memlock=BYTES or nofile=N, or unlimited")
    running.add_argument("-u", "--uid", default="", help="run as that user, not as root")
    running.add_argument("-n", "--deny", default="", metavar="NR,...",
                         help="system calls that shall give ENOSYS (425: io_uring_setup)")
    running.add_argument("-d", "--disk", default="", metavar="SIZE", help="an ext4 disk on /mnt")
    running.add_argument("--strict", action="store_true", help="a kernel warning is a failure")
    running.add_argument("--log", default="", metavar="DIR", help="keep the console logs there")
    _machine_arguments(running)

    report = command("report", command_report, "run everything and write docs/KERNELS.md")
    report.add_argument("-k", "--kernel", action="append", default=[], metavar="KERNEL",
                        help="only these; results of the others are kept from before")
    report.add_argument("--driver", action="append", choices=suite.DRIVERS)
    report.add_argument("--jobs", default="", metavar="REGEX",
                        help="only these (ktest, probe, net/tcp_stream[uring]); results of the "
                             "others are kept from before")
    report.add_argument("--build", default=str(PROJECT / "build" / "kernel-matrix"), metavar="DIR",
                        help="build directories are DIR/ARCH (default build/kernel-matrix)")
    report.add_argument("--no-build", action="store_true", help="use what lies there")
    report.add_argument("--results", default="", metavar="DIR", help="default: DIR/results")
    report.add_argument("--only-write", action="store_true", help="from the results there are")
    report.add_argument("--docs", default=str(PROJECT / "docs"), metavar="DIR")
    _machine_arguments(report)
    return top


def main():
    args = parser().parse_args()
    try:
        return args.function(args)
    except Problem as problem:
        say(f"kernel-matrix: {problem}")
        return 2
    except KeyboardInterrupt:
        return 130
