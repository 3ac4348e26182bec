# SPDX-License-Identifier: GPL-2.0-only
"""`shunt run --method ebpf`: every kind of call by every kind of program, many of them, and death
at any moment."""
from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgroups import needs_ebpf
from leaks import MACHINE, KernelState
from methods import EVERY_ROW_OK, FAMILIES, MANY, Targets, every_row
from netlab import UNPRIVILEGED, Lab, bracketed, needs_users, wait_until
from peers import TcpServer, UdpEcho, digest_after_eof, echo_bytes
from runners import AS_ROOT, Runner
from shunt import BINARY, native, read_log
from test_conformance import go_client  # noqa: F401  a fixture
from test_run_ebpf import EBPF, PYTHON, attached_programs, carrier_of, cgroups_of_runs

KILLS = 25


@pytest.fixture(autouse=True)
def alone(lab) -> Iterator[None]:
    needs_ebpf()
    MACHINE.change()
    before = cgroups_of_runs()
    yield
    wait_until(lambda: set(cgroups_of_runs()) <= set(before), "the cgroups of the runs are gone")


@pytest.fixture
def runner(lab) -> Runner:
    return Runner(lab.client, AS_ROOT)


@FAMILIES
@pytest.mark.parametrize("build", ["calls", "calls_dynamic"])
def test_every_kind_of_call_in_every_kind_of_process(runner, lab, build, family):
    targets = Targets(lab, family)
    tool = lab.client.install(native(build))
    done = runner.sh(every_row(tool, targets, family), *EBPF, timeout=60)
    assert done.out.splitlines() == EVERY_ROW_OK, done
    assert len(targets.tcp.accepted) == sum(" tcp-" in row for row in EVERY_ROW_OK)


@pytest.mark.long
@pytest.mark.parametrize("version", [4, 6])
def test_a_static_go_program_is_captured(runner, lab, version, go_client):  # noqa: F811
    server = TcpServer(lab.server, echo_bytes)
    tool = lab.client.install(go_client)
    address = f"{bracketed(Lab.FAR[version])}:{server.port}"
    log = lab.client.outside("/run/log")
    done = runner.run([*EBPF, "--json", "--log-to", "/run/log", tool, address, 50, 300_000],
                      timeout=60)
    assert done.out == "ok\n", done
    assert sum(entry["event"] == "end" for entry in read_log(log)) == len(server.accepted)


def test_a_setuid_program_is_captured_and_is_its_users(runner, lab):
    needs_users()
    server = TcpServer(lab.server, echo_bytes)
    setuid = lab.client.outside("/run/calls-setuid")
    setuid.write_bytes(Path(native("calls")).read_bytes())
    setuid.chmod(0o4755)
    log = lab.client.outside("/run/log")
    become = ["setpriv", "--reuid", UNPRIVILEGED, "--regid", UNPRIVILEGED, "--clear-groups", "--"]
    row = [*become, "/run/calls-setuid", "tcp-blocking", Lab.FAR[4], server.port]
    done = runner.run([*EBPF, "--json", "--log-to", "/run/log", *row])
    assert done.out == "ok\n", done
    assert [entry["event"] for entry in read_log(log)].count("end") == 1
    # The kernel says who started it, not who it became.
    refused = runner.run([*EBPF, "--rule", f"uid {UNPRIVILEGED} -> reject", *row])
    assert refused.out.startswith("error"), refused
    let = runner.run([*EBPF, "--rule", "uid 0 -> reject", *row])
    assert let.out == "ok\n", let


