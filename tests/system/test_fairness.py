# SPDX-License-Identifier: GPL-2.0-only
"""Bulk flows must not keep a small one waiting."""
from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

import pytest

from leaks import cpu_seconds
from netlab import Host, Lab, pairs, wait_until
from shunt import Gateway, native

pytestmark = pytest.mark.figures

ENDLESS = 1 << 50
# The two ends of the small flow go before the ends of the bulk flows, where this machine allows it:
# else the figure is about how the kernel shares its CPUs among all of them.
FIRST = ["chrt", "-f", "5"]
# Threefold is the mark. Relays that let a bulk flow go on for as long as it can take 18,000 and
# more here; the ends alone may take 5,000 when they wait for a CPU.
LEAST_MARK_US, UNSORTED_MARK_US = 500, 5_000


def first() -> list[str]:
    return FIRST if subprocess.run([*FIRST, "true"], capture_output=True).returncode == 0 else []


def serve(host: Host, *words: object, before: Sequence[str] = ()) -> None:
    server = host.spawn([*before, native("load"), *words], stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"


def p99_us(lab: Lab, before: Sequence[str] = ()) -> int:
    """Of 64-byte questions on one connection; the calmest of five runs: what else the machine does
    can only add to it."""
    return min(pairs(lab.client.run([*before, native("load"), "ask", "--parallel", 1, "--size", 64,
                                     "--seconds", 1, Lab.FAR[4], 7000], timeout=20).out)["p99_us"]
               for _ in range(5))


@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_a_small_flow_waits_little_beside_eight_bulk_flows(lab, method):
    before_others = first()
    serve(lab.server, "echo", 7000, before=before_others)
    serve(lab.server, "zeros", 7001, ENDLESS)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--method", method, "--workers", 1)
    alone = p99_us(lab, before_others)
    before = cpu_seconds(gateway.pid)
    bulk = lab.client.spawn([native("load"), "hold", "--count", 8, Lab.FAR[4], 7001],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_until(lambda: cpu_seconds(gateway.pid) > before + 0.2, "the bulk flows are under way")
    began, before = time.monotonic(), cpu_seconds(gateway.pid)
    beside = p99_us(lab, before_others)
    busy = (cpu_seconds(gateway.pid) - before) / (time.monotonic() - began)
    assert busy > 0.2, f"the relay had little to do: {busy:.2f} of a CPU"
    bulk.stdin.close()
    said = pairs(bulk.stdout.read().decode().splitlines()[-1])
    assert said["live"] == said["answered"] == 8, said
    most = max(3 * alone, LEAST_MARK_US if before_others else UNSORTED_MARK_US)
    print(f"p99 {beside} us beside 8 bulk flows, {alone} us alone")
    assert beside <= most, f"p99 {beside} us beside 8 bulk flows, {alone} us alone"
