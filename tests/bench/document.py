# SPDX-License-Identifier: GPL-2.0-only
"""docs/performance.md as a list of sections, each of which can be made anew by itself."""
from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

HEAD = """# Performance

Made by `./dev bench` (tests/bench); run it again to compare, or `./dev bench --sections NAME` for
one section. All hosts are network namespaces on one machine and share its cores, so a ratio also
counts contention: read it as cost, not as line rate. Ratios are taken within one round, median
[min–max] over the rounds; a p50 ratio of 1.9 means that an exchange takes 1.9 times as long.
"""


@dataclass(frozen=True)
class Size:
    """How much of everything is measured."""

    rounds: int = 7
    seconds: float = 0.8
    connections: int = 1000
    runs: int = 40
    transfers: int = 400

    @property
    def words(self) -> str:
        machine = f"{os.cpu_count()} CPUs, Linux {platform.release().split('-')[0]}"
        return f"Medians of {self.rounds} rounds of {self.seconds} s; {machine}."


def sections_of(text: str) -> dict[str, str]:
    """{heading: body} of what stands under `## ` headings."""
    parts = re.split(r"^## (.*)\n", text, flags=re.M)
    return {heading: body.strip("\n") for heading, body in zip(parts[1::2], parts[2::2])}


def write(path: Path, made: dict[str, list[str]], order: list[str]) -> None:
    """Puts the sections that were made in the place of those of the same heading; others stay, and
    come in this order."""
    sections = sections_of(path.read_text()) if path.exists() else {}
    sections |= {heading: "\n".join(lines).strip("\n") for heading, lines in made.items()}
    known = [heading for heading in order if heading in sections]
    others = [heading for heading in sections if heading not in order]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([HEAD, *(f"## {heading}\n\n{sections[heading]}\n"
                                       for heading in known + others)]))


def reported(path: Path, first_column: str, row: str, column: str) -> float | None:
    """A number of the last report, the first of its cell: of the table that begins with
    `first_column`, in this row and column."""
    header: list[str] = []
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = []
        elif not header and cells[0] == first_column:
            header = cells
        elif column in header and cells[0] == row:
            number = re.search(r"\d+(\.\d+)?", cells[header.index(column)])
            return float(number[0]) if number else None
    return None
