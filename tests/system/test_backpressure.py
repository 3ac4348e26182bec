# SPDX-License-Identifier: GPL-2.0-only
"""Readers that do not read must cost neither memory nor the others' speed (reliability row 4)."""
from __future__ import annotations

import subprocess

import pytest

from leaks import resident_bytes, sockets
from netlab import Lab, pairs, wait_until
from shunt import Gateway, native

pytestmark = pytest.mark.figures

MIB = 1 << 20


def p99(lab: Lab, port: int) -> float:
    """Of 1 KiB questions on 4 connections, in microseconds; the calmest of five runs.

    Whatever else the machine does can only add to it.
    """
    runs = [pairs(lab.client.run([native("load"), "ask", "--parallel", 4, "--seconds", 1,
                                  Lab.FAR[4], port], timeout=20).out)["p99_us"] for _ in range(5)]
    return min(runs)


def stall(lab: Lab, readers: int) -> None:
    # The kernel's own buffers are not what is tested, and a machine has only so much memory.
    for host in (lab.client, lab.gateway, lab.server):
        host.sysctl(net__ipv4__tcp_rmem="4096 65536 262144",
                    net__ipv4__tcp_wmem="4096 65536 262144")
    echo = lab.server.spawn([native("load"), "echo", 7000], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)
    zeros = lab.server.spawn([native("load"), "zeros", 7001, 64 * MIB], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    assert echo.stdout.readline() == zeros.stdout.readline() == b"ready\n"
    gateway = Gateway(lab.gateway, "-i", "lan0")
    idle_sockets = sockets(gateway.pid)  # before the first flows: their ends may come late
    calm = p99(lab, 7000)
    idle_bytes = resident_bytes(gateway.pid)
    holder = lab.client.spawn([native("load"), "hold", "--count", readers, "--deaf", Lab.FAR[4],
                               7001], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_until(lambda: sockets(gateway.pid) >= idle_sockets + 2 * readers, "all are relayed", 30)
    crowded = p99(lab, 7000)  # five seconds: time enough to fill every buffer there is
    grown = resident_bytes(gateway.pid) - idle_bytes
    assert grown <= readers * 64 * 1024, f"{grown / readers / 1024:.1f} KiB for each reader"
    assert crowded <= 2 * calm, f"p99 {crowded} us beside the stalled, {calm} us alone"
    holder.stdin.close()
    assert pairs(holder.stdout.read().decode().splitlines()[-1])["live"] == readers
    wait_until(lambda: sockets(gateway.pid) <= idle_sockets, "the stalled are forgotten", 10)
    assert gateway.stop() == 0


def test_stalled_readers_cost_no_memory_and_slow_nobody(lab):
    stall(lab, 200)


@pytest.mark.long
def test_a_thousand_stalled_readers_cost_no_memory_and_slow_nobody(lab):
    stall(lab, 1000)
