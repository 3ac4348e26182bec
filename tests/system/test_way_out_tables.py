# SPDX-License-Identifier: GPL-2.0-only
"""`table` on a way out: its sockets go by a routing table of the user's, and by no other."""
from __future__ import annotations

import errno
import re
import socket

import pytest

from leaks import KernelState
from netlab import Lab, wait_until
from peers import TcpServer, UdpEcho, echo_bytes, free_port, receive
from shunt import Gateway, shunt
from test_serve import CONFIG, Serve, configure, reach, reload

TABLE = 300
WAN2 = f"[via.wan2]\ntable = {TABLE}\n"


@pytest.fixture
def uplinks(lab):
    """The far addresses are on the server, by the default route, and on evil, by the table."""
    lab.evil.ip(f"addr add {Lab.FAR[4]}/32 dev lo", f"addr add {Lab.FAR[6]}/128 dev lo nodad")
    lab.gateway.ip(f"route add default via {lab.evil.v4} table {TABLE}",
                   f"route add default via {lab.evil.v6} table {TABLE}")
    return lab


def tagged(lab: Lab) -> list[str]:
    """Rules of shunt's that act on the marks of tables."""
    lines = lab.gateway.run(["ip", "rule"]).out + lab.gateway.run(["ip", "-6", "rule"]).out
    return [line for line in lines.splitlines()
            if "proto 177" in line and (f"lookup {TABLE} " in line or "unreachable" in line)]


def who_answers(lab: Lab, near: TcpServer, far: TcpServer, version: int) -> str:
    seen = len(near.accepted), len(far.accepted)
    assert reach(lab, near.port, Lab.FAR[version]) == "answer"
    return "server" if len(near.accepted) > seen[0] else "evil" if len(far.accepted) > seen[1] \
        else "nobody"


@pytest.mark.parametrize("version", [4, 6])
def test_its_connections_go_by_the_table_and_others_do_not(uplinks, version):
    near, other = TcpServer(uplinks.server, echo_bytes), TcpServer(uplinks.server, echo_bytes)
    far = TcpServer(uplinks.evil, echo_bytes, port=near.port)
    configure(uplinks, [f"port {near.port} -> wan2", "host a.example -> reject"], WAN2)
    serve = Serve(uplinks)
    assert who_answers(uplinks, near, far, version) == "evil"
    assert far.accepted[-1].peer[0] == {4: "192.0.2.1", 6: "2001:db8:2::1"}[version]
    assert reach(uplinks, other.port, Lab.FAR[version]) == "answer"
    assert other.seen(1)[0].peer[0] == Lab.WAN[version]
    assert serve.stop() == 0


def test_its_datagrams_go_by_the_table(uplinks):
    port = free_port()
    UdpEcho(uplinks.server, port)
    far = UdpEcho(uplinks.evil, port)
    configure(uplinks, [f"port {port} -> wan2", "host a.example -> reject"], WAN2)
    Serve(uplinks)
    with uplinks.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(b"who?", (Lab.FAR[4], port))
        assert sock.recv(100) == b"who?"
    assert [data for data, _ in far.received] == [b"who?"]


def test_where_the_table_leads_nowhere_nothing_leaves_by_another(uplinks):
    server = TcpServer(uplinks.server, echo_bytes)
    for version in (4, 6):
        uplinks.gateway.run(["ip", f"-{version}", "route", "flush", "table", TABLE])
    configure(uplinks, [f"port {server.port} -> wan2"], WAN2)
    serve = Serve(uplinks)
    serve.wait_said(f"routing table {TABLE} is empty")
    for version in (4, 6):
        with pytest.raises(OSError) as failed:
            reach(uplinks, server.port, Lab.FAR[version])
        assert failed.value.errno == errno.ENETUNREACH
    assert server.accepted == []


def test_plan_shows_the_rules_and_stop_removes_them(uplinks):
    configure(uplinks, ["port 25 -> wan2"], WAN2)
    before = KernelState.of(uplinks.gateway)
    planned = shunt(uplinks.gateway, "plan", "serve", "-c", CONFIG).out
    serve = Serve(uplinks)
    installed = tagged(uplinks)
    assert len(installed) == 4
    for family in ("ip", "ip -6"):
        found = re.findall(rf"^{family} rule add pref (\d+) fwmark (\S+) "
                           rf"(lookup {TABLE}|unreachable) protocol 177$", planned, re.M)
        assert len(found) == 2
        for priority, mark, action in found:
            assert any(re.match(rf"{priority}:\s+from all fwmark {mark} {action} ", line)
                       for line in installed), installed
    assert serve.stop() == 0
    assert KernelState.of(uplinks.gateway).added_and_removed(before) == []


