# SPDX-License-Identifier: GPL-2.0-only
"""Every fuzzer runs for SHUNT_FUZZ_SECONDS (60) and finds nothing."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NAMES = sorted(path.stem.removesuffix("_fuzz") for path in HERE.glob("*_fuzz.cc"))


@pytest.mark.parametrize("name", NAMES)
def test_finds_nothing(name):
    seconds = os.environ.get("SHUNT_FUZZ_SECONDS", "60")
    done = subprocess.run([HERE / "run", name, seconds], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr[-8000:]
    assert "number_of_executed_units" in done.stderr
