# SPDX-License-Identifier: GPL-2.0-only
"""Ways out through real proxies: `shunt run --via` on the client, `shunt gateway --via` in between.

The proxies are on the gateway, so the server sees the gateway's address when a connection went
through one, and the client's when it did not.
"""
from __future__ import annotations

import itertools
import json
import os
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemons import Dnsmasq, Nginx
from netlab import UNPRIVILEGED, Lab, Result, needs, needs_users
from peers import TcpServer, UdpEcho, echo_bytes, receive
from proxies import (PASSWORD, USER, Dante, Microsocks, Proxy, Squid, Tinyproxy, TlsTinyproxy,
                     self_signed)
from shunt import BINARY, Gateway

CLIENTS = Path(__file__).with_name("clients.py")
PYTHON = "/usr/bin/python3"
_logs = itertools.count()


@dataclass(frozen=True)
class Kind:
    program: type[Proxy]
    scheme: str
    user: str | None = None

    def __str__(self) -> str:
        return f"{self.scheme}-{self.program.program}{'-password' if self.user else ''}"


KINDS = [Kind(Microsocks, "socks5"), Kind(Microsocks, "socks5", USER), Kind(Dante, "socks5"),
         Kind(Dante, "socks5", USER), Kind(Tinyproxy, "http"), Kind(Tinyproxy, "http", USER),
         Kind(Squid, "http"), Kind(TlsTinyproxy, "https"), Kind(TlsTinyproxy, "https", USER)]
OPEN_KINDS = [kind for kind in KINDS if kind.user is None]


class Via:
    """A lab with one proxy, and commands run through it."""

    def __init__(self, lab: Lab, kind: Kind) -> None:
        self.lab = lab
        self.kind = kind
        self.proxy = kind.program(lab.gateway, Lab.LAN[4], kind.user)
        self.proxy.trusted_by(lab.client)
        self.log: Path | None = None

    def run(self, *command: object, scheme: str | None = None, password: str | None = PASSWORD,
            options: tuple[str, ...] = (), **run) -> Result:
        inside = f"/run/via-log-{next(_logs)}"
        self.log = self.lab.client.outside(inside)
        env = dict(os.environ)
        if password is not None:
            env["SHUNT_VIA_PASSWORD"] = password
        result = self.lab.client.run(
            [BINARY, "run", "--via", self.proxy.url(scheme or self.kind.scheme), "--json",
             "--log-to", inside, *options, "--", *command], env=env, timeout=30, **run)
        assert PASSWORD not in result.err + self.log_text()
        return result

    def say(self, verb: str, address: str, port: int, **run) -> str:
        """What a verb of clients.py says of a connection through the proxy."""
        return self.run(PYTHON, CLIENTS, verb, address, port, **run).out.strip()

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def failure(self, address: str, port: int) -> str:
        """What the log of the last run calls the failure of a flow to there (docs/json.md)."""
        entries = [json.loads(line) for line in self.log_text().splitlines()]
        return next(entry["failure"] for entry in entries if entry["event"] == "end"
                    and (entry["destination"], entry["destination_port"]) == (address, port))


@pytest.fixture
def via(lab, request):
    return Via(lab, request.param)


def through(kinds: list[Kind]):
    return pytest.mark.parametrize("via", kinds, indirect=True, ids=str)


@through(KINDS)
@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_comes_from_the_proxy(via, version):
    server = TcpServer(via.lab.server, echo_bytes)
    said = via.say("ask", Lab.FAR[version], server.port)
    assert said == f"{Lab.FAR[version]} {server.port}"  # the peer is the one that was asked for
    assert server.ended(1)[0].peer[0] == Lab.WAN[version]


@through(KINDS)
def test_a_whole_file_arrives_unharmed(via):
    needs("nginx", "curl")
    nginx = Nginx(via.lab.server)
    done = via.run("sh", "-c", f"curl -sS {via.lab.url(Lab.FAR[4], path='/big')} | sha256sum")
    assert done.out.split()[0] == nginx.sha256["big"]


@through(OPEN_KINDS)
def test_a_server_may_speak_first(via):
    server = TcpServer(via.lab.server, lambda client, record: client.sendall(b"220 ready\r\n"))
    assert via.say("get_banner", Lab.FAR[4], server.port) == "220 ready"


@through([kind for kind in KINDS if kind.user])
def test_a_wrong_password_is_the_proxys_error(via):
    server = TcpServer(via.lab.server, echo_bytes)
    assert via.say("ask", Lab.FAR[4], server.port, password="wrong") == "refused"
    assert via.failure(Lab.FAR[4], server.port) == "proxy_error"
    assert not server.accepted