def test_many_at_once_get_each_its_own(runner, lab):
    server = TcpServer(lab.server, echo_bytes)
    targets = [(Lab.FAR[4], server.port, "ok"), (Lab.FAR[6], server.port, "ok"),
               (lab.server.v4, server.port, "ok"), (lab.server.v6, server.port, "ok")]
    done = runner.python(f"TARGETS, COUNT = {targets}, 600\n{MANY}", *EBPF, timeout=60)
    assert done.out == "600\n", done


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@pytest.mark.long
def test_death_at_any_moment_leaves_a_machine_that_works(lab):
    server = TcpServer(lab.server, echo_bytes)
    before = KernelState.of(lab.client)
    ask = (f"import socket\nwhile True:\n  s = socket.create_connection(('{Lab.FAR[4]}', "
           f"{server.port}), 5); s.sendall(b'x'); s.recv(1); s.close()\n")
    for kill in range(KILLS):
        child = lab.client.spawn([BINARY, "run", *EBPF, PYTHON, "-c", ask],
                                 stderr=subprocess.DEVNULL)
        time.sleep(random.Random(kill).uniform(0, 0.4))
        for pid in [*(children(child.pid) if kill % 2 else []), child.pid]:
            os.kill(pid, signal.SIGKILL)
        child.wait(10)
        wait_until(lambda: attached_programs() == [], "the programs are gone", 5)
        with lab.client.connect((Lab.FAR[4], server.port)) as made:
            made.sendall(b"x")
            assert made.recv(1) == b"x"
    lab.client.run([BINARY, "down"])
    assert cgroups_of_runs() == []
    wait_until(lambda: KernelState.of(lab.client).after_kill(before) == [], "nothing is left")


def test_sockets_of_before_are_not_captured(runner, lab):
    """Who is handed a socket that was made outside the cgroup goes by it directly."""
    server = TcpServer(lab.server, echo_bytes)
    log = lab.client.outside("/run/log")
    use = (f"import socket; s = socket.socket(fileno=0)\ns.connect(('{Lab.FAR[4]}', {server.port}))"
           "\ns.sendall(b'x'); print(s.recv(1).decode())")
    outer = ("import socket, subprocess, sys\n"
             "s = socket.socket()\n"
             "sys.exit(subprocess.run(sys.argv[1:], stdin=s.fileno()).returncode)\n")
    done = lab.client.run([PYTHON, "-c", outer, runner.shunt, "run", *EBPF, "--json", "--log-to",
                           "/run/log", PYTHON, "-c", use], check=False)
    assert done.out == "x\n", done
    assert read_log(log) == []


def test_what_was_sent_before_the_socket_was_closed_arrives(lab):
    """The carrier, stopped meanwhile, reads it when the program is gone."""
    tcp, udp = TcpServer(lab.server, digest_after_eof), UdpEcho(lab.server)
    script = ("import os, signal, socket, sys\n"
              "carrier = int(sys.stdin.readline())\n"
              "os.kill(carrier, signal.SIGSTOP)\n"
              f"s = socket.create_connection(('{Lab.FAR[4]}', {tcp.port}))\n"
              "s.sendall(b'last words'); s.close()\n"
              "for connected in (True, False):\n"
              "  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              f"  far = ('{Lab.FAR[4]}', {udp.port})\n"
              "  if connected: s.connect(far); s.send(b'one')\n"
              "  else: s.sendto(b'other', far)\n"
              "  s.close()\n"
              "os.kill(carrier, signal.SIGCONT)\n")
    child = lab.client.spawn([BINARY, "run", *EBPF, PYTHON, "-c", script], stdin=subprocess.PIPE,
                             text=True)
    child.stdin.write(f"{carrier_of(child.pid)}\n")
    child.stdin.close()
    assert child.wait(20) == 0
    assert tcp.ended(1)[0].received == len(b"last words")
    both = [b"one", b"other"]
    wait_until(lambda: sorted(data for data, _ in udp.received) == both, "both datagrams")


def test_doctor_tries_it(lab):
    MACHINE.change()  # it makes a cgroup for a moment
    done = lab.client.run([BINARY, "doctor"], check=False)
    assert any(line.startswith("ok    run-ebpf") for line in done.out.splitlines()), done
    assert cgroups_of_runs() == []
    wait_until(lambda: attached_programs() == [], "the kernel frees the programs")
