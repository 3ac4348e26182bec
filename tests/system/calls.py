# SPDX-License-Identifier: GPL-2.0-only
"""Every form in which a program can ask for a connection or send a datagram, tried one by one.

    calls.py ADDRESS TCP_PORT UDP_PORT UDP_PORT...

The servers send back what they get. Prints a line of JSON: for each form "ok", or what was not as
it should be. ADDRESS may be IPv4, IPv6, or IPv4 mapped into IPv6 (::ffff:192.0.2.1).
"""
from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable

PATIENCE = 10.0
libc = ctypes.CDLL(None, use_errno=True)


class Wrong(Exception):
    """Something was not as it should be."""


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Wrong(f"{what}: {found!r}, not {wanted!r}")


class Calls:
    def __init__(self, address: str, tcp_port: int, udp_ports: list[int]) -> None:
        self.address = address
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.tcp_port = tcp_port
        self.udp_ports = udp_ports

    def socket(self, kind: int, flags: int = 0) -> socket.socket:
        made = socket.socket(self.family, kind | flags)
        if not flags & socket.SOCK_NONBLOCK:
            made.settimeout(PATIENCE)
        return made

    def check_peer(self, made: socket.socket, port: int) -> None:
        expect("getpeername()", made.getpeername()[:2], (self.address, port))

    def echo(self, made: socket.socket, port: int) -> None:
        made.settimeout(PATIENCE)
        self.check_peer(made, port)
        made.sendall(b"hello")
        got = b""
        while len(got) < 5:
            data = made.recv(5 - len(got))
            if not data:
                raise Wrong("the connection ended")
            got += data
        expect("the answer", got, b"hello")

    def answer(self, made: socket.socket, port: int, payload: bytes) -> None:
        made.settimeout(PATIENCE)
        data, source = made.recvfrom(100)
        expect("the answer and its source", (data, source[:2]), (payload, (self.address, port)))

    # TCP.

    def tcp_blocking(self) -> None:
        with self.socket(socket.SOCK_STREAM) as made:
            made.connect((self.address, self.tcp_port))
            self.echo(made, self.tcp_port)

    def tcp_nonblocking(self) -> None:
        with self.socket(socket.SOCK_STREAM, socket.SOCK_NONBLOCK) as made:
            result = made.connect_ex((self.address, self.tcp_port))
            if result not in (0, errno.EINPROGRESS):
                raise Wrong(f"connect(): {errno.errorcode[result]}")
            poll = select.poll()
            poll.register(made, select.POLLOUT)
            expect("poll()", [events for _, events in poll.poll(PATIENCE * 1000)],
                   [select.POLLOUT])
            expect("SO_ERROR", made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)
            self.echo(made, self.tcp_port)

    def tcp_epoll_before_connect(self) -> None:
        with self.socket(socket.SOCK_STREAM, socket.SOCK_NONBLOCK) as made, \
                select.epoll() as epoll:
            epoll.register(made, select.EPOLLOUT | select.EPOLLIN | select.EPOLLET)
            epoll.poll(0)  # EPOLLHUP, of a socket that is not connected
            made.connect_ex((self.address, self.tcp_port))
            events = 0
            while not events & select.EPOLLOUT:
                found = epoll.poll(PATIENCE)
                if not found:
                    raise Wrong("epoll never said that it is connected")
                events |= found[0][1]
            if events & (select.EPOLLERR | select.EPOLLHUP):
                raise Wrong(f"epoll said {events:#x}")
            self.echo(made, self.tcp_port)

    def tcp_from_a_bound_port(self) -> None:
        with self.socket(socket.SOCK_STREAM) as made:
            made.bind(("", 0))
            port = made.getsockname()[1]
            made.connect((self.address, self.tcp_port))
            expect("its own port", made.getsockname()[1], port)
            self.echo(made, self.tcp_port)

    def tcp_in_threads(self) -> None:
        failures: list[BaseException] = []

        def one() -> None:
            try:
                self.tcp_blocking()
            except BaseException as error:  # told to the main thread
                failures.append(error)

        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        if failures:
            raise failures[0]

    def tcp_in_a_child(self) -> None:
        child = os.fork()
        if child == 0:
            try:
                self.tcp_blocking()
            except BaseException:  # by the code alone
                os._exit(1)
            os._exit(0)
        expect("the child's code", os.waitpid(child, 0)[1], 0)

    # UDP.

    def udp_connected(self) -> None:
        with self.socket(socket.SOCK_DGRAM) as made:
            made.connect((self.address, self.udp_ports[0]))
            self.check_peer(made, self.udp_ports[0])
            made.send(b"hello")
            self.answer(made, self.udp_ports[0], b"hello")

    def udp_connected_anew(self) -> None:
        with self.socket(socket.SOCK_DGRAM) as made:
            for port in self.udp_ports[:2] * 2:
                made.connect((self.address, port))
                self.check_peer(made, port)
                made.send(b"%d" % port)
                self.answer(made, port, b"%d" % port)

    def udp_nonblocking(self) -> None:
        with self.socket(socket.SOCK_DGRAM, socket.SOCK_NONBLOCK) as made:
            made.connect((self.address, self.udp_ports[0]))
            made.send(b"hello")
            readable, _, _ = select.select([made], [], [], PATIENCE)
            expect("select()", readable, [made])
            self.answer(made, self.udp_ports[0], b"hello")

    def udp_epoll_before_connect(self) -> None:
        with self.socket(socket.SOCK_DGRAM, socket.SOCK_NONBLOCK) as made, \
                select.epoll() as epoll:
            epoll.register(made, select.EPOLLIN | select.EPOLLET)
            made.connect((self.address, self.udp_ports[0]))
            made.send(b"hello")
            if not epoll.poll(PATIENCE):
                raise Wrong("epoll never said that there is an answer")
            self.answer(made, self.udp_ports[0], b"hello")

    def udp_to_many(self) -> None:
        with self.socket(socket.SOCK_DGRAM) as made:
            for turn in range(20):
                for port in self.udp_ports:
                    made.sendto(b"%d %d" % (port, turn), (self.address, port))
                missing = {(b"%d %d" % (port, turn), (self.address, port))
                           for port in self.udp_ports}
                while missing:
                    data, source = made.recvfrom(100)
                    if (data, source[:2]) not in missing:
                        raise Wrong(f"{data!r} came from {source[:2]}")
                    missing.remove((data, source[:2]))

    def udp_sendmmsg(self) -> None:
        with self.socket(socket.SOCK_DGRAM) as made:
            ports = self.udp_ports[:2]
            sent = sendmmsg(made, [(self._raw(port), b"%d" % port) for port in ports])
            expect("sendmmsg()", sent, len(ports))
            missing = {(b"%d" % port, (self.address, port)) for port in ports}
            while missing:
                data, source = made.recvfrom(100)
                if (data, source[:2]) not in missing:
                    raise Wrong(f"{data!r} came from {source[:2]}")
                missing.remove((data, source[:2]))

    def _raw(self, port: int) -> bytes:
        packed = socket.inet_pton(self.family, self.address)
        if self.family == socket.AF_INET:
            return struct.pack("=H", self.family) + struct.pack("!H", port) + packed + bytes(8)
        return struct.pack("=H", self.family) + struct.pack("!HI", port, 0) + packed + bytes(4)

    def forms(self) -> dict[str, Callable[[], None]]:
        return {name: getattr(self, name) for name in dir(self)
                if name.startswith(("tcp_", "udp_")) and callable(getattr(self, name))}


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
                ("vectors", ctypes.POINTER(Iovec)), ("count", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("header", Msghdr), ("length", ctypes.c_uint32)]


def sendmmsg(made: socket.socket, messages: list[tuple[bytes, bytes]]) -> int:
    kept = []
    batch = (Mmsghdr * len(messages))()
    for entry, (name, payload) in zip(batch, messages):
        name_buffer = ctypes.create_string_buffer(name, len(name))
        data_buffer = ctypes.create_string_buffer(payload, len(payload))
        vector = Iovec(ctypes.addressof(data_buffer), len(payload))
        kept += [name_buffer, data_buffer, vector]
        entry.header = Msghdr(ctypes.addressof(name_buffer), len(name), ctypes.pointer(vector), 1)
    return libc.sendmmsg(made.fileno(), batch, len(messages), 0)


def main() -> None:
    address, tcp_port, *udp_ports = sys.argv[1:]
    results = {}
    for name, form in Calls(address, int(tcp_port), list(map(int, udp_ports))).forms().items():
        try:
            form()
            results[name] = "ok"
        except (OSError, Wrong) as error:
            results[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(results))


if __name__ == "__main__":
    main()
