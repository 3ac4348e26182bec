# SPDX-License-Identifier: GPL-2.0-only
"""Which folder of src/ may include which: the table in ARCHITECTURE.md is the rule."""
from __future__ import annotations

import re
from pathlib import Path

from conftest import ROOT, complain

_HEADING = "## Who may include whom"


def may_include() -> dict[str, set[str]]:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert _HEADING in text, f"ARCHITECTURE.md has no section `{_HEADING}`"
    section = text.split(_HEADING, 1)[1].split("\n## ", 1)[0]
    table = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        folder = re.fullmatch(r"`(\w+)/`", cells[0])
        if line.startswith("|") and folder and len(cells) >= 2:
            table[folder.group(1)] = set(re.findall(r"`(\w+)/`", cells[1]))
    return table


def _includes(path: Path) -> list[tuple[int, str]]:
    found = []
    for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
        include = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        if include:
            found.append((number, include.group(1)))
    return found


def test_the_table_has_no_cycles():
    table = may_include()
    assert table
    done: set[str] = set()
    while len(done) < len(table):
        ready = {folder for folder, others in table.items() if others <= done} - done
        assert ready, f"these folders include each other: {sorted(table.keys() - done)}"
        done |= ready


def test_every_folder_is_in_the_table():
    folders = {path.name for path in (ROOT / "src").iterdir() if path.is_dir()}
    assert folders == may_include().keys()


def test_folders_include_what_they_may(sources):
    table = may_include()
    places = []
    for path in sources:
        if path.parts[0] != "src" or path.suffix not in {".cc", ".h"}:
            continue
        folder = path.parts[1] if len(path.parts) > 2 else None
        for number, name in _includes(path):
            target = name.split("/")[0]
            if "/" not in name or target not in table:
                places.append(f"{path}:{number}: {name} is no path from src/")
            elif folder and target != folder and target not in table[folder]:
                places.append(f"{path}:{number}: {folder}/ may not include {target}/")
    complain(places)
