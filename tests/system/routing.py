# SPDX-License-Identifier: GPL-2.0-only
"""A machine with two ways out, and programs on it that `shunt route` sends by the other one.

The machine is the lab's gateway. Its default route leads to the server; "evil", on its other link,
has the server's far addresses as well. So who answers there tells which way a connection took.
"""
from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from netlab import Host, Lab, wait_until
from runners import Runner
from shunt import Process

EVIL = {4: "192.0.2.66", 6: "2001:db8:2::66"}
PORT = 7000
PYTHON = "/usr/bin/python3"

SERVER = """
import socket, threading
def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET
def talk(sock):
    while data := sock.recv(100):
        sock.sendall(NAME)
    sock.close()
def tcp(address, port):
    server = socket.create_server((address, port), family=family_of(address), backlog=512)
    while True:
        threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()
def udp(address, port):
    sock = socket.socket(family_of(address), socket.SOCK_DGRAM)
    sock.bind((address, port))
    while True:
        _, peer = sock.recvfrom(100)
        sock.sendto(NAME, peer)
for run in (tcp, udp):
    for address in ADDRESSES:
        for port in PORTS:
            threading.Thread(target=run, args=(address, port)).start()
"""


class TwoWays:
    """The machine, and a server at the end of each way, at the same addresses."""

    def __init__(self, lab: Lab) -> None:
        self.host = lab.gateway
        self.lab = lab
        for address in (Lab.FAR[4], Lab.FAR[6]):
            lab.evil.ip(f"address add {address} dev lo" + (" nodad" if ":" in address else ""))
        lab.evil.sysctl(net__ipv4__ip_nonlocal_bind=1, net__ipv6__ip_nonlocal_bind=1)
        for name, host in (("wan", lab.server), ("dmz", lab.evil)):
            self._serve(name, host)

    def _serve(self, name: str, host: Host) -> None:
        program = (f"NAME = b'{name}'\nADDRESSES = {[Lab.FAR[4], Lab.FAR[6]]}\n"
                   f"PORTS = {[PORT, PORT + 1]}\n{SERVER}")
        host.spawn([PYTHON, "-c", program])
        def listening() -> int:
            said = host.run(["ss", "-Hlntu"]).out
            return said.count(f":{PORT} ") + said.count(f":{PORT + 1} ")
        wait_until(lambda: listening() >= 8, "the servers listen")

    def default_by_dmz(self) -> None:
        """A second default route, which nothing takes that does not ask for its interface."""
        for version in (4, 6):
            self.host.ip(f"route add default via {EVIL[version]} dev dmz0 metric 5000")

    def runner(self, who: str) -> Runner:
        return Runner(self.host, who)


def network_state(host: Host) -> list[str]:
    return [host.run(words).out for words in (
        ["ip", "rule"], ["ip", "-6", "rule"], ["ip", "route", "show", "table", "all"],
        ["ip", "-6", "route", "show", "table", "all"], ["nft", "list", "ruleset"])]


# Does what a line of JSON says, and answers with who answered and the socket's own address.
ASKER = """
import json, os, socket, sys
kept = []
def made(kind, address):
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                         socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
def say(sock):
    return [sock.recv(100).decode(), sock.getsockname()[0]]
def ask(kind, address, port, bind=None, keep=False):
    sock = made(kind, address)
    sock.settimeout(3)
    if bind is not None:
        sock.bind(tuple(bind))
    if kind == "sendto":
        sock.sendto(b"who", (address, port))
    else:
        sock.connect((address, port)); sock.send(b"who")
    if keep: kept.append(sock)
    return say(sock)
def again():
    kept[-1].send(b"who"); return say(kept[-1])
def make(kind, address):
    kept.append(made(kind, address)); kept[-1].settimeout(3); return ["made", ""]
def connect(address, port):
    kept[-1].connect((address, port)); kept[-1].send(b"who"); return say(kept[-1])
def point(address, port):
    kept[-1].connect((address, port)); return ["points", ""]
def unpoint():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    return ["points" if libc.connect(kept[-1].fileno(), bytes(16), 16) else "free", ""]
def send_to(address, port):
    kept[-1].sendto(b"who", (address, port)); return say(kept[-1])
def fork(**words):
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, json.dumps(done(ask, words)).encode()); os._exit(0)
    os.close(write); os.wait(); return json.loads(os.read(read, 4096))
def many(count, **words):
    found = {}
    for _ in range(count):
        who = done(ask, words)[0]; found[who] = found.get(who, 0) + 1
    return [found, ""]
def raw(protocol):
    socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol); return ["made", ""]
def device():
    option = kept[-1].getsockopt
    name = option(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).decode()
    return [name.strip(chr(0)), option(socket.SOL_SOCKET, socket.SO_MARK)]
def close():
    kept.pop().close(); return ["closed", ""]
def serve(address, port):
    sock = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address
                                else socket.AF_INET, dualstack_ipv6=address.startswith("::ffff:"))
    kept.append(sock); return ["serves", sock.getsockname()[0]]
def reach_self(kind, address):
    with made(kind, address) as server, made(kind, address) as client:
        server.bind((address, 0))
        if kind == "tcp": server.listen()
        client.connect((address, server.getsockname()[1]))
        return [client.getpeername()[0], client.getsockname()[0]]
def name(to):
    with open("/proc/self/comm", "w") as comm: comm.write(to)
    return ["named", ""]
def done(run, words):
    try:
        return run(**words)
    except OSError as error:
        return [os.strerror(error.errno) if error.errno else type(error).__name__, ""]
for line in sys.stdin:
    words = json.loads(line)
    print(json.dumps(done(globals()[words.pop("do")], words)), flush=True)
"""


class Asker:
    """A program on the machine that does what it is told."""

    def __init__(self, host: Host, cgroup: Path | None = None, program: str = PYTHON,
                 uid: int = 0, gid: int = 0, also: Path | None = None) -> None:
        enter = [f"echo $$ > {directory}/cgroup.procs; " for directory in (cgroup, also)
                 if directory is not None]
        user = [*(["--reuid", str(uid)] if uid else []), *(["--regid", str(gid)] if gid else [])]
        user = ["setpriv", *user, "--clear-groups"] if user else []
        self.child = host.spawn(
            ["sh", "-c", "".join(enter) + 'exec "$@"', "sh", *user, program, "-c", ASKER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        self.pid = self.child.pid
        assert self("name", to=Path(program).name)[0] == "named"  # it runs

    def __call__(self, do: str, **words: object) -> list:
        self.child.stdin.write(json.dumps({"do": do, **words}) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def way(self, version: int = 4, kind: str = "tcp", port: int = PORT, **words: object) -> str:
        """Who answers to what it connects to now; or why nobody does."""
        return self("ask", kind=kind, address=Lab.FAR[version], port=port, **words)[0]

    def ways(self) -> set[str]:
        """The same of both families, and of all ways to send."""
        return {self.way(version, kind) for version in (4, 6) for kind in ("tcp", "udp", "sendto")}

    def end(self) -> None:
        self.child.stdin.close()
        self.child.wait(10)


def route(host: Host, *words: object, wait: bool = True, **process) -> Process:
    made = Process(host, "route", *words, json_log=False, **process)
    if wait:
        made.wait_ready()
    return made
