# SPDX-License-Identifier: GPL-2.0-only
"""`shunt route TARGET`: programs that run already leave another way (routing.py)."""
from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgroups import needs_ebpf
from leaks import MACHINE
from netlab import Lab, needs_users, wait_until
from routing import EVIL, PORT, PYTHON, Asker, TwoWays, network_state, route
from shunt import Gateway, shunt
from watching import own_mount, root

__all__ = ["root"]

UID, GID = 23456, 34567
BY_GATEWAY = ("--gateway", EVIL[4], "--gateway", EVIL[6])
MECHANISMS = pytest.mark.parametrize("by", ["ebpf", "nftables"])
WAYS = pytest.mark.parametrize("way", ["interface", "gateway", "table", "mark"])


@pytest.fixture
def two_ways(lab) -> TwoWays:
    return TwoWays(lab)


def path_of(cgroup: Path) -> str:
    return "/" + str(cgroup.relative_to(own_mount()))


@contextlib.contextmanager
def routed(two_ways: TwoWays, root: Path, *words: object) -> Iterator[object]:
    """While it runs; then everything must be as it was."""
    before = network_state(two_ways.host)
    running = route(two_ways.host, "--cgroup-root", root, *words)
    yield running
    assert running.stop() == 0, running
    assert network_state(two_ways.host) == before
    assert running.refused_calls() == []


def way_of(two_ways: TwoWays, way: str) -> tuple[str, ...]:
    if way == "gateway":
        return BY_GATEWAY
    if way == "interface":
        two_ways.default_by_dmz()
        return ("-i", "dmz0")
    for version in (4, 6):
        two_ways.host.ip(f"route add default via {EVIL[version]} dev dmz0 table 123")
        if way == "mark":
            two_ways.host.run(["ip", f"-{version}", "rule", "add", "fwmark", "0x10", "lookup",
                               "123"])
    return ("--table", "123") if way == "table" else ("--mark", "0x10")


@WAYS
def test_a_process_takes_the_other_way_and_others_do_not(two_ways, root, way):
    program, other = Asker(two_ways.host, root / "rest"), Asker(two_ways.host, root / "rest")
    assert program.ways() == {"wan"}
    with routed(two_ways, root, *way_of(two_ways, way), f"pid:{program.pid}") as running:
        assert running.said(f"routing pid:{program.pid} by ebpf on {root}")
        assert program.ways() == {"dmz"}
        assert other.ways() == {"wan"}
        assert program("fork", kind="tcp", address=Lab.FAR[4], port=PORT)[0] == "dmz"
        assert program("fork", kind="udp", address=Lab.FAR[6], port=PORT)[0] == "dmz"
    assert program.ways() == {"wan"}
    program.end()
    other.end()


def test_a_name_is_routed_from_its_start_on(two_ways, root, tmp_path):
    (tmp_path / "watched").symlink_to(os.path.realpath(PYTHON))
    early = Asker(two_ways.host, root / "rest", str(tmp_path / "watched"))
    other = Asker(two_ways.host, root / "rest")
    with routed(two_ways, root, *BY_GATEWAY, "name:watched"):
        late = Asker(two_ways.host, root / "rest", str(tmp_path / "watched"))
        assert early.ways() == {"dmz"} and late.ways() == {"dmz"} and other.ways() == {"wan"}
        assert early("name", to="other") and other("name", to="watched")
        assert early.way() == "wan" and other.way() == "dmz"
    for program in (early, late, other):
        program.end()


def test_a_unit_is_followed_over_restarts_and_awaited(two_ways, root):
    unit = root / "system.slice" / "later.service"
    with routed(two_ways, root, *BY_GATEWAY, "unit:later") as running:
        assert running.said("unit:later.service: none at present")
        for _ in range(2):
            unit.mkdir()
            program = Asker(two_ways.host, unit)
            assert program.ways() == {"dmz"}
            program.end()
            wait_until(lambda: "populated 0" in (unit / "cgroup.events").read_text(), "it stopped")
            unit.rmdir()


