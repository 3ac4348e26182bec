# SPDX-License-Identifier: GPL-2.0-only
"""UDP through the gateway and through `run`: DNS, QUIC, and what a datagram may rely on."""
from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import subprocess
import time

import pytest

from daemons import Dnsmasq
from leaks import open_descriptors
from netlab import DEADLINE, Host, Lab, needs, wait_until
from peers import TcpServer, UdpEcho, echo_bytes, free_port
from shunt import Gateway, shunt
from test_serve import Serve, configure

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
HEADERS = {4: 28, 6: 48}  # IP and UDP
UDP_SEGMENT = 103  # linux/udp.h
# Level, IP_MTU_DISCOVER, IP_RECVERR (linux/in.h, linux/in6.h).
PATH_OPTIONS = {4: (socket.IPPROTO_IP, 10, 11), 6: (socket.IPPROTO_IPV6, 23, 25)}
PMTUDISC_PROBE = 3
versions = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def captured(module_lab):
    """A lab whose gateway captures the LAN and its own traffic."""
    gateway = Gateway(module_lab.gateway, "-i", "lan0", "--host")
    yield module_lab
    assert gateway.stop() == 0, str(gateway)


NAMES = {"www.shunt.example": ["192.0.2.80"]}


@pytest.fixture(scope="module")
def resolver(captured):
    """A dnsmasq on the server."""
    needs("dnsmasq")
    return Dnsmasq(captured.server, NAMES)


def client_socket(host: Host, version: int, connect: tuple | None = None) -> socket.socket:
    sock = host.socket(FAMILY[version], socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    if connect is not None:
        sock.connect(connect)
    return sock


def query(number: int, name: str) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", number & 0xFFFF, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def answered(sock: socket.socket, number: int, name: str) -> bool:
    """Asks for an A record; true for an answer that holds one."""
    asked = query(number, name)
    sock.send(asked)
    answer = sock.recv(2000)
    return answer[:2] == asked[:2] and answer[3] & 15 == 0 and len(answer) > len(asked)


@versions
def test_reply_comes_from_where_the_client_sent_to(captured, version):
    echo = UdpEcho(captured.server, family=FAMILY[version])
    with client_socket(captured.client, version) as sock:
        for text in (b"one", b"two", b"three"):
            sock.sendto(text, (Lab.FAR[version], echo.port))
            data, source = sock.recvfrom(100)
            assert (data, source[:2]) == (text, (Lab.FAR[version], echo.port))
    assert {peer[0] for _, peer in echo.received} == {Lab.WAN[version]}, "it went past the proxy"


@versions
def test_the_gateways_own_datagrams_are_carried_too(captured, version):
    echo = UdpEcho(captured.server, family=FAMILY[version])
    with client_socket(captured.gateway, version, (Lab.FAR[version], echo.port)) as sock:
        sock.send(b"own")
        assert sock.recv(100) == b"own"


@versions
def test_datagrams_of_every_size_pass_whole(captured, version):
    echo = UdpEcho(captured.server, family=FAMILY[version])
    with client_socket(captured.client, version, (Lab.FAR[version], echo.port)) as sock:
        for size in (0, 1, 1472, 1473, 9000, 65_507):
            payload = os.urandom(size)
            sock.send(payload)
            assert sock.recv(70_000) == payload


@versions
def test_a_client_goes_on_through_the_proxy_after_a_train_of_replies(captured, version):
    """Trains are answered from a socket bound to the destination, which must not take over what
    the client sends next."""
    echo = UdpEcho(captured.server, family=FAMILY[version])
    with client_socket(captured.client, version, (Lab.FAR[version], echo.port)) as sock:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1200)
        for _ in range(5):
            sock.send(os.urandom(1200 * 20))
            for _ in range(20):
                assert len(sock.recv(2000)) == 1200
        for number in range(50):
            sock.send(b"%d" % number)
            assert sock.recv(2000) == b"%d" % number
    assert {peer for _, peer in echo.received} == {echo.received[0][1]}, "one session, one source"


