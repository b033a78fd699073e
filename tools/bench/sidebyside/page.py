# SPDX-License-Identifier: MIT
"""docs/PERFORMANCE.md: what the harness writes stands between two comments for each kind, and the
rest of the page is written by hand. A kind without stored data is left as it is.

    <!-- echo: written by tools/bench/compare -->
    ...
    <!-- /echo -->
"""

import re

from . import plot, points, report, store
from .programs import Problem

FIGURES = "figures"


def put(text, part, body):
    """The page with another body of a part."""
    pattern = re.compile(rf"(<!-- {part}: [^\n]*-->\n).*?(<!-- /{part} -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise Problem(f"the page has no place for {part}: it wants <!-- {part}: ... --> and "
                      f"<!-- /{part} -->, once")
    return pattern.sub(lambda match: f"{match[1]}\n{body}\n{match[2]}", text)


def body(kind, stored, folder):
    """A kind's part, and its picture beside the data."""
    parts = []
    picture = plot.draw(kind, stored)
    if picture is not None:
        (folder / f"{kind}.svg").write_text(picture)
        parts.append(f"![{kind}: ratios of all programs]({folder.name}/{kind}.svg)\n")
    parts += [report.section(kind, stored["points"][name])
              for name in report.order(kind, stored["points"])]
    return "\n".join(parts)


def folder_of(page):
    return page.parent / "performance"


def write(page):
    """Writes all parts anew from the stored data. Which kinds had some."""
    folder = folder_of(page)
    data = {kind: stored for kind in points.KINDS
            if (stored := store.load(folder, kind))["points"]}
    text = put(page.read_text(), FIGURES, report.figures(data))
    for kind, stored in data.items():
        text = put(text, kind, body(kind, stored, folder))
    page.write_text(text)
    return list(data)
