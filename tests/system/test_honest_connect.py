# SPDX-License-Identifier: GPL-2.0-only
"""A client is told what became of the connection to its server: not that shunt has accepted it."""
from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import peers
from clients import HALF_CLOSE_ANSWER
from netlab import Host, Lab, Result, bracketed, needs, wait_until
from proxies import Dante
from runners import Runner
from shunt import Gateway, flow_ends, shunt

HERE = Path(__file__).resolve().parent
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
ANY_PROGRAM = ["forwarded", "own", "namespace-root", "namespace-user", "seccomp-root",
               "seccomp-user", "ptrace-root", "ptrace-user"]
PLACES = pytest.mark.parametrize("place", [*ANY_PROGRAM, "preload-root", "preload-user"])

# Destinations of the "far" network that fail, each in a way of its own.
NETWORK_UNREACHABLE = {4: "203.0.113.67", 6: "2001:db8:113::67"}  # the server says so
NO_NEIGHBOUR = {4: "198.51.100.99", 6: "2001:db8:100::99"}  # beside the server
UNREACHABLE_ROUTE = {4: "203.0.113.68", 6: "2001:db8:113::68"}  # where it is dialled
PROHIBITED_ROUTE = {4: "203.0.113.69", 6: "2001:db8:113::69"}
SECONDS = 4.5  # the kernel gives an absent neighbour up after 3

EXPECTED = {"open": "ok", "closed": "ECONNREFUSED", "host unreachable": "EHOSTUNREACH",
            "network unreachable": "ENETUNREACH", "no neighbour": "EHOSTUNREACH",
            "unreachable route": "EHOSTUNREACH", "prohibited route": "EHOSTUNREACH",
            "silent": "silence"}


def http_hello(client: socket.socket, record: peers.Accepted) -> None:
    client.recv(4096)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


class Place:
    """Where clients are, and what captures them."""

    def __init__(self, lab: Lab, place: str, *options: object) -> None:
        self.lab, self.place = lab, place
        self.client = lab.gateway if place == "own" else lab.client
        self.runner = None
        self.gateway = None
        self.options = options
        method, _, who = place.partition("-")
        if who:
            self.runner = Runner(lab.client, who)
            self.options = ("--method", method, *options)
        else:
            capture = ("--host",) if place == "own" else ("-i", "lan0")
            self.gateway = Gateway(lab.gateway, *capture, *options)

    @property
    def dialling(self) -> Host:
        """The host whose routes lead to the server."""
        return self.client if self.runner else self.lab.gateway

    def run(self, command: list[object], **run) -> Result:
        if self.runner:
            return self.runner.run([*self.options, *command], **run)
        return self.client.run(command, check=False, **run)

    def tool(self, path: Path | str) -> str:
        return self.client.install(path)

    def outcomes(self, targets: dict[str, tuple[str, int]], seconds: float = SECONDS) -> dict:
        words = [f"{name}={address}/{port}" for name, (address, port) in targets.items()]
        done = self.run(["/usr/bin/python3", self.tool(HERE / "outcomes.py"), seconds, *words],
                        timeout=60)
        assert done.ok, f"{done}\n{self.gateway}"
        return json.loads(done.out)


def fail_in_every_way(lab: Lab, dialling: Host) -> None:
    lab.server.ip(*(f"addr add {NETWORK_UNREACHABLE[version]}/{bits} dev lo"
                    for version, bits in ((4, 32), (6, 128))))
    lab.server.nft(
        "table inet unreachable { chain in { type filter hook input priority 0;"
        f" ip daddr {NETWORK_UNREACHABLE[4]} reject with icmp type net-unreachable;"
        f" ip6 daddr {NETWORK_UNREACHABLE[6]} reject with icmpv6 type no-route; }}; }}")
    dialling.ip(*(f"route add {kind} {addresses[version]}"
                  for kind, addresses in (("unreachable", UNREACHABLE_ROUTE),
                                          ("prohibit", PROHIBITED_ROUTE)) for version in (4, 6)))


def targets(version: int, open_port: int, closed_port: int) -> dict[str, tuple[str, int]]:
    return {"open": (Lab.FAR[version], open_port), "closed": (Lab.FAR[version], closed_port),
            "host unreachable": (Lab.UNREACHABLE[version], 80),
            "network unreachable": (NETWORK_UNREACHABLE[version], 80),
            "no neighbour": (NO_NEIGHBOUR[version], 80),
            "unreachable route": (UNREACHABLE_ROUTE[version], 80),
            "prohibited route": (PROHIBITED_ROUTE[version], 80),
            "silent": (Lab.BLACKHOLE[version], 80)}


