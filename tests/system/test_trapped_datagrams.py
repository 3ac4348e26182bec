# SPDX-License-Identifier: GPL-2.0-only
"""Datagrams under `shunt run --method seccomp` and `preload`: what programs do with UDP sockets
beside sending and receiving, each next to what happens without shunt."""
from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from netlab import Lab, wait_until
from peers import TcpServer, UdpEcho, echo_bytes
from runners import AS_ROOT, AS_USER, Runner
from shunt import native, read_log
from test_run_capture import ask, ask_udp

pytestmark = pytest.mark.usefixtures("binary")

METHODS = pytest.mark.parametrize("method", ["seccomp", "preload"])
WHO = pytest.mark.parametrize("who", [AS_ROOT, AS_USER])
ROWS = ("udp-unspec", "udp-shutdown", "udp-threads", "udp-packet-info", "udp-timeout",
        "udp-arguments", "udp-storm", "udp-storm-send")


def options(method: str) -> tuple[str, ...]:
    return "--method", method


def rows(tool: str, lab: Lab, rows: tuple[str, ...] = ROWS) -> tuple[str, list[str]]:
    """Shell text that prints a line for each row, and the lines."""
    lines = []
    for version in (4, 6):
        echo = UdpEcho(lab.server, family={4: socket.AF_INET, 6: socket.AF_INET6}[version])
        lines += [f"echo {row} {version} $({tool} {row} {Lab.FAR[version]} {echo.port})"
                  for row in rows]
    return "\n".join(lines), [f"{row} {version} ok" for version in (4, 6) for row in rows]


def test_the_rows_hold_without_shunt(module_lab):
    script, expected = rows(native("calls"), module_lab)
    done = module_lab.client.run(["sh", "-c", script], timeout=90)
    assert done.out.splitlines() == expected


@WHO
@METHODS
def test_the_rows_hold(module_lab, who, method):
    build = "calls" if method == "seccomp" else "calls_dynamic"
    script, expected = rows(module_lab.client.install(native(build)), module_lab)
    done = Runner(module_lab.client, who).sh(script, *options(method), timeout=90)
    assert done.out.splitlines() == expected, done


def named(body: str) -> str:
    """Python in which `said(what)` prints what it yields, or the error's name."""
    return ("import errno, socket, struct\n"
            "def said(what):\n"
            "  try: print(what())\n"
            "  except OSError as e: print(errno.errorcode.get(e.errno, repr(e)))\n"
            f"{body}")


BROADCAST = """
def of(option, method):
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, option)
    return method(s)
for address in ADDRESSES:
  for option in (0, 1):
    said(lambda: of(option, lambda s: s.sendto(b"x", (address, 9))))
    said(lambda: of(option, lambda s: s.connect((address, 9))))
"""


@METHODS
@pytest.mark.parametrize("more", [(), ("--via", "socks5://198.51.100.2:1080")],
                         ids=["direct", "via"])
def test_what_has_many_receivers_is_refused(module_lab, method, more):
    addresses = ["255.255.255.255", "192.168.77.255", "224.0.0.251"]
    script = named(f"ADDRESSES = {addresses}\n{BROADCAST}"
                   "s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)\n"
                   "said(lambda: s.connect(('192.168.77.255', 9)))\n")
    plain = module_lab.client.run(["/usr/bin/python3", "-c", script])
    assert plain.out.split() == [*(["EACCES", "EACCES", "1", "None"] * 2),
                                 *(["1", "None"] * 2), "ENETUNREACH"]
    done = Runner(module_lab.client, AS_USER).python(script, *options(method), *more)
    assert done.out.split() == [*["EPERM"] * 12, "ENETUNREACH"], done


