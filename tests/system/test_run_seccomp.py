# SPDX-License-Identifier: GPL-2.0-only
"""`shunt run --method seccomp`: the system calls of a command are answered, one kind at a time."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from netlab import Host, Lab, needs_users, wait_until
from peers import TcpServer, UdpEcho, echo_bytes
from runners import AS_ROOT, AS_USER, Runner
from shunt import BINARY, native, read_log
from test_run_capture import ask, ask_udp

pytestmark = pytest.mark.usefixtures("binary")

SECCOMP = ("--method", "seccomp")
WHO = pytest.mark.parametrize("who", [AS_ROOT, AS_USER])
FAMILIES = pytest.mark.parametrize("family", ["v4", "v6", "mapped"])
TCP_ROWS = ("tcp-blocking", "tcp-nonblocking", "tcp-epoll")
UDP_ROWS = ("udp-connected", "udp-epoll", "udp-sendto", "udp-sendmsg", "udp-sendmmsg")
PLACES = ("here", "thread", "fork", "vfork", "exec")


@pytest.fixture(params=[AS_ROOT, AS_USER], ids=["root", "user"])
def runner(module_lab, request) -> Runner:
    return Runner(module_lab.client, request.param)


def writable_file(host: Host, path: str) -> Path:
    """An empty file inside that every user may write."""
    made = host.outside(path)
    made.write_text("")
    made.chmod(0o666)
    return made


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


EVERY_ROW_OK = [f"{place} {row} ok" for place in PLACES for row in (*TCP_ROWS, *UDP_ROWS)]


@FAMILIES
def test_the_rows_hold_without_shunt(module_lab, family):
    targets = Targets(module_lab, family)
    done = module_lab.client.run(["sh", "-c", every_row(native("calls"), targets, family)],
                                 timeout=60)
    assert done.out.splitlines() == EVERY_ROW_OK


@FAMILIES
@pytest.mark.parametrize("build", ["calls", "calls_dynamic"])
def test_every_kind_of_call_in_every_kind_of_process(runner, module_lab, build, family):
    targets = Targets(module_lab, family)
    tool = module_lab.client.install(native(build))
    done = runner.sh(every_row(tool, targets, family), *SECCOMP, timeout=60)
    assert done.out.splitlines() == EVERY_ROW_OK, done


@pytest.mark.parametrize("version", [4, 6])
def test_the_log_says_whose_each_flow_is(runner, module_lab, version):
    server = TcpServer(module_lab.server, echo_bytes)
    kind = socket.AF_INET6 if version == 6 else socket.AF_INET
    echo = UdpEcho(module_lab.server, family=kind)
    far = Lab.FAR[version]
    log = f"/run/seccomp-{runner.who}-{version}.log"
    lines = writable_file(module_lab.client, log)
    script = ask(far, server.port) + ask_udp(far, echo.port)
    done = runner.python(script, *SECCOMP, "--json", "--log-to", log)
    assert done.out == (f"hello ('{far}', {server.port})\n" f"hello ('{far}', {echo.port})\n"), done
    ends = [line for line in read_log(lines) if line["event"] == "end"]
    found = {(end["protocol"], end["capture"], end["destination"], end["destination_port"],
              end["process"], end["reason"]) for end in ends}
    assert found == {("tcp", "seccomp", far, server.port, "python3", "closed"),
                     ("udp", "seccomp", far, echo.port, "python3", "shutdown")}
    assert all(end["bytes_up"] == end["bytes_down"] == 5 for end in ends)


def test_rules_of_processes_decide(runner, module_lab):
    server = TcpServer(module_lab.server, echo_bytes)
    script = ask(Lab.FAR[4], server.port)
    done = runner.python(script, *SECCOMP, "--rule", "process python3 -> reject")
    assert done.out == "ECONNREFUSED\n"
    done = runner.python(script, *SECCOMP, "--rule", "process wget -> reject")
    assert done.out.startswith("hello")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "own"])
def test_this_machine_is_reached_as_without_shunt(runner, module_lab, address):
    address = module_lab.client.v4 if address == "own" else address
    server = TcpServer(module_lab.client, echo_bytes)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    echo = UdpEcho(module_lab.client, family=family)
    assert runner.python(ask(address, server.port), *SECCOMP).out == \
        f"hello ('{address}', {server.port})\n"
    assert runner.python(ask_udp(address, echo.port), *SECCOMP).out == \
        f"hello ('{address}', {echo.port})\n"
    assert runner.python(ask(address, 9), *SECCOMP).out == "ECONNREFUSED\n"


def test_others_cannot_send_through_a_commands_stand_ins(lab):
    """Whoever is on this machine can send to its loopback addresses."""
    echo = UdpEcho(lab.server)
    script = ("import socket\n"
              "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              f"s.connect(('{Lab.FAR[4]}', {echo.port})); s.send(b'mine'); s.recv(9)\n"
              "print('ready', s.getsockname()[1], flush=True)\n"
              "input()\n"
              "s.send(b'again'); print(s.recv(9))\n")
    child = subprocess.Popen(
        lab.client.command([BINARY, "run", *SECCOMP, "/usr/bin/python3", "-c", script]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port = int(child.stdout.readline().split()[1])
    line = next(line for line in lab.client.run(["ss", "-Hun"]).out.splitlines()
                if f":{port} " in line)
    host, _, at = next(word for word in line.split() if word.startswith("127.64.")).rpartition(":")
    stranger = lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.sendto(b"stranger", (host, int(at)))
    out, _ = child.communicate("\n", timeout=20)
    assert out == "b'again'\n"
    assert [data for data, _ in echo.received] == [b"mine", b"again"]


def test_what_cannot_be_carried_is_refused_at_once(runner):
    assert runner.python(ask_udp("224.0.0.251", 5353), *SECCOMP).out == "EPERM\n"
    assert runner.python(ask_udp("ff02::fb", 5353), *SECCOMP).out == "EPERM\n"


def test_datagrams_go_where_there_is_a_route_only(runner, module_lab):
    """A host without IPv6: the C library sorts addresses by what connect() says."""
    with Lab() as lab:
        lab.client.run(["ip", "-6", "route", "del", "default"])
        probe = ("import errno, socket\n"
                 "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
                 f"try: s.connect(('{Lab.FAR[6]}', 53)); print('ok')\n"
                 "except OSError as e: print(errno.errorcode[e.errno])\n")
        assert Runner(lab.client, runner.who).python(probe, *SECCOMP).out == "ENETUNREACH\n"


SYSTEM_CALL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
done = libc.syscall(*ARGUMENTS)
print(done if done >= 0 else errno.errorcode[ctypes.get_errno()])
"""


