# SPDX-License-Identifier: GPL-2.0-only
"""The other ends of a test: small servers, some of which misbehave on purpose. Real ones are in
daemons.py.

They are threads of the test process whose sockets live on a Host, so that a test can ask them what
they saw:

    echo = TcpServer(lab.server, echo_bytes)             # :: and 0.0.0.0, a port of its own
    ... connect to (address, echo.port) ...
    echo.seen(1)[0].local                # ("203.0.113.10", 4711): what it was asked for

Handlers take the accepted socket and the Accepted record; what they return or raise ends the
connection. Everything ends with the Host.
"""
from __future__ import annotations

import array
import contextlib
import fcntl
import hashlib
import itertools
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from netlab import DEADLINE, Host, wait_until

IP_PKTINFO = 8  # linux/in.h; the socket module lacks it
SIOCATMARK = 0x8905  # asm-generic/sockios.h

_ports = itertools.count(20_000)


def free_port() -> int:
    """A port that no other server of this process uses, on whatever host; none is ephemeral."""
    return next(_ports)


@dataclass
class Accepted:
    """What a server saw of one connection."""

    peer: tuple[str, int]
    local: tuple[str, int]
    at: float = field(default_factory=time.monotonic)
    received: int = 0
    end: str = ""  # eof, reset, or what else ended it; "" while it lives
    urgent: list[int] = field(default_factory=list)  # offsets of urgent bytes


def plain(address: tuple) -> tuple[str, int]:
    """An address as the other family's socket would show it, not mapped."""
    host = address[0].removeprefix("::ffff:")
    return host, address[1]


class TcpServer:
    """Accepts on every address of a host, both families, and runs a handler for each client."""

    def __init__(self, host: Host, handler: Callable[[socket.socket, Accepted], None],
                 port: int | None = None, address: str = "::", backlog: int = 1024) -> None:
        self.host, self.handler = host, handler
        self.port = port if port is not None else free_port()
        self.accepted: list[Accepted] = []
        self._live: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = host.socket(family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self._listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self._listener.bind((address, self.port))
        self._listener.listen(backlog)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        host.on_close(self.close)

    def _accept(self) -> None:
        while True:
            try:
                client, peer = self._listener.accept()
            except OSError:
                return
            try:
                record = Accepted(plain(peer), plain(client.getsockname()))
            except OSError:  # reset before it was looked at
                record = Accepted(plain(peer), ("", 0))
            with self._lock:
                if self._closed:
                    client.close()
                    return
                self.accepted.append(record)
                self._live.add(client)
            threading.Thread(target=self._serve, args=(client, record), daemon=True).start()

    def _serve(self, client: socket.socket, record: Accepted) -> None:
        try:
            self.handler(client, record)
            record.end = record.end or "done"
        except ConnectionResetError:
            record.end = "reset"
        except (OSError, ValueError) as error:
            record.end = f"{type(error).__name__}: {error}"
        finally:
            with self._lock:
                self._live.discard(client)
            client.close()

    def seen(self, count: int, timeout: float = DEADLINE) -> list[Accepted]:
        """The connections so far, once there are `count`."""
        wait_until(lambda: len(self.accepted) >= count, f"{count} connections at :{self.port}",
                   timeout)
        return list(self.accepted)

    def ended(self, count: int, timeout: float = DEADLINE) -> list[Accepted]:
        """The connections so far, once `count` of them have ended."""
        wait_until(lambda: sum(bool(a.end) for a in self.accepted) >= count,
                   f"{count} ended connections at :{self.port}", timeout)
        return list(self.accepted)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            live = list(self._live)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in live:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)


# Handlers.


def receive(sock: socket.socket, size: int) -> bytes:
    """As many bytes, or those that came before the end. MSG_WAITALL does not do that for a socket
    with a timeout, which Python makes non-blocking."""
    data = b""
    while len(data) < size and (part := sock.recv(size - len(data))):
        data += part
    return data


def echo_bytes(client: socket.socket, record: Accepted) -> None:
    """Sends back what comes, ends its own direction when the client has ended his."""
    while data := client.recv(65536):
        record.received += len(data)
        client.sendall(data)
    record.end = "eof"


def digest_after_eof(client: socket.socket, record: Accepted) -> None:
    """Reads to the client's half-close, then answers with the SHA-256 of what came."""
    digest = hashlib.sha256()
    while data := client.recv(65536):
        record.received += len(data)
        digest.update(data)
    record.end = "eof"
    client.sendall(digest.hexdigest().encode())


def sink(client: socket.socket, record: Accepted) -> None:
    """Reads everything, says nothing."""
    while data := client.recv(65536):
        record.received += len(data)
    record.end = "eof"


