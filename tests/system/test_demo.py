# SPDX-License-Identifier: GPL-2.0-only
"""`shunt demo`: each chapter is told, what it shows is so, and nothing is left of it."""
from __future__ import annotations

import re

import pytest

from leaks import MACHINE, KernelState
from netlab import Lab, needs
from runners import AS_ROOT, Runner

pytestmark = pytest.mark.usefixtures("binary")


def demo_of(lab: Lab) -> list[str]:
    needs("curl")
    MACHINE.change()  # it attaches eBPF to a cgroup of its own
    before = KernelState.of(lab.client)
    runner = Runner(lab.client, AS_ROOT)
    done = runner.plain([runner.shunt, "demo"], check=False, timeout=180)
    assert done.code == 0, done
    assert KernelState.of(lab.client).added_and_removed(before) == []
    return done.out.splitlines()


def chapters(lines: list[str]) -> dict[str, list[str]]:
    """What each chapter checked, by its title."""
    found: dict[str, list[str]] = {}
    for line in lines:
        title = re.fullmatch(r"── (.*) ──", line)
        if title:
            found[title[1]] = []
        elif line.startswith("  ✓ ") and found:
            found[list(found)[-1]].append(line.removeprefix("  ✓ "))
    return found


def test_every_chapter_is_told_and_works(lab):
    said = demo_of(lab)
    total = re.search(r"^(\d+) of (\d+) worked", "\n".join(said), re.M)
    assert total and total[1] == total[2], said
    told = chapters(said)
    skipped = " ".join(line for line in said if line.startswith("  skipped: "))
    for chapter, word, least in (
            ("by TPROXY", "TPROXY", 4), ("own traffic", "", 3), ("kill -9", "", 3),
            ("by REDIRECT", "", 3), ("by an ordinary user", "", 2), ("by ebpf:", "run by ebpf", 2),
            ("by seccomp:", "run by seccomp", 2), ("by ptrace:", "run by ptrace", 2),
            ("by preload:", "run by preload", 2),
            ("Programs that run already", "watch", 4), ("another way out", "route", 4)):
        shown = [checks for title, checks in told.items() if chapter in title]
        assert shown or (word and f"skipped: {word}" in skipped), chapter
        assert all(len(checks) >= least for checks in shown), (chapter, shown)
