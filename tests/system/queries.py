# SPDX-License-Identifier: GPL-2.0-only
"""A small client of DNS, and servers that count: what a resolver's library would say is in the way
of tests about ids, truncation and types that it does not ask for.
"""
from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path

from daemons import listening
from netlab import Host, family_of, needs, wait_until
from peers import receive
from proxies import self_signed

TYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "HTTPS": 65}
NXDOMAIN, SERVFAIL = 3, 2


@dataclass
class Answer:
    id: int
    rcode: int
    truncated: bool
    records: list[tuple[int, int, str]] = field(default_factory=list)  # type, TTL, data

    @property
    def addresses(self) -> list[str]:
        return [data for kind, _, data in self.records if kind in (1, 28)]


def query(name: str, kind: str = "A", identifier: int = 0x1234, edns: int = 0) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    head = struct.pack(">6H", identifier, 0x0100, 1, 0, 0, 1 if edns else 0)
    opt = b"\0" + struct.pack(">HHIH", 41, edns, 0, 0) if edns else b""
    return head + labels + b"\0" + struct.pack(">2H", TYPES[kind], 1) + opt


def _name_end(message: bytes, at: int) -> int:
    while message[at]:
        if message[at] >= 0xc0:
            return at + 2
        at += 1 + message[at]
    return at + 1


def _name(message: bytes, at: int) -> str:
    labels = []
    while message[at]:
        if message[at] >= 0xc0:
            at = int.from_bytes(message[at:at + 2], "big") & 0x3fff
            continue
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels)


def question_end(message: bytes) -> int:
    return _name_end(message, 12) + 4


def parse(message: bytes) -> Answer:
    identifier, flags, _, count = struct.unpack(">4H", message[:8])
    assert flags & 0x8000, "no response"
    answer = Answer(identifier, flags & 15, bool(flags & 0x0200))
    at = question_end(message)
    for _ in range(count):
        at = _name_end(message, at)
        kind, _, ttl, size = struct.unpack(">HHIH", message[at:at + 10])
        data = message[at + 10:at + 10 + size]
        shown = str(ipaddress.ip_address(data)) if kind in (1, 28) else \
            _name(message, at + 10) if kind in (5, 12) else data.hex()
        answer.records.append((kind, ttl, shown))
        at += 10 + size
    return answer


def ask(host: Host, server: str, name: str, kind: str = "A", tcp: bool = False, edns: int = 0,
        timeout: float = 8.0) -> Answer:
    message = query(name, kind, edns=edns)
    sort = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with host.socket(family_of(server), sort) as sock:
        sock.settimeout(timeout)
        sock.connect((server, 53))
        if not tcp:
            sock.send(message)
            return parse(sock.recv(65535))
        sock.sendall(struct.pack(">H", len(message)) + message)
        size = struct.unpack(">H", receive(sock, 2))[0]
        return parse(receive(sock, size))


class Unbound:
    """A real unbound that answers DNS within TLS on a host's port 853, and nothing on 53."""

    def __init__(self, host: Host, address: str, names: dict[str, str]) -> None:
        needs("unbound", "openssl")
        self.certificate = self_signed(host, address)
        data = "".join(f'  local-data: "{name}. 300 IN A {value}"\n'
                       for name, value in names.items())
        host.outside("/run/unbound.conf").write_text(
            'server:\n  username: ""\n  chroot: ""\n  directory: "/run"\n  pidfile: ""\n'
            "  do-daemonize: no\n  use-syslog: no\n  num-threads: 1\n  module-config: iterator\n"
            f"  interface: {address}@853\n  tls-port: 853\n  access-control: 0.0.0.0/0 allow\n"
            "  tls-service-key: /run/proxy.key\n  tls-service-pem: /run/proxy.crt\n"
            '  local-zone: "." static\n' + data)
        self.process = host.spawn(["unbound", "-d", "-p", "-c", "/run/unbound.conf"])
        wait_until(lambda: listening(host, 853) or self.process.poll() is not None, "unbound")
        assert self.process.poll() is None


class UdpServer:
    """Answers queries over UDP as answer() says; None: not at all. Keeps the queries."""

    def __init__(self, host: Host, address: str) -> None:
        self.queries: list[bytes] = []
        self._socket = host.socket(family_of(address), socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        host.on_close(self._close)

    def answer(self, query: bytes) -> bytes | None:
        raise NotImplementedError

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the end of the test
            while True:
                message, peer = self._socket.recvfrom(65536)
                if not message:  # shutdown()
                    return
                self.queries.append(message)
                if (answer := self.answer(message)) is not None:
                    self._socket.sendto(answer, peer)

    def _close(self) -> None:
        with contextlib.suppress(OSError):  # it says that it is not connected, and wakes recvfrom()
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()


class OptionsServer(UdpServer):
    """Answers A queries with one address, and each query with EDNS with an OPT record that holds an
    NSID, a cookie and a subnet, whoever asked for them."""

    OPTIONS = (b"\0\x03\0\x06server" b"\0\x0a\0\x10clientsaltserver"
               b"\0\x08\0\x07\0\x01\x18\x10\xc0\x00\x02")

    def __init__(self, host: Host, address: str, answer: str) -> None:
        self._data = ipaddress.ip_address(answer).packed
        super().__init__(host, address)

    def answer(self, query: bytes) -> bytes:
        end = question_end(query)
        edns = query[11]
        head = query[:2] + struct.pack(">5H", 0x8180, 1, 1, 0, edns)
        record = struct.pack(">3HIH", 0xc00c, 1, 1, 300, len(self._data)) + self._data
        opt = b"\0" + struct.pack(">HHIH", 41, 4096, 0, len(self.OPTIONS)) + self.OPTIONS
        return head + query[12:end] + record + (opt if edns else b"")


class CountedQueries:
    """How many packets to port 53 reach a host from elsewhere, whatever becomes of them."""

    def __init__(self, host: Host) -> None:
        self.host = host
        host.nft("table inet counted { chain in { type filter hook prerouting priority -300;"
                 " iif lo accept; meta l4proto { tcp, udp } th dport 53 counter; }; }")

    def packets(self) -> int:
        words = self.host.run(["nft", "list", "table", "inet", "counted"]).out.split()
        return int(words[words.index("packets") + 1])


def state_lines(path: Path) -> list[str]:
    return path.read_text().splitlines()[1:] if path.exists() else []