def test_a_deleted_rule_is_put_back(uplinks):
    configure(uplinks, ["port 25 -> wan2"], WAN2)
    Serve(uplinks)
    installed = tagged(uplinks)
    for version in (4, 6):
        for line in installed:
            uplinks.gateway.run(["ip", f"-{version}", "rule", "del", "pref", line.split(":")[0]],
                                check=False)
    wait_until(lambda: sorted(tagged(uplinks)) == sorted(installed), "the rules are back", 2)


def test_reload_adds_rules_and_removes_them_when_no_flow_needs_them(uplinks):
    near = TcpServer(uplinks.server, echo_bytes)
    far = TcpServer(uplinks.evil, echo_bytes, port=near.port)
    configure(uplinks, [])
    serve = Serve(uplinks)
    before = KernelState.of(uplinks.gateway)
    configure(uplinks, [f"port {near.port} -> wan2", "host a.example -> reject"], WAN2)
    reload(uplinks)
    assert who_answers(uplinks, near, far, 4) == "evil"
    live = uplinks.client.connect((Lab.FAR[4], near.port))
    live.sendall(b"one")
    assert receive(live, 3) == b"one"

    configure(uplinks, ["host a.example -> reject"])
    reload(uplinks)
    assert who_answers(uplinks, near, far, 4) == "server"
    live.sendall(b"two")  # still by the table
    assert receive(live, 3) == b"two"
    assert len(tagged(uplinks)) == 4
    live.close()
    wait_until(lambda: tagged(uplinks) == [], "the rules go with the last flow")
    left = KernelState.of(uplinks.gateway).added_and_removed(before)
    assert [line for line in left if line.startswith(("rule", "route", "link"))] == []
    assert serve.stop() == 0


def test_rules_go_as_well_where_a_reload_ended_what_it_changed(uplinks):
    near = TcpServer(uplinks.server, echo_bytes)
    far = TcpServer(uplinks.evil, echo_bytes, port=near.port)
    configure(uplinks, [])
    serve = Serve(uplinks)
    configure(uplinks, [f"port {near.port} -> wan2"], WAN2)
    reload(uplinks, "--close-changed")
    assert who_answers(uplinks, near, far, 4) == "evil"
    configure(uplinks, [])
    reload(uplinks)
    assert who_answers(uplinks, near, far, 4) == "server"
    wait_until(lambda: tagged(uplinks) == [], "nothing holds the rules that are gone")
    assert serve.stop() == 0


def test_a_reload_that_is_refused_leaves_no_marks_of_tables(uplinks):
    """The running file's `mark` is free until a table is asked for, and again when it was not."""
    marked = "[via.marked]\nmark = 0xffffff\n"
    configure(uplinks, ["port 26 -> marked"], marked)
    serve = Serve(uplinks)
    configure(uplinks, ["port 25 -> wan2", "port 26 -> marked"], WAN2 + marked)
    assert "error[S035]" in reload(uplinks, code=3).err
    assert tagged(uplinks) == []
    configure(uplinks, ["port 26 -> marked", "port 27 -> reject"], marked)
    assert "2 rules" in reload(uplinks).out
    assert serve.stop() == 0


def test_a_killed_one_leaves_inert_rules_which_down_and_the_next_start_remove(uplinks):
    configure(uplinks, ["port 25 -> wan2"], WAN2)
    before = KernelState.of(uplinks.gateway)
    for sweep in ("down", "start"):
        Serve(uplinks).kill()
        assert len(tagged(uplinks)) == 4
        assert KernelState.of(uplinks.gateway).after_kill(before) == []
        if sweep == "down":
            assert "lookup" in shunt(uplinks.gateway, "down").out
        else:
            assert Gateway(uplinks.gateway, "-i", "lan0").stop() == 0
        assert KernelState.of(uplinks.gateway).added_and_removed(before) == []


def test_a_live_one_is_spared_by_starts_stops_and_sweeps_of_others(uplinks):
    configure(uplinks, ["port 25 -> wan2"], WAN2)
    serve = Serve(uplinks)
    installed = sorted(tagged(uplinks))
    other = Gateway(uplinks.gateway, "-i", "dmz0")
    assert sorted(tagged(uplinks)) == installed
    other.kill()
    # One whose record cannot be seen from here.
    elsewhere = {"SHUNT_RUN_DIR": "/run/elsewhere"}
    uplinks.gateway.run(["mkdir", "-p", "/run/elsewhere"])
    assert shunt(uplinks.gateway, "down", env=elsewhere).ok
    assert shunt(uplinks.gateway, "down").ok
    assert sorted(tagged(uplinks)) == installed
    assert serve.stop() == 0
    assert tagged(uplinks) == []


def test_a_mark_of_the_users_that_meets_the_tables_is_an_error(uplinks):
    configure(uplinks, ["port 25 -> wan2", "port 26 -> marked"],
              WAN2 + "[via.marked]\nmark = 0xffffff\n")
    done = shunt(uplinks.gateway, "serve", "-c", CONFIG, check=False)
    assert done.code == 3 and "error[S035]" in done.err, done
