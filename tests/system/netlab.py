# SPDX-License-Identifier: GPL-2.0-only
"""Networks for the system tests: hosts that exist only as long as the test that made them.

A Host is a network namespace and a mount namespace (with a /run of its own) held by one small
process. Nothing has a name in the file system or in the machine's own network namespace, so two
test runs cannot meet, and when the test process dies in whatever way, the holders read end-of-file
and everything is gone: there is nothing to sweep.

    with Lab() as lab:                       # client - gateway - server, and evil beside them
        lab.client.run(["curl", "-s", lab.url(lab.server, 4)])
        sock = lab.server.socket(socket.AF_INET)     # a socket that lives in the server
        child = lab.gateway.spawn(["tcpdump", ...])  # ends with the lab

Addresses: the LAN is RFC 1918 and ULA, since that is how `shunt gateway` finds its interfaces; all
else is documentation space. Inside a Lab the unproxied path works: the gateway forwards.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CLONE_NEWNET = 0x40000000
UNPRIVILEGED = 12345  # a user with no name, no home and no privilege
DEADLINE = 10.0  # seconds that anything in a lab may take; a loaded machine is slow

_libc = ctypes.CDLL(None, use_errno=True)
_MACHINE_NAMESPACE = os.stat("/proc/self/ns/net").st_ino

# The holder reads end-of-file when the test process dies. What the test had started ends then by
# its parent-death signal, except what was started so shortly before that it has not asked for one.
_HOLDER = r"""
mount -t tmpfs -o mode=755 tmpfs /run && ip link set lo up || exit
sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
echo ready
read _
mine=$(readlink /proc/$$/ns/net | sed 's/[][]/\\&/g')
for turn in 1 2; do
  find /proc -mindepth 3 -maxdepth 3 -path '/proc/[0-9]*/ns/net' -lname "$mine" 2>/dev/null |
  while IFS=/ read _ _ pid _; do [ "$pid" = $$ ] || kill -KILL "$pid" 2>/dev/null; done
  sleep 0.2
done
"""


def wait_until(condition: Callable[[], object], what: str, timeout: float = DEADLINE) -> object:
    """The condition's first true value; an AssertionError naming `what` when there is none."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.005)


def needs(*programs: str) -> None:
    """Skips the test unless these programs are installed."""
    absent = [name for name in programs if shutil.which(name) is None]
    if absent:
        pytest.skip(f"needs {', '.join(absent)}")


def needs_users() -> None:
    """Skips the test where this process cannot become another user."""
    mapped = sum(int(line.split()[2]) for line in open("/proc/self/uid_map"))
    if os.geteuid() != 0 or mapped <= UNPRIVILEGED:
        pytest.skip("needs root: to run programs as another user")


