# SPDX-License-Identifier: GPL-2.0-only
"""`shunt route`: one command leaves another way than the rest of its machine (routing.py)."""
from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

import peers
from cgroups import needs_ebpf
from leaks import MACHINE
from netlab import UNPRIVILEGED, Host, Lab, needs_users, wait_until
from routing import EVIL, TwoWays, network_state
from runners import AS_ROOT, AS_USER, Runner
from shunt import native

pytestmark = pytest.mark.usefixtures("binary")

VERSIONS = pytest.mark.parametrize("version", [4, 6])
WHO = pytest.mark.parametrize("who", [AS_ROOT, AS_USER])

ASK = """
import socket, sys
host, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
sock = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
sock.settimeout(5)
if len(sys.argv) > 4:
    sock.bind(("", int(sys.argv[4])))
sock.connect((host, port))
sock.send(b"who")
print(sock.recv(100).decode(), sock.getsockname()[0])
"""


@pytest.fixture
def two_ways(lab) -> TwoWays:
    return TwoWays(lab)


def routed(runner: Runner, *words: object, **run):
    return runner.plain([runner.shunt, "route", *words], check=False, **run)


def ask(runner: Runner, options: tuple, version: int, kind: str = "tcp", *more: object) -> str:
    done = routed(runner, *options, "/usr/bin/python3", "-c", ASK, Lab.FAR[version], 7000, kind,
                  *more)
    return done.out.split()[0] if done.ok else done.err.strip().splitlines()[-1]


@VERSIONS
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_another_router(two_ways, version, kind):
    runner = two_ways.runner(AS_ROOT)
    before = network_state(two_ways.host)
    assert ask(runner, ("--dns", "192.0.2.1"), version, kind) == "wan"
    assert ask(runner, ("--gateway", EVIL[version]), version, kind) == "dmz"
    assert network_state(two_ways.host) == before


def test_a_family_without_a_gateway_is_unreachable(two_ways):
    runner = two_ways.runner(AS_ROOT)
    assert "Network is unreachable" in ask(runner, ("--gateway", EVIL[4]), 6)
    both = ("--gateway", EVIL[4], "--gateway", EVIL[6])
    assert [ask(runner, both, version) for version in (4, 6)] == ["dmz", "dmz"]


@WHO
@VERSIONS
def test_another_interface(two_ways, who, version):
    if who == AS_USER:
        needs_users()
    two_ways.host.ip(f"route add default via {EVIL[version]} dev dmz0 metric 5000")
    runner = two_ways.runner(who)
    assert ask(runner, ("-i", "dmz0"), version) == "dmz"
    assert ask(runner, ("-i", "dmz0"), version, "udp") == "dmz"
    assert ask(runner, ("-i", "wan0"), version) == "wan"


def test_an_interface_that_leads_nowhere_is_warned_of(two_ways):
    said = routed(two_ways.runner(AS_ROOT), "-i", "dmz0", "true")
    assert said.ok and "no route leads from dmz0" in said.err and "--gateway" in said.err
    two_ways.host.sysctl(net__ipv4__conf__dmz0__rp_filter=1)
    said = routed(two_ways.runner(AS_ROOT), "-i", "dmz0", "true")
    assert "rp_filter is 1" in said.err and "conf.dmz0.rp_filter=2" in said.err


@VERSIONS
def test_a_table_of_the_users(two_ways, version):
    runner = two_ways.runner(AS_ROOT)
    two_ways.host.ip(f"route add default via {EVIL[version]} dev dmz0 table 123")
    assert ask(runner, ("--table", "123"), version) == "dmz"
    assert ask(runner, ("--table", "0x7b", "--mark", "0x77"), version) == "dmz"
    assert "Network is unreachable" in ask(runner, ("--table", "124"), version), "and not by wan0"


def test_a_mark_for_rules_of_the_users(two_ways):
    host = two_ways.host
    host.ip(f"route add default via {EVIL[4]} dev dmz0 table 123",
            "rule add fwmark 0x10 lookup 123")
    runner = two_ways.runner(AS_ROOT)
    assert ask(runner, ("--mark", "16"), 4) == "dmz"
    assert ask(runner, ("--mark", "17"), 4) == "wan"


def test_marks_gateways_and_tables_need_privilege(two_ways):
    needs_users()
    runner = two_ways.runner(AS_USER)
    for options in (("--mark", "1"), ("--gateway", EVIL[4]), ("--table", "9")):
        said = routed(runner, *options, "true")
        assert said.code == 125 and "CAP_NET_ADMIN" in said.err, said


