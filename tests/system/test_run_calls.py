# SPDX-License-Identifier: GPL-2.0-only
"""What `shunt run` does by answering the calls of a command, whoever hands them over."""
from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from cgroups import needs_ebpf
from leaks import MACHINE, KernelState
from methods import (EVERY_ROW_OK, FAMILIES, MANY, METHODS, POLLS, WHO, Started, Targets, blocked,
                     busy, every_filter, every_method, every_row, writable_file)
from netlab import Lab, needs_users, wait_until
from peers import TcpServer, UdpEcho, echo_bytes
from runners import AS_ROOT, AS_USER, Runner
from shunt import native, read_log
from test_run_capture import ask, ask_udp

pytestmark = pytest.mark.usefixtures("binary")


@pytest.fixture(params=[AS_ROOT, AS_USER], ids=["root", "user"])
def runner(module_lab, request) -> Runner:
    return Runner(module_lab.client, request.param)


@FAMILIES
def test_the_rows_hold_without_shunt(module_lab, family):
    targets = Targets(module_lab, family)
    done = module_lab.client.run(["sh", "-c", every_row(native("calls"), targets, family)],
                                 timeout=60)
    assert done.out.splitlines() == EVERY_ROW_OK


@FAMILIES
@pytest.mark.parametrize("method,build", [(method, build) for method in METHODS
                                          for build in method.builds], ids=str)
def test_every_kind_of_call_in_every_kind_of_process(runner, module_lab, method, build, family):
    targets = Targets(module_lab, family)
    tool = module_lab.client.install(native(build))
    done = runner.sh(every_row(tool, targets, family), *method.options, timeout=60)
    assert done.out.splitlines() == EVERY_ROW_OK, done


@every_method
@pytest.mark.parametrize("version", [4, 6])
def test_the_log_says_whose_each_flow_is(runner, module_lab, method, version):
    server = TcpServer(module_lab.server, echo_bytes)
    kind = socket.AF_INET6 if version == 6 else socket.AF_INET
    echo = UdpEcho(module_lab.server, family=kind)
    far = Lab.FAR[version]
    log = f"/run/{method}-{runner.who}-{version}.log"
    lines = writable_file(module_lab.client, log)
    script = ask(far, server.port) + ask_udp(far, echo.port)
    done = runner.python(script, *method.options, "--json", "--log-to", log)
    assert done.out == (f"hello ('{far}', {server.port})\n" f"hello ('{far}', {echo.port})\n"), done
    ends = [line for line in read_log(lines) if line["event"] == "end"]
    found = {(end["protocol"], end["capture"], end["destination"], end["destination_port"],
              end["process"], end["reason"]) for end in ends}
    assert found == {("tcp", method.name, far, server.port, "python3", "closed"),
                     ("udp", method.name, far, echo.port, "python3", "shutdown")}
    assert all(end["bytes_up"] == end["bytes_down"] == 5 for end in ends)


@every_method
def test_rules_of_processes_decide(runner, module_lab, method):
    server = TcpServer(module_lab.server, echo_bytes)
    script = ask(Lab.FAR[4], server.port)
    done = runner.python(script, *method.options, "--rule", "process python3 -> reject")
    assert done.out == "ECONNREFUSED\n"
    done = runner.python(script, *method.options, "--rule", "process wget -> reject")
    assert done.out.startswith("hello")


@every_method
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "own"])
def test_this_machine_is_reached_as_without_shunt(runner, module_lab, method, address):
    address = module_lab.client.v4 if address == "own" else address
    server = TcpServer(module_lab.client, echo_bytes)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    echo = UdpEcho(module_lab.client, family=family)
    assert runner.python(ask(address, server.port), *method.options).out == \
        f"hello ('{address}', {server.port})\n"
    assert runner.python(ask_udp(address, echo.port), *method.options).out == \
        f"hello ('{address}', {echo.port})\n"
    assert runner.python(ask(address, 9), *method.options).out == "ECONNREFUSED\n"