@MECHANISMS
def test_a_cgroup_and_all_below_it_are_routed(two_ways, root, by):
    inside = Asker(two_ways.host, root / "system.slice" / "a.service")
    outside = Asker(two_ways.host, root / "rest")
    target = "cgroup:" + path_of(root / "system.slice")
    with routed(two_ways, root, *BY_GATEWAY, "--method", by, target) as running:
        assert running.said(f"by {by}")
        assert inside.ways() == {"dmz"} and outside.ways() == {"wan"}
    assert inside.ways() == {"wan"}
    inside.end()
    outside.end()


@MECHANISMS
@WAYS
def test_a_user_is_routed(two_ways, root, by, way):
    needs_users()
    member = Asker(two_ways.host, root / "rest", uid=UID)
    other = Asker(two_ways.host, root / "rest")
    options = way_of(two_ways, way)
    with routed(two_ways, root, *options, "--method", by, f"uid:{UID}"):
        assert member.ways() == {"dmz"} and other.ways() == {"wan"}
    assert member.ways() == {"wan"}
    member.end()
    other.end()


@MECHANISMS
def test_a_group_and_a_running_unit_are_routed_and_exclusions_are_not(two_ways, root, by):
    needs_users()
    unit = root / "system.slice" / "a.service"
    member = Asker(two_ways.host, root / "rest", gid=GID)
    both = Asker(two_ways.host, root / "rest", uid=UID, gid=GID)
    service = Asker(two_ways.host, unit)
    targets = (f"gid:{GID}", "unit:a", f"!uid:{UID}")
    with routed(two_ways, root, *BY_GATEWAY, "--method", by, *targets):
        assert member.ways() == {"dmz"} and service.ways() == {"dmz"} and both.ways() == {"wan"}
    for program in (member, both, service):
        program.end()


def test_ports_are_routed_by_nftables(two_ways, root):
    program = Asker(two_ways.host, root / "rest")
    with routed(two_ways, root, *BY_GATEWAY, f"port:{PORT}") as running:
        assert running.said("by nftables, since port:7000 cannot be routed by eBPF")
        assert program.ways() == {"dmz"}
        assert program.way(port=PORT + 1) == "wan"
    with routed(two_ways, root, *BY_GATEWAY, "--method", "nftables",
                "cgroup:" + path_of(root), f"!port:{PORT}"):
        assert program.ways() == {"wan"}
        assert program.way(port=PORT + 1) == "dmz"
    program.end()


def test_moved_processes_are_routed_and_go_back(two_ways, root):
    program, other = Asker(two_ways.host, root / "rest"), Asker(two_ways.host, root / "rest")
    assert program.way(keep=True) == "wan"
    with routed(two_ways, root, *BY_GATEWAY, "--move", f"pid:{program.pid}") as running:
        assert running.said("sockets that were there before, and keep their way: 1 of 1")
        assert "shunt-watch-" in Path(f"/proc/{program.pid}/cgroup").read_text()
        assert program.ways() == {"dmz"} and other.ways() == {"wan"}
    assert Path(f"/proc/{program.pid}/cgroup").read_text().strip().endswith("/rest")
    program.end()
    other.end()


@MECHANISMS
def test_what_was_there_before_keeps_its_way_and_is_counted(two_ways, root, by):
    needs_users()
    program = Asker(two_ways.host, root / "rest", uid=UID)
    assert program.way(keep=True) == "wan"
    with routed(two_ways, root, *BY_GATEWAY, "--method", by, f"uid:{UID}") as running:
        what = "sockets" if by == "ebpf" else "connections"
        assert running.said(f"{what} that were there before, and keep their way: 1 of 1 processes")
        assert program("again")[0] == "wan"
        assert program.way() == "dmz"
        assert program("again")[0] == "wan"
    program.end()


