# SPDX-License-Identifier: GPL-2.0-only
"""Measures all variants side by side; what it returns is plain data that peer_tables.py prints.

Every round goes once through all variants; the order turns from round to round and is reversed in
every second one, and ratios are taken within one round: what the machine did meanwhile hits both.
"""
from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass

from netlab import wait_until

from sites import FIRST_PORT, LOAD, PORTS, Network, Placement, Site
from variants import VARIANTS, Variant


@dataclass(frozen=True)
class Metric:
    key: str
    name: str
    arguments: tuple[str, ...]  # of shunt_load
    bulk: bool = False
    warm_up: float = 0.2

    @property
    def value(self) -> str:
        return "bits_per_second" if self.bulk else "rate"


def exchange(key: str, name: str, size: int, connections: int, warm_up: float = 0.2) -> Metric:
    return Metric(key, name, ("exchange", f"bytes={size}", f"connections={connections}"),
                  warm_up=warm_up)


METRICS = [
    Metric("down1", "bulk download, 1 stream", ("download",), True),
    Metric("up1", "bulk upload, 1 stream", ("upload",), True),
    Metric("down8", "bulk download, 8 streams", ("download", "connections=8"), True),
    Metric("up8", "bulk upload, 8 streams", ("upload", "connections=8"), True),
    exchange("pp64x1", "64 B exchange, 1 connection", 64, 1),
    exchange("pp64x64", "64 B exchange, 64 connections", 64, 64),
    exchange("pp64x1000", "64 B exchange, 1,000 connections", 64, 1000, 0.6),
    exchange("pp1Kx64", "1 KiB exchange, 64 connections", 1024, 64),
    exchange("pp16Kx64", "16 KiB exchange, 64 connections", 16384, 64),
    Metric("short1", "new connections, 1 at a time", ("connect", f"ports={PORTS}")),
    Metric("short16", "new connections, 16 at a time",
           ("connect", "connections=16", f"ports={PORTS}")),
]
MEMORY_COUNTS = (1000, 9500)


def turned(names: list[str], number: int) -> list[str]:
    at = number // 2 % len(names)
    order = names[at:] + names[:at]
    return order if number % 2 == 0 else order[::-1]


