# SPDX-License-Identifier: GPL-2.0-only
"""The methods of `shunt run` that answer a command's calls, and programs that make such calls.

    @every_method                                       # a parameter `method`
    def test_something(runner, method):
        done = runner.python(ask(...), *method.options)
"""
from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from netlab import Host, Lab, Result
from peers import TcpServer, UdpEcho, echo_bytes
from runners import AS_ROOT, AS_USER, Runner
from shunt import install_shunt

# Numbers of system calls: x86-64's, and those of all newer machines.
_X86 = os.uname().machine == "x86_64"
CONNECT = 42 if _X86 else 203
RECVMSG = 47 if _X86 else 212
POLLS = (7, 271) if _X86 else (73,)  # poll(), ppoll()


@dataclass(frozen=True)
class Method:
    name: str
    builds: tuple[str, ...]  # of the tool `calls`: those that it captures
    waits_in: int  # the system call that a blocked connect() is in /proc/PID/syscall
    without_carrier: str  # what calls say when the process that carries the traffic is dead
    in_library: bool = False  # of the program: what programs do by themselves goes round it

    @property
    def options(self) -> tuple[str, str]:
        return "--method", self.name

    def __str__(self) -> str:
        return self.name


SECCOMP = Method("seccomp", ("calls", "calls_dynamic"), CONNECT, "ENOSYS")
# A thread that waits is stopped before the call, which the kernel is to skip.
PTRACE = Method("ptrace", ("calls", "calls_dynamic"), -1, "ENOSYS")
PRELOAD = Method("preload", ("calls_dynamic",), RECVMSG, "ECONNREFUSED", in_library=True)
METHODS = (SECCOMP, PTRACE, PRELOAD)

WHO = pytest.mark.parametrize("who", [AS_ROOT, AS_USER])
FAMILIES = pytest.mark.parametrize("family", ["v4", "v6", "mapped"])


def every_method(test: Callable) -> Callable:
    return pytest.mark.parametrize("method", METHODS, ids=str)(test)


def every_filter(test: Callable) -> Callable:
    """The methods that a program cannot go round by calls of its own."""
    chosen = [method for method in METHODS if not method.in_library]
    return pytest.mark.parametrize("method", chosen, ids=str)(test)


def writable_file(host: Host, path: str) -> Path:
    """An empty file inside that every user may write."""
    made = host.outside(path)
    made.write_text("")
    made.chmod(0o666)
    return made


# tests/system/native/calls.c: each kind of call, in each kind of process.

TCP_ROWS = ("tcp-blocking", "tcp-nonblocking", "tcp-epoll")
UDP_ROWS = ("udp-connected", "udp-epoll", "udp-sendto", "udp-sendmsg", "udp-sendmmsg")
PLACES = ("here", "thread", "fork", "vfork", "exec")
EVERY_ROW_OK = [f"{place} {row} ok" for place in PLACES for row in (*TCP_ROWS, *UDP_ROWS)]


class Targets:
    """Echo servers at two addresses and several ports."""

    def __init__(self, lab: Lab, family: str) -> None:
        version = 6 if family == "v6" else 4
        kind = socket.AF_INET6 if version == 6 else socket.AF_INET
        self.tcp = TcpServer(lab.server, echo_bytes)
        self.udp = [UdpEcho(lab.server, family=kind) for _ in range(3)]
        self.far = Lab.FAR[version]
        self.near = lab.server.address(version)

    def words(self, row: str) -> str:
        if row.startswith("tcp"):
            return f"{self.far} {self.tcp.port}"
        if row in ("udp-connected", "udp-epoll"):
            return f"{self.far} {self.udp[0].port}"
        ports = [echo.port for echo in self.udp]
        return " ".join(f"{host} {port}" for host in (self.far, self.near) for port in ports)


def every_row(tool: str, targets: Targets, family: str) -> str:
    """Shell text that prints a line for each row in each place."""
    option = "--mapped" if family == "mapped" else ""
    return "\n".join(f"echo {place} {row} $({tool} {option} --in {place} {row} "
                     f"{targets.words(row)})"
                     for place in PLACES for row in (*TCP_ROWS, *UDP_ROWS))


# Many connections.

MANY = """
import concurrent.futures, errno, socket, sys
def one(number):
    address, port, expected = TARGETS[number % len(TARGETS)]
    try:
        with socket.create_connection((address, port), 10) as s:
            text = b"%06d" % number
            s.sendall(text); said = "ok" if s.recv(6, socket.MSG_WAITALL) == text else "wrong"
    except OSError as e: said = errno.errorcode.get(e.errno, repr(e))
    return said == expected
with concurrent.futures.ThreadPoolExecutor(64) as pool:
    print(sum(pool.map(one, range(COUNT))))
"""

