# SPDX-License-Identifier: GPL-2.0-only
"""Ports that are used again and ports that are few (reliability row 8)."""
from __future__ import annotations

import socket
import struct

import pytest

from netlab import Lab, family_of
from peers import TcpServer, echo_bytes
from shunt import Gateway

METHODS = pytest.mark.parametrize("method", ["tproxy", "redirect"])
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # struct linger: no TIME-WAIT at the client


def dial_from(lab: Lab, port: int, server: tuple[str, int]) -> None:
    with lab.client.socket(family_of(server[0])) as sock:
        sock.settimeout(5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        sock.bind(("", port))
        sock.connect(server)
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"


@METHODS
@VERSIONS
@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_one_client_port_is_used_again_and_again(lab, method, version, count):
    server = TcpServer(lab.server, echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--method", method)
    for _ in range(count):
        dial_from(lab, 40_000, (Lab.FAR[version], server.port))
    assert len(server.ended(count)) == count
    assert gateway.stop() == 0


@METHODS
def test_fifty_ports_are_enough_for_many_destinations(lab, method):
    """Each destination has all of the ports to itself, as it has without a proxy."""
    lab.gateway.sysctl(net__ipv4__ip_local_port_range="40000 40049")
    addresses = [f"203.0.113.{last}" for last in range(101, 111)]
    lab.server.ip(*(f"addr add {address}/32 dev lo" for address in addresses))
    server = TcpServer(lab.server, echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--method", method)
    live = []
    # connect() tries ports of one parity first and the others when those are used up
    # (__inet_hash_connect).
    for address in addresses:
        for _ in range(45):
            sock = lab.client.connect((address, server.port))
            live.append(sock)
            sock.sendall(b"x")
            assert sock.recv(1) == b"x", f"connection {len(live)}, to {address}"
    assert len(server.accepted) == 450
    for sock in live:
        sock.close()
    assert gateway.stop() == 0
