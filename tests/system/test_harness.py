# SPDX-License-Identifier: GPL-2.0-only
"""The test networks themselves: what every other test takes for granted."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from daemons import Dnsmasq
from leaks import KernelState
from netlab import Host, Lab, wait_until
from peers import TcpServer, UdpEcho, echo_bytes, receive
from shunt import native


@pytest.fixture
def network():
    with Lab() as made:
        yield made


@pytest.mark.parametrize("version", [4, 6])
def test_the_gateway_forwards_and_the_server_sees_the_client(network, version):
    server = TcpServer(network.server, echo_bytes)
    with network.client.connect((Lab.FAR[version], server.port)) as sock:
        sock.sendall(b"hello")
        assert receive(sock, 5) == b"hello"
    accepted = server.ended(1)[0]
    assert accepted.peer[0] == network.client.address(version)
    assert accepted.local == (Lab.FAR[version], server.port)


def test_what_is_swallowed_is_silent_and_what_is_rejected_is_unreachable(network):
    with pytest.raises(TimeoutError):
        network.client.connect((Lab.BLACKHOLE[4], 80), timeout=0.3)
    with pytest.raises(OSError, match="No route to host"):
        network.client.connect((Lab.UNREACHABLE[4], 80))


@pytest.mark.parametrize("family, version", [(socket.AF_INET, 4), (socket.AF_INET6, 6)])
def test_datagrams_are_answered_from_where_they_were_sent(network, family, version):
    echo = UdpEcho(network.server, family=family)
    with network.client.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(b"hello", (Lab.FAR[version], echo.port))
        data, source = sock.recvfrom(100)
    assert (data, source[:2]) == (b"hello", (Lab.FAR[version], echo.port))


def test_names_are_resolved_by_the_labs_own_resolver(network):
    from netlab import needs
    needs("dnsmasq")
    Dnsmasq(network.server, {"www.shunt.example": [Lab.FAR[4], Lab.FAR[6]]})
    network.client.file("/etc/resolv.conf", f"nameserver {network.server.v4}\n")
    assert Lab.FAR[6] in network.client.run(["getent", "ahosts", "www.shunt.example"]).out


def test_a_host_is_not_the_machine():
    host = Host("lonely")
    try:
        assert host.run(["ip", "-br", "link"]).out.split()[0] == "lo"
        assert host.run(["readlink", "/proc/self/ns/net"]).out.strip() \
            != os.readlink("/proc/self/ns/net")
    finally:
        host.close()


def test_the_leak_check_sees_rules_routes_tables_sysctls_and_listeners(network):
    before = KernelState.of(network.gateway)
    assert KernelState.of(network.gateway).added_and_removed(before) == []
    network.gateway.ip("rule add fwmark 7 lookup 77", "route add local default dev lo table 77")
    network.gateway.nft("table inet other { chain c { type filter hook input priority 0; }; }")
    network.gateway.sysctl(net__ipv4__conf__all__src_valid_mark=1)
    listener = network.gateway.socket()
    listener.bind(("127.0.0.1", 999))
    listener.listen()
    found = "\n".join(KernelState.of(network.gateway).added_and_removed(before))
    listener.close()
    for sign in ("rule4: + ", "route4: + ", "nft: + table inet other", "src_valid_mark:1",
                 "127.0.0.1:999"):
        assert sign in found, f"{sign!r} is not in\n{found}"


def test_a_network_ends_with_the_process_that_made_it():
    script = ("import sys, os; sys.path.insert(0, sys.argv[1])\n"
              "from netlab import Lab\n"
              "lab = Lab(); child = lab.server.spawn(['sleep', '1000'])\n"
              "print(child.pid, *(host.pid for host in lab.hosts.values()), flush=True)\n"
              "os.kill(os.getpid(), 9)")
    done = subprocess.run([sys.executable, "-c", script, Path(__file__).parent],
                          capture_output=True, text=True, timeout=20)
    pids = done.stdout.split()
    assert len(pids) == 5, done.stderr
    wait_until(lambda: not any(_alive(pid) for pid in pids), "every holder and child ended")


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("version", [4, 6])
def test_random_endings_are_judged_right_without_a_proxy(network, version):
    """The integrity tool finds no fault with the kernel's own TCP."""
    server = network.server.spawn([native("transfer"), "serve", "7000"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    done = network.client.run([native("transfer"), "run", "--count", "300", Lab.FAR[version],
                               "7000"], timeout=120, check=False)
    server.stdin.close()
    said = server.stdout.read().decode()
    assert done.ok and server.wait(10) == 0, f"{done}\n{said}"
    assert "done=300 failed=0" in done.out
