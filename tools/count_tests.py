#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Adds up the tests of all suites from their JUnit XML.

    count_tests.py --suite build/results/unit-release.xml        one line, and what failed
    count_tests.py --total build/results --allowed FILE          the verdict; ends in the plain line
                                                                 `N passed, N failed, N skipped`

Beside NAME.xml stands NAME.exit with the runner's exit code: a runner that failed though none of
its tests did (it crashed, it found no tests) counts as one failed test.

A skip must say `needs CAPABILITY` or `needs CAPABILITY: more`, and FILE must allow that capability
to be missing on a machine of this kind. FILE's lines are `MACHINE CAPABILITY AT-MOST`; MACHINE is
    root    network namespaces can be made at once
    user    they can be made inside a user namespace
    bare    they cannot be made at all
or `any`.
"""
from __future__ import annotations

import argparse
import collections
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

SHOWN_LINES = 40  # of one failed test


@dataclass
class Case:
    suite: str
    name: str
    message: str


@dataclass
class Count:
    passed: int = 0
    failed: list[Case] = field(default_factory=list)
    skipped: list[Case] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"

    def add(self, other: Count) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def skip_reason(case: ElementTree.Element, skipped: ElementTree.Element) -> str:
    """pytest has it as an attribute; ctest has what the program printed behind `Skipped`."""
    output = "".join(part.text or "" for part in case.iter("system-out"))
    printed = re.search(r"\bSkipped\n(.*)$", output, re.MULTILINE)
    if printed:
        return printed.group(1).strip()
    return skipped.get("message") or (skipped.text or "").strip()


def count_case(suite: str, case: ElementTree.Element, count: Count) -> None:
    name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
    for tag in ("failure", "error"):
        problem = case.find(tag)
        if problem is not None:
            texts = [problem.text or "", *(part.text or "" for part in case.iter("system-out"))]
            count.failed.append(Case(suite, name, "\n".join(filter(None, texts))))
            return
    skipped = case.find("skipped")
    if skipped is not None:
        count.skipped.append(Case(suite, name, skip_reason(case, skipped)))
    else:
        count.passed += 1


def count_suite(path: Path) -> Count:
    count = Count()
    suite = path.stem
    if path.exists():
        try:
            cases = list(ElementTree.parse(path).getroot().iter("testcase"))
        except ElementTree.ParseError as error:
            cases = []
            count.failed.append(Case(suite, "results", f"{path} is no XML: {error}"))
        for case in cases:
            count_case(suite, case, count)
    exit_file = path.with_suffix(".exit")
    code = exit_file.read_text().strip() if exit_file.exists() else "unknown"
    if code != "0" and not count.failed:
        count.failed.append(Case(suite, "runner", f"ended with exit code {code}"))
    if code == "0" and not count.passed and not count.skipped:
        count.failed.append(Case(suite, "runner", "ran no test"))
    return count


def show_failures(count: Count) -> None:
    for case in count.failed:
        lines = case.message.strip().splitlines()
        print(f"    FAILED {case.suite}: {case.name}")
        if len(lines) > SHOWN_LINES:
            lines = ["…", *lines[-SHOWN_LINES:]]
        for line in lines:
            print(f"      {line}")


def machine_kind() -> str:
    def works(*command: str) -> bool:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    try:
        if works("unshare", "--net", "true"):
            return "root"
        if works("unshare", "--user", "--map-root-user", "--net", "true"):
            return "user"
    except FileNotFoundError:
        pass
    return "bare"


def read_allowed(path: Path, machine: str) -> dict[str, int]:
    allowed: dict[str, int] = {}
    for line in path.read_text().splitlines():
        words = line.split("#")[0].split()
        if words and words[0] in (machine, "any"):
            allowed[words[1]] = int(words[2])
    return allowed


def excess_skips(skipped: list[Case], allowed: dict[str, int], machine: str) -> list[str]:
    """Why there are more skips than this machine explains; empty when there are not."""
    complaints = []
    by_capability: dict[str, list[Case]] = collections.defaultdict(list)
    for case in skipped:
        named = re.search(r"\bneeds ([\w.+-]+)", case.message)
        if named:
            by_capability[named.group(1)].append(case)
        else:
            complaints.append(f"{case.name} does not say what it needs: {case.message!r}")
    for capability, cases in sorted(by_capability.items()):
        most = allowed.get(capability, 0)
        print(f"    skipped for want of {capability}: {len(cases)} (at most {most} here)")
        if len(cases) > most:
            examples = ", ".join(case.name for case in cases[:3])
            complaints.append(f"{len(cases)} tests need {capability}, which a machine of the kind "
                              f"`{machine}` should have (e.g. {examples}: {cases[0].message})")
    return complaints


def total(results: Path, allowed_file: Path) -> int:
    count = Count()
    names = {path.with_suffix("") for path in results.glob("*.exit")}
    for name in sorted(names):
        count.add(count_suite(name.with_suffix(".xml")))
    print("==> result")
    machine = machine_kind()
    complaints = excess_skips(count.skipped, read_allowed(allowed_file, machine), machine)
    for complaint in complaints:
        print(f"    TOO MANY SKIPPED: {complaint}")
    for case in count.failed:
        print(f"    FAILED {case.suite}: {case.name}")
    print(count)
    return 1 if count.failed or complaints or not count.passed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", type=Path)
    parser.add_argument("--total", type=Path)
    parser.add_argument("--allowed", type=Path)
    arguments = parser.parse_args()
    if arguments.suite:
        count = count_suite(arguments.suite)
        show_failures(count)
        print(f"    {count}")
        return 0
    return total(arguments.total, arguments.allowed)


if __name__ == "__main__":
    sys.exit(main())