def hello_then_half_close(client: socket.socket, record: Accepted) -> None:
    """Says hello, ends its own direction first, then reads what the client still has to say."""
    client.sendall(b"hello")
    client.shutdown(socket.SHUT_WR)
    sink(client, record)


def banner(client: socket.socket, record: Accepted) -> None:
    """A server that speaks first, as SMTP and SSH servers do; then echoes."""
    client.sendall(b"220 ready\r\n")
    echo_bytes(client, record)


def silent(client: socket.socket, record: Accepted) -> None:
    """Accepts and never reads nor answers; notices a reset or an end all the same."""
    while True:
        client.settimeout(None)
        if not client.recv(1, socket.MSG_PEEK):
            record.end = "eof"
            return
        time.sleep(0.05)
        if struct.unpack_from("B", client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1))[0] \
                not in (1, 8):  # neither ESTABLISHED nor CLOSE_WAIT
            raise ConnectionResetError


def reset_after_first_bytes(client: socket.socket, record: Accepted) -> None:
    record.received = len(client.recv(65536))
    reset(client)
    record.end = "sent reset"


def reset(sock: socket.socket) -> None:
    """Closes with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def urgent_recorder(client: socket.socket, record: Accepted) -> None:
    """Echoes what comes and notes at which offsets urgent bytes stood (in-line)."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    at_mark = array.array("i", [0])
    readable = select.poll()
    readable.register(client, select.POLLIN)
    while True:
        readable.poll()
        # A read never crosses the mark but may begin at it: ask once something is there.
        fcntl.ioctl(client.fileno(), SIOCATMARK, at_mark)  # is the next byte the urgent one?
        data = client.recv(65536)
        if not data:
            break
        if at_mark[0]:
            record.urgent.append(record.received)
        record.received += len(data)
        client.sendall(data)
    record.end = "eof"


def urgent_sender(client: socket.socket, record: Accepted) -> None:
    """Answers the first bytes with five plain ones, an urgent one, and five more."""
    client.recv(65536)
    client.sendall(b"plain")
    client.send(b"!", socket.MSG_OOB)
    client.sendall(b"after")
    sink(client, record)


def send_zeros(count: int) -> Callable[[socket.socket, Accepted], None]:
    """Waits for a first byte, then sends `count` bytes as fast as they are taken."""
    def handler(client: socket.socket, record: Accepted) -> None:
        client.recv(1)
        block = bytes(65536)
        left = count
        while left > 0:
            left -= client.send(block[:left])
        client.shutdown(socket.SHUT_WR)
        sink(client, record)
    return handler


def http_put(client: socket.socket, record: Accepted) -> None:
    """HTTP/1.1 with keep-alive: answers each request with the SHA-256 of its body."""
    stream = client.makefile("rwb")
    while line := stream.readline():
        length, chunked, expect = 0, False, False
        while (header := stream.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            length = int(value) if name.lower() == "content-length" else length
            chunked |= name.lower() == "transfer-encoding" and "chunked" in value
            expect |= name.lower() == "expect"
        if expect:
            stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            stream.flush()
        digest = hashlib.sha256()
        for part in _body(stream, length, chunked):
            record.received += len(part)
            digest.update(part)
        body = digest.hexdigest().encode() + b" " + line.split()[1] + b"\n"
        stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        stream.flush()
    record.end = "eof"


def _body(stream, length: int, chunked: bool):
    while chunked:
        size = int(stream.readline(), 16)
        data = stream.read(size)
        stream.readline()
        if size == 0:
            return
        yield data
    while length > 0:
        data = stream.read(min(length, 65536))
        if not data:
            return
        length -= len(data)
        yield data


class UdpEcho:
    """Answers each datagram with itself from the address it was sent to; notes who asked."""

    def __init__(self, host: Host, port: int | None = None, family: int = socket.AF_INET) -> None:
        self.port = port if port is not None else free_port()
        self.received: list[tuple[bytes, tuple[str, int]]] = []
        self._socket = host.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._socket.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", self.port))
        self._closed = False
        threading.Thread(target=self._serve, daemon=True).start()
        host.on_close(self.close)

    def _serve(self) -> None:
        while True:
            try:
                data, control, _, peer = self._socket.recvmsg(65536, 256)
                if self._closed:
                    return
                self.received.append((data, plain(peer)))
                # The same control message names the source of the answer (ip(7): ipi_spec_dst).
                reply = [(level, kind, _as_source(kind, value)) for level, kind, value in control]
                self._socket.sendmsg([data], reply, 0, peer)
            except OSError:
                if self._closed or self._socket.fileno() < 0:
                    return  # else: an ICMP error for an earlier answer

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _as_source(kind: int, value: bytes) -> bytes:
    if len(value) == 12:  # in_pktinfo: ifindex, spec_dst, addr
        return struct.pack("i", 0) + value[8:12] + value[8:12]
    return value[:16] + struct.pack("i", 0)
