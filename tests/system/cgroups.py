# SPDX-License-Identifier: GPL-2.0-only
"""Where tests of eBPF make their cgroups, and whether they can."""
from __future__ import annotations

import os
from pathlib import Path

import pytest


def needs_ebpf() -> None:
    """As root of the machine, where its cgroups may be written."""
    status = Path("/proc/self/status").read_text()
    effective = int(next(line for line in status.splitlines() if "CapEff" in line).split()[1], 16)
    everybody = Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    if not effective >> 39 & 1 or not everybody:
        pytest.skip("needs bpf: no CAP_BPF in the first user namespace")
    if not os.access(own_cgroup(), os.W_OK):
        pytest.skip("needs cgroups: the unified hierarchy is not writable")


def own_cgroup() -> Path:
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    points = [words[4] for words in mounts if words[words.index("-") + 1] == "cgroup2"]
    if not points:
        pytest.skip("needs cgroups: the unified hierarchy is not mounted")
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return Path(points[0] + next(line for line in lines if line.startswith("0::"))[3:].rstrip("/"))
