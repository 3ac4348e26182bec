# SPDX-License-Identifier: GPL-2.0-only
"""`shunt run --method seccomp`: what is of it alone; the rest is in test_run_calls.py."""
from __future__ import annotations

import pytest

from methods import SECCOMP
from runners import AS_USER, Runner

pytestmark = pytest.mark.usefixtures("binary")


def test_it_says_why_it_cannot(module_lab):
    """A process has one supervisor of its calls: not shunt under shunt."""
    runner = Runner(module_lab.client, AS_USER)
    done = runner.run([*SECCOMP.options, runner.shunt, "run", *SECCOMP.options, "true"])
    assert done.code == 125 and "error[S100]" in done.err, done
    assert "start it outside of that" in done.err, done
