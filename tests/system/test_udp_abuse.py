# SPDX-License-Identifier: GPL-2.0-only
"""Who would misuse the proxy's UDP: for answers to somebody who did not ask, or to the cost of
other clients."""
from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import time

import pytest

from netlab import DEADLINE, Host, Lab, wait_until
from peers import UdpEcho, free_port
from shunt import Gateway

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
ANY = {4: "0.0.0.0", 6: "::"}
CLIENT = {4: "192.168.77.2", 6: "fd00:77::2"}
NEIGHBOUR = {4: "192.168.77.3", 6: "fd00:77::3"}
EVIL = {4: "192.0.2.66", 6: "2001:db8:2::66"}
IPV6_HDRINCL = 36  # linux/in6.h
versions = pytest.mark.parametrize("version", [4, 6])


def bound(host: Host, version: int, address: str = "", port: int = 0) -> socket.socket:
    sock = host.socket(FAMILY[version], socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE)
    sock.bind((address or ANY[version], port))
    return sock


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def datagram(version: int, source: tuple[str, int], to: tuple[str, int], payload: bytes) -> bytes:
    """With an IP header of its own. The length of the payload is even."""
    addresses = b"".join(ipaddress.ip_address(end[0]).packed for end in (source, to))
    size = 8 + len(payload)
    udp = struct.pack(">4H", source[1], to[1], size, 0)
    check = checksum(addresses + struct.pack(">2H", 17, size) + udp + payload) or 0xffff
    udp = udp[:6] + struct.pack(">H", check)
    if version == 6:
        return struct.pack(">IHBB", 6 << 28, size, 17, 64) + addresses + udp + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 1, 0, 64, 17, 0) + addresses
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + udp + payload


@versions
def test_a_made_up_source_is_not_answered(lab, version):
    """Not where the kernel does not look at sources by itself, either (rp_filter)."""
    for name in ("all", "default", "lan0"):
        lab.gateway.sysctl(**{f"net__ipv4__conf__{name}__rp_filter": 0})
    gateway = Gateway(lab.gateway, "-i", "lan0")
    echo = UdpEcho(lab.server, family=FAMILY[version])
    port = free_port()
    with bound(lab.evil, version, port=port) as victim, \
            bound(lab.client, version, port=port) as honest, \
            lab.client.socket(FAMILY[version], socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        if version == 6:
            raw.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        to = (Lab.FAR[version], echo.port)
        for source, payload in ((EVIL[version], b"made up!"), (CLIENT[version], b"real one")):
            raw.sendto(datagram(version, (source, port), to, payload), (Lab.FAR[version], 0))
        assert honest.recv(100) == b"real one"
        assert [payload for payload, _ in echo.received] == [b"real one"]
        victim.settimeout(0.2)
        with pytest.raises(TimeoutError):
            victim.recv(100)
    assert gateway.stop() == 0


@versions
def test_a_stranger_that_is_kept_out_hears_nothing(lab, version):
    gateway = Gateway(lab.gateway, "-i", "lan0", "--udp-filtering", "address-and-port-dependent")
    peer = bound(lab.server, version)
    with bound(lab.client, version) as client, bound(lab.evil, version) as stranger:
        client.sendto(b"hello", (Lab.FAR[version], peer.getsockname()[1]))
        outside = peer.recvfrom(100)[1][:2]
        stranger.connect(outside)
        for _ in range(100):
            stranger.send(b"knock")
        stranger.settimeout(0.3)
        with pytest.raises(TimeoutError):  # no answer, and no ICMP error either
            stranger.recv(100)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(100)
    assert gateway.stop() == 0


@versions
def test_a_greedy_client_displaces_nobody_else(lab, version):
    """More sessions than a client may have, and more mappings."""
    bits = {4: 24, 6: 64}[version]
    lab.client.ip(f"addr add {NEIGHBOUR[version]}/{bits} dev eth0"
                  + (" nodad" if version == 6 else ""))
    gateway = Gateway(lab.gateway, "-i", "lan0", "--workers", "1")
    peer = bound(lab.server, version)
    with bound(lab.client, version, NEIGHBOUR[version]) as modest:
        modest.sendto(b"mine", (Lab.FAR[version], peer.getsockname()[1]))
        outside = peer.recvfrom(100)[1][:2]
        for _ in range(1100):
            with bound(lab.client, version, CLIENT[version]) as greedy:
                for port in (20_001, 20_002, 20_003):
                    with contextlib.suppress(OSError):
                        greedy.sendto(b"more", (Lab.FAR[version], port))
        echo = UdpEcho(lab.server, family=FAMILY[version])
        with bound(lab.client, version, CLIENT[version]) as greedy:
            greedy.sendto(b"served", (Lab.FAR[version], echo.port))
            assert greedy.recv(100) == b"served"
        peer.sendto(b"still yours", outside)
        assert modest.recv(100) == b"still yours"
        modest.sendto(b"mine", (Lab.FAR[version], peer.getsockname()[1]))
        assert peer.recvfrom(100)[1][:2] == outside
    def evicted() -> list[dict]:
        ends = [entry for entry in gateway.log() if entry["event"] == "end"]
        return [entry for entry in ends if entry["reason"] == "evicted"]
    wait_until(lambda: len(evicted()) > 1000, "its own sessions give way")
    assert {entry["client"] for entry in evicted()} == {CLIENT[version]}
    assert gateway.stop() == 0


ERRORS_PER_SECOND = 100  # limits::kUdpErrorsPerSecond, of each worker


def unreachable(host: Host) -> int:
    """ICMP's and ICMPv6's "destination unreachable" that have come to this host."""
    with host.entered(), open("/proc/thread-self/net/snmp") as v4, \
            open("/proc/thread-self/net/snmp6") as v6:
        head, values = [line.split() for line in v4 if line.startswith("Icmp:")]
        six = [line.split() for line in v6]
    return int(dict(zip(head, values))["InDestUnreachs"]) \
        + int(dict(six)["Icmp6InDestUnreachs"])


@versions
def test_errors_told_to_clients_are_bounded(lab, version):
    gateway = Gateway(lab.gateway, "-i", "lan0", "--workers", "1", "--rule=proto udp -> reject")
    before, began = unreachable(lab.client), time.monotonic()
    with bound(lab.client, version) as sock:
        for number in range(2000):
            with contextlib.suppress(OSError):
                sock.sendto(b"anybody?", (Lab.FAR[version], 20_000 + number % 10))
    # The last of them have been answered, or will not be.
    wait_until(lambda: sum(entry["event"] == "end" for entry in gateway.log()) >= 10,
               "the sessions are refused")
    assert gateway.stop() == 0
    seconds = time.monotonic() - began
    told = unreachable(lab.client) - before
    assert 10 <= told <= ERRORS_PER_SECOND * (int(seconds) + 2)
