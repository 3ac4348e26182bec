# SPDX-License-Identifier: GPL-2.0-only
"""`shunt run --method ebpf`: a command in a cgroup of its own, taken over by eBPF programs.

The programs are attached to cgroups that `run` makes below the one that this test is in, and to no
other.
"""
from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgroups import needs_ebpf, own_cgroup
from leaks import MACHINE, KernelState, descriptors
from netlab import Lab, Result, needs, wait_until
from peers import TcpServer, UdpEcho, echo_bytes
from proxies import Microsocks
from runners import AS_ROOT, Runner
from shunt import BINARY, Process, read_log

CALLS = Path(__file__).with_name("calls.py")
PYTHON = "/usr/bin/python3"
EBPF = ("--method", "ebpf")
ADDRESSES = {"v4": Lab.FAR[4], "v6": Lab.FAR[6], "mapped": f"::ffff:{Lab.FAR[4]}"}


def cgroups_of_runs() -> list[Path]:
    return sorted(own_cgroup().glob("shunt-run-*"))


def attached_programs() -> list[str]:
    done = subprocess.run(["bpftool", "prog"], capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if " shunt_" in line]


@pytest.fixture(autouse=True)
def alone(lab) -> Iterator[None]:
    """Cgroups and programs are the machine's: nobody else makes or counts them now. Over before the
    lab is, which kills who is left."""
    needs_ebpf()
    MACHINE.change()
    before = cgroups_of_runs()
    yield
    wait_until(lambda: set(cgroups_of_runs()) <= set(before), "the cgroups of the runs are gone")


@pytest.fixture
def runner(lab) -> Runner:
    return Runner(lab.client, AS_ROOT)


def run(lab: Lab, *command: object, options: tuple[object, ...] = (), **more) -> Result:
    return lab.client.run([BINARY, "run", *EBPF, *options, "--", *command], check=False, **more)


def ask(address: str, port: int) -> str:
    """Python that says hello over TCP and prints the answer, or the error's name."""
    return (f"import errno, socket\n"
            f"try:\n"
            f"  s = socket.create_connection(('{address}', {port}), 5)\n"
            f"  s.sendall(b'hello'); print(s.recv(99).decode(), s.getpeername()[:2], flush=True)\n"
            f"except OSError as e: print(errno.errorcode.get(e.errno, repr(e)), flush=True)\n")


# The table: each form of asking for a connection, over each kind of address.


@pytest.mark.parametrize("kind", ADDRESSES)
def test_every_form_of_asking_reaches_its_server(lab, kind):
    tcp = TcpServer(lab.server, echo_bytes)
    family = socket.AF_INET6 if kind == "v6" else socket.AF_INET
    udp = [UdpEcho(lab.server, family=family) for _ in range(4)]
    log = lab.client.outside("/run/log")
    done = run(lab, PYTHON, CALLS, ADDRESSES[kind], tcp.port, *(echo.port for echo in udp),
               options=("--json", "--log-to", "/run/log"), timeout=60)
    assert done.ok, done
    results = json.loads(done.out)
    assert len(results) == 12
    assert set(results.values()) == {"ok"}, results
    # All of it went through the proxy, which knows where it was going.
    ends = [entry for entry in read_log(log) if entry["event"] == "end"]
    plain = ADDRESSES[kind].removeprefix("::ffff:")
    assert {entry["destination"] for entry in ends} == {plain}
    assert len([entry for entry in ends if entry["protocol"] == "tcp"]) == 13
    assert {entry["destination_port"] for entry in ends if entry["protocol"] == "udp"} \
        == {echo.port for echo in udp}


def test_two_source_addresses_with_one_port_do_not_meet(lab):
    one, other = (TcpServer(lab.server, echo_bytes) for _ in range(2))
    script = ("import socket\n"
              "made = []\n"
              f"far = (('127.0.0.1', {one.port}), ('{lab.client.v4}', {other.port}))\n"
              "for source, port in far:\n"
              "  s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
              f"  s.bind((source, 45454)); s.connect(('{Lab.FAR[4]}', port)); made.append(s)\n"
              "for s in made: s.sendall(b'%d' % s.getpeername()[1])\n"
              "for s in made: print(s.recv(99).decode(), s.getsockname()[1])\n")
    done = run(lab, PYTHON, "-c", script)
    assert done.out == f"{one.port} 45454\n{other.port} 45454\n", done
    assert len(one.accepted) == len(other.accepted) == 1