@every_method
def test_others_cannot_send_through_a_commands_stand_ins(lab, method):
    """Whoever is on this machine can send to its loopback addresses."""
    echo = UdpEcho(lab.server)
    script = ("import socket\n"
              "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              f"s.connect(('{Lab.FAR[4]}', {echo.port})); s.send(b'mine'); s.recv(9)\n"
              "print('ready', s.getsockname()[1], flush=True)\n"
              "input()\n"
              "s.send(b'again'); print(s.recv(9))\n")
    started = Started(Runner(lab.client, AS_USER), method, script)
    line = next(line for line in lab.client.run(["ss", "-Hun"]).out.splitlines()
                if f":{started.number} " in line)
    host, _, at = next(word for word in line.split() if word.startswith("127.64.")).rpartition(":")
    stranger = lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.sendto(b"stranger", (host, int(at)))
    out, _ = started.child.communicate("\n", timeout=20)
    assert out == "b'again'\n"
    assert [data for data, _ in echo.received] == [b"mine", b"again"]


@every_method
def test_what_cannot_be_carried_is_refused_at_once(runner, method):
    assert runner.python(ask_udp("224.0.0.251", 5353), *method.options).out == "EPERM\n"
    assert runner.python(ask_udp("ff02::fb", 5353), *method.options).out == "EPERM\n"


@every_method
def test_datagrams_go_where_there_is_a_route_only(runner, module_lab, method):
    """A host without IPv6: the C library sorts addresses by what connect() says."""
    with Lab() as lab:
        lab.client.run(["ip", "-6", "route", "del", "default"])
        probe = ("import errno, socket\n"
                 "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
                 f"try: s.connect(('{Lab.FAR[6]}', 53)); print('ok')\n"
                 "except OSError as e: print(errno.errorcode[e.errno])\n")
        who = Runner(lab.client, runner.who)
        assert who.python(probe, *method.options).out == "ENETUNREACH\n"