@pytest.mark.parametrize("arguments,says", [
    ((425, 8, 0), "ENOSYS"),  # io_uring_setup
    ((41, 2, 1, 262), "EPROTONOSUPPORT"),  # socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)
], ids=["io_uring", "mptcp"])
def test_ways_past_the_capture_are_closed(runner, arguments, says):
    if os.uname().machine != "x86_64":
        pytest.skip("needs x86-64: the numbers of its system calls")
    done = runner.python(f"ARGUMENTS = {arguments}\n{SYSTEM_CALL}", *SECCOMP)
    assert done.out.strip() == says


def test_calls_of_32_bit_programs_fail(runner, module_lab):
    if os.uname().machine != "x86_64":
        pytest.skip("needs x86-64: its way to call as a 32-bit program")
    tool = module_lab.client.install(native("calls"))
    done = runner.run([*SECCOMP, tool, "i386-connect", Lab.FAR[4], "80"])
    assert done.out == "ok\n"


def test_tcp_fast_open_is_not_to_be_had(runner, module_lab):
    server = TcpServer(module_lab.server, echo_bytes)
    script = ("import errno, socket\n"
              "s = socket.socket(); s.settimeout(5)\n"
              f"try: s.sendto(b'hello', 0x20000000, ('{Lab.FAR[4]}', {server.port}))\n"
              "except OSError as e: print(e.errno == errno.EOPNOTSUPP)\n"
              "s.setsockopt(socket.IPPROTO_TCP, 30, 1)\n"  # TCP_FASTOPEN_CONNECT
              f"s.connect(('{Lab.FAR[4]}', {server.port}))\n"
              "s.sendall(b'hello'); print(s.recv(9))\n")
    done = runner.python(script, *SECCOMP)
    assert done.out == "True\nb'hello'\n", done


def test_a_setuid_program_is_captured_and_gains_nothing(module_lab):
    needs_users()
    server = TcpServer(module_lab.server, echo_bytes)
    tool = "/run/calls-setuid"
    setuid = module_lab.client.outside(tool)
    setuid.write_bytes(Path(native("calls")).read_bytes())
    setuid.chmod(0o4755)
    row = [tool, "tcp-blocking", Lab.FAR[4], str(server.port)]
    user = Runner(module_lab.client, AS_USER)
    assert user.run([*SECCOMP, *row]).out == "ok\n"
    assert len(server.accepted) == 1
    # Root keeps what setuid programs are for: whoever it becomes is captured still.
    root = Runner(module_lab.client, AS_ROOT)
    become = ["setpriv", "--reuid", "65534", "--clear-groups", "--", *row]
    assert root.run([*SECCOMP, *become]).out == "ok\n"
    assert len(server.accepted) == 2


BLOCKED = """
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
    return (f"ADDRESS, PORT, OPTIONS, INTERRUPT = {address!r}, {port}, {list(options)}, "
            f"{interrupt}\n{BLOCKED}")


class Started:
    """A python script under shunt, and shunt's processes."""

    def __init__(self, runner: Runner, script: str, *options: str) -> None:
        self.child = subprocess.Popen(
            runner.command([runner.shunt, "run", *SECCOMP, *options, "/usr/bin/python3", "-c",
                            script]), stdout=subprocess.PIPE, text=True)
        self.pid = int(self.child.stdout.readline().split()[1])

    def carrier(self) -> int:
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text()
        return next(int(pid) for pid in children.split()
                    if "carrier" in Path(f"/proc/{pid}/comm").read_text())

    def in_call(self, number: int = 42) -> bool:
        """Its main thread waits in the system call (connect)."""
        try:
            return Path(f"/proc/{self.pid}/syscall").read_text().split()[0] == str(number)
        except OSError:
            return False

    def end(self, timeout: float = 20) -> list[str]:
        out, _ = self.child.communicate(timeout=timeout)
        return out.split()