class Comparison:
    def __init__(self, network: Network, variants: list[Variant], seconds: float) -> None:
        self.network, self.seconds = network, seconds
        self.variants = {variant.name: variant for variant in variants}
        if any(variant.chain for variant in variants):
            network.serve_proxies()
        for variant in variants:
            variant.start(network.site(variant.name))

    def one(self, name: str, metric: Metric) -> dict:
        """One run: its value, latencies, errors, and the relay's CPU for each operation or byte."""
        site = self.network.sites[name]
        before = site.cpu_ns()
        said = self.network.load(site, [*metric.arguments, f"seconds={self.seconds}",
                                        f"warmup={metric.warm_up}"])
        spent = site.cpu_ns() - before
        done = said["total_bytes" if metric.bulk else "total_operations"]
        return {"value": said[metric.value], "p50_us": said["p50_us"], "p99_us": said["p99_us"],
                "errors": said["errors"],
                # µs an operation; s/GB for bulk, which is ns/B
                "cpu": spent / done / (1 if metric.bulk else 1000) if done else None}

    def measure(self, metric: Metric, rounds: int) -> dict[str, list[dict]]:
        samples: dict[str, list[dict]] = {name: [] for name in self.variants}
        for number in range(rounds):
            for name in turned(list(self.variants), number):
                samples[name].append(self.one(name, metric))
                time.sleep(0.05)  # what the connections' ends still cost belongs to nobody
        return samples

    def memory(self, name: str, count: int) -> float:
        """Bytes of the relay for each of `count` connections that have said something."""
        site = self.network.sites[name]
        before = site.memory_bytes()
        holder = self.network.client.spawn(
            [LOAD, "idle", f"{site.target}:{FIRST_PORT}", f"connections={count}",
             f"ports={PORTS}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        opened = json.loads(holder.stdout.readline())
        assert opened["open"] == count, f"{name}: {opened}"
        time.sleep(0.3)
        after = site.memory_bytes()
        holder.stdin.close()
        holder.wait()
        wait_until(lambda: len(site.gateway.run(["ss", "-Htn"]).out.splitlines()) < count // 10,
                   f"{name}: the connections are gone", 30)
        return (after - before) / count


def chosen(wanted: str, known: list, key: str) -> list:
    """Those that a comma-separated list names; all without one."""
    words = {word.strip() for word in wanted.split(",") if word.strip()}
    names = {getattr(one, key) for one in known}
    if words - names:
        raise SystemExit(f"bench: no {', '.join(sorted(words - names))}; there are "
                         + ", ".join(getattr(one, key) for one in known))
    return [one for one in known if not words or getattr(one, key) in words]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# What must arrive whole, and what must be seen to break off; urgent data is left out, which none
# of the others carries.
TRANSFERS = {"close": ["--only", "fin"], "half-close": ["--only", "shut"],
             "reset": ["--only", "reset,abort"]}


def check_transfers(network: Network, names: list[str], count: int) -> dict:
    """{variant: {kind: [done, failed]}}"""
    found: dict = {}
    for name in names:
        found[name] = {kind: network.transfers(network.sites[name], "--count", count, "--parallel",
                                               16, "--urgent", 0, "--max-bytes", 1 << 20, *options)
                       for kind, options in TRANSFERS.items()}
        say(f"transfers, {name}: {found[name]}")
    return found


def latencies(network: Network, site: Site, port: int, seconds: float) -> list[float]:
    """p50 and p99 of 64 B exchanges on one connection, µs."""
    said = network.load(site, ["exchange", "bytes=64", f"seconds={seconds}"], port=port)
    return [said["p50_us"], said["p99_us"]]


def check_fairness(network: Network, variants: list[Variant], rounds: int, seconds: float) -> dict:
    """{variant: {"alone": [[p50, p99] of each round], "beside": the same beside 8 bulk downloads,
    "bulk": [bits a second of these]}}"""
    found: dict = {}
    with network.another_server() as port:
        for variant in variants:
            of = found[variant.name] = {"alone": [], "beside": [], "bulk": []}
            for _ in range(rounds):
                one_fair_round(network, network.sites[variant.name], port, seconds, of)
            say(f"fairness, {variant.name}: {of}")
    return found


def one_fair_round(network: Network, site: Site, port: int, seconds: float, of: dict) -> None:
    of["alone"].append(latencies(network, site, port, seconds))
    bulk = network.client.spawn(
        [*network.placement.ends, LOAD, "download", f"{site.target}:{FIRST_PORT}", "connections=8",
         f"seconds={seconds + 0.7}"], stdout=subprocess.PIPE)
    time.sleep(0.3)
    of["beside"].append(latencies(network, site, port, seconds))
    of["bulk"].append(json.loads(bulk.communicate()[0])["bits_per_second"])


def compare(rounds: int, seconds: float, placement: Placement, variants: list[Variant],
            metrics: list[Metric], memory: bool = False, transfers: int = 0,
            fairness: bool = False) -> dict:
    """{"metrics": {key: {variant: [sample of each round]}}, "memory": {variant: {count: bytes}},
    "transfers": {variant: {kind: [done, failed]}}, "fairness": check_fairness()}"""
    present = [variant for variant in variants if not variant.missing]
    for variant in variants:
        if variant.missing:
            say(f"{variant.name}: {variant.program} is not installed")
    result: dict = {"rounds": rounds, "seconds": seconds, "realtime": placement.realtime,
                    "metrics": {}, "memory": {}, "transfers": {}, "fairness": {}}
    with Network(placement) as network:
        comparison = Comparison(network, present, seconds)
        if memory:  # first: later it would reuse what others left
            for variant in present:
                if network.sites[variant.name].relays:
                    result["memory"][variant.name] = {
                        str(count): comparison.memory(variant.name, count)
                        for count in MEMORY_COUNTS if count <= variant.capacity}
            say(f"memory: {result['memory']}")
        for metric in metrics:
            result["metrics"][metric.key] = comparison.measure(metric, rounds)
            say(f"{metric.name}: done")
        if fairness:
            plain = [variant for variant in present if not variant.chain]
            result["fairness"] = check_fairness(network, plain, rounds, seconds)
        if transfers:
            result["transfers"] = check_transfers(network, list(comparison.variants), transfers)
    return result
