#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Network figures as ratios to the direct routed path, and to other programs, of the same run.

    ./dev bench                      every figure; prints tables and writes docs/performance.md
    ./dev bench --sections peers     one section of it
    ./dev bench --quick              a short look; prints only
    ./dev bench --metrics pp64x1,short16 --variants direct,shunt,haproxy --rounds 5
                                     a part of the comparison with others; prints only

client - gateway - server in network namespaces of its own. Ports 5000 to 5015 are excluded from
capture, so the same gateway routes them directly: both paths are up at once, rounds alternate
between them in turned order, and each ratio is taken within one round. All three hosts share this
machine's cores, so a ratio also counts contention: read it as cost, not as line rate.
"""
from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "system"))
from netlab import Lab, UNPRIVILEGED  # noqa: E402
from shunt import BINARY, BUILD, Gateway  # noqa: E402

import document  # noqa: E402
from bench_observe import observe_report  # noqa: E402
from bench_udp import udp_report  # noqa: E402
from document import Size  # noqa: E402
from peer_section import Plan, peers_section  # noqa: E402

LOAD = BUILD / "tests" / "bench" / "shunt_load"
CALL_COST = BUILD / "tests" / "bench" / "call_cost"
RUN_METHODS = ("namespace", "ebpf", "seccomp", "ptrace", "preload")
DIRECT, CAPTURED, PORTS = 5000, 6000, 16
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Metric:
    name: str
    arguments: list[str]  # of shunt_load
    value: str  # the key of its report that counts
    unit: str
    scale: float = 1.0
    latencies: bool = False


CONNECT_METRICS = [
    Metric("new connections, 1 at a time", ["connect", f"ports={PORTS}"], "rate", "/s", 1, True),
    Metric("new connections, 16 at a time", ["connect", "connections=16", f"ports={PORTS}"],
           "rate", "/s", 1, True),
]
METRICS = [
    Metric("bulk download, 1 stream", ["download"], "bits_per_second", "Gbit/s", 1e-9),
    Metric("bulk upload, 1 stream", ["upload"], "bits_per_second", "Gbit/s", 1e-9),
    Metric("bulk download, 8 streams", ["download", "connections=8"], "bits_per_second", "Gbit/s",
           1e-9),
    Metric("bulk upload, 8 streams", ["upload", "connections=8"], "bits_per_second", "Gbit/s",
           1e-9),
    Metric("1 KiB exchange, 1 connection", ["exchange", "bytes=1024"], "rate", "/s", 1, True),
    Metric("1 KiB exchange, 64 connections", ["exchange", "bytes=1024", "connections=64"], "rate",
           "/s", 1, True),
    Metric("1 KiB exchange, 1,000 connections", ["exchange", "bytes=1024", "connections=1000"],
           "rate", "/s", 1, True),
    *CONNECT_METRICS,
]


@dataclass
class Samples:
    """What the rounds of one metric gave, paired by round."""

    direct: list[dict] = field(default_factory=list)
    shunt: list[dict] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)  # of shunt, in its own rounds

    def ratios(self, key: str) -> list[float]:
        return [s[key] / d[key] for s, d in zip(self.shunt, self.direct) if d[key]]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_kib(pid: int, key: str = "RssAnon") -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


class Bench:
    def __init__(self, lab: Lab, seconds: float, *options: str) -> None:
        self.lab, self.seconds = lab, seconds
        self.servers: list[int] = []
        for host in lab.hosts.values():
            host.sysctl(net__ipv4__ip_local_port_range="10000 65000", net__ipv4__tcp_tw_reuse=1,
                        net__core__somaxconn=8192)
        for first in (DIRECT, CAPTURED):
            server = lab.server.spawn([LOAD, "server", f"{lab.server.v4}:{first}", PORTS],
                                      stdout=subprocess.PIPE)
            self.servers.append(server.pid)
            assert server.stdout.readline() == b"ready\n"
        self.gateway = Gateway(lab.gateway, "-i", "lan0", "--exclude",
                               f"port {DIRECT}-{DIRECT + PORTS - 1}", *options, json_log=False)

    def load(self, port: int, arguments: list[str]) -> dict:
        done = self.lab.client.run(
            [LOAD, arguments[0], f"{self.lab.server.v4}:{port}", *arguments[1:],
             f"seconds={self.seconds}"], timeout=self.seconds + 60)
        return json.loads(done.out)

    def ends_cpu_seconds(self) -> float:
        """Of the servers, and of the clients that have ended."""
        clients = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (sum(map(cpu_seconds, self.servers)) + clients.ru_utime + clients.ru_stime)

    def measure(self, metric: Metric, rounds: int) -> Samples:
        samples = Samples()
        for number in range(rounds):
            for path in ("direct", "shunt") if number % 2 == 0 else ("shunt", "direct"):
                before = cpu_seconds(self.gateway.pid)
                report = self.load(DIRECT if path == "direct" else CAPTURED, metric.arguments)
                if path == "shunt":
                    samples.cpu_seconds.append(cpu_seconds(self.gateway.pid) - before)
                getattr(samples, path).append(report)
        return samples

    def idle_memory(self, count: int) -> float:
        """Anonymous memory of the gateway for each idle connection, bytes."""
        before = memory_kib(self.gateway.pid)
        holder = self.lab.client.spawn(
            [LOAD, "idle", f"{self.lab.server.v4}:{CAPTURED}", f"connections={count}",
             f"ports={PORTS}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        opened = json.loads(holder.stdout.readline())
        assert opened == {"open": count, "errors": 0}, opened
        time.sleep(0.3)
        after = memory_kib(self.gateway.pid)
        holder.stdin.close()
        holder.wait()
        return (after - before) * 1024 / count


def start_up(rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of `true` and of `shunt run true`, alternating, as an ordinary user."""
    user = ["setpriv", "--reuid", str(UNPRIVILEGED), "--regid", str(UNPRIVILEGED),
            "--clear-groups", "--"]
    plain, shunted = [], []
    for _ in range(rounds):
        for command, times in (([*user, "true"], plain),
                               ([*user, str(BINARY), "run", "true"], shunted)):
            began = time.perf_counter()
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, cwd="/")
            times.append((time.perf_counter() - began) * 1000)
    return plain, shunted