@versions
def test_closed_port_refuses_the_client_as_it_would_directly(captured, version):
    with client_socket(captured.client, version, (Lab.FAR[version], free_port())) as sock:
        sock.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)


@versions
def test_dig_is_answered(captured, resolver, version):
    needs("dig")
    done = captured.client.run(["dig", f"-{version}", "+time=5", "+tries=1", "+short",
                                f"@{Lab.FAR[version]}", "www.shunt.example", "A"])
    assert done.out.strip() == "192.0.2.80"


def ask_many(lab: Lab, version: int, count: int) -> int:
    socks = [client_socket(lab.client, version, (Lab.FAR[version], 53)) for _ in range(50)]
    good = sum(answered(socks[number % 50], number, "www.shunt.example")
               for number in range(count))
    for sock in socks:
        sock.close()
    return good


@versions
@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_every_query_is_answered_beside_a_local_resolver(captured, resolver, version, count):
    local = Dnsmasq(captured.gateway, {"gate.shunt.example": ["192.0.2.1"]})
    assert ask_many(captured, version, count) == count
    with client_socket(captured.client, version, (Lab.LAN[version], 53)) as sock:
        for number in range(100):
            assert answered(sock, number, "gate.shunt.example")
    local.process.kill()
    local.process.wait()


@versions
def test_daemon_that_shares_its_port_with_nobody_can_start_and_is_left_alone(
        captured, resolver, version):
    """One that binds the wildcard address without SO_REUSEADDR, while queries pass."""
    assert ask_many(captured, version, 100) == 100
    with client_socket(captured.gateway, version) as daemon:
        if version == 6:
            daemon.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        daemon.bind(("::" if version == 6 else "0.0.0.0", 53))
        assert ask_many(captured, version, 300) == 300
        daemon.setblocking(False)
        with pytest.raises(BlockingIOError):
            daemon.recv(100)
        daemon.settimeout(DEADLINE)
        with client_socket(captured.client, version, (Lab.LAN[version], 53)) as sock:
            sock.send(b"yours")
            data, peer = daemon.recvfrom(100)
            daemon.sendto(data, peer)
            assert sock.recv(100) == b"yours"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quic")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", folder / "key", "-out", folder / "cert"],
                   check=True, capture_output=True)
    (folder / "files").mkdir()
    (folder / "files" / "body").write_bytes(os.urandom(4 << 20))
    return folder