@through([Kind(Microsocks, "socks5", USER)])
def test_the_password_may_come_from_a_file(via):
    server = TcpServer(via.lab.server, echo_bytes)
    secret = via.lab.client.outside("/run/secret")
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    said = via.say("ask", Lab.FAR[4], server.port, password=None,
                   options=("--via-password-file", "/run/secret"))
    assert said == f"{Lab.FAR[4]} {server.port}"


def test_a_password_on_the_command_line_is_refused_and_not_repeated(lab):
    done = lab.client.run([BINARY, "run", "--via", "socks5://alice:hunter2@192.0.2.1:1080", "true"],
                          check=False)
    assert done.code == 2
    assert "--via-password-file" in done.err and "hunter2" not in done.err


# What a client is told of it.
SAID = {"refused": "refused", "host_unreachable": "unreachable"}
# What a failed destination is called in the log. tinyproxy says the same of each.
REASONS = {
    "microsocks": {"refused": "refused", "unreachable": "host_unreachable"},
    "danted": {"refused": "refused", "unreachable": "host_unreachable"},
    "tinyproxy": {"refused": "host_unreachable", "unreachable": "host_unreachable"},
    "squid": {"refused": "refused", "unreachable": "host_unreachable"},
}


@through(OPEN_KINDS)
def test_a_refused_destination_is_what_the_proxy_calls_it(via):
    reason = REASONS[via.proxy.program]["refused"]
    assert via.say("ask", Lab.FAR[4], 9) == SAID[reason]
    assert via.failure(Lab.FAR[4], 9) == reason


@through(OPEN_KINDS)
def test_an_unreachable_destination_is_what_the_proxy_calls_it(via):
    reason = REASONS[via.proxy.program]["unreachable"]
    assert via.say("ask", Lab.UNREACHABLE[4], 80) == SAID[reason]
    assert via.failure(Lab.UNREACHABLE[4], 80) == reason


@through(OPEN_KINDS)
def test_a_silent_destination_times_out(via):
    said = via.say("ask", Lab.BLACKHOLE[4], 80, options=("--connect-timeout", "1s"))
    assert said == "silence"
    assert via.failure(Lab.BLACKHOLE[4], 80) == "timed_out"


def test_a_proxy_whose_certificate_nobody_vouches_for_is_not_used(lab):
    needs("haproxy", "tinyproxy")
    via = Via(lab, Kind(TlsTinyproxy, "https"))
    other = self_signed(lab.evil, Lab.LAN[4])
    lab.client.file("/etc/ssl/certs/ca-certificates.crt", other)
    server = TcpServer(lab.server, echo_bytes)
    assert via.say("ask", Lab.FAR[4], server.port) == "refused"
    assert via.failure(Lab.FAR[4], server.port) == "proxy_error"
    assert "ertificate" in via.log_text()
    assert not server.accepted


@through([Kind(Microsocks, "socks5")])
def test_a_proxy_that_is_not_there_is_named(via):
    via.proxy.process.kill()
    via.proxy.process.wait()
    assert via.say("ask", Lab.FAR[4], 80) == "refused"
    assert via.failure(Lab.FAR[4], 80) == "proxy_error"


@through([Kind(Dante, "socks4a")])
def test_socks4_carries_ipv4_and_refuses_ipv6(via):
    server = TcpServer(via.lab.server, echo_bytes)
    assert via.say("ask", Lab.FAR[4], server.port) == f"{Lab.FAR[4]} {server.port}"
    assert server.ended(1)[0].peer[0] == Lab.WAN[4]
    assert via.say("ask", Lab.FAR[6], server.port) == "reset"
    assert via.failure(Lab.FAR[6], server.port) == "unsupported"


@through([Kind(Microsocks, "socks5h"), Kind(Dante, "socks5h")])
def test_socks5h_lets_the_proxy_resolve_the_name(via):
    """The address that the client connects to leads nowhere; the name does, at the proxy."""
    needs("nginx", "curl")
    Nginx(via.lab.server)
    via.lab.gateway.file("/etc/hosts", f"127.0.0.1 localhost\n{Lab.FAR[4]} www.shunt.example\n")
    curl = ["curl", "-sS", "--max-time", "8", "--resolve",
            f"www.shunt.example:80:{Lab.UNREACHABLE[4]}", "http://www.shunt.example/small"]
    assert via.run(*curl).out == "small body\n"
    assert via.run(*curl, scheme="socks5", check=False).code != 0


