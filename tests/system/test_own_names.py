# SPDX-License-Identifier: GPL-2.0-only
"""Names that shunt itself looks up where it captures this machine's own queries as well."""
from __future__ import annotations

import ipaddress
import os

import pytest

from daemons import Dnsmasq
from netlab import Lab
from peers import TcpServer, echo_bytes
from proxies import Microsocks
from queries import ask
from test_serve import HEAD, Serve, configure, reach, reload

NAMES = {"alive.example": [Lab.FAR[4]], "proxy.example": ["192.0.2.66"]}
FAKE = ipaddress.ip_network("198.18.0.0/15")
HOST = HEAD + "host = true\n"
FAKE_IP = f"[dns]\nmode = \"fake-ip\"\nserver = \"tcp://{Lab.FAR[4]}\"\nvia = \"direct\"\n"
STATE = {**os.environ, "SHUNT_STATE_DIR": "/run/state"}


@pytest.fixture
def named(lab):
    Dnsmasq(lab.server, {**NAMES, "proxy.example": [lab.evil.v4]})
    lab.gateway.file("/etc/resolv.conf", f"nameserver {Lab.FAR[4]}\noptions timeout:2\n")
    return lab


def checked(port: int) -> str:
    return ("[via.paris]\n[via.rome]\n[via.eu]\ngroup = \"failover\"\n"
            "members = [\"paris\", \"rome\"]\n"
            f"check = {{ target = \"tcp://alive.example:{port}\", interval = \"200ms\", "
            "timeout = \"200ms\" }\n")


def test_a_checks_target_is_looked_up_before_anything_is_captured(named):
    target, server = TcpServer(named.server, echo_bytes), TcpServer(named.server, echo_bytes)
    configure(named, [], checked(target.port), default="eu", head=HOST)
    serve = Serve(named)
    target.seen(2)
    assert reach(named, server.port) == "answer"
    assert serve.stop() == 0


def test_what_a_reload_brings_is_looked_up_as_it_is_and_not_faked(named):
    target, server = TcpServer(named.server, echo_bytes), TcpServer(named.server, echo_bytes)
    proxy = Microsocks(named.evil, named.evil.v4)
    configure(named, [], FAKE_IP, head=HOST)
    serve = Serve(named, env=STATE)
    for name in ("proxy.example", "alive.example"):  # nobody's business until now
        assert ipaddress.ip_address(ask(named.gateway, Lab.FAR[4], name).addresses[0]) in FAKE
    more = (FAKE_IP + f"[via.p]\nproxy = \"socks5://proxy.example:{proxy.port}\"\n"
            + checked(target.port))
    configure(named, [f"port {server.port} -> p"], more, head=HOST)
    reload(named)
    target.seen(2)
    assert reach(named, server.port) == "answer"
    assert server.accepted[-1].peer[0] == named.evil.v4
    for name in ("proxy.example", "alive.example"):
        assert ipaddress.ip_address(ask(named.gateway, Lab.FAR[4], name).addresses[0]) not in FAKE
    configure(named, [], FAKE_IP, head=HOST)
    reload(named)
    assert ipaddress.ip_address(
        ask(named.gateway, Lab.FAR[4], "proxy.example").addresses[0]) in FAKE
    assert serve.stop() == 0
