# SPDX-License-Identifier: GPL-2.0-only
"""`shunt route TARGET`: its ends, what goes beside it, privileges and mistakes (routing.py)."""
from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

from cgroups import needs_ebpf
from leaks import KernelState
from netlab import Lab, needs_users, wait_until
from routing import EVIL, PORT, Asker, TwoWays, network_state, route
from shunt import shunt
from test_privileges import SANITIZED, bits, threads_status
from watching import root

__all__ = ["root"]

UID = 23456
BY_GATEWAY = ("--gateway", EVIL[4], "--gateway", EVIL[6])
MECHANISMS = pytest.mark.parametrize("by", ["ebpf", "nftables"])
KILLS, ATTEMPTS = 12, 400


@pytest.fixture
def two_ways(lab) -> TwoWays:
    return TwoWays(lab)


def options(root: Path, by: str, *more: object) -> tuple[object, ...]:
    return ("--cgroup-root", root, *BY_GATEWAY, "--method", by, *more, f"uid:{UID}")


def may_stay(entry: str) -> bool:
    """The rules and the route of --gateway, and the sockets that bear the mark still."""
    rule = r"rule[46]: \+ .*fwmark 0x.* proto 177"
    route = r"route[46]: \+ default via \S+ dev dmz0 table 177\d\d proto 177"
    return bool(re.match(f"sockets: |{rule}|{route}", entry))


def not_allowed(now: KernelState, before: KernelState) -> list[str]:
    return [entry for entry in now.added_and_removed(before) if not may_stay(entry)]


@MECHANISMS
def test_after_sigkill_new_connections_go_the_usual_way_at_once(two_ways, root, by):
    needs_users()
    program = Asker(two_ways.host, root / "rest", uid=UID)
    before = KernelState.of(two_ways.host)
    running = route(two_ways.host, *options(root, by))
    assert program.way(keep=True) == "dmz"
    running.kill()
    killed = time.monotonic()
    assert program.ways() == {"wan"} and time.monotonic() - killed < 1
    left = KernelState.of(two_ways.host)
    assert not_allowed(left, before) == []
    if by == "ebpf":
        assert program("again")[0] == "dmz", "its mark, and the rules, are there still"
    assert shunt(two_ways.host, "down").ok
    assert program.ways() == {"wan"}
    program("close")
    left = KernelState.of(two_ways.host).added_and_removed(before)
    assert [entry for entry in left if not entry.startswith("sockets: ")] == []
    program.end()


@pytest.mark.figures
@MECHANISMS
def test_killed_at_any_moment_it_leaves_a_machine_that_works(two_ways, root, by):
    needs_users()
    program = Asker(two_ways.host, root / "rest", uid=UID)
    before = KernelState.of(two_ways.host)
    for kill in range(KILLS):
        running = route(two_ways.host, *options(root, by), wait=False)
        time.sleep(random.Random(kill).uniform(0, 0.25))
        running.kill()
        assert program.way(4) == program.way(6) == "wan"
        assert not_allowed(KernelState.of(two_ways.host), before) == [], f"after kill {kill}"
    # The next start works and sweeps by itself.
    running = route(two_ways.host, *options(root, by))
    assert program.way() == "dmz"
    assert running.stop() == 0
    assert program.way() == "wan"
    assert KernelState.of(two_ways.host).added_and_removed(before) == []
    program.end()


def watch_uplink(two_ways: TwoWays) -> None:
    """Counts what the user sends to the server by the usual way."""
    two_ways.host.nft(
        "table inet beside {\n counter leaked {\n }\n chain out {\n"
        "  type filter hook postrouting priority 300\n"
        f"  oifname wan0 meta skuid {UID} th dport {PORT} counter name leaked\n }}\n}}\n")


def leaked(two_ways: TwoWays) -> int:
    said = two_ways.host.run(["nft", "list", "counter", "inet", "beside", "leaked"]).out
    return int(re.search(r"packets (\d+)", said)[1])