@WHO
@pytest.mark.parametrize("interrupt", [False, True], ids=["restarted", "interrupted"])
def test_signals_arrive_during_a_connect_and_it_goes_on(lab, who, interrupt):
    """As without shunt: the kernel calls once more, or python waits by poll() after EINTR."""
    lab.client.sysctl(net__ipv4__tcp_syn_retries=2)  # seven seconds
    script = blocked(Lab.BLACKHOLE[4], 80, interrupt=interrupt)
    started = Started(Runner(lab.client, who), script, "--connect-timeout", "2s")
    wait_until(started.in_call, "it connects")
    time.sleep(0.5)  # before shunt has taken the call it is interrupted without having begun
    for _ in range(3):
        assert started.child.poll() is None, started.end()
        os.kill(started.pid, signal.SIGUSR1)
        time.sleep(0.2)  # apart, or they would be one
    said, handled, seconds = started.end()
    assert said == "ETIMEDOUT" and 6 < float(seconds) < 12
    assert handled == "3" if interrupt else int(handled) >= 1  # it collects what came meanwhile


@WHO
def test_a_timeout_of_the_program_is_kept(lab, who):
    timeval = (1).to_bytes(8, "little") + (0).to_bytes(8, "little")
    script = blocked(Lab.BLACKHOLE[4], 80, [(socket.SO_SNDTIMEO, timeval)])
    said, _, seconds = Started(Runner(lab.client, who), script).end()
    assert said == "EINPROGRESS" and 0.9 <= float(seconds) < 2.5


@WHO
def test_killed_shunt_leaves_nobody_waiting(lab, who):
    """The command dies with its supervisor; with the carrier alone, its calls fail."""
    runner = Runner(lab.client, who)
    started = Started(runner, blocked(Lab.BLACKHOLE[4], 80) + "\n" + ask(Lab.FAR[4], 80))
    wait_until(started.in_call, "it connects")
    os.kill(started.carrier(), signal.SIGKILL)
    words = started.end()
    assert words[0] == "ENOSYS" and words[-1] == "ENOSYS"
    started = Started(runner, blocked(Lab.BLACKHOLE[4], 80))
    wait_until(started.in_call, "it connects")
    started.child.kill()
    wait_until(lambda: not Path(f"/proc/{started.pid}").exists(), "the command is gone")
    started.child.communicate()


@WHO
def test_a_child_left_behind_keeps_its_network(lab, who):
    server = TcpServer(lab.server, echo_bytes)
    runner = Runner(lab.client, who)
    tool = lab.client.install(native("calls"))
    mark = writable_file(lab.client, "/run/left-behind")
    row = f"{tool} tcp-blocking {Lab.FAR[4]} {server.port}"
    done = runner.sh(f"(sleep 2; {row} > /run/left-behind) > /dev/null 2>&1 &", *SECCOMP)
    assert done.ok and not server.accepted
    wait_until(lambda: mark.read_text() == "ok\n", "the child's connection", 20)


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


@WHO
def test_many_at_once_get_each_its_own(lab, who):
    server = TcpServer(lab.server, echo_bytes)
    targets = [(Lab.FAR[4], server.port, "ok"), (Lab.FAR[6], server.port, "ok"),
               (Lab.FAR[4], 9, "ECONNREFUSED"), (Lab.FAR[6], 9, "ECONNREFUSED"),
               (lab.server.v4, server.port, "ok")]
    script = f"TARGETS, COUNT = {targets}, 600\n{MANY}"
    done = Runner(lab.client, who).python(script, *SECCOMP, timeout=60)
    assert done.out == "600\n", done


def test_a_server_inside_is_the_hosts(runner, module_lab):
    """It listens on the host's own addresses, and is reached from outside."""
    script = ("import socket\n"
              "l = socket.socket(); l.bind(('0.0.0.0', 0)); l.listen()\n"
              "print('ready', l.getsockname()[1], flush=True)\n"
              "c, _ = l.accept(); c.sendall(c.recv(9)); c.close()\n")
    started = Started(runner, script)
    with module_lab.server.connect((module_lab.client.v4, started.pid)) as client:
        client.sendall(b"hello")
        assert client.recv(9) == b"hello"
    started.end()


def test_it_says_why_it_cannot(module_lab):
    """A process has one supervisor of its calls: not shunt under shunt."""
    runner = Runner(module_lab.client, AS_USER)
    done = runner.run([*SECCOMP, runner.shunt, "run", *SECCOMP, "true"])
    assert done.code == 125 and "error[S100]" in done.err, done


def test_doctor_tries_it(module_lab):
    done = module_lab.client.run([Runner(module_lab.client, AS_ROOT).shunt, "doctor"], check=False)
    assert any(line.startswith("ok    run-seccomp") for line in done.out.splitlines()), done