def raise_icmp_limits(*hosts: Host) -> None:
    """A burst of errors is cut short by the kernel, whoever sends it."""
    for host in hosts:
        host.sysctl(net__ipv6__icmp__ratelimit=0, net__ipv4__icmp_ratelimit=0)


@VERSIONS
@PLACES
def test_a_client_is_told_the_true_outcome(lab, place, version):
    raise_icmp_limits(lab.gateway, lab.server)
    where = Place(lab, place)
    fail_in_every_way(lab, where.dialling)
    if "-" in place:  # under `run`: the server's neighbour is then the gateway's to miss
        no_neighbour = {4: "192.168.77.99", 6: "fd00:77::99"}[version]
    else:
        no_neighbour = NO_NEIGHBOUR[version]
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    wanted = targets(version, server.port, peers.free_port())
    wanted["no neighbour"] = (no_neighbour, 80)
    expected = dict(EXPECTED)
    if place == "own":  # the client's own kernel says so, before there is a SYN
        expected["prohibited route"] = "EACCES"
    said = where.outcomes(wanted)
    for how in ("blocking", "asyncio"):
        assert {name: outcome[how] for name, outcome in said.items()} == expected, \
            f"{how}: {said}\n{where.gateway}"
    assert said["closed"]["seconds"] < 2, said


@VERSIONS
@PLACES
def test_curl_tells_a_closed_port_from_silence(lab, place, version):
    where = Place(lab, place)
    server = peers.TcpServer(lab.server, http_hello)
    for port, address, code in ((server.port, Lab.FAR, 0), (peers.free_port(), Lab.FAR, 7),
                                (80, Lab.BLACKHOLE, 28)):
        done = where.run(["curl", "-s", "-o", "/dev/null", "--connect-timeout", "2", "--max-time",
                          "8", lab.url(address[version], port=port)])
        assert done.code == code, f"{done}\n{where.gateway}"


@pytest.fixture(scope="session")
def go_client(tmp_path_factory) -> Path:
    needs("go")
    made = tmp_path_factory.mktemp("go") / "client"
    environment = os.environ | {"CGO_ENABLED": "0", "GOPROXY": "off", "GO111MODULE": "off",
                                "GOCACHE": str(made.parent / "cache")}
    subprocess.run(["go", "build", "-o", made, HERE / "native" / "client.go"], check=True,
                   env=environment, timeout=300)
    return made


@pytest.mark.long
@VERSIONS
@pytest.mark.parametrize("place", ANY_PROGRAM)
def test_a_static_go_client_is_told_so_as_well(lab, place, version, go_client):
    where = Place(lab, place)
    client = where.tool(go_client)
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    far = bracketed(Lab.FAR[version])
    assert where.run([client, f"{far}:{server.port}", 20, 1000], timeout=30).out == "ok\n"
    refused = where.run([client, f"{far}:{peers.free_port()}", 1, 1])
    assert "connection refused" in refused.out, refused
    unreachable = where.run([client, f"{bracketed(Lab.UNREACHABLE[version])}:80", 1, 1])
    assert "no route to host" in unreachable.out, unreachable


def scan(client: Host, address: str, ports: str) -> dict[str, str]:
    family = ["-6"] if ":" in address else []
    done = client.run(["nmap", *family, "-sT", "-Pn", "-n", "-T4", "--max-retries", "1",
                       "--min-parallelism", "20", "-oG", "-", "-p", ports, address], timeout=60)
    line = next(line for line in done.out.splitlines() if "Ports: " in line)
    found = line.partition("Ports: ")[2].partition("\t")[0]
    return {entry.strip().split("/")[0]: entry.strip().split("/")[1] for entry in found.split(",")}


@VERSIONS
def test_a_port_scan_through_shunt_finds_what_one_without_it_finds(lab, version):
    needs("nmap")
    raise_icmp_limits(lab.gateway, lab.server)
    servers = [peers.TcpServer(lab.server, peers.echo_bytes) for _ in range(3)]
    filtered = peers.free_port()
    lab.server.nft("table inet filtered { chain in { type filter hook input priority 0;"
                   f" tcp dport {filtered} drop; }}; }}")
    first = servers[0].port
    ports = f"{first - 5}-{filtered + 20}"
    without = scan(lab.client, Lab.FAR[version], ports)
    assert set(without.values()) == {"open", "closed", "filtered"}, without
    gateway = Gateway(lab.gateway, "-i", "lan0")
    assert scan(lab.client, Lab.FAR[version], ports) == without, gateway


# How the life of a connection goes on.