@MECHANISMS
def test_another_source_address(two_ways, root, by):
    needs_users()
    two_ways.host.ip("address add 198.51.100.9/24 dev wan0",
                     "address add 2001:db8:100::9/64 dev wan0 nodad")
    program = Asker(two_ways.host, root / "rest", uid=UID)
    sources = {4: "198.51.100.9", 6: "2001:db8:100::9"}
    options = ("--method", by, f"uid:{UID}")
    with routed(two_ways, root, "--source", sources[4], "--source", sources[6], *options):
        for version in (4, 6):
            for kind in ("tcp", "udp", "sendto"):
                assert program.way(version, kind) == "wan"
        assert seen_sources(two_ways, program, 4) == {sources[4]}
        assert seen_sources(two_ways, program, 6) == {sources[6]}
    with routed(two_ways, root, "--source", sources[4], *options):
        assert seen_sources(two_ways, program, 4) == {sources[4]}
        refusal = {"Address family not supported by protocol"} if by == "ebpf" else \
            {"Network is unreachable", "Operation not permitted"}  # of TCP, of a datagram
        assert program.way(6) in refusal and program.way(6, "sendto") in refusal
    program.end()


SEES = """
import socket, sys
kind, address = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
if kind == "tcp":
    server = socket.create_server((address, 0), family=family)
else:
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((address, 0))
print(server.getsockname()[1], flush=True)
if kind == "tcp":
    client, peer = server.accept()
    client.recv(9)
    client.sendall(b"seen")
else:
    _, peer = server.recvfrom(9)
    server.sendto(b"seen", peer)
print(peer[0], flush=True)
"""


def seen_sources(two_ways: TwoWays, program: Asker, version: int) -> set[str]:
    """From where a server sees it come."""
    found = set()
    for kind in ("tcp", "udp", "sendto"):
        child = two_ways.lab.server.spawn([PYTHON, "-c", SEES, kind, Lab.FAR[version]], stdout=-1,
                                          text=True)
        assert program.way(version, kind, int(child.stdout.readline())) == "seen"
        found.add(child.stdout.readline().strip())
        assert child.wait(10) == 0
    return found


def test_a_source_is_everywhere_or_the_socket_is_refused(two_ways, root):
    two_ways.host.ip("address add 198.51.100.9/24 dev wan0")
    program = Asker(two_ways.host, root / "rest")
    with routed(two_ways, root, "--source", "198.51.100.9", f"pid:{program.pid}") as running:
        assert program("raw", protocol=1)[0] == "Operation not permitted", "it would have another"
        for bind in (["", 0], ["", 5555], ["0.0.0.0", 0]):
            answered = program("ask", kind="udp", address=Lab.FAR[4], port=PORT, bind=bind)
            assert answered == ["wan", "198.51.100.9"], bind
        assert program("serve", address="0.0.0.0", port=7100) == ["serves", "198.51.100.9"]
        # What a program names itself is its own business.
        named = program("ask", kind="tcp", address=Lab.FAR[4], port=PORT,
                        bind=["198.51.100.1", 0])
        assert named == ["wan", "198.51.100.1"]
    assert running.said("1 were refused")
    program.end()


def test_loopback_stays_loopback(two_ways, root):
    two_ways.default_by_dmz()
    echo = ("import socket, threading\n"
            "for family, host in ((2, '127.0.0.1'), (10, '::1')):\n"
            "    s = socket.create_server((host, 7200), family=family)\n"
            "    def run(s=s):\n"
            "        while True:\n"
            "            c = s.accept()[0]; c.recv(9); c.sendall(b'here'); c.close()\n"
            "    threading.Thread(target=run).start()\n"
            "print('ready', flush=True)\n")
    server = two_ways.host.spawn([PYTHON, "-c", echo], stdout=-1, text=True)
    assert server.stdout.readline() == "ready\n"
    program = Asker(two_ways.host, root / "rest")
    target = f"pid:{program.pid}"
    two_ways.host.ip("address add 192.0.2.9/24 dev dmz0")
    for options in (("-i", "dmz0"), BY_GATEWAY, ("-i", "dmz0", "--source", "192.0.2.9"),):
        with routed(two_ways, root, *options, target):
            assert program.way() == "dmz"
            assert program("ask", kind="tcp", address="127.0.0.1", port=7200)[0] == "here"
            if "--source" not in options:
                assert program("ask", kind="tcp", address="::1", port=7200)[0] == "here"
            assert program("serve", address="127.0.0.1", port=0)[0] == "serves"
            assert program("device")[0] == ""
            program("close")
    program.end()


