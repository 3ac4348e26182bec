# SPDX-License-Identifier: GPL-2.0-only
"""Coming and going: live connections survive both, flows are drained, and nothing stays behind."""
from __future__ import annotations

import signal
import socket
import time

import pytest

import peers
from leaks import KernelState
from netlab import Lab, wait_until
from shunt import Gateway, as_end, flow_ends, shunt

METHODS = pytest.mark.parametrize("method", ["tproxy", "redirect"])
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
EVERYTHING = ("-i", "lan0", "--host")


def talk(sock: socket.socket) -> None:
    """One question and its answer, over an echo server."""
    sock.sendall(b"are you there?")
    assert peers.receive(sock, 14) == b"are you there?"


# Orderly stops.


@METHODS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_stop_leaves_nothing(lab, method, number):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    before = KernelState.of(lab.gateway)
    gateway = Gateway(lab.gateway, *EVERYTHING, "--loopback", "--method", method)
    for host in (lab.client, lab.gateway):
        for version in (4, 6):
            with host.connect((Lab.FAR[version], server.port)) as sock:
                talk(sock)
    assert KernelState.of(lab.gateway).added_and_removed(before) != []
    assert gateway.stop(number) == 0
    assert KernelState.of(lab.gateway).added_and_removed(before) == []
    assert shunt(lab.gateway, "down").ok
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


def test_forwarding_is_raised_and_put_back():
    with Lab(forwarding=False) as lab:
        server = peers.TcpServer(lab.server, peers.echo_bytes)
        before = KernelState.of(lab.gateway)
        gateway = Gateway(lab.gateway, "-i", "lan0")
        for version in (4, 6):
            with lab.client.connect((Lab.FAR[version], server.port)) as sock:
                talk(sock)
        assert lab.gateway.run(["sysctl", "-n", "net.ipv4.ip_forward"]).out == "1\n"
        assert gateway.stop() == 0
        assert KernelState.of(lab.gateway).added_and_removed(before) == []