@PLACES
def test_a_connection_carries_what_it_should(lab, place):
    """Held or not, the bytes of both directions and both ends arrive."""
    where = Place(lab, place)
    server = peers.TcpServer(lab.server, peers.digest_after_eof)
    clients = where.tool(HERE / "clients.py")
    for version in (4, 6):
        done = where.run(["/usr/bin/python3", clients, "half_close", Lab.FAR[version],
                          server.port])
        assert done.out.strip() == HALF_CLOSE_ANSWER, f"{done}\n{where.gateway}"


def test_a_refused_connection_is_logged_once(lab):
    gateway = Gateway(lab.gateway, "-i", "lan0")
    port = peers.free_port()
    with pytest.raises(ConnectionRefusedError):
        lab.client.connect((Lab.FAR[4], port))
    end = flow_ends(gateway.log_path, lambda end: end.destination[1] == port)
    assert (end.reason, end.failure) == ("refused", "refused")
    assert end.source[0] == lab.client.v4
    assert sum(entry.get("destination_port") == port and entry["event"] == "end"
               for entry in gateway.log()) == 1


def test_rules_reject_and_drop_before_the_client_is_let_in(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    Gateway(lab.gateway, "-i", "lan0", "--rule", f"port {server.port} to {Lab.FAR[4]} -> reject",
            "--rule", f"port {server.port} -> drop")
    with pytest.raises(ConnectionRefusedError):
        lab.client.connect((Lab.FAR[4], server.port))
    with pytest.raises(TimeoutError):
        lab.client.connect((Lab.FAR[6], server.port), timeout=1.5)
    assert server.accepted == []


def test_what_needs_a_name_is_let_in_first(lab):
    port = peers.free_port()
    gateway = Gateway(lab.gateway, "-i", "lan0", "--rule", "host ads.example -> reject")
    with lab.client.connect((Lab.FAR[4], port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: www.example\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    flow_ends(gateway.log_path, lambda end: end.destination[1] == port and end.failure == "refused")


@pytest.mark.parametrize("options", [("--connect", "early"),
                                     ("--rule", "-> direct connect early")])
def test_who_wants_it_is_let_in_early(lab, options):
    port = peers.free_port()
    Gateway(lab.gateway, "-i", "lan0", *(f"{options[0]}={options[1]}",))
    with pytest.raises(ConnectionResetError):
        with lab.client.connect((Lab.FAR[4], port)) as sock:
            sock.recv(1)


def test_a_proxys_reply_is_the_outcome(lab):
    proxy = Dante(lab.server, Lab.FAR[4], outside="eth0")
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--via", proxy.url("socks5"))
    with lab.client.connect((lab.server.v4, server.port)) as sock:
        sock.sendall(b"question")
        assert peers.receive(sock, 8) == b"question"
    with pytest.raises(ConnectionRefusedError):
        lab.client.connect((lab.server.v4, peers.free_port()))
    flow_ends(gateway.log_path, lambda end: end.failure == "refused")


# Repeated, abandoned and frozen.


def test_a_client_that_gave_up_costs_its_upstream_ten_seconds_at_most(lab):
    """The server answers slowly; by then the client has closed its socket, which nobody can see."""
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    slow = slow_answers(lab, server.port)
    gateway = Gateway(lab.gateway, "-i", "lan0")
    sock = lab.client.socket()
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect((Lab.FAR[4], server.port))
    gateway.wait_log(lambda entry: entry["event"] == "start", what="the flow begins")
    sock.close()
    slow()
    end = flow_ends(gateway.log_path, lambda end: end.failure == "client_gone", timeout=25)
    assert 9_000 <= end.entry["elapsed_ms"] <= 20_000


def slow_answers(lab: Lab, port: int) -> Callable[[], None]:
    """The server's SYN-ACKs are dropped until the function is called."""
    lab.server.nft("table inet slow { chain out { type filter hook output priority 0;"
                   f" tcp sport {port} tcp flags syn drop; }}; }}")
    return lambda: lab.server.nft("delete table inet slow")


class CountedSyns:
    """How many SYNs to a port come in from the LAN, before anything holds them."""

    def __init__(self, host: Host, port: int) -> None:
        self.host = host
        host.nft("table inet syns { chain in { type filter hook prerouting priority -300;"
                 f" iifname lan0 tcp dport {port} tcp flags & (syn | ack) == syn counter; }}; }}")

    def packets(self) -> int:
        words = self.host.run(["nft", "list", "table", "inet", "syns"]).out.split()
        return int(words[words.index("packets") + 1])


def test_repeated_syns_are_one_flow(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    slow = slow_answers(lab, server.port)
    syns = CountedSyns(lab.gateway, server.port)
    gateway = Gateway(lab.gateway, "-i", "lan0")
    with lab.client.socket() as sock:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect((Lab.FAR[4], server.port))
        wait_until(lambda: syns.packets() >= 3, "the client repeats its SYN after 1 and 3 seconds")
        slow()
        _, writable, _ = select.select([], [sock], [], 10)
        assert writable and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0, gateway
        sock.setblocking(True)
        sock.settimeout(5)
        sock.sendall(b"question")
        assert peers.receive(sock, 8) == b"question"
    starts = [entry for entry in gateway.log() if entry["event"] == "start"]
    assert len(starts) == 1, starts


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_a_death_with_clients_held_leaves_them_to_on_exit(lab, closed):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    slow = slow_answers(lab, server.port)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--on-exit", "closed" if closed else "open")
    with lab.client.socket() as sock:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect((Lab.FAR[4], server.port))
        gateway.wait_log(lambda entry: entry["event"] == "start", what="the flow begins")
        gateway.kill()
        slow()
        _, writable, _ = select.select([], [sock], [], 3 if closed else 10)
        assert bool(writable) != closed
        if not closed:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            wait_until(lambda: server.accepted, "the connection arrives")
            assert server.accepted[-1].peer[0] == lab.client.v4, "directly"
    shunt(lab.gateway, "down")


def test_a_frozen_shunt_goes_on_where_it_was(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0")
    gateway.send_signal(signal.SIGSTOP)
    sockets = [lab.client.socket() for _ in range(50)]
    for sock in sockets:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect((Lab.FAR[4], server.port))
    with lab.client.connect((lab.gateway.v4, gateway_service(lab).port)) as sock:  # not captured
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    gateway.send_signal(signal.SIGCONT)
    for sock in sockets:
        sock.setblocking(True)
        sock.settimeout(10)
        wait_until(lambda: select.select([], [sock], [], 0)[1], "it is connected")
        sock.sendall(b"question")
        assert peers.receive(sock, 8) == b"question"
        sock.close()


def gateway_service(lab: Lab) -> peers.TcpServer:
    return peers.TcpServer(lab.gateway, peers.echo_bytes)


# What is said about it.


def test_doctor_says_whether_clients_can_be_held(lab):
    said = shunt(lab.client, "doctor", check=False).out
    assert "honest-connect: clients wait until their server has answered" in said


def test_the_plan_shows_the_queues(lab):
    said = shunt(lab.gateway, "plan", "gateway", "-i", "lan0").out
    assert "chain hold_0" in said and "queue num" in said
    early = shunt(lab.gateway, "plan", "gateway", "-i", "lan0", "--connect", "early").out
    assert "hold" not in early


def test_explain_says_when_a_client_is_let_in(lab):
    def client(*rules: str, port: int = 443) -> str:
        words = [word for rule in rules for word in ("--rule", rule)]
        config = lab.gateway.outside("/run/explain.toml")
        config.write_text('version = 1\n[capture]\nlan = ["lan0"]\n')
        said = shunt(lab.gateway, "explain", "-c", "/run/explain.toml", "--client", lab.client.v4,
                     "--in", "lan0", *words, f"{Lab.FAR[4]}:{port}").out
        return next(line for line in said.splitlines() if line.startswith("client"))
    assert "waits until its server has answered" in client()
    assert "is let in first: its first bytes are asked for" in client("host a.example -> reject")
    assert "is let in first: the rule says so" in client("not port 1 -> direct connect early")
    assert "waits until its server" in client("host a.example -> reject", port=22)
    assert "is refused" in client("not port 1 -> reject")
    assert "is told nothing" in client("not port 1 -> drop")


def test_others_queues_are_left_alone(lab):
    """Somebody reads the very queues that shunt would take first."""
    other = lab.gateway.spawn([sys.executable, "-c", TAKE_QUEUE], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"taken\n"
    assert "others read the packet queues" in shunt(lab.gateway, "doctor", check=False).out
    Gateway(lab.gateway, "-i", "lan0")
    with pytest.raises(ConnectionRefusedError):
        lab.client.connect((Lab.FAR[4], peers.free_port()))
    other.stdin.close()
    other.wait()


# NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG with NFQA_CFG_CMD: bind.
TAKE_QUEUE = """
import socket, struct, sys
sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
sock.bind((0, 0))
for number in range(0x5300, 0x5304):
    attribute = struct.pack("=HHBBH", 8, 1, 1, 0, 0)
    body = struct.pack("=BB", 0, 0) + struct.pack(">H", number) + attribute
    sock.send(struct.pack("=IHHII", 16 + len(body), 0x302, 5, 1, 0) + body)
    assert struct.unpack_from("=i", sock.recv(4096), 16)[0] == 0
print("taken", flush=True)
sys.stdin.read()
"""