@MECHANISMS
def test_nothing_goes_beside_it(two_ways, root, by):
    needs_users()
    program = Asker(two_ways.host, root / "rest", uid=UID)
    running = route(two_ways.host, *options(root, by))
    watch_uplink(two_ways)
    for version in (4, 6):
        for kind in ("tcp", "udp", "sendto"):
            found = program("many", count=ATTEMPTS // 4, kind=kind, address=Lab.FAR[version],
                            port=PORT)[0]
            assert found == {"dmz": ATTEMPTS // 4}
    # Without a way there is none.
    two_ways.host.ip("link set dmz0 down")
    for version in (4, 6):
        for kind in ("tcp", "udp"):
            assert program.way(version, kind) not in ("wan", "dmz")
    assert leaked(two_ways) == 0
    assert running.running
    running.kill()
    program.end()


def test_a_family_without_a_gateway_is_unreachable(two_ways, root):
    needs_users()
    program = Asker(two_ways.host, root / "rest", uid=UID)
    running = route(two_ways.host, "--cgroup-root", root, "--gateway", EVIL[4], f"uid:{UID}")
    watch_uplink(two_ways)
    assert program.way(4) == "dmz"
    assert {program.way(6, kind) for kind in ("tcp", "udp", "sendto")} == {"Network is unreachable"}
    assert leaked(two_ways) == 0
    assert running.stop() == 0
    program.end()


@MECHANISMS
def test_rules_and_routes_that_others_delete_are_put_back(two_ways, root, by):
    needs_users()
    program = Asker(two_ways.host, root / "rest", uid=UID)
    running = route(two_ways.host, *options(root, by))
    two_ways.host.sysctl(net__ipv6__conf__dmz0__keep_addr_on_down=1)
    for what in ("rule flush protocol 177", "-6 rule flush protocol 177", "link set dmz0 down"):
        two_ways.host.run(["ip", *what.split()])
        two_ways.host.ip("link set dmz0 up")
        wait_until(lambda: program.way(4) == "dmz" == program.way(6), f"it works after {what}")
    assert running.stop() == 0
    program.end()


def test_an_interface_may_go_and_come_back(two_ways, root):
    needs_ebpf()
    host = two_ways.host
    host.ip("link add spare0 type veth peer name spare1", "link set spare0 up",
            "link set spare1 up")
    program = Asker(host, root / "rest")
    running = route(host, "--cgroup-root", root, "-i", "spare0", f"pid:{program.pid}")
    program("make", kind="tcp", address="0.0.0.0")
    assert program("device")[0] == "spare0"
    host.ip("link del spare0")
    running.wait_said("spare0 is gone")
    assert program("make", kind="udp", address="0.0.0.0")[0] == "No such device"
    assert program("make", kind="tcp", address="::")[0] == "No such device"
    host.ip("link add spare0 type veth peer name spare1")
    running.wait_said("spare0 is there again")
    program("make", kind="tcp", address="0.0.0.0")
    assert program("device")[0] == "spare0"
    assert running.stop() == 0
    assert running.said("2 were refused")
    program.end()


@MECHANISMS
def test_it_gives_up_what_it_does_not_need(two_ways, root, by):
    needs_users()
    running = route(two_ways.host, *options(root, by))
    for status in threads_status(running.pid).values():
        assert status["CapEff"] == status["CapPrm"] == bits({"net_admin": 12})
        assert int(status["CapBnd"], 16) == 0 and status["NoNewPrivs"] == "1"
        assert SANITIZED or status["Seccomp"] == "2"
    assert running.stop() == 0
    assert running.refused_calls() == []


def test_processes_elsewhere_are_said(two_ways, root):
    needs_users()
    here = Asker(two_ways.host, root / "rest", uid=UID)
    elsewhere = Asker(two_ways.lab.client, root / "rest", uid=UID)
    running = route(two_ways.host, *options(root, "ebpf"))
    assert running.said("1 of 2 processes are in other network namespaces")
    assert here.way() == "dmz"
    assert running.stop() == 0
    # A process is routed where it is.
    two_ways.lab.client.ip("link add spare0 type veth peer name spare1")
    running = route(two_ways.host, "--cgroup-root", root, "-i", "spare0", f"pid:{elsewhere.pid}")
    elsewhere("make", kind="tcp", address="0.0.0.0")
    assert elsewhere("device")[0] == "spare0"
    assert running.stop() == 0
    here.end()
    elsewhere.end()


@pytest.mark.parametrize("words, code, said", [
    (["-i", "dmz0", "pid:x"], 2, "is no number of a process"),
    (["-i", "dmz0", "pid:999999999"], 1, "there is no process"),
    (["-i", "nosuch0", "uid:0"], 3, 'no interface "nosuch0"'),
    (["uid:0"], 2, "nothing says which way"),
    (["--dns", "192.0.2.1", "uid:0"], 2, "--dns is for a command"),
    (["-i", "dmz0", "!uid:0"], 2, "nobody to route"),
    (["-i", "dmz0", "uid:0", "curl"], 2, "is no target"),
    (["-i", "dmz0", "--move", "uid:0"], 2, "there is none"),
    (["-i", "dmz0", "--method", "nftables", "name:curl"], 5, "cannot be routed by nftables"),
    (["-i", "dmz0", "--method", "ebpf", "port:80"], 5, "cannot be routed by eBPF"),
    (["-i", "dmz0", "--method", "nftables", "unit:nosuch"], 5, "does not run"),
    (["--table", "5", "-i", "dmz0", "--method", "nftables", "uid:0"], 2, "--table alone"),
    (["-i", "dmz0", "--method", "nftables", "port:80"], 2, "no route leads from dmz0"),
    (["-i", "dmz0", "cgroup:/no/such"], 5, "no cgroup"),
    (["-i", "dmz0", "port:70000"], 2, "is no port")])
def test_a_mistake_is_one_clear_error_and_changes_nothing(two_ways, root, words, code, said):
    before = network_state(two_ways.host)
    done = shunt(two_ways.host, "route", "--cgroup-root", root, *words, check=False)
    assert said in done.err and done.err.count("error") == 1, done
    assert done.code == code, done
    assert network_state(two_ways.host) == before


def test_it_needs_privilege(two_ways):
    needs_users()
    runner = two_ways.runner("user")
    done = runner.plain([runner.shunt, "route", "-i", "dmz0", "uid:0"], check=False)
    assert done.code == 4 and "CAP_NET_ADMIN" in done.err, done
