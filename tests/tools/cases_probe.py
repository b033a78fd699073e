# SPDX-License-Identifier: MIT
"""ouro probe: the chosen driver and its reasons, for people and for programs."""
import errno

from blackbox import Peer, contains, equal, without_uring

ITEM = {"bit": int, "name": str, "what": str, "since": str, "how": str, "present": bool,
        "required": bool, "trusted": bool, "used": bool, "why_not": str}
TOP = {"version": str, "kernel": str, "driver": str, "uring_usable": bool, "reason": str,
       "remedy": str, "features": list, "quirks": list}


def typed(value, fields):
    equal({key: type(member) for key, member in value.items()}, fields)


def test_json(unit):
    done, result = unit.json("probe", "--json")
    equal((done.returncode, done.err), (0, ""))
    typed(result, TOP)
    for kind in ("features", "quirks"):
        names = [item["name"] for item in result[kind]]
        equal(len(set(names)), len(names), "unique names")
        equal(bool(names), True, kind)
        for bit, item in enumerate(result[kind]):
            typed(item, ITEM)
            equal(item["bit"], bit)
            equal(item["name"] != "" and item["what"] != "", True, repr(item))
    equal(result["driver"], "uring" if result["uring_usable"] else "epoll")
    equal(result["reason"] == "", result["uring_usable"], "the reason")
    for item in result["features"]:
        if item["used"]:
            equal((item["present"], item["trusted"]), (True, True), item["name"])
        if item["required"] and result["uring_usable"]:
            equal(item["present"], True, item["name"])


def test_it_tells_what_a_runtime_does(unit):
    with Peer() as peer:
        chosen = unit.json("probe", "--json")[1]
        _, connect = unit.json("connect", "--json", peer.address)
    equal(connect["driver"], chosen["driver"])


def test_text(unit):
    done = unit.run("probe")
    equal((done.returncode, done.err), (0, ""))
    result = unit.json("probe", "--json")[1]
    contains(done.out, "driver   " + ("io_uring" if result["uring_usable"] else "epoll"))
    contains(done.out, result["kernel"])
    for item in result["features"] + result["quirks"]:
        contains(done.out, "  %s " % item["name"])
        contains(done.out, item["what"])


def test_refused(unit):
    for error in (errno.EPERM, errno.ENOSYS):
        refused = {"preexec_fn": without_uring(error)}
        done, result = unit.json("probe", "--json", **refused)
        equal((done.returncode, result["driver"], result["uring_usable"]), (0, "epoll", False))
        contains(result["reason"], errno.errorcode[error])
        equal(result["remedy"] != "", True, "a remedy")
        done = unit.run("probe", **refused)
        equal(done.returncode, 0)
        contains(done.out, "driver   epoll")
        contains(done.out, "why      " + result["reason"])
        contains(done.out, "change   " + result["remedy"])


def test_output_that_cannot_be_written(unit):
    with open("/dev/full", "wb") as full:
        for more in ([], ["--json"]):
            done = unit.run("probe", *more, stdout=full)
            equal(done.returncode, 1)
            contains(done.err, "cannot write")
