# SPDX-License-Identifier: GPL-2.0-only
"""What `shunt run` captures, what it leaves inside, and that the command cannot undo it."""
from __future__ import annotations

import json
import socket
import subprocess
import time
from contextlib import closing

import pytest

from daemons import Dnsmasq
from netlab import Host, Lab, needs, needs_users, wait_until
from peers import TcpServer, UdpEcho, echo_bytes
from proxies import Microsocks
from runners import AS_ROOT, AS_USER, Runner

pytestmark = pytest.mark.usefixtures("binary")
WHO = pytest.mark.parametrize("who", [AS_ROOT, AS_USER])


@pytest.fixture(params=[AS_ROOT, AS_USER], ids=["root", "user"])
def runner(module_lab, request) -> Runner:
    return Runner(module_lab.client, request.param)


def ask(address: str, port: int, timeout: float = 5) -> str:
    """Python that says hello over TCP and prints the answer, or the error's name."""
    return (f"import errno, socket\n"
            f"try:\n"
            f"  s = socket.create_connection(('{address}', {port}), {timeout})\n"
            f"  s.sendall(b'hello'); print(s.recv(99).decode(), s.getpeername()[:2])\n"
            f"except OSError as e: print(errno.errorcode.get(e.errno, repr(e)))\n")


def ask_udp(address: str, port: int, wait: float = 5) -> str:
    family = "AF_INET6" if ":" in address else "AF_INET"
    return (f"import errno, socket\n"
            f"s = socket.socket(socket.{family}, socket.SOCK_DGRAM); s.settimeout({wait})\n"
            f"try:\n"
            f"  s.sendto(b'hello', ('{address}', {port})); data, source = s.recvfrom(99)\n"
            f"  print(data.decode(), source[:2])\n"
            f"except OSError as e: print(errno.errorcode.get(e.errno, repr(e)))\n")


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_go_out_and_answers_come_from_where_they_were_sent(runner, version):
    family = {4: socket.AF_INET, 6: socket.AF_INET6}[version]
    with Lab() as lab:
        echo = UdpEcho(lab.server, family=family)
        done = Runner(lab.client, runner.who).python(ask_udp(Lab.FAR[version], echo.port))
    assert done.out == f"hello ('{Lab.FAR[version]}', {echo.port})\n"


def test_names_are_resolved_through_the_hosts_resolver(runner, module_lab):
    needs("dnsmasq")
    with Lab() as lab:
        Dnsmasq(lab.server, {"www.shunt.example": [Lab.FAR[4], Lab.FAR[6]]})
        lab.client.file("/etc/resolv.conf", f"nameserver {lab.server.v4}\n")
        done = Runner(lab.client, runner.who).run(["getent", "ahosts", "www.shunt.example"])
    assert Lab.FAR[4] in done.out and Lab.FAR[6] in done.out


@pytest.mark.parametrize("server", ["127.0.0.53", "127.0.0.1", "::1"])
def test_a_resolver_on_loopback_is_the_hosts(lab, server):
    needs("dnsmasq")
    Dnsmasq(lab.client, {"www.shunt.example": ["203.0.113.99"]})
    lab.client.file("/etc/resolv.conf", f"nameserver {server}\n")
    for who in (AS_ROOT, AS_USER):
        runner = Runner(lab.client, who)
        assert "203.0.113.99" in runner.run(["getent", "ahosts", "www.shunt.example"]).out
        # Over TCP as well, and no other port of it.
        probe = f"import socket; socket.create_connection(('{server}', 53), 5); print('tcp')"
        assert runner.python(probe).out == "tcp\n"
        assert runner.python(ask(server, 5353)).out == "ECONNREFUSED\n"


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_resolver_on_loopback_is_the_hosts_behind_a_proxy_too(lab, scheme):
    needs("dnsmasq")
    Dnsmasq(lab.client, {"www.shunt.example": ["203.0.113.99"]})
    lab.client.file("/etc/resolv.conf", "nameserver 127.0.0.53\n")
    proxy = Microsocks(lab.gateway, Lab.LAN[4])
    runner = Runner(lab.client, AS_ROOT)
    look_up = ["getent", "ahosts", "www.shunt.example"]
    done = runner.run(["--via", proxy.url(scheme), *look_up])
    assert "203.0.113.99" in done.out and "names are not found" not in done.err
    # No rule sends them to the proxy, which has no such resolver; one may still deny them.
    done = runner.run(["--via", proxy.url(scheme), "--rule", "port 53 -> via", *look_up])
    assert "203.0.113.99" in done.out
    done = runner.run(["--via", proxy.url(scheme), "--rule", "port 53 -> reject", *look_up])
    assert "203.0.113.99" not in done.out


