# SPDX-License-Identifier: GPL-2.0-only
"""What the gateway's rules must get right beside the plain case: every test is a trap that a
simpler set of rules falls into."""
from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time

import pytest

import peers
from leaks import KernelState
from netlab import Host, Lab, family_of, wait_until
from shunt import Gateway, chains, flow_ends, shunt, with_ports

METHODS = pytest.mark.parametrize("method", ["tproxy", "redirect"])
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def talk(sock: socket.socket) -> None:
    sock.sendall(b"hello")
    assert peers.receive(sock, 5) == b"hello"


def udp(host: Host, version: int) -> socket.socket:
    sock = host.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    sock.settimeout(5)
    return sock


def ask_by_datagram(sock: socket.socket, address: str, port: int) -> None:
    sock.sendto(b"hello", (address, port))
    said, source = sock.recvfrom(100)
    assert said.endswith(b"hello")
    assert source[:2] == (address, port)


class Counter:
    """Packets on a host that an nft expression matches, counted in a table of the test's own."""

    def __init__(self, host: Host, hook: str, *matches: str) -> None:
        self.host = host
        rules = "\n".join(f"{match} counter name seen" for match in matches)
        host.nft(f"table inet counting {{\n counter seen {{ }}\n chain c {{\n"
                 f"type filter hook {hook}\n{rules}\n}}\n}}")

    @property
    def packets(self) -> int:
        said = self.host.run(["nft", "list", "counter", "inet", "counting", "seen"]).out
        return int(said.split("packets")[1].split()[0])


def hear_nothing(host: Host) -> None:
    """The host no longer hears that its connections are gone, and goes on with them."""
    host.nft("table inet deaf {\n chain input {\n type filter hook input priority -300\n"
             " meta l4proto { tcp, udp, icmp } drop\n"
             " icmpv6 type destination-unreachable drop\n}\n}")


# on-exit = closed, in the middle of a flow.


@METHODS
@VERSIONS
def test_the_rest_of_a_captured_connection_does_not_escape(lab, method, version):
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--host", "--method", method,
                      "--on-exit", "closed")
    live = [host.connect((Lab.FAR[version], server.port)) for host in (lab.client, lab.gateway)]
    for sock in live:
        talk(sock)
    # From here on whatever comes from these sockets is the client's own, never shunt's.
    ports = ", ".join(str(sock.getsockname()[1]) for sock in live)
    escaped = Counter(lab.server, "prerouting priority -400",
                      f"tcp sport {{ {ports} }}")
    retransmitted = Counter(lab.client, "output priority -400", "meta l4proto tcp")
    hear_nothing(lab.client)
    gateway.kill()
    for sock in live:
        with contextlib.suppress(OSError):
            sock.sendall(b"and this is a secret")
    wait_until(lambda: retransmitted.packets >= 3, "the client repeats itself")
    assert escaped.packets == 0


@VERSIONS
def test_datagrams_of_a_captured_flow_do_not_escape(lab, version):
    echo = peers.UdpEcho(lab.server, family=family_of(Lab.FAR[version]))
    gateway = Gateway(lab.gateway, "-i", "lan0", "--host", "--on-exit", "closed")
    flows = [udp(host, version) for host in (lab.client, lab.gateway)]
    for sock in flows:
        ask_by_datagram(sock, Lab.FAR[version], echo.port)
    escaped = Counter(lab.server, "prerouting priority -400", "meta l4proto udp")
    gateway.kill()
    for sock in flows:
        for _ in range(100):
            with contextlib.suppress(OSError):
                sock.sendto(b"escaped?", (Lab.FAR[version], echo.port))
    assert escaped.packets == 0


@METHODS
def test_a_closed_gateway_lets_live_traffic_pass(lab, method):
    """Captured, older than the capture, excluded, or shunt's own: all pass while it lives."""
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    excluded = peers.TcpServer(lab.server, peers.echo_bytes)
    old = [host.connect((Lab.FAR[version], server.port))
           for host in (lab.client, lab.gateway) for version in (4, 6)]
    gateway = Gateway(lab.gateway, "-i", "lan0", "--host", "--loopback", "--method", method,
                      "--on-exit", "closed", "--exclude", f"port {excluded.port}")
    for sock in old:
        talk(sock)
    own_service = peers.TcpServer(lab.gateway, peers.echo_bytes)
    for host, address, port in ((lab.client, Lab.FAR[4], server.port),
                                (lab.client, Lab.FAR[6], server.port),
                                (lab.gateway, Lab.FAR[4], server.port),
                                (lab.gateway, Lab.FAR[6], server.port),
                                (lab.gateway, "127.0.0.1", own_service.port),
                                (lab.gateway, "::1", own_service.port),
                                (lab.client, Lab.LAN[4], own_service.port),
                                (lab.client, Lab.FAR[4], excluded.port),
                                (lab.gateway, Lab.FAR[6], excluded.port)):
        with host.connect((address, port)) as sock:
            talk(sock)
    assert gateway.stop() == 0


# --loopback.


