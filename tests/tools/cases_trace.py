# SPDX-License-Identifier: MIT
"""ouro connect --trace: the walk, step by step, as the library reports it."""
import re

from blackbox import Peer, contains, equal, refusing_address

# What must be there, in this order; other steps may lie between.  With a token where True.
WALK = {
    "uring": [("parsed", False), ("attempt", False), ("socket", False), ("registered", True),
              ("SQE submitted", True), ("CQE", True), ("readiness", True), ("woken", True),
              ("connected", False), ("created stream", False)],
    "epoll": [("parsed", False), ("attempt", False), ("socket", False), ("registered", True),
              ("submitted", True), ("tried", True), ("armed", True), ("event", True),
              ("readiness", True), ("completed", True), ("woken", True), ("connected", False),
              ("created stream", False)],
}
LINE = re.compile(r" *(\d+\.\d)  (.{14}) (.*)")


def steps_of(text, driver):
    """(microseconds, step, rest) of each line of the table."""
    lines = text.splitlines()
    equal(lines[0], "driver: " + driver)
    contains(lines[1], "step")
    steps = []
    for line in lines[2:]:
        match = LINE.fullmatch(line)
        if not match:
            raise AssertionError(f"no line of a trace: {line!r}")
        steps.append((float(match[1]), match[2].strip(), match[3]))
    times = [time for time, _, _ in steps]
    equal(times, sorted(times), "the times")
    return steps


def in_order(steps, walk):
    names = [name for _, name, _ in steps]
    at = 0
    for wanted, with_token in walk:
        if wanted not in names[at:]:
            raise AssertionError(f"no {wanted!r} after {names[:at]} in {names[at:]}")
        at = names.index(wanted, at) + 1
        if with_token:
            contains(steps[at - 1][2], "token 0x", wanted)


def test_the_walk(ouro):
    with Peer() as peer:
        done = ouro.run("connect", "--trace", peer.address)
        equal((done.returncode, done.out), (0, "created stream\n"))
        steps = steps_of(done.err, ouro.driver)
        in_order(steps, WALK[ouro.driver])
        rest = {name: rest for _, name, rest in steps}
        contains(rest["attempt"], "1 of 1")
        contains(rest["attempt"], peer.address)
        contains(rest["readiness"], " -> ")
        contains(rest["created stream"], peer.address)


def test_one_token_for_all_steps(ouro):
    """The steps of one descriptor carry one token, apart from its lane."""
    with Peer() as peer:
        done = ouro.run("connect", "--trace", peer.address)
        steps = steps_of(done.err, ouro.driver)
        fd = next(re.search(r"fd (\d+)", rest)[1] for _, name, rest in steps if name == "socket")
        tokens = {re.search(r"token (\S+)", rest)[1] for _, _, rest in steps
                  if re.search(r"fd %s token" % fd, rest)}
        equal(len(tokens) in (1, 2), True, repr(tokens))


def test_json(ouro):
    with Peer() as peer:
        done, result = ouro.json("connect", "--trace", "--json", peer.address)
    equal((done.returncode, done.err), (0, ""))
    for step in result["trace"]:
        equal({key: type(value) for key, value in step.items()},
              {"us": float, "step": str, "what": str})
    # The names here are the library's, the same on both drivers.
    names = {"SQE submitted": "submitted", "CQE": "completed", "created stream": "created"}
    in_order([(step["us"], step["step"], step["what"]) for step in result["trace"]],
             [(names.get(name, name), token) for name, token in WALK[ouro.driver]])


def test_failure(ouro):
    with refusing_address() as address:
        done = ouro.run("connect", "--trace", address)
    equal((done.returncode, done.out), (1, ""))
    table, _, message = done.err.rpartition("ouro connect: ")
    steps = steps_of(table, ouro.driver)
    contains(next(rest for _, name, rest in steps if name == "failed"), "-ECONNREFUSED")
    equal([name for _, name, _ in steps if name in ("connected", "created stream")], [])
    contains(message, "ECONNREFUSED")


def test_relay_is_not_traced(ouro):
    """The table ends with the stream, however much is relayed."""
    def answer(connection):
        connection.sendall(b"x" * 100000)

    with Peer(serve=answer) as peer:
        done = ouro.run("connect", "--trace", "--relay", peer.address)
    equal((done.returncode, len(done.stdout)), (0, 100000))
    table, said, rest = done.err.partition("created stream\n")
    equal((said, rest), ("created stream\n", ""))
    equal(steps_of(table, ouro.driver)[-1][1], "created stream")


def test_without_it_nothing_is_shown(ouro):
    with Peer() as peer:
        done = ouro.run("connect", peer.address)
    equal(done.err, "")
