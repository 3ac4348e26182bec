# SPDX-License-Identifier: GPL-2.0-only
"""What clang-format, clang-tidy and shellcheck say of the sources."""
from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import ROOT, complain


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _is_shell(path: Path) -> bool:
    if path.suffix:
        return path.suffix == ".sh"
    with (ROOT / path).open("rb") as file:
        return file.readline().rstrip() in {b"#!/bin/bash", b"#!/bin/sh"}


def test_sources_are_formatted(sources, need):
    need("clang-format-19")
    names = [str(path) for path in sources if path.suffix in {".cc", ".h", ".c"}]
    done = _run("clang-format-19", "--dry-run", "-Werror", *names)
    places = [line for line in done.stderr.splitlines() if ": error: " in line]
    complain(sorted({place.split(":")[0] + ": run ./dev format" for place in places}))
    assert done.returncode == 0, done.stderr


def test_shell_scripts_pass_shellcheck(sources, need):
    need("shellcheck")
    scripts = [str(path) for path in sources if _is_shell(path)]
    assert scripts
    done = _run("shellcheck", "-x", *scripts)
    assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_clang_tidy_is_content(sources, need):
    need("clang-tidy-19")
    names = [str(path) for path in sources
             if path.suffix == ".cc" and path.parts[0] in {"src", "tests"}
             and "fuzz" not in path.parts]

    def check(name: str) -> str:
        done = _run("clang-tidy-19", "-p", "build/release", "--quiet", name)
        return "" if done.returncode == 0 else done.stdout
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complain([output for output in pool.map(check, names) if output])
