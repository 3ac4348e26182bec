# SPDX-License-Identifier: GPL-2.0-only
"""`shunt run --method ptrace`: what is of a tracer alone; the rest is in test_run_calls.py."""
from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from methods import PTRACE, WHO, Started, blocked, where_calls_are_forbidden
from netlab import Host, Lab, wait_until
from peers import TcpServer, UdpEcho, echo_bytes
from runners import AS_ROOT, AS_USER, Runner
from test_conformance import go_client  # noqa: F401  a fixture
from test_run_capture import ask, ask_udp

pytestmark = pytest.mark.usefixtures("binary")


@pytest.fixture(params=[AS_ROOT, AS_USER], ids=["root", "user"])
def runner(module_lab, request) -> Runner:
    return Runner(module_lab.client, request.param)


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "Tt"


@WHO
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_program_that_waits_for_a_connection(lab, who, number):
    """Nothing of it handles the signal."""
    script = ("import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
              + blocked(Lab.BLACKHOLE[4], 80))
    started = Started(Runner(lab.client, who), PTRACE, script)
    wait_until(started.connects, "it connects")
    os.kill(started.pid, number)
    assert started.child.wait(5) == 128 + number
    started.child.stdout.close()


@WHO
def test_a_program_that_waits_is_stopped_and_goes_on(lab, who):
    """One thread waits for a connection, another does not: all of them stop, and shunt with them.
    The same process is the one that goes on."""
    lab.client.sysctl(net__ipv4__tcp_syn_retries=2)  # seven seconds
    script = ("import threading, time\n"
              "threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
              + blocked(Lab.BLACKHOLE[4], 80))
    started = Started(Runner(lab.client, who), PTRACE, script)
    wait_until(started.connects, "it connects")
    os.kill(started.pid, signal.SIGSTOP)
    wait_until(lambda: stopped(started.child.pid), "shunt stops with it")
    os.kill(started.child.pid, signal.SIGCONT)
    wait_until(lambda: not stopped(started.child.pid), "shunt goes on")
    wait_until(started.connects, "it waits again")
    assert started.end()[0] == "ETIMEDOUT"


def test_a_thread_that_waits_does_not_outlive_an_execve(runner):
    script = ("import os, socket, threading, time\n"
              "def wait():\n"
              f"  s = socket.socket(); s.connect(('{Lab.BLACKHOLE[4]}', 80))\n"
              "thread = threading.Thread(target=wait, daemon=True); thread.start()\n"
              "while int(open(f'/proc/self/task/{thread.native_id}/syscall')"
              ".read().split()[0].replace('running', '0')) != -1: time.sleep(0.01)\n"
              "os.execv('/bin/echo', ['echo', 'executed'])\n")
    done = runner.python(script, *PTRACE.options)
    assert done.out == "executed\n" and done.code == 0, done


def test_a_thread_that_executes_is_captured_under_its_new_number(runner, module_lab):
    """The kernel gives it the number of the process."""
    server = TcpServer(module_lab.server, echo_bytes)
    script = ("import os, sys, threading\n"
              "words = ['/usr/bin/python3', '-c', sys.argv[1]]\n"
              "threading.Thread(target=os.execv, args=(words[0], words)).start()\n"
              "threading.Event().wait()\n")
    done = runner.run([*PTRACE.options, "/usr/bin/python3", "-c", script,
                       ask(Lab.FAR[4], server.port)])
    assert done.out.startswith("hello"), done
    assert len(server.accepted) == 1


def test_programs_that_trace_others_are_told_that_they_cannot(runner):
    script = ("import ctypes, errno, os, signal\n"
              "libc = ctypes.CDLL(None, use_errno=True)\n"
              "print(libc.ptrace(0, 0, 0, 0), errno.errorcode[ctypes.get_errno()], flush=True)\n"
              "child = os.fork()\n"
              "if child == 0: signal.pause()\n"
              "print(libc.ptrace(0x4206, child, 0, 0), errno.errorcode[ctypes.get_errno()])\n"
              "os.kill(child, signal.SIGKILL)\n")
    done = runner.python(script, *PTRACE.options)
    assert done.out == "-1 EPERM\n-1 EPERM\n", done


def test_a_filter_of_the_programs_own_is_not_taken_for_shunts(runner):
    """It hands getppid() to a tracer: to one of its own, and it has none."""
    if os.uname().machine != "x86_64":
        pytest.skip("needs x86-64: the numbers of its system calls")
    script = ("import ctypes, errno, struct\n"
              "libc = ctypes.CDLL(None, use_errno=True)\n"
              "rows = [(0x20, 0, 0, 0), (0x15, 0, 1, 110), (0x06, 0, 0, 0x7ff00001),"
              " (0x06, 0, 0, 0x7fff0000)]\n"
              "code = b''.join(struct.pack('HBBI', *row) for row in rows)\n"
              "code = ctypes.create_string_buffer(code)\n"
              "libc.prctl(38, 1, 0, 0, 0)\n"
              "libc.prctl(22, 2, struct.pack('HL', 4, ctypes.addressof(code)), 0, 0)\n"
              "print(libc.syscall(110), errno.errorcode[ctypes.get_errno()])\n")
    assert runner.plain(["/usr/bin/python3", "-c", script]).out == "-1 ENOSYS\n"
    done = runner.python(script, *PTRACE.options)
    assert done.out == "-1 ENOSYS\n", done


@pytest.mark.long
@pytest.mark.parametrize("version", [4, 6])
def test_a_static_go_program_is_captured(runner, module_lab, version, go_client):  # noqa: F811
    server = TcpServer(module_lab.server, echo_bytes)
    far = Lab.FAR[version]
    address = f"[{far}]:{server.port}" if version == 6 else f"{far}:{server.port}"
    done = runner.run([*PTRACE.options, module_lab.client.install(go_client), address, 50, 300_000],
                      timeout=60)
    assert done.out == "ok\n", done


