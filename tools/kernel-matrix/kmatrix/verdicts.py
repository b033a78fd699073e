# SPDX-License-Identifier: MIT
"""The JSON of ouro-ktest and of `ouro probe`, reduced to what a report says."""

import json
from dataclasses import dataclass, field

# From good to bad: an assertion that ran on several kinds of ring is as good as its worst.
ORDER = ("skip", "pass", "slow", "missing", "error", "fail")
RIGHT = ("pass", "skip")
AS_FAIL = ("hang", "crash")
SYMBOLS = {"pass": "✓", "fail": "✗", "skip": "·", "missing": "?", "slow": "s", "error": "!"}


@dataclass
class Assertion:
    identifier: str
    sentence: str = ""
    verdict: str = "skip"
    rings: list = field(default_factory=list)  # the kinds of ring that gave the verdict
    message: str = ""
    avoid: str = ""
    unforeseen: bool = False  # it fails, and the kernel's list does not say so
    surprise: bool = False    # it passes, and the kernel's list says it fails

    def symbol(self):
        mark = SYMBOLS[self.verdict]
        return f"**{mark}**" if self.unforeseen or self.surprise else mark


@dataclass
class Ktest:
    """One kernel's run of ouro-ktest; `trouble` says why there is none."""

    assertions: dict = field(default_factory=dict)
    features: dict = field(default_factory=dict)  # name: present, claimed or absent
    quirks: dict = field(default_factory=dict)    # name: wrong, fine or untested
    trouble: str = ""

    def add(self, entry):
        """One run of one assertion on one kind of ring."""
        verdict = "fail" if entry["verdict"] in AS_FAIL else entry["verdict"]
        assertion = self.assertions.setdefault(
            entry["id"], Assertion(entry["id"], entry["sentence"]))
        if ORDER.index(verdict) >= ORDER.index(assertion.verdict):
            if verdict != assertion.verdict:
                assertion.rings = []
            assertion.verdict = verdict
            assertion.rings.append(entry["ring"])
            assertion.message = entry["message"]
            assertion.avoid = entry.get("avoid") or ""
        if verdict not in RIGHT and entry["known"] is None:
            assertion.unforeseen = True
        assertion.surprise = assertion.surprise or entry["unexpected_pass"]

    def wrong(self):
        return [a for a in self.assertions.values() if a.verdict not in RIGHT]


@dataclass
class Probe:
    driver: str = ""
    reason: str = ""
    features: dict = field(default_factory=dict)  # name: used, present, distrusted, absent
    required: set = field(default_factory=set)    # those the io_uring tier needs
    quirks: dict = field(default_factory=dict)    # name: wrong, fine
    trouble: str = ""

    def optional_used(self):
        optional = [state for name, state in self.features.items() if name not in self.required]
        return f"{optional.count('used')} of {len(optional)}" if optional else ""


def _decode(text, what):
    """(object, trouble)"""
    if not text.strip():
        return None, f"{what} printed nothing"
    try:
        return json.loads(text), ""
    except ValueError as error:
        return None, f"{what} printed no JSON: {error}"


def ktest(text, job):
    """A kernel's assertions from what ouro-ktest printed; `job` is how it ended, None: not run."""
    if job is None:
        return Ktest(trouble="not run")
    if job["outcome"] == "exit" and job["value"] == 77:
        return Ktest(trouble="no io_uring")
    said, trouble = _decode(text, "ouro-ktest")
    if job["outcome"] != "exit":
        trouble = f"ouro-ktest ended by {job['outcome']}"
    if said is None:
        return Ktest(trouble=trouble)
    made = Ktest(features=said["features"], quirks=said.get("quirks", {}), trouble=trouble)
    for entry in said["runs"]:
        made.add(entry)
    return made


def probe(text, job):
    """What `ouro probe --json` printed."""
    if job is None:
        return Probe()
    said, trouble = _decode(text, "ouro probe")
    if said is None:
        return Probe(trouble=trouble)
    made = Probe(driver=said["driver"], reason=said["reason"])
    for item in said["features"]:
        made.features[item["name"]] = ("used" if item["used"] else
                                       "absent" if not item["present"] else
                                       "present" if item["trusted"] else "distrusted")
        if item["required"]:
            made.required.add(item["name"])
    for item in said["quirks"]:
        made.quirks[item["name"]] = "wrong" if item["present"] else "fine"
    return made