def test_a_proxy_that_carries_no_query_is_told_once(lab):
    lab.client.file("/etc/resolv.conf", f"nameserver {lab.server.v4}\n")
    proxy = Microsocks(lab.gateway, Lab.LAN[4])
    done = Runner(lab.client, AS_ROOT).run(
        ["--via", proxy.url("socks5h"), "sh", "-c",
         "getent ahosts www.shunt.example; getent ahosts other.shunt.example"])
    assert done.err.count("names are not found") == 1
    assert "--dns fake-ip" in done.err


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_hosts_localhost_is_reached_only_when_allowed(runner, module_lab, address):
    server = TcpServer(module_lab.client, echo_bytes)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    echo = UdpEcho(module_lab.client, family=family)
    assert runner.python(ask(address, server.port)).out == "ECONNREFUSED\n"
    assert "hello" not in runner.python(ask_udp(address, echo.port, 0.3)).out
    allowed = runner.python(ask(address, server.port), "--allow-localhost")
    assert allowed.out == f"hello ('{address}', {server.port})\n"
    allowed = runner.python(ask_udp(address, echo.port), "--allow-localhost")
    assert allowed.out == f"hello ('{address}', {echo.port})\n"


INSIDE = """
import socket, threading
def serve(listener):
    client, peer = listener.accept()
    client.sendall(b"inside " + client.recv(99)); client.close()
listener = socket.socket(); listener.bind((HOST, PORT)); listener.listen()
threading.Thread(target=serve, args=(listener,), daemon=True).start()
s = socket.create_connection((ADDRESS, PORT), 5)
s.sendall(b"hello"); print(s.recv(99).decode())
"""


@pytest.mark.parametrize("options", [[], ["--allow-localhost"]])
@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0"])
def test_a_server_started_inside_is_reached_inside(runner, module_lab, options, listen):
    outside = TcpServer(module_lab.client, echo_bytes)  # has the port on the host
    script = f"HOST, ADDRESS, PORT = '{listen}', '127.0.0.1', {outside.port}\n{INSIDE}"
    assert runner.python(script, *options).out == "inside hello\n"
    assert not outside.accepted


def test_the_hosts_own_address_means_inside_first_then_the_host(runner, module_lab):
    own = module_lab.client.v4
    outside = TcpServer(module_lab.client, echo_bytes)
    assert runner.python(ask(own, outside.port)).out == f"hello ('{own}', {outside.port})\n"
    script = f"HOST, ADDRESS, PORT = '0.0.0.0', '{own}', {outside.port}\n{INSIDE}"
    assert runner.python(script).out == "inside hello\n"
    assert len(outside.accepted) == 1


def test_a_server_inside_does_not_answer_for_the_world(runner, module_lab):
    outside = TcpServer(module_lab.server, echo_bytes)
    script = f"HOST, ADDRESS, PORT = '0.0.0.0', '{Lab.FAR[4]}', {outside.port}\n{INSIDE}"
    assert runner.python(script).out == "hello\n"


def test_the_hosts_addresses_are_the_commands_too(runner, module_lab):
    for address in (module_lab.client.v4, module_lab.client.v6):
        version = 6 if ":" in address else 4
        far = Lab.FAR[version]
        script = (f"import socket; s = socket.socket(socket.AF_INET{'6' if version == 6 else ''},"
                  f" socket.SOCK_DGRAM); s.connect(('{far}', 9)); print(s.getsockname()[0])")
        assert runner.python(script).out == f"{address}\n"


