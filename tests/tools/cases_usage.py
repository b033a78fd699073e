# SPDX-License-Identifier: MIT
"""Command lines: what is refused, what helps, and that the manual knows every option."""
import os
import re
import shutil
import subprocess

from blackbox import Skip, contains, equal, failed_with

COMMANDS = ("connect", "serve", "proxy", "bench", "probe")


def refuse(ouro, lines):
    for line in lines:
        done = ouro.run(*line.split())
        try:
            failed_with(done, 2, "ouro")
        except AssertionError as error:
            raise AssertionError(f"ouro {line}: {error}")


def test_wrong_commands(unit):
    refuse(unit, ["", "nothing", "--nothing", "connect --nothing", "probe --nothing", "probe more"])


# The old ways to write IPv4 among them: getaddrinfo(3) would take them for addresses.
NO_HOST_PORT = (
    "host", "host:", ":80", "host:http", "host:65536", "host:-1", "host:+1", "host: 1", "::1",
    "[::1]", "[::1]:", "::1:80", "[127.0.0.1]:80", "[host]:80", "[]:80", "[::1", "1.2.3.4:80:80",
    "127.1:80", "1:80", "2130706433:80", "0x7f.1:80", "*:80", "127.0.0.1/8:80", "ho%st:80",
    ".host:80", "host name:80", "\t:80", "", "http://host:80")


def test_wrong_addresses(unit):
    """Every command that takes an address refuses the same."""
    for command in (["connect"], ["connect", "--count=2"], ["connect", "--relay"],
                    ["connect", "--json"], ["serve", "echo"], ["serve", "discard", "127.0.0.1:0"],
                    ["proxy", "127.0.0.1:0"], ["bench", "echo"]):
        for address in NO_HOST_PORT:
            done = unit.run(*command, address)
            try:
                failed_with(done, 2, "ouro", "'%s'" % address)
            except AssertionError as error:
                raise AssertionError(f"ouro {command} {address!r}: {error}")
    refuse(unit, ["connect " + address for address in (
        "unix:", "unix:" + "x" * 200, "127.0.0.1:1 127.0.0.1:2")])
    refuse(unit, ["serve echo unix:", "serve echo unix:" + "x" * 200])
    refuse(unit, ["connect --from " + address for address in (
        "127.1", "*", "[127.0.0.1]", "[127.0.0.1]:80", "host", "unix:/tmp/x", "127.0.0.1:")])


def test_names_are_no_usage_errors(unit):
    """What looks like a name is asked for, and that fails with 1."""
    for name in ("nothing.invalid:80", "no_thing.invalid:0", "a-1.invalid:65535", "1a.invalid:1"):
        failed_with(unit.run("connect", name), 1, name, "EAI_")
        failed_with(unit.run("serve", "echo", name), 1, name, "EAI_")


def test_wrong_options_of_connect(unit):
    refuse(unit, ["connect " + line for line in (
        "--timeout 5", "--timeout 0s", "--timeout -1s", "--timeout 1e3ms", "--timeout 5parsecs",
        "--timeout infs", "--timeout s", "--timeout 1.2.3s", "--timeout", "--driver kqueue",
        "--from nowhere", "--from unix:/tmp/x", "--from 127.0.0.1:99999", "--count 0",
        "--count -1", "--count 1e3", "--count 99999999999999999999", "--concurrency 3",
        "--count 5 --concurrency 0", "--count 5 --relay", "--count 5 --trace",
        "-4 unix:/tmp/x", "--from 127.0.0.1 unix:/tmp/x")])


def test_wrong_options_of_serve(unit):
    refuse(unit, ["serve", "serve nothing", "serve 127.0.0.1:0", "serve echo 127.0.0.1:0 more",
                  "serve echo --workers 0", "serve echo --workers 100000",
                  "serve echo --driver kqueue", "serve echo --dial loud", "serve echo --dial",
                  "proxy --dial loud 127.0.0.1:0 127.0.0.1:1", "serve echo" + 65 * " 127.0.0.1:0"])


def test_wrong_options_of_bench(unit):
    refuse(unit, ["bench " + line for line in (
        "", "nothing", "echo 127.0.0.1:1 more", "echo --connections 0", "echo -c 1e3", "echo -s 0",
        "echo -s 2000000000", "echo -P 0", "echo -P 100000", "echo -P 65536 -s 1000000",
        "echo --rate 0", "echo --rate -1", "echo --rate 1.5", "echo --count 0", "echo -d 10",
        "echo -d 0s", "echo --warm-up 1", "echo --timeout 0s", "echo --pid 0", "echo --pid self",
        "echo --driver kqueue", "echo -4 unix:/tmp/x", "echo --from nowhere",
        "storm -s 64", "storm -P 2", "churn -P 2", "churn -s 32769", "churn -s", "echo unix:",
        "echo --settle 1s", "idle --settle 1s", "idle --rate 5", "idle --count 5",
        "idle --warm-up 1s", "idle -P 2", "idle -s 32769",
        "relay", "relay 127.0.0.1:1", "relay --sink nowhere", "relay --sink unix:/tmp/x",
        "echo --sink 127.0.0.1:1", "echo --both", "relay --sink 127.0.0.1:1 --settle 1s")])


def test_help_and_version(unit):
    for words in ([],) + tuple([command] for command in COMMANDS):
        done = unit.run(*words, "--help")
        equal((done.returncode, done.err), (0, ""))
        contains(done.out, " ".join(["Usage: ouro"] + words) + " ")
        for option in ("--version", "-V"):
            done = unit.run(*words, option)
            equal((done.returncode, done.err), (0, ""))
            if not re.fullmatch(r"ouro \d+\.\d+\.\d+\n", done.out):
                raise AssertionError(done.out)
    for command in COMMANDS:
        contains(unit.run("--help").out, "  %s " % command)


def manual(command=None):
    """The page of a command that has its own, or the one of all."""
    here = os.path.dirname(os.path.abspath(__file__))
    pages = os.path.join(here, "..", "..", "tools", "ouro")
    own = os.path.join(pages, f"ouro-{command}.1")
    return own if os.path.exists(own) else os.path.join(pages, "ouro.1")


def test_the_manual_is_well_formed(unit):
    if not shutil.which("mandoc"):
        raise Skip("needs mandoc(1)")
    pages = sorted({manual(), *map(manual, COMMANDS)})
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "style", *pages], capture_output=True,
                          text=True)
    # What mandoc says of other systems' conventions and of pages installed elsewhere is no fault.
    faults = [line for line in done.stdout.splitlines()
              if "referenced manual not found" not in line and "RCS id" not in line]
    equal(faults, [])


def test_the_manual_knows_every_option(unit):
    for command in COMMANDS:
        with open(manual(command), encoding="utf-8") as page:
            text = page.read()
        # "Fl Fl timeout" in mdoc is --timeout on the screen.
        for option in re.findall(r"--([a-z-]+)", unit.run(command, "--help").out):
            if option not in ("usage", "help", "version"):  # of all commands, in ouro(1)
                contains(text, "Fl Fl " + option, "the manual of " + command)
