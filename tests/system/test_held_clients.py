# SPDX-License-Identifier: GPL-2.0-only
"""Clients that are held while their server is dialled: many at once, and such as do what few do."""
from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

import peers
from netlab import Lab, wait_until
from shunt import Gateway, native
from test_honest_connect import ANY_PROGRAM, Place

# The load is a static program, which no library gets into.
PLACES = pytest.mark.parametrize("place", ANY_PROGRAM)

# Many.


def many(lab: Lab, place: str, count: int, wait_ms: int) -> None:
    """None is reset, and none waits as long as `wait_ms` for its connection or its answer."""
    server = lab.server.spawn([native("load"), "echo", "7000"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    for host in (lab.client, lab.gateway):
        host.sysctl(net__ipv4__ip_local_port_range="10000 65000", net__ipv4__tcp_tw_reuse=1)
    where = Place(lab, place)
    for part in range(0, count, 8000):
        done = where.run([where.tool(native("load")), "dial", "--count", min(8000, count - part),
                          "--parallel", 32, "--wait", wait_ms, Lab.FAR[4 if part % 16000 else 6],
                          7000], timeout=120)
        wanted = min(8000, count - part)
        assert f"answered={wanted}" in done.out and "reset=0" in done.out, \
            f"{done}\n{where.gateway}"
    if where.gateway:
        assert where.gateway.stop() == 0


@PLACES
def test_thousands_of_connections_meet_no_reset(lab, place):
    many(lab, place, 3000, 5000)


@pytest.mark.long
@PLACES
def test_sixty_four_thousand_connections_meet_no_reset_and_lose_no_segment(lab, place):
    """A segment that finds no socket and is dropped is sent again after 200 ms."""
    many(lab, place, 64_000, 150)


@contextlib.contextmanager
def silent_connections(lab: Lab, gateway: Gateway, count: int) -> Iterator[list[socket.socket]]:
    """Of one client, under way to where nobody answers."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(lab.client.socket()) for _ in range(count)]
        for sock in sockets:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect((Lab.BLACKHOLE[4], 80))
        wait_until(lambda: sum(e["event"] == "start" for e in gateway.log()) >= count,
                   "all have come")
        yield sockets


def answer_seconds(lab: Lab, server: peers.TcpServer) -> float:
    """How long a connection takes until it has an answer; by IPv6, from no source that waits."""
    began = time.monotonic()
    with lab.client.connect((Lab.FAR[6], server.port)) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    return time.monotonic() - began


def test_more_than_may_be_held_are_let_in_first(lab):
    """512 of one client wait at most; a good connection is not delayed by those that do."""
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--workers", "1")
    with silent_connections(lab, gateway, 700) as sockets:
        assert len(select_writable(sockets)) == 700 - 512, gateway
        assert answer_seconds(lab, server) < 0.9  # a SYN that waited would be repeated after 1 s


@pytest.mark.figures
def test_connections_that_wait_delay_others_by_less_than_50_ms(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--workers", "1")
    with silent_connections(lab, gateway, 512):
        seconds = sorted(answer_seconds(lab, server) for _ in range(5))
    assert seconds[2] < 0.05, seconds


def select_writable(sockets: list[socket.socket]) -> list[socket.socket]:
    poll = select.poll()
    by_fd = {sock.fileno(): sock for sock in sockets}
    for fd in by_fd:
        poll.register(fd, select.POLLOUT)
    wait_until(lambda: len(poll.poll(0)) >= len(sockets) - 512, "those that are let in")
    return [by_fd[fd] for fd, _ in poll.poll(0)]


# Clients out of the ordinary.


def test_data_in_the_syn_arrives_once(lab):
    """TCP Fast Open without a cookie: the listener does not know it, so the client repeats it."""
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    Gateway(lab.gateway, "-i", "lan0")
    lab.client.sysctl(net__ipv4__tcp_fastopen=0x1 | 0x4)
    for version in (4, 6):
        with lab.client.socket(socket.AF_INET if version == 4 else socket.AF_INET6) as sock:
            sock.settimeout(5)
            sock.sendto(b"hello", socket.MSG_FASTOPEN, (Lab.FAR[version], server.port))
            assert sock.recv(100) == b"hello"
            sock.shutdown(socket.SHUT_WR)  # not earlier: it would end a connect() under way
            assert sock.recv(100) == b""


def test_multipath_clients_fall_back(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    Gateway(lab.gateway, "-i", "lan0")
    try:
        sock = lab.client.socket(socket.AF_INET, socket.SOCK_STREAM, 262)  # IPPROTO_MPTCP
    except OSError:
        pytest.skip("needs mptcp: the kernel has none")
    with sock:
        sock.settimeout(5)
        sock.connect((Lab.FAR[4], server.port))
        sock.sendall(b"hello")
        assert peers.receive(sock, 5) == b"hello"
    with lab.client.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as sock:
        sock.settimeout(5)
        with pytest.raises(ConnectionRefusedError):
            sock.connect((Lab.FAR[4], peers.free_port()))


def test_extension_headers_do_not_matter(lab):
    """Destination options in every packet of the client's, the SYN's included."""
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    Gateway(lab.gateway, "-i", "lan0")
    options = bytes([0, 0, 1, 4, 0, 0, 0, 0])  # padding
    for port, answer in ((server.port, b"hello"), (peers.free_port(), None)):
        with lab.client.socket(socket.AF_INET6) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, 59, options)  # IPV6_DSTOPTS
            sock.settimeout(5)
            if answer is None:
                with pytest.raises(ConnectionRefusedError):
                    sock.connect((Lab.FAR[6], port))
                continue
            sock.connect((Lab.FAR[6], port))
            sock.sendall(answer)
            assert peers.receive(sock, 5) == answer