def test_what_cannot_be_carried_says_so(module_lab):
    """Each of it works without shunt, or is another error there."""
    script = named(f"""
far, far6 = ("{Lab.FAR[4]}", 9), ("{Lab.FAR[6]}", 9)
def of(family, kind, protocol, to, *prepare):
  with socket.socket(family, kind, protocol) as s:
    for level, option, value in prepare: s.setsockopt(level, option, value)
    return s.sendto(bytes(8), to)
v4, v6, udp, raw = socket.AF_INET, socket.AF_INET6, socket.SOCK_DGRAM, socket.SOCK_RAW
said(lambda: of(v4, raw, socket.IPPROTO_ICMP, far))
said(lambda: of(v4, raw, 253, far))
said(lambda: of(v4, udp, 0, far, (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")))
said(lambda: of(v4, udp, 0, far, (socket.IPPROTO_IP, 50, struct.pack("!I", ETH0))))
said(lambda: of(v6, udp, 0, far6, (socket.IPPROTO_IPV6, 76, struct.pack("!I", ETH0))))
def bound(only):
  with socket.socket(v6, udp) as s:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    s.bind(("::" if only else "{module_lab.client.v6}", 0))
    return s.sendto(bytes(8), far6)
said(lambda: bound(0))
said(lambda: bound(1))
def zero_copy():
  with socket.socket(v4, udp) as s:
    s.setsockopt(socket.SOL_SOCKET, 60, 1)
    return s.sendto(bytes(8), 0x4000000, far)
said(zero_copy)
""".replace("ETH0", "socket.if_nametoindex('eth0')"))
    plain = module_lab.client.run(["/usr/bin/python3", "-c", script])
    assert plain.out.split() == ["8"] * 8
    done = Runner(module_lab.client, AS_ROOT).python(script, *options("seccomp"))
    assert done.out.split() == ["EPERM", "EPERM", "EHOSTUNREACH", "EHOSTUNREACH", "EHOSTUNREACH",
                                "EADDRNOTAVAIL", "EADDRNOTAVAIL", "ENOBUFS"], done


@METHODS
def test_a_socket_of_ipv6_goes_from_here_to_there_and_back(module_lab, method):
    near = UdpEcho(module_lab.client, family=socket.AF_INET6)
    far = UdpEcho(module_lab.server, family=socket.AF_INET6)
    script = named(f"""
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(5)
def at(address):
  s.connect(address); s.send(b"hello"); return s.recv(9), s.getpeername()[:2] == address
for address in (("{Lab.FAR[6]}", {far.port}), ("::1", {near.port})) * 2: said(lambda: at(address))
""")
    assert module_lab.client.run(["/usr/bin/python3", "-c", script]).out == \
        "(b'hello', True)\n" * 4
    done = Runner(module_lab.client, AS_USER).python(script, *options(method))
    assert done.out == "(b'hello', True)\n" * 4, done


@WHO
@METHODS
def test_what_stays_on_this_machine_is_not_in_the_log(module_lab, who, method):
    server, echo = TcpServer(module_lab.client, echo_bytes), UdpEcho(module_lab.client)
    far = UdpEcho(module_lab.server)
    log = f"/run/own-{who}-{method}.log"
    lines = module_lab.client.outside(log)
    lines.write_text("")
    lines.chmod(0o666)
    own = module_lab.client.v4
    script = (ask("127.0.0.1", server.port) + ask(own, server.port) + ask_udp(own, echo.port) +
              ask_udp(Lab.FAR[4], far.port))
    for more in ((), ("--allow-localhost",)):
        done = Runner(module_lab.client, who).python(script, *options(method), *more, "--json",
                                                     "--log-to", log)
        assert done.out == (f"hello ('127.0.0.1', {server.port})\nhello ('{own}', {server.port})\n"
                            f"hello ('{own}', {echo.port})\nhello ('{Lab.FAR[4]}', {far.port})\n")
    seen = {line["destination"] for line in read_log(lines) if "destination" in line}
    assert seen == {Lab.FAR[4]}


def test_unix_sockets_of_a_process_that_hides_itself_work(module_lab):
    """Once the command has sent a datagram, receives are looked at."""
    echo = UdpEcho(module_lab.server)
    script = named(f"""
import ctypes
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
said(lambda: (s.sendto(b"x", ("{Lab.FAR[4]}", {echo.port})), s.recvfrom(9)[0]))
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
a, b = socket.socketpair()
a.send(b"y")
said(lambda: b.recvmsg(9)[0])
a.shutdown(socket.SHUT_WR)
said(lambda: b.recvmsg(9)[0])
said(lambda: s.sendto(b"x", ("{Lab.FAR[4]}", {echo.port})))
""")
    done = Runner(module_lab.client, AS_USER).python(script, *options("seccomp"))
    assert done.out == "(1, b'x')\nb'y'\nb''\nEPERM\n", done
    assert "does not let itself be looked into" in done.err, done


