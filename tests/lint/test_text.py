# SPDX-License-Identifier: GPL-2.0-only
"""What every file has, and what none may have."""
from __future__ import annotations

import re
from pathlib import Path

from conftest import ROOT, complain

COLUMNS = 100
SPDX = "SPDX-License-Identifier: GPL-2.0-only"
# Files that have no comments, or are text.
NO_LICENCE_LINE = {".json", ".md", ".txt", ".ini"}
NOT_OURS = {"LICENSE"}
BINARY_BELOW = "tests/corpus"

# Spelled so that this file does not complain of itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATH = re.compile(r"/(home|root|work|Users)/[\w.]")


def _texts(sources: list[Path]) -> list[tuple[Path, list[str]]]:
    return [(path, (ROOT / path).read_text().splitlines()) for path in sources
            if path.name not in NOT_OURS and not str(path).startswith(BINARY_BELOW)]


def _places(sources, off) -> list[str]:
    return [f"{path}:{number}: {line.strip()}"
            for path, lines in _texts(sources)
            for number, line in enumerate(lines, 1) if off(path, line)]


def test_the_licence_is_named_first(sources):
    places = []
    for path, lines in _texts(sources):
        if path.name in {".gitignore"} or (path.suffix in NO_LICENCE_LINE and
                                           path.name != "CMakeLists.txt"):
            continue
        first = lines[1:2] if lines and lines[0].startswith("#!") else lines[:1]
        if not first or SPDX not in first[0]:
            places.append(f"{path}: the first line is not `{SPDX}`")
    complain(places)


def test_nothing_is_left_for_later(sources):
    complain(_places(sources, lambda _, line: UNFINISHED.search(line)))


def test_no_path_of_one_machine(sources):
    own = str(ROOT) + "/"
    complain(_places(sources, lambda _, line: MACHINE_PATH.search(line) or own in line))


def test_lines_are_clean(sources):
    def off(path: Path, line: str) -> bool:
        long = len(line) > COLUMNS and path.suffix not in {".md", ".json", ".txt"}
        tab = "\t" in line and path.suffix != ".go"  # gofmt wants them
        return line != line.rstrip() or tab or long
    complain(_places(sources, off))


def test_files_end_with_a_newline(sources):
    complain([str(path) for path, lines in _texts(sources)
              if lines and not (ROOT / path).read_text().endswith("\n")])