def test_a_socket_that_is_bound_to_a_device_is_captured(lab):
    server = TcpServer(lab.server, echo_bytes)
    script = ("import socket\ns = socket.socket()\n"
              "s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')\n"
              f"s.settimeout(5); s.connect(('{Lab.FAR[4]}', {server.port}))\n"
              "s.sendall(b'x'); print(s.recv(9))")
    log = lab.client.outside("/run/log")
    done = run(lab, PYTHON, "-c", script, options=("--json", "--log-to", "/run/log"))
    assert done.out == "b'x'\n", done
    assert any(entry["event"] == "end" for entry in read_log(log))


def test_the_program_is_shown_the_source_that_it_would_have(lab):
    server = TcpServer(lab.server, echo_bytes)
    for version in (4, 6):
        script = ("import socket\n"
                  f"s = socket.create_connection(('{Lab.FAR[version]}', {server.port}))\n"
                  "print(s.getsockname()[0])")
        assert run(lab, PYTHON, "-c", script).out == lab.client.address(version) + "\n"


def test_a_family_without_a_route_is_unreachable_as_ever(lab):
    lab.client.run(["ip", "-6", "addr", "flush", "dev", "eth0"])  # and with them the routes
    script = ("import errno, socket\n"
              "for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):\n"
              "  s = socket.socket(socket.AF_INET6, kind)\n"
              f"  print(errno.errorcode[s.connect_ex(('{Lab.FAR[6]}', 9))])\n")
    assert run(lab, PYTHON, "-c", script).out == "ENETUNREACH\nENETUNREACH\n"


def test_localhost_and_own_addresses_are_the_hosts(lab):
    server = TcpServer(lab.client, echo_bytes)
    log = lab.client.outside("/run/log")
    for address in ("127.0.0.1", "::1", lab.client.v4, lab.client.v6):
        done = run(lab, PYTHON, "-c", ask(address, server.port),
                   options=("--json", "--log-to", "/run/log"))
        assert done.out == f"hello ('{address}', {server.port})\n"
    assert read_log(log) == []


def test_the_flow_knows_the_process_also_when_it_is_gone(lab):
    echo = UdpEcho(lab.server)
    log = lab.client.outside("/run/log")
    script = ("import os, socket\n"
              "open('/proc/self/comm', 'w').write('gone-at-once')\n"
              "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              f"s.sendto(b'x', ('{Lab.FAR[4]}', {echo.port}))\n"
              "print(os.getpid(), flush=True); os._exit(0)\n")
    done = run(lab, PYTHON, "-c", script, options=("--json", "--log-to", "/run/log"))
    def ended() -> dict | None:
        return next((entry for entry in read_log(log) if entry["event"] == "end"), None)
    end = wait_until(ended, "the end is logged")
    assert (end["pid"], end["process"]) == (int(done.out), "gone-at-once")


def test_rules_by_process_and_user_decide(lab):
    server = TcpServer(lab.server, echo_bytes)
    script = ask(Lab.FAR[4], server.port)
    for rule, reached in (("process python3 -> reject", False), ("process curl -> reject", True),
                          ("uid 0 -> reject", False), ("uid 1000 -> reject", True)):
        done = run(lab, PYTHON, "-c", script, options=("--rule", rule))
        assert ("hello" in done.out) is reached, (rule, done)


# Leaks: nothing goes round a proxy.


def test_nothing_leaves_but_to_the_proxy(lab):
    lab.client.nft("table inet count { chain out { type filter hook output priority 0; "
                   f"ip daddr {Lab.FAR[4]} counter; ip6 daddr {Lab.FAR[6]} counter; }}; }}")
    TcpServer(lab.server, echo_bytes, port=7007)
    proxy = Microsocks(lab.gateway, Lab.LAN[4])
    script = ("import socket\n"
              f"far = ('{Lab.FAR[4]}', '{Lab.FAR[6]}')\n"
              "for turn in range(250):\n"
              "  for address in far:\n"
              "    family = socket.AF_INET6 if ':' in address else socket.AF_INET\n"
              "    s = socket.socket(family); s.settimeout(5)\n"
              "    try: s.connect((address, 7007)); s.send(b'x'); s.recv(1)\n"
              "    except OSError: pass\n"
              "    s.close()\n"
              "    s = socket.socket(family, socket.SOCK_DGRAM)\n"
              "    for action in (lambda: s.sendto(b'x', (address, 7007)),\n"
              "                   lambda: (s.connect((address, 7007)), s.send(b'x'))):\n"
              "      try: action()\n"
              "      except OSError: pass\n"
              "    s.close()\n")
    done = run(lab, PYTHON, "-c", script, options=("--via", proxy.url("socks5")), timeout=120)
    assert done.ok, done
    rules = lab.client.run(["nft", "list", "table", "inet", "count"]).out
    assert rules.count("packets 0 ") == 2, rules