def needs_tun() -> None:
    """Skips the test where this user may not make the TUN device that TPROXY's routes name."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("needs tun: no access to /dev/net/tun")


@dataclass
class Result:
    """How a command ended: what subprocess says, decoded leniently."""

    command: list[str]
    code: int
    out: str
    err: str
    out_bytes: bytes
    seconds: float

    @property
    def ok(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        return (f"{' '.join(self.command)} -> {self.code} after {self.seconds:.2f} s\n"
                f"stdout: {self.out[-2000:]}\nstderr: {self.err[-4000:]}")


class Host:
    """A machine on a test network."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._children: list[subprocess.Popen] = []
        self._undo: list[Callable[[], None]] = []
        self.v4 = ""  # the address that other hosts know it by
        self.v6 = ""
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "--", "sh", "-c", _HOLDER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout.readline() == b"ready\n", f"no namespace for {name}"
        self.pid = self._holder.pid
        self._net = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        assert os.fstat(self._net).st_ino != _MACHINE_NAMESPACE, "this is the machine's own network"

    # Commands.

    def command(self, command: Sequence[str], user: int | None = None,
                cwd: str | None = None) -> list[str]:
        """`command` as it must be started from outside to run on this host."""
        entered = ["nsenter", f"--net=/proc/{self.pid}/ns/net", f"--mount=/proc/{self.pid}/ns/mnt",
                   "setpriv", "--pdeathsig", "KILL"]
        if user is not None:
            entered += ["--reuid", str(user), "--regid", str(user), "--clear-groups"]
        entered += ["--"]
        if cwd is not None:
            entered += ["env", "--chdir", cwd]
        return entered + [str(word) for word in command]

    def spawn(self, command: Sequence[str], user: int | None = None, cwd: str | None = None,
              **popen) -> subprocess.Popen:
        """Starts a command; it is killed with the host at the latest."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        child = subprocess.Popen(self.command(command, user, cwd), **popen)
        self._children.append(child)
        return child

    def run(self, command: Sequence[str], timeout: float = DEADLINE, check: bool = True,
            user: int | None = None, cwd: str | None = None, input: bytes | None = None,
            env: dict[str, str] | None = None) -> Result:
        """Runs a command to its end, within the timeout."""
        began = time.monotonic()
        stdin = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(self.command(command, user, cwd), capture_output=True,
                              timeout=timeout, env=env, **stdin)
        result = Result([str(word) for word in command], done.returncode,
                        done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"),
                        done.stdout, time.monotonic() - began)
        assert result.ok or not check, f"{self.name}: {result}"
        return result

    # Sockets of this process that live on this host.

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread (only) is in this host's network; sockets it makes stay there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self._net)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM,
               protocol: int = 0) -> socket.socket:
        with self.entered():
            return socket.socket(family, kind, protocol)

    def connect(self, address: tuple, timeout: float = DEADLINE,
                source: tuple | None = None) -> socket.socket:
        """A TCP connection from this host; `address` as for socket.connect()."""
        sock = self.socket(family_of(address[0]))
        try:
            sock.settimeout(timeout)
            if source is not None:
                sock.bind(source)
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock

    # Set-up.

    def address(self, version: int) -> str:
        return self.v4 if version == 4 else self.v6

    def ip(self, *lines: str) -> None:
        """Lines for `ip`, in one batch; the family follows from the addresses."""
        self.run(["ip", "-batch", "-"], input="\n".join(lines).encode() + b"\n")

    def sysctl(self, **values: object) -> None:
        """net__ipv4__ip_forward=1: two underscores are a dot."""
        self.run(["sysctl", "-qw", *(f"{key.replace('__', '.')}={value}"
                                     for key, value in values.items())])

    def nft(self, text: str) -> None:
        self.run(["nft", "-f", "-"], input=text.encode())

    def file(self, path: str, text: str) -> None:
        """Puts `text` in the place of an existing file such as /etc/resolv.conf, here only."""
        scratch = f"/run/netlab-{path.strip('/').replace('/', '-')}"
        self.run(["sh", "-c", f"cat > {scratch} && mount --bind {scratch} {path}"],
                 input=text.encode())

    def outside(self, path: str) -> Path:
        """What `path` is for this process: this host's /run is not the machine's."""
        return Path(f"/proc/{self.pid}/root{path}")

    def install(self, program: Path | str) -> str:
        """A copy that every user of this host may run, wherever the original lies."""
        inside = f"/run/{Path(program).name}"
        copy = self.outside(inside)
        if not copy.exists():
            shutil.copy(program, copy)
            copy.chmod(0o755)
        return inside

    def on_close(self, undo: Callable[[], None]) -> None:
        self._undo.append(undo)

    def processes(self) -> list[int]:
        """Pids of all processes in this host's network namespace, the holder left out."""
        mine = os.fstat(self._net).st_ino
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{pid}/ns/net").st_ino == mine and int(pid) != self.pid:
                    found.append(int(pid))
        return found

    def close(self) -> None:
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream is not None:
                    stream.close()
        self._children.clear()
        for pid in self.processes():  # what children left behind in our own namespace
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._holder.kill()
        self._holder.wait()
        self._holder.stdin.close()
        self._holder.stdout.close()
        os.close(self._net)


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bracketed(address: str) -> str:
    """As it stands in a URL or before a port."""
    return f"[{address}]" if ":" in address else address


