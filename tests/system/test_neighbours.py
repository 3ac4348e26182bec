# SPDX-License-Identifier: GPL-2.0-only
"""Other firewalls live on the same machine: theirs stays as it is, and what they break of ours is
put back (reliability row 15)."""
from __future__ import annotations

import re

import pytest

import peers
from leaks import KernelState
from netlab import Host, Lab, wait_until
from shunt import Gateway

FOREIGN = """
table ip nat {
  chain POSTROUTING { type nat hook postrouting priority srcnat; oifname "dmz0" masquerade; }
  chain DOCKER { }
}
table inet firewalld {
  set blocked { type ipv4_addr; elements = { 192.0.2.200, 192.0.2.201 }; }
  chain mangle_PRE { type filter hook prerouting priority mangle - 10; ip saddr @blocked drop; }
  chain filter_FWD { type filter hook forward priority filter + 10; ct state invalid drop; }
}
table ip mangle {
  chain PREROUTING { type filter hook prerouting priority mangle;
    ip daddr 192.0.2.77 meta mark set 0x1; ip daddr 192.0.2.78 meta mark set 0x100; }
}
"""


def be_a_busy_machine(host: Host) -> None:
    host.nft(FOREIGN)
    host.ip("rule add fwmark 0x1/0xff lookup 100 pref 100", "rule add from 192.0.2.9 lookup 177",
            "route add 192.0.2.128/25 via 192.0.2.66 table 100",
            "route add unreachable default table 177",
            "route add 2001:db8:99::/64 via 2001:db8:2::66 table 100")


def foreign_tables(host: Host) -> str:
    """All tables but shunt's, as nft prints them."""
    tables = re.findall(r"^table .*?^}$", host.run(["nft", "-s", "list", "ruleset"]).out,
                        re.M | re.S)
    return "\n".join(table for table in tables if "shunt" not in table.split("{")[0])


def works(lab: Lab, version: int, port: int) -> None:
    with lab.client.connect((Lab.FAR[version], port)) as sock:
        sock.sendall(b"hello")
        assert sock.recv(5) == b"hello"


@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_tables_rules_and_routes_of_others_are_untouched(lab, method):
    be_a_busy_machine(lab.gateway)
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    before, tables = KernelState.of(lab.gateway), foreign_tables(lab.gateway)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--host", "--method", method)
    for version in (4, 6):
        works(lab, version, server.port)
    assert foreign_tables(lab.gateway) == tables
    kept = [line for line in KernelState.of(lab.gateway).added_and_removed(before)
            if line.startswith(("rule", "route")) and ": - " in line]
    assert kept == [], "while it runs, rules or routes of others are gone"
    assert gateway.stop() == 0
    assert foreign_tables(lab.gateway) == tables
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


@pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
def test_deleted_ip_rules_are_back_within_two_seconds(lab, version):
    plain = rules(lab.gateway, version)
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--host", "--method", "tproxy")
    ours = rules(lab.gateway, version) - plain
    assert ours
    for rule in ours:
        preference, _, selector = rule.partition(":")
        lab.gateway.run(["ip", f"-{version}", "rule", "del", "pref", preference])
    wait_until(lambda: rules(lab.gateway, version) - plain == ours, "the rules are back", 2)
    works(lab, version, server.port)
    assert gateway.stop() == 0
    assert rules(lab.gateway, version) == plain


def rules(host: Host, version: int) -> set[str]:
    return set(host.run(["ip", f"-{version}", "rule"]).out.splitlines())


def test_a_foreign_flush_of_the_rule_set_changes_nothing(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0")
    lab.gateway.run(["nft", "flush", "ruleset"], check=False)
    works(lab, 4, server.port)
    gateway.wait_log(lambda entry: str(server.port) in str(entry), what="the captured connection")
    assert gateway.stop() == 0


def test_two_gateways_on_one_machine_use_different_marks_and_tables(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    before = KernelState.of(lab.gateway)
    first = Gateway(lab.gateway, "-i", "lan0")
    between = KernelState.of(lab.gateway)
    second = Gateway(lab.gateway, "-i", "dmz0")
    works(lab, 4, server.port)
    with lab.evil.connect((Lab.FAR[4], server.port)) as sock:
        sock.sendall(b"hello")
        assert sock.recv(5) == b"hello"
    for gateway in (first, second):
        gateway.wait_log(lambda entry: str(server.port) in str(entry), what="its connection")
    assert second.stop() == 0
    assert KernelState.of(lab.gateway).added_and_removed(between) == []
    works(lab, 4, server.port)
    assert first.stop() == 0
    assert KernelState.of(lab.gateway).added_and_removed(before) == []