def ping(destination: str) -> str:
    """A raw echo request: what a ping(8) run by root does."""
    return ("import errno, os, socket, struct\n"
            "try:\n"
            "  s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); s.settimeout(1)\n"
            "  packet = struct.pack('!BBHHH', 8, 0, 0, 7, 1)\n"
            "  total = sum(struct.unpack('!4H', packet))\n"
            "  packet = struct.pack('!BBHHH', 8, 0, ~total & 0xffff, 7, 1)\n"
            f"  s.sendto(packet, ('{destination}', 0))\n"
            "  while True:\n"
            "    got = s.recv(99)\n"
            "    if got[20] in (0, 3): print({0: 'alive', 3: 'unreachable'}[got[20]]); break\n"
            "except OSError as e: print(errno.errorcode.get(e.errno, 'no answer'))\n")


def test_an_echo_request_is_rejected_never_answered_falsely(module_lab):
    root = Runner(module_lab.client, AS_ROOT)
    assert root.python(ping(Lab.FAR[4])).out.strip() in ("EPERM", "EACCES", "unreachable")
    assert root.python(ping("127.0.0.1")).out == "alive\n"  # that one is true
    user = Runner(module_lab.client, AS_USER)
    assert user.python(ping(Lab.FAR[4])).out == "EPERM\n"


def test_what_cannot_be_carried_is_refused_at_once(runner):
    assert runner.python(ask_udp("224.0.0.251", 5353)).out == "EPERM\n"
    sctp = ("import errno, socket\n"
            "try:\n"
            f"  s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132); s.settimeout(3)\n"
            f"  s.connect(('{Lab.FAR[4]}', 80))\n"
            "except OSError as e: print(e)\n")
    assert runner.python(sctp).out


def test_shunts_own_listener_cannot_be_dialled(runner):
    for address in ("127.0.0.1", "::1"):
        assert runner.python(ask(address, 1)).out == "ECONNREFUSED\n"
    assert runner.python(ask(Lab.UNREACHABLE[4], 1)).out == "EHOSTUNREACH\n"  # of the world's


@WHO
def test_a_host_without_ipv6_is_one_inside_as_well(who, binary):
    with closing(Host("v4-only")) as host:
        host.ip("link add eth0 type veth peer name other", "addr add 192.0.2.2/24 dev eth0",
                "link set eth0 up", "link set other up", "route add default via 192.0.2.1")
        runner = Runner(host, who)
        assert runner.python(ask(Lab.FAR[6], 80)).out == "ENETUNREACH\n"
        addresses = runner.run(["ip", "-o", "addr"]).out
        assert "192.0.2.2/32" in addresses and "inet6 ::1/128" in addresses
        assert addresses.count("inet6") == 1


@WHO
def test_a_host_without_a_default_route_reaches_its_own_network_only(who, binary):
    with closing(Host("no-way-out")) as host:
        host.ip("link add eth0 type veth peer name other", "addr add 192.0.2.2/24 dev eth0",
                "link set eth0 up", "link set other up")
        runner = Runner(host, who)
        assert runner.python(ask(Lab.FAR[4], 80)).out == "ENETUNREACH\n"
        own = TcpServer(host, echo_bytes)
        assert runner.python(ask("192.0.2.2", own.port)).out == f"hello ('192.0.2.2', {own.port})\n"


@WHO
def test_a_host_without_any_network_runs_commands_all_the_same(who, binary):
    with closing(Host("alone")) as host:
        runner = Runner(host, who)
        assert runner.python(ask(Lab.FAR[4], 80)).out == "ENETUNREACH\n"
        assert runner.python(ask("127.0.0.1", 80)).out == "ECONNREFUSED\n"


UNDO = [["nft", "flush", "ruleset"], ["nft", "delete", "table", "inet", "shunt"],
        ["ip", "route", "flush", "table", "main"],
        ["ip", "addr", "add", "192.0.2.9/32", "dev", "lo"],
        ["ip", "link", "set", "lo", "down"], ["ip", "link", "add", "veth0", "type", "veth"],
        ["nsenter", "--net=/proc/1/ns/net", "true"], ["ip", "netns", "add", "shunt-test-x"]]


@pytest.mark.parametrize("command", UNDO, ids=[" ".join(command[:3]) for command in UNDO])
def test_the_command_cannot_undo_its_capture(runner, command):
    done = runner.run(command)
    assert done.code not in (0, 125, 127), done