SYSTEM_CALL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
done = libc.syscall(*ARGUMENTS)
print('done' if done >= 0 else errno.errorcode[ctypes.get_errno()])
"""


@every_method
@pytest.mark.parametrize("name,arguments,says", [
    ("io_uring", (425, 8, 0), "ENOSYS"),  # io_uring_setup
    ("mptcp", (41, 2, 1, 262), "EPROTONOSUPPORT"),  # socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)
], ids=["io_uring", "mptcp"])
def test_ways_past_the_capture_are_closed(runner, method, name, arguments, says):
    if os.uname().machine != "x86_64":
        pytest.skip("needs x86-64: the numbers of its system calls")
    script = f"ARGUMENTS = {arguments}\n{SYSTEM_CALL}"
    if runner.plain(["/usr/bin/python3", "-c", script]).out.strip() == says:
        pytest.skip(f"needs {name}: it is not to be had without shunt either")
    assert runner.python(script, *method.options).out.strip() == says


@every_filter
def test_calls_of_32_bit_programs_fail(runner, module_lab, method):
    if os.uname().machine != "x86_64":
        pytest.skip("needs x86-64: its way to call as a 32-bit program")
    tool = module_lab.client.install(native("calls"))
    done = runner.run([*method.options, tool, "i386-connect", Lab.FAR[4], "80"])
    assert done.out == "ok\n"


@every_method
def test_tcp_fast_open_is_not_to_be_had(runner, module_lab, method):
    server = TcpServer(module_lab.server, echo_bytes)
    script = ("import errno, socket\n"
              "s = socket.socket(); s.settimeout(5)\n"
              f"try: s.sendto(b'hello', 0x20000000, ('{Lab.FAR[4]}', {server.port}))\n"
              "except OSError as e: print(e.errno == errno.EOPNOTSUPP)\n"
              "s.setsockopt(socket.IPPROTO_TCP, 30, 1)\n"  # TCP_FASTOPEN_CONNECT
              f"s.connect(('{Lab.FAR[4]}', {server.port}))\n"
              "s.sendall(b'hello'); print(s.recv(9))\n")
    done = runner.python(script, *method.options)
    assert done.out == "True\nb'hello'\n", done


@every_filter
def test_a_setuid_program_is_captured_and_gains_nothing(module_lab, method):
    needs_users()
    server = TcpServer(module_lab.server, echo_bytes)
    tool = "/run/calls-setuid"
    setuid = module_lab.client.outside(tool)
    setuid.write_bytes(Path(native("calls")).read_bytes())
    setuid.chmod(0o4755)
    row = [tool, "tcp-blocking", Lab.FAR[4], str(server.port)]
    user = Runner(module_lab.client, AS_USER)
    assert user.run([*method.options, *row]).out == "ok\n"
    assert len(server.accepted) == 1
    # Root keeps what setuid programs are for: whoever it becomes is captured still.
    root = Runner(module_lab.client, AS_ROOT)
    become = ["setpriv", "--reuid", "65534", "--clear-groups", "--", *row]
    assert root.run([*method.options, *become]).out == "ok\n"
    assert len(server.accepted) == 2


def send_signals(started: Started, interrupt: bool) -> None:
    """Three, each when the one before has been handled and the program waits again. After EINTR
    python waits by poll()."""
    for _ in range(3):
        assert started.child.poll() is None, started.end()
        os.kill(started.pid, signal.SIGUSR1)
        wait_until(lambda: not started.has_pending(signal.SIGUSR1), "the signal arrives")
        waits_in = POLLS if interrupt else (started.method.waits_in,)
        wait_until(lambda: started.in_call(*waits_in), "it waits again")


@every_method
@WHO
@pytest.mark.parametrize("interrupt", [False, True], ids=["restarted", "interrupted"])
def test_signals_arrive_during_a_connect_and_it_goes_on(lab, who, method, interrupt):
    """As without shunt: the kernel calls once more, or python waits by poll() after EINTR."""
    lab.client.sysctl(net__ipv4__tcp_syn_retries=2)  # seven seconds
    script = blocked(Lab.BLACKHOLE[4], 80, interrupt=interrupt)
    started = Started(Runner(lab.client, who), method, script, "--connect-timeout", "2s")
    wait_until(started.connects, "it connects")
    send_signals(started, interrupt)
    said, handled, seconds = started.end()
    assert said == "ETIMEDOUT" and 6 < float(seconds) < 12
    # Python collects what comes while the call goes on.
    assert handled == "3" if interrupt else 1 <= int(handled) <= 3


@every_method
@WHO
def test_a_timeout_of_the_program_is_kept(lab, who, method):
    timeval = (1).to_bytes(8, "little") + (0).to_bytes(8, "little")
    script = blocked(Lab.BLACKHOLE[4], 80, [(socket.SO_SNDTIMEO, timeval)])
    said, _, seconds = Started(Runner(lab.client, who), method, script).end()
    assert said == "EINPROGRESS" and 0.9 <= float(seconds) < 2.5


NO_SHUNT = """
import errno, socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    s = socket.socket(socket.AF_INET, kind); s.settimeout(5)
    try:
        if kind == socket.SOCK_STREAM: s.connect((ADDRESS, 80))
        else: s.sendto(b'x', (ADDRESS, 80))
        print('sent')
    except OSError as e: print(errno.errorcode[e.errno])
