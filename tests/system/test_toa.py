# SPDX-License-Identifier: GPL-2.0-only
"""TOA: the client's address in a TCP option of the SYN, as a server reads it (TCP_SAVED_SYN).

The eBPF program is only ever attached to a cgroup that the test made, which shunt is put into
before it starts.
"""
from __future__ import annotations

import ipaddress
import os
import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from leaks import MACHINE
from netlab import Lab, needs, needs_tun, wait_until
from peers import receive
from shunt import Process, shunt

CONFIG = "/run/shunt.toml"
TCP_SAVE_SYN, TCP_SAVED_SYN = 27, 28
CGROUPS = Path("/sys/fs/cgroup/unified")
if not CGROUPS.is_dir():
    CGROUPS = Path("/sys/fs/cgroup")


def client_of(connection: socket.socket):
    """As docs/ways_out.md has it."""
    syn = connection.getsockopt(socket.IPPROTO_TCP, TCP_SAVED_SYN, 256)
    tcp = syn[40:] if syn[0] >> 4 == 6 else syn[(syn[0] & 15) * 4:]
    options = tcp[20:(tcp[12] >> 4) * 4]
    while options and options[0] != 0:
        size = 1 if options[0] == 1 else options[1]
        if options[0] == 254 and size in (8, 20):
            port, = struct.unpack(">H", options[2:4])
            return ipaddress.ip_address(options[4:size]), port
        options = options[size:]
    return None