@METHODS
def test_recvmmsg_that_waits_gets_what_comes(module_lab, method):
    """For all of its messages: it returns with those that are there."""
    echo = UdpEcho(module_lab.server)
    script = f"""
import ctypes, socket, sys, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
from calls import Iovec, Mmsghdr, Msghdr, libc
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("{Lab.FAR[4]}", {echo.port}))
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, (5).to_bytes(8, "little") + bytes(8))
data = [ctypes.create_string_buffer(16) for _ in range(3)]
vectors = [Iovec(ctypes.addressof(one), 16) for one in data]
batch = (Mmsghdr * 3)()
for entry, vector in zip(batch, vectors):
    entry.header = Msghdr(None, 0, ctypes.pointer(vector), 1)
left = 3
threading.Timer(0.3, lambda: [s.send(b"m%d" % i) for i in range(3)]).start()
while left > 0:
    got = libc.recvmmsg(s.fileno(), batch, left, 0, None)
    for i in range(max(got, 0)): print(data[i].value[:batch[i].length].decode())
    left -= got if got > 0 else 4
"""
    if method == "preload":
        pytest.importorskip("calls")
    done = Runner(module_lab.client, AS_ROOT).python(script, *options(method))
    assert sorted(done.out.split()) == ["m0", "m1", "m2"], done


FLOOD = """
import ctypes, os, socket, sys, time
sys.path.insert(0, HERE)
from calls import Iovec, Mmsghdr, Msghdr, libc
def flood():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((ADDRESS, 9))
    data = ctypes.create_string_buffer(65000); vector = Iovec(ctypes.addressof(data), 65000)
    batch = (Mmsghdr * 1024)()
    for entry in batch: entry.header = Msghdr(None, 0, ctypes.pointer(vector), 1)
    print("floods", flush=True)
    while True: libc.sendmmsg(s.fileno(), batch, 1024, 0)
children = []
for _ in range(4):
    child = os.fork()
    if child == 0: flood()
    children.append(child)
took = []
end = time.monotonic() + 5
while time.monotonic() < end:
    begun = time.monotonic()
    socket.create_connection((ADDRESS, PORT), 10).close()
    took.append(time.monotonic() - begun)
for child in children: os.kill(child, 9)
print("connects", len(took), sorted(took)[len(took) // 2], max(took))
"""


def test_a_flood_of_one_process_leaves_others_their_turn(module_lab):
    server = TcpServer(module_lab.server, echo_bytes)
    script = (f"HERE, ADDRESS, PORT = {str(Path(__file__).parent)!r}, {Lab.FAR[4]!r}, "
              f"{server.port}\n{FLOOD}")
    done = Runner(module_lab.client, AS_ROOT).python(script, *options("seccomp"), timeout=60)
    assert done.out.count("floods") == 4, done
    line = next(line for line in done.out.splitlines() if line.startswith("connects"))
    assert float(line.split()[2]) < 1, line  # the median, in seconds


WAITING = """
import os, signal, socket, threading
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((ADDRESS, PORT)); s.send(b"x"); s.recv(9)
print("ready", os.getpid(), os.readlink(f"/proc/self/fd/{s.fileno()}"), flush=True)
print(s.recvfrom(9))
"""


def sockets(process: str) -> set[str]:
    """Its sockets and other descriptors, by what they are."""
    found = set()
    for fd in os.listdir(f"/proc/{process}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(os.readlink(f"/proc/{process}/fd/{fd}"))
    return found


@WHO
def test_a_process_that_is_killed_while_it_waits_leaves_nothing(lab, who):
    """Its descriptors, which shunt holds copies of."""
    echo = UdpEcho(lab.server)
    runner = Runner(lab.client, who)
    script = f"ADDRESS, PORT = {Lab.FAR[4]!r}, {echo.port}\n{WAITING}"
    code = ("import subprocess, sys\n"
            f"words = [sys.executable, '-c', {script!r}]\n"
            "child = subprocess.Popen(words, stdout=subprocess.PIPE)\n"
            "print(child.stdout.readline().decode().strip(), flush=True)\n"
            "input(); print(child.wait(), flush=True); input()\n")
    child = subprocess.Popen(
        runner.command([runner.shunt, "run", *options("seccomp"), "/usr/bin/python3", "-c", code]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    _, pid, waiting = child.stdout.readline().split()
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text()
    carrier = next(one for one in children.split()
                   if "carrier" in Path(f"/proc/{one}/comm").read_text())
    wait_until(lambda: waiting in sockets(carrier), "shunt waits for it")
    os.kill(int(pid), signal.SIGKILL)
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "-9\n"
    wait_until(lambda: waiting not in sockets(carrier), "its copy is closed")
    child.communicate("\n", timeout=20)
