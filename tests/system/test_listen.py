# SPDX-License-Identifier: GPL-2.0-only
"""Plain listeners, [listen.NAME], and the PROXY headers that proxies in front of shunt send there:
real haproxy and nginx as senders and receivers, and peers that break the rules.

shunt runs on the gateway. The trusted proxies are those of evil's network (dmz0), clients are the
client's (lan0), the upstream is the server.
"""
from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
import zlib

import pytest

from daemons import listening
from netlab import Lab, needs, wait_until
from peers import TcpServer, UdpEcho, banner, echo_bytes, receive
from proxies import self_signed
from shunt import ROOT, Process, read_log, shunt

CONFIG = "/run/shunt.toml"
LOG = "/run/traffic.json"
DMZ = {4: "192.0.2.1", 6: "2001:db8:2::1"}  # the gateway as the proxies know it
TRUSTED = '["192.0.2.0/24", "2001:db8:2::/64"]'
PORT = 8443
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Serve(Process):
    """`shunt serve` with one listener and nothing captured."""

    def __init__(self, lab: Lab, listen: str, rules: str = "", more: str = "",
                 wait: bool = True) -> None:
        self.lab = lab
        lab.gateway.outside(CONFIG).write_text(
            f'version = 1\n[log]\nformat = "json"\nto = "{LOG}"\n[listen.web]\n{listen}\n{more}\n'
            f"[rules]\nmatch = [{rules}]\n")
        super().__init__(lab.gateway, "serve", "-c", CONFIG, json_log=False)
        if wait:
            self.wait_ready()

    def log(self) -> list[dict]:
        return read_log(self.lab.gateway.outside(LOG))


