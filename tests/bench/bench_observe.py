# SPDX-License-Identifier: GPL-2.0-only
"""What observation costs: two gateways in labs of their own, one that writes its traffic lines to a
file in memory, and one whose lines lead to /dev/null, so that it makes none and looks at nothing.
bench.py calls this."""
from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

from netlab import Lab

from peer_tables import Spread, head, row

HTTP = "http=1"
# name, arguments of shunt_load, whether bytes are counted
LOADS = [
    ("new connections, 16 at a time", ["connect", "connections=16", "ports=16"], False),
    ("1 KiB by HTTP, 64 connections", ["exchange", "bytes=1024", "connections=64", HTTP], False),
    ("1 KiB of no known protocol, 64 connections",
     ["exchange", "bytes=1024", "connections=64"], False),
    ("bulk download by HTTP, 1 stream", ["download", HTTP], True),
    ("bulk download of no known protocol, 1 stream", ["download"], True),
]


def cpu_ns(pid: int) -> int:
    """Time on a CPU of all its threads."""
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in Path(f"/proc/{pid}/task").iterdir())


def one_round(bench, port: int, arguments: list[str], bulk: bool) -> tuple[float, float]:
    """Operations or bits a second; CPU of shunt, µs an operation or s/GB."""
    before = cpu_ns(bench.gateway.pid)
    said = bench.load(port, arguments)
    assert said["errors"] == 0, said
    spent = cpu_ns(bench.gateway.pid) - before
    done = said["total_bytes" if bulk else "total_operations"]
    return said["bits_per_second" if bulk else "rate"], spent / done / (1 if bulk else 1000)


def observe_report(bench_of: Callable, port: int, rounds: int) -> list[str]:
    """`bench_of(lab, *options)` is a gateway with a load; the rounds alternate."""
    lines = head("", "without, rate", "with, rate", "ratio", "CPU without", "CPU with", "ratio")
    with Lab() as one, Lab() as other:
        benches = {"without": bench_of(one, "--connect", "early", "--log-to", "/dev/null"),
                   "with": bench_of(other, "--connect", "early", "--log-to", "/run/lines")}
        for name, arguments, bulk in LOADS:
            said: dict[str, list[tuple[float, float]]] = {which: [] for which in benches}
            for number in range(rounds):
                for which in list(benches)[::1 if number % 2 == 0 else -1]:
                    said[which].append(one_round(benches[which], port, arguments, bulk))
                other.gateway.outside("/run/lines").write_text("")  # memory is finite
            cells = [name]
            for at, shown in ((0, (lambda v: f"{v / 1e9:.1f} Gbit/s") if bulk
                               else (lambda v: f"{v:,.0f} /s")),
                              (1, (lambda v: f"{v:.2f} s/GB") if bulk
                               else (lambda v: f"{v:.1f} µs"))):
                cells += [shown(statistics.median(sample[at] for sample in said[which]))
                          for which in benches]
                cells.append(Spread(w[at] / wo[at] for wo, w in
                                    zip(said["without"], said["with"])))
            lines.append(row(*cells))
            print(lines[-1], flush=True)
    return lines
