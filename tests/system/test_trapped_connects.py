# SPDX-License-Identifier: GPL-2.0-only
"""TCP where a command's system calls are answered: what its other threads, signals and exits do."""
from __future__ import annotations

import errno
import os
import socket
import subprocess
import threading

import pytest

from methods import writable_file
from netlab import DEADLINE, Host, Lab
from peers import Accepted, TcpServer, UdpEcho, echo_bytes, receive, silent
from runners import AS_ROOT, AS_USER, Runner
from shunt import native, read_log

pytestmark = pytest.mark.usefixtures("binary")

SECCOMP = ("--method", "seccomp")
PRELOAD = ("--method", "preload")
METHODS = pytest.mark.parametrize("method", [SECCOMP, PRELOAD], ids=["seccomp", "preload"])

PRELUDE = """
import ctypes, errno, os, select, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def name(number): return errno.errorcode.get(number, number)
def disconnect(s): return name(libc.connect(s.fileno(), bytes(16), 16) and ctypes.get_errno())
def wait(): print("ready", flush=True); input()
def pending(s): return name(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
"""


class HeldProxy(TcpServer):
    """A SOCKS5 proxy that answers its requests when it is told to, all with one code."""

    REFUSED, DONE = 5, 0

    def __init__(self, host: Host) -> None:
        self._answer = threading.Event()
        self._code = self.DONE
        super().__init__(host, self._serve_request)

    def _serve_request(self, client: socket.socket, record: Accepted) -> None:
        receive(client, 2 + receive_methods(client))
        client.sendall(b"\x05\x00")
        head = receive(client, 4)
        receive(client, {1: 4, 4: 16}[head[3]] + 2)
        self._answer.wait(DEADLINE)
        client.sendall(bytes((5, self._code, 0, 1)) + bytes(6))
        while client.recv(4096):
            pass

    def finish(self, code: int) -> None:
        """Answers, and waits until shunt has taken leave of all that was held."""
        self._code = code
        self._answer.set()
        self.ended(len(self.accepted))

    def url(self, host: Host) -> str:
        return f"socks5://{host.v4}:{self.port}"


def receive_methods(client: socket.socket) -> int:
    """How many methods a greeting offers, without taking it."""
    while len(head := client.recv(2, socket.MSG_PEEK)) < 2:
        assert head, "the greeting"
    return head[1]


