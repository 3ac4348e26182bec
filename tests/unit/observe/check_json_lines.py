#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""check_json_lines.py SCHEMA [FILE]: exits 1 unless every line fits docs/json.schema.json.

Knows the part of JSON Schema that the schema uses, and fails on any other keyword, so that it
cannot pass by overlooking one. Prints how many lines of each event it saw.
"""
import collections
import json
import re
import sys

TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
KNOWN = {"$schema", "$defs", "title", "type", "required", "properties", "additionalProperties",
         "oneOf", "$ref", "const", "enum", "pattern", "minimum", "maximum", "items"}


def is_type(value, name):
    return isinstance(value, TYPES[name]) and not (name == "integer" and isinstance(value, bool))


def problems_of_object(value, schema, root):
    for key in schema.get("required", []):
        if key not in value:
            yield f"{key} is missing"
    properties = schema.get("properties", {})
    for key, item in value.items():
        if key in properties:
            yield from (f"{key}: {p}" for p in problems(item, properties[key], root))
        elif schema.get("additionalProperties") is False:
            yield f"{key} is not listed"


def problems(value, schema, root):
    unknown = set(schema) - KNOWN
    assert not unknown, f"keyword not supported here: {unknown}"
    if "$ref" in schema:
        yield from problems(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "type" in schema and not is_type(value, schema["type"]):
        yield f"{value!r} is no {schema['type']}"
        return
    if "const" in schema and (value != schema["const"] or type(value) is not type(schema["const"])):
        yield f"{value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{value!r} is none of {schema['enum']}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{value!r} does not match {schema['pattern']}"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{value} is below {schema['minimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"{value} is above {schema['maximum']}"
    if "items" in schema:
        for item in value:
            yield from problems(item, schema["items"], root)
    if isinstance(value, dict):
        yield from problems_of_object(value, schema, root)
    if "oneOf" in schema:
        tried = [list(problems(value, option, root)) for option in schema["oneOf"]]
        if sum(not found for found in tried) != 1:
            yield f"fits not exactly one event: {min(tried, key=len)}"


def no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"a key comes twice: {keys}"
    return dict(pairs)


def unprintable(line):
    """Raw characters that a line must not hold: controls, bidi, zero-width."""
    return [c for c in line if ord(c) < 32 or 0x7f <= ord(c) < 0xa0 or 0x200b <= ord(c) <= 0x200f
            or 0x2028 <= ord(c) <= 0x202e or 0x2066 <= ord(c) <= 0x2069 or c == "\ufeff"]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    raw = open(sys.argv[2], "rb").read() if len(sys.argv) > 2 else sys.stdin.buffer.read()
    assert raw.endswith(b"\n") or not raw, "the last line is not complete"
    seen = collections.Counter()
    bad = 0
    for number, line in enumerate(raw.split(b"\n")[:-1], 1):
        text = line.decode("utf-8")  # strict
        value = json.loads(text, object_pairs_hook=no_duplicates)
        found = list(problems(value, schema, schema))
        found += [f"raw {c!r}" for c in unprintable(text)]
        if found:
            bad += 1
            print(f"line {number}: {'; '.join(found)}\n  {text}", file=sys.stderr)
        seen[value.get("event")] += 1
    print(" ".join(f"{event}={count}" for event, count in sorted(seen.items())))
    return 1 if bad or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