@WHO
def test_another_source_address(two_ways, lab, who):
    if who == AS_USER:
        needs_users()
    two_ways.host.ip("address add 198.51.100.9/24 dev wan0",
                     "address add 2001:db8:100::9/64 dev wan0 nodad")
    runner = two_ways.runner(who)
    for version, source in ((4, "198.51.100.9"), (6, "2001:db8:100::9")):
        for kind in ("tcp", "udp"):
            for more in ((), (0,), (0 if kind == "tcp" else 5555,)):
                done = routed(runner, "--source", source, "/usr/bin/python3", "-c", ASK,
                              Lab.FAR[version], 7000, kind, *more)
                assert done.out.split() == ["wan", source], (kind, more, done)
        other = ask(runner, ("--source", source), 10 - version)
        assert "Address family not supported" in other


def test_a_server_listens_at_the_source_address(two_ways, lab):
    two_ways.host.ip("address add 198.51.100.9/24 dev wan0")
    runner = two_ways.runner(AS_ROOT)
    program = ("import socket; s = socket.create_server(('', 7100)); "
               "print(s.getsockname()[0], flush=True); s.accept()[0].sendall(b'hello')")
    listening = two_ways.host.spawn(
        [runner.shunt, "route", "--source", "198.51.100.9", "/usr/bin/python3", "-c", program],
        stdout=-1)
    assert listening.stdout.readline().strip() == b"198.51.100.9"
    with lab.server.connect(("198.51.100.9", 7100)) as sock:
        assert peers.receive(sock, 5) == b"hello"
    assert listening.wait(10) == 0


RESOLVER = """
import socket
print(open("/etc/resolv.conf").read().split())
with socket.socket(socket.AF_UNIX) as sock:
    print(sock.connect_ex("/run/systemd/resolve/io.systemd.Resolve"))
"""


@WHO
def test_another_name_server(two_ways, who):
    if who == AS_USER:
        needs_users()
    host = two_ways.host
    folder = host.outside("/run/systemd/resolve")
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as service, contextlib.chdir(folder):
        service.bind("io.systemd.Resolve")  # the whole path is longer than a name may be
        service.listen()
        (folder / "io.systemd.Resolve").chmod(0o666)
        before = host.run(["cat", "/etc/resolv.conf"]).out
        done = routed(two_ways.runner(who), "--dns", "192.0.2.53", "--dns", "2001:db8::53",
                      "/usr/bin/python3", "-c", RESOLVER)
        assert done.out.splitlines() == [
            "['nameserver', '192.0.2.53', 'nameserver', '2001:db8::53']", "111"], done
        assert host.run(["cat", "/etc/resolv.conf"]).out == before
        assert host.run(["/usr/bin/python3", "-c", RESOLVER]).out.splitlines()[1] == "0"


FLAGS = """
import fcntl, os, socket, threading
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    for flags in (0, socket.SOCK_CLOEXEC, socket.SOCK_NONBLOCK):
        fd = socket.socket(socket.AF_INET, kind | flags).detach()
        raw = __import__("ctypes").CDLL(None).socket(socket.AF_INET, kind | flags, 0)
        print(fcntl.fcntl(raw, fcntl.F_GETFD) & fcntl.FD_CLOEXEC,
              fcntl.fcntl(raw, fcntl.F_GETFL) & os.O_NONBLOCK != 0)
print(socket.socket(socket.AF_UNIX).family.name)
"""


def test_sockets_are_as_they_were_asked_for(two_ways):
    runner = two_ways.runner(AS_ROOT)
    words = ["/usr/bin/python3", "-c", FLAGS]
    assert routed(runner, "-i", "wan0", *words).out == runner.plain(words).out


OWNER = """
import os, socket
sock = socket.socket()
print(os.fstat(sock.fileno()).st_uid)
for what in (socket.SOCK_RAW,):
    try:
        socket.socket(socket.AF_INET, what, socket.IPPROTO_ICMP)
        print("raw")
    except PermissionError:
        print("refused")
"""


def test_sockets_belong_to_who_asked_and_give_no_privilege(two_ways):
    needs_users()
    runner = two_ways.runner(AS_ROOT)
    script = ["/usr/bin/python3", "-c", OWNER]
    assert routed(runner, "-i", "wan0", *script).out.split() == ["0", "raw"]
    user = ["setpriv", "--reuid", str(UNPRIVILEGED), "--regid", str(UNPRIVILEGED),
            "--clear-groups", "--"]
    done = routed(runner, "-i", "wan0", *user, *script)
    assert done.out.split() == [str(UNPRIVILEGED), "refused"], done


def test_a_network_namespace_of_its_own_is_left_alone(two_ways):
    runner = two_ways.runner(AS_ROOT)
    done = routed(runner, "-i", "wan0", "unshare", "-n", "/usr/bin/python3", "-c", ASK,
                  Lab.FAR[4], 7000, "tcp")
    assert "Network is unreachable" in done.err