class Script:
    """A python script under shunt that waits for the test at each wait()."""

    def __init__(self, runner: Runner, text: str, *options: str) -> None:
        self.child = subprocess.Popen(
            runner.command([runner.shunt, "run", *options, "/usr/bin/python3", "-c",
                            PRELUDE + text]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ready(self) -> None:
        assert self.child.stdout.readline() == "ready\n"

    def go_on(self) -> None:
        self.child.stdin.write("\n")
        self.child.stdin.flush()

    def end(self) -> list[str]:
        out, _ = self.child.communicate("\n", timeout=DEADLINE)
        return out.splitlines()


@pytest.fixture(params=[AS_ROOT, AS_USER], ids=["root", "user"])
def runner(module_lab, request) -> Runner:
    return Runner(module_lab.client, request.param)


@pytest.fixture
def root(module_lab) -> Runner:
    return Runner(module_lab.client, AS_ROOT)


@METHODS
@pytest.mark.parametrize("code", [HeldProxy.REFUSED, HeldProxy.DONE], ids=["refused", "done"])
@pytest.mark.parametrize("to", ["here", "captured"])
def test_a_socket_that_went_elsewhere_is_left_alone(root, module_lab, method, code, to):
    """connect(AF_UNSPEC) and another connect(): the old dial's outcome is nobody's."""
    lab = module_lab
    held = HeldProxy(lab.server)
    server = TcpServer(lab.client if to == "here" else lab.server, echo_bytes)
    address = "127.0.0.1" if to == "here" else lab.server.v4
    script = Script(root, f"""
s = socket.socket(); s.setblocking(False)
print(name(s.connect_ex(("{Lab.FAR[4]}", 81))), disconnect(s))
s.connect_ex(("{address}", {server.port}))
select.select([], [s], [], 5); print(pending(s))
s.setblocking(True); s.settimeout(5)
s.sendall(b"one"); print(s.recv(9))
wait()
s.sendall(b"two"); print(s.recv(9))
""", *method, "--via", held.url(lab.server), "--rule", f"to {lab.server.v4} -> direct")
    lines = [script.child.stdout.readline() for _ in range(3)]
    # The kernel's own socket says ECONNRESET of what was disconnected, once.
    assert lines[0] == "EINPROGRESS 0\n" and lines[2] == "b'one'\n", lines
    script.ready()
    held.finish(code)
    assert script.end() == ["b'two'"]


def test_a_thread_that_shuts_the_socket_down_ends_a_blocking_connect(runner, module_lab):
    text = f"""
def end():
    while open(f"/proc/self/task/{{os.getpid()}}/syscall").read()[:3] != "42 ": time.sleep(0.01)
    while s.getsockopt(6, 11, 1)[0] != 2: time.sleep(0.01)  # SYN_SENT
    s.shutdown(socket.SHUT_RDWR)
s = socket.socket(); threading.Thread(target=end).start()
started = time.monotonic()
print(name(s.connect_ex(("{Lab.BLACKHOLE[4]}", 80))), time.monotonic() - started < 5)
"""
    if os.uname().machine != "x86_64":
        pytest.skip("needs x86-64: the number of its connect()")
    plain = runner.plain(["/usr/bin/python3", "-c", PRELUDE + text]).out
    assert plain == "ECONNRESET True\n"
    assert runner.python(PRELUDE + text, *SECCOMP).out == plain


@METHODS
def test_the_kernels_own_patience_ends_before_shunts(lab, method):
    """Then the socket says so, and can connect anew while the old dial goes on."""
    lab.client.sysctl(net__ipv4__tcp_syn_retries=1)  # three seconds
    held = HeldProxy(lab.server)
    server = TcpServer(lab.server, echo_bytes)
    text = f"""
s = socket.socket(); s.setblocking(False)
print(name(s.connect_ex(("{Lab.BLACKHOLE[4]}", 80))))
select.select([], [s], [], 20); print(pending(s))
for _ in range(2):
    print(name(s.connect_ex(("{lab.server.v4}", {server.port}))))
select.select([], [s], [], 5); print(pending(s))
s.setblocking(True); s.sendall(b"one"); print(s.recv(9))
"""
    runner = Runner(lab.client, AS_ROOT)
    plain = runner.plain(["/usr/bin/python3", "-c", PRELUDE + text]).out
    assert plain.endswith("0\nb'one'\n"), plain
    done = runner.python(PRELUDE + text, *method, "--via", held.url(lab.server), "--rule",
                         f"to {lab.server.v4} -> direct")
    assert done.out == plain, done


@pytest.mark.parametrize("how", ["udp", "tcp", "exec"])
def test_who_ends_or_executes_at_once_is_under_the_rules_all_the_same(runner, module_lab, how):
    server = TcpServer(module_lab.server, echo_bytes)
    echo = UdpEcho(module_lab.server)
    tool = module_lab.client.install(native("connects"))
    port = echo.port if how == "udp" else server.port
    arrived = echo.received if how == "udp" else server.accepted
    leave = f"{tool} leave {how} {Lab.FAR[4]} {port}"
    script = f"for i in $(seq 100); do {leave}; done"
    assert runner.sh(script, *SECCOMP, "--rule", "process connects -> reject").ok
    assert runner.sh(leave, *SECCOMP, "--rule", "process wget -> reject").ok
    if how == "udp":
        assert len(arrived) <= 1
    else:  # an abandoned connection may or may not be made
        assert len(arrived) <= 1


@METHODS
@pytest.mark.parametrize("row", ["storm-blocking", "storm-nonblocking", "storm-refused"])
def test_no_result_is_lost_to_a_signal(runner, module_lab, method, row):
    server = TcpServer(module_lab.server, echo_bytes)
    build = "connects" if method is SECCOMP else "connects_dynamic"
    tool = module_lab.client.install(native(build))
    port = 9 if row == "storm-refused" else server.port
    words = [tool, row, "1500", Lab.FAR[4], str(port)]
    assert runner.plain(words, timeout=60).out == "ok\n"
    done = runner.run([*method, *words], timeout=60)
    assert done.out == "ok\n", done


def test_a_send_timeout_outlives_a_signal(runner, module_lab):
    tool = module_lab.client.install(native("connects"))
    done = runner.run([*SECCOMP, tool, "send-timeout", Lab.BLACKHOLE[4], "80"])
    error, ms = map(int, done.out.split())
    assert error == errno.EINPROGRESS and 950 <= ms < 2000


@METHODS
def test_sockets_that_linger_keep_nobody_waiting(runner, module_lab, method):
    server = TcpServer(module_lab.client, silent)
    build = "connects" if method is SECCOMP else "connects_dynamic"
    tool = module_lab.client.install(native(build))
    done = runner.run([*method, tool, "lingering", "127.0.0.1", str(server.port)], timeout=60)
    assert done.out == "ok\n", done


def test_few_descriptors_are_enough_for_many_processes(runner, module_lab):
    server = TcpServer(module_lab.server, echo_bytes)
    tool = module_lab.client.install(native("connects"))
    words = [runner.shunt, "run", *SECCOMP, tool, "forks", "400", Lab.FAR[4], str(server.port)]
    done = runner.plain(["prlimit", "--nofile=256:256", *words], timeout=60, check=False)
    assert done.out == "ok\n", done


PORTS = """
targets = TARGETS
made = []
for i in range(COUNT):
    s = socket.socket()
    if LOCAL: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("0.0.0.0", LOCAL))
    error = s.connect_ex(targets[i % len(targets)])
    if error: print(name(error)); break
    made.append(s)
else:
    for s in made: s.sendall(b"x")
    print(sum(s.recv(1) == b"x" for s in made), all(
        s.getpeername() == targets[i % len(targets)] for i, s in enumerate(made)))
"""


def ports(targets: list[tuple[str, int]], count: int, local: int = 0) -> str:
    return f"{PRELUDE}TARGETS, COUNT, LOCAL = {targets}, {count}, {local}\n{PORTS}"


@METHODS
def test_one_local_port_serves_several_connections(runner, module_lab, method):
    server = TcpServer(module_lab.server, echo_bytes)
    targets = [(Lab.FAR[4], server.port), (module_lab.server.v4, server.port)]
    local = 20_000 if runner.who == AS_ROOT else 20_001  # the kernel gives out none of these
    script = ports(targets, 2, local + (2 if method is SECCOMP else 0))
    done = runner.python(script, *method)
    assert done.out == "2 True\n", done


@METHODS
def test_as_many_connections_as_servers_have_room_for(lab, method):
    """As without shunt the local ports are used once for each server, and no more."""
    lab.client.sysctl(net__ipv4__ip_local_port_range="50000 50063")
    servers = [TcpServer(lab.server, echo_bytes) for _ in range(3)]
    targets = [(Lab.FAR[4], server.port) for server in servers]
    runner = Runner(lab.client, AS_ROOT)
    assert runner.python(ports(targets, 120), *method).out == "120 True\n"


def test_who_gets_no_local_port_is_told_so(lab):
    """Though the parked socket has one: it is shunt's own connection that finds none."""
    lab.client.sysctl(net__ipv4__ip_local_port_range="50000 50063")
    server = TcpServer(lab.server, echo_bytes)
    script = ports([(Lab.FAR[4], server.port)], 100)
    runner = Runner(lab.client, AS_ROOT)
    assert runner.plain(["/usr/bin/python3", "-c", script]).out == "EADDRNOTAVAIL\n"
    done = runner.python(script, *SECCOMP)
    assert done.out == "EADDRNOTAVAIL\n", done


@METHODS
def test_the_log_has_the_process_and_not_its_thread(runner, module_lab, method):
    server = TcpServer(module_lab.server, echo_bytes)
    log = f"/run/threads-{runner.who}-{method[1]}.log"
    lines = writable_file(module_lab.client, log)
    done = runner.python(f"""{PRELUDE}
def go():
    open("/proc/thread-self/comm", "w").write("threadname")
    with socket.create_connection(("{Lab.FAR[4]}", {server.port})) as s: s.sendall(b"x"); s.recv(1)
thread = threading.Thread(target=go); thread.start(); thread.join()
print(os.getpid())
""", *method, "--json", "--log-to", log, "--rule", "process threadname -> reject")
    ends = [line for line in read_log(lines) if line["event"] == "end"]
    assert [(end["process"], end["pid"], end["reason"]) for end in ends] == \
        [("python3", int(done.out), "closed")]


INSIDE = """
if os.getuid(): assert libc.unshare(0x10000000) == 0, "a user namespace"
assert libc.unshare(0x40000000) == 0
import fcntl, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0)); u.settimeout(5)
print(name(socket.socket().connect_ex(l.getsockname())))
s.sendto(b"x", u.getsockname()); print(u.recv(9))
print(name(socket.socket().connect_ex(("ADDRESS", 80))))
"""


def test_a_network_of_the_programs_own_is_its_own(runner, module_lab):
    """Nothing leads out of it but what it makes; what it could reach by that is not captured."""
    text = PRELUDE + INSIDE.replace("ADDRESS", Lab.FAR[4])
    plain = runner.plain(["/usr/bin/python3", "-c", text], check=False)
    if not plain.ok:
        pytest.skip("needs network namespaces")
    done = runner.python(text, *SECCOMP)
    if "a user namespace" in done.err:
        pytest.skip("needs user namespaces")
    says = "EHOSTUNREACH" if runner.who == AS_ROOT else "ENETUNREACH"
    assert done.out.splitlines() == ["0", "b'x'", says], done


@pytest.mark.long
@METHODS
def test_a_live_connections_peer_is_not_forgotten(root, module_lab, method):
    server = TcpServer(module_lab.server, echo_bytes)
    target = (Lab.FAR[4], server.port)
    done = root.python(f"""{PRELUDE}
target = {target!r}
keep = socket.create_connection(target)
for _ in range(66_000):
    s = socket.create_connection(target)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1] + 7 * [0]))  # no TIME_WAIT
    s.close()
print(keep.getpeername() == target)
""", *method, timeout=180)
    assert done.out == "True\n", done