CALL_HEADER = """| method | connect() p50, ratio | p99, ratio | getppid() p50, ratio | p99, ratio |
|---|---|---|---|---|"""


def ways_to_run(lab: Lab) -> dict[str, list[str]]:
    """What goes before a command, by the name of the way; "direct" is no way."""
    ways: dict[str, list[str]] = {"direct": []}
    for method in RUN_METHODS:
        ways[method] = [str(BINARY), "run", "--method", method, "--"]
    if shutil.which("proxychains4") and shutil.which("microsocks"):
        lab.gateway.spawn(["microsocks", "-i", Lab.LAN[4], "-p", "1080"])
        lab.client.outside("/run/proxychains.conf").write_text(
            f"strict_chain\nquiet_mode\n[ProxyList]\nsocks5 {Lab.LAN[4]} 1080\n")
        ways["proxychains4, by SOCKS5"] = ["proxychains4", "-q", "-f", "/run/proxychains.conf"]
    return ways


def call_costs(rounds: int, connects: int) -> list[str]:
    """What a connect() and an unrelated call cost a program under each method of `shunt run`,
    against the same program without: all ways in turn, each ratio within a round."""
    lines = [CALL_HEADER]
    with Lab() as lab:
        server = lab.server.spawn([LOAD, "server", f"{lab.server.v4}:{DIRECT}", 1],
                                  stdout=subprocess.PIPE)
        assert server.stdout.readline() == b"ready\n"
        work = {"connect": ["connect", lab.server.v4, str(DIRECT), str(connects)],
                "call": ["call", "2000"]}
        ways = ways_to_run(lab)
        said: dict[tuple[str, str], list[dict]] = {(w, k): [] for w in ways for k in work}
        for _ in range(rounds):
            for name, way in ways.items():
                for kind, words in work.items():
                    done = lab.client.run([*way, str(CALL_COST), *words], timeout=120)
                    said[name, kind].append(json.loads(done.out))
        for name in ways:
            cells = [name]
            for kind in work:
                for key in ("p50_us", "p99_us"):
                    own = [report[key] for report in said[name, kind]]
                    direct = [report[key] for report in said["direct", kind]]
                    cells.append(f"{statistics.median(own):.2f} µs, "
                                 f"{spread([o / d for o, d in zip(own, direct)])}")
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    return lines


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}–{max(values):.2f}]"


