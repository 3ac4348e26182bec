# SPDX-License-Identifier: GPL-2.0-only
"""Rules about the host names of QUIC: real clients, also such that move to another port."""
from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from pathlib import Path

import pytest

from daemons import Dnsmasq
from netlab import Lab, Host, family_of, needs, wait_until
from peers import UdpEcho, free_port
from shunt import Gateway, read_log

SLACK = 4  # seconds that a busy machine may take
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
BODY = b"over QUIC\n" * 5000


class QuicServer:
    """ngtcp2's, with one file, /body."""

    def __init__(self, host: Host, address: str) -> None:
        needs("gtlsclient", "gtlsserver", "openssl")
        self.port = free_port()
        folder = host.outside("/run/quic")
        (folder / "files").mkdir(parents=True)
        (folder / "files" / "body").write_bytes(BODY)
        host.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                  "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                  "/CN=good.example", "-keyout", "/run/quic/key", "-out", "/run/quic/cert"])
        self.process = host.spawn(
            ["gtlsserver", "-q", "--no-quic-dump", "--no-http-dump", "-d", "/run/quic/files",
             address, self.port, "/run/quic/key", "/run/quic/cert"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: bound(host, self.port), "the QUIC server listens")


def bound(host: Host, port: int) -> bool:
    with host.entered():
        return any(int(line.split()[1].rsplit(":", 1)[1], 16) == port
                   for table in ("udp", "udp6")
                   for line in Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:])


def download(lab: Lab, name: str, address: str, port: int, folder: Path, *options: str,
             seconds: float = 20) -> bool:
    """Whether ngtcp2's client, which takes `address` for that of `name`, gets the file whole."""
    target = folder / f"{name}-{address}".replace(":", "_")
    target.mkdir()
    # Its SNI is the host that it is given, by name (Debian's has no use for --sni with an address).
    lab.client.file("/etc/hosts", f"{address} {name}\n")
    with contextlib.suppress(subprocess.TimeoutExpired):
        lab.client.run(
            ["gtlsclient", "-q", "--no-quic-dump", "--no-http-dump",
             "--exit-on-all-streams-close", f"--download={target}", *options, name, port,
             f"https://{name}/body"], check=False, timeout=seconds)
    body = target / "body"
    return body.exists() and body.read_bytes() == BODY


def ends(gateway: Gateway, count: int) -> list[dict]:
    def found() -> list[dict] | None:
        all_ends = [entry for entry in read_log(gateway.log_path)
                    if entry["event"] == "end" and entry["protocol"] == "udp"]
        return all_ends if len(all_ends) >= count else None
    return wait_until(found, f"{count} sessions end")


@VERSIONS
def test_a_denied_name_is_rejected_and_logged(lab, version, tmp_path):
    server = QuicServer(lab.server, Lab.FAR[version])
    gateway = Gateway(lab.gateway, "-i", "lan0", "--rule=host *.denied.example -> reject")
    assert not download(lab, "www.denied.example", Lab.FAR[version], server.port, tmp_path)
    assert download(lab, "other.example", Lab.FAR[version], server.port, tmp_path)
    assert gateway.stop() == 0
    denied, passed = ends(gateway, 2)[0], ends(gateway, 2)[-1]
    assert (denied["failure"], denied["host"], denied["host_from"], denied["rule"]) == \
        ("rejected_by_rule", "www.denied.example", "quic", 1)
    assert (passed["host"], passed["host_from"], passed["way_out"]) == \
        ("other.example", "quic", "direct")
    hello = next(entry for entry in read_log(gateway.log_path) if entry["event"] == "tls")
    assert (hello["protocol"], hello["server_name"]) == ("udp", "other.example")
    assert "h3" in hello["alpn_offered"] and "version" not in hello


@VERSIONS
def test_a_name_permits_only_the_addresses_that_it_has(lab, version, tmp_path):
    far, near = Lab.FAR[version], lab.server.address(version)
    server = QuicServer(lab.server, "0.0.0.0" if version == 4 else "::")
    lab.gateway.file("/etc/hosts", f"{far} good.example\n{near} other.example\n")
    gateway = Gateway(lab.gateway, "-i", "lan0", "--sniff-wait", "2s",
                      "--rule=host good.example,made-up.example -> direct", "--rule=-> reject")
    reached = {(name, address) for name in ("good.example", "made-up.example", "other.example")
               for address in (far, near)
               if download(lab, name, address, server.port, tmp_path)}
    assert reached == {("good.example", far)}
    assert gateway.said("permits nothing")
    assert gateway.stop() == 0


