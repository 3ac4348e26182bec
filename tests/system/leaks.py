# SPDX-License-Identifier: GPL-2.0-only
"""What a host's kernel holds that a proxy could have left behind, and the difference of two looks.

    before = KernelState.of(lab.gateway)
    ... shunt comes and goes ...
    assert KernelState.of(lab.gateway).added_and_removed(before) == []

After an orderly stop and after `shunt down` the difference must be empty. After SIGKILL it may hold
only what shunt says remains: inert tagged ip rules, raised sysctls, and, for --on-exit closed, one
persistent table. after_kill() checks just that.

Cgroups and eBPF are the machine's and not the host's: tests that run at the same time see each
other's. So whoever makes such things is alone (MACHINE.change()) between the looks of others, which
the first look of a test begins and its end (conftest.py) closes.
"""
from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from dataclasses import dataclass

from netlab import Host

_MARK = "@@@"
_LOOKS = {
    "rule4": "ip -4 rule",
    "rule6": "ip -6 rule",
    "route4": "ip -4 route show table all",
    "route6": "ip -6 route show table all",
    "link": "ip -o link",
    "address": "ip -o address",
    "sockets": "ss -H -tuwlna",
    "unix": "ss -H -xla",
    "sysctl": "grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf"
              " /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_nonlocal_bind"
              " /proc/sys/net/ipv4/ip_local_port_range"
              " /proc/sys/net/ipv4/ip_unprivileged_port_start"
              " /proc/sys/net/ipv4/tcp_* /proc/sys/net/ipv4/fwmark_reflect"
              " /proc/sys/net/ipv6/bindv6only /proc/sys/net/core/somaxconn"
              " /proc/sys/net/netfilter/nf_conntrack_acct"
              " /proc/sys/net/netfilter/nf_conntrack_tcp*",
    "traffic-control": "tc qdisc; tc filter 2>/dev/null",
    "cgroup": "find /sys/fs/cgroup -type d -name '*shunt*' 2>/dev/null",
    "nft": "nft -s list ruleset",  # last: it alone may ask for modules and so alter the others
}
if shutil.which("bpftool", path="/usr/sbin:/usr/bin:/sbin"):
    _LOOKS["bpf"] = ("{ bpftool prog; bpftool link; bpftool map; } 2>/dev/null"
                     " | grep -i shunt | sed 's/^[0-9]*: //'")
_SCRIPT = "\n".join(f"echo {_MARK}{name}; {command}" for name, command in _LOOKS.items())

# Not state but its decay: expiry times, timers, queue lengths, ephemeral kernel statistics.
_VOLATILE = re.compile(r"\s+expires -?\d+sec|\s+valid_lft \S+|\s+preferred_lft \S+|\s+users \d+"
                       r"|\s+age \d+sec|\s+qlen \d+")
# Connections of the past that TCP itself keeps for a while.
_FADING = re.compile(r"TIME-WAIT|FIN-WAIT|CLOSE-WAIT|LAST-ACK|CLOSING|SYN-")


class _Machine:
    """What no network namespace holds, of which many may look and one may change it: flock(2)."""

    def __init__(self) -> None:
        self._path = os.path.join(tempfile.gettempdir(), f"shunt-tests-{os.getuid()}.lock")
        self._fd: int | None = None

    def look(self) -> None:
        self._take(fcntl.LOCK_SH)

    def change(self) -> None:
        self._take(fcntl.LOCK_EX)

    def leave(self) -> None:
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)  # a forked child has the descriptor, too
            os.close(self._fd)
            self._fd = None

    def _take(self, how: int) -> None:
        if self._fd is None:  # who changes it may look as well
            self._fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, how)


MACHINE = _Machine()


