# SPDX-License-Identifier: GPL-2.0-only
"""Captured connections without connection tracking, beside rules of others about it."""
from __future__ import annotations

import errno
import re
import socket

import pytest

from leaks import KernelState
from netlab import Lab, wait_until
from peers import TcpServer, UdpEcho, echo_bytes, receive
from shunt import Gateway, shunt

NOTRACK = ("-i", "lan0", "--connect", "early", "--notrack")
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])


def talk(sock: socket.socket, text: bytes = b"are you there?") -> None:
    sock.sendall(text)
    assert receive(sock, len(text)) == text


def tracked(lab: Lab) -> int:
    return int(lab.gateway.run(["sysctl", "-n", "net.netfilter.nf_conntrack_count"]).out)


def count_at_server(lab: Lab) -> None:
    """What reaches the server from the client itself, past the gateway's proxy: see passed()."""
    lab.server.nft(f"""table inet seen {{
      counter past {{ }}
      chain in {{ type filter hook input priority 0;
        meta l4proto tcp ip saddr {lab.client.v4} counter name past
        meta l4proto tcp ip6 saddr {lab.client.v6} counter name past
      }}
    }}""")


def passed(lab: Lab) -> int:
    said = lab.server.run(["nft", "list", "counter", "inet", "seen", "past"]).out
    return int(re.search(r"packets (\d+)", said)[1])


@VERSIONS
def test_captured_connections_are_not_tracked(lab, version):
    server = TcpServer(lab.server, echo_bytes)
    gateway = Gateway(lab.gateway, *NOTRACK)
    before = tracked(lab)
    held = [lab.client.connect((Lab.FAR[version], server.port)) for _ in range(20)]
    for sock in held:
        talk(sock)
        talk(sock, b"x" * 100_000)
    assert tracked(lab) - before < 5, "neither these nor shunt's own beyond"
    for sock in held:
        sock.close()
    for _ in range(20):  # a client's port that was just used
        with lab.client.connect((Lab.FAR[version], server.port)) as sock:
            talk(sock)
    assert {record.peer[0] for record in server.seen(40)} == {Lab.WAN[version]}
    assert gateway.stop() == 0


def test_datagrams_are_captured_beside_them(lab):
    echo = UdpEcho(lab.server)
    gateway = Gateway(lab.gateway, *NOTRACK)
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect((Lab.FAR[4], echo.port))
        for number in range(3):
            sock.send(b"%d" % number)
            assert sock.recv(10) == b"%d" % number
    assert {sender[0] for _, sender in echo.received} == {Lab.WAN[4]}
    assert gateway.stop() == 0


@VERSIONS
def test_what_belongs_to_a_dead_connection_does_not_pass(lab, version):
    """Its socket is gone, and nobody told the client."""
    server = TcpServer(lab.server, echo_bytes)
    gateway = Gateway(lab.gateway, *NOTRACK)
    with lab.client.connect((Lab.FAR[version], server.port)) as sock:
        talk(sock)
        lab.client.nft("table inet deaf { chain in { type filter hook input priority 0;"
                       " tcp flags rst drop; }; }")
        gateway.kill()
        assert shunt(lab.gateway, "down").ok
        gateway = Gateway(lab.gateway, *NOTRACK)
        count_at_server(lab)  # not the client's acknowledgement of the end, while nobody was there
        sock.sendall(b"into the void")
        wait_until(lambda: "retrans" in lab.client.run(["ss", "-tin"]).out, "it sends again")
        assert passed(lab) == 0
        lab.client.nft("delete table inet deaf")
        # The end of the killed one came first, so that it is a broken pipe.
        wait_until(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                   in (errno.ECONNRESET, errno.EPIPE), "it is reset")
    assert passed(lab) == 0
    assert gateway.stop() == 0


def test_a_connection_from_before_is_reset(lab):
    """The price: nobody knows that it was never captured."""
    server = TcpServer(lab.server, echo_bytes)
    with lab.client.connect((Lab.FAR[4], server.port)) as sock:
        talk(sock)
        gateway = Gateway(lab.gateway, *NOTRACK)
        sock.sendall(b"still?")
        sock.settimeout(10)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert gateway.stop() == 0


def test_new_connections_pass_while_it_drains_and_old_ones_go_on(lab):
    server = TcpServer(lab.server, echo_bytes)
    before = KernelState.of(lab.gateway)
    gateway = Gateway(lab.gateway, *NOTRACK, "--drain", "20s")
    with lab.client.connect((Lab.FAR[4], server.port)) as old:
        talk(old)
        gateway.send_signal(15)

        def passes() -> bool:
            with lab.client.connect((Lab.FAR[4], server.port)) as sock:
                talk(sock)
            return server.seen(1)[-1].peer[0] == lab.client.v4
        wait_until(passes, "new ones go directly")
        talk(old)
    assert gateway.wait() == 0
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


@pytest.mark.parametrize("rules, why", [
    ("table inet fw { chain in { type filter hook input priority 0;"
     " ct state established accept; }; }",
     "table inet fw (ct state established accept)"),
    ("table ip shop { chain pre { type nat hook prerouting priority dstnat;"
     " tcp dport 81 redirect to :80; }; }", "table ip shop ("),
])
def test_rules_of_others_that_need_tracking_are_named(lab, rules, why):
    lab.gateway.nft(rules)
    before = KernelState.of(lab.gateway)
    for command in ("gateway", "plan gateway"):
        done = shunt(lab.gateway, *command.split(), *NOTRACK, check=False)
        assert done.code != 0 and "[S062]" in done.err and why in done.err, str(done)
        assert "leave notrack away" in done.err
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


def test_the_plan_has_the_rules(lab):
    plan = shunt(lab.gateway, "plan", "gateway", *NOTRACK).out
    assert "chain untracked {" in plan and "notrack" in plan


@pytest.mark.parametrize("options, why", [
    (("--notrack",), "connect = early"),
    (("--notrack", "--connect", "honest"), "connect = early"),
    (("--notrack", "--connect", "early", "--on-exit", "closed"), "on-exit = closed"),
])
def test_flags_that_exclude_it_are_named(lab, options, why):
    done = shunt(lab.gateway, "gateway", "-i", "lan0", *options, check=False)
    assert done.code == 2 and why in done.err, str(done)


def test_a_file_that_contradicts_itself_is_shown_where(lab):
    path = lab.gateway.outside("/run/shunt.toml")
    path.write_text('version = 1\n[capture]\nlan = ["lan0"]\nnotrack = true\n')
    done = shunt(lab.gateway, "check", "/run/shunt.toml", check=False)
    assert done.code != 0 and "shunt.toml:4:" in done.err, str(done)
    assert "connect = early" in done.err


@pytest.mark.parametrize("connect", ["early", "honest"])
@VERSIONS
def test_what_others_do_not_let_be_tracked_is_captured_all_the_same(lab, connect, version):
    lab.gateway.nft("table inet raw { chain pre { type filter hook prerouting priority raw;"
                    " notrack; }; chain out { type filter hook output priority raw; notrack; }; }")
    server = TcpServer(lab.server, echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--connect", connect)
    for _ in range(3):
        with lab.client.connect((Lab.FAR[version], server.port)) as sock:
            talk(sock)
            talk(sock, b"y" * 100_000)
    assert {record.peer[0] for record in server.seen(3)} == {Lab.WAN[version]}
    closed = lab.client.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
    closed.settimeout(10)
    if connect == "honest":
        assert closed.connect_ex((Lab.FAR[version], 9)) == errno.ECONNREFUSED
    closed.close()
    assert gateway.stop() == 0