def test_the_command_cannot_go_where_shunt_is(runner):
    script = ("import ctypes, os\n"
              "libc = ctypes.CDLL(None, use_errno=True); tried = 0\n"
              "mine = os.readlink('/proc/self/ns/net')\n"
              "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
              "  for kind in ('user', 'net'):\n"
              "    try: fd = os.open(f'/proc/{pid}/ns/{kind}', os.O_RDONLY)\n"
              "    except OSError: continue\n"
              "    here = os.readlink(f'/proc/self/ns/{kind}')\n"
              "    if os.readlink(f'/proc/self/fd/{fd}') == here: continue\n"
              "    tried += 1; libc.setns(fd, 0)\n"
              "assert os.readlink('/proc/self/ns/net') == mine\n"
              "print('stayed')\n")
    assert runner.python(script).out == "stayed\n"


def test_a_user_keeps_the_own_uid_and_has_no_capability(module_lab):
    runner = Runner(module_lab.client, AS_USER)
    status = runner.run(["cat", "/proc/self/status"]).out
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == [str(runner.uid)] * 4
    if runner.uid != 0:
        assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0


def test_root_can_do_what_installers_do(module_lab):
    """chown, other users, groups: no user namespace is in the way; two capabilities are gone."""
    needs_users()
    runner = Runner(module_lab.client, AS_ROOT)
    done = runner.sh("touch /run/owned && chown 12345:54321 /run/owned && stat -c %u:%g /run/owned"
                     " && setpriv --reuid 12345 --regid 12345 --groups 7,8 id -G"
                     " && grep CapBnd /proc/self/status")
    owner, groups, bounding = done.out.splitlines()
    assert (owner, groups) == ("12345:54321", "12345 7 8")
    mask = int(bounding.split()[1], 16)
    assert not mask & (1 << 12 | 1 << 21)  # CAP_NET_ADMIN, CAP_SYS_ADMIN


def test_shunt_runs_inside_shunt(runner, module_lab):
    server = TcpServer(module_lab.server, echo_bytes)
    done = runner.run([runner.shunt, "run", "/usr/bin/python3", "-c",
                       ask(Lab.FAR[4], server.port)])
    assert done.out == f"hello ('{Lab.FAR[4]}', {server.port})\n"


def test_the_log_names_the_process(runner, module_lab):
    server = TcpServer(module_lab.server, echo_bytes)
    echo = UdpEcho(module_lab.server)
    # A process or socket that is gone in the same moment has no name any more.
    script = ("import os, socket, time; print(os.getpid(), flush=True)\n"
              f"kept = socket.create_connection(('{Lab.FAR[4]}', {server.port}))\n"
              "kept.sendall(b'hello'); kept.recv(100)\n"
              + ask_udp(Lab.FAR[4], echo.port) + "time.sleep(0.5)")
    done = runner.run(["--json", "sh", "-c", '/usr/bin/python3 -c "$0"; true', script])
    pid = int(done.out.splitlines()[0])
    ends = [entry for entry in map(json.loads, done.err.splitlines()) if entry["event"] == "end"]
    assert {(entry["protocol"], entry.get("process"), entry.get("pid")) for entry in ends} == \
        {("tcp", "python3", pid), ("udp", "python3", pid)}


def test_what_stays_in_the_background_keeps_its_network(runner, module_lab):
    server = TcpServer(module_lab.server, echo_bytes)
    flag = module_lab.client.outside(f"/run/go-{runner.who}")
    script = ("import os, time\n"
              f"while not os.path.exists('/run/go-{runner.who}'): time.sleep(0.01)\n"
              + ask(Lab.FAR[4], server.port))
    began = time.monotonic()
    assert runner.run(["sh", "-c", '/usr/bin/python3 -c "$0" >/dev/null 2>&1 & exit 5',
                       script]).code == 5
    assert time.monotonic() - began < 5
    flag.touch()
    assert server.ended(1)[0].received == 5
    wait_until(lambda: not running(module_lab.client, "run-carrier"), "the carrier leaves as well")