@pytest.mark.parametrize("options", [(), ("--nonblocking",), ("--threads", "8")])
def test_static_programs_are_routed(two_ways, lab, options):
    two_ways.host.ip(f"route add default via {EVIL[4]} dev dmz0 metric 5000")
    runner = two_ways.runner(AS_ROOT)
    echo = peers.TcpServer(lab.evil, peers.echo_bytes)
    tool = two_ways.host.install(native("static_client"))
    words = [tool, *options, Lab.FAR[4], str(echo.port)]
    assert not runner.plain(words, check=False).ok, "the usual way leads to the other server"
    done = routed(runner, "-i", "dmz0", *words)
    assert done.ok and done.out.startswith("ok"), done


def test_what_runs_on_in_the_background_is_routed(two_ways):
    runner = two_ways.runner(AS_ROOT)
    host = two_ways.host
    before = network_state(host)
    go = host.outside("/run/go")
    script = (f"(while [ ! -e /run/go ]; do sleep 0.05; done; /usr/bin/python3 -c '{ASK}' "
              f"{Lab.FAR[4]} 7000 tcp > /run/said) > /dev/null 2>&1 & exit 3")
    assert routed(runner, "--gateway", EVIL[4], "sh", "-c", script).code == 3
    assert network_state(host) != before
    go.write_text("")
    wait_until(lambda: host.outside("/run/said").exists() and
               host.outside("/run/said").read_text().startswith("dmz"), "it says who answered")
    wait_until(lambda: network_state(host) == before, "everything is undone")


def keepers(host: Host) -> list[int]:
    found = []
    for pid in host.processes():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == "route-keeper\n":
                found.append(pid)
    return found


def test_a_killed_keeper_leaves_nothing_in_force(two_ways):
    runner = two_ways.runner(AS_ROOT)
    host = two_ways.host
    before = network_state(host)
    script = f"echo in; read _; /usr/bin/python3 -c '{ASK}' {Lab.FAR[4]} 7000 tcp"
    running = host.spawn([runner.shunt, "route", "--gateway", EVIL[4], "sh", "-c", script],
                         stdin=-1, stdout=-1, stderr=-1)
    assert running.stdout.readline() == b"in\n"
    os.kill(keepers(host)[0], signal.SIGKILL)
    wait_until(lambda: not keepers(host), "the keeper is gone")
    _, said = running.communicate(b"\n", timeout=20)
    assert b"Function not implemented" in said, "nothing leaves by another way"
    host.run([runner.shunt, "down"])
    assert network_state(host) == before


@pytest.mark.parametrize("options, said", [
    ((), "nothing says which way"),
    (("-i", "nosuch0"), 'no interface "nosuch0"'),
    (("--gateway", "203.0.113.1"), "no interface has a network with 203.0.113.1"),
    (("--gateway", "192.0.2.66", "--table", "5"), "names another"),
    (("--gateway", "192.0.2.66", "--gateway", "192.0.2.67"), "second gateway"),
    (("--source", "203.0.113.1"), "no address of this machine"),
    (("--source", "tomorrow"), "no address of a host"),
    (("--mark", "0"), "no number above 0"),
    (("--table", "main"), "no number above 0"),
    (("--dns", "resolver.example"), "no address of a host"),
    (("-i", "dmz0", "--move"), "--move is for targets"),
    (("-i", "dmz0", "--method", "ebpf"), "--method is for targets"),
    (("--dns", "192.0.2.1", "--dns", "192.0.2.2", "--dns", "192.0.2.3", "--dns", "192.0.2.4"),
     "three name servers"),
])
def test_mistakes_are_named_and_change_nothing(two_ways, options, said):
    runner = two_ways.runner(AS_ROOT)
    before = network_state(two_ways.host)
    done = routed(runner, *options, "true")
    assert said in done.err and done.code in (2, 125), done
    assert network_state(two_ways.host) == before


@WHO
def test_doctor_tries_it(two_ways, who):
    needs_ebpf()
    if who == AS_USER:
        needs_users()
    runner = two_ways.runner(who)
    MACHINE.change()  # it makes a cgroup for a moment
    said = runner.plain([runner.shunt, "doctor"], check=False).out.splitlines()
    marks = {line.split()[1].rstrip(":"): line.split()[0] for line in said if "route" in line}
    assert marks["route"] == "ok" and marks["route-dns"] == "ok", said
    for name in ("route-rules", "route-nftables", "route-ebpf"):
        assert marks[name] == ("ok" if who == AS_ROOT else "note"), said
