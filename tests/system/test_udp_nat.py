# SPDX-License-Identifier: GPL-2.0-only
"""What UDP clients look like from outside and who can reach them, in the words of RFC 4787."""
from __future__ import annotations

import socket
import threading
import time

import pytest

from netlab import DEADLINE, Host, Lab, wait_until
from peers import UdpEcho, free_port
from shunt import Gateway, read_log, shunt
from test_serve import LOG, Serve, configure

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
ANY = {4: "0.0.0.0", 6: "::"}
versions = pytest.mark.parametrize("version", [4, 6])


def bound(host: Host, version: int, port: int = 0) -> socket.socket:
    sock = host.socket(FAMILY[version], socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((ANY[version], port))
    return sock


def seen(sock: socket.socket, peer: socket.socket, version: int, text: bytes = b"hello") -> tuple:
    """Sends to a peer on the server; where from the peer got it."""
    sock.sendto(text, (Lab.FAR[version], peer.getsockname()[1]))
    data, source = peer.recvfrom(2000)
    assert data == text
    return source[:2]


def silent(sock: socket.socket) -> None:
    sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        sock.recv(100)
    sock.settimeout(DEADLINE)


def upstream_sockets(gateway: Gateway) -> int:
    """Unconnected and connected UDP sockets of shunt's beside its listeners."""
    lines = gateway.host.run(["ss", "-Hanup"]).out.splitlines()
    return sum(f"pid={gateway.pid}," in line and "127.0.0.1:" not in line.split()[3]
               and "[::1]:" not in line.split()[3] for line in lines)


@versions
def test_a_client_looks_the_same_to_every_peer_and_keeps_its_port(lab, version):
    """REQ-1, REQ-3."""
    gateway = Gateway(lab.gateway, "-i", "lan0", "--workers", "4")
    peers = [bound(lab.server, version) for _ in range(20)]
    for _ in range(4):
        with bound(lab.client, version) as sock:
            sources = {seen(sock, peer, version) for peer in peers}
            assert sources == {(Lab.WAN[version], sock.getsockname()[1])}
    assert gateway.stop() == 0


@versions
def test_a_thousand_destinations_cost_one_descriptor(lab, version):
    gateway = Gateway(lab.gateway, "-i", "lan0", json_log=False)
    echoes = [bound(lab.server, version) for _ in range(50)]
    before = upstream_sockets(gateway)
    with bound(lab.client, version) as sock:
        for echo in echoes:
            seen(sock, echo, version)
        for port in range(20_000, 20_950):
            sock.sendto(b"anybody?", (Lab.FAR[version], port))
            if port % 50 == 0:
                assert seen(sock, echoes[0], version)
        assert upstream_sockets(gateway) - before == 1
    assert gateway.stop() == 0


@versions
def test_a_stranger_reaches_a_client_which_answers_through_its_mapping(lab, version):
    """Endpoint-independent filtering (REQ-8). The answer must not go past the proxy."""
    gateway = Gateway(lab.gateway, "-i", "lan0")
    known, stranger = bound(lab.server, version), bound(lab.server, version)
    with bound(lab.client, version) as sock:
        outside = seen(sock, known, version)
        for number in range(3):
            stranger.sendto(b"knock %d" % number, outside)
            data, source = sock.recvfrom(100)
            assert data == b"knock %d" % number
            assert source[1] == stranger.getsockname()[1]
            sock.sendto(b"who is it?", source)
            data, back = stranger.recvfrom(100)
            assert (data, back[:2]) == (b"who is it?", outside)
    assert gateway.stop() == 0


@versions
@pytest.mark.parametrize("kind", ["address-dependent", "address-and-port-dependent"])
def test_filtering_keeps_strangers_out(lab, version, kind):
    gateway = Gateway(lab.gateway, "-i", "lan0", "--udp-filtering", kind)
    known, neighbour = bound(lab.server, version), bound(lab.server, version)
    stranger = bound(lab.evil, version)
    with bound(lab.client, version) as sock:
        outside = seen(sock, known, version)
        stranger.sendto(b"let me in", outside)
        silent(sock)
        neighbour.sendto(b"from next door", outside)
        source = {4: "198.51.100.2", 6: "2001:db8:100::2"}[version]
        if kind == "address-dependent":
            # The server answers from the address that its route prefers: that is not the one the
            # client knows, until it has sent there too.
            silent(sock)
            sock.sendto(b"hello", (source, known.getsockname()[1]))
            known.recv(100)
            neighbour.sendto(b"from next door", outside)
            assert sock.recv(100) == b"from next door"
        else:
            silent(sock)
    assert gateway.stop() == 0


@versions
def test_symmetric_mapping_is_to_be_had(lab, version):
    gateway = Gateway(lab.gateway, "-i", "lan0", "--udp-mapping", "symmetric")
    one, other = bound(lab.server, version), bound(lab.server, version)
    with bound(lab.client, version) as sock:
        assert seen(sock, one, version) != seen(sock, other, version)
    assert gateway.stop() == 0


@versions
def test_two_clients_reach_each_other_by_their_mapped_addresses(lab, version):
    """Hairpinning with the external source (REQ-9)."""
    gateway = Gateway(lab.gateway, "-i", "lan0", "--workers", "2")
    peer = bound(lab.server, version)
    with bound(lab.client, version) as one, bound(lab.client, version) as other:
        outside_one, outside_other = seen(one, peer, version), seen(other, peer, version)
        for number in range(3):
            other.sendto(b"ping %d" % number, outside_one)
            data, source = one.recvfrom(100)
            assert (data, source[:2]) == (b"ping %d" % number, outside_other)
            one.sendto(b"pong", source)
            data, source = other.recvfrom(100)
            assert (data, source[:2]) == (b"pong", outside_one)
    assert gateway.stop() == 0


@versions
def test_a_client_goes_on_through_the_proxy_when_conntrack_forgot_it(lab, version):
    """A late answer must not make conntrack take what the client sends next for replies."""
    lab.gateway.sysctl(net__netfilter__nf_conntrack_udp_timeout=1,
                       net__netfilter__nf_conntrack_udp_timeout_stream=1)
    gateway = Gateway(lab.gateway, "-i", "lan0")
    peer = bound(lab.server, version)
    with bound(lab.client, version) as sock:
        outside = seen(sock, peer, version)
        port = sock.getsockname()[1]
        entry = f"sport={port} "

        def forgotten() -> bool:
            lines = lab.gateway.run(["cat", "/proc/net/nf_conntrack"], check=False)
            return entry not in lines.out
        wait_until(forgotten, "conntrack forgets the client")
        for _ in range(3):
            peer.sendto(b"late", outside)
            assert sock.recv(100) == b"late"
            assert seen(sock, peer, version) == outside
    assert gateway.stop() == 0


@versions
def test_the_gateways_own_programs_are_mapped_too(lab, version):
    gateway = Gateway(lab.gateway, "--host")
    known, stranger = bound(lab.server, version), bound(lab.server, version)
    with bound(lab.gateway, version) as sock:
        outside = seen(sock, known, version)
        assert seen(sock, stranger, version) == outside
        assert outside[1] != sock.getsockname()[1], "it went past the proxy"
        third = bound(lab.server, version)
        third.sendto(b"knock", outside)
        data, source = sock.recvfrom(100)
        assert data == b"knock"
        assert seen(sock, third, version, b"yes?") == outside
    assert gateway.stop() == 0


RUN_CLIENT = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM)
sock.settimeout(20)
for port in sys.argv[2:]:
    sock.sendto(b"hello", (sys.argv[1], int(port)))