DIALS = """
import errno, itertools, socket
said = set()
for number in range(100):
    for host, port in itertools.product(HOSTS, PORTS):
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(0.01)
        try: s.connect((host, port)); said.add('connected')
        except TimeoutError: said.add('silence')
        except OSError as e: said.add(errno.errorcode[e.errno])
        u = socket.socket(family, socket.SOCK_DGRAM)
        try: u.sendto(b'x', (host, port))
        except OSError as e: pass
        s.close(); u.close()
print(' '.join(sorted(said)), flush=True)
input()
"""


def test_who_dials_shunt_itself_starts_no_loop(lab):
    """The sockets that shunt listens on, at any address of this machine."""
    hosts = ["127.0.0.1", "127.64.0.1", "::1", "::ffff:127.64.0.9", lab.client.v4]
    script = ("import socket\n"  # a first call, of which shunt keeps a number of the program
              "socket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', 9))\n"
              "print('ready', 1, flush=True); PORTS = list(map(int, input().split()))\n"
              f"HOSTS = {hosts}\n{DIALS}")
    started = Started(Runner(lab.client, AS_USER), PTRACE, script)
    carrier = started.carrier()
    listening = lab.client.run(["ss", "-Hltun"]).out.splitlines()
    ports = {int(line.split()[4].rpartition(":")[2]) for line in listening}
    assert ports
    before = len(os.listdir(f"/proc/{carrier}/fd"))
    started.child.stdin.write(" ".join(map(str, ports)) + "\n")
    started.child.stdin.flush()
    said = set(started.child.stdout.readline().split())
    assert said <= {"ECONNREFUSED", "silence"}, said
    wait_until(lambda: len(os.listdir(f"/proc/{carrier}/fd")) <= before, "nothing is held open")
    started.child.communicate("\n", timeout=20)


@pytest.mark.parametrize("place", ["start", "connections"])
def test_no_call_hangs_after_the_tracer_is_killed(lab, place):
    """At any moment: the calls of a busy program fail from then on, and nothing of it leaves."""
    server, echo = TcpServer(lab.server, echo_bytes), UdpEcho(lab.server)
    script = ("import errno, os, socket\n"
              "print('ready', os.getpid(), flush=True)\n"
              "failed = 0\n"
              "while failed < 50:\n"
              "  try: socket.create_connection((FAR, TCP), 5).close()\n"
              "  except OSError as e: failed += e.errno == errno.ENOSYS\n"
              "  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              "  try: s.sendto(b'x', (FAR, UDP))\n"
              "  except OSError as e: failed += e.errno == errno.ENOSYS\n"
              "  s.close()\n"
              "print('over')\n")
    script = f"FAR, TCP, UDP = {Lab.FAR[4]!r}, {server.port}, {echo.port}\n{script}"
    for _ in range(5):
        started = Started(Runner(lab.client, AS_USER), PTRACE, script)
        if place == "connections":
            known = len(server.accepted)
            wait_until(lambda: len(server.accepted) > known + 3, "it is busy")
        os.kill(started.carrier(), signal.SIGKILL)
        began = time.monotonic()
        assert started.end() == ["over"]
        assert time.monotonic() - began < 5


def test_under_another_tracer_it_says_why_it_cannot(module_lab):
    """As under strace -f: who is traced can have no second tracer."""
    runner = Runner(module_lab.client, AS_ROOT)
    done = runner.run([*PTRACE.options, runner.shunt, "run", *PTRACE.options, "true"])
    assert done.code == 125 and "error[S130]" in done.err, done
    assert "trace a process (ptrace): Operation not permitted" in done.err


def test_leftovers_of_the_command_end_the_carrier(module_lab):
    """The carrier lives as long as anybody is traced, and no longer."""
    runner = Runner(module_lab.client, AS_USER)
    child = subprocess.Popen(runner.command([runner.shunt, "run", *PTRACE.options, "sh", "-c",
                                             "sleep 1 > /dev/null 2>&1 & echo started"]),
                             stdout=subprocess.PIPE, text=True)
    assert child.communicate(timeout=20)[0] == "started\n"

    def carriers() -> list[str]:
        return [pid for pid in map(str, module_lab.client.processes())
                if "carrier" in Path(f"/proc/{pid}/comm").read_text()]
    wait_until(lambda: not carriers(), "the carrier has ended")


def test_datagrams_are_answered_while_signals_come(runner, module_lab):
    """A call that waits is taken back for each signal, and made once more."""
    echo = UdpEcho(module_lab.server)
    script = ("import signal\n"
              "signal.signal(signal.SIGALRM, lambda *_: None)\n"
              "signal.siginterrupt(signal.SIGALRM, False)\n"
              "signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)\n"
              "for _ in range(50):\n"
              + "".join(f"  {line}\n" for line in ask_udp(Lab.FAR[4], echo.port).splitlines()))
    done = runner.python(script, *PTRACE.options, timeout=60)
    assert done.out == f"hello ('{Lab.FAR[4]}', {echo.port})\n" * 50, done


def test_auto_takes_it_where_calls_are_handed_to_nobody_and_says_so():
    with closing(Host("forbidden")) as host:
        own = TcpServer(host, echo_bytes)
        done = where_calls_are_forbidden(host, "seccomp", "/usr/bin/python3", "-c",
                                         ask("127.0.0.1", own.port))
        assert done.out == f"hello ('127.0.0.1', {own.port})\n", done
        assert "captured by ptrace, since namespace does not work here" in done.err, done
        assert "seccomp does not work here" in done.err, done
