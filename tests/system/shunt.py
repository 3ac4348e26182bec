# SPDX-License-Identifier: GPL-2.0-only
"""shunt under test: the built binary, started on a Host and watched.

    gateway = Gateway(lab.gateway, "-i", "lan0")     # returns when it says "shunt: ready:"
    ...
    end = gateway.wait_log(lambda e: e["event"] == "close" and e["bytes_up"] == 5)
    assert gateway.stop() == 0                       # SIGTERM and the exit code

    done = shunt(lab.gateway, "down")                # any other command, to its end
"""
from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leaks import MACHINE
from netlab import DEADLINE, Host, Result, needs_tun, wait_until

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SHUNT_BUILD", ROOT / "build" / "release"))
BINARY = Path(os.environ.get("SHUNT_BINARY", BUILD / "shunt"))
NATIVE = BUILD / "tests" / "native"  # the tools of tests/system/native


def native(tool: str) -> str:
    path = NATIVE / tool
    assert path.exists(), f"{path} is not built: ninja -C {BUILD} system_peers"
    return str(path)


def install_shunt(host: Host) -> str:
    """A copy that every user of this host may run, with its library beside it."""
    host.install(BUILD / "libshunt-preload.so")
    return host.install(BINARY)


def shunt(host: Host, *arguments: object, **run) -> Result:
    """Runs one shunt command to its end; check=False where failure is what is tested."""
    if arguments[0] == "doctor":
        MACHINE.change()  # it makes a cgroup for a moment
    return host.run([BINARY, *arguments], **run)


def read_object(text: str) -> dict:
    """An object of JSON, in which no key may be there twice."""
    def once(pairs: list[tuple[str, object]]) -> dict:
        keys = [key for key, _ in pairs]
        assert len(set(keys)) == len(keys), f"a key twice: {keys}"
        return dict(pairs)
    return json.loads(text, object_pairs_hook=once)


class Process:
    """A shunt that runs. stderr is collected line by line; traffic lines go to a file as NDJSON."""

    started: list[Process] = []  # of this test: conftest.py asks all of them what they refused


    def __init__(self, host: Host, *arguments: object, prefix: tuple[str, ...] = (),
                 json_log: bool = True, user: int | None = None,
                 env: dict[str, str] | None = None) -> None:
        self.host = host
        self.lines: list[str] = []
        self.command = [*prefix, str(BINARY), *map(str, arguments)]
        self.log_path: Path | None = None
        if json_log:
            inside = f"/run/shunt-log-{id(self):x}"
            self.log_path = host.outside(inside)
            self.command += ["--json", "--log-to", inside]
        self.child = host.spawn(self.command, user=user, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=env)
        Process.started.append(self)
        self.pid = self.child.pid  # nsenter and setpriv execute in place
        self.out = b""
        self._readers = [threading.Thread(target=self._read_stderr, daemon=True),
                         threading.Thread(target=self._read_stdout, daemon=True)]
        for reader in self._readers:
            reader.start()

    def _read_stderr(self) -> None:
        with contextlib.suppress(ValueError):
            for line in self.child.stderr:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))

    def _read_stdout(self) -> None:
        with contextlib.suppress(ValueError):
            while data := self.child.stdout.read1(65536):
                self.out += data

    def wait_ready(self, timeout: float = DEADLINE) -> None:
        wait_until(lambda: self.said("shunt: ready:") or self.child.poll() is not None,
                   f"{self} says that it is ready", timeout)
        assert self.said("shunt: ready:"), f"{self} ended with {self.wait()}"

    def said(self, text: str) -> bool:
        return any(text in line for line in list(self.lines))

    def refused_calls(self) -> list[str]:
        """What it said of system calls that its own filter refused: one that is missing there."""
        return [line for line in list(self.lines) if "refused itself the system call" in line]

    def wait_said(self, text: str, timeout: float = DEADLINE) -> str:
        wait_until(lambda: self.said(text), f"{self} says {text!r}", timeout)
        return next(line for line in self.lines if text in line)

    # The traffic log.

    def log(self) -> list[dict]:
        """All complete NDJSON lines so far; a line that does not parse is a failure."""
        return read_log(self.log_path) if self.log_path else []

    def wait_log(self, condition: Callable[[dict], object], timeout: float = DEADLINE,
                 what: str = "a matching log line") -> dict:
        def find() -> dict | None:
            return next((entry for entry in self.log() if condition(entry)), None)
        try:
            return wait_until(find, what, timeout)
        except AssertionError:
            tail = "\n".join(map(str, self.log()[-15:]))
            raise AssertionError(f"{what}: not in the log of {self}; it ends\n{tail}") from None

    # The end.

    def send_signal(self, number: int) -> None:
        self.child.send_signal(number)

    def kill(self) -> None:
        self.child.kill()
        self.wait()

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> int:
        self.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout: float = DEADLINE) -> int:
        code = self.child.wait(timeout)
        for reader in self._readers:
            reader.join(DEADLINE)
        return code

    @property
    def running(self) -> bool:
        return self.child.poll() is None

    def __str__(self) -> str:
        said = "\n    ".join(self.lines[-20:])
        return f"`{' '.join(self.command)}` on {self.host.name}\n    {said}\n"


