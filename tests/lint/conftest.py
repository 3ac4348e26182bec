# SPDX-License-Identifier: GPL-2.0-only
"""Checks of the sources themselves. Each fails with a line for every place that is off."""
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the checks marked long as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    items[:] = [item for item in items if item.get_closest_marker("long") is None]


@pytest.fixture(scope="session")
def sources() -> list[Path]:
    """Every file that git tracks or would track, relative to the root."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(path for name in listed.split("\0") if name
                  for path in [Path(name)] if (ROOT / path).is_file())


@pytest.fixture(scope="session")
def need():
    """need("program") skips where it is not installed."""
    def check(program: str) -> None:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: not installed")
    return check


def complain(places: list[str]) -> None:
    if places:
        pytest.fail("\n".join(places), pytrace=False)