def v1(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    family = "TCP6" if ":" in source[0] else "TCP4"
    return (f"PROXY {family} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n"
            .encode())


def v2(source: tuple[str, int], destination: tuple[str, int], tlvs: bytes = b"",
       udp: bool = False, command: int = 0x21) -> bytes:
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    body = b"".join(socket.inet_pton(family, address) for address, _ in (source, destination))
    body += struct.pack(">HH", source[1], destination[1]) + tlvs
    kind = (0x20 if family == socket.AF_INET6 else 0x10) | (2 if udp else 1)
    return SIGNATURE + struct.pack(">BBH", command, kind, len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def expect_reset(sock: socket.socket) -> None:
    with pytest.raises(ConnectionResetError):
        while sock.recv(4096):
            pass
        raise AssertionError("an orderly end")


def expect_echo(sock: socket.socket, text: bytes = b"hello") -> None:
    sock.sendall(text)
    assert receive(sock, len(text)) == text


@pytest.mark.parametrize("version", [4, 6])
def test_a_plain_listener_leads_where_it_says(lab, version):
    server = TcpServer(lab.server, echo_bytes)
    far = endpoint(Lab.FAR[version], server.port)
    serve = Serve(lab, f'address = "{endpoint(Lab.LAN[version], PORT)}"\nto = "{far}"')
    with lab.client.connect((Lab.LAN[version], PORT)) as sock:
        expect_echo(sock)
    start = serve.wait_log(lambda entry: entry["event"] == "start")
    assert start["capture"] == "listener" and start["listener"] == "web"
    assert start["destination"] == Lab.FAR[version] and "proxy" not in start
    end = serve.wait_log(lambda entry: entry["event"] == "end")
    assert (end["bytes_up"], end["bytes_down"]) == (5, 5)
    assert "inet shunt" not in lab.gateway.run(["nft", "list", "tables"]).out
    assert serve.stop() == 0


def test_a_wildcard_listener_takes_both_families_and_several_addresses(lab):
    server = TcpServer(lab.server, echo_bytes)
    Serve(lab, f'address = ["[::]:{PORT}", "{Lab.LAN[4]}:{PORT + 1}"]\n'
               f'to = "{Lab.FAR[4]}:{server.port}"')
    for where in ((Lab.LAN[4], PORT), (Lab.LAN[6], PORT), (Lab.LAN[4], PORT + 1)):
        with lab.client.connect(where) as sock:
            expect_echo(sock)


def test_a_server_that_speaks_first_does_so(lab):
    server = TcpServer(lab.server, banner)
    Serve(lab, f'address = "{Lab.LAN[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"')
    with lab.client.connect((Lab.LAN[4], PORT)) as sock:
        assert sock.recv(100)


class Haproxy:
    """Between clients and shunt, on evil's port 7000; says what it is told to."""

    def __init__(self, lab: Lab, options: str) -> None:
        needs("haproxy")
        lab.evil.outside("/run/front.cfg").write_text(
            "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
            "listen front\n mode tcp\n bind :::7000 v4v6\n unique-id-format shunt-%rt\n"
            f" server shunt {DMZ[4]}:{PORT} {options}\n")
        lab.evil.spawn(["haproxy", "-db", "-q", "-f", "/run/front.cfg"])
        wait_until(lambda: listening(lab.evil, 7000), "haproxy")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("options", [
    "send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
def test_haproxy_says_who_the_client_is(lab, options, version):
    server = TcpServer(lab.server, echo_bytes)
    serve = Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"\n'
                       f"accept-proxy = {TRUSTED}")
    Haproxy(lab, options)
    with lab.client.connect((lab.evil.address(version), 7000)) as sock:
        expect_echo(sock)
        mine = sock.getsockname()
    start = serve.wait_log(lambda entry: entry["event"] == "start")
    assert (start["client"], start["client_port"]) == mine[:2]
    assert start["proxy"] == lab.evil.v4
    assert start["destination"] == Lab.FAR[4]
    assert start.get("unique_id", "").startswith("shunt-") == ("unique-id" in options)


def test_nginx_says_who_the_client_is(lab):
    needs("nginx")
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"
    lab.evil.outside("/run/nginx").mkdir()
    lab.evil.outside("/run/nginx/conf").write_text(
        f"load_module {module};\ndaemon off; user root; pid /run/nginx/pid;\n"
        "error_log /run/nginx/error.log;\nevents {}\nstream { server { listen 7000;\n"
        f"proxy_protocol on; proxy_pass {DMZ[4]}:{PORT}; }} }}\n")
    server = TcpServer(lab.server, echo_bytes)
    serve = Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"\n'
                       f"accept-proxy = {TRUSTED}")
    lab.evil.spawn(["nginx", "-c", "/run/nginx/conf", "-p", "/run/nginx",
                    "-e", "/run/nginx/error.log"])
    wait_until(lambda: listening(lab.evil, 7000), "nginx")
    with lab.client.connect((lab.evil.v4, 7000)) as sock:
        expect_echo(sock)
        mine = sock.getsockname()
    start = serve.wait_log(lambda entry: entry["event"] == "start")
    assert (start["client"], start["client_port"]) == mine
    assert serve.stop() == 0


def test_haproxy_checks_its_server_by_local_connections(lab):
    """The LOCAL command: the connection's own addresses count."""
    server = TcpServer(lab.server, echo_bytes)
    serve = Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"\n'
                       f"accept-proxy = {TRUSTED}")
    Haproxy(lab, "send-proxy-v2 check inter 200ms check-send-proxy")
    start = serve.wait_log(lambda entry: entry["event"] == "start")
    assert start["client"] == lab.evil.v4 and "proxy" not in start


def test_what_a_header_said_is_said_on(lab):
    """From a PROXY header to a PROXY header: haproxy behind shunt sees the first client, where it
    meant to go, the name and the id."""
    needs("haproxy")
    lab.server.outside("/run/back.cfg").write_text(
        "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
        "frontend in\n mode http\n bind *:8001 accept-proxy\n"
        " http-request return status 200 content-type text/plain lf-string "
        "\"%[src]:%[src_port] %[dst]:%[dst_port] <%[fc_pp_authority]> <%[fc_pp_unique_id]>\"\n")
    lab.server.spawn(["haproxy", "-db", "-q", "-f", "/run/back.cfg"])
    wait_until(lambda: listening(lab.server, 8001), "haproxy")
    Serve(lab, f'address = "{DMZ[4]}:{PORT}"\naccept-proxy = {TRUSTED}',
          rules='"-> out"', more='[via.out]\nproxy-protocol = "v2"\n')
    header = v2(("203.0.113.50", 40000), (Lab.FAR[4], 8001),
                tlv(2, b"www.shunt.example") + tlv(5, b"id-of-old"))
    with lab.evil.connect((DMZ[4], PORT)) as sock:
        sock.sendall(header + b"GET / HTTP/1.0\r\n\r\n")
        said = b""
        while data := sock.recv(4096):
            said += data
    assert said.endswith(b"203.0.113.50:40000 203.0.113.10:8001 <www.shunt.example> <id-of-old>")


def tlvs_of(header: bytes) -> dict[int, bytes]:
    """Of version 2 over IPv4, by section 2.2 of proxy-protocol.txt."""
    assert header.startswith(SIGNATURE) and header[13] == 0x11
    end = 16 + int.from_bytes(header[14:16], "big")
    at, found = 16 + 12, {}
    while at < end:
        size = int.from_bytes(header[at + 1:at + 3], "big")
        found[header[at]] = header[at + 3:at + 3 + size]
        at += 3 + size
    assert at == end
    return found


def test_what_haproxy_says_of_tls_is_the_flows_name_and_goes_on(lab):
    """The name and the protocol that a TLS client asked haproxy for."""
    needs("haproxy")
    self_signed(lab.evil, lab.evil.v4)
    lab.evil.outside("/run/front.cfg").write_text(
        "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
        "listen front\n mode tcp\n bind *:7000 ssl crt /run/proxy.pem alpn h2,http/1.1\n"
        " unique-id-format shunt-test\n"
        f" server shunt {DMZ[4]}:{PORT} send-proxy-v2 "
        "proxy-v2-options authority,unique-id,crc32c,ssl\n")
    lab.evil.spawn(["haproxy", "-db", "-q", "-f", "/run/front.cfg"])
    wait_until(lambda: listening(lab.evil, 7000), "haproxy")

    def keep(client, record):
        record.bytes = b""
        while not record.bytes.endswith(b"payload"):
            record.bytes += client.recv(4096)
        client.sendall(b"answer")

    server = TcpServer(lab.server, keep)
    serve = Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"\n'
                       f"accept-proxy = {TRUSTED}",
                  rules='"host other.example -> reject", "-> out"',
                  more='[via.out]\nproxy-protocol = "v2"\n')
    context = ssl.create_default_context(cadata=lab.evil.outside("/run/proxy.crt").read_text())
    context.check_hostname = False
    context.set_alpn_protocols(["http/1.1"])
    with lab.client.connect((lab.evil.v4, 7000)) as sock:
        mine = sock.getsockname()
        with context.wrap_socket(sock, server_hostname="www.shunt.example") as tls:
            tls.sendall(b"payload")
            assert tls.recv(100) == b"answer"
    start = serve.wait_log(lambda entry: entry["event"] == "start")
    assert (start["client"], start["client_port"]) == mine
    assert (start["authority"], start["alpn"], start["unique_id"]) == (
        "www.shunt.example", "http/1.1", "shunt-test")
    end = wait_for_end(serve, 1)
    assert (end["host"], end["host_from"], end["rule"]) == ("www.shunt.example", "proxy", 2)
    said = tlvs_of(server.ended(1)[0].bytes)
    assert said.keys() == {1, 2, 3, 5}
    assert (said[1], said[2], said[5]) == (b"http/1.1", b"www.shunt.example", b"shunt-test")


