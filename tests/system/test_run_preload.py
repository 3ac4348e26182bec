# SPDX-License-Identifier: GPL-2.0-only
"""`shunt run --method preload`: what is of a library alone; the rest is in test_run_calls.py."""
from __future__ import annotations

import errno
import os
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from daemons import Dnsmasq
from methods import PRELOAD as LIBRARY
from methods import Started, where_calls_are_forbidden, writable_file
from netlab import Host, Lab, needs, needs_users, wait_until
from peers import TcpServer, UdpEcho, echo_bytes
from runners import AS_ROOT, AS_USER, Runner
from shunt import NATIVE, native, read_log
from test_run_capture import ask, ask_udp

pytestmark = pytest.mark.usefixtures("binary")

PRELOAD = LIBRARY.options
EXECUTORS = ["execl", "execlp", "execle", "execv", "execve", "execvp", "execvpe", "fexecve",
             "execveat", "posix_spawn", "posix_spawnp", "system", "popen"]


@pytest.fixture(params=[AS_ROOT, AS_USER], ids=["root", "user"])
def runner(module_lab, request) -> Runner:
    return Runner(module_lab.client, request.param)


def test_copies_of_descriptors_and_their_numbers_are_kept_straight(runner, module_lab):
    server = TcpServer(module_lab.server, echo_bytes)
    echo = UdpEcho(module_lab.server)
    tool = module_lab.client.install(native("preloaded"))
    words = [tool, "descriptors", Lab.FAR[4], server.port, echo.port]
    assert runner.plain(words).out == "ok\n"
    done = runner.run([*PRELOAD, *words])
    assert done.out == "ok\n", done


def test_calls_by_number_are_captured(runner, module_lab):
    server = TcpServer(module_lab.server, echo_bytes)
    tool = module_lab.client.install(native("preloaded"))
    words = [tool, "raw", Lab.FAR[4], server.port]
    done = runner.run([*PRELOAD, *words])
    assert done.out == "ok\n", done
    done = runner.run([*PRELOAD, "--rule=-> reject", *words])
    assert done.err.startswith("connect: Connection refused"), done


def test_every_way_to_execute_hands_the_library_on(runner, module_lab):
    """With no environment at all, where a function takes one."""
    server = TcpServer(module_lab.server, echo_bytes)
    host = module_lab.client
    tool, called = host.install(native("preloaded")), host.install(native("calls_dynamic"))
    log = f"/run/executed-{runner.who}.log"
    lines = writable_file(host, log)
    row = [called, "--in", "here", "tcp-blocking"]
    script = f"#!/bin/sh\nexec {' '.join(row)} {Lab.FAR[4]} {server.port}\n"
    program = f"/run/executed-{runner.who}"
    made = host.outside(program)
    made.write_text(script)
    made.chmod(0o755)
    done = runner.run([*PRELOAD, "--json", "--log-to", log, tool, "exec", program, *"abcd"],
                      timeout=60)
    assert done.out.splitlines() == [f"{name} ok" for name in EXECUTORS], done
    assert len(server.accepted) == len(EXECUTORS)
    ends = [line for line in read_log(lines) if line["event"] == "end"]
    assert len(ends) == len(EXECUTORS) and {end["process"] for end in ends} == {"calls_dynamic"}


def test_programs_that_would_go_round_it_are_not_executed(runner, module_lab):
    """The command says EPERM, and stderr says why."""
    server = TcpServer(module_lab.server, echo_bytes)
    host = module_lab.client
    tool, static = host.install(native("preloaded")), host.install(native("calls"))
    done = runner.run([*PRELOAD, tool, "exec", static, "tcp-blocking", Lab.FAR[4], server.port, ""])
    said = done.out.splitlines()
    assert [line.split()[0] for line in said] == EXECUTORS
    refusals = {f"errno {errno.EPERM}", f"error {errno.EPERM}", "failed"}
    assert {line.partition(" ")[2] for line in said} <= refusals, done
    assert not server.accepted
    assert done.err.count(f"shunt: {static} is statically linked: it is not run") == len(EXECUTORS)