data, source = sock.recvfrom(100)
sock.sendto(b"answer", source[:2])
print(data.decode(), sock.recvfrom(100)[0].decode())
"""


@versions
def test_run_maps_its_command_and_lets_peers_in(lab, version):
    one, other, third = (bound(lab.server, version) for _ in range(3))
    result = []

    def command() -> None:
        result.append(shunt(lab.gateway, "run", "--", "/usr/bin/python3", "-c", RUN_CLIENT,
                            Lab.FAR[version], one.getsockname()[1], other.getsockname()[1],
                            timeout=60))
    thread = threading.Thread(target=command)
    thread.start()
    one.settimeout(40)
    outside = {peer.recvfrom(100)[1][:2] for peer in (one, other)}
    assert len(outside) == 1
    third.sendto(b"knock", outside.pop())
    data, source = third.recvfrom(100)
    assert data == b"answer"
    third.sendto(b"thanks", source)
    thread.join(60)
    assert result[0].out.strip() == "knock thanks"


@versions
def test_a_closed_port_of_one_peer_is_told_to_the_client_and_hurts_no_other(lab, version):
    gateway = Gateway(lab.gateway, "-i", "lan0")
    echo = UdpEcho(lab.server, family=FAMILY[version])
    level, receive_errors = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}[version]
    nobody = free_port()
    with bound(lab.client, version) as sock:
        sock.setsockopt(level, receive_errors, 1)
        sock.sendto(b"one", (Lab.FAR[version], echo.port))
        assert sock.recv(100) == b"one"
        sock.sendto(b"anybody?", (Lab.FAR[version], nobody))
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)
        _, _, _, about = sock.recvmsg(100, 512, socket.MSG_ERRQUEUE)
        assert about[:2] == (Lab.FAR[version], nobody)
        sock.sendto(b"two", (Lab.FAR[version], echo.port))
        assert sock.recv(100) == b"two"
    assert len({peer for _, peer in echo.received}) == 1
    assert gateway.stop() == 0


# Level, option to send with, option to be told by (linux/in.h, linux/in6.h).
TOS = {4: (socket.IPPROTO_IP, socket.IP_TOS, 13), 6: (socket.IPPROTO_IPV6, 67, 66)}


def received_tos(sock: socket.socket) -> tuple[int, tuple]:
    _, control, _, source = sock.recvmsg(100, 256)
    return next(data[0] for _, _, data in control), source


@versions
def test_tos_and_ecn_are_kept_both_ways(lab, version):
    gateway = Gateway(lab.gateway, "-i", "lan0")
    level, to_send, to_be_told = TOS[version]
    peer, client = bound(lab.server, version), bound(lab.client, version)
    for sock in (peer, client):
        sock.setsockopt(level, to_be_told, 1)
    for up, down in ((0xb9, 0x22), (0x02, 0xb8), (0x00, 0x03), (0x01, 0x00)):
        client.setsockopt(level, to_send, up)
        client.sendto(b"which?", (Lab.FAR[version], peer.getsockname()[1]))
        tos, outside = received_tos(peer)
        assert tos == up
        peer.setsockopt(level, to_send, down)
        peer.sendto(b"this", outside)
        assert received_tos(client)[0] == down
    assert gateway.stop() == 0


def test_timeouts_are_as_configured(lab):
    """Of a session without and with answers, and of the mapping behind both."""
    configure(lab, [], more='[udp]\ntimeout = "1s"\nanswered-timeout = "3s"\n'
                            'mapping-timeout = "1m"\n')
    serve = Serve(lab)
    silent_one, friend = bound(lab.server, 4), UdpEcho(lab.server)
    with bound(lab.client, 4) as sock:
        sock.sendto(b"hello", (Lab.FAR[4], friend.port))
        assert sock.recv(100) == b"hello"
        outside = seen(sock, silent_one, 4)

        def ends() -> dict[int, dict]:
            return {entry["destination_port"]: entry
                    for entry in read_log(lab.gateway.outside(LOG))
                    if entry["event"] == "end"}
        wait_until(lambda: len(ends()) == 2, "both sessions end")
        by_port = ends()
        assert 900 <= by_port[silent_one.getsockname()[1]]["elapsed_ms"] < 2900
        assert 2900 <= by_port[friend.port]["elapsed_ms"] < 6000
        assert {entry["reason"] for entry in by_port.values()} == {"idle"}
        assert seen(sock, silent_one, 4) == outside, "the mapping outlives them"
    assert serve.stop() == 0


@pytest.mark.parametrize("seconds", [20, pytest.param(300, marks=pytest.mark.long)])
def test_a_game_loses_nothing(lab, seconds):
    """60 datagrams a second to two servers at a time, each answered."""
    gateway = Gateway(lab.gateway, "-i", "lan0")
    echoes = [UdpEcho(lab.server), UdpEcho(lab.server)]
    came_back: set[tuple[int, int]] = set()
    with bound(lab.client, 4) as sock:
        def listen() -> None:
            while len(came_back) < 2 * 60 * seconds:
                data, source = sock.recvfrom(100)
                came_back.add((int(data), source[1]))
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        start = time.monotonic()
        for number in range(60 * seconds):
            time.sleep(max(0.0, start + number / 60 - time.monotonic()))
            for echo in echoes:
                sock.sendto(b"%d" % number, (Lab.FAR[4], echo.port))
        listener.join(DEADLINE)
    assert len(came_back) == 2 * 60 * seconds
    assert len({peer for echo in echoes for _, peer in echo.received}) == 1
    assert gateway.stop() == 0
