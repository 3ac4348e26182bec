# SPDX-License-Identifier: GPL-2.0-only
"""`shunt watch`: programs that run already, taken over by eBPF.

Everything happens below a cgroup that the test makes (--cgroup-root). systemd is not asked: a unit
is a cgroup of its name.
"""
from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgroups import needs_ebpf, own_cgroup
from leaks import MACHINE, KernelState, descriptors
from netlab import Lab, wait_until
from peers import TcpServer, UdpEcho, echo_bytes
from shunt import Process, listening_ports, shunt

PYTHON = "/usr/bin/python3"

# Asks once for each line of its input; "fork" does it in a child, "exec NAME" becomes another.
PROGRAM = """
import os, socket, sys
kept = []
def ask(address, port, keep=False):
    s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
    try:
        s.settimeout(5); s.connect((address, int(port))); s.sendall(b'hello')
        found = s.recv(9).decode() or 'end'
        if keep: kept.append(s)
        return found
    except OSError as e:
        return type(e).__name__
for line in sys.stdin:
    verb, *words = line.split()
    if verb == 'ask': print(ask(*words), flush=True)
    elif verb == 'keep': print(ask(*words, keep=True), flush=True)
    elif verb == 'again':
        kept[0].sendall(b'again'); print(kept[0].recv(9).decode(), flush=True)
    elif verb == 'fork':
        child = os.fork()
        if child == 0:
            print(ask(*words), flush=True); os._exit(0)
        os.waitpid(child, 0)
    elif verb == 'exec':
        os.execv(words[0], [words[0], '-c', os.environ['PROGRAM']])
print('bye', flush=True)
"""


class Program:
    """A process on the client that does what it is told, in a cgroup."""

    def __init__(self, lab: Lab, cgroup: Path, program: str = PYTHON, uid: int = 0) -> None:
        enter = f'echo $$ > {cgroup}/cgroup.procs; exec "$@"'
        user = ["setpriv", "--reuid", str(uid), "--clear-groups"] if uid else []
        self.child = lab.client.spawn(
            ["sh", "-c", enter, "sh", *user, program, "-c", PROGRAM], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PROGRAM": PROGRAM})
        self.pid = self.child.pid
        wait_until(lambda: str(self.pid) in (cgroup / "cgroup.procs").read_text().split(),
                   "it is in its cgroup")

    def __call__(self, *words: object) -> str:
        self.child.stdin.write(" ".join(map(str, words)) + "\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().strip()

    def execute(self, program: str) -> None:
        """Becomes another one, which must not find lines that this one has read already."""
        self.child.stdin.write(f"exec {program}\n")
        self.child.stdin.flush()
        name = Path(f"/proc/{self.pid}/comm")
        wait_until(lambda: name.read_text().strip() == Path(program).name[:15], "it has executed")

    def end(self) -> None:
        self.child.stdin.close()
        self.child.wait(10)


@pytest.fixture
def root() -> Iterator[Path]:
    """A cgroup of the test's own, laid out as systemd's."""
    needs_ebpf()
    MACHINE.change()
    path = own_cgroup() / f"shunt-watchtest-{os.getpid()}-0"
    for below in ("", "system.slice", "system.slice/a.service", "system.slice/b.service", "rest"):
        (path / below).mkdir()
    yield path
    def gone() -> bool:
        return "populated 0" in (path / "cgroup.events").read_text()
    wait_until(gone, "the cgroup is empty")
    remove(path)


def remove(path: Path) -> None:
    for below in path.iterdir():
        if below.is_dir():
            remove(below)
    path.rmdir()


def watch(lab: Lab, root: Path, *words: object) -> Process:
    made = Process(lab.client, "watch", "--cgroup-root", root, *words)
    made.wait_ready()
    return made


def captured(watching: Process, pid: int) -> int:
    """How many connections of the process ended in the log."""
    return sum(entry["event"] == "end" and entry["pid"] == pid for entry in watching.log())


def asks(lab: Lab, program: Program, server: TcpServer, watching: Process) -> bool:
    """Whether what it connects to now is captured; it must be answered in any case."""
    seen = len(watching.log())
    assert program("ask", Lab.FAR[4], server.port) == "hello"
    accepted = len(server.accepted)
    # What is captured is logged at its end, which has come when the server has seen it.
    server.ended(accepted)
    try:
        watching.wait_log(lambda entry: entry["event"] == "end"
                          and entry in watching.log()[seen:], timeout=1.0)
    except AssertionError:
        return False
    return True


@pytest.fixture
def server(lab) -> TcpServer:
    return TcpServer(lab.server, echo_bytes)


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


def own_mount() -> Path:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return Path(next(line.split()[4] for line in lines if " - cgroup2 " in line))


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
    watching = watch(lab, root, f"pid:{program.pid}", "--move")
    assert "shunt-watch-" in Path(f"/proc/{program.pid}/cgroup").read_text()
    assert asks(lab, program, server, watching)
    assert watching.stop() == 0
    assert Path(f"/proc/{program.pid}/cgroup").read_text() == home
    assert list(root.glob("shunt-watch-*")) == []
    program.end()


def test_connections_of_before_go_on_and_are_counted(lab, root, server):
    program = Program(lab, root / "rest")
    assert program("keep", Lab.FAR[4], server.port) == "hello"
    watching = watch(lab, root, f"pid:{program.pid}")
    assert watching.said("1 connection of 1 process were made before and go on as they are")
    assert program("again") == "again"
    assert watching.log() == []
    assert watching.stop() == 0
    program.end()


def test_new_connections_are_direct_after_the_end_and_live_ones_end_by_themselves(lab, root, server):
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


def test_datagrams_are_captured_too(lab, root):
    echo = UdpEcho(lab.server)
    watching = watch(lab, root, "host")
    script = ("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              f"s.settimeout(5); s.sendto(b'x', ('{Lab.FAR[4]}', {echo.port})); print(s.recvfrom(9))")
    enter = f'echo $$ > {root}/rest/cgroup.procs; exec "$@"'
    done = lab.client.run(["sh", "-c", enter, "sh", PYTHON, "-c", script])
    assert done.out == f"(b'x', ('{Lab.FAR[4]}', {echo.port}))\n"
    assert watching.stop() == 0
    assert [entry["protocol"] for entry in watching.log() if entry["event"] == "end"] == ["udp"]


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
