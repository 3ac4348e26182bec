# SPDX-License-Identifier: GPL-2.0-only
"""What a connection costs must not creep up: system calls counted, and CPU time against haproxy's
in the same run, compared with the last report. No absolute time: machines differ, and the hours of
one machine do."""
from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest

from netlab import Lab, needs
from shunt import ROOT, Gateway

sys.path.append(str(ROOT / "tests" / "bench"))
import document  # noqa: E402
from compare import METRICS, compare  # noqa: E402
from peer_tables import Results  # noqa: E402
from sites import LOAD, Placement  # noqa: E402
from variants import VARIANTS  # noqa: E402

pytestmark = [pytest.mark.figures, pytest.mark.long]

REPORT = ROOT / "docs" / "performance.md"
PORT = 7000
# Of the kernel's share of a connection, which is nearly all of it (docs/performance.md): calls that
# have to do with sockets and with waiting for them. Who needs one more says here what for.
CALLS = ("accept4 bind close connect epoll_ctl epoll_wait getpeername getsockname getsockopt ioctl "
         "recvfrom recvmsg sendmsg sendto setsockopt shutdown socket splice").split()


def calls_for_each(lab: Lab, gateway: Gateway, *load: object) -> float:
    """Of CALLS, for each operation of this load."""
    needs("strace")
    tracer = lab.gateway.spawn(["strace", "-f", "-c", "-e", "trace=" + ",".join(CALLS), "-o",
                                "/run/strace", "-p", gateway.pid], stderr=subprocess.PIPE)
    said = tracer.stderr.readline()
    assert b"attached" in said, said
    done = lab.client.run([LOAD, load[0], f"{lab.server.v4}:{PORT}", "warmup=0.3", "seconds=1",
                           *load[1:]], timeout=30)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(10)
    counts = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*\b(\w+)$",
                        lab.gateway.outside("/run/strace").read_text(), re.M)
    counted = sum(int(count) for count, name in counts if name in CALLS)
    return counted / json.loads(done.out)["total_operations"]


@pytest.mark.parametrize("load, most", [
    (["connect", "ports=1"], 27),
    (["exchange", "bytes=64"], 6.2),
], ids=["connection", "exchange"])
def test_a_flow_takes_no_more_system_calls_than_it_did(lab, load, most):
    server = lab.server.spawn([LOAD, "server", f"0.0.0.0:{PORT}", 1], stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    gateway = Gateway(lab.gateway, "-i", "lan0", "--connect", "early", "--workers", 1,
                      json_log=False)
    counted = calls_for_each(lab, gateway, *load)
    print(f"{counted:.2f} system calls each")
    assert 0 < counted <= most, f"{counted:.2f} system calls each"


@pytest.mark.parametrize("key", ["pp64x64", "pp64x1000", "short16"])
def test_cpu_time_against_haproxy_is_what_the_last_report_says(binary, key):
    needs("haproxy")
    metric = next(metric for metric in METRICS if metric.key == key)
    reported = document.reported(REPORT, "CPU of the relay", metric.name, "shunt to haproxy")
    assert reported, f"{REPORT} has no row {metric.name!r}"
    pair = [variant for variant in VARIANTS if variant.name in ("shunt", "haproxy")]
    found = Results(compare(7, 0.4, Placement(pinned=True), pair, [metric]))
    ratio = found.paired(key, "shunt", "haproxy", "cpu")
    assert ratio.median <= 1.25 * reported, f"{ratio} of haproxy's, {reported} in the last report"