def running(host: Host, name: str) -> bool:
    for pid in host.processes():
        try:
            if open(f"/proc/{pid}/comm").read().strip() == name:
                return True
        except OSError:
            pass
    return False


def test_the_last_bytes_arrive_though_the_command_is_gone(runner, module_lab):
    """The command fills its socket for a server that does not read yet, and exits."""
    released = module_lab.server.outside(f"/run/read-{runner.who}")

    def slow_reader(client, record):
        wait_until(released.exists, "the reader may read")
        while data := client.recv(65536):
            record.received += len(data)
        record.end = "eof"

    server = TcpServer(module_lab.server, slow_reader)
    done = runner.python("import socket\n"
                         f"s = socket.create_connection(('{Lab.FAR[4]}', {server.port}), 5)\n"
                         "s.setblocking(False); sent = 0\n"
                         "try:\n"
                         "  while True: sent += s.send(bytes(65536))\n"
                         "except BlockingIOError: print(sent)\n")
    assert done.ok
    released.touch()
    assert server.ended(1)[0].received == int(done.out)


@pytest.mark.parametrize("limit, prefix", [
    ("max_net_namespaces", []), ("max_user_namespaces", ["setpriv", "--bounding-set=-all"])])
def test_where_namespaces_are_forbidden_one_error_says_why(binary, limit, prefix):
    with closing(Host("forbidden")) as host:
        forbid = f'echo 0 > /proc/sys/user/{limit}; exec "$@"'
        done = host.run(["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh", *prefix,
                         host.install(binary), "run", "--method", "namespace", "echo", "never"],
                        check=False)
    assert (done.code, done.out) == (125, "")
    assert done.err.startswith("error") and done.err.count("error") == 1
    assert limit in done.err.split("help:")[1]


@WHO
def test_a_network_that_comes_and_goes_is_followed(who, binary):
    with closing(Host("roaming")) as host:
        runner = Runner(host, who)
        host.ip("link add eth0 type veth peer name other", "link set other up")
        script = ("import errno, socket, sys\n"
                  "while line := sys.stdin.readline():\n"
                  "  s = socket.socket(type=socket.SOCK_DGRAM)\n"
                  "  try: s.connect(('203.0.113.10', 9)); print(s.getsockname()[0], flush=True)\n"
                  "  except OSError as e: print(errno.errorcode[e.errno], flush=True)\n")
        child = subprocess.Popen(
            runner.command([runner.shunt, "run", "/usr/bin/python3", "-c", script]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def says() -> str:
            child.stdin.write("?\n")
            child.stdin.flush()
            return child.stdout.readline().strip()

        assert says() == "ENETUNREACH"
        host.ip("addr add 192.0.2.2/24 dev eth0", "link set eth0 up",
                "route add default via 192.0.2.1")
        wait_until(lambda: says() == "192.0.2.2", "the network is there")
        host.ip("addr del 192.0.2.2/24 dev eth0", "addr add 192.0.2.7/24 dev eth0",
                "route add default via 192.0.2.1")
        wait_until(lambda: says() == "192.0.2.7", "the address has changed")
        host.ip("link set eth0 down")
        wait_until(lambda: says() == "ENETUNREACH", "the network is gone")
        child.stdin.close()
        assert child.wait(10) == 0
        child.stdout.close()


def test_without_its_carrier_the_command_is_refused_and_told_so(runner, module_lab):
    server = TcpServer(module_lab.server, echo_bytes)
    script = ("import os, signal, time\n"
              "shunt = os.getppid()\n"
              "children = open(f'/proc/{shunt}/task/{shunt}/children').read().split()\n"
              "name = lambda p: open(f'/proc/{p}/comm').read()\n"
              "carrier = next(p for p in children if name(p) == 'run-carrier\\n')\n"
              "os.kill(int(carrier), signal.SIGKILL)\n"
              "while os.path.exists(f'/proc/{carrier}'): time.sleep(0.01)\n"
              + ask(Lab.FAR[4], server.port) + "raise SystemExit(6)")
    done = runner.python(script)
    assert (done.code, done.out) == (6, "ECONNREFUSED\n")
    assert done.err.count("warning") == 1 and "ended unexpectedly" in done.err
