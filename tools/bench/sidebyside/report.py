# SPDX-License-Identifier: MIT
"""Medians, spreads and verdicts, as Markdown."""

import statistics

from . import programs


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def ratios(results, name, base, key="cpu_us"):
    """A program's value divided by another's of the same round."""
    return [mine[key] / other[key] for mine, other in zip(results[name], results[base])]


def spread(values, digits):
    low, high = quartiles(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def verdicts(results, targets):
    """[(compared with, median ratio, at most, met)]."""
    found = []
    for other, limit in targets.items():
        if other in results:
            ratio = statistics.median(ratios(results, programs.OURO, other))
            found.append({"with": other, "ratio": ratio, "target": limit,
                          "met": ratio <= limit if limit > 1 else ratio < limit})
    return found


def verdict_lines(found):
    return ["- ouro / %s: **%.3f**, target %s %.2f: %s" % (
        v["with"], v["ratio"], "at most" if v["target"] > 1 else "below", v["target"],
        "met" if v["met"] else "**missed**") for v in found]


def noise_line(foreign, limit):
    noisy = sum(cores > limit for cores in foreign)
    return (f"{noisy} of {len(foreign)} runs noisy (others used more than {limit:g} cores "
            f"meanwhile; median {statistics.median(foreign):.2f}).")


def comparison(title, about, results, targets, options, latency=False, base=programs.BASE):
    """One table of a connect storm or an echo."""
    foreign = [run["foreign"] for rows in results.values() for run in rows]
    against = {name: ratios(results, name, base) for name in results}
    order = sorted(results, key=lambda name: statistics.median(against[name]))
    text = [f"### {title}", "", about + " " + noise_line(foreign, options.noise), "",
            f"| | CPU µs each | against the {base} | each/s |" + " p50 µs | p99 µs |" * latency,
            "|---|--:|--:|--:|" + ("--:|--:|" * latency)]
    for name in order:
        rows = results[name]
        middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        row = "| %s | %s | %s | %s |" % (
            f"**{name}**" if name == programs.OURO else name,
            spread([run["cpu_us"] for run in rows], 2),
            spread(against[name], 3), f"{middle['rate']:,.0f}")
        if latency:
            row += f" {middle['p50_us']:.0f} | {middle['p99_us']:.0f} |"
        text.append(row)
    return "\n".join(text + [""] + verdict_lines(verdicts(results, targets))) + "\n"


def idle_verdict(results):
    middle = statistics.median(run["bytes"] for run in results[programs.OURO])
    target = programs.IDLE_TARGET_BYTES
    return {"value": middle, "target": target, "met": middle <= target}


def memory(results, options):
    """The table of connections that do nothing."""
    middle = {name: statistics.median(run["bytes"] for run in rows)
              for name, rows in results.items()}
    text = [f"### Memory of an idle connection, {options.held:,} held", "",
            f"After one 64-byte echo on each; what the server's resident memory grew by, "
            f"{options.rounds} rounds, each on a server that has just begun.", "",
            "| | bytes each |", "|---|--:|"]
    for name in sorted(results, key=middle.get):
        text.append("| %s | %s |" % (f"**{name}**" if name == programs.OURO else name,
                                     spread([run["bytes"] for run in results[name]], 0)))
    verdict = idle_verdict(results)
    text += ["", "- ouro: **%.0f** bytes, target at most %d: %s" % (
        verdict["value"], verdict["target"], "met" if verdict["met"] else "**missed**")]
    return "\n".join(text) + "\n"


def prim_verdicts(rows):
    found = []
    for row, (unit, limit) in programs.PRIM_TARGETS.items():
        values = rows.get(row, {}).get(programs.OURO)
        if values:
            middle = statistics.median(values)
            found.append({"row": row, "value": middle, "best": min(values), "target": limit,
                          "unit": unit, "met": middle <= limit})
    return found


def primitives(rows, units, foreign, names, options):
    targets = {v["row"]: v for v in prim_verdicts(rows)}
    text = ["### Primitives", "",
            f"One thread, {options.rounds} rounds; median (quartiles). "
            + noise_line(foreign, options.noise), "",
            "| | " + " | ".join(names) + " | target | |",
            "|---|" + "--:|" * len(names) + "--:|---|"]
    for row, values in rows.items():
        if programs.OURO not in values:
            continue
        digits = 1 if units[row] == "ns" else 0
        cells = [spread(values[name], digits) if name in values else "" for name in names]
        verdict = targets.get(row)
        cells += ["%g" % verdict["target"] if verdict else "",
                  ("met" if verdict["met"] else "**missed**") if verdict else ""]
        text.append(f"| {row}, {units[row]} | " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


def million(row):
    return (f"{row['count']:,} guarded fibers, all parked at once: {row['bytes']:.0f} bytes of "
            f"memory and {row['table_bytes']:.0f} of page tables each, {row['mappings']} mappings "
            f"more in all; {row['ns'] / 1e3:.2f} µs to make one, {row['end_ns']:.0f} ns to resume "
            f"and end it.\n")
