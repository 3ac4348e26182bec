# SPDX-License-Identifier: GPL-2.0-only
"""SIGKILL at any moment leaves a working host (reliability row 2)."""
from __future__ import annotations

import contextlib
import random
import socket
import struct
import time

import pytest

import peers
from leaks import KernelState
from netlab import Host, Lab, family_of, wait_until
from shunt import Gateway, flow_ends, shunt

KILLS = 100
PACKETS = 10_000


def ask(host: Host, address: str, port: int, timeout: float = 5) -> None:
    with host.connect((address, port), timeout=timeout) as sock:
        sock.sendall(b"hello")
        assert peers.receive(sock, 5) == b"hello"


def lifetime(kill: int) -> float:
    """Half of the kills hit the start, which takes some tens of milliseconds."""
    return random.Random(kill).uniform(0, 0.08 if kill % 2 else 0.3)


def kill_at_random(lab: Lab, kill: int, *options: object) -> Gateway:
    """A gateway that lives for a random moment; what it serves meanwhile does not matter."""
    gateway = Gateway(lab.gateway, *options, wait=False, json_log=False)
    deadline = time.monotonic() + lifetime(kill)
    while time.monotonic() < deadline:
        if kill % 4 == 0:
            with contextlib.suppress(OSError, AssertionError):
                lab.client.connect((Lab.FAR[4], 7), timeout=0.02).close()
        time.sleep(0.002)
    gateway.kill()
    return gateway


def assert_direct(lab: Lab, server: peers.TcpServer, host: Host, killed: float) -> None:
    """A connection works, and nobody stands between, within 100 ms of the death."""
    for version in (4, 6):
        ask(host, Lab.FAR[version], server.port, timeout=0.1)
    assert time.monotonic() - killed <= 0.1
    expected = {host.address(4), host.address(6)}
    assert {accepted.peer[0] for accepted in server.seen(2)[-2:]} == expected
    server.accepted.clear()


