# SPDX-License-Identifier: GPL-2.0-only
"""The report of `./dev bench` says what was measured."""
from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / "system"), str(ROOT / "tests" / "bench")]
import document  # noqa: E402
from compare import METRICS, turned  # noqa: E402
from marks import MARKS, Sets, mark_table  # noqa: E402
from peer_section import words  # noqa: E402
from peer_tables import Results, losses  # noqa: E402
from plot import Bar, bars  # noqa: E402
from variants import VARIANTS  # noqa: E402

REPORT = ROOT / "docs" / "performance.md"


def sample(value: float, cpu: float) -> dict:
    return {"value": value, "p50_us": 50.0, "p99_us": 99.0, "errors": 0, "cpu": cpu}


def measured(shunt: list[float], haproxy: list[float]) -> dict:
    """Of every metric: rates of so many rounds; a CPU time that falls with the rate."""
    rates = {"direct": [200.0] * len(shunt), "shunt": shunt, "haproxy": haproxy}
    return {"rounds": len(shunt), "seconds": 0.1, "realtime": False,
            "metrics": {metric.key: {name: [sample(rate, 1000 / rate) for rate in of]
                                     for name, of in rates.items()} for metric in METRICS},
            "memory": {"shunt": {"1000": 3000.0, "9500": 2000.0}},
            "transfers": {"shunt": {"close": [100, 0], "reset": [100, 1]}},
            "fairness": {"shunt": {"alone": [[50, 100], [60, 120]],
                                   "beside": [[90, 200], [99, 480]], "bulk": [1e9, 3e9]}}}


def test_ratios_are_taken_within_a_round():
    results = Results(measured([50, 200, 80], [100, 100, 100]))
    assert str(results.paired("short16", "shunt", "haproxy")) == "0.80 [0.50–2.00]"
    assert str(results.paired("short16", "shunt", "haproxy", "cpu")) == "1.25 [0.50–2.00]"


def test_every_variant_has_every_place_in_the_order():
    names = ["a", "b", "c"]
    orders = [turned(names, number) for number in range(6)]
    assert all(sorted(order) == names for order in orders)
    assert {order[0] for order in orders} == set(names)
    assert orders[1] == orders[0][::-1]


def test_the_report_says_where_shunt_loses():
    behind = "\n".join(losses(Results(measured([90, 90, 90], [100, 100, 100]))))
    assert "behind haproxy" in behind and "0.90 [0.90–0.90]" in behind
    assert "not resolved" not in behind
    assert "not resolved" in "".join(losses(Results(measured([90, 90, 130], [100, 100, 100]))))
    assert losses(Results(measured([110, 110, 110], [100, 100, 100]))) == []


def test_what_small_flows_wait_beside_bulk_flows_is_told_as_a_ratio_of_each_round():
    data = measured([100, 100], [100, 100])
    text = "\n".join(words({"free": data, "pinned": data}))
    assert "| shunt | 55 / 110 | 94 / 340 | 3.00 [2.00–4.00] | 2.0 Gbit/s |" in text, text
    assert "to alone | ≤ 3 | ≤ 3 | 3.00 [2.00–4.00] | met" in text, text


def test_a_mark_is_met_or_not_by_its_median():
    table = [line for line in mark_table(_sets([130, 130, 100], [100, 100, 100]), {})
             if "16 at a time, to haproxy" in line and "relay" not in line]
    assert table == ["| new connections, 16 at a time, to haproxy | ≥ 1.1 | ≥ 1.25 | "
                     "1.30 [1.00–1.30] | met, and the aim (not in every round) |"]
    lost = mark_table(_sets([80, 80], [100, 100]), {"shunt": {"reset": [100, 1]}})
    assert lost[-1].endswith("| 1 of 100 | **not met** |")
    assert any("haproxy" in line and "**not met**" in line for line in lost[:-1])


def _sets(shunt: list[float], haproxy: list[float]) -> Sets:
    data = measured(shunt, haproxy)
    return Sets(Results(data), Results(data), data["memory"])


def test_marks_are_of_what_is_measured():
    data = measured([100.0], [100.0])
    for of in data["metrics"].values():
        of |= {variant.name: of["shunt"] for variant in VARIANTS}
    sets = Sets(Results(data), Results(data), data["memory"])
    assert [mark.name for mark in MARKS if not mark.measured(sets)] == []


def test_a_section_is_made_anew_and_the_others_stay(tmp_path):
    path = tmp_path / "report.md"
    path.write_text("# Old\n\n## B\n\nold b\n\n## A\n\nold a\n\n### Part\n\nof a\n")
    document.write(path, {"B": ["new b"], "C": ["new c"]}, ["A", "B", "C"])
    assert document.sections_of(path.read_text()) == {
        "A": "old a\n\n### Part\n\nof a", "B": "new b", "C": "new c"}


def test_numbers_of_the_last_report_are_found(tmp_path):
    path = tmp_path / "report.md"
    data = measured([80.0, 80.0], [100.0, 100.0])
    document.write(path, {"Beside": words({"free": data, "pinned": data})}, ["Beside"])
    metric = METRICS[-1]
    assert document.reported(path, "CPU of the relay", metric.name, "shunt to haproxy") == 1.25
    assert document.reported(path, "CPU of the relay", "no such row", "shunt to haproxy") is None


def test_the_present_report_has_what_the_long_tests_compare_with():
    for metric in METRICS:
        assert document.reported(REPORT, "CPU of the relay", metric.name, "shunt to haproxy")


def test_the_plot_is_well_formed_and_has_a_bar_for_each():
    text = bars("a < b & c", {"one": {"x": Bar(0.5, 0.4, 0.6), "y": Bar(1.2, 1.0, 2.3)},
                              "two": {"x": Bar(0.1, 0.1, 0.1)}})
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    heights = [rect for rect in root.iter(f"{space}rect") if rect.get("height") == "11"]
    assert len(heights) == 3 + 2  # bars, and the legend's squares
    assert "a < b & c" in "".join(root.itertext())