def test_sigterm_lets_a_live_flow_end_by_itself(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--drain", "30s")
    with lab.client.connect((Lab.FAR[4], server.port)) as sock:
        talk(sock)
        gateway.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            talk(sock)
            time.sleep(0.05)
        assert gateway.running
    assert gateway.wait() == 0  # long before the 30 s
    flow_ends(gateway.log_path, lambda end: end.reason == "closed" and end.bytes_up > 0)


def test_new_connections_go_direct_while_draining(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--drain", "20s")
    with lab.client.connect((Lab.FAR[4], server.port)) as old:
        talk(old)
        gateway.send_signal(signal.SIGTERM)
        def direct() -> bool:
            with lab.client.connect((Lab.FAR[4], server.port)) as sock:
                talk(sock)
            return server.accepted[-1].peer[0] == lab.client.v4
        wait_until(direct, "a new connection is not captured any more", 3)
        talk(old)
    assert gateway.wait() == 0


def test_the_drain_deadline_ends_what_is_left_with_a_reset(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    before = KernelState.of(lab.gateway)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--drain", "500ms")
    with lab.client.connect((Lab.FAR[4], server.port)) as sock:
        talk(sock)
        began = time.monotonic()
        assert gateway.stop() == 0
        assert 0.4 <= time.monotonic() - began <= 3
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    flow_ends(gateway.log_path, lambda end: end.reason == "shutdown")
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


def test_a_second_interrupt_ends_at_once(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    before = KernelState.of(lab.gateway)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--drain", "60s")
    with lab.client.connect((Lab.FAR[4], server.port)) as sock:
        talk(sock)
        gateway.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert gateway.running, "one interrupt drains"
        began = time.monotonic()
        gateway.send_signal(signal.SIGINT)
        assert gateway.wait() == 0
        assert time.monotonic() - began < 1.5
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


# Connections that shunt never captured.


class Conversations:
    """Live connections on all three routes through a gateway."""

    def __init__(self, lab: Lab, version: int) -> None:
        here = peers.TcpServer(lab.gateway, peers.echo_bytes)
        there = peers.TcpServer(lab.server, peers.echo_bytes)
        self.sockets = {
            "forwarded": lab.client.connect((Lab.FAR[version], there.port)),
            "into the gateway": lab.client.connect((Lab.LAN[version], here.port)),
            "into the gateway from outside": lab.server.connect((Lab.WAN[version], here.port)),
            "from the gateway": lab.gateway.connect((Lab.FAR[version], there.port)),
        }
        self.talk("at first")

    def talk(self, when: str) -> None:
        for route, sock in self.sockets.items():
            try:
                talk(sock)
            except (OSError, AssertionError) as error:
                raise AssertionError(f"{route}: {error!r} {when}") from error

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()


@METHODS
@VERSIONS
@pytest.mark.parametrize("end", [Gateway.stop, Gateway.kill], ids=["stop", "kill"])
def test_live_connections_survive_start_and_end(lab, method, version, end):
    old = Conversations(lab, version)
    gateway = Gateway(lab.gateway, *EVERYTHING, "--method", method)
    old.talk("after the start")
    during = Conversations(lab, version)
    old.talk("beside captured ones")
    during.close()
    assert end(gateway) in (0, None)
    old.talk("after the end")
    old.close()


@METHODS
def test_services_of_the_gateway_itself_stay_reachable(lab, method):
    """Neither its LAN clients nor its own programs are captured on the way to it."""
    service = peers.TcpServer(lab.gateway, peers.echo_bytes)
    gateway = Gateway(lab.gateway, *EVERYTHING, "--method", method)
    for host, address in ((lab.client, Lab.LAN[4]), (lab.client, Lab.LAN[6]),
                          (lab.client, Lab.WAN[4]), (lab.gateway, "127.0.0.1"),
                          (lab.gateway, "::1"), (lab.gateway, Lab.LAN[4])):
        with host.connect((address, service.port)) as sock:
            talk(sock)
            expected = sock.getsockname()[0]
        assert service.ended(len(service.accepted))[-1].peer[0] == expected
    assert gateway.stop() == 0
    assert gateway.log() == []


# The defaults.


def test_lan_interfaces_are_found_and_named(lab):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway)
    assert any("lan0" in line for line in gateway.lines), str(gateway)
    assert not any("wan0" in line and "captur" in line for line in gateway.lines)
    with lab.client.connect((Lab.FAR[4], server.port)) as sock:
        talk(sock)
    flow_ends(gateway.log_path, lambda end: end.source[0] == lab.client.v4)
    with lab.evil.connect((Lab.FAR[4], server.port)) as sock:  # dmz0 is no LAN
        talk(sock)
    assert server.ended(2)[1].peer[0] == lab.evil.v4
    assert gateway.stop() == 0


@METHODS
def test_excluded_traffic_stays_in_the_kernel(lab, method):
    chosen, other = (peers.TcpServer(lab.server, peers.echo_bytes) for _ in range(2))
    gateway = Gateway(lab.gateway, *EVERYTHING, "--method", method,
                      "--exclude", f"to {Lab.FAR[4]} port {chosen.port}",
                      "--exclude", f"to {Lab.FAR[6]}/128")
    for host in (lab.client, lab.gateway):
        for address, port in ((Lab.FAR[4], chosen.port), (Lab.FAR[4], other.port),
                              (Lab.FAR[6], chosen.port), (lab.server.v6, other.port)):
            with host.connect((address, port)) as sock:
                talk(sock)
    assert gateway.stop() == 0
    captured = [end.destination for end in map(as_end, gateway.log()) if end]
    assert (Lab.FAR[4], chosen.port) not in captured
    assert Lab.FAR[6] not in [address for address, _ in captured]
    assert captured.count((Lab.FAR[4], other.port)) == 2
    assert captured.count((lab.server.v6, other.port)) == 2


# down and plan.


def test_down_is_idempotent_and_spares_the_living(lab):
    before = KernelState.of(lab.gateway)
    assert shunt(lab.gateway, "down").ok
    assert KernelState.of(lab.gateway).added_and_removed(before) == []
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0")
    running = KernelState.of(lab.gateway)
    for _ in range(2):
        assert shunt(lab.gateway, "down").ok
        assert KernelState.of(lab.gateway).added_and_removed(running) == []
    with lab.client.connect((Lab.FAR[4], server.port)) as sock:
        talk(sock)
    gateway.kill()
    for _ in range(2):
        assert shunt(lab.gateway, "down").ok
        assert KernelState.of(lab.gateway).added_and_removed(before) == []
