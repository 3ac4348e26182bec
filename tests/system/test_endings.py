# SPDX-License-Identifier: GPL-2.0-only
"""Connections that end in every way TCP knows: no byte lost, added or moved, and a reset stays one
(reliability row 3). native/transfer.c says what is checked."""
from __future__ import annotations

import subprocess

import pytest

from leaks import sockets
from netlab import Lab, wait_until
from shunt import Gateway, native

pytestmark = pytest.mark.threads


def run_transfers(lab: Lab, method: str, version: int, count: int, timeout: float,
                  *options: object) -> None:
    server = lab.server.spawn([native("transfer"), "serve", "7000"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    gateway = Gateway(lab.gateway, "-i", "lan0", "--method", method)
    before = sockets(gateway.pid)
    done = lab.client.run([native("transfer"), "run", "--count", count, *options,
                           Lab.FAR[version], "7000"], timeout=timeout, check=False)
    try:
        wait_until(lambda: sockets(gateway.pid) <= before, "all flows of the relay end", 40)
    finally:
        server.stdin.close()
        said = server.stdout.read().decode()
    assert done.ok and server.wait(10) == 0, f"{done}\n{said}\n{gateway}"
    assert f"done={count} failed=0" in done.out
    assert gateway.stop() == 0


@pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_random_endings_lose_nothing_and_keep_their_kind(lab, method, version):
    run_transfers(lab, method, version, 1000, 150, "--seed", version)


def test_small_transfers_end_as_they_should(lab):
    """Everything fits one buffer: data, its end and a reset arrive together."""
    run_transfers(lab, "tproxy", 4, 3000, 150, "--max-bytes", 600, "--seed", 7)


@pytest.mark.long
@pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_ten_thousand_random_endings(lab, method, version):
    run_transfers(lab, method, version, 10_000, 1200, "--seed", 100 + version)
