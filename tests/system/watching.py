# SPDX-License-Identifier: GPL-2.0-only
"""Programs in cgroups below one that the test makes (--cgroup-root), and `shunt watch` on them.
systemd is not asked: a unit is a cgroup of its name.
"""
from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgroups import needs_ebpf, own_cgroup
from leaks import MACHINE
from netlab import Host, Lab, wait_until
from peers import TcpServer, echo_bytes
from shunt import Process

PYTHON = "/usr/bin/python3"

# Asks once for each line of its input; "fork" does it in a child, "exec NAME" becomes another.
PROGRAM = """
import os, socket, sys, threading
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
    elif verb == 'name':
        with open('/proc/self/comm', 'w') as comm: comm.write(words[0])
        print('ok', flush=True)
    elif verb == 'thread':
        def asked():
            with open('/proc/thread-self/comm', 'w') as comm: comm.write(words[0])
            print(ask(*words[1:]), flush=True)
        thread = threading.Thread(target=asked); thread.start(); thread.join()
    elif verb == 'exec':
        os.execv(words[0], [words[0], '-c', os.environ['PROGRAM']])
print('bye', flush=True)
"""


class Program:
    """A process on the client that does what it is told, in a cgroup."""

    def __init__(self, lab: Lab, cgroup: Path, program: str = PYTHON, uid: int = 0,
                 gid: int = 0, host: Host | None = None) -> None:
        enter = f'echo $$ > {cgroup}/cgroup.procs; exec "$@"'
        user = [*(["--reuid", str(uid)] if uid else []), *(["--regid", str(gid)] if gid else [])]
        user = ["setpriv", *user, "--clear-groups"] if user else []
        self.child = (host or lab.client).spawn(
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
    (path / "cgroup.kill").write_text("1")  # who is left when a test has failed
    def gone() -> bool:
        return "populated 0" in (path / "cgroup.events").read_text()
    wait_until(gone, "the cgroup is empty")
    remove(path)


def own_mount() -> Path:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return Path(next(line.split()[4] for line in lines if " - cgroup2 " in line))


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