@pytest.mark.parametrize("make", [v1, v2])
def test_a_header_may_come_in_any_pieces(lab, make):
    server = TcpServer(lab.server, echo_bytes)
    Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"\n'
               f"accept-proxy = {TRUSTED}")
    bytes_ = make(("203.0.113.50", 40000), ("198.51.100.7", 443)) + b"payload"
    for split in range(0, len(bytes_), 3):
        with lab.evil.connect((DMZ[4], PORT)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(bytes_[:split])
            sock.sendall(bytes_[split:])
            sock.shutdown(socket.SHUT_WR)
            said = b""
            while data := sock.recv(100):
                said += data
            assert said == b"payload"


BAD = {
    "something else": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "version 3": SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
    "oversize": SIGNATURE + b"\x21\x11\xff\xff",
    "too long a line": b"PROXY TCP4 " + b"1" * 200,
    "a wrong checksum": v2(("203.0.113.50", 1), ("203.0.113.9", 2), tlv(3, b"\1\2\3\4")),
    "half a TLV": v2(("203.0.113.50", 1), ("203.0.113.9", 2), b"\4\0"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_trusted_peer_without_a_good_header_is_reset(lab, what):
    server = TcpServer(lab.server, echo_bytes)
    serve = Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"\n'
                       f"accept-proxy = {TRUSTED}")
    with lab.evil.connect((DMZ[4], PORT)) as sock:
        mine = sock.getsockname()
        sock.sendall(BAD[what])
        expect_reset(sock)
    serve.wait_said(f"{mine[0]}:{mine[1]} refused at listen.web: ")
    end = serve.wait_log(lambda entry: entry["event"] == "end")
    assert end["failure"] == "bad_proxy_header" and end["client_port"] == mine[1]
    assert server.accepted == []


def test_a_trusted_peer_that_is_silent_or_closes_midway_holds_nobody_up(lab):
    server = TcpServer(lab.server, echo_bytes)
    serve = Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"\n'
                       f"accept-proxy = {TRUSTED}")
    silent, slow, midway = (lab.evil.connect((DMZ[4], PORT)) for _ in range(3))
    slow.sendall(b"PROXY TCP4 ")
    midway.sendall(SIGNATURE)
    midway.shutdown(socket.SHUT_WR)
    expect_reset(midway)
    with lab.evil.connect((DMZ[4], PORT)) as good:  # goes before those that wait
        good.sendall(v1(("203.0.113.50", 1), ("203.0.113.9", 2)))
        expect_echo(good)
    expect_reset(silent)
    expect_reset(slow)
    serve.wait_said("no whole PROXY header in 3.0 s")
    assert len(server.accepted) == 1


def test_a_stranger_who_sends_a_header_is_a_client_with_odd_bytes(lab):
    server = TcpServer(lab.server, echo_bytes)
    serve = Serve(lab, f'address = "{Lab.LAN[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"\n'
                       f"accept-proxy = {TRUSTED}")
    header = v1(("203.0.113.50", 1), ("203.0.113.9", 2))
    with lab.client.connect((Lab.LAN[4], PORT)) as sock:
        expect_echo(sock, header)
    start = serve.wait_log(lambda entry: entry["event"] == "start")
    assert start["client"] == lab.client.v4 and "proxy" not in start


@pytest.mark.parametrize("destination", [
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "192.0.2.1", "198.51.100.1", "192.168.77.1", "::1", "::",
    "2001:db8:2::1", "::ffff:127.0.0.1", "192.0.2.255"])
def test_a_header_does_not_lead_to_this_machine(lab, destination):
    """Row 9: neither to loopback, nor to own addresses, nor to the listener itself."""
    inner = TcpServer(lab.gateway, echo_bytes)
    serve = Serve(lab, f'address = "[::]:{PORT}"\naccept-proxy = {TRUSTED}')
    source = "2001:db8::50" if ":" in destination else "203.0.113.50"
    for port in (inner.port, PORT):
        with lab.evil.connect((DMZ[4], PORT)) as sock:
            sock.sendall(v2((source, 40000), (destination, port)) + b"x")
            expect_reset(sock)
    ends = [wait_for_end(serve, number) for number in (1, 2)]
    assert {end["failure"] for end in ends} == {"no_destination"}
    assert inner.accepted == []


def wait_for_end(serve: Serve, number: int) -> dict:
    def nth():
        ends = [entry for entry in serve.log() if entry["event"] == "end"]
        return ends[number - 1] if len(ends) >= number else None
    return wait_until(nth, f"{number} ends")


def test_where_nobody_says_where_to_go_nothing_is_dialled(lab):
    serve = Serve(lab, f'address = "[::]:{PORT}"\naccept-proxy = {TRUSTED}')
    with pytest.raises(ConnectionResetError), lab.client.connect((Lab.LAN[4], PORT)) as sock:
        sock.recv(1)  # where connect() itself was not too late
    with lab.evil.connect((DMZ[4], PORT)) as sock:
        sock.sendall(SIGNATURE + b"\x20\x00\x00\x00")
        expect_reset(sock)
    assert {wait_for_end(serve, n)["failure"] for n in (1, 2)} == {"no_destination"}


def test_a_way_out_that_leads_back_to_the_listener_ends_at_once(lab):
    """shunt -> haproxy that takes no header -> shunt: the sender is shunt's own socket's peer."""
    serve = Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nto = "{lab.evil.v4}:7000"\n'
                       f"accept-proxy = {TRUSTED}")
    Haproxy(lab, "send-proxy")
    with lab.evil.connect((DMZ[4], PORT)) as sock:
        sock.sendall(v1(("203.0.113.50", 1), ("203.0.113.9", 2)) + b"x")
        expect_reset_or_end(sock)
    serve.wait_log(lambda entry: entry.get("failure") == "loop")
    assert sum(entry["event"] == "start" for entry in serve.log()) <= 2