def row(metric: Metric, samples: Samples) -> str:
    direct = statistics.median(report[metric.value] for report in samples.direct) * metric.scale
    shunt = statistics.median(report[metric.value] for report in samples.shunt) * metric.scale
    cells = [metric.name, f"{direct:,.1f} {metric.unit}", f"{shunt:,.1f} {metric.unit}",
             spread(samples.ratios(metric.value))]
    if metric.latencies:
        cells += [spread(samples.ratios("p50_us")), spread(samples.ratios("p99_us"))]
        operations = sum(report["total_operations"] for report in samples.shunt)
        cells.append(f"{sum(samples.cpu_seconds) * 1e6 / operations:.1f} µs/op")
    else:
        moved = sum(report["total_bytes"] for report in samples.shunt)
        cells += ["", "", f"{sum(samples.cpu_seconds) * 1e9 / moved:.2f} s/GB"]
    return "| " + " | ".join(cells) + " |"


HEADER = """| metric | direct | shunt | rate, ratio | p50, ratio | p99, ratio | CPU of shunt |
|---|---|---|---|---|---|---|"""


def table(method: str, seconds: float, rounds: int, connections: int) -> list[str]:
    lines = [HEADER]
    with Lab() as lab:
        bench = Bench(lab, seconds, "--method", method)
        memory = bench.idle_memory(connections)  # first: later it would reuse what others left
        for metric in METRICS:
            samples = bench.measure(metric, rounds)
            errors = sum(report["errors"] for report in samples.direct + samples.shunt)
            lines.append(row(metric, samples) + (f" ({errors} errors)" if errors else ""))
            print(lines[-1], flush=True)
        lines.append(f"| memory, each of {connections:,} idle connections | | {memory:,.0f} B "
                     "| | | | |")
        print(lines[-1], flush=True)
        assert bench.gateway.stop() == 0
    return lines


HONEST_HEADER = """| metric | let in first | held | ratio | p50, more | CPU, more | of all three |
|---|---|---|---|---|---|---|"""


def one_round(bench: Bench, metric: Metric) -> dict:
    relay, ends = cpu_seconds(bench.gateway.pid), bench.ends_cpu_seconds()
    said = bench.load(CAPTURED, metric.arguments)
    relay, ends = cpu_seconds(bench.gateway.pid) - relay, bench.ends_cpu_seconds() - ends
    said["cpu_us"] = relay * 1e6 / said["total_operations"]
    said["all_cpu_us"] = (relay + ends) * 1e6 / said["total_operations"]
    return said


def honest_row(metric: Metric, early: list[dict], honest: list[dict]) -> str:
    def more(key: str, unit: str) -> str:
        return f"{spread([h[key] - e[key] for e, h in zip(early, honest)])} {unit}"

    rates = [statistics.median(said[metric.value] for said in said_by)
             for said_by in (early, honest)]
    cells = [metric.name, *(f"{rate:,.1f} {metric.unit}" for rate in rates),
             spread([h[metric.value] / e[metric.value] for e, h in zip(early, honest)]),
             more("p50_us", "µs"), more("cpu_us", "µs/op"), more("all_cpu_us", "µs/op")]
    errors = sum(said["errors"] for said in early + honest)
    return "| " + " | ".join(cells) + " |" + (f" ({errors} errors)" if errors else "")


def connect_modes(seconds: float, rounds: int) -> list[str]:
    """Clients that are held until their server has answered against clients that are let in first:
    two gateways that are up at once, in turned order; each difference is taken within a round."""
    first_byte = Metric("first byte, 1 at a time, 2 ms between them",
                        ["connect", f"ports={PORTS}", "pause=2000"], "rate", "/s")
    lines = [HONEST_HEADER]
    with Lab() as one, Lab() as other:
        benches = {"early": Bench(one, seconds, "--connect", "early"),
                   "honest": Bench(other, seconds, "--connect", "honest")}
        for metric in [*CONNECT_METRICS, first_byte]:
            said: dict[str, list[dict]] = {mode: [] for mode in benches}
            for number in range(rounds):
                for mode in list(benches)[::1 if number % 2 == 0 else -1]:
                    said[mode].append(one_round(benches[mode], metric))
            lines.append(honest_row(metric, said["early"], said["honest"]))
            print(lines[-1], flush=True)
    return lines


def gateway_section(method: str, size: Size) -> list[str]:
    return [f"{size.words} The direct path is routed by the same gateway at the same time,",
            "excluded from capture.", "",
            *table(method, size.seconds, size.rounds, size.connections)]


