# SPDX-License-Identifier: GPL-2.0-only
"""A proxy must not dial itself, whoever sends it there (reliability row 1), and must not be an open
proxy for those who find its port (row 9)."""
from __future__ import annotations

import subprocess

import pytest

from leaks import sockets
from netlab import Host, Lab, counters, pairs, wait_until
from shunt import Gateway, listening_ports, native

ATTEMPTS = 1000
METHODS = pytest.mark.parametrize("method", ["tproxy", "redirect"])


def dial(host: Host, address: str, port: int, count: int) -> dict[str, int]:
    """`count` connections that send one byte; nothing may stay open or unanswered for long."""
    done = host.run([native("load"), "dial", "--count", count, "--parallel", 16, "--wait", 5000,
                     address, port], timeout=90)
    return pairs(done.out)


def assert_quiet(gateway: Gateway, before: int) -> None:
    wait_until(lambda: sockets(gateway.pid) <= before,
               f"{gateway} gives back its sockets: {before} before", 10)
    assert gateway.running
    assert gateway.stop() == 0


@METHODS
@pytest.mark.parametrize("unmarked", [False, True], ids=["marked", "unmarked"])
def test_dialling_the_listener_costs_at_most_one_socket(lab, method, unmarked):
    """Every address that leads to the listener's port, from the gateway and from the LAN, also when
    shunt's own sockets are captured like all others (the first guard is gone)."""
    options = ["-i", "lan0", "--host", "--loopback", "--method", method]
    gateway = Gateway(lab.gateway, *options, *(["--debug-unmarked"] if unmarked else []))
    before = sockets(gateway.pid)
    own = ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1",
           Lab.LAN[4], Lab.LAN[6], Lab.WAN[4], Lab.WAN[6], f"::ffff:{Lab.LAN[4]}"]
    ports = listening_ports(gateway)
    assert ports
    for port in ports:
        for host, addresses in ((lab.gateway, own), (lab.client, [Lab.LAN[4], Lab.LAN[6]])):
            for address in addresses:
                opens = counters(lab.gateway, "ActiveOpens")["ActiveOpens"]
                said = dial(host, address, port, ATTEMPTS)
                extra = counters(lab.gateway, "ActiveOpens")["ActiveOpens"] - opens
                extra -= ATTEMPTS if host is lab.gateway else 0
                assert extra <= ATTEMPTS, f"{host.name} to {address}:{port}: {extra} dials, {said}"
                assert said["answered"] == 0 and said["timed_out"] == 0, f"{address}: {said}"
    assert_quiet(gateway, before)


@METHODS
@pytest.mark.parametrize("version", [4, 6])
def test_own_upstreams_that_are_captured_again_do_not_loop(lab, method, version):
    """Without its mark shunt meets its own upstream connections: each is refused at once."""
    server = lab.server.spawn([native("load"), "echo", "7000"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    gateway = Gateway(lab.gateway, "-i", "lan0", "--host", "--method", method, "--debug-unmarked")
    before = sockets(gateway.pid)
    for host in (lab.gateway, lab.client):
        opens = counters(lab.gateway, "ActiveOpens")["ActiveOpens"]
        said = dial(host, Lab.FAR[version], 7000, ATTEMPTS)
        extra = counters(lab.gateway, "ActiveOpens")["ActiveOpens"] - opens
        extra -= ATTEMPTS if host is lab.gateway else 0
        assert extra <= ATTEMPTS, f"{host.name}: {extra} dials for {ATTEMPTS} attempts, {said}"
        assert said["timed_out"] == 0, said
    assert_quiet(gateway, before)


@METHODS
def test_direct_dials_from_three_networks_reach_nothing(lab, method):
    gateway = Gateway(lab.gateway, "-i", "lan0", "--method", method)
    before = sockets(gateway.pid)
    opens = counters(lab.gateway, "ActiveOpens")["ActiveOpens"]
    dials = [(host, address, port) for port in listening_ports(gateway)
             for host, addresses in ((lab.client, Lab.LAN), (lab.server, Lab.WAN),
                                     (lab.evil, {4: "192.0.2.1", 6: "2001:db8:2::1"}))
             for address in addresses.values()]
    for host, address, port in dials:
        said = dial(host, address, port, -(-10_000 // len(dials)))
        assert said["answered"] == 0 and said["timed_out"] == 0, f"{host.name}: {said}"
        assert said["refused"] + said["reset"] == -(-10_000 // len(dials)), f"{host.name}: {said}"
    assert counters(lab.gateway, "ActiveOpens")["ActiveOpens"] == opens, "something was dialled"
    assert_quiet(gateway, before)