def expect_reset_or_end(sock: socket.socket) -> None:
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass


def test_rules_see_the_client_and_the_name_of_the_header(lab):
    server = TcpServer(lab.server, echo_bytes)
    serve = Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"\n'
                       f"accept-proxy = {TRUSTED}",
                  rules='"client 203.0.113.50 -> reject", "host bad.example -> reject"')
    anybody, whole = ("203.0.113.51", 1), ("203.0.113.9", 2)
    for header in (v1(("203.0.113.50", 1), whole),
                   v2(anybody, whole, tlv(2, b"Bad.Example."))):
        with lab.evil.connect((DMZ[4], PORT)) as sock:
            sock.sendall(header + b"hello")
            expect_reset(sock)
    with lab.evil.connect((DMZ[4], PORT)) as sock:
        sock.sendall(v2(anybody, whole, tlv(2, b"good.example")))
        expect_echo(sock)
    assert [wait_for_end(serve, n)["rule"] for n in (1, 2)] == [1, 2]


def test_no_byte_is_lost_in_bulk(lab):
    needs("haproxy")
    received = []

    def count(client, record):
        crc = total = 0
        while data := client.recv(1 << 16):
            crc, total = zlib.crc32(data, crc), total + len(data)
        received.append((total, crc))

    server = TcpServer(lab.server, count)
    Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"\n'
               f"accept-proxy = {TRUSTED}")
    Haproxy(lab, "send-proxy-v2")
    body = bytes(range(256)) * 32768
    with lab.client.connect((lab.evil.v4, 7000)) as sock:
        sock.sendall(body)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    assert wait_until(lambda: received, "the body")[0] == (len(body), zlib.crc32(body))


