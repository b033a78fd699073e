# SPDX-License-Identifier: MIT
"""The picture of a kind: for each point a panel, for each program its ratio to the point's base,
the median as a dot and the quartiles as a line. Text follows the reader's theme; colours are middle
tones that hold on white and on black.
"""

import statistics
from html import escape

from . import points, programs, report, verdicts

WIDTH, LABEL, ROW, HEAD, GAP = 760, 190, 17, 40, 18
RIGHT = 74  # for the number
TOP_RATIO = 2.0  # what is beyond is drawn at the edge, with its number
COLOURS = {"ouro": "#3f7fd1", "ring": "#3f9e5f", "other": "#8b949e"}
STYLE = """\
  text { font: 11px ui-sans-serif, system-ui, "Segoe UI", Helvetica, sans-serif; fill: #3d444d }
  .head { font-size: 12px; font-weight: 600 } .dim { fill: #6e7781 } .own { font-weight: 600 }
  .base { stroke: #8b949e; stroke-dasharray: 3 3 } .range { stroke-width: 5; opacity: .35 }
  @media (prefers-color-scheme: dark) { text { fill: #d1d7e0 } .dim { fill: #9198a1 } }"""


def colour(name):
    if name.startswith("ouro"):
        return COLOURS["ouro"]
    return COLOURS["ring" if name.startswith(programs.RING) else "other"]


def rows_of(point, stored):
    """[(program, (first quartile, median, third quartile))], and what they are ratios to."""
    key = point.columns[0][0]
    rows = stored["rows"]
    found = []
    for name in rows:
        values = verdicts.ratios(rows, name, point.base, key) if point.base else \
            verdicts.values(rows, name, key)
        if values:
            found.append((name, verdicts.quartiles(values)))
    return sorted(found, key=lambda row: row[1][1])


def scale(point, found):
    """(lowest, highest) of a panel."""
    low = min(spread[0] for _, spread in found)
    high = max(spread[2] for _, spread in found)
    if point.base:
        return min(0.5, low * 0.95), min(TOP_RATIO, max(1.1, high * 1.05))
    return 0.0, statistics.median(spread[1] for _, spread in found) * 2.5 or 1.0


def panel(point, found, y):
    low, high = scale(point, found)
    space = WIDTH - LABEL - RIGHT

    def x(value):
        return LABEL + space * (min(max(value, low), high) - low) / (high - low)
    unit = f"CPU / {point.base}" if point.base else point.columns[0][1]
    lines = [f'<text class="head" x="0" y="{y + 14}">{escape(point.title)}</text>',
             f'<text class="dim" x="{WIDTH}" y="{y + 14}" text-anchor="end">{escape(unit)}</text>']
    top, y = y + 20, y + 24
    for name, (first, middle, third) in found:
        line = y + 9
        own = " class=\"own\"" if name.startswith("ouro") else ""
        digits = 2 if point.base else 0 if middle >= 10 else 3
        lines += [
            f'<text{own} x="{LABEL - 10}" y="{line + 4}" text-anchor="end">{escape(name)}</text>',
            f'<line class="range" stroke="{colour(name)}" x1="{x(first):.1f}" '
            f'x2="{x(third):.1f}" y1="{line}" y2="{line}"/>',
            f'<circle fill="{colour(name)}" cx="{x(middle):.1f}" cy="{line}" r="4"/>',
            f'<text class="dim" x="{WIDTH}" y="{line + 4}" text-anchor="end">'
            f'{report.number(middle, digits)}</text>']
        y += ROW
    if point.base:
        lines.append(f'<line class="base" x1="{x(1):.1f}" x2="{x(1):.1f}" y1="{top}" y2="{y}"/>')
    return lines, y + GAP


def draw(kind, stored):
    """The SVG's text; None when there is nothing to show."""
    lines, y = [], 4
    for name in report.order(kind, stored["points"]):
        point = points.make(kind, stored["points"][name]["values"])
        found = rows_of(point, stored["points"][name]) if point.columns else []
        if found:
            more, y = panel(point, found, y)
            lines += more
    if not lines:
        return None
    caption = f"{kind}: medians and quartiles of ratios within a round"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-4 0 {WIDTH + 8} {y}" '
        f'width="{WIDTH + 8}" height="{y}" role="img" aria-label="{caption}">',
        f"<title>{caption}</title>", f"<style>\n{STYLE}\n</style>", *lines, "</svg>", ""])