_BUSY = """
import collections, socket, time
live, wrong = collections.deque(), 0
def finish():
    global wrong
    s, text = live.popleft()
    wrong += s.recv(6, socket.MSG_WAITALL) != text
    s.close()
began = time.monotonic()
for number in range(COUNT):
    time.sleep(max(0, began + number / RATE - time.monotonic()))
    s = socket.create_connection((FAR[number % len(FAR)], PORT), 20)
    text = b'%06d' % number
    s.sendall(text); live.append((s, text))
    if len(live) > 100: finish()
while live: finish()
print(wrong)
"""


def busy(server: TcpServer, count: int, rate: int) -> str:
    """Python that has a hundred connections open at any time, and prints how many answers were
    wrong. `rate`: connections in a second."""
    return (f"FAR, PORT, COUNT, RATE = {list(Lab.FAR.values())}, {server.port}, {count}, {rate}\n"
            f"{_BUSY}")


# A connect() that blocks.

_BLOCKED = """
import errno, os, signal, socket, sys, time
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(time.monotonic()))
signal.siginterrupt(signal.SIGUSR1, INTERRUPT)
s = socket.socket()
for option, value in OPTIONS: s.setsockopt(socket.SOL_SOCKET, option, value)
print("ready", os.getpid(), flush=True)
started = time.monotonic()
try: s.connect((ADDRESS, PORT)); said = "ok"
except OSError as e: said = errno.errorcode[e.errno]
time.sleep(0.01)  # where python runs what is left of its handlers
print(said, len(got), round(time.monotonic() - started, 1), flush=True)
"""


def blocked(address: str, port: int, options=(), interrupt: bool = False) -> str:
    """Python that connects once; prints what came of it, how many SIGUSR1 its handler got, and how
    many seconds it took."""
    return (f"ADDRESS, PORT, OPTIONS, INTERRUPT = {address!r}, {port}, {list(options)}, "
            f"{interrupt}\n{_BLOCKED}")


class Started:
    """A python script under shunt that says `ready` and a number, and shunt's processes."""

    def __init__(self, runner: Runner, method: Method, script: str, *options: str) -> None:
        self.host, self.method = runner.host, method
        self.child = subprocess.Popen(
            runner.command([runner.shunt, "run", *method.options, *options, "/usr/bin/python3",
                            "-c", script]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.words = self.child.stdout.readline().split()
        self.number = int(self.words[1])

    @property
    def pid(self) -> int:
        return self.number

    def carrier(self) -> int:
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text()
        return next(int(pid) for pid in children.split()
                    if "carrier" in Path(f"/proc/{pid}/comm").read_text())

    def in_call(self, *numbers: int) -> bool:
        """Its main thread waits in one of these system calls."""
        try:
            return int(Path(f"/proc/{self.pid}/syscall").read_text().split()[0]) in numbers
        except (OSError, ValueError):  # gone, or running
            return False

    def connects(self) -> bool:
        """Its connect() is shunt's: the socket that it is about is parked."""
        parked = self.host.run(["ss", "-Htn", "state", "syn-sent"]).out
        return self.in_call(self.method.waits_in) and "127.0.0.1:" in parked

    def has_pending(self, number: int) -> bool:
        """A signal that was sent to it has not reached it yet."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        masks = [int(line.split()[1], 16) for line in status
                 if line.startswith(("SigPnd:", "ShdPnd:"))]
        return any(mask >> (number - 1) & 1 for mask in masks)

    def end(self, timeout: float = 20) -> list[str]:
        out, _ = self.child.communicate(timeout=timeout)
        return out.split()


# A container whose profile forbids some calls.

_FORBID = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
x86 = os.uname().machine == 'x86_64'
numbers = {'seccomp': 317 if x86 else 277, 'ptrace': 101 if x86 else 117}
rows = [(0x20, 0, 0, 0)]
for name in sys.argv[1].split():
    rows += [(0x15, 0, 1, numbers[name]), (0x06, 0, 0, 0x50001)]  # EPERM
rows.append((0x06, 0, 0, 0x7fff0000))
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *row) for row in rows))
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
libc.prctl(22, 2, struct.pack('HL', len(rows), ctypes.addressof(code)), 0, 0)  # PR_SET_SECCOMP
os.execv(sys.argv[2], sys.argv[2:])
"""


def where_calls_are_forbidden(host: Host, calls: str, *words: object) -> Result:
    """`shunt run` without namespaces and privilege, where these calls say EPERM."""
    shunt = install_shunt(host)
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    return host.run(["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh", "setpriv",
                     "--bounding-set=-all", "/usr/bin/python3", "-c", _FORBID, calls, shunt, "run",
                     *words], check=False)
