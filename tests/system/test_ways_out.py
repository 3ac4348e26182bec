# SPDX-License-Identifier: GPL-2.0-only
"""What a configuration may say of ways out, against real peers: chains and groups of proxies, and
PROXY headers as haproxy and nginx take and send them. tests/system/native/way_out.cc makes the
connections.

The peers are on the gateway and the server, the connections come from the client.
"""
from __future__ import annotations

import contextlib
import re

import pytest

from daemons import listening
from netlab import Host, Lab, Result, needs, wait_until
from peers import TcpServer
from proxies import PASSWORD, USER, Dante, Microsocks, Squid, Tinyproxy, TlsTinyproxy
from shunt import native

CLIENT = "192.0.2.10:40000"  # whom way_out pretends to carry


def way_out(lab: Lab, *words: object, input: bytes = b"", check: bool = True,
            host: str | None = None) -> Result:
    command = [native("way_out"), *words]
    if host is not None:
        command = ["env", f"WAY_OUT_HOST={host}", *command]
    return lab.client.run(command, input=input, check=check, timeout=30)


def secret(lab: Lab) -> str:
    path = lab.client.outside("/run/secret")
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return "/run/secret"


def answer(client, _record) -> None:
    """Sends what it was sent, once, and ends."""
    client.sendall(client.recv(100))


class Haproxy:
    """A real haproxy with one section of configuration."""

    def __init__(self, host: Host, port: int, text: str) -> None:
        needs("haproxy")
        path = f"/run/haproxy-{port}.cfg"
        host.outside(path).write_text(
            "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n" + text)
        self.process = host.spawn(["haproxy", "-db", "-f", path])
        wait_until(lambda: listening(host, port) or self.process.poll() is not None, "haproxy")
        assert self.process.poll() is None


def accepting(port: int) -> str:
    """haproxy takes a PROXY header and says what it learnt."""
    return (f"frontend in\n mode http\n bind *:{port} accept-proxy\n"
            " http-request return status 200 content-type text/plain lf-string "
            "\"%[src]:%[src_port] %[dst]:%[dst_port] <%[fc_pp_authority]> <%[fc_pp_unique_id]>\"\n")


ASK = b"GET / HTTP/1.0\r\n\r\n"


def test_haproxy_takes_version_1(lab):
    Haproxy(lab.server, 8001, accepting(8001))
    said = way_out(lab, "name=a proxy-protocol=v1", "a", f"{Lab.FAR[4]}:8001", input=ASK)
    assert f"{CLIENT} {Lab.FAR[4]}:8001 <> <>" in said.out


@pytest.mark.parametrize("version", [4, 6])
def test_haproxy_takes_version_2_with_its_tlvs(lab, version):
    Haproxy(lab.server, 8001, accepting(8001).replace("*:8001", ":::8001 v4v6"))
    far = Lab.FAR[version]
    where = f"[{far}]:8001" if version == 6 else f"{far}:8001"
    said = way_out(lab, "name=a proxy-protocol=v2", "a", where, input=ASK,
                   host="www.shunt.example")
    source = "::ffff:" * (version == 6) + CLIENT
    assert re.search(rf"{re.escape(source)} {re.escape(far)}:8001 <www\.shunt\.example> "
                     r"<[0-9a-f]{16}-[0-9a-f]+>", said.out), said.out


@pytest.mark.parametrize("whole", [True, False])
def test_haproxy_checks_the_checksum(lab, whole):
    """A header as it was sent, and one with another id: the checksum is right, and it is read."""
    def keep(client, record):
        record.bytes = client.recv(4096)

    server = TcpServer(lab.server, keep)
    way_out(lab, "name=a proxy-protocol=v2", "a", f"{Lab.FAR[4]}:{server.port}",
            host="www.shunt.example")
    header = server.ended(1)[0].bytes
    unique_id = re.search(rb"[0-9a-f]{16}-[0-9a-f]+", header)[0]
    if not whole:
        header = header.replace(unique_id, unique_id[::-1])
    Haproxy(lab.server, 8001, accepting(8001))
    with lab.client.connect((Lab.FAR[4], 8001)) as sock:
        sock.sendall(header + ASK)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(4096):
                said += data
    assert said.endswith(b"<www.shunt.example> <" + unique_id + b">") == whole, said


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx_takes_the_header(lab, version):
    needs("nginx")
    lab.server.outside("/run/pp").mkdir()
    lab.server.outside("/run/pp/conf").write_text(
        "daemon off; error_log /run/pp/error.log; pid /run/pp/pid; user root;\n"
        "events {}\nhttp { access_log off; client_body_temp_path /run/pp/t1;\n"
        "proxy_temp_path /run/pp/t2; fastcgi_temp_path /run/pp/t3; uwsgi_temp_path /run/pp/t4;\n"
        "scgi_temp_path /run/pp/t5; server { listen 8002 proxy_protocol;\n"
        "return 200 \"$proxy_protocol_addr:$proxy_protocol_port\"; } }\n")
    lab.server.spawn(["nginx", "-c", "/run/pp/conf", "-p", "/run/pp", "-e", "/run/pp/error.log"])
    wait_until(lambda: listening(lab.server, 8002), "nginx")
    said = way_out(lab, f"name=a proxy-protocol={version}", "a", f"{Lab.FAR[4]}:8002", input=ASK)
    assert said.out.endswith(CLIENT)