@dataclass
class Lab:
    """client - gateway - server, and evil on a third link of the gateway that is not captured.

        client eth0 192.168.77.2, fd00:77::2          lan0 192.168.77.1, fd00:77::1
        server eth0 198.51.100.2, 2001:db8:100::2     wan0 198.51.100.1, 2001:db8:100::1 (default)
        evil   eth0 192.0.2.66, 2001:db8:2::66        dmz0 192.0.2.1, 2001:db8:2::1

    The server also has 203.0.113.10 and 2001:db8:113::10 ("far"), which only the default route
    leads to. It answers for 203.0.113.66 / 2001:db8:113::66 with host-unreachable and swallows
    what goes to 203.0.113.77 / 2001:db8:113::77.
    """

    forwarding: bool = True  # off: for tests of what shunt raises by itself
    hosts: dict[str, Host] = field(default_factory=dict)

    FAR = {4: "203.0.113.10", 6: "2001:db8:113::10"}
    UNREACHABLE = {4: "203.0.113.66", 6: "2001:db8:113::66"}
    BLACKHOLE = {4: "203.0.113.77", 6: "2001:db8:113::77"}
    LAN = {4: "192.168.77.1", 6: "fd00:77::1"}  # the gateway as the client knows it
    WAN = {4: "198.51.100.1", 6: "2001:db8:100::1"}

    def __post_init__(self) -> None:
        try:
            for name in ("client", "gateway", "server", "evil"):
                self.hosts[name] = Host(name)
            self._connect()
        except BaseException:
            self.close()
            raise

    @property
    def client(self) -> Host:
        return self.hosts["client"]

    @property
    def gateway(self) -> Host:
        return self.hosts["gateway"]

    @property
    def server(self) -> Host:
        return self.hosts["server"]

    @property
    def evil(self) -> Host:
        return self.hosts["evil"]

    def _connect(self) -> None:
        links = (("lan0", self.client, "192.168.77.1/24", "192.168.77.2/24",
                  "fd00:77::1/64", "fd00:77::2/64"),
                 ("wan0", self.server, "198.51.100.1/24", "198.51.100.2/24",
                  "2001:db8:100::1/64", "2001:db8:100::2/64"),
                 ("dmz0", self.evil, "192.0.2.1/24", "192.0.2.66/24",
                  "2001:db8:2::1/64", "2001:db8:2::66/64"))
        near: list[str] = []
        for link, host, near4, far4, near6, far6 in links:
            near += [f"link add {link} type veth peer name eth0 netns {host.pid}",
                     f"addr add {near4} dev {link}", f"addr add {near6} dev {link} nodad",
                     f"link set {link} up"]
            host.v4, host.v6 = far4.split("/")[0], far6.split("/")[0]
        self.gateway.v4, self.gateway.v6 = self.WAN[4], self.WAN[6]
        self.gateway.ip(*near, "route add default via 198.51.100.2",
                        "route add default via 2001:db8:100::2")
        for _, host, near4, far4, near6, far6 in links:
            host.ip(f"addr add {far4} dev eth0", f"addr add {far6} dev eth0 nodad",
                    "link set eth0 up", f"route add default via {near4.split('/')[0]}",
                    f"route add default via {near6.split('/')[0]}")
        if self.forwarding:
            self.gateway.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        far = [f"addr add {table[4]}/32 dev lo" for table in (self.FAR, self.UNREACHABLE,
                                                              self.BLACKHOLE)]
        far += [f"addr add {table[6]}/128 dev lo nodad" for table in (self.FAR, self.UNREACHABLE,
                                                                      self.BLACKHOLE)]
        self.server.ip(*far)
        self.server.nft(
            "table inet lab { chain in { type filter hook input priority 0;"
            f" ip daddr {self.BLACKHOLE[4]} drop; ip6 daddr {self.BLACKHOLE[6]} drop;"
            f" ip daddr {self.UNREACHABLE[4]} reject with icmp type host-unreachable;"
            f" ip6 daddr {self.UNREACHABLE[6]} reject with icmpv6 type addr-unreachable; }}; }}")
        for host in self.hosts.values():
            wait_until(lambda host=host: self._has_settled(host), f"the links of {host.name}")

    @staticmethod
    def _has_settled(host: Host) -> bool:
        """The kernel notices a carrier up to a second late on a busy machine; until then routes are
        marked `linkdown`, and link-local addresses and their routes are missing."""
        links = host.run(["ip", "-o", "link", "show", "type", "veth"]).out.splitlines()
        local = host.run(["ip", "-6", "-o", "address", "show", "scope", "link"]).out.splitlines()
        return all(",LOWER_UP" in link for link in links) and len(local) == len(links)

    def url(self, host: Host | str, version: int = 4, port: int = 80, path: str = "/") -> str:
        address = host if isinstance(host, str) else host.address(version)
        return f"http://{bracketed(address)}:{port}{path}"

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()
        self.hosts.clear()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def counters(host: Host, *names: str) -> dict[str, int]:
    """TCP counters of a host's network, as /proc/net/snmp and netstat name them: ActiveOpens, …"""
    found: dict[str, int] = {}
    with host.entered():
        text = Path("/proc/thread-self/net/snmp").read_text() \
            + Path("/proc/thread-self/net/netstat").read_text()
    lines = text.splitlines()
    for head, values in zip(lines[::2], lines[1::2]):
        found.update(zip(head.split()[1:], map(int, values.split()[1:])))
    return {name: found[name] for name in names}


def pairs(line: str) -> dict[str, int]:
    """"done live=0 connected=5" as {"live": 0, "connected": 5}."""
    return {name: int(value) for name, _, value in
            (word.partition("=") for word in line.split()) if value}


def container_on_bridge(lab: Lab) -> Host:
    """A host behind a bridge br0 of the gateway's, as container engines make them."""
    host = Host("container")
    lab.hosts["container"] = host
    lab.gateway.ip("link add br0 type bridge", "link set br0 up",
                   "addr add 172.30.0.1/24 dev br0", "addr add fd00:30::1/64 dev br0 nodad",
                   f"link add veth0 type veth peer name eth0 netns {host.pid}",
                   "link set veth0 master br0 up")
    host.v4, host.v6 = "172.30.0.2", "fd00:30::2"
    host.ip("addr add 172.30.0.2/24 dev eth0", "addr add fd00:30::2/64 dev eth0 nodad",
            "link set eth0 up", "route add default via 172.30.0.1",
            "route add default via fd00:30::1")
    return host
