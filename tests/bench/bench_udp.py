#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""UDP figures: direct forwarding, endpoint-independent mappings, and connected pairs
(`--udp-mapping symmetric`) in the same run. bench.py calls this; alone it prints a short look.

    tests/bench/bench_udp.py [ROUNDS] [SECONDS]

Two gateways are up at once in labs of their own, one for each mapping; the direct path is routed by
the first. Rounds go through the three in turned order, and each ratio is taken within one round.
"""
from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "system"))
from netlab import Lab  # noqa: E402
from shunt import BUILD, Gateway  # noqa: E402

LOAD = BUILD / "tests" / "bench" / "shunt_udp_load"
DIRECT, CAPTURED, PORTS = 5000, 6000, 100
PATHS = ("direct", "endpoint-independent", "symmetric")
SOURCES = [f"192.168.77.{number}" for number in range(10, 20)]
# Sockets and ports of each number of flows. 10,000 connected pairs are more descriptors than UDP
# may have of 20,000: with them those are a figure about eviction.
FLOWS = {1: (1, 1), 100: (10, 10), 10_000: (100, 100)}
SIZES = (64, 1200)


def memory_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise KeyError("RssAnon")


class Site:
    """A lab with a gateway, a server that counts, and a client with several addresses."""

    def __init__(self, lab: Lab, mapping: str) -> None:
        self.lab = lab
        for host in lab.hosts.values():
            host.sysctl(net__ipv4__ip_local_port_range="10000 65000")
        lab.client.ip(*(f"addr add {address}/24 dev eth0" for address in SOURCES))
        self.servers = {first: self._server(first) for first in (DIRECT, CAPTURED)}
        self.gateway = Gateway(lab.gateway, "-i", "lan0", "--udp-mapping", mapping, "--exclude",
                               f"port {DIRECT}-{DIRECT + PORTS - 1}", json_log=False)

    def _server(self, first: int) -> subprocess.Popen:
        server = self.lab.server.spawn([LOAD, "server", f"{self.lab.server.v4}:{first}", PORTS],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert server.stdout.readline() == b"ready\n"
        return server

    def counted(self, first: int) -> int:
        """Once nothing more arrives."""
        before = -1
        while True:
            server = self.servers[first]
            server.stdin.write(b"\n")
            server.stdin.flush()
            count = json.loads(server.stdout.readline())["packets"]
            if count == before:
                return count
            before = count
            time.sleep(0.1)

    def load(self, first: int, what: str, seconds: float, *arguments: str) -> dict:
        done = self.lab.client.run([LOAD, what, f"{self.lab.server.v4}:{first}",
                                    f"seconds={seconds}", *arguments], timeout=seconds + 120)
        return json.loads(done.out)

    def flood(self, first: int, flows: int, size: int, seconds: float,
              rate: float | None = None) -> tuple[float, float]:
        """Packets that arrived a second, and the part of those sent that did not."""
        sockets, ports = FLOWS[flows]
        before = self.counted(first)
        sent = self.load(first, "flood", seconds, f"sockets={sockets}", f"ports={ports}",
                         f"bytes={size}", f"sources={','.join(SOURCES)}",
                         *([f"rate={rate:.0f}"] if rate else []))
        arrived = self.counted(first) - before - sent["opened"]
        return max(arrived, 0) / sent["seconds"], max(0.0, 1 - arrived / max(sent["sent"], 1))


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}–{max(values):.2f}]"


def turned(number: int) -> list[str]:
    return [PATHS[(number + k) % len(PATHS)] for k in range(len(PATHS))]


class UdpBench:
    def __init__(self, labs: tuple[Lab, Lab], seconds: float, rounds: int) -> None:
        self.seconds, self.rounds = seconds, rounds
        sites = [Site(lab, mapping) for lab, mapping in zip(labs, PATHS[1:])]
        self.by_path = dict(zip(PATHS, ((sites[0], DIRECT), (sites[0], CAPTURED),
                                        (sites[1], CAPTURED))))
        self.sites = sites

    def memory(self) -> list[str]:
        """Anonymous memory of the gateway for each of a thousand sessions."""
        cells = []
        for site in self.sites:
            before = memory_bytes(site.gateway.pid)
            site.load(CAPTURED, "flood", 0.01, "sockets=10", "ports=100", "rate=100",
                      f"sources={','.join(SOURCES)}")
            cells.append(f"{(memory_bytes(site.gateway.pid) - before) / 1000:,.0f} B")
        return cells

    def throughput(self, flows: int, size: int) -> str:
        rates: dict[str, list[float]] = {path: [] for path in PATHS}
        losses: dict[str, list[float]] = {path: [] for path in PATHS}
        for number in range(self.rounds):
            for path in turned(number):
                site, first = self.by_path[path]
                rate, _ = site.flood(first, flows, size, self.seconds)
                _, lost = site.flood(first, flows, size, self.seconds, max(0.8 * rate, 100))
                rates[path].append(rate)
                losses[path].append(lost)
        direct = rates["direct"]
        cells = [f"{size} B, {flows:,} flow{'s' if flows > 1 else ''}",
                 f"{statistics.median(direct):,.0f}"]
        for path in PATHS[1:]:
            cells += [f"{statistics.median(rates[path]):,.0f}",
                      spread([rate / of for rate, of in zip(rates[path], direct) if of])]
        cells.append(" / ".join(f"{statistics.median(losses[path]):.2%}" for path in PATHS))
        return "| " + " | ".join(cells) + " |"

    def latency(self) -> list[str]:
        """Of a flow of 60 packets a second, for as long as four floods."""
        told: dict[str, list[dict]] = {path: [] for path in PATHS}
        for number in range(self.rounds):
            for path in turned(number):
                site, first = self.by_path[path]
                told[path].append(site.load(first, "ping", 4 * self.seconds))
        lines = []
        for key in ("p50_us", "p99_us"):
            direct = [report[key] for report in told["direct"]]
            cells = [f"{key[:3]} of a round trip at 60 packets/s",
                     f"{statistics.median(direct):,.0f} µs"]
            for path in PATHS[1:]:
                more = [report[key] - of for report, of in zip(told[path], direct)]
                cells.append(f"+{statistics.median(more):,.0f} µs "
                             f"[{min(more):,.0f}–{max(more):,.0f}]")
            lines.append("| " + " | ".join(cells) + " |")
        lost = sum(report["sent"] - report["received"] for path in PATHS for report in told[path])
        lines.append(f"| lost in all of them | {lost} | | |")
        return lines


def udp_report(seconds: float, rounds: int) -> list[str]:
    with Lab() as one, Lab() as other:
        bench = UdpBench((one, other), seconds, rounds)
        memory = bench.memory()  # first: later it would reuse what others left
        lines = ["| datagrams a second | direct | endpoint-independent | ratio | connected pairs "
                 "| ratio | lost at 80 % of each |", "|---|---|---|---|---|---|---|"]
        for size in SIZES:
            for flows in FLOWS:
                lines.append(bench.throughput(flows, size))
                print(lines[-1], flush=True)
        more = ["", "| | direct | endpoint-independent | connected pairs |", "|---|---|---|---|",
                *bench.latency(),
                f"| memory, each of 1,000 sessions | | {memory[0]} | {memory[1]} |"]
        print("\n".join(more), flush=True)
        for site in bench.sites:
            assert site.gateway.stop() == 0
    return lines + more


if __name__ == "__main__":
    udp_report(rounds=int(sys.argv[1]) if len(sys.argv) > 1 else 3,
               seconds=float(sys.argv[2]) if len(sys.argv) > 2 else 0.5)
