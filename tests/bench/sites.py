# SPDX-License-Identifier: GPL-2.0-only
"""The network of the comparison: one client and one server, and a gateway of its own between them
for each variant.

    client  eth<i> 192.168.<100+i>.2  -  lan0 .1  gateway i  wan0 198.51.100.<4i+1>  -  server

All gateways are up at once, so that rounds go from one to the next without waiting for anything,
and no variant pays for another's rules or connection tracking: those are in its own namespace. The
client reaches the same server program by another address for each variant.
"""
from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from netlab import Host
from shunt import BUILD, native

LOAD = BUILD / "tests" / "bench" / "shunt_load"
FIRST_PORT, PORTS = 5000, 16
TRANSFER_PORT, TRANSFER_PORTS = FIRST_PORT + PORTS, 4  # of tests/system/native/transfer.c
LAST_PORT = TRANSFER_PORT + TRANSFER_PORTS - 1
SOCKS_PORT, SHADOW_PORT = 1080, 8388


@dataclass(frozen=True)
class Placement:
    """Before a command: which CPU it may use, and whether it goes before what else the machine
    does."""

    pinned: bool = False
    realtime: bool = False

    def words(self, cpu: int) -> list[str]:
        return ([*(["taskset", "-c", str(cpu)] if self.pinned else []),
                 *(["chrt", "-f", "5"] if self.realtime else [])])

    @property
    def relay(self) -> list[str]:
        return self.words(0)

    @property
    def ends(self) -> list[str]:
        return self.words(1)


@dataclass
class Site:
    """One variant's gateway, between the client and the server that all share."""

    gateway: Host
    client_side: str  # the gateway's address in the LAN
    upstream: str  # the server's address behind this gateway
    placement: Placement
    relays: list[int] = field(default_factory=list)  # pids whose CPU time and memory count
    target: str = ""  # where the client connects to

    def spawn(self, command: list[object], **popen) -> subprocess.Popen:
        child = self.gateway.spawn([*self.placement.relay, *command], **popen)
        self.relays.append(child.pid)
        return child

    def write(self, name: str, text: str) -> str:
        self.gateway.outside(f"/run/{name}").write_text(text)
        return f"/run/{name}"

    def cpu_ns(self) -> int:
        """Time on a CPU of all relays' threads; the kernel counts it in nanoseconds."""
        return sum(int((task / "schedstat").read_text().split()[0]) for pid in self.relays
                   for task in Path(f"/proc/{pid}/task").iterdir())

    def memory_bytes(self) -> int:
        """Anonymous resident memory of the relays."""
        return sum(int(line.split()[1]) * 1024 for pid in self.relays
                   for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                   if line.startswith("RssAnon:"))


class Network:
    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.hosts: list[Host] = []
        self.sites: dict[str, Site] = {}
        self.client, self.server = self._host("client"), self._host("server")
        serving = self._serve([LOAD, "server", f"0.0.0.0:{FIRST_PORT}", PORTS],
                              stdout=subprocess.PIPE)
        assert serving.stdout.readline() == b"ready\n"

    def _host(self, name: str) -> Host:
        host = Host(name)
        self.hosts.append(host)
        host.sysctl(net__ipv4__ip_local_port_range="10000 65000", net__ipv4__tcp_tw_reuse=1,
                    net__core__somaxconn=8192, net__ipv4__tcp_max_syn_backlog=8192)
        return host

    def _serve(self, command: list[object], **popen) -> subprocess.Popen:
        return self.server.spawn([*self.placement.ends, *command], **popen)

    def serve_proxies(self) -> None:
        """What the variants that go through a proxy have behind them: the same for all."""
        self._serve(["microsocks", "-i", "0.0.0.0", "-p", SOCKS_PORT],
                    stderr=subprocess.DEVNULL)
        self._serve(["ss-server", "-s", "0.0.0.0", "-p", SHADOW_PORT, "-m", "aes-128-gcm", "-k",
                     "bench", "-n", "20000", "-t", "600", "--no-delay"],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def site(self, name: str) -> Site:
        """A gateway that forwards, and does nothing else yet."""
        number = len(self.sites)
        host = self._host(f"gateway-{number}")
        host.sysctl(net__ipv4__ip_forward=1, net__ipv4__conf__all__rp_filter=0,
                    net__ipv4__conf__default__rp_filter=0)
        lan, wan = f"192.168.{100 + number}", f"198.51.100.{4 * number + 1}"
        upstream = f"198.51.100.{4 * number + 2}"
        host.ip(f"link add lan0 type veth peer name eth{number} netns {self.client.pid}",
                f"link add wan0 type veth peer name eth{number} netns {self.server.pid}",
                f"addr add {lan}.1/24 dev lan0", f"addr add {wan}/30 dev wan0",
                "link set lan0 up", "link set wan0 up")
        self.client.ip(f"addr add {lan}.2/24 dev eth{number}", f"link set eth{number} up",
                       f"route add {upstream}/32 via {lan}.1")
        self.server.ip(f"addr add {upstream}/30 dev eth{number}", f"link set eth{number} up",
                       f"route add {lan}.0/24 via {wan}")
        host.ip(f"route add default via {upstream}")
        site = Site(host, f"{lan}.1", upstream, self.placement, target=upstream)
        self.sites[name] = site
        return site

    @contextmanager
    def another_server(self) -> Iterator[int]:
        """The port of a server of its own: beside it the first one may be busy."""
        serving = self._serve([LOAD, "server", f"0.0.0.0:{TRANSFER_PORT}", 1],
                              stdout=subprocess.PIPE)
        assert serving.stdout.readline() == b"ready\n"
        try:
            yield TRANSFER_PORT
        finally:
            serving.kill()
            serving.wait()

    def load(self, site: Site, arguments: list[str], timeout: float = 90,
             port: int = FIRST_PORT) -> dict:
        """One run of the load tool; what it prints. "errors" are connections that failed."""
        done = self.client.run([*self.placement.ends, LOAD, arguments[0],
                                f"{site.target}:{port}", *arguments[1:]],
                               timeout=timeout, check=False)
        assert done.out, str(done)
        return json.loads(done.out)

    def transfers(self, site: Site, *options: object, timeout: float = 240) -> tuple[int, int]:
        """Transfers checked byte by byte at both ends: how many, and how many went wrong."""
        serving = self._serve([native("transfer"), "serve", TRANSFER_PORT],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        assert serving.stdout.readline() == b"ready\n"
        done = self.client.run([*self.placement.ends, native("transfer"), "run", *options,
                                site.target, TRANSFER_PORT], timeout=timeout, check=False)
        serving.stdin.close()
        by_client, by_server = (
            dict(word.split("=") for word in text.splitlines()[-1].split())
            for text in (done.out, serving.stdout.read().decode()))
        serving.wait()
        return int(by_client["done"]), max(int(by_client["failed"]), int(by_server["failed"]))

    def close(self) -> None:
        for host in reversed(self.hosts):
            host.close()
        self.hosts.clear()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