@pytest.mark.parametrize("version", [4, 6])
def test_who_has_been_on_loopback_takes_no_usual_way_after_it(two_ways, root, version):
    two_ways.default_by_dmz()
    near, far = {4: "127.0.0.1", 6: "::1"}[version], Lab.FAR[version]
    program = Asker(two_ways.host, root / "rest")
    with routed(two_ways, root, "-i", "dmz0", f"pid:{program.pid}"):
        program("make", kind="udp", address=near)
        assert program("point", address=near, port=7)[0] == "points"
        assert program("send_to", address=far, port=PORT)[0] == "Network is unreachable"
        assert program("unpoint")[0] == "free"
        assert program("connect", address=far, port=PORT)[0] == "dmz"
        assert program("device")[0] == "dmz0"
        program("close")
    program.end()


def test_sockets_get_interface_and_mark_and_are_counted(two_ways, root):
    two_ways.default_by_dmz()
    program = Asker(two_ways.host, root / "rest")
    program("make", kind="tcp", address="0.0.0.0")
    assert program("device") == ["", 0]
    with routed(two_ways, root, "-i", "dmz0", "--mark", "0x77", f"pid:{program.pid}") as running:
        program("make", kind="tcp", address="0.0.0.0")
        assert program("device") == ["dmz0", 0x77]
        program("make", kind="udp", address="::")
        assert program("device") == ["dmz0", 0x77]
        program("close")
    assert running.said("2 sockets were routed, 1 are open still")
    program.end()


def test_a_socket_that_another_program_refuses_is_not_counted_as_open(two_ways, root):
    two_ways.host.ip("address add 198.51.100.9/24 dev wan0")
    program = Asker(two_ways.host, root / "rest")
    target = f"pid:{program.pid}"
    with routed(two_ways, root, "--mark", "0x77", target) as counting:
        with routed(two_ways, root, "--source", "198.51.100.9", target):
            assert program("raw", protocol=1)[0] == "Operation not permitted"
        program("make", kind="tcp", address="0.0.0.0")
    assert counting.said("2 sockets were routed, 1 are open still")
    program("close")
    program.end()


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_the_wildcard_of_ipv4_in_ipv6_gets_the_source_of_ipv4(two_ways, root, kind):
    for address in ("198.51.100.9/24", "2001:db8:100::9/64"):
        two_ways.host.ip(f"address add {address} dev wan0")
    program = Asker(two_ways.host, root / "rest")
    sources = ("--source", "198.51.100.9", "--source", "2001:db8:100::9")
    with routed(two_ways, root, *sources, f"pid:{program.pid}"):
        far = f"::ffff:{Lab.FAR[4]}"
        for bind in (["::ffff:0.0.0.0", 0], ["::ffff:0.0.0.0", 5556], None):
            answered = program("ask", kind=kind, address=far, port=PORT, bind=bind)
            assert answered == ["wan", "::ffff:198.51.100.9"], bind
        assert program("serve", address="::ffff:0.0.0.0", port=7101) == [
            "serves", "::ffff:198.51.100.9"]
        # As a destination it is this machine: the address that it would send from.
        reached = program("reach_self", kind=kind, address="::ffff:0.0.0.0")
        assert reached == ["::ffff:198.51.100.9", "::ffff:198.51.100.9"]
        program("close")
    with routed(two_ways, root, *sources[2:], f"pid:{program.pid}"):
        refused = program("serve", address="::ffff:0.0.0.0", port=7101)
        assert refused[0] == "Cannot assign requested address"
    program.end()


