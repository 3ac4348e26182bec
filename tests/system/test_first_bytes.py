# SPDX-License-Identifier: GPL-2.0-only
"""Servers that speak first are heard as if nobody stood between (reliability row 11)."""
from __future__ import annotations

import statistics
import time

import pytest

from netlab import Lab
from peers import TcpServer, banner
from shunt import Gateway, flow_ends

pytestmark = pytest.mark.figures


def banner_seconds(lab: Lab, version: int, port: int) -> float:
    times = []
    for _ in range(15):
        began = time.monotonic()
        with lab.client.connect((Lab.FAR[version], port)) as sock:
            assert sock.recv(100) == b"220 ready\r\n"
        times.append(time.monotonic() - began)
    return statistics.median(times)


@pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
@pytest.mark.parametrize("method", ["tproxy", "redirect"])
@pytest.mark.parametrize("port", [22, 25, 3306, 8025])
def test_a_banner_comes_within_fifty_milliseconds_of_a_direct_one(lab, method, version, port):
    TcpServer(lab.server, banner, port=port)
    direct = banner_seconds(lab, version, port)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--method", method)
    proxied = banner_seconds(lab, version, port)
    flow_ends(gateway.log_path, lambda end: end.destination == (Lab.FAR[version], port))
    assert proxied <= direct + 0.050, f"{proxied * 1000:.1f} ms against {direct * 1000:.1f} ms"
    assert gateway.stop() == 0
