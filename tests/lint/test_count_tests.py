# SPDX-License-Identifier: GPL-2.0-only
"""tools/count_tests.py: nothing that failed, crashed or was skipped is lost in the sum."""
from __future__ import annotations

import subprocess
import sys

import pytest

from conftest import ROOT

PASSED = '<testcase classname="a" name="passes"/>'
FAILED = '<testcase classname="a" name="fails"><failure message="x">why</failure></testcase>'
PYTEST_SKIP = '<testcase classname="a" name="skips"><skipped message="{}"/></testcase>'
CTEST_SKIP = ('<testcase name="skips"><skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>'
              "<system-out>[ RUN      ]\nx_test.cc:9: Skipped\n{}\n[  SKIPPED ]</system-out>"
              "</testcase>")


@pytest.fixture
def verdict(tmp_path):
    """verdict(cases, code, allowed): the exit code and the last line for one suite."""
    def run(cases: str | None, code: int = 0, allowed: str = "") -> tuple[int, str]:
        if cases is not None:
            (tmp_path / "one.xml").write_text(f"<testsuite>{cases}</testsuite>")
        (tmp_path / "one.exit").write_text(f"{code}\n")
        (tmp_path / "allowed.txt").write_text(allowed)
        done = subprocess.run(
            [sys.executable, ROOT / "tools" / "count_tests.py", "--total", tmp_path,
             "--allowed", tmp_path / "allowed.txt"], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines()[-1]
    return run


def test_all_passed(verdict):
    assert verdict(PASSED * 3) == (0, "3 passed, 0 failed, 0 skipped")


def test_a_failure_fails(verdict):
    assert verdict(PASSED + FAILED, 1) == (1, "1 passed, 1 failed, 0 skipped")


def test_a_runner_that_crashed_is_a_failure(verdict):
    assert verdict(PASSED, 139) == (1, "1 passed, 1 failed, 0 skipped")
    assert verdict("<", 2) == (1, "0 passed, 1 failed, 0 skipped")


def test_a_suite_without_results_is_a_failure(verdict):
    assert verdict(None, 0) == (1, "0 passed, 1 failed, 0 skipped")


@pytest.mark.parametrize("skip", [PYTEST_SKIP, CTEST_SKIP], ids=["pytest", "ctest"])
def test_a_skip_needs_a_name_and_permission(verdict, skip):
    one = PASSED + skip.format("needs tun: no access")
    assert verdict(one) == (1, "1 passed, 0 failed, 1 skipped")
    assert verdict(one, allowed="any tun 1\n") == (0, "1 passed, 0 failed, 1 skipped")
    assert verdict(one, allowed="any go 1\n")[0] == 1
    assert verdict(one + skip.format("needs tun: too"), allowed="any tun 1\n")[0] == 1
    assert verdict(PASSED + skip.format("not today"), allowed="any tun 9\n")[0] == 1