def test_both_kinds_at_once_need_two(two_ways, root):
    program = Asker(two_ways.host, root / "rest")
    done = shunt(two_ways.host, "route", "--cgroup-root", root, *BY_GATEWAY,
                 f"pid:{program.pid}", f"port:{PORT}", check=False)
    assert done.code == 5 and "a shunt route for each" in done.err, done
    other = Asker(two_ways.host, root / "rest")
    first = route(two_ways.host, "--cgroup-root", root, *BY_GATEWAY, f"pid:{program.pid}")
    second = route(two_ways.host, "--cgroup-root", root, *BY_GATEWAY, f"port:{PORT + 1}")
    def ways() -> list[str]:
        return [program.way(), other.way(), other.way(6, port=PORT + 1)]
    assert ways() == ["dmz", "wan", "dmz"]
    assert first.stop() == 0
    assert ways() == ["wan", "wan", "dmz"]
    assert second.stop() == 0
    program.end()
    other.end()


@MECHANISMS
def test_a_class_of_net_cls_is_routed(two_ways, root, by):
    with net_cls(two_ways) as (inside, outside):
        member = Asker(two_ways.host, root / "rest", also=inside)
        other = Asker(two_ways.host, root / "rest", also=outside)
        with routed(two_ways, root, *BY_GATEWAY, "--method", by, "classid:1:10"):
            assert member.ways() == {"dmz"} and other.ways() == {"wan"}
        member.end()
        other.end()


@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_a_class_of_net_cls_is_a_term_of_rules(two_ways, root, method):
    """Of what the kernel lets go, and of what the proxy decides."""
    with net_cls(two_ways) as (inside, outside):
        member = Asker(two_ways.host, root / "rest", also=inside)
        other = Asker(two_ways.host, root / "rest", also=outside)
        gateway = Gateway(two_ways.host, "--host", "--method", method, "--exclude", "classid 1:10",
                          "--rule", "classid 2:10 port 7001 -> reject")
        assert member.way() == "wan" and other.way() == "wan"
        assert other.way(port=PORT + 1) != "wan" and member.way(port=PORT + 1) == "wan"
        gateway.wait_log(lambda entry: entry["event"] == "end" and entry.get("rule") == 1)
        assert gateway.stop() == 0
        assert {entry["pid"] for entry in gateway.log() if "pid" in entry} <= {other.pid, 0}
        member.end()
        other.end()


@contextlib.contextmanager
def net_cls(two_ways: TwoWays) -> Iterator[tuple[Path, Path]]:
    """Two classes, on a mount that only this host sees; the hierarchy goes with it."""
    needs_ebpf()
    MACHINE.change()
    host = two_ways.host
    if not any(line.split()[0] == "net_cls" and line.split()[3] == "1"
               for line in Path("/proc/cgroups").read_text().splitlines()):
        pytest.skip("needs cgroups: no net_cls in this kernel")
    if " net_cls " in Path("/proc/self/mountinfo").read_text().replace(",", " "):
        pytest.skip("needs cgroups: net_cls is in use")
    host.run(["sh", "-c", "mkdir /run/net_cls && mount -t cgroup -o net_cls none /run/net_cls"])
    top = host.outside("/run/net_cls")
    made = [top / f"shunt-test-{os.getpid()}-{number}" for number in (1, 2)]
    try:
        for number, directory in enumerate(made, 1):
            directory.mkdir()
            (directory / "net_cls.classid").write_text(str(0x10000 * number + 0x10))
        yield tuple(Path("/run/net_cls") / directory.name for directory in made)
    finally:
        for directory in made:
            wait_until(lambda d=directory: not (d / "cgroup.procs").read_text(), "it is empty")
            directory.rmdir()
        host.run(["umount", "/run/net_cls"])
