# SPDX-License-Identifier: GPL-2.0-only
"""What may happen to SYNs that wait in the kernel's queue."""
from __future__ import annotations

import contextlib
import re
import socket
import time

import peers
from netlab import Host, Lab, wait_until
from shunt import Gateway


def waiting(host: Host) -> int:
    """Packets in the queues of the host; the third column (nfnetlink_queue.c, seq_show())."""
    listed = host.run(["cat", "/proc/net/netfilter/nfnetlink_queue"]).out
    return sum(int(line.split()[2]) for line in listed.splitlines())


def begin(host: Host, address: tuple[str, int]) -> socket.socket:
    sock = host.socket()
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect(address)
    return sock


def test_a_queue_that_others_emptied_is_read_on(lab):
    """Whoever removes a base chain makes the kernel drop what waits in every queue; the verdicts
    then fail, and their errors come by the socket that packets come by."""
    many = 200
    silent = peers.TcpServer(lab.server, peers.echo_bytes)
    good = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--workers", "1")
    lab.server.nft("table inet slow { chain out { type filter hook output priority 0;"
                   f" tcp sport {silent.port} tcp flags syn drop; }}; }}")
    clients = [begin(lab.client, (Lab.FAR[4], silent.port)) for _ in range(many)]
    wait_until(lambda: waiting(lab.gateway) == many, "all of them are held")
    lab.gateway.nft("table inet foreign { chain x { type filter hook forward priority 5; }; }")
    lab.gateway.nft("delete table inet foreign")
    assert waiting(lab.gateway) == 0
    for sock in clients:
        sock.close()
    lab.server.nft("delete table inet slow")  # now they are let in, one and all
    wait_until(lambda: len(silent.accepted) == many, "the upstreams are connected", timeout=20)
    for _ in range(5):
        began = time.monotonic()
        with lab.client.connect((Lab.FAR[4], good.port), timeout=10) as sock:
            sock.sendall(b"question")
            assert peers.receive(sock, 8) == b"question"
        assert time.monotonic() - began < 0.9  # a SYN that waits is repeated after a second
    assert gateway.stop() == 0


def test_a_client_with_a_link_local_address_is_dialled_for_once(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0")
    shown = lab.client.run(["ip", "-6", "-o", "address", "show", "scope", "link"]).out
    device, address = re.search(r"\d+: (\w+)\s+inet6 (fe80[0-9a-f:]+)/", shown).groups()
    with lab.client.entered():
        scope = socket.if_nametoindex(device)
    with lab.client.socket(socket.AF_INET6) as sock:
        sock.settimeout(5)
        sock.bind((address, 0, 0, scope))
        sock.connect((Lab.FAR[6], server.port))
        sock.sendall(b"question")
        assert peers.receive(sock, 8) == b"question"
    assert gateway.stop() == 0
    assert len(server.accepted) == 1
    ends = [entry for entry in gateway.log() if entry["event"] == "end"]
    assert [end.get("failure") for end in ends] == [None]
