# SPDX-License-Identifier: GPL-2.0-only
"""What strangers send ends up in a log that people read on terminals and programs parse: it must
not be able to write there what it likes (reliability row 14)."""
from __future__ import annotations

import random
import socket
import unicodedata

import pytest

from netlab import Lab, wait_until
from peers import Accepted, TcpServer
from shunt import Gateway

NAMES = 5000
PIECES = [
    b"\x1b[2J\x1b[1;1H", b"\x1b]0;title\x07", b"\x1b(0", b"\x90q\x9c", b"\x9b31m", b"\xc2\x9b1m",
    b"\r", b"\x00", b"\x7f", b"\t", b"\x08\x08\x08", b"\x0b\x0c", b"\xff\xfe", b"\xc3\x28",
    b"\xed\xa0\x80", "\u202egnp.exe".encode(), "\u2028".encode(), "\U0001f4a3".encode(),
    b'"', b"'", b"\\", b"\\u0000", b"<script>", b"%n%s", b"{}", b",", b"example", b"A" * 250,
]


def hostile(random_: random.Random, forbidden: bytes) -> bytes:
    name = b"".join(random_.choice(PIECES) for _ in range(random_.randint(1, 5)))
    return bytes(byte for byte in name if byte not in forbidden)[:250] or b"\x01"


def client_hello(name: bytes) -> bytes:
    """A TLS 1.2 hello with this server name and an ALPN name that is no better."""
    def vector(body: bytes, size: int) -> bytes:
        return len(body).to_bytes(size, "big") + body
    server_name = vector(b"\x00" + vector(name, 2), 2)
    alpn = vector(vector(name[:200], 1), 2)
    extensions = b"\x00\x00" + vector(server_name, 2) + b"\x00\x10" + vector(alpn, 2)
    body = b"\x03\x03" + bytes(32) + b"\x00" + vector(b"\xc0\x2f", 2) + vector(b"\x00", 1) \
        + vector(extensions, 2)
    return b"\x16\x03\x01" + vector(b"\x01" + vector(body, 3), 2)


def answer(client: socket.socket, record: Accepted) -> None:
    """One answer whose reason phrase is what was asked for, to HTTP; an end to everything else."""
    asked = client.recv(65536)
    if asked.startswith(b"GET "):
        reason = asked.split(b"\r\n")[0].removeprefix(b"GET ").replace(b"\n", b"")
        client.sendall(b"HTTP/1.1 200 " + reason + b"\r\nContent-Length: 0\r\n\r\n")
    client.shutdown(socket.SHUT_WR)
    while client.recv(65536):
        pass


def ask_all(lab: Lab, port: int) -> None:
    random_ = random.Random(14)
    for number in range(NAMES):
        if number % 2:
            question = client_hello(hostile(random_, b""))
        else:
            name = hostile(random_, b"\n")
            question = b"GET /" + name + b" HTTP/1.1\r\nHost: " + name + b"\r\n\r\n"
        with lab.client.connect((Lab.FAR[4], port)) as sock:
            sock.sendall(question)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass


def controls(text: str) -> set[str]:
    """Control and direction-changing characters other than the newline that ends a line."""
    return {character for character in text if character != "\n"
            and unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")}


def assert_harmless(data: bytes) -> None:
    text = data.decode()  # not UTF-8: not harmless
    assert controls(text) == set()




@pytest.mark.parametrize("json_log", [True, False], ids=["json", "text"])
def test_hostile_names_are_written_harmlessly(lab, json_log):
    server = TcpServer(lab.server, answer)
    gateway = Gateway(lab.gateway, "-i", "lan0", json_log=json_log)
    ask_all(lab, server.port)
    if json_log:
        wait_until(lambda: len({entry.get("flow") for entry in gateway.log()}) >= NAMES,
                   "every flow is logged", 20)
        assert_harmless(gateway.log_path.read_bytes())
    else:
        wait_until(lambda: gateway.out.count(b"\n") >= NAMES, "every flow is logged", 20)
        assert_harmless(gateway.out)
    assert gateway.stop() == 0
    assert_harmless("\n".join(gateway.lines).encode())
