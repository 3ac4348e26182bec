# SPDX-License-Identifier: GPL-2.0-only
"""Nothing passes beside the proxy: DNS, QUIC, other datagrams and connections, IPv4 and IPv6, while
shunt starts, reloads, crashes and stops (reliability row 12). The rules let nothing through, so
that whatever is seen on the uplink went past them."""
from __future__ import annotations

import contextlib
import itertools
import subprocess
import time

import pytest

from netlab import Host, Lab, wait_until
from runners import AS_ROOT, Runner
from shunt import Gateway
from test_kill import Uplink
from test_serve import HEAD, Serve, configure, reload

# Prints how many datagrams and connections it has tried, of all kinds in turn.
ATTEMPTS = """
import contextlib, socket, sys
far, count = {4: sys.argv[1], 6: sys.argv[2]}, int(sys.argv[3])
kinds = [kind for kind in sys.argv[4].split(",")]
family = {4: socket.AF_INET, 6: socket.AF_INET6}
payload = {"dns": b"\\1\\2\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\7example\\0\\0\\1\\0\\1",
           "quic": b"\\xc3\\0\\0\\0\\1" + bytes(1195), "udp": b"anything"}
port = {"dns": 53, "quic": 443, "udp": 30000}
socks = {}
for number in range(count):
    version, kind = (4, 6)[number % 2], kinds[number // 2 % len(kinds)]
    with contextlib.suppress(OSError):
        if kind == "tcp":
            with socket.socket(family[version]) as sock:
                sock.setblocking(False)
                sock.connect((far[version], 1000 + number % 1000))
        else:
            if number % 200 < 2 or version not in socks:
                socks[version] = socket.socket(family[version], socket.SOCK_DGRAM)
                socks[version].setblocking(False)
            socks[version].sendto(payload[kind], (far[version], port[kind] + number % 3 // 2))
print(count)
"""
PATIENCE = 60  # seconds that a start takes at most on a machine that the attempts keep busy
KINDS = "dns,quic,udp,dns,quic,udp,tcp"


def attempts(host: Host, count: int, kinds: str) -> subprocess.Popen:
    return host.spawn(["/usr/bin/python3", "-c", ATTEMPTS, Lab.FAR[4], Lab.FAR[6], count, kinds],
                      stdout=subprocess.PIPE)


@pytest.mark.parametrize("method, kinds", [("tproxy", KINDS), ("redirect", "tcp")])
@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_nothing_passes_beside_a_gateway_that_comes_and_goes(lab, method, kinds, count):
    head = HEAD + f'host = true\nmethod = "{method}"\non-exit = "closed"\n'
    rules = [["port 1 -> direct"], ["host a.example -> direct", "app ssh -> drop"], []]
    configure(lab, rules[0], head=head, default="reject")
    serve = Serve(lab)
    uplink = Uplink(lab)
    senders = [attempts(host, count // 2, kinds) for host in (lab.client, lab.gateway)]
    kills = 0
    for turn in itertools.count(1):
        if all(sender.poll() is not None for sender in senders) and turn > 6:
            break
        configure(lab, rules[turn % 3], head=head, default=("reject", "drop")[turn % 2])
        if turn % 2:
            reload(lab)
        else:
            serve.kill()
            kills += 1
            serve = Serve(lab, timeout=PATIENCE)
    assert [int(sender.communicate()[0]) for sender in senders] == [count // 2] * 2
    assert kills >= 3
    assert uplink.packets == 0
    configure(lab, [], head=head)
    reload(lab)
    assert lab.client.run(["/usr/bin/python3", "-c", ATTEMPTS, Lab.FAR[4], Lab.FAR[6], 20, kinds])
    wait_until(lambda: uplink.packets > 0, "what may pass does, and is counted")
    assert serve.stop() == 0


def test_a_gateway_that_cannot_capture_datagrams_says_so(lab):
    gateway = Gateway(lab.gateway, "-i", "lan0", "--method", "redirect")
    assert gateway.said("UDP is not captured")
    assert gateway.stop() == 0


@pytest.mark.parametrize("method", ["namespace", "seccomp", "ptrace"])
@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.long)])
def test_nothing_of_a_command_passes_beside_its_proxy(lab, method, count):
    runner = Runner(lab.gateway, AS_ROOT)
    uplink = Uplink(lab)
    done = runner.run(["--method", method, "--rule=-> reject", "--", "/usr/bin/python3", "-c",
                       ATTEMPTS, Lab.FAR[4], Lab.FAR[6], count, KINDS], timeout=300)
    assert done.out.strip() == str(count), done
    assert uplink.packets == 0


@pytest.mark.parametrize("method", ["namespace", "seccomp", "ptrace"])
def test_nothing_of_a_command_passes_when_shunt_is_killed(lab, method):
    """Half a second after the last process of shunt's that a user sees is gone."""
    runner = Runner(lab.gateway, AS_ROOT)
    uplink = Uplink(lab)
    child = lab.gateway.spawn(
        [runner.shunt, "run", "--method", method, "--rule=-> reject", "--", "/usr/bin/python3",
         "-c", ATTEMPTS.replace("for number in range(count):", "import itertools\n"
                                "print('begun', flush=True)\nfor number in itertools.count():"),
         Lab.FAR[4], Lab.FAR[6], 0, KINDS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout.readline() == b"begun\n"
    child.kill()
    child.wait()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        assert uplink.packets == 0
    with contextlib.suppress(OSError):
        child.stdout.close()