@pytest.mark.figures
@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_a_killed_gateway_leaves_a_host_that_works(lab, method):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    before = KernelState.of(lab.gateway)
    for kill in range(KILLS // 2):
        kill_at_random(lab, kill, "-i", "lan0", "--host", "--method", method)
        killed = time.monotonic()
        assert_direct(lab, server, lab.client if kill % 2 else lab.gateway, killed)
        left = KernelState.of(lab.gateway)
        assert left.after_kill(before) == [], f"after kill {kill}"
    assert shunt(lab.gateway, "down").ok
    assert KernelState.of(lab.gateway).added_and_removed(before) == []
    # The next start works and sweeps by itself.
    kill_at_random(lab, 0, "-i", "lan0", "--method", method)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--method", method)
    ask(lab.client, Lab.FAR[4], server.port)
    assert gateway.stop() == 0
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


def test_killed_again_and_again_beside_a_second_gateway_that_keeps_working(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    before = KernelState.of(lab.gateway)
    survivor = Gateway(lab.gateway, "-i", "dmz0")
    alone = KernelState.of(lab.gateway)
    for kill in range(KILLS // 4):
        kill_at_random(lab, kill, "-i", "lan0", "--method", ("tproxy", "redirect")[kill % 2])
        ask(lab.evil, Lab.FAR[4 if kill % 2 else 6], server.port)
        assert server.accepted[-1].peer[0] != lab.evil.address(4 if kill % 2 else 6)
        assert KernelState.of(lab.gateway).after_kill(alone) == [], f"after kill {kill}"
    assert shunt(lab.gateway, "down").ok
    assert KernelState.of(lab.gateway).added_and_removed(alone) == []
    flow_ends(survivor.log_path, lambda end: end.source[0] == lab.evil.v4)
    assert survivor.stop() == 0
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


def test_sysctls_of_a_killed_gateway_are_put_back_by_the_next(binary):
    with Lab(forwarding=False) as lab:
        before = KernelState.of(lab.gateway)
        gateway = Gateway(lab.gateway, "-i", "lan0")
        gateway.kill()
        assert lab.gateway.run(["sysctl", "-n", "net.ipv4.ip_forward"]).out == "1\n"
        assert KernelState.of(lab.gateway).after_kill(before) == []
        assert Gateway(lab.gateway, "-i", "lan0").stop() == 0
        assert KernelState.of(lab.gateway).added_and_removed(before) == []


# on-exit = closed.


class Uplink:
    """Counts what passes from the gateway's side towards the server, neighbour discovery apart,
    and apart from TCP connections that are shunt's own, by their source ports."""

    def __init__(self, lab: Lab, own_ports: list[int] | None = None) -> None:
        self.host = lab.server
        own = f"tcp sport {{ {', '.join(map(str, own_ports))} }} return;" if own_ports else ""
        lab.server.nft("table inet uplink { counter seen { }\n chain pre { type filter hook"
                       f" prerouting priority -400; {own} iifname eth0"
                       " meta l4proto { tcp, udp } counter name seen; }; }")

    @property
    def packets(self) -> int:
        said = self.host.run(["nft", "list", "counter", "inet", "uplink", "seen"]).out
        return int(said.split("packets")[1].split()[0])


def send_many(host: Host, version: int, count: int, udp: bool = True) -> None:
    """Datagrams and first packets of connections, half and half."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    if udp:
        with host.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            for number in range(count // 2):
                with contextlib.suppress(OSError):
                    sock.sendto(b"escaped?", (Lab.FAR[version], 1000 + number % 1000))
    with host.entered():
        for number in range(count // 2):
            with socket.socket(family) as sock:
                sock.setblocking(False)
                with contextlib.suppress(OSError):
                    sock.connect((Lab.FAR[version], 1000 + number % 1000))


@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_nothing_escapes_a_killed_gateway_that_is_to_stay_closed(lab, method):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    before = KernelState.of(lab.gateway)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--host", "--method", method,
                      "--on-exit", "closed")
    ask(lab.client, Lab.FAR[4], server.port)
    ask(lab.gateway, Lab.FAR[6], server.port)
    gateway.kill()
    uplink = Uplink(lab)
    for host in (lab.client, lab.gateway):
        for version in (4, 6):
            send_many(host, version, PACKETS // 4, udp=method == "tproxy")
    assert uplink.packets == 0
    assert KernelState.of(lab.gateway).after_kill(before, closed=True) == []
    assert shunt(lab.gateway, "down").ok
    assert KernelState.of(lab.gateway).added_and_removed(before) == []
    for host in (lab.client, lab.gateway):
        ask(host, Lab.FAR[4], server.port)


def is_reset(sock: socket.socket) -> bool:
    """Goes on sending, as a program does that has not read the end of file yet."""
    try:
        sock.send(b"escaped?")
        return False
    except (ConnectionResetError, BrokenPipeError):
        return True


@pytest.mark.parametrize("foreign_nat", [False, True], ids=["no-other-nat", "other-nat"])
@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_a_connection_under_way_is_reset_and_sends_nothing_past_a_closed_gateway(
        lab, method, foreign_nat):
    """Dropped, it would send again once connection tracking has forgotten that it was captured."""
    if foreign_nat:  # the kernel goes on translating while anybody has a nat chain
        lab.gateway.nft("table ip foreign { chain post { type nat hook postrouting priority srcnat;"
                        " }; }\ntable ip6 foreign { chain post { type nat hook postrouting priority"
                        " srcnat; }; }")
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--host", "--method", method,
                      "--on-exit", "closed")
    lab.gateway.sysctl(**{f"net__netfilter__nf_conntrack_tcp_timeout_{state}": 1
                          for state in ("close", "close_wait", "fin_wait", "last_ack",
                                        "time_wait")})
    socks = []
    for host in (lab.client, lab.gateway):
        for version in (4, 6):
            socks.append(host.connect((Lab.FAR[version], server.port)))
            socks[-1].sendall(b"hello")
            assert peers.receive(socks[-1], 5) == b"hello"
    uplink = Uplink(lab, own_ports=[accepted.peer[1] for accepted in server.seen(len(socks))])
    gateway.kill()
    for sock in socks:
        wait_until(lambda sock=sock: is_reset(sock), f"{sock} is reset")
        sock.close()
    assert uplink.packets == 0


def end_without_a_word(sock: socket.socket) -> None:
    """What its peer still sends is answered by the kernel, with a bare reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def asks_clients_to_close(gateway: Host) -> bool:
    """Sockets of the dead one that nobody has answered yet."""
    states = "state fin-wait-1 state last-ack state closing".split()
    return gateway.run(["ss", "-Htn", *states]).out != ""


@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_what_was_captured_before_a_kill_does_not_leave_after_the_next_start(lab, method):
    """Connections of programs that live and of ones that are gone; two starts, as the second
    follows one that had taken over itself."""
    options = ("-i", "lan0", "--host", "--method", method, "--on-exit", "closed")
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, *options)
    for connections in (8, 16):
        alive, gone = [], []
        for host in (lab.client, lab.gateway):
            for version in (4, 6):
                for kept in (alive, gone):
                    kept.append(host.connect((Lab.FAR[version], server.port)))
                    kept[-1].sendall(b"hello")
                    assert peers.receive(kept[-1], 5) == b"hello"
        own = [accepted.peer[1] for accepted in server.seen(connections)]
        uplink = Uplink(lab, own_ports=own)
        gateway.kill()
        for sock in gone:
            end_without_a_word(sock)
        gateway = Gateway(lab.gateway, *options)
        for sock in alive:
            wait_until(lambda sock=sock: is_reset(sock), f"{sock} is reset")
            sock.close()
        wait_until(lambda: not asks_clients_to_close(lab.gateway), "the dead one's sockets end")
        assert uplink.packets == 0
        lab.server.nft("delete table inet uplink")
    assert gateway.stop() == 0


@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_a_start_that_fails_lets_nothing_past_that_a_killed_gateway_blocks(lab, method):
    options = ("-i", "lan0", "--method", method, "--on-exit", "closed")
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, *options)
    sock = lab.client.connect((Lab.FAR[4], server.port))
    sock.sendall(b"hello")
    assert peers.receive(sock, 5) == b"hello"
    uplink = Uplink(lab, own_ports=[accepted.peer[1] for accepted in server.seen(1)])
    gateway.kill()
    failed = shunt(lab.gateway, "gateway", *options, "--log-to", "/nowhere/lines", check=False)
    assert not failed.ok and "/nowhere/lines" in failed.err, failed
    with contextlib.suppress(OSError):
        sock.sendall(b"escaped?")
    with pytest.raises(ConnectionRefusedError):  # so what was sent before has got as far as it does
        lab.client.connect((Lab.LAN[4], 1))
    assert uplink.packets == 0


def test_a_session_of_datagrams_is_judged_anew_after_a_kill(lab):
    """Connection tracking does not take it for new, as it was answered."""
    ports = {version: peers.UdpEcho(lab.server, family=family_of(Lab.FAR[version])).port
             for version in (4, 6)}
    options = ("-i", "lan0", "--host", "--on-exit", "closed")
    gateway = Gateway(lab.gateway, *options)
    socks = []
    for host in (lab.client, lab.gateway):
        for version in (4, 6):
            socks.append(host.socket(family_of(Lab.FAR[version]), socket.SOCK_DGRAM))
            socks[-1].settimeout(5)
            socks[-1].connect((Lab.FAR[version], ports[version]))
            socks[-1].send(b"hello")
            assert socks[-1].recv(100) == b"hello"
    uplink = Uplink(lab)
    gateway.kill()
    gateway = Gateway(lab.gateway, *options, "--rule=-> reject")
    for sock in socks:
        with pytest.raises(ConnectionRefusedError):
            sock.send(b"escaped?")
            sock.recv(100)
    assert uplink.packets == 0
    assert gateway.stop() == 0


def test_an_orderly_stop_opens_what_a_kill_would_have_closed(lab):
    before = KernelState.of(lab.gateway)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--on-exit", "closed")
    assert gateway.stop() == 0
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


def test_the_next_start_takes_over_what_was_closed_without_a_gap(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    before = KernelState.of(lab.gateway)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--on-exit", "closed")
    gateway.kill()
    gateway = Gateway(lab.gateway, "-i", "lan0")
    wait_until(lambda: _reachable(lab, server.port), "captured traffic flows again")
    assert server.accepted[-1].peer[0] != lab.client.v4
    assert gateway.stop() == 0
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


def _reachable(lab: Lab, port: int) -> bool:
    try:
        ask(lab.client, Lab.FAR[4], port, timeout=1)
        return True
    except OSError:
        return False


def test_what_was_not_captured_passes_a_closed_gateway(lab):
    """What `closed` blocks is what was captured and nothing else."""
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--on-exit", "closed")
    gateway.kill()
    ask(lab.evil, Lab.FAR[4], server.port)
    ask(lab.gateway, Lab.FAR[4], server.port)
    service = peers.TcpServer(lab.gateway, peers.echo_bytes)
    ask(lab.client, Lab.LAN[4], service.port)
    assert shunt(lab.gateway, "down").ok
