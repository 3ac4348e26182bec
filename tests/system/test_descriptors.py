# SPDX-License-Identifier: GPL-2.0-only
"""Running out of file descriptors is a state to live in, not a way to die (reliability row 5)."""
from __future__ import annotations

import re
import subprocess
import time

import pytest

from leaks import cpu_seconds, sockets
from netlab import Lab, pairs, wait_until
from peers import TcpServer, echo_bytes
from shunt import Gateway, native

pytestmark = pytest.mark.figures


@pytest.mark.parametrize("limit", [61, 64, 80, 100, 128, 192, 256])
def test_starved_of_descriptors_it_stays_calm_and_recovers(lab, limit):
    server = lab.server.spawn([native("load"), "echo", "7000"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    gateway = Gateway(lab.gateway, "-i", "lan0", prefix=("prlimit", f"--nofile={limit}"))
    idle = sockets(gateway.pid)
    crowd = lab.client.spawn([native("load"), "hold", "--count", 4 * limit // 2, Lab.FAR[4],
                              "7000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_until(lambda: pairs(crowd.stdout.readline().decode()).get("answered", 0) > 0,
               "some are served")
    said, used, began = len(gateway.lines), cpu_seconds(gateway.pid), time.monotonic()
    time.sleep(2)  # what is measured is how it spends its time
    share = (cpu_seconds(gateway.pid) - used) / (time.monotonic() - began)
    lines = (len(gateway.lines) - said) / (time.monotonic() - began)
    assert gateway.running
    assert share <= 0.20, f"{share:.0%} of a core while starved"
    assert lines <= 10, f"{lines:.0f} lines a second"

    crowd.stdin.close()
    crowd.wait(10)
    echo = TcpServer(lab.server, echo_bytes)
    began = time.monotonic()
    with lab.client.connect((Lab.FAR[4], echo.port)) as sock:
        sock.sendall(b"hello")
        assert sock.recv(5) == b"hello"
    assert time.monotonic() - began <= 1, "not in full service a second after the relief"
    wait_until(lambda: sockets(gateway.pid) <= idle, "no descriptor leaks")
    assert gateway.stop() == 0


@pytest.mark.parametrize("limit, connections", [
    (200, 130), pytest.param(20_000, 19_000, marks=pytest.mark.long)])
def test_each_worker_has_as_many_descriptors_as_the_limit_allows(lab, limit, connections):
    """RLIMIT_NOFILE is a bound of a worker: two hold twice the flows of one."""
    for host in lab.hosts.values():
        host.sysctl(net__ipv4__ip_local_port_range="10000 65000", net__core__somaxconn=16_384)
    server = lab.server.spawn(["prlimit", "--nofile=20000:20000", native("load"), "echo", "7000"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    gateway = Gateway(lab.gateway, "-i", "lan0", "--workers", 2, "--log-to", "/dev/null",
                      prefix=("prlimit", f"--nofile={limit}:{limit}"), json_log=False)
    room = int(re.search(r"room for (\d+) connections", gateway.wait_said("room for"))[1])
    assert limit // 2 < connections <= room < limit, room
    crowd = lab.client.spawn(["prlimit", "--nofile=20000:20000", native("load"), "hold", "--count",
                              connections, Lab.FAR[4], "7000"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def all_answered() -> bool:
        return pairs(crowd.stdout.readline().decode()).get("answered", 0) == connections
    wait_until(all_answered, f"{connections} connections at once are served", 120)
    crowd.stdin.close()
    crowd.wait(10)
    wait_until(lambda: sockets(gateway.pid) < 60, "all are given back", 30)
    assert gateway.stop() == 0
