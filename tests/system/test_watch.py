# SPDX-License-Identifier: GPL-2.0-only
"""`shunt watch`: whom each kind of target means, and when."""
from __future__ import annotations

import os
import socket
from pathlib import Path

from netlab import Lab, wait_until
from peers import TcpServer, UdpEcho, echo_bytes
from shunt import Process, shunt
from watching import PYTHON, Program, asks, own_mount, root, server, watch

__all__ = ["root", "server"]


def test_a_process_and_its_children_are_captured_and_others_are_not(lab, root, server):
    program, other = Program(lab, root / "rest"), Program(lab, root / "rest")
    watching = watch(lab, root, f"pid:{program.pid}")
    assert asks(lab, program, server, watching)
    assert not asks(lab, other, server, watching)
    assert program("fork", Lab.FAR[4], server.port) == "hello"
    watching.wait_log(lambda entry: entry["event"] == "end" and entry["pid"] != program.pid)
    assert watching.stop() == 0
    program.end()
    other.end()


def test_a_name_is_captured_from_its_start_on(lab, root, server, tmp_path):
    (tmp_path / "watched").symlink_to(os.path.realpath(PYTHON))
    early = Program(lab, root / "rest", str(tmp_path / "watched"))
    other = Program(lab, root / "rest")
    watching = watch(lab, root, "name:watched")
    late = Program(lab, root / "rest", str(tmp_path / "watched"))
    assert asks(lab, early, server, watching) and asks(lab, late, server, watching)
    assert not asks(lab, other, server, watching)
    # One that becomes something else is no longer of that name, and the other way round.
    early.execute(PYTHON)
    other.execute(str(tmp_path / "watched"))
    assert not asks(lab, early, server, watching)
    assert asks(lab, other, server, watching)
    assert watching.stop() == 0
    for program in (early, other, late):
        program.end()


def test_processes_have_names_and_threads_do_not_count(lab, root, server):
    program = Program(lab, root / "rest")
    watching = watch(lab, root, "name:watched")
    seen = len(watching.log())
    assert program("thread", "watched", Lab.FAR[4], server.port) == "hello"
    server.ended(1)
    assert not asks(lab, program, server, watching) and len(watching.log()) == seen
    assert program("name", "watched") == "ok"
    assert asks(lab, program, server, watching)
    seen = sum(entry["event"] == "end" for entry in watching.log())
    assert program("thread", "other", Lab.FAR[4], server.port) == "hello"
    wait_until(lambda: sum(e["event"] == "end" for e in watching.log()) == seen + 1, "captured")
    assert program("name", "other") == "ok"
    assert not asks(lab, program, server, watching)
    assert watching.stop() == 0
    program.end()


def test_a_unit_is_followed_over_restarts(lab, root, server):
    unit = root / "system.slice" / "a.service"
    program, other = Program(lab, unit), Program(lab, root / "system.slice" / "b.service")
    watching = watch(lab, root, "unit:a")
    assert asks(lab, program, server, watching)
    assert not asks(lab, other, server, watching)
    for _ in range(3):
        program.end()
        wait_until(lambda: "populated 0" in (unit / "cgroup.events").read_text(), "it stopped")
        unit.rmdir()
        unit.mkdir()
        program = Program(lab, unit)
        assert asks(lab, program, server, watching)
    assert watching.stop() == 0
    program.end()
    other.end()


def test_a_unit_that_does_not_run_is_awaited(lab, root, server):
    watching = watch(lab, root, "unit:later.service")
    assert watching.said("unit:later.service: none at present")
    (root / "system.slice" / "later.service").mkdir()
    program = Program(lab, root / "system.slice" / "later.service")
    assert asks(lab, program, server, watching)
    assert watching.stop() == 0
    program.end()


def test_a_cgroup_and_all_below_it_are_captured(lab, root, server):
    path = "/" + str((root / "system.slice").relative_to(own_mount()))
    inside, outside = Program(lab, root / "system.slice" / "a.service"), Program(lab, root / "rest")
    watching = watch(lab, root, f"cgroup:{path}")
    assert asks(lab, inside, server, watching)
    assert not asks(lab, outside, server, watching)
    assert watching.stop() == 0
    inside.end()
    outside.end()