try: socket.getaddrinfo('www.shunt.example', 80); print('found')
except OSError: print('unknown')
"""


@every_method
@WHO
def test_killed_shunt_leaves_nobody_waiting(lab, who, method):
    """The command dies with its supervisor; with the carrier alone, its calls fail."""
    echo = UdpEcho(lab.server, port=80)
    lab.client.file("/etc/resolv.conf", f"nameserver {lab.server.v4}\noptions timeout:1\n")
    runner = Runner(lab.client, who)
    after = f"ADDRESS = {Lab.FAR[4]!r}\n{NO_SHUNT}"
    started = Started(runner, method, blocked(Lab.BLACKHOLE[4], 80) + "\n" + after)
    wait_until(started.connects, "it connects")
    os.kill(started.carrier(), signal.SIGKILL)
    words = started.end()
    failed = method.without_carrier
    assert words[0] == failed and words[-3:] == [failed, failed, "unknown"]
    assert not echo.received
    started = Started(runner, method, blocked(Lab.BLACKHOLE[4], 80))
    wait_until(started.connects, "it connects")
    started.child.kill()
    wait_until(lambda: not Path(f"/proc/{started.pid}").exists(), "the command is gone")
    started.child.communicate()
    left = ["sh", "-c", "ss -Hltu; grep shunt /proc/net/unix; true"]
    wait_until(lambda: not lab.client.run(left).out, "shunt's sockets are gone", 60)


@every_method
@WHO
def test_a_child_left_behind_keeps_its_network(lab, who, method):
    server = TcpServer(lab.server, echo_bytes)
    tool = lab.client.install(native(method.builds[0]))
    mark = writable_file(lab.client, "/run/left-behind")
    row = f"{tool} tcp-blocking {Lab.FAR[4]} {server.port}"
    waits = "until [ -e /run/go ]; do sleep 0.05; done"
    done = Runner(lab.client, who).sh(f"({waits}; {row} > /run/left-behind) > /dev/null 2>&1 &",
                                      *method.options)
    assert done.ok and not server.accepted
    lab.client.outside("/run/go").touch()
    wait_until(lambda: mark.read_text() == "ok\n", "the child's connection", 20)


@every_method
@WHO
def test_many_at_once_get_each_its_own(lab, who, method):
    server = TcpServer(lab.server, echo_bytes)
    targets = [(Lab.FAR[4], server.port, "ok"), (Lab.FAR[6], server.port, "ok"),
               (Lab.FAR[4], 9, "ECONNREFUSED"), (Lab.FAR[6], 9, "ECONNREFUSED"),
               (lab.server.v4, server.port, "ok")]
    script = f"TARGETS, COUNT = {targets}, 600\n{MANY}"
    done = Runner(lab.client, who).python(script, *method.options, timeout=60)
    assert done.out == "600\n", done


@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["namespace", "ebpf", *map(str, METHODS)])
def test_a_busy_program_gets_every_byte_and_leaves_nothing(lab, name, count):
    if name == "ebpf":
        needs_ebpf()
        MACHINE.change()
    server = TcpServer(lab.server, echo_bytes)
    runner = Runner(lab.client, AS_ROOT if name == "ebpf" else AS_USER)
    before = KernelState.of(lab.client)
    done = runner.python(busy(server, count, 200), "--method", name, timeout=120)
    assert done.out == "0\n", done
    assert len(server.accepted) == count
    wait_until(lambda: KernelState.of(lab.client).added_and_removed(before) == [],
               "everything is as before", 30)


@every_method
def test_a_server_inside_is_the_hosts(runner, module_lab, method):
    """It listens on the host's own addresses, and is reached from outside."""
    script = ("import socket\n"
              "l = socket.socket(); l.bind(('0.0.0.0', 0)); l.listen()\n"
              "print('ready', l.getsockname()[1], flush=True)\n"
              "c, _ = l.accept(); c.sendall(c.recv(9)); c.close()\n")
    started = Started(runner, method, script)
    with module_lab.server.connect((module_lab.client.v4, started.number)) as client:
        client.sendall(b"hello")
        assert client.recv(9) == b"hello"
    started.end()


@every_method
def test_doctor_tries_it(module_lab, method):
    MACHINE.change()  # it makes a cgroup for a moment
    done = module_lab.client.run([Runner(module_lab.client, AS_ROOT).shunt, "doctor"], check=False)
    assert any(line.startswith(f"ok    run-{method}") for line in done.out.splitlines()), done