@versions
def test_http3_download_is_whole(captured, version, certificate, tmp_path):
    needs("gtlsclient", "gtlsserver", "openssl")
    port = free_port()
    server = captured.server.spawn(
        ["gtlsserver", "-q", "--no-quic-dump", "--no-http-dump", "-d", certificate / "files",
         Lab.FAR[version], port, certificate / "key", certificate / "cert"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: udp_bound(captured.server, port), "the QUIC server listens")
    captured.client.run(
        ["gtlsclient", "-q", "--no-quic-dump", "--no-http-dump", "--exit-on-all-streams-close",
         f"--download={tmp_path}", Lab.FAR[version], port, "https://localhost/body"], timeout=60)
    assert (tmp_path / "body").read_bytes() == (certificate / "files" / "body").read_bytes()
    server.kill()


def udp_bound(host: Host, port: int) -> bool:
    with host.entered():
        for table in ("udp", "udp6"):
            with open(f"/proc/thread-self/net/{table}") as lines:
                if any(int(line.split()[1].rsplit(":", 1)[1], 16) == port
                       for line in list(lines)[1:]):
                    return True
    return False


@versions
def test_quic_learns_the_paths_mtu_and_other_datagrams_are_fragmented(lab, version):
    lab.gateway.ip("link set wan0 mtu 1400")
    lab.server.ip("link set eth0 mtu 1400")
    gateway = Gateway(lab.gateway, "-i", "lan0")
    echo = UdpEcho(lab.server, family=FAMILY[version])
    level, discover, receive_errors = PATH_OPTIONS[version]
    too_long, fitting = bytes(1500 - HEADERS[version]), bytes(1400 - HEADERS[version])
    with client_socket(lab.client, version, (Lab.FAR[version], echo.port)) as sock:
        sock.setsockopt(level, discover, PMTUDISC_PROBE)
        sock.setsockopt(level, receive_errors, 1)
        initial = b"\xc3\0\0\0\1" + bytes(1195)  # QUIC version 1, long header
        sock.send(initial)
        assert sock.recv(2000) == initial
        sock.send(too_long)
        with pytest.raises(OSError) as told:
            sock.recv(2000)
        assert told.value.errno == errno.EMSGSIZE
        sock.recvmsg(2000, 512, socket.MSG_ERRQUEUE)
        sock.send(fitting)
        assert sock.recv(2000) == fitting
    with client_socket(lab.client, version, (Lab.FAR[version], echo.port)) as sock:
        sock.send(too_long)
        assert sock.recv(2000) == too_long
    assert gateway.stop() == 0


@versions
def test_datagrams_sent_at_the_gateway_itself_go_nowhere(captured, version):
    """From the LAN and from beside it, to every port that shunt listens on."""
    ports = {int(line.split()[3].rsplit(":", 1)[1]) for line in captured.gateway.run(
        ["ss", "-Hlun"]).out.splitlines()}
    assert ports
    for host, address in ((captured.client, Lab.LAN[version]),
                          (captured.evil, {4: "192.0.2.1", 6: "2001:db8:2::1"}[version])):
        for port in ports - {53}:
            with client_socket(host, version, (address, port)) as sock:
                sock.settimeout(0.1)
                sock.send(b"open proxy?")
                with pytest.raises((TimeoutError, ConnectionRefusedError)):
                    sock.recv(100)


def test_sessions_are_counted_and_logged_once(lab):
    gateway = Gateway(lab.gateway, "-i", "lan0")
    echo = UdpEcho(lab.server)
    with client_socket(lab.client, 4, (Lab.FAR[4], echo.port)) as sock:
        for _ in range(10):
            sock.send(b"12345")
            assert sock.recv(100) == b"12345"
        port = sock.getsockname()[1]
    assert gateway.stop() == 0
    ends = [entry for entry in gateway.log()
            if entry["event"] == "end" and entry["client_port"] == port]
    assert len(ends) == 1
    end = ends[0]
    assert (end["protocol"], end["destination"], end["destination_port"]) == (
        "udp", Lab.FAR[4], echo.port)
    assert (end["datagrams_up"], end["datagrams_down"]) == (10, 10)
    assert (end["bytes_up"], end["bytes_down"]) == (50, 50)


@versions
def test_way_out_without_udp_refuses_instead_of_leaking(lab, version):
    gateway = Gateway(lab.gateway, "-i", "lan0", "--via", "http://198.51.100.2:3128")
    echo = UdpEcho(lab.server, family=FAMILY[version])
    with client_socket(lab.client, version, (Lab.FAR[version], echo.port)) as sock:
        sock.send(b"past the proxy?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)
    assert echo.received == []
    end = gateway.wait_log(lambda e: e["event"] == "end" and e["protocol"] == "udp")
    assert (end["reason"], end["failure"]) == ("refused", "unsupported")
    assert gateway.stop() == 0


def descriptor_count(pid: int) -> int:
    return len(open_descriptors(pid))


@pytest.mark.parametrize("ports, rounds, to_the_end", [
    (200, 3, False), pytest.param(4000, 5, True, marks=pytest.mark.long)])
def test_tuples_without_end_cost_bounded_memory_and_no_descriptor(lab, ports, rounds, to_the_end):
    """50 sockets send to so many ports, again and again: in the long run 200,000 (client,
    destination) pairs in a million datagrams (reliability row 7)."""
    # Lines that wait for a slow reader of the log have a bound of their own.
    gateway = Gateway(lab.gateway, "-i", "lan0", "--log-to", "/dev/null", json_log=False)
    echo, web = UdpEcho(lab.server), TcpServer(lab.server, echo_bytes)
    descriptors, before = descriptor_count(gateway.pid), resident_bytes(gateway.pid)
    socks = [client_socket(lab.client, 4) for _ in range(50)]
    grown = []
    for _ in range(rounds):
        for port in range(30_000, 30_000 + ports):
            for sock in socks:
                with contextlib.suppress(OSError):  # ICMP's port unreachable
                    sock.sendto(b"f" * 32, (Lab.FAR[4], port))
        with lab.client.connect((Lab.FAR[4], web.port)) as tcp:
            tcp.sendall(b"and TCP?")
            assert tcp.recv(100) == b"and TCP?"
        with client_socket(lab.client, 4, (Lab.FAR[4], echo.port)) as sock:
            sock.send(b"still there")
            assert sock.recv(100) == b"still there"
        grown.append(resident_bytes(gateway.pid) - before)
        assert descriptor_count(gateway.pid) - descriptors < len(socks) + rounds + 10
    assert grown[-1] < 64 << 20
    assert grown[-1] - grown[0] < 4 << 20, f"not flat: {grown}"
    for sock in socks:
        sock.close()
    if to_the_end:
        # What workers keep once they have it: raw sockets for replies, pipes.
        wait_until(lambda: descriptor_count(gateway.pid) - descriptors <= 10,
                   "everything times out", timeout=400)
    assert gateway.stop() == 0


def test_every_descriptor_comes_back_after_the_timeouts(lab):
    configure(lab, [], more='[udp]\ntimeout = "500ms"\nanswered-timeout = "500ms"\n'
                            'mapping-timeout = "500ms"\n')
    serve = Serve(lab)
    echo = UdpEcho(lab.server)

    def descriptors_after_load() -> int:
        socks = [client_socket(lab.client, 4) for _ in range(50)]
        before = descriptor_count(serve.pid)
        for sock in socks:
            sock.sendto(b"whole", (Lab.FAR[4], echo.port))
            assert sock.recv(100) == b"whole"
            for port in range(30_000, 30_010):
                with contextlib.suppress(OSError):  # ICMP's port unreachable
                    sock.sendto(b"f", (Lab.FAR[4], port))
        assert descriptor_count(serve.pid) > before
        for sock in socks:
            sock.close()
        steady = [0] * 8

        def settled() -> bool:
            steady.append(descriptor_count(serve.pid))
            time.sleep(0.1)
            return len(set(steady[-8:])) == 1 and steady[-1] < before + 50
        wait_until(settled, "the mappings end", timeout=20)
        return steady[-1]

    first = descriptors_after_load()  # with what workers keep once they have it
    for _ in range(3):
        assert descriptors_after_load() <= first
    assert serve.stop() == 0


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as fields:
        return int(fields.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@versions
def test_run_carries_dns_of_its_command(lab, version):
    needs("dig", "dnsmasq")
    Dnsmasq(lab.server, NAMES)
    done = shunt(lab.gateway, "run", "--", "dig", f"-{version}", "+time=5", "+tries=1", "+short",
                 f"@{Lab.FAR[version]}", "www.shunt.example", "A", timeout=60)
    assert done.out.strip() == "192.0.2.80"


CLOSED_PORT = """
import socket, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(20)
sock.connect((sys.argv[1], int(sys.argv[2])))
sock.send(b"anybody?")
try:
    sock.recv(100)
except ConnectionRefusedError:
    print("refused")
"""


@versions
def test_run_tells_its_command_of_a_closed_port(lab, version):
    # Linux tells one host of six closed ports at once, then of one a second (icmp(7)): the server
    # shall not be the one to keep silent.
    lab.server.sysctl(net__ipv4__icmp_ratelimit=0, net__ipv6__icmp__ratelimit=0)
    done = shunt(lab.gateway, "run", "--", "/usr/bin/python3", "-c", CLOSED_PORT, Lab.FAR[version],
                 free_port(), timeout=60)
    assert done.out.strip() == "refused"