def honest_section(size: Size) -> list[str]:
    return ["Clients that wait until their server has answered, against `connect = \"early\"`, by",
            f"two gateways in turn, {2 * size.rounds} rounds. Who lets a SYN go on pays for the",
            "rest of the handshake, which the client's own call pays for otherwise: the last",
            "column counts the client and the server as well.", "",
            *connect_modes(size.seconds, 2 * size.rounds)]


def observe_section(size: Size) -> list[str]:
    return ["With a traffic line for each connection and request, written to a file in memory, and",
            "without (lines to /dev/null are not made), by two gateways in turn. One worker each.",
            "", *observe_report(lambda lab, *options: Bench(lab, size.seconds, "--workers", "1",
                                                            *options), CAPTURED, size.rounds)]


def udp_section(size: Size) -> list[str]:
    return ["What arrives when one sender floods, by a mapping that serves every destination of a",
            "client socket, and by a connected socket for each session; tests/bench/bench_udp.py.",
            "Lost: of direct / endpoint-independent / connected pairs, each at 80 % of its own "
            "rate.", "", *udp_report(size.seconds, max(3, size.rounds - 2))]


def call_section(size: Size) -> list[str]:
    return ["What a program waits for its `connect()`, and for a call that nothing captures.", "",
            *call_costs(size.rounds, 50 * size.runs)]


def start_section(size: Size) -> list[str]:
    plain, shunted = start_up(size.runs)
    with_shunt, without = statistics.median(shunted), statistics.median(plain)
    start = (f"`shunt run true` as an ordinary user, {size.runs} runs each, alternating with plain "
             f"`true`: {with_shunt:.1f} ms against {without:.1f} ms (medians), so "
             f"**{with_shunt - without:.1f} ms** more.")
    print(start, flush=True)
    return [start]


HEADINGS = {"peers": "Beside other programs", "tproxy": "Gateway, TPROXY",
            "redirect": "Gateway, REDIRECT", "honest": "Honest connect",
            "observe": "Observation", "udp": "UDP",
            "calls": "System calls under `shunt run`", "start": "Start-up of `shunt run`"}


def make_section(name: str, size: Size, plan: Plan, svg: Path | None) -> list[str]:
    if name == "peers":
        lines = peers_section(plan, BUILD / "bench" / "peers.json", svg)
        print("\n".join(lines), flush=True)
        return lines
    if name in ("tproxy", "redirect"):
        return gateway_section(name, size)
    return {"honest": honest_section, "observe": observe_section, "udp": udp_section,
            "calls": call_section, "start": start_section}[name](size)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 short rounds, write nothing")
    parser.add_argument("--sections", default=",".join(HEADINGS),
                        help="of the report: " + ", ".join(HEADINGS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each run")
    parser.add_argument("--metrics", default="", help="of the section peers; print only")
    parser.add_argument("--variants", default="", help="of the section peers; print only")
    parser.add_argument("--sets", default="free,pinned", help="of the section peers")
    parser.add_argument("--realtime", action="store_true",
                        help="the section peers goes before whatever else this machine does")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "performance.md")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if os.geteuid() != 0:
        print("bench: network namespaces need root: sudo ./dev bench", file=sys.stderr)
        return 4
    size = Size(3, 0.4, 500, 10, 100) if arguments.quick else Size()
    size = replace(size, rounds=arguments.rounds or size.rounds,
                   seconds=arguments.seconds or size.seconds)
    plan = Plan(size.rounds, size.seconds, arguments.metrics, arguments.variants,
                tuple(arguments.sets.split(",")), arguments.realtime, size.transfers)
    names = arguments.sections.split(",") if plan.whole else ["peers"]
    unknown = set(names) - set(HEADINGS)
    if unknown or set(plan.sets) - {"free", "pinned"}:
        print(f"bench: no such section or set: {arguments.sections}, {arguments.sets}",
              file=sys.stderr)
        return 2
    writes = plan.whole and not arguments.quick
    made = {}
    for name in names:
        print(HEADINGS[name], flush=True)
        made[HEADINGS[name]] = make_section(
            name, size, plan, arguments.output.with_suffix(".svg") if writes else None)
        if writes:  # at once: a run takes long, and may be stopped
            document.write(arguments.output, made, list(HEADINGS.values()))
            print(f"written to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