def test_a_cgroup_outside_the_root_is_an_error(lab, root):
    outside = "/" + str((root / "rest").relative_to(own_mount()))
    done = shunt(lab.client, "watch", "--cgroup-root", root / "system.slice", f"cgroup:{outside}",
                 check=False)
    assert done.code == 2 and "is not below" in done.err, done


def test_a_group_is_captured(lab, root, server):
    member, other = Program(lab, root / "rest", gid=23456), Program(lab, root / "rest")
    watching = watch(lab, root, "gid:23456")
    assert asks(lab, member, server, watching)
    assert not asks(lab, other, server, watching)
    assert watching.stop() == 0
    member.end()
    other.end()


def test_a_name_can_be_left_out(lab, root, server, tmp_path):
    (tmp_path / "spared").symlink_to(os.path.realpath(PYTHON))
    early = Program(lab, root / "rest", str(tmp_path / "spared"))
    watching = watch(lab, root, "host", "!name:spared")
    late = Program(lab, root / "rest", str(tmp_path / "spared"))
    other = Program(lab, root / "rest")
    assert not asks(lab, early, server, watching) and not asks(lab, late, server, watching)
    assert asks(lab, other, server, watching)
    assert watching.stop() == 0
    for program in (early, late, other):
        program.end()


def test_processes_in_another_network_are_said(lab, root, server):
    """Of the client; shunt is on the gateway."""
    program = Program(lab, root / "rest")
    watching = Process(lab.gateway, "watch", "--cgroup-root", root, "host")
    watching.wait_ready()
    assert watching.said("1 of 1 processes are in other network namespaces")
    assert not asks(lab, program, server, watching)
    assert watching.stop() == 0
    program.end()


def test_users_are_captured_and_exclusions_win(lab, root, server):
    mine, others = Program(lab, root / "rest"), Program(lab, root / "rest", uid=12345)
    spared = Program(lab, root / "system.slice" / "b.service", uid=12345)
    watching = watch(lab, root, "uid:12345", "!unit:b")
    assert asks(lab, others, server, watching)
    assert not asks(lab, mine, server, watching)
    assert not asks(lab, spared, server, watching)
    assert watching.stop() == 0
    for program in (mine, others, spared):
        program.end()


def test_the_whole_host_but_one_is_captured(lab, root, server):
    one, spared = Program(lab, root / "rest"), Program(lab, root / "rest")
    watching = watch(lab, root, "host", f"!pid:{spared.pid}")
    assert asks(lab, one, server, watching)
    assert not asks(lab, spared, server, watching)
    assert watching.stop() == 0
    one.end()
    spared.end()


def test_a_moved_process_goes_back(lab, root, server):
    program = Program(lab, root / "rest")
    home = Path(f"/proc/{program.pid}/cgroup").read_text()
    kept = TcpServer(lab.server, echo_bytes)
    assert program("keep", Lab.FAR[4], kept.port) == "hello"
    watching = watch(lab, root, f"pid:{program.pid}", "--move")
    assert "shunt-watch-" in Path(f"/proc/{program.pid}/cgroup").read_text()
    assert watching.said("before the move, and are not captured: 1 of 1 processes")
    assert program("again") == "again"
    assert asks(lab, program, server, watching)
    assert watching.stop() == 0
    assert Path(f"/proc/{program.pid}/cgroup").read_text() == home
    assert list(root.glob("shunt-watch-*")) == []
    program.end()


def test_datagrams_are_captured_too(lab, root):
    echo = UdpEcho(lab.server)
    watching = watch(lab, root, "host")
    script = ("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              f"s.settimeout(5); s.sendto(b'x', ('{Lab.FAR[4]}', {echo.port}))\n"
              "print(s.recvfrom(9))")
    enter = f'echo $$ > {root}/rest/cgroup.procs; exec "$@"'
    done = lab.client.run(["sh", "-c", enter, "sh", PYTHON, "-c", script])
    assert done.out == f"(b'x', ('{Lab.FAR[4]}', {echo.port}))\n"
    assert watching.stop() == 0
    assert [entry["protocol"] for entry in watching.log() if entry["event"] == "end"] == ["udp"]
