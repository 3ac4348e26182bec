# SPDX-License-Identifier: GPL-2.0-only
"""What no longer fits on a page is taken apart."""
from __future__ import annotations

import json
import subprocess

from conftest import ROOT, complain

FILE_LINES = 700
FUNCTION_LINES = 70
CODE = {".cc", ".h", ".c", ".py", ".sh"}


def _code(sources):
    return [path for path in sources if path.suffix in CODE or path.name == "dev"]


def test_files_are_short(sources):
    places = []
    for path in _code(sources):
        lines = len((ROOT / path).read_text().splitlines())
        if lines > FILE_LINES:
            places.append(f"{path}: {lines} lines, at most {FILE_LINES}")
    complain(places)


def test_functions_are_short(sources, need):
    need("ctags")
    names = [str(path) for path in _code(sources) if path.suffix != ".sh" and path.name != "dev"]
    tags = subprocess.run(
        ["ctags", "--output-format=json", "--fields=+neK", "--kinds-C++=f", "--kinds-C=f",
         "--kinds-Python=fm", "--language-force=auto", "--map-C++=+.h", "-L", "-", "-f", "-"],
        cwd=ROOT, input="\n".join(names), capture_output=True, text=True, check=True).stdout
    places = []
    functions = 0
    for line in tags.splitlines():
        tag = json.loads(line)
        if "end" not in tag:
            continue
        functions += 1
        lines = tag["end"] - tag["line"] + 1
        if lines > FUNCTION_LINES:
            places.append(f"{tag['path']}:{tag['line']}: {tag['name']} has {lines} lines, "
                          f"at most {FUNCTION_LINES}")
    assert functions > 100, "ctags found hardly any function; is it universal-ctags?"
    complain(places)