UDP_ASK = """
import socket, sys
address, port = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(float(sys.argv[3]))
for word in (b"one", b"two", b"x" * 1200):
    sock.sendto(word, (address, port))
    try:
        answer, source = sock.recvfrom(2000)
        print(answer == word, source[0], source[1])
    except OSError as error:
        print("nothing")
"""


@through([Kind(Dante, "socks5"), Kind(Dante, "socks5", USER)])
@pytest.mark.parametrize("family, version", [(socket.AF_INET, 4), (socket.AF_INET6, 6)])
def test_datagrams_go_through_the_proxy_and_come_back_from_where_they_were_sent(via, family,
                                                                                version):
    echo = UdpEcho(via.lab.server, family=family)
    said = via.run(PYTHON, "-c", UDP_ASK, Lab.FAR[version], echo.port, 8).out.splitlines()
    assert said == [f"True {Lab.FAR[version]} {echo.port}"] * 3
    assert {peer[0] for _, peer in echo.received} == {Lab.WAN[version]}


@through([Kind(Dante, "socks5")])
def test_names_are_resolved_through_the_proxy(via):
    needs("dig", "dnsmasq")
    Dnsmasq(via.lab.server, {"www.shunt.example": [Lab.FAR[4], Lab.FAR[6]]})
    dig = ["dig", "+short", "+tries=1", "+time=8", f"@{Lab.FAR[4]}", "www.shunt.example"]
    assert via.run(*dig, "A").out == f"{Lab.FAR[4]}\n"
    assert via.run(*dig, "+tcp", "AAAA").out == f"{Lab.FAR[6]}\n"


@through([Kind(Tinyproxy, "http"), Kind(Microsocks, "socks5")])
def test_datagrams_never_pass_beside_a_proxy_that_carries_none(via):
    echo = UdpEcho(via.lab.server)
    said = via.run(PYTHON, "-c", UDP_ASK, Lab.FAR[4], echo.port, 0.5).out.splitlines()
    assert said == ["nothing"] * 3
    assert not echo.received


@through([Kind(Microsocks, "socks5"), Kind(Dante, "socks5", USER)])
def test_many_connections_in_a_row_stay_right(via):
    """Long enough for the probe for pipelining to have come to its verdict, and what follows it."""
    server = TcpServer(via.lab.server, echo_bytes)
    script = (f"for i in $(seq 30); do {PYTHON} -S {CLIENTS} ask {Lab.FAR[4]} {server.port} "
              "|| exit 1; done")
    assert via.run("sh", "-c", script).out.splitlines() == [f"{Lab.FAR[4]} {server.port}"] * 30


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", OPEN_KINDS, ids=str)
def test_a_gateway_sends_its_lan_through_a_proxy_elsewhere(lab, kind, version):
    proxy = kind.program(lab.evil, lab.evil.v4, kind.user, **(
        {"outside": "eth0"} if kind.program is Dante else {}))
    proxy.trusted_by(lab.gateway)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--via", proxy.url(kind.scheme))
    server = TcpServer(lab.server, echo_bytes)
    with lab.client.connect((Lab.FAR[version], server.port)) as sock:
        sock.sendall(b"hello")
        assert receive(sock, 5) == b"hello"
    assert server.ended(1)[0].peer[0] == lab.evil.address(version)
    assert gateway.stop() == 0


@pytest.mark.parametrize("family, version", [(socket.AF_INET, 4), (socket.AF_INET6, 6)])
def test_a_gateway_sends_its_lans_datagrams_through_a_proxy_elsewhere(lab, family, version):
    proxy = Dante(lab.evil, lab.evil.v4, outside="eth0")
    gateway = Gateway(lab.gateway, "-i", "lan0", "--via", proxy.url("socks5"))
    echo = UdpEcho(lab.server, family=family)
    said = lab.client.run([PYTHON, "-c", UDP_ASK, Lab.FAR[version], echo.port, 8]).out
    assert said.splitlines() == [f"True {Lab.FAR[version]} {echo.port}"] * 3
    assert {peer[0] for _, peer in echo.received} == {lab.evil.address(version)}
    assert gateway.stop() == 0