def test_a_server_that_speaks_first_is_not_kept_waiting(lab):
    """It waits for the header before it speaks; the client says nothing."""
    def speak(client, _record):
        header = b""
        while not header.endswith(b"\r\n"):
            header += client.recv(1)
        client.sendall(b"220 " + header)

    server = TcpServer(lab.server, speak)
    said = way_out(lab, "name=a proxy-protocol=v1", "a", f"{Lab.FAR[4]}:{server.port}")
    assert said.out == f"220 PROXY TCP4 192.0.2.10 {Lab.FAR[4]} 40000 {server.port}\r\n"
    assert said.seconds < 5


@pytest.mark.parametrize("options, found", [
    ("send-proxy", r"v1 192\.168\.77\.2:\d+ 198\.51\.100\.1:8003\n"),
    ("send-proxy-v2", r"v2 192\.168\.77\.2:\d+ 198\.51\.100\.1:8003\n"),
    ("send-proxy-v2 proxy-v2-options crc32c,unique-id",
     r"v2 192\.168\.77\.2:\d+ 198\.51\.100\.1:8003 checksum id=shunt-test\n"),
])
def test_what_haproxy_sends_is_understood(lab, options, found):
    def keep(client, record):
        record.bytes = b""
        while chunk := client.recv(4096):
            record.bytes += chunk

    server = TcpServer(lab.gateway, keep)
    Haproxy(lab.gateway, 8003, "listen out\n mode tcp\n bind *:8003\n"
            f" unique-id-format shunt-test\n server s 127.0.0.1:{server.port} {options}\n")
    with lab.client.connect((Lab.WAN[4], 8003)) as sock:
        sock.sendall(b"payload")
    received = server.ended(1)[0].bytes
    said = lab.client.run([native("way_out"), "--decode"], input=received)
    assert re.fullmatch(found + "payload", said.out), said.out


def test_a_chain_goes_through_every_hop(lab):
    """The server sees the last, which sees the one before it."""
    Microsocks(lab.gateway, Lab.LAN[4])
    Tinyproxy(lab.evil, lab.evil.v4)
    server = TcpServer(lab.server, answer)
    said = way_out(lab, f"name=near proxy=socks5://{Lab.LAN[4]}:1080",
                   f"name=far proxy=http://{lab.evil.v4}:8888 via=near",
                   "far", f"{Lab.FAR[4]}:{server.port}", input=b"hello")
    assert said.out == "hello"
    assert said.err == "via far\n"
    assert server.ended(1)[0].peer[0] == lab.evil.v4


def test_a_chain_of_three_with_passwords_and_tls(lab):
    Dante(lab.gateway, Lab.LAN[4], user=USER)
    tls = TlsTinyproxy(lab.evil, lab.evil.v4)
    tls.trusted_by(lab.client)
    Squid(lab.server, lab.server.v4)
    server = TcpServer(lab.server, answer)
    said = way_out(lab, f"name=one proxy=socks5://{Lab.LAN[4]}:1081 user={USER} "
                   f"password-file={secret(lab)}", f"name=two proxy=https://{lab.evil.v4}:8443",
                   f"name=three proxy=http://{lab.server.v4}:3128", "name=all via=one+two+three",
                   "all", f"{Lab.FAR[4]}:{server.port}", input=b"hello")
    assert said.out == "hello"
    assert PASSWORD not in said.err
    assert server.ended(1)[0].peer[0] in (lab.server.v4, Lab.FAR[4])


def test_a_group_goes_on_to_a_member_that_works(lab):
    Microsocks(lab.gateway, Lab.LAN[4])
    server = TcpServer(lab.server, answer)
    said = way_out(lab, f"name=paris proxy=socks5://{Lab.LAN[4]}:9",
                   f"name=rome proxy=socks5://{Lab.LAN[4]}:1080",
                   "name=eu group=failover members=paris+rome",
                   "eu", f"{Lab.FAR[4]}:{server.port}", input=b"hello")
    assert said.out == "hello"
    assert said.err == "via eu (rome)\n"


def test_an_interface_and_a_source_are_kept_to(lab):
    server = TcpServer(lab.server, answer)
    lab.client.ip("addr add 192.168.77.99/24 dev eth0")
    where = f"{Lab.FAR[4]}:{server.port}"
    way_out(lab, "name=a interface=eth0 source=192.168.77.99", "a", where, input=b"x")
    assert server.ended(1)[0].peer[0] == "192.168.77.99"
    lost = way_out(lab, "name=a interface=lo source=192.168.77.99", "a", where, check=False)
    assert lost.code == 1
    assert len(server.accepted) == 1


def test_a_mark_chooses_the_users_own_routes(lab):
    server = TcpServer(lab.server, answer)
    where = f"{Lab.FAR[4]}:{server.port}"
    lab.client.ip("rule add fwmark 0x40/0x40 lookup 400", "route add unreachable default table 400")
    assert way_out(lab, "name=a mark=0x80", "a", where, input=b"x").out == "x"
    lost = way_out(lab, "name=a mark=0x40", "a", where, check=False)
    assert lost.code == 1
    assert "unreachable" in lost.err