class Gateway(Process):
    """`shunt gateway` with the given options, ready when this returns."""

    def __init__(self, host: Host, *options: object, wait: bool = True, **process) -> None:
        if "redirect" not in options:
            needs_tun()  # without, it would fall back to REDIRECT, or refuse to start
        super().__init__(host, "gateway", *options, **process)
        self.started = time.monotonic()
        if wait:
            self.wait_ready()


# Not ports of one digit: those stand for nobody (capture/hold.h).
_LISTENER = re.compile(r"(tproxy ip6? to (?:127\.0\.0\.1|\[::1\])):(\d{2,})")


def with_ports(rules: str, like: str) -> str:
    """The rules of a plan with the listeners' ports of a ruleset that is installed."""
    ports = [int(port) for _, port in _LISTENER.findall(rules)]
    if not ports:
        return rules
    shift = min(int(port) for _, port in _LISTENER.findall(like)) - min(ports)
    return _LISTENER.sub(lambda found: f"{found[1]}:{int(found[2]) + shift}", rules)


def chains(ruleset: str) -> list[str]:
    """Of what nft lists, without the rules that queue: nft may have no text for them, and a plan
    has a comment then."""
    ruleset = re.sub(r"^\t\tqueue .*\n", "", ruleset, flags=re.M)
    return sorted(re.findall(r"^\tchain .*?^\t}$", ruleset, re.M | re.S))


# What the traffic log says of a connection's end, apart from how the lines are spelt.


@dataclass(frozen=True)
class FlowEnd:
    source: tuple[str, int]
    destination: tuple[str, int]
    reason: str  # closed, client_reset, upstream_reset, idle, shutdown, refused
    failure: str  # why it was refused, else ""
    bytes_up: int
    bytes_down: int
    entry: dict


def read_log(path: Path) -> list[dict]:
    """All complete NDJSON lines so far; a line that does not parse is a failure."""
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.split(b"\n") if line]


def flow_ends(log: Path, condition: Callable[[FlowEnd], object],
              timeout: float = DEADLINE) -> FlowEnd:
    """The first closing line that fits; waits for it."""
    def find() -> FlowEnd | None:
        return next((end for end in map(as_end, read_log(log)) if end and condition(end)), None)
    try:
        return wait_until(find, "a closing line", timeout)
    except AssertionError:
        tail = "\n".join(map(str, read_log(log)[-15:]))
        raise AssertionError(f"no closing line fits within {timeout} s; the log ends\n{tail}") \
            from None


def as_end(entry: dict) -> FlowEnd | None:
    """docs/json.md lists the keys."""
    if entry["event"] != "end" or entry["protocol"] != "tcp":
        return None
    return FlowEnd((entry["client"], entry["client_port"]),
                   (entry["destination"], entry["destination_port"]), entry["reason"],
                   entry.get("failure", ""), entry["bytes_up"], entry["bytes_down"], entry)


def listening_ports(process: Process) -> list[int]:
    """The TCP ports that a shunt listens on."""
    said = process.host.run(["ss", "-H", "-tlnp"]).out
    return sorted({int(line.split()[3].rsplit(":", 1)[1]) for line in said.splitlines()
                   if f"pid={process.pid}," in line})