@pytest.mark.parametrize("kind", ["static", "script", "setuid", "capabilities"])
def test_what_would_not_load_the_library_is_refused(module_lab, kind):
    needs_users()
    host = module_lab.client
    static = host.install(native("calls"))
    program = f"/run/refused-{kind}"
    made = host.outside(program)
    if kind == "static":
        program, why = static, "is statically linked"
    elif kind == "script":
        made.write_text(f"#!{static}\n")
        program, why = program, "is statically linked"
    else:
        made.write_bytes(Path(native("calls_dynamic")).read_bytes())
        why = "is a setuid or setgid program" if kind == "setuid" else "has file capabilities"
    if kind != "static":
        made.chmod(0o4755 if kind == "setuid" else 0o755)
    if kind == "capabilities":
        needs("setcap")
        subprocess.run(["setcap", "cap_net_raw+ep", made], check=True)
    named = static if kind == "script" else program
    user = Runner(host, AS_USER)
    done = user.run([*PRELOAD, program, "tcp-blocking", Lab.FAR[4], "80"])
    assert done.code == 125 and not done.out, done
    assert f"error[S111]: {named} {why}" in done.err and "--method seccomp" in done.err, done
    if kind in ("setuid", "capabilities"):  # of root's it is a program as any other
        server = TcpServer(module_lab.server, echo_bytes)
        root = Runner(host, AS_ROOT)
        done = root.run([*PRELOAD, program, "tcp-blocking", Lab.FAR[4], server.port])
        assert done.out == "ok\n", done


@pytest.fixture(scope="session")
def go_client(tmp_path_factory) -> Path:
    needs("go")
    made = tmp_path_factory.mktemp("go") / "client"
    environment = os.environ | {"CGO_ENABLED": "0", "GOPROXY": "off", "GO111MODULE": "off",
                                "GOCACHE": str(made.parent / "cache")}
    subprocess.run(["go", "build", "-o", made, Path(__file__).parent / "native" / "client.go"],
                   check=True, env=environment, timeout=300)
    return made


@pytest.mark.long
def test_a_go_program_is_refused(runner, module_lab, go_client):
    client = module_lab.client.install(go_client)
    done = runner.run([*PRELOAD, client, f"{Lab.FAR[4]}:80", 1, 1])
    assert done.code == 125 and f"{client} is a Go program" in done.err, done
    done = runner.sh(f"{client} {Lab.FAR[4]}:80 1 1; echo $?", *PRELOAD)
    assert done.out == "126\n" and f"{client} is a Go program" in done.err, done


def test_auto_takes_it_last(module_lab):
    """Where namespaces and what else comes first work, nobody is put off with a library."""
    done = Runner(module_lab.client, AS_USER).run(["sh", "-c", "echo $LD_PRELOAD"])
    assert done.ok and done.out == "\n", done


def test_names_are_looked_up_through_shunt(runner, module_lab):
    """By all functions, although the C library asks name servers by calls of its own."""
    needs("dnsmasq")
    with Lab() as lab:
        Dnsmasq(lab.server, {"www.shunt.example": [Lab.FAR[4]]})
        lab.client.file("/etc/resolv.conf", f"nameserver {lab.server.v4}\n")
        log = "/run/names.log"
        lines = writable_file(lab.client, log)
        tool = lab.client.install(native("preloaded"))
        who = Runner(lab.client, runner.who)
        done = who.run([*PRELOAD, "--json", "--log-to", log, tool, "names", "www.shunt.example"])
        far = Lab.FAR[4]
        assert done.out.splitlines() == [
            f"getaddrinfo {far}", f"gethostbyname {far}", f"gethostbyname2 {far}",
            f"gethostbyname_r {far}", "res_query answered"], done
        ends = [line for line in read_log(lines) if line["event"] == "end"]
        assert {(end["destination"], end["destination_port"], end["process"]) for end in ends} == \
            {(lab.server.v4, 53, "preloaded")}
        denied = who.run([*PRELOAD, "--rule", "port 53 -> reject", tool, "names",
                          "www.shunt.example"], timeout=90)
        assert {line.partition(" ")[2] for line in denied.out.splitlines()} == {"nothing"}, denied


def test_long_answers_come_over_tcp(runner, module_lab):
    needs("dnsmasq")
    many = [f"198.51.100.{number}" for number in range(1, 100)]
    with Lab() as lab:
        Dnsmasq(lab.server, {}, *(f"--host-record=many.shunt.example,{one}" for one in many))
        lab.client.file("/etc/resolv.conf", f"nameserver {lab.server.v4}\n")
        log = "/run/long.log"
        lines = writable_file(lab.client, log)
        script = ("import socket\n"
                  "print(len({a[4][0] for a in socket.getaddrinfo('many.shunt.example', 80)}))\n")
        done = Runner(lab.client, runner.who).python(script, *PRELOAD, "--json", "--log-to", log)
        assert done.out == f"{len(many)}\n", done
        flows = {(line["protocol"], line["destination"], line["process"])
                 for line in read_log(lines) if line["event"] == "end"}
        assert flows == {("udp", lab.server.v4, "python3"), ("tcp", lab.server.v4, "python3")}


