# SPDX-License-Identifier: GPL-2.0-only
"""`shunt help errors` explains each number, and each stands for one thing."""
from __future__ import annotations

import re

from conftest import ROOT, complain

NUMBERS = "src/base/error_numbers.h"


def test_every_number_is_explained_and_its_own():
    text = (ROOT / NUMBERS).read_text()
    numbers = re.findall(r"inline constexpr int (k\w+) = (\d+);", text)
    assert numbers, f"{NUMBERS} has no numbers"
    places = [f"{NUMBERS}: {name} is not explained" for name, _ in numbers
               if f"{{error_number::{name}, " not in text]
    values = [value for _, value in numbers]
    places += [f"{NUMBERS}: {value} stands for two things" for value in set(values)
               if values.count(value) > 1]
    complain(places)