@dataclass(frozen=True)
class KernelState:
    lines: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, host: Host) -> KernelState:
        MACHINE.look()
        found: dict[str, list[str]] = {}
        name = ""
        for line in host.run(["sh", "-c", _SCRIPT], check=False, timeout=30).out.splitlines():
            if line.startswith(_MARK):
                name = line.removeprefix(_MARK)
                found[name] = []
            elif not (name == "sockets" and _FADING.search(line)):
                line = _VOLATILE.sub("", line)
                # Only nft's white space is not a matter of what else stands in the table.
                found[name].append(line if name == "nft" else " ".join(line.split()))
        assert list(found) == list(_LOOKS), f"only saw {list(found)}"
        # The rule set keeps its order (order is meaning); lists of things do not.
        return cls({key: tuple(value if key == "nft" else sorted(value))
                    for key, value in found.items()})

    def added_and_removed(self, before: KernelState) -> list[str]:
        """'nft: + line' for what is new, 'rule4: - line' for what is gone."""
        difference = []
        for key, now in self.lines.items():
            then = list(before.lines[key])
            for line in now:
                if line in then:
                    then.remove(line)
                else:
                    difference.append(f"{key}: + {line}")
            difference += [f"{key}: - {line}" for line in then]
            if key == "nft" and sorted(now) == sorted(before.lines[key]) \
                    and now != before.lines[key]:
                difference.append("nft: the order changed")
        return difference

    def after_kill(self, before: KernelState, closed: bool = False) -> list[str]:
        """What is left after SIGKILL beyond what design and manual allow; [] is a pass."""
        bad = []
        tables = set()
        in_table = False
        for entry in self.added_and_removed(before):
            key, sign, line = _split(entry)
            if key in ("rule4", "rule6") and sign == "+" and self._is_inert(key, line):
                continue
            if key == "sysctl" and _may_stay(line):
                continue
            if key == "route6" and line.startswith("anycast") and "proto kernel" in line:
                continue  # the kernel's own consequence of IPv6 forwarding
            if key == "nft" and sign == "+" and closed:
                if line.startswith("table "):
                    tables.add(line)
                    in_table = "shunt" in line
                if in_table and "owner" not in line:
                    continue
            bad.append(entry)
        if len(tables) > 1:
            bad.append(f"more than one table: {sorted(tables)}")
        return bad

    def _is_inert(self, key: str, rule: str) -> bool:
        """A tagged rule on a mark that nothing sets decides nothing, and leads to no route of
        shunt's; one to a table of the user's (`table` of a way out) names no interface."""
        if "fwmark" not in rule or " proto 177" not in rule:
            return False
        table = re.search(r"lookup (\S+)", rule)
        if table is None:
            return bool(re.search(r" (goto \d+|nop|unreachable) ", rule))
        routes = self.lines["route4" if key == "rule4" else "route6"]
        found = [route for route in routes if f"table {table[1]} " in route + " "]
        return not found or (" iif " not in rule and not any("proto 177" in r for r in found))


def _split(entry: str) -> tuple[str, str, str]:
    key, _, rest = entry.partition(": ")
    return key, rest[0], rest[2:]


def _may_stay(line: str) -> bool:
    """A sysctl that shunt raises, and journals for the next start or `shunt down`."""
    return bool(re.search(r"forwarding|ip_forward|src_valid_mark|accept_local|rp_filter"
                          r"|route_localnet|accept_ra|accept_redirects", line))


def open_descriptors(pid: int) -> set[tuple[str, str]]:
    """(number, what it is) of all threads: workers have descriptor tables of their own."""
    found = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        directory = f"/proc/{pid}/task/{task}/fd"
        with contextlib.suppress(FileNotFoundError):  # the thread ends meanwhile
            for fd in os.listdir(directory):
                with contextlib.suppress(FileNotFoundError):
                    found.add((fd, os.readlink(f"{directory}/{fd}")))
    return found


def descriptors(pid: int) -> dict[str, int]:
    """How many descriptors of each kind a process holds: socket, pipe, anon_inode:[eventpoll], …"""
    counts: dict[str, int] = {}
    for _, target in open_descriptors(pid):
        kind = target.split(":")[0] if target.startswith(("socket:", "pipe:")) else target
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def sockets(pid: int) -> int:
    return descriptors(pid).get("socket", 0)


def resident_bytes(pid: int) -> int:
    """Private memory of a process: what it would give back by ending."""
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Private_Dirty in smaps_rollup")


def cpu_seconds(pid: int) -> float:
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
