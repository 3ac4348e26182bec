# SPDX-License-Identifier: GPL-2.0-only
"""`shunt rules`: how often each rule decided, whoever decided by it."""
from __future__ import annotations

import json
import socket
from pathlib import Path

import jsonschema

from netlab import Lab, wait_until
from peers import TcpServer, UdpEcho, echo_bytes
from shunt import ROOT, shunt
from test_serve import Serve, configure, reach, reload


def rules(lab: Lab) -> list[dict]:
    return [json.loads(line) for line in shunt(lab.gateway, "rules", "--json").out.splitlines()]


def hits(lab: Lab) -> list[tuple[int, int]]:
    """All hits and the kernel's, rule by rule, the default last."""
    return [(rule["hits"], rule["kernel_hits"]) for rule in rules(lab)]


def test_flows_are_counted_where_they_are_decided(lab):
    direct, refused, other = (TcpServer(lab.server, echo_bytes).port for _ in range(3))
    configure(lab, [f"port {direct} -> direct", "host a.example -> reject",
                    f"port {refused} -> reject"])
    Serve(lab)
    assert hits(lab) == [(0, 0)] * 4
    for _ in range(3):
        assert reach(lab, direct) == "answer"
    for _ in range(2):
        assert reach(lab, refused) in {"refused", "reset"}
    assert reach(lab, other, Lab.FAR[6]) == "answer"
    assert hits(lab) == [(3, 3), (0, 0), (2, 0), (1, 0)]
    assert [rule["in_kernel"] for rule in rules(lab)] == [True, False, False, False]


def test_the_kernel_counts_flows_and_not_packets(lab):
    echo = UdpEcho(lab.server)
    silent = Lab.BLACKHOLE[4]
    configure(lab, [f"port {echo.port} -> direct", "port 1-1000 -> direct"])
    Serve(lab)
    sock = lab.client.socket(kind=socket.SOCK_DGRAM)
    sock.settimeout(10)
    for _ in range(5):  # answered
        sock.sendto(b"ping", (Lab.FAR[4], echo.port))
        assert sock.recv(100) == b"ping"
    for _ in range(5):  # never answered: for conntrack all of them are new
        sock.sendto(b"ping", (silent, 999))
    with lab.client.socket() as knocking:  # and a SYN that is sent again
        knocking.setblocking(False)
        knocking.connect_ex((silent, 998))
        wait_until(lambda: retransmitted(lab), "a SYN is sent again")
    assert hits(lab) == [(1, 1), (2, 2), (0, 0)]


def retransmitted(lab: Lab) -> bool:
    said = lab.client.run(["ss", "-H", "-tino", "state", "syn-sent"]).out
    return "timer:(on" in said and ",0)" not in said


def test_rules_that_stay_count_on(lab):
    direct, refused = (TcpServer(lab.server, echo_bytes).port for _ in range(2))
    by_kernel, by_shunt = f"port {direct} -> direct", f"port {refused} -> reject"
    configure(lab, [by_kernel, by_shunt])
    Serve(lab)
    loaded = rules(lab)[0]["since"]

    def visit() -> None:
        assert reach(lab, direct) == "answer"
        assert reach(lab, refused) in {"refused", "reset"}

    visit()
    configure(lab, ["port 1 -> direct", by_kernel, "port 2 -> drop", by_shunt])
    reload(lab)
    assert hits(lab) == [(0, 0), (1, 1), (0, 0), (1, 0), (0, 0)]
    assert rules(lab)[1]["since"] == loaded
    visit()
    assert hits(lab) == [(0, 0), (2, 2), (0, 0), (2, 0), (0, 0)]
    # The same table for the kernel, but another rule: that one starts at nothing.
    configure(lab, ["port 1 -> direct", f"port  {direct}  -> direct", "port 2 -> drop", by_shunt])
    reload(lab)
    assert hits(lab) == [(0, 0), (0, 0), (0, 0), (2, 0), (0, 0)]
    visit()
    assert hits(lab) == [(0, 0), (1, 1), (0, 0), (3, 0), (0, 0)]
    # Now shunt has to decide what the kernel did.
    configure(lab, ["host a.example -> drop", f"port  {direct}  -> direct"])
    reload(lab)
    visit_direct = reach(lab, direct)
    assert visit_direct == "answer"
    assert hits(lab)[1] == (2, 1)


def test_a_table_for_people(lab):
    configure(lab, ["port 22 -> direct", "host a.example -> reject"], default="reject")
    Serve(lab)
    lines = shunt(lab.gateway, "rules").out.splitlines()
    assert lines[0].split() == ["HITS", "BY", "KERNEL", "LOADED", "RULE"]
    assert lines[1].endswith("1: port 22 -> direct") and lines[1].split()[:2] == ["0", "0"]
    assert lines[2].endswith("2: host a.example -> reject") and lines[2].split()[:2] == ["0", "-"]
    assert lines[3].endswith("default: reject")


def test_many_rules_come_in_pages(lab):
    texts = [f"host n{number}.example,{'x' * 50}.example -> reject" for number in range(3000)]
    configure(lab, texts)
    Serve(lab)
    listed = rules(lab)
    assert [rule.get("text") for rule in listed] == [*texts, None]
    schema = json.loads(Path(ROOT / "docs/json.schema.json").read_text())
    for rule in (listed[0], listed[-1]):
        jsonschema.validate(rule, {"$ref": "#/$defs/rule", "$defs": schema["$defs"]})


def test_nobody_to_ask_is_an_exit_code_of_its_own(lab):
    done = shunt(lab.gateway, "rules", check=False)
    assert done.code == 6 and "error[S045]" in done.err
