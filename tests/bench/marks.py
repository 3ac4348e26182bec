# SPDX-License-Identifier: GPL-2.0-only
"""The marks that shunt's data path is held to, and whether a comparison meets them.

Rates come from the free set, CPU time from the pinned one. A mark is met by the median; one whose
rounds lie on both sides of it is met or missed by chance, and said to be so.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peer_tables import Results, Spread, fairness_spread, head, row


@dataclass(frozen=True)
class Mark:
    name: str
    must: float
    aim: float
    measured: Callable[[Sets], Spread]
    at_most: bool = False

    def verdict(self, found: Spread) -> str:
        if not found:
            return "not measured"
        meets = [(value <= self.must) if self.at_most else (value >= self.must)
                 for value in [found.median, *found.values]]
        said = "met" if meets[0] else "**not met**"
        aim = found.median <= self.aim if self.at_most else found.median >= self.aim
        return said + (", and the aim" if aim else "") + (
            "" if all(meets) or not any(meets) else " (not in every round)")


@dataclass
class Sets:
    """What was measured; either may be missing."""

    free: Results
    pinned: Results
    memory: dict

    def flow_bytes(self, count: str) -> Spread:
        found = self.memory.get("shunt", {}).get(count)
        return Spread([] if found is None else [found])


def to(key: str, base: str, name: str = "shunt") -> Callable[[Sets], Spread]:
    return lambda sets: sets.free.paired(key, name, base)


def cpu(key: str) -> Callable[[Sets], Spread]:
    return lambda sets: sets.pinned.values(key, "shunt", "cpu")


def fairness(sets: Sets) -> Spread:
    return fairness_spread(sets.free.data.get("fairness", {}), "shunt")


MARKS = [
    Mark("bulk download, 1 stream, to direct", 0.70, 0.85, to("down1", "direct")),
    Mark("bulk download, 1 stream, to haproxy", 1.0, 1.1, to("down1", "haproxy")),
    Mark("bulk upload, 1 stream, to direct", 0.70, 0.85, to("up1", "direct")),
    Mark("bulk upload, 1 stream, to haproxy", 1.0, 1.1, to("up1", "haproxy")),
    Mark("bulk download, 8 streams, to direct", 0.62, 0.72, to("down8", "direct")),
    Mark("bulk upload, 8 streams, to direct", 0.62, 0.72, to("up8", "direct")),
    Mark("relay CPU, download, s/GB", 0.18, 0.15, cpu("down1"), at_most=True),
    Mark("relay CPU, upload, s/GB", 0.18, 0.15, cpu("up1"), at_most=True),
    Mark("64 B exchange, 1 connection, to haproxy", 1.05, 1.2, to("pp64x1", "haproxy")),
    Mark("64 B exchange, 64 connections, to haproxy", 1.10, 1.2, to("pp64x64", "haproxy")),
    Mark("64 B exchange, 1,000 connections, to haproxy", 1.15, 1.2, to("pp64x1000", "haproxy")),
    Mark("new connections, 16 at a time, to haproxy", 1.1, 1.25, to("short16", "haproxy")),
    Mark("relay CPU a new connection, 16 at a time, to haproxy", 0.9, 0.75,
         lambda sets: sets.pinned.paired("short16", "shunt", "haproxy", "cpu"), at_most=True),
    Mark("SOCKS5, new connections, 16 at a time, to redsocks", 1.15, 1.4,
         to("short16", "redsocks", "shunt-socks5")),
    Mark("SOCKS5, bulk download, to redsocks", 1.15, 1.4,
         to("down1", "redsocks", "shunt-socks5")),
    Mark("p99 of 64 B beside 8 bulk downloads, to alone", 3.0, 3.0, fairness, at_most=True),
    Mark("memory above idle, 1,000 flows, MB", 5.0, 3.0, lambda sets: Spread(
        value * 1000 / 1e6 for value in sets.flow_bytes("1000").values), at_most=True),
    Mark("memory, an idle flow of 9,500, KiB", 4.0, 2.0, lambda sets: Spread(
        value / 1024 for value in sets.flow_bytes("9500").values), at_most=True),
]


def transfer_mark(transfers: dict) -> str:
    found = transfers.get("shunt")
    if not found:
        return row("transfers that went wrong", "0", "0", "", "not measured")
    failed, done = (sum(of[at] for of in found.values()) for at in (1, 0))
    return row("transfers that went wrong", "0", "0", f"{failed} of {done}",
               "met" if failed == 0 else "**not met**")


def mark_table(sets: Sets, transfers: dict) -> list[str]:
    lines = head("mark", "must", "aim", "measured", "")
    for mark in MARKS:
        sign = "≤" if mark.at_most else "≥"
        found = mark.measured(sets)
        lines.append(row(mark.name, f"{sign} {mark.must:g}", f"{sign} {mark.aim:g}", found,
                         mark.verdict(found)))
    return [*lines, transfer_mark(transfers)]
