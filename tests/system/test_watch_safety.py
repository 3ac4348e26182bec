# SPDX-License-Identifier: GPL-2.0-only
"""`shunt watch`: its ends, loops, privileges and mistakes."""
from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from cgroups import needs_ebpf
from leaks import KernelState, descriptors
from netlab import Lab, needs, needs_users, wait_until
from shunt import Process, listening_ports, shunt
from test_privileges import ALWAYS, PROCESSES, bits, check_threads
from watching import Program, asks, root, server, watch

__all__ = ["root", "server"]


def test_it_gives_up_what_it_does_not_need(lab, root, server):
    needs_users()
    program = Program(lab, root / "rest")
    watching = watch(lab, root, f"pid:{program.pid}", "--move")
    check_threads(watching.pid, bits(ALWAYS, {"bpf": 39}))
    assert asks(lab, program, server, watching)
    assert watching.stop() == 0  # and may still move it back
    assert "shunt-watch-" not in Path(f"/proc/{program.pid}/cgroup").read_text()
    watching = watch(lab, root, "host", "--rule", "process python3 -> reject")
    check_threads(watching.pid, bits(ALWAYS, PROCESSES, {"bpf": 39}))
    assert program("ask", Lab.FAR[4], server.port) == "ConnectionResetError"
    assert watching.stop() == 0
    program.end()


def test_a_local_proxy_that_is_captured_itself_is_warned_of(lab, root, server):
    needs("microsocks")
    enter = f'echo $$ > {root}/rest/cgroup.procs; exec "$@"'
    proxy = lab.client.spawn(["sh", "-c", enter, "sh", "microsocks", "-i", "127.0.0.1", "-p",
                              "1080"])
    wait_until(lambda: lab.client.run(["ss", "-Hltn", "sport", "=", "1080"]).out, "it listens")
    via = ("--via", "socks5://127.0.0.1:1080")
    watching = watch(lab, root, "host", *via)
    assert watching.said("'!name:microsocks' leaves it alone")
    assert watching.stop() == 0
    watching = watch(lab, root, "host", "!name:microsocks", *via)
    assert not watching.said("leaves it alone")
    program = Program(lab, root / "rest")
    assert asks(lab, program, server, watching)
    assert watching.stop() == 0
    program.end()
    proxy.kill()
    proxy.wait()


def test_doctor_tries_it(lab):
    needs_ebpf()
    said = shunt(lab.client, "doctor", check=False).out
    assert any(line.startswith("ok    watch") for line in said.splitlines()), said


def test_connections_of_before_go_on_and_are_counted(lab, root, server):
    program = Program(lab, root / "rest")
    assert program("keep", Lab.FAR[4], server.port) == "hello"
    watching = watch(lab, root, f"pid:{program.pid}")
    assert watching.said("go on as they are: 1 of 1 processes")
    assert program("again") == "again"
    assert watching.log() == []
    assert watching.stop() == 0
    program.end()


def test_after_the_end_new_connections_are_direct_and_live_ones_go_on(lab, root, server):
    program = Program(lab, root / "rest")
    before = KernelState.of(lab.client)
    watching = watch(lab, root, f"pid:{program.pid}", "--drain", "20s")
    assert program("keep", Lab.FAR[4], server.port) == "hello"
    watching.send_signal(signal.SIGTERM)
    watching.wait_said("stopping: 1 live")
    assert program("again") == "again"
    assert program("ask", Lab.FAR[4], server.port) == "hello"
    program.end()
    assert watching.wait() == 0
    assert len([entry for entry in watching.log() if entry["event"] == "end"]) == 1
    wait_until(lambda: KernelState.of(lab.client).added_and_removed(before) == [], "all is gone")


def test_after_sigkill_everything_is_direct_at_once(lab, root, server):
    program = Program(lab, root / "rest")
    before = KernelState.of(lab.client)
    watching = watch(lab, root, "host")
    assert asks(lab, program, server, watching)
    watching.kill()
    assert program("ask", Lab.FAR[4], server.port) == "hello"
    wait_until(lambda: KernelState.of(lab.client).after_kill(before) == [], "all is gone")
    program.end()


@pytest.mark.parametrize("unmarked", [False, True], ids=["marked", "unmarked"])
def test_shunt_in_the_captured_cgroup_does_not_meet_itself(lab, root, server, unmarked):
    options = ["--debug-unmarked"] if unmarked else []
    enter = ("sh", "-c", f'echo $$ > {root}/rest/cgroup.procs; exec "$@"', "sh")
    watching = Process(lab.client, "watch", "--cgroup-root", root, "host", *options, prefix=enter)
    watching.wait_ready()
    program = Program(lab, root / "rest")
    found = descriptors(watching.pid)
    for _ in range(20):
        answer = program("ask", Lab.FAR[4], server.port)
        assert answer == ("hello" if not unmarked else "ConnectionResetError")
    wait_until(lambda: descriptors(watching.pid) == found, "no descriptor is left")
    # With the guards by mark and process gone, each dial meets the listener once and no more.
    assert len([e for e in watching.log() if e["event"] == "end"]) <= 40
    assert watching.stop() == 0
    program.end()


def test_the_listener_is_not_reached_from_the_network(lab, root):
    watching = watch(lab, root, "host")
    port = listening_ports(watching)[0]
    with lab.gateway.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"x", (lab.client.v4, port))
    with pytest.raises(ConnectionRefusedError):
        lab.gateway.connect((lab.client.v4, port))
    assert watching.log() == []
    assert watching.stop() == 0


@pytest.mark.parametrize("words, said", [
    (["pod:x"], "is no target"), (["pid:x"], "is no number of a process"),
    (["!uid:0"], "nobody to watch"), (["cgroup:x"], "is no path of a cgroup"),
    (["uid:nobody-has-this"], "is no user here"), (["host", "--move"], "there is none"),
    (["pid:999999999"], "there is no process"), (["cgroup:/no/such"], "there is no cgroup")])
def test_a_mistake_is_one_clear_error(lab, root, words, said):
    done = shunt(lab.client, "watch", "--cgroup-root", root, *words, check=False)
    assert done.code in (1, 2, 5) and said in done.err, done
    assert done.err.count("error[") == 1