@VERSIONS
def test_a_session_without_a_name_waits_no_longer_than_the_sniff_wait(lab, version):
    """An Initial that no key opens goes by its address when the time is over, which is not the
    default's here; one of a version that nobody knows at once."""
    echo = UdpEcho(lab.server, family=family_of(Lab.FAR[version]))
    gateway = Gateway(lab.gateway, "-i", "lan0", "--sniff-wait", "1500ms",
                      "--rule=host denied.example -> reject")
    for quic, least, most in ((b"\xc3\0\0\0\1", 1.45, 1.5 + SLACK),
                              (b"\xc3\x1a\x2a\x3a\x4a", 0, 1.45)):
        with lab.client.socket(family_of(Lab.FAR[version]), socket.SOCK_DGRAM) as sock:
            sock.settimeout(10)
            sock.connect((Lab.FAR[version], echo.port))
            initial = quic + bytes(1195)
            began = time.monotonic()
            sock.send(initial)
            assert sock.recv(2000) == initial
            assert least <= time.monotonic() - began < most
    assert gateway.stop() == 0
    assert all("host" not in end for end in ends(gateway, 2))


# Half a second after the handshake the client goes on from another port, and then asks.
MOVE = ("--change-local-addr=500ms", "--delay-stream=1200ms")


def sessions_to(gateway: Gateway, port: int) -> list[dict]:
    """How the first session of each port of the client's ended, in the order of their beginning."""
    first: dict[int, dict] = {}
    for entry in read_log(gateway.log_path):
        if entry["event"] == "start" and entry["destination_port"] == port:
            first.setdefault(entry["client_port"], entry)
    assert len(first) == 2, first
    by_flow = {end["flow"]: end for end in ends(gateway, 2)}
    return [by_flow[start["flow"]] for start in first.values()]


@VERSIONS
def test_a_connection_that_nat_moves_keeps_its_name(lab, version, tmp_path):
    """Which permits it where it is verified, as it did before."""
    server = QuicServer(lab.server, Lab.FAR[version])
    lab.gateway.file("/etc/hosts", f"{Lab.FAR[version]} good.example\n")
    gateway = Gateway(lab.gateway, "-i", "lan0", "--sniff-wait", "2s", "--workers", "4",
                      "--rule=host good.example -> direct", "--rule=-> reject")
    assert download(lab, "good.example", Lab.FAR[version], server.port, tmp_path,
                    *MOVE, "--nat-rebinding")
    assert gateway.stop() == 0
    sessions = sessions_to(gateway, server.port)
    assert [(end["host"], end["host_from"], end["rule"]) for end in sessions] == \
        [("good.example", "quic", 1)] * 2
    assert sessions[1]["bytes_down"] > len(BODY), "it went on from the first port"
    hellos = [entry for entry in read_log(gateway.log_path) if entry["event"] == "tls"]
    assert [entry.get("moved", False) for entry in hellos] == [False, True]
    assert {(entry["server_name"], entry["alpn_offered"][0]) for entry in hellos} == \
        {("good.example", "h3")}


@VERSIONS
def test_a_connection_that_moves_by_itself_has_the_name_that_dns_said(lab, version, tmp_path):
    """Its new ID is encrypted: nothing else is known of it."""
    needs("dnsmasq", "dig")
    Dnsmasq(lab.server, {"good.example": [Lab.FAR[version]]})
    server = QuicServer(lab.server, Lab.FAR[version])
    gateway = Gateway(lab.gateway, "-i", "lan0", "--sniff-wait", "2s", "--trust-dns",
                      Lab.FAR[version], "--rule=host good.example -> direct",
                      "--rule=app dns -> direct", "--rule=-> reject")
    lab.client.run(["dig", "+time=5", "+tries=1", f"@{Lab.FAR[version]}", "good.example",
                    {4: "A", 6: "AAAA"}[version]])
    assert download(lab, "good.example", Lab.FAR[version], server.port, tmp_path, *MOVE)
    assert gateway.stop() == 0
    sessions = sessions_to(gateway, server.port)
    assert [(end["host"], end["host_from"]) for end in sessions] == \
        [("good.example", "quic"), ("good.example", "dns")]


@VERSIONS
def test_a_connection_that_moves_by_itself_is_nobodys_without_dns(lab, version, tmp_path):
    server = QuicServer(lab.server, Lab.FAR[version])
    lab.gateway.file("/etc/hosts", f"{Lab.FAR[version]} good.example\n")
    gateway = Gateway(lab.gateway, "-i", "lan0", "--sniff-wait", "2s",
                      "--rule=host good.example -> direct", "--rule=-> reject")
    download(lab, "good.example", Lab.FAR[version], server.port, tmp_path, *MOVE, seconds=8)
    assert gateway.stop() == 0
    first, second = sessions_to(gateway, server.port)
    assert (first["host"], first["rule"]) == ("good.example", 1)
    assert (second["failure"], second["rule"]) == ("rejected_by_rule", 2)
    assert "host" not in second
