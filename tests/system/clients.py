# SPDX-License-Identifier: GPL-2.0-only
"""Small clients that do one thing with a TCP connection and say in one word what came of it.

    python3 clients.py VERB ADDRESS PORT

They are commands and not functions, since `shunt run` captures commands.
"""
from __future__ import annotations

import errno
import hashlib
import select
import socket
import struct
import sys


def connect(address: str, port: int) -> socket.socket:
    return socket.create_connection((address, port), timeout=10)


def half_close(sock: socket.socket) -> str:
    """Sends a megabyte, ends its direction, prints what the server then answers."""
    sock.sendall(bytes(range(256)) * 4096)
    sock.shutdown(socket.SHUT_WR)
    return read_all(sock).decode()


HALF_CLOSE_ANSWER = hashlib.sha256(bytes(range(256)) * 4096).hexdigest()


def half_closed(sock: socket.socket) -> str:
    """The server ends first; what is said after that must still reach it."""
    said = read_all(sock)
    sock.sendall(b"x" * 100_000)
    sock.shutdown(socket.SHUT_WR)
    return said.decode()


def send_reset(sock: socket.socket) -> str:
    sock.sendall(b"ping")
    assert sock.recv(4) == b"ping"
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    return "reset"


def get_reset(sock: socket.socket) -> str:
    sock.sendall(b"hello")
    return "end" if not sock.recv(100) else "data"


def send_urgent(sock: socket.socket) -> str:
    sock.sendall(b"12345")
    sock.send(b"!", socket.MSG_OOB)
    sock.sendall(b"67890")
    sock.shutdown(socket.SHUT_WR)
    return read_all(sock).decode()


def get_urgent(sock: socket.socket) -> str:
    """What stands before the mark, the urgent byte by itself, and the rest."""
    sock.sendall(b"go")
    plain = sock.recv(5, socket.MSG_WAITALL)
    wait_for_urgent(sock)
    urgent = sock.recv(1, socket.MSG_OOB)
    rest = sock.recv(5, socket.MSG_WAITALL)
    return b" ".join((plain, urgent, rest)).decode()


def wait_for_urgent(sock: socket.socket) -> None:
    poll = select.poll()
    poll.register(sock, select.POLLPRI)
    assert poll.poll(10_000), "no urgent byte within 10 s"


def just_connect(sock: socket.socket) -> str:
    """For destinations that do not answer: a connection that nobody resets is 'silence'."""
    sock.settimeout(8)
    return "data" if sock.recv(100) else "end"


def ask(sock: socket.socket) -> str:
    """One question to an echo server; prints the peer as this end knows it."""
    sock.sendall(b"question")
    answer = sock.recv(8, socket.MSG_WAITALL)
    assert answer == b"question", answer
    peer = sock.getpeername()
    return f"{peer[0]} {peer[1]}"


def get_banner(sock: socket.socket) -> str:
    return sock.recv(100).decode().strip()


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


VERBS = {verb.__name__: verb for verb in (half_close, half_closed, send_reset, get_reset,
                                          send_urgent, get_urgent, just_connect, ask, get_banner)}
_WORDS = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.EPIPE: "reset",
          errno.EHOSTUNREACH: "unreachable", errno.ENETUNREACH: "unreachable",
          errno.ETIMEDOUT: "timeout"}


def main() -> None:
    verb, address, port = sys.argv[1:]
    try:
        with connect(address, int(port)) as sock:
            print(VERBS[verb](sock))
    except TimeoutError as error:
        print("timeout" if error.errno == errno.ETIMEDOUT else "silence")
    except OSError as error:
        print(_WORDS.get(error.errno, str(error)))


if __name__ == "__main__":
    main()
