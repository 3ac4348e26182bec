# SPDX-License-Identifier: GPL-2.0-only
"""What compare.py measured, as tables: every ratio is a median over rounds of ratios that were
taken within one round, with the least and the greatest in brackets."""
from __future__ import annotations

import statistics
from collections.abc import Iterable

from compare import METRICS, Metric
from variants import VARIANTS

BY_NAME = {variant.name: variant for variant in VARIANTS}
BY_KEY = {metric.key: metric for metric in METRICS}


class Spread:
    """The median of some values, and how far they lie apart."""

    def __init__(self, values: Iterable[float]) -> None:
        self.values = list(values)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __bool__(self) -> bool:
        return bool(self.values)

    def __str__(self) -> str:
        if not self.values:
            return ""
        return f"{self.median:.2f} [{min(self.values):.2f}–{max(self.values):.2f}]"


class Results:
    """One set: free, or pinned to CPUs."""

    def __init__(self, data: dict) -> None:
        self.data = data
        self.metrics = [BY_KEY[key] for key in data["metrics"]]
        self.names = list(next(iter(data["metrics"].values()), {}))

    def samples(self, key: str, name: str) -> list[dict]:
        return self.data["metrics"].get(key, {}).get(name, [])

    def paired(self, key: str, name: str, base: str, what: str = "value") -> Spread:
        return Spread(mine[what] / theirs[what] for mine, theirs in
                      zip(self.samples(key, name), self.samples(key, base))
                      if mine[what] and theirs[what])

    def values(self, key: str, name: str, what: str = "value") -> Spread:
        return Spread(sample[what] for sample in self.samples(key, name)
                      if sample[what] is not None)

    def errors(self, key: str, name: str) -> int:
        return sum(sample["errors"] for sample in self.samples(key, name))


def row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def head(*cells: str) -> list[str]:
    return [row(*cells), "|" + "---|" * len(cells)]


def rate(metric: Metric, value: float) -> str:
    return f"{value / 1e9:.1f} Gbit/s" if metric.bulk else f"{value:,.0f} /s"


def rate_table(results: Results, chain: bool, base: str) -> list[str]:
    """Rates to direct, and shunt's to `base`, the program that it is held against."""
    names = [name for name in results.names if name != "direct" and BY_NAME[name].chain == chain]
    ours = next((name for name in names if name.startswith("shunt")), "")
    both = ours and base in names
    lines = head("rate, ratio to direct", *(["direct"] if "direct" in results.names else []),
                 *names, *([f"{ours} to {base}"] if both else []))
    for metric in results.metrics:
        cells = [metric.name]
        if "direct" in results.names:
            cells.append(rate(metric, results.values(metric.key, "direct").median))
        for name in names:
            errors = results.errors(metric.key, name)
            cells.append(str(results.paired(metric.key, name, "direct"))
                         + (f" ({errors} errors)" if errors else ""))
        if both:
            cells.append(f"**{results.paired(metric.key, ours, base)}**")
        lines.append(row(*cells))
    return lines


def cpu_table(results: Results, base: str) -> list[str]:
    """CPU time of the relay alone: µs an operation, s/GB for bulk."""
    names = [name for name in results.names if name != "direct"]
    both = "shunt" in names and base in names
    lines = head("CPU of the relay", *names,
                 *([f"shunt to {base}", f"rate, shunt to {base}"] if both else []))
    for metric in results.metrics:
        unit = "s/GB" if metric.bulk else "µs"
        cells = [metric.name]
        for name in names:
            spent = results.values(metric.key, name, "cpu")
            cells.append(f"{spent.median:.{2 if metric.bulk else 1}f} {unit}" if spent else "")
        if both:
            cells += [f"**{results.paired(metric.key, 'shunt', base, 'cpu')}**",
                      str(results.paired(metric.key, "shunt", base))]
        lines.append(row(*cells))
    return lines


def latency_table(results: Results) -> list[str]:
    names = [name for name in results.names if not BY_NAME[name].chain]
    lines = head("p50 / p99, µs", *names)
    for metric in results.metrics:
        if not metric.bulk:
            lines.append(row(metric.name, *(
                f"{results.values(metric.key, name, 'p50_us').median:,.0f} / "
                f"{results.values(metric.key, name, 'p99_us').median:,.0f}" for name in names)))
    return lines


def memory_table(memory: dict) -> list[str]:
    counts = sorted({count for of in memory.values() for count in of}, key=int)
    lines = head("memory of the relay above idle, bytes a flow",
                 *(f"{int(count):,} flows" for count in counts))
    for name, of in memory.items():
        lines.append(row(name, *(f"{of[count]:,.0f}" if count in of else "" for count in counts)))
    return lines


def transfer_table(transfers: dict) -> list[str]:
    kinds = list(next(iter(transfers.values())))
    lines = head("transfers that went wrong", *kinds)
    for name, of in transfers.items():
        lines.append(row(name, *(f"{of[kind][1]} of {of[kind][0]}" for kind in kinds)))
    return lines


def fairness_spread(fairness: dict, name: str) -> Spread:
    """p99 beside bulk flows to p99 alone."""
    of = fairness.get(name, {"alone": [], "beside": []})
    return Spread(beside[1] / alone[1] for alone, beside in zip(of["alone"], of["beside"]))


def fairness_table(fairness: dict) -> list[str]:
    lines = head("p50 / p99, µs", "alone", "beside 8 bulk downloads", "p99, ratio", "the bulk")
    for name, of in fairness.items():
        cells = [" / ".join(f"{statistics.median(pair[at] for pair in of[when]):,.0f}"
                            for at in (0, 1)) for when in ("alone", "beside")]
        lines.append(row(name, *cells, fairness_spread(fairness, name),
                         f"{statistics.median(of['bulk']) / 1e9:.1f} Gbit/s"))
    return lines


def losses(results: Results) -> list[str]:
    """Where another program's rate is above shunt's, by its name."""
    lines = []
    for name in results.names:
        variant = BY_NAME[name]
        ours = "shunt-socks5" if variant.chain else "shunt"
        if name.startswith("shunt") or name == "direct" or ours not in results.names:
            continue
        behind = []
        for metric in results.metrics:
            found = results.paired(metric.key, ours, name)
            if found and found.median < 1:
                open_question = "" if max(found.values) < 1 else ", not resolved"
                behind.append(f"{metric.name} ({found}{open_question})")
        if behind:
            lines.append(f"- {ours} behind {name}: " + "; ".join(behind) + ".")
    return lines


def notes(names: list[str]) -> list[str]:
    return [f"- **{name}**: {BY_NAME[name].note}." for name in names]
