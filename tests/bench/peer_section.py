# SPDX-License-Identifier: GPL-2.0-only
"""The section of the report on shunt and the others: runs the comparison twice, once with the two
ends and the relay wherever the kernel puts them, once pinned, and words what came out."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from compare import METRICS, Metric, chosen, compare, say
from marks import Sets, mark_table
from peer_tables import (Results, cpu_table, fairness_table, latency_table, losses, memory_table,
                          notes, rate_table, transfer_table)
from plot import Bar, bars
from sites import Placement
from variants import VARIANTS, Variant

INTRODUCTION = """\
One client, one server, and a gateway of its own between them for each program, in network
namespaces: all are up at once. A round goes through all of them, the order turns and is reversed in
every second round, and each ratio is taken within one round: median [min–max]. Every relay has one
worker. Remade by `./dev bench --sections peers`; a part of it, printed only, by
`./dev bench --metrics short16,pp64x64 --variants direct,shunt,haproxy --rounds 9`."""
INTEGRITY = """\
Transfers of up to 1 MiB both ways, 16 at a time: both ends close after the last byte, or one way
goes on after the other has ended, or an end breaks off. Both ends check every byte and the kind of
the end (tests/system/native/transfer.c). Behind a proxy it is the proxy, too, that is seen:
microsocks and ss-server end both directions with the first."""
FAIRNESS = """\
64 B exchanges on one connection, alone and beside eight bulk downloads that want all there is. The
ends of the bulk flows take the machine's CPUs as well as the relay does."""
PLOTTED = ("shunt", "haproxy", "nginx")


@dataclass(frozen=True)
class Plan:
    """How much is measured; what is empty means everything."""

    rounds: int
    seconds: float
    metrics: str = ""
    variants: str = ""
    sets: tuple[str, ...] = ("free", "pinned")
    realtime: bool = False
    transfers: int = 400

    @property
    def whole(self) -> bool:
        return not self.metrics and not self.variants and len(self.sets) == 2

    def chosen_metrics(self) -> list[Metric]:
        return chosen(self.metrics, METRICS, "key")

    def chosen_variants(self) -> list[Variant]:
        return chosen(self.variants, VARIANTS, "name")


def measure(plan: Plan, raw: Path | None) -> dict:
    """{"free": …, "pinned": …}, each as compare() returns it; in `raw`, too, as soon as it is
    there."""
    found = {}
    for name in plan.sets:
        say(f"{name}:")
        first = not found  # memory and transfers depend on no CPU: once
        found[name] = compare(plan.rounds, plan.seconds,
                              Placement(name == "pinned", plan.realtime), plan.chosen_variants(),
                              plan.chosen_metrics(), memory=first,
                              transfers=plan.transfers if first else 0, fairness=first)
        if raw is not None:
            raw.parent.mkdir(parents=True, exist_ok=True)
            raw.write_text(json.dumps(found))
    return found


def plot(results: Results) -> str:
    rows: dict[str, dict[str, Bar]] = {}
    for metric in results.metrics:
        rows[metric.name] = {}
        for name in PLOTTED:
            found = results.paired(metric.key, name, "direct")
            if found:
                rows[metric.name][name] = Bar(found.median, min(found.values), max(found.values))
    return bars("Rate, ratio to direct forwarding (1.0): median, and the range of the rounds", rows)


def how(data: dict) -> list[str]:
    lines = [f"{data['rounds']} rounds of {data['seconds']} s each."]
    if data["realtime"]:
        lines += ["All of it ran at a real-time priority on a machine that had other work: read",
                  "the ratios between programs, not the rates; a bulk ratio to direct above 1 is",
                  "that work."]
    return lines


def free_part(data: dict) -> list[str]:
    results = Results(data)
    if not results.metrics:
        return []
    lines = ["### Rates", "", *how(data), ""]
    lines += rate_table(results, False, "haproxy")
    if any(name in results.names for name in ("redsocks", "ss-redir")):
        lines += ["", "Through a proxy behind the relay. microsocks reads and writes 1 KiB at a",
                  "time, so the bulk and 16 KiB rows are its limit more than the relay's.", "",
                  *rate_table(results, True, "redsocks")]
    lines += ["", "Latency:", "", *latency_table(results)]
    behind = losses(results)
    return [*lines, "", *(["Where shunt loses:", "", *behind] if behind
                          else ["No median of another program is above shunt's."])]


def pinned_part(data: dict) -> list[str]:
    results = Results(data)
    if not results.metrics:
        return []
    return ["", "### CPU time of the relay", "",
            "Relay on one CPU, client and server together on another.", *how(data), "",
            *cpu_table(results, "haproxy")]


def words(found: dict) -> list[str]:
    """The section, from what measure() returned."""
    free, pinned = (found.get(name) for name in ("free", "pinned"))
    any_set = free or pinned
    lines = [
        *INTRODUCTION.splitlines(), "",
        *notes([name for name in Results(any_set).names]), "",
        "![Rates as ratios to direct forwarding](performance.svg)", ""]
    lines += free_part(free) if free else []
    lines += pinned_part(pinned) if pinned else []
    if any_set["memory"]:
        lines += ["", "### Memory", "", "Anonymous memory of the relay's process; not the kernel's "
                  "for its sockets.", "", *memory_table(any_set["memory"])]
    if any_set.get("fairness"):
        lines += ["", "### Fairness", "", *FAIRNESS.splitlines(), "",
                  *fairness_table(any_set["fairness"])]
    if any_set["transfers"]:
        lines += ["", "### Integrity", "", *INTEGRITY.splitlines(), "",
                  *transfer_table(any_set["transfers"])]
    if free and pinned:
        sets = Sets(Results(free), Results(pinned), free["memory"])
        lines += ["", "### Marks", "", "What the data path is held to, and what this run says.", "",
                  *mark_table(sets, free["transfers"])]
    return lines


def peers_section(plan: Plan, raw: Path | None, svg: Path | None) -> list[str]:
    """Measures, keeps what was measured in `raw`, and writes the plot."""
    found = measure(plan, raw)
    if svg is not None and "free" in found:
        svg.write_text(plot(Results(found["free"])))
    return words(found)
