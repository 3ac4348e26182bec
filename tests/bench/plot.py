# SPDX-License-Identifier: GPL-2.0-only
"""Bars with their range as SVG, written by hand: no library, the same text for the same numbers."""
from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

COLOURS = ("#1b6ca8", "#d1495b", "#8a8d91", "#66a182", "#edae49")
LEFT, WIDTH, BAR, GAP, TOP, BOTTOM = 250, 520, 13, 12, 56, 30


@dataclass(frozen=True)
class Bar:
    value: float
    least: float
    greatest: float


def text(x: float, y: float, what: str, anchor: str = "start", weight: str = "normal") -> str:
    return (f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}"'
            f"\n>{escape(what)}</text>")


def axis(greatest: float, height: float, step: float = 0.25) -> list[str]:
    """Lines from top to bottom; that of direct, 1.0, stands out."""
    parts = []
    for number in range(int(greatest / step) + 1):
        value, x = number * step, LEFT + number * step / greatest * WIDTH
        stroke = "#333" if value == 1.0 else "#ddd"
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - BOTTOM}" '
                     f'stroke="{stroke}"/>')
        parts.append(text(x, height - BOTTOM + 16, f"{value:g}", "middle"))
    return parts


def one_bar(bar: Bar, y: float, colour: str, scale: float) -> list[str]:
    ends = [LEFT + value * scale for value in (bar.least, bar.greatest)]
    middle = y + BAR / 2
    return [f'<rect x="{LEFT}" y="{y:.1f}" width="{bar.value * scale:.1f}" height="{BAR - 2}" '
            f'fill="{colour}"/>',
            f'<line x1="{ends[0]:.1f}" y1="{middle:.1f}" x2="{ends[1]:.1f}" y2="{middle:.1f}" '
            'stroke="#222"/>']


def bars(title: str, rows: dict[str, dict[str, Bar]]) -> str:
    """{what: {who: bar}}: a group of bars for each `what`, one colour for each `who`."""
    who = list(dict.fromkeys(name for group in rows.values() for name in group))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(who)}
    greatest = max([1.0, *(bar.greatest for group in rows.values() for bar in group.values())])
    greatest = (int(greatest * 4) + 1) / 4
    height = TOP + BOTTOM + sum(len(group) * BAR + GAP for group in rows.values())
    parts = [text(16, 22, title, weight="bold"), *axis(greatest, height)]
    x = LEFT
    for name in who:
        parts += [f'<rect x="{x}" y="34" width="11" height="11" fill="{colours[name]}"/>',
                  text(x + 16, 44, name)]
        x += 40 + 8 * len(name)
    y = TOP + GAP / 2
    for what, group in rows.items():
        parts.append(text(LEFT - 10, y + len(group) * BAR / 2 + 4, what, "end"))
        for name, bar in group.items():
            parts += one_bar(bar, y, colours[name], WIDTH / greatest)
            y += BAR
        y += GAP
    width = LEFT + WIDTH + 30
    return "\n".join([
        "<!-- SPDX-License-Identifier: GPL-2.0-only -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" '
        f'width="{width}" height="{height:.0f}"', 'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height:.0f}" fill="white"/>', *parts, "</svg>", ""])