@METHODS
def test_loopback_takes_what_the_machine_says_to_itself(lab, method):
    service = peers.TcpServer(lab.gateway, peers.echo_bytes)
    gateway = Gateway(lab.gateway, "--host", "--loopback", "--method", method)
    for address in ("127.0.0.1", "::1", Lab.WAN[4], Lab.WAN[6]):
        with lab.gateway.connect((address, service.port)) as sock:
            talk(sock)
            assert sock.getpeername()[0] == address
        flow_ends(gateway.log_path, lambda end, to=address: end.destination[0] == to)
    assert gateway.stop() == 0


@VERSIONS
def test_loopback_datagrams_come_back_past_the_service_that_holds_the_port(lab, version):
    """The reply's source is an address of the machine, where a service is bound already."""
    address = {4: "127.0.0.1", 6: "::1"}[version]
    echo = peers.UdpEcho(lab.gateway, family=family_of(address))
    gateway = Gateway(lab.gateway, "--host", "--loopback")
    for _ in range(20):
        with udp(lab.gateway, version) as sock:
            ask_by_datagram(sock, address, echo.port)
    assert gateway.stop() == 0
    seen = [entry for entry in gateway.log() if entry["protocol"] == "udp"]
    assert seen, "the datagrams were captured"


# The kernel's settings.


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
@METHODS
def test_strict_reverse_paths_with_marks_drop_nothing(lab, method, rp_filter):
    """wg-quick sets src_valid_mark; with one mark for all, forwarded packets were dropped."""
    lab.gateway.sysctl(net__ipv4__conf__all__src_valid_mark=1,
                       net__ipv4__conf__all__rp_filter=rp_filter,
                       net__ipv4__conf__lan0__rp_filter=rp_filter)
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    echo = peers.UdpEcho(lab.server)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--host", "--method", method)
    for host in (lab.client, lab.gateway):
        with host.connect((Lab.FAR[4], server.port)) as sock:
            talk(sock)
        with udp(host, 4) as sock:
            ask_by_datagram(sock, Lab.FAR[4], echo.port)
    assert gateway.stop() == 0


def test_a_default_route_that_a_router_advertised_stays(binary):
    """The kernel drops such routes when forwarding goes on, unless accept_ra is 2."""
    with Lab(forwarding=False) as lab:
        gateway_ns = lab.gateway
        gateway_ns.run(["ip", "-6", "route", "flush", "default"])
        gateway_ns.sysctl(net__ipv6__conf__wan0__accept_ra=1)
        advertise_router(lab.server)
        wait_until(lambda: "proto ra" in routes6(gateway_ns), "the advertised route arrives")
        gateway = Gateway(gateway_ns, "-i", "lan0")
        assert "proto ra" in routes6(gateway_ns)
        assert gateway_ns.run(["sysctl", "-n", "net.ipv6.conf.all.forwarding"]).out == "1\n"
        assert gateway.stop() == 0
        assert "proto ra" in routes6(gateway_ns)
        assert gateway_ns.run(["sysctl", "-n", "net.ipv6.conf.wan0.accept_ra"]).out == "1\n"


def routes6(host: Host) -> str:
    return host.run(["ip", "-6", "route", "show", "default"]).out


def advertise_router(host: Host) -> None:
    """One router advertisement (RFC 4861 section 4.2) from the host's link-local address."""
    with host.entered():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    with sock:
        index = int(re.match(r"(\d+):", host.run(["ip", "-o", "link", "show", "eth0"]).out)[1])
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
        sock.sendto(advertisement,
                    ("ff02::1", 0, 0, index))


# Neighbours in the path.


def test_masquerade_covers_what_is_not_captured(lab):
    echo = peers.UdpEcho(lab.server)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--masquerade", "--exclude", "proto udp")
    with udp(lab.client, 4) as sock:
        sock.sendto(b"hello", (Lab.FAR[4], echo.port))
        sock.recvfrom(100)
    assert echo.received[-1][1][0] == Lab.WAN[4]
    assert gateway.stop() == 0


def test_without_masquerade_there_is_a_warning_with_the_fix(lab):
    gateway = Gateway(lab.gateway, "-i", "lan0")
    assert gateway.said("--masquerade"), str(gateway)
    assert gateway.stop() == 0
    lab.gateway.nft("table ip nat {\n chain post {\n type nat hook postrouting priority srcnat\n"
                    " oifname \"wan0\" masquerade\n}\n}")
    gateway = Gateway(lab.gateway, "-i", "lan0")
    assert not gateway.said("--masquerade"), str(gateway)
    assert gateway.stop() == 0


def test_a_datagram_flow_that_goes_on_after_the_stop_is_masqueraded(lab):
    """Its conntrack entry dates from the capture and says: no translation."""
    lab.gateway.nft("table ip nat {\n chain post {\n type nat hook postrouting priority srcnat\n"
                    " oifname \"wan0\" masquerade\n}\n}")
    echo = peers.UdpEcho(lab.server)
    gateway = Gateway(lab.gateway, "-i", "lan0")
    with udp(lab.client, 4) as sock:
        ask_by_datagram(sock, Lab.FAR[4], echo.port)
        assert gateway.stop() == 0
        ask_by_datagram(sock, Lab.FAR[4], echo.port)
    assert echo.received[-1][1][0] == Lab.WAN[4]


