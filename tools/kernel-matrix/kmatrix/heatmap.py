# SPDX-License-Identifier: MIT
"""docs/kernels.svg: every assertion on every kernel, at a glance.

A row a kernel, a column an assertion, grouped by what they are about. Shape and size carry the
verdict as well as colour does: right is a plain tile, absent a dot, wrong a full tile with a
cross. Colours are middle tones that hold on white and on black; text follows the reader's theme.
One path for each verdict keeps the file small.
"""

from html import escape

WIDTH = 880
LABEL_WIDTH = 112
SIDE_WIDTH = 76
ROW = 17
TOP = 92
LEGEND = 46
GAP = 4  # between areas
ARCH_GAP = 12

# verdict: (colour, words for the legend, order in it)
LOOKS = {
    "pass": ("#3f9e5f", "as documented"),
    "fail": ("#d1344b", "wrong"),
    "missing": ("#e08a1e", "absent, though it should be there"),
    "slow": ("#c9a227", "slow"),
    "error": ("#8a63d2", "could not be judged"),
    "skip": ("#8b949e", "absent, as it should be"),
}
STYLE = """\
  text { font: 11px ui-sans-serif, system-ui, "Segoe UI", Helvetica, sans-serif; fill: #3d444d }
  .dim { fill: #6e7781 } .head { font-size: 10px } .cross { stroke: #fff; stroke-width: 1.3 }
  @media (prefers-color-scheme: dark) { text { fill: #d1d7e0 } .dim { fill: #9198a1 } }"""


class Paths:
    """Collects shapes by verdict."""

    def __init__(self):
        self.shapes = {verdict: [] for verdict in LOOKS}
        self.crosses = []

    def tile(self, verdict, x, y, width, height):
        if verdict == "skip":
            side = min(width, height) * 0.3
            x, y, width, height = (x + (width - side) / 2, y + (height - side) / 2, side, side)
        elif verdict != "fail":
            x, y, width, height = x + 0.5, y + 1.5, width - 1, height - 3
        self.shapes[verdict].append(f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z")
        if verdict == "fail":
            reach = min(width, height) / 2 - 1.2
            middle_x, middle_y = x + width / 2, y + height / 2
            for sign in (1, -1):
                self.crosses.append(f"M{middle_x - reach:.1f} {middle_y - sign * reach:.1f}"
                                    f"L{middle_x + reach:.1f} {middle_y + sign * reach:.1f}")

    def svg(self):
        lines = [f'<path fill="{LOOKS[verdict][0]}" d="{"".join(shapes)}"/>'
                 for verdict, shapes in self.shapes.items() if shapes]
        if self.crosses:
            lines.append(f'<path class="cross" fill="none" d="{"".join(self.crosses)}"/>')
        return lines


def _areas(identifiers):
    """[(area, [ids])], in the catalogue's order."""
    groups = {}
    for identifier in identifiers:
        groups.setdefault(identifier.split(".")[0], []).append(identifier)
    return list(groups.items())


def _legend(paths, present, y):
    lines, x = [], LABEL_WIDTH
    for verdict, (_, words) in LOOKS.items():
        if verdict in present:
            paths.tile(verdict, x, y - 9, 11, 13)
            lines.append(f'<text x="{x + 16}" y="{y}">{escape(words)}</text>')
            x += 34 + len(words) * 6.2
    return lines


def draw(columns, identifiers, caption):
    """columns: [(title, arch, {id: verdict}, driver)], a kernel each. Returns the SVG's text."""
    areas = _areas(identifiers)
    space = WIDTH - LABEL_WIDTH - SIDE_WIDTH - GAP * (len(areas) - 1)
    cell = space / max(1, len(identifiers))
    paths, texts, present = Paths(), [], set()

    x = LABEL_WIDTH
    places = {}
    for area, members in areas:
        middle = x + cell * len(members) / 2
        texts.append(f'<text class="head" transform="translate({middle + 3:.1f} {TOP - 8})'
                     f' rotate(-55)">{escape(area)}</text>')
        for member in members:
            places[member] = x
            x += cell
        x += GAP
    texts.append(f'<text class="head dim" x="{WIDTH - SIDE_WIDTH + 8}" y="{TOP - 8}">ouro uses'
                 "</text>")

    y, last_arch = TOP, None
    for title, arch, verdicts, driver in columns:
        if last_arch not in (None, arch):
            y += ARCH_GAP
        last_arch = arch
        texts.append(f'<text x="{LABEL_WIDTH - 8}" y="{y + 12}" text-anchor="end">{escape(title)}'
                     "</text>")
        texts.append(f'<text class="dim" x="{WIDTH - SIDE_WIDTH + 8}" y="{y + 12}">'
                     f"{escape(driver)}</text>")
        for identifier, verdict in verdicts.items():
            present.add(verdict)
            paths.tile(verdict, places[identifier], y, cell, ROW - 1)
        y += ROW
    texts += _legend(paths, present, y + 22)
    height = y + LEGEND
    texts.append(f'<text class="dim head" x="{LABEL_WIDTH}" y="{height - 6}">{escape(caption)}'
                 "</text>")
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="io_uring behaviours by kernel: {escape(caption)}">',
        f"<title>{escape(caption)}</title>", f"<style>\n{STYLE}\n</style>",
        *paths.svg(), *texts, "</svg>", ""])