class Reader:
    """A server that notes whom each SYN names, and echoes."""

    def __init__(self, lab: Lab) -> None:
        self.seen: list = []
        self.listener = lab.server.socket(socket.AF_INET6)
        self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.setsockopt(socket.IPPROTO_TCP, TCP_SAVE_SYN, 1)
        self.listener.bind(("::", 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        lab.server.on_close(self._close)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.seen.append(client_of(connection))
                connection.sendall(connection.recv(100))

    def _close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def cgroup(request):
    """A cgroup of the test's own."""
    MACHINE.change()
    path = CGROUPS / f"shunt-test-{os.getpid()}-{id(request):x}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"needs cgroups: {error}")
    yield path
    wait_until(lambda: not (path / "cgroup.procs").read_text(), "the cgroup is empty")
    path.rmdir()


def serve(lab: Lab, text: str, cgroup: Path) -> Process:
    lab.gateway.outside(CONFIG).write_text("version = 1\n" + text)
    prefix = ("sh", "-c", f'echo $$ > {cgroup}/cgroup.procs; exec "$@"', "sh")
    return Process(lab.gateway, "serve", "-c", CONFIG, json_log=False, prefix=prefix)


CAPTURE = '[capture]\nlan = ["lan0"]\n[via.clear]\ntoa = true\n[rules]\n'


def needs_bpf() -> None:
    status = Path("/proc/self/status").read_text()
    effective = int(next(line for line in status.splitlines() if "CapEff" in line).split()[1], 16)
    everybody = Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    if not effective >> 39 & 1 or not everybody:
        pytest.skip("needs bpf: no CAP_BPF in the first user namespace")


def ask(lab: Lab, reader: Reader, version: int = 4) -> tuple[str, int]:
    with lab.client.connect((Lab.FAR[version], reader.port)) as sock:
        mine = sock.getsockname()
        sock.sendall(b"hello")
        assert receive(sock, 5) == b"hello"
    return mine[:2]


@pytest.mark.parametrize("version", [4, 6])
def test_the_server_reads_the_clients_address_from_the_syn(lab, cgroup, version):
    needs_bpf()
    needs_tun()
    reader = Reader(lab)
    running = serve(lab, CAPTURE + 'default = "clear"\n', cgroup)
    running.wait_ready()
    asked = [ask(lab, reader, version) for _ in range(3)]
    assert [(str(address), port) for address, port in reader.seen] == asked
    assert running.stop() == 0


def test_connections_of_other_ways_out_are_as_they_were(lab, cgroup):
    needs_bpf()
    needs_tun()
    reader = Reader(lab)
    running = serve(lab, CAPTURE + f'match = ["port {reader.port} -> direct"]\n'
                    'default = "clear"\n[limits]\nsniff-wait = "0ms"\n', cgroup)
    running.wait_ready()
    ask(lab, reader)
    assert reader.seen == [None]
    assert running.stop() == 0


def test_the_client_of_a_proxy_header_is_the_one_that_is_named(lab, cgroup):
    needs_bpf()
    reader = Reader(lab)
    running = serve(lab, f'[listen.a]\naddress = "192.0.2.1:8443"\n'
                    f'to = "{Lab.FAR[4]}:{reader.port}"\naccept-proxy = "192.0.2.0/24"\n'
                    '[via.clear]\ntoa = true\n[rules]\ndefault = "clear"\n', cgroup)
    running.wait_ready()
    for family, source in (("TCP4", "203.0.113.50"), ("TCP6", "2001:db8::50")):
        other = "203.0.113.9" if family == "TCP4" else "2001:db8::9"
        with lab.evil.connect(("192.0.2.1", 8443)) as sock:
            sock.sendall(f"PROXY {family} {source} {other} 4321 443\r\nhello".encode())
            assert receive(sock, 5) == b"hello"
    assert [(str(address), port) for address, port in reader.seen] == [
        ("203.0.113.50", 4321), ("2001:db8::50", 4321)]
    assert running.stop() == 0


def attached(cgroup: Path) -> str:
    """What is attached to the cgroup, as bpftool lists it."""
    needs("bpftool")
    return subprocess.run(["bpftool", "cgroup", "show", str(cgroup)], capture_output=True,
                          text=True, check=True).stdout


def test_nothing_is_left_after_a_kill(lab, cgroup):
    needs_bpf()
    needs_tun()
    running = serve(lab, CAPTURE + 'default = "clear"\n', cgroup)
    running.wait_ready()
    assert "shunt_toa" in attached(cgroup)
    running.kill()
    wait_until(lambda: "shunt_toa" not in attached(cgroup), "the program is gone")


def test_a_reload_may_bring_it_and_take_it(lab, cgroup):
    needs_bpf()
    needs_tun()
    reader = Reader(lab)
    with_it = CAPTURE + 'default = "clear"\n'
    running = serve(lab, with_it, cgroup)
    running.wait_ready()
    path = lab.gateway.outside(CONFIG)
    path.write_text("version = 1\n" + with_it.replace("toa = true", ""))
    shunt(lab.gateway, "reload")
    ask(lab, reader)
    path.write_text("version = 1\n" + with_it)
    shunt(lab.gateway, "reload")
    mine = ask(lab, reader)
    assert reader.seen[0] is None and (str(reader.seen[1][0]), reader.seen[1][1]) == mine
    assert running.stop() == 0


def test_the_first_way_out_with_it_needs_a_restart(lab, cgroup):
    """shunt gives up what it has no use for when it starts."""
    needs_bpf()
    needs_tun()
    with_it = CAPTURE + 'default = "clear"\n'
    running = serve(lab, with_it.replace("toa = true", ""), cgroup)
    running.wait_ready()
    lab.gateway.outside(CONFIG).write_text("version = 1\n" + with_it)
    done = shunt(lab.gateway, "reload", check=False)
    assert done.code == 3 and "eBPF program" in done.err and "error[S046]" in done.err, done
    assert running.stop() == 0


def test_the_root_cgroup_is_left_alone(lab):
    needs_bpf()
    needs_tun()
    running = serve(lab, CAPTURE + 'default = "clear"\n', CGROUPS)
    assert running.wait() == 5
    assert any("error[S057]" in line and "root" in line for line in running.lines)


def test_doctor_has_tried_it(lab):
    needs_bpf()
    said = shunt(lab.gateway, "doctor", check=False).out
    assert "ok    toa: the eBPF program loads" in said


def test_only_a_direct_way_out_has_it(lab):
    lab.gateway.outside(CONFIG).write_text(
        'version = 1\n[via.a]\nproxy = "socks5://192.0.2.1"\ntoa = true\n')
    done = shunt(lab.gateway, "check", CONFIG, check=False)
    assert done.code == 3 and f"{CONFIG}:4:7" in done.err and "error[S033]" in done.err