def test_errors_about_captured_datagrams_stay_here(lab):
    """The client is gone: its host's `port unreachable` is for shunt, not for the server."""
    server = udp(lab.server, 4)
    server.bind((Lab.FAR[4], peers.free_port()))
    gateway = Gateway(lab.gateway, "-i", "lan0", "--host")
    errors = Counter(lab.server, "prerouting priority -400", "icmp type destination-unreachable")
    complaints = [Counter(host, "output priority -400", "icmp type destination-unreachable")
                  for host in (lab.client, lab.gateway)]
    for host, complaint in zip((lab.client, lab.gateway), complaints):
        with udp(host, 4) as sock:
            sock.sendto(b"hello", server.getsockname())
            _, upstream = server.recvfrom(100)
        server.sendto(b"too late", upstream)
        wait_until(lambda said=complaint: said.packets >= 1, f"{host.name} complains")
    assert errors.packets == 0
    server.close()
    assert gateway.stop() == 0


@METHODS
@VERSIONS
def test_one_client_port_serves_one_connection_after_the_other(lab, method, version):
    """A SYN that meets the last connection's TIME_WAIT goes to the listener at once."""
    server = peers.TcpServer(lab.server, peers.hello_then_half_close)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--method", method)
    port = peers.free_port()
    began = time.monotonic()
    for _ in range(50):
        sock = lab.client.socket(family_of(Lab.FAR[version]))
        with sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.settimeout(5)
            sock.bind((lab.client.address(version), port))
            sock.connect((Lab.FAR[version], server.port))
            while sock.recv(100):  # the other side closes first
                pass
    assert time.monotonic() - began < 10
    assert gateway.stop() == 0


@METHODS
def test_no_new_connection_is_lost_while_it_starts_and_stops(lab, method):
    """At any moment a SYN is either captured or let go, never swallowed."""
    server = peers.TcpServer(lab.server, peers.echo_bytes)
    stop = threading.Event()
    failures: list[str] = []

    def keep_asking(host: Host, version: int) -> None:
        while not stop.is_set():
            try:
                with host.connect((Lab.FAR[version], server.port), timeout=0.9) as sock:
                    talk(sock)
            except (OSError, AssertionError) as error:
                failures.append(f"{host.name} v{version}: {error!r}")

    askers = [threading.Thread(target=keep_asking, args=(host, version))
              for host in (lab.client, lab.gateway) for version in (4, 6)]
    for asker in askers:
        asker.start()
    for _ in range(3):
        gateway = Gateway(lab.gateway, "-i", "lan0", "--host", "--method", method)
        time.sleep(0.1)
        assert gateway.stop() == 0
    stop.set()
    for asker in askers:
        asker.join()
    # The listener's last moment: what sits in its backlog when it closes is reset.
    assert len(failures) <= 2, failures


# What is said.


def test_plan_prints_what_is_installed(lab):
    options = ("-i", "lan0", "--host", "--exclude", "to 192.0.2.0/24", "--on-exit", "closed")
    planned = shunt(lab.gateway, "plan", "gateway", *options).out
    gateway = Gateway(lab.gateway, *options)
    rules = lab.gateway.run(["ip", "rule"]).out + lab.gateway.run(["ip", "-6", "rule"]).out
    for line in re.findall(r"^ip (?:-6 )?rule add pref (\d+) fwmark (\S+) iif (\S+)", planned,
                           re.M):
        priority, mark, interface = line
        assert re.search(rf"^{priority}:\s+from all fwmark {mark} iif {interface} ", rules, re.M), \
            f"{line} is not in\n{rules}"
    tables = re.findall(r"^table .*?^}$", planned, re.M | re.S)
    assert len(tables) == 2
    installed = lab.gateway.run(["nft", "list", "ruleset"]).out
    # Loaded elsewhere, the plan's text reads as the kernel gives back what is installed.
    for table in tables:
        lab.evil.nft(with_ports(table.replace("  flags owner\n", ""), installed))
    copied = lab.evil.run(["nft", "list", "ruleset"]).out
    assert chains(copied) == chains(installed)
    assert gateway.stop() == 0


def test_a_read_only_proc_costs_only_the_forwarding(binary):
    with Lab(forwarding=False) as lab:
        lab.gateway.run(["mount", "--bind", "-o", "ro", "/proc/sys", "/proc/sys"], check=False)
        server = peers.TcpServer(lab.server, peers.echo_bytes)
        gateway = Gateway(lab.gateway, "-i", "lan0")
        with lab.client.connect((Lab.FAR[4], server.port)) as sock:
            talk(sock)
        assert gateway.stop() == 0


def test_a_failed_start_leaves_nothing(lab):
    """The log cannot be opened: by then a number is taken and listeners are open."""
    before = KernelState.of(lab.gateway)
    failed = shunt(lab.gateway, "gateway", "-i", "lan0", "--log-to", "/nonexistent/log",
                   check=False)
    assert failed.code == 1
    assert "/nonexistent/log" in failed.err
    assert KernelState.of(lab.gateway).added_and_removed(before) == []