def test_a_session_ends_with_its_association(lab):
    """The next datagram then finds a proxy that was started anew."""
    proxy = Dante(lab.evil, lab.evil.v4, outside="eth0")
    gateway = Gateway(lab.gateway, "-i", "lan0", "--via", proxy.url("socks5"))
    echo = UdpEcho(lab.server)
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(8)
        for word in (b"before", b"after"):
            sock.sendto(word, (Lab.FAR[4], echo.port))
            assert sock.recv(100) == word
            if word == b"before":
                proxy.restart()
                gateway.wait_log(lambda entry: entry["event"] == "end"
                                 and entry["protocol"] == "udp")
    assert gateway.stop() == 0


@pytest.mark.parametrize("kind", [Kind(Tinyproxy, "http"), Kind(Microsocks, "socks5")], ids=str)
def test_a_gateways_datagrams_never_pass_beside_a_proxy_that_carries_none(lab, kind):
    proxy = kind.program(lab.evil, lab.evil.v4)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--via", proxy.url(kind.scheme))
    echo = UdpEcho(lab.server)
    said = lab.client.run([PYTHON, "-c", UDP_ASK, Lab.FAR[4], echo.port, 0.5]).out.splitlines()
    assert said == ["nothing"] * 3
    assert not echo.received
    assert gateway.stop() == 0


# A proxy on the captured machine itself.

LOOP = "round and round"


@pytest.mark.parametrize("address", ["127.0.0.1", Lab.WAN[4]], ids=["loopback", "own address"])
def test_a_proxy_whose_own_connections_would_be_captured_is_warned_of_with_the_fix(lab, address):
    needs_users()
    Microsocks(lab.gateway, address, run_as=UNPRIVILEGED)
    gateway = Gateway(lab.gateway, "--host", "--via", f"socks5://{address}:{Microsocks.port}")
    warning = next(line for line in gateway.lines if LOOP in line)
    assert "shunt: warning:" in warning
    fix = f"--exclude 'uid {UNPRIVILEGED}'"
    assert fix in warning
    assert gateway.stop() == 0
    # What it says is what helps.
    server = TcpServer(lab.server, echo_bytes)
    gateway = Gateway(lab.gateway, "--host", "--via", f"socks5://{address}:{Microsocks.port}",
                      *shlex.split(fix))
    assert not gateway.said(LOOP)
    with lab.gateway.connect((Lab.FAR[4], server.port)) as sock:
        sock.sendall(b"hello")
        assert receive(sock, 5) == b"hello"
    assert gateway.wait_log(lambda entry: entry["event"] == "end")["way_out"].startswith("socks5")
    assert len(server.ended(1)) == 1
    assert gateway.stop() == 0


DNS = ("--dns", "remote", "--dns-server", f"tcp://{Lab.FAR[4]}")


@pytest.mark.parametrize("rules, warned", [
    ([f"uid {UNPRIVILEGED} -> direct"], False),
    ([f"uid {UNPRIVILEGED + 1} -> via", f"uid {UNPRIVILEGED} -> direct"], False),
    (["host ads.example -> reject", f"uid {UNPRIVILEGED} -> direct"], False),
    ([f"port 80 uid {UNPRIVILEGED} -> direct"], True),
    (["port 80 -> via", f"uid {UNPRIVILEGED} -> direct"], True),
    ([f"uid {UNPRIVILEGED} -> direct else via"], True),
    ([f"not uid {UNPRIVILEGED} -> direct"], True),
], ids=lambda value: " + ".join(value) if isinstance(value, list) else str(value))
@pytest.mark.parametrize("dns", [(), DNS], ids=["plain", "dns"])
def test_a_proxy_whose_user_a_rule_sends_directly_is_not_warned_of(lab, dns, rules, warned):
    """Whether the kernel decides it, or with --dns the proxy."""
    needs_users()
    Microsocks(lab.gateway, "127.0.0.1", run_as=UNPRIVILEGED)
    gateway = Gateway(lab.gateway, "--host", "--via", f"socks5://127.0.0.1:{Microsocks.port}", *dns,
                      *map("--rule={}".format, rules))
    assert gateway.said(LOOP) == warned
    assert gateway.stop() == 0


def test_a_proxy_that_is_not_up_yet_is_warned_of_all_the_same(lab):
    gateway = Gateway(lab.gateway, "--host", "--via", "socks5://127.0.0.1:9")
    assert gateway.said(LOOP)
    assert gateway.stop() == 0


def test_a_proxy_elsewhere_or_without_host_is_not_warned_of(lab):
    for options in (("--host", "--via", f"socks5://{lab.server.v4}:9"),
                    ("-i", "lan0", "--via", "socks5://127.0.0.1:9")):
        gateway = Gateway(lab.gateway, *options)
        assert not gateway.said(LOOP)
        assert gateway.stop() == 0