# UDP.


def udp_socket(host, family: int = socket.AF_INET) -> socket.socket:
    sock = host.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(10)
    return sock


@pytest.mark.parametrize("version", [4, 6])
def test_udp_goes_on_and_answers_come_from_where_it_was_sent(lab, version):
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    echo = UdpEcho(lab.server, family=family)
    serve = Serve(lab, f'address = "[::]:{PORT}"\nprotocol = "both"\n'
                       f'to = "{endpoint(Lab.FAR[version], echo.port)}"')
    sock = udp_socket(lab.client, family)
    for number in range(3):
        sock.sendto(b"%d" % number, (Lab.LAN[version], PORT))
        data, source = sock.recvfrom(100)
        assert (data, source[:2]) == (b"%d" % number, (Lab.LAN[version], PORT))
    start = serve.wait_log(lambda entry: entry["event"] == "start")
    assert (start["protocol"], start["capture"]) == ("udp", "listener")
    assert serve.stop() == 0
    end = next(entry for entry in serve.log() if entry["event"] == "end")
    assert (end["datagrams_up"], end["datagrams_down"]) == (3, 3)


def test_udp_clients_behind_one_proxy_are_told_apart(lab):
    echo = UdpEcho(lab.server)
    serve = Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nprotocol = "udp"\n'
                       f"accept-proxy = {TRUSTED}")
    sock = udp_socket(lab.evil)
    for number in (1, 2, 1):
        header = v2(("203.0.113.50", number), (Lab.FAR[4], echo.port), udp=True)
        sock.sendto(header + b"from %d" % number, (DMZ[4], PORT))
        assert sock.recvfrom(100) == (b"from %d" % number, (DMZ[4], PORT))
    assert len({peer for _, peer in echo.received}) == 2
    def starts() -> list[tuple[str, int]]:
        return [(entry["client"], entry["client_port"]) for entry in serve.log()
                if entry["event"] == "start"]
    wait_until(lambda: len(starts()) >= 2, "both sessions are in the log")
    assert starts() == [("203.0.113.50", 1), ("203.0.113.50", 2)]


def test_udp_without_a_good_header_goes_nowhere(lab):
    echo = UdpEcho(lab.server)
    serve = Serve(lab, f'address = "{DMZ[4]}:{PORT}"\nprotocol = "udp"\n'
                       f"accept-proxy = {TRUSTED}")
    sock = udp_socket(lab.evil)
    source, far = ("203.0.113.50", 1), (Lab.FAR[4], echo.port)
    for datagram in (b"no header", v1(source, far), v2(source, far, udp=True)[:-1],
                     v2(source, ("127.0.0.1", echo.port), udp=True),
                     SIGNATURE + b"\x20\x00\x00\x00"):
        sock.sendto(datagram, (DMZ[4], PORT))
    sock.sendto(v2(source, far, udp=True) + b"good", (DMZ[4], PORT))
    assert sock.recv(100) == b"good"
    assert [data for data, _ in echo.received] == [b"good"]
    serve.wait_said("refused at listen.web: no PROXY header")