def test_requests_without_the_token_are_not_answered(lab):
    """Whoever is on this machine can connect to its abstract sockets."""
    script = ("import os; print('ready', os.getpid(), os.environ['SHUNT_PRELOAD'].split(':')[1],"
              " flush=True); input()")
    started = Started(Runner(lab.client, AS_USER), LIBRARY, script)
    guess = ("import array, socket, struct\n"
             "s = socket.socket(); a = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
             f"a.connect('\\0{started.words[2]}')\n"
             f"to = struct.pack('=HH4s', 2, socket.htons(80), socket.inet_aton('{Lab.FAR[4]}'))\n"
             "r = struct.pack('=II16sII', 1, 2, bytes(16), 16, 0) + to.ljust(128, b'\\0')\n"
             "a.sendmsg([r], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,"
             " array.array('i', [s.fileno()]))])\n"
             "a.settimeout(5); print(a.recv(999))\n")
    assert lab.client.run(["/usr/bin/python3", "-c", guess]).out == "b''\n"
    started.child.communicate("\n", timeout=20)


DIAL_SHUNT = """
import errno, os, socket, sys
print('ready', os.getpid(), flush=True)
input()
port = int(os.environ['SHUNT_PRELOAD'].split(':')[3])
said = set()
for number in range(250):
    for host in HOSTS:
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(5)
        try: s.connect((host, port)); said.add(repr(s.recv(1)))
        except OSError as e: said.add(errno.errorcode.get(e.errno, repr(e)))
        u = socket.socket(family, socket.SOCK_DGRAM); u.sendto(b'x', (host, port))
        s.close(); u.close()
print(' '.join(sorted(said)), flush=True)
input()
"""


def test_who_dials_shunt_itself_starts_no_loop(lab):
    """Its listeners for what stands for others, at any address of this machine."""
    hosts = ["127.0.0.1", "127.64.0.1", "127.127.255.254", "::1", "::ffff:127.64.0.9",
             lab.client.v4]
    started = Started(Runner(lab.client, AS_USER), LIBRARY,
                      f"HOSTS = {hosts}\n{DIAL_SHUNT}")
    child, carrier = started.child, started.carrier()
    before = len(os.listdir(f"/proc/{carrier}/fd"))
    child.stdin.write("\n")
    child.stdin.flush()
    said = set(child.stdout.readline().split())
    assert said <= {"ECONNRESET", "ECONNREFUSED", "b''"}, said
    wait_until(lambda: len(os.listdir(f"/proc/{carrier}/fd")) <= before, "nothing is held open")
    child.communicate("\n", timeout=20)


def test_nothing_leaves_that_a_rule_rejects(runner):
    """Packets that leave this host while every kind of call is made, and names are looked up."""
    with Lab() as lab:
        lab.client.file("/etc/resolv.conf",
                        f"nameserver {lab.server.v4}\noptions timeout:1 attempts:1\n")
        who = Runner(lab.client, runner.who)
        calls, names = (lab.client.install(native(tool)) for tool in ("calls_dynamic", "preloaded"))
        lab.client.nft('table inet leaks { chain out { type filter hook output priority 0;'
                       ' oifname != "lo" meta l4proto { tcp, udp } counter; }; }')
        rows = [f"{calls} --in {place} {row} {far} 80; " for far in (Lab.FAR[4], Lab.FAR[6])
                for place in ("here", "thread", "vfork") for row in ("tcp-blocking", "tcp-epoll")]
        script = "".join(rows) + f"{names} names www.shunt.example"
        done = who.sh(script, *PRELOAD, "--rule=-> reject", timeout=90)
        assert "ok" not in done.out.split() and "getaddrinfo nothing" in done.out, done
        sends = ask_udp(Lab.FAR[4], 80, 0.2) + ask_udp(Lab.FAR[6], 80, 0.2)
        who.python(sends, *PRELOAD, "--rule=-> reject")
        assert "counter packets 0 bytes 0" in lab.client.run(["nft", "list", "ruleset"]).out
        who.plain(["/usr/bin/python3", "-c", sends])  # what would be counted
        assert "counter packets 0 bytes 0" not in lab.client.run(["nft", "list", "ruleset"]).out