# Loops.


def listener_port(lab: Lab, carrier: int) -> int:
    out = lab.client.run(["ss", "-H", "-tlnp"]).out
    ports = {int(line.split()[3].rsplit(":", 1)[1]) for line in out.splitlines()
             if f"pid={carrier}," in line}
    assert len(ports) == 1, out
    return ports.pop()


def carrier_of(supervisor: int) -> int:
    """The child that carries the traffic; the command is the other."""
    def find() -> int:
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return next((int(pid) for pid in children
                     if b"run-carrier" in Path(f"/proc/{pid}/cmdline").read_bytes()), 0)
    return int(wait_until(find, "the carrier runs"))


@pytest.fixture
def waiting(lab) -> Iterator[Process]:
    """A run whose command asks once for each line of its input."""
    script = ("import sys, socket, errno\n"
              "print('up', flush=True)\n"
              "for line in sys.stdin:\n"
              "  address, port = line.split()\n"
              "  try:\n"
              "    s = socket.create_connection((address, int(port)), 5)\n"
              "    s.sendall(b'hello'); print(s.recv(9).decode() or 'end', flush=True); s.close()\n"
              "  except OSError as e: print(errno.errorcode.get(e.errno, e), flush=True)\n")
    child = lab.client.spawn([BINARY, "run", *EBPF, PYTHON, "-c", script], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "up\n"
    yield child
    if child.poll() is None:
        child.stdin.close()
        child.wait(10)


def tell(child: subprocess.Popen, address: str, port: int) -> str:
    child.stdin.write(f"{address} {port}\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_who_dials_the_listener_is_reset_and_nothing_is_dialled(lab, waiting, address, inside):
    carrier = carrier_of(waiting.pid)
    port = listener_port(lab, carrier)
    if inside:
        assert tell(waiting, address, port) in ("ECONNRESET", "end")
    before = descriptors(carrier)
    opened = 100 if inside else 1000
    for _ in range(opened):
        if inside:
            assert tell(waiting, address, port) in ("ECONNRESET", "end")
            continue
        try:
            with lab.client.connect((address, port)) as made:
                made.sendall(b"x")
                assert made.recv(1) == b""
        except ConnectionError:
            pass
    wait_until(lambda: descriptors(carrier) == before, "no descriptor is left")
    wait_until(lambda: not lab.client.run(["ss", "-Htn", "state", "syn-sent"]).out, "no dial")


def test_a_datagram_to_the_listener_goes_nowhere(lab, waiting):
    carrier = carrier_of(waiting.pid)
    port = listener_port(lab, carrier)
    before = descriptors(carrier)
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        for host in range(1, 200):
            made.sendto(b"x", (f"127.64.3.{host}", port))
            made.sendto(b"x", ("127.0.0.1", port))
        server = TcpServer(lab.server, echo_bytes)
        assert tell(waiting, Lab.FAR[4], server.port) == "hello"  # it has read them by now
    wait_until(lambda: descriptors(carrier) == before, "no descriptor is left")


# The end, orderly and not.


def test_nothing_is_left_after_the_command(lab):
    server = TcpServer(lab.server, echo_bytes)
    before = KernelState.of(lab.client)
    assert run(lab, PYTHON, "-c", ask(Lab.FAR[4], server.port)).out.startswith("hello")
    wait_until(lambda: KernelState.of(lab.client).added_and_removed(before) == [],
               "everything is as before")


def test_without_the_carrier_the_command_reaches_nothing(lab, waiting):
    server = TcpServer(lab.server, echo_bytes)
    assert tell(waiting, Lab.FAR[4], server.port) == "hello"
    os.kill(carrier_of(waiting.pid), signal.SIGKILL)
    assert waiting.stderr.readline().startswith("warning: the process that carries the traffic")
    for version in (4, 6):
        assert tell(waiting, Lab.FAR[version], server.port) == "ECONNREFUSED"
    waiting.stdin.close()
    waiting.wait(10)
    wait_until(lambda: attached_programs() == [], "the programs are gone")
    assert run(lab, "true").ok  # sweeps the cgroup


def test_the_command_dies_with_the_supervisor(lab, waiting):
    before = len(cgroups_of_runs())
    assert before == 1
    waiting.kill()
    waiting.wait(10)
    wait_until(lambda: cgroups_of_runs() == [] and attached_programs() == [], "all of it is gone")


def test_after_both_are_killed_a_direct_connection_works(lab, waiting):
    server = TcpServer(lab.server, echo_bytes)
    carrier = carrier_of(waiting.pid)
    os.kill(carrier, signal.SIGKILL)
    os.kill(waiting.pid, signal.SIGKILL)
    waiting.wait(10)
    wait_until(lambda: attached_programs() == [], "the programs are gone")
    with lab.client.connect((Lab.FAR[4], server.port)) as made:
        made.sendall(b"x")
        assert made.recv(1) == b"x"
    [left] = cgroups_of_runs()
    wait_until(lambda: "populated 0" in (left / "cgroup.events").read_text(), "nobody is in it")
    lab.client.run([BINARY, "down"])
    assert cgroups_of_runs() == []


def test_background_jobs_keep_their_network(lab):
    server = TcpServer(lab.server, echo_bytes)
    script = f"sleep 0.5; {PYTHON} -c \"{ask(Lab.FAR[4], server.port)}\" > /run/later 2>&1"
    done = run(lab, "sh", "-c", f"( {script} ) > /dev/null 2>&1 & true",
               options=("--json", "--log-to", "/run/log"))
    assert done.ok
    later = lab.client.outside("/run/later")
    wait_until(lambda: later.exists() and "hello" in later.read_text(), "the job was answered")
    wait_until(lambda: any(entry["event"] == "end"
                           for entry in read_log(lab.client.outside("/run/log"))), "it is logged")


# Which method is taken.

NO_NAMESPACES = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
LOAD, JEQ, RET = 0x20, 0x15, 0x06
UNSHARE = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
code = b"".join(struct.pack("=HBBI", *one) for one in (
    (LOAD, 0, 0, 0), (JEQ, 0, 1, UNSHARE), (RET, 0, 0, 0x00050000 | 1), (RET, 0, 0, 0x7fff0000)))
buffer = ctypes.create_string_buffer(code)
program = struct.pack("=HxxxxxxQ", 4, ctypes.addressof(buffer))
held = ctypes.create_string_buffer(program)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, ctypes.c_ulong(2), held, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_auto_takes_the_next_method_and_says_so(lab):
    """A sandbox that forbids namespaces (RestrictNamespaces=)."""
    server = TcpServer(lab.server, echo_bytes)
    done = lab.client.run([PYTHON, "-c", NO_NAMESPACES, BINARY, "run", "-o", PYTHON, "-c",
                           ask(Lab.FAR[4], server.port)], check=False)
    assert done.out.startswith("hello"), done
    assert "captured by ebpf, since namespace does not work here" in done.err
    asked = lab.client.run([PYTHON, "-c", NO_NAMESPACES, BINARY, "run", "--method", "namespace",
                            "true"], check=False)
    assert asked.code == 125 and "error" in asked.err


def test_connect_honest_is_refused_with_the_way_that_has_it(lab):
    done = run(lab, "true", options=("--connect", "honest"))
    assert done.code == 125
    assert "S061" in done.err and "--method namespace" in done.err


def test_curl_follows_names(lab):
    needs("dnsmasq", "curl")
    from daemons import Dnsmasq, Nginx
    Nginx(lab.server)
    Dnsmasq(lab.server, {"www.shunt.example": [Lab.FAR[4], Lab.FAR[6]]})
    lab.client.file("/etc/resolv.conf", f"nameserver {lab.server.v4}\n")
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{remote_ip}",
               "http://www.shunt.example/"]
    done = run(lab, *command, options=("--json", "--log-to", "/run/log"))
    # The same family first as without shunt (RFC 6724).
    assert done.out == lab.client.run(command).out
    entries = read_log(lab.client.outside("/run/log"))
    assert {entry["destination_port"] for entry in entries} >= {53, 80}