# Around it.


def test_an_address_that_is_taken_is_one_clear_error(lab):
    taken = TcpServer(lab.gateway, echo_bytes)
    serve = Serve(lab, f'address = "{Lab.LAN[4]}:{taken.port}"\nto = "{Lab.FAR[4]}:1"', wait=False)
    assert serve.wait() == 7
    said = "\n".join(serve.lines)
    assert f'error[S056]: listener "web" cannot have {Lab.LAN[4]}:{taken.port}' in said
    assert f"--> {CONFIG}:6:11" in said


def test_a_listener_changes_only_with_a_restart(lab):
    serve = Serve(lab, f'address = "{Lab.LAN[4]}:{PORT}"\nto = "{Lab.FAR[4]}:1"')
    path = lab.gateway.outside(CONFIG)
    path.write_text(path.read_text().replace(f"{Lab.FAR[4]}:1", f"{Lab.FAR[4]}:2"))
    done = shunt(lab.gateway, "reload", check=False)
    assert done.code == 3 and "listen cannot be changed while shunt runs" in done.err
    assert serve.stop() == 0


def test_plan_check_and_explain_know_listeners(lab):
    lab.gateway.outside(CONFIG).write_text(
        f'version = 1\n[listen.web]\naddress = "{Lab.LAN[4]}:{PORT}"\nto = "{Lab.FAR[4]}:80"\n'
        'accept-proxy = "0.0.0.0/0"\n[rules]\nmatch = ["client 203.0.113.50 -> reject"]\n')
    done = shunt(lab.gateway, "check", CONFIG)
    assert "1 listener, 1 warning" in done.out
    assert 'listener "web" takes PROXY headers from 0.0.0.0/0' in done.err
    plan = shunt(lab.gateway, "plan", "serve", "-c", CONFIG).out
    assert f"# listens on {Lab.LAN[4]}:{PORT} (web): tcp, PROXY header from 0.0.0.0/0, " \
           f"to {Lab.FAR[4]}:80" in plan
    said = shunt(lab.gateway, "explain", "-c", CONFIG, "--listener", "web", "--client",
                 "203.0.113.50").out
    assert re.search(r"captured +yes: it arrives at the listener web", said)
    assert re.search(r"action +reject", said)


def test_a_listener_serves_beside_a_capture_and_drains(lab):
    server = TcpServer(lab.server, echo_bytes)
    lab.gateway.outside(CONFIG).write_text(
        f'version = 1\n[capture]\nlan = ["lan0"]\nmethod = "redirect"\n'
        f'[listen.web]\naddress = "{Lab.LAN[4]}:{PORT}"\nto = "{Lab.FAR[4]}:{server.port}"\n')
    serve = Process(lab.gateway, "serve", "-c", CONFIG, json_log=False)
    serve.wait_ready()
    direct = lab.client.connect((Lab.FAR[4], server.port))
    listened = lab.client.connect((Lab.LAN[4], PORT))
    for sock in (direct, listened):
        expect_echo(sock)
    stopping = threading.Thread(target=serve.stop)
    stopping.start()
    serve.wait_said("waiting for 2 connections")
    for sock in (direct, listened):
        expect_echo(sock)
        sock.close()
    stopping.join(10)
    assert not serve.running
    with pytest.raises(ConnectionRefusedError):
        lab.client.connect((Lab.LAN[4], PORT))


def test_the_example_runs(lab):
    """examples/listen_proxy_protocol.toml, with this network's addresses."""
    server = TcpServer(lab.server, echo_bytes)
    text = (ROOT / "examples" / "listen_proxy_protocol.toml").read_text()
    text = text.replace("192.0.2.10:8443", f"{DMZ[4]}:{PORT}")
    text = text.replace("192.0.2.0/28", "192.0.2.0/24")
    text = text.replace("10.0.0.5:443", f"{Lab.FAR[4]}:{server.port}")
    lab.gateway.outside(CONFIG).write_text(text)
    serve = Process(lab.gateway, "serve", "-c", CONFIG, json_log=False)
    serve.wait_ready()
    with lab.evil.connect((DMZ[4], PORT)) as sock:
        sock.sendall(v2(("203.0.113.50", 1), ("203.0.113.9", 443)))
        expect_echo(sock)
    assert serve.stop() == 0