def test_it_says_where_its_library_has_to_be(module_lab, tmp_path):
    host = module_lab.client
    alone = "/run/alone"
    host.run(["mkdir", "-p", alone])
    host.run(["cp", Runner(host, AS_ROOT).shunt, f"{alone}/shunt"])
    done = host.run([f"{alone}/shunt", "run", *PRELOAD, "true"], check=False)
    assert done.code == 125 and "error[S110]" in done.err and alone in done.err, done


def test_it_is_found_where_it_is_installed(module_lab):
    host = module_lab.client
    host.run(["mkdir", "-p", "/run/usr/bin", "/run/usr/lib"])
    host.run(["cp", Runner(host, AS_ROOT).shunt, "/run/usr/bin/shunt"])
    host.run(["cp", NATIVE.parent.parent / "libshunt-preload.so", "/run/usr/lib/"])
    done = host.run(["/run/usr/bin/shunt", "run", *PRELOAD, "sh", "-c", "echo $LD_PRELOAD"])
    assert done.out == "/run/usr/lib/libshunt-preload.so\n"


@pytest.mark.parametrize("value", ["", "1:name", "2:shunt:00112233445566778899aabbccddeeff:9",
                                   "1:shunt:00112233445566778899aabbccddeeff:65536"])
def test_an_environment_that_it_does_not_know_leaves_no_network(module_lab, value):
    server = TcpServer(module_lab.server, echo_bytes)
    done = module_lab.client.run(
        ["env", f"LD_PRELOAD={NATIVE.parent.parent / 'libshunt-preload.so'}",
         f"SHUNT_PRELOAD={value}", "/usr/bin/python3", "-c", ask(Lab.FAR[4], server.port)])
    assert "ECONNREFUSED" in done.out and "no network" in done.err, done
    assert not server.accepted


@pytest.mark.parametrize("variable", ["SHUNT_PRELOAD_MARK=0x10", "SHUNT_PRELOAD_DEVICE=lo"])
def test_sockets_are_marked_where_that_is_asked_for(module_lab, variable):
    """Without a proxy in between: the program's own sockets, and those of what it executes."""
    option = "36" if "MARK" in variable else "25"  # SO_MARK, SO_BINDTODEVICE
    script = (f"import socket\n"
              f"for f in (socket.AF_INET, socket.AF_INET6):\n"
              f"  print(socket.socket(f).getsockopt(1, {option}, 16)[:2].hex())\n")
    preload = f"LD_PRELOAD={NATIVE.parent.parent / 'libshunt-preload.so'}"
    words = ["env", preload, variable, "sh", "-c", "env -i /usr/bin/python3 -c \"$0\"", script]
    done = module_lab.client.run(words)
    wanted = "1000" if "MARK" in variable else b"lo".hex()
    assert done.out.split() == [wanted, wanted], done


def test_a_socket_that_cannot_be_marked_is_none(module_lab):
    """Who may not set the mark gets no socket, and none that goes another way."""
    needs_users()
    library = module_lab.client.install(NATIVE.parent.parent / "libshunt-preload.so")
    script = ("import errno, socket\n"
              "try: socket.socket(); print('made')\n"
              "except OSError as e: print(errno.errorcode[e.errno])\n")
    user = Runner(module_lab.client, AS_USER)
    for variable, says in (("SHUNT_PRELOAD_MARK=16", "EPERM"),
                           ("SHUNT_PRELOAD_DEVICE=shunt-none", "ENODEV"),
                           ("SHUNT_PRELOAD_MARK=many", "EPERM")):
        done = user.plain(["env", f"LD_PRELOAD={library}", variable, "/usr/bin/python3", "-c",
                           script])
        assert done.out == f"{says}\n", done


def test_auto_takes_it_where_nothing_else_works_and_says_so():
    with closing(Host("forbidden")) as host:
        done = where_calls_are_forbidden(host, "seccomp ptrace", "sh", "-c", "echo $LD_PRELOAD")
        assert done.out == "/run/libshunt-preload.so\n", done
        assert "captured by preload, since namespace does not work here" in done.err, done
        assert "seccomp does not work here" in done.err, done
        assert "ptrace does not work here" in done.err, done


def test_auto_runs_nothing_that_nobody_would_capture():
    with closing(Host("forbidden")) as host:
        static = host.install(native("calls"))
        done = where_calls_are_forbidden(host, "seccomp ptrace", static, "tcp-blocking",
                                         "192.0.2.1", 80)
        assert done.code == 125 and not done.out and "error[S080]" in done.err, done
        reasons = [line.split(":")[0].strip() for line in done.err.splitlines()]
        tried = ("namespace", "ebpf", "seccomp", "ptrace", "preload")
        assert [word for word in reasons if word in tried] == list(tried), done
