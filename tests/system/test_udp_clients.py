# SPDX-License-Identifier: GPL-2.0-only
"""Programs as they are installed, by UDP through the gateway; and what is none of the proxy's
business there."""
from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

from daemons import Dnsmasq, listening
from netlab import DEADLINE, Host, Lab, family_of, needs, wait_until
from peers import UdpEcho, free_port
from shunt import Gateway

versions = pytest.mark.parametrize("version", [4, 6])
LONG_NAME = "long.shunt.example"
STRINGS = [f"{number:03}" + "t" * 240 for number in range(12)]  # 3 KiB: more than one packet
NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970


@pytest.fixture(scope="module")
def captured(module_lab):
    gateway = Gateway(module_lab.gateway, "-i", "lan0")
    module_lab.shunt = gateway
    yield module_lab
    assert gateway.stop() == 0, str(gateway)


@pytest.fixture(scope="module")
def resolver(captured):
    """A dnsmasq on the server, with one answer that needs EDNS or TCP."""
    needs("dnsmasq")
    return Dnsmasq(captured.server, {"www.shunt.example": ["192.0.2.80"]},
                   "--edns-packet-max=4096", f"--txt-record={LONG_NAME},{','.join(STRINGS)}")


def carried(lab: Lab, port: int) -> list[dict]:
    """The UDP sessions to that port that the log has by now."""
    echo = UdpEcho(lab.server)
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.settimeout(DEADLINE)
        last.sendto(b"the last one", (Lab.FAR[4], echo.port))
        assert last.recv(100) == b"the last one"
    lab.shunt.wait_log(lambda entry: started(entry, echo.port))
    return [entry for entry in lab.shunt.log() if started(entry, port)]


def started(entry: dict, port: int) -> bool:
    return (entry["event"] == "start" and entry["protocol"] == "udp"
            and entry["destination_port"] == port)


@versions
@pytest.mark.parametrize("reverse", [(), ("-R",)], ids=["up", "down"])
def test_iperf3_loses_nothing(captured, version, reverse):
    needs("iperf3")
    port = free_port()
    server = captured.server.spawn(["iperf3", "-s", "-1", "-p", port, "-B", Lab.FAR[version]],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: listening(captured.server, port), "iperf3 listens")
    done = captured.client.run(
        ["iperf3", f"-{version}", "-c", Lab.FAR[version], "-p", port, "-u", "-b", "4M", "-l", 1200,
         "-w", "1M", "-t", 2, "-J", *reverse], timeout=60, check=False)
    assert done.ok, done
    total = json.loads(done.out)["end"]["sum"]
    assert total["packets"] > 500
    assert total["lost_packets"] == 0
    assert carried(captured, port)
    server.wait(DEADLINE)


@versions
def test_socat_talks_to_socat(captured, version):
    needs("socat")
    port = free_port()
    address = Lab.FAR[version] if version == 4 else f"[{Lab.FAR[version]}]"
    captured.server.spawn(["socat", f"UDP{version}-LISTEN:{port},bind={address},fork",
                           "PIPE"])
    wait_until(lambda: bound(captured.server, port), "socat listens")
    done = captured.client.run(["socat", "-t", 3, "-", f"UDP{version}:{address}:{port}"],
                               input=b"a line\n")
    assert done.out == "a line\n"
    assert len(carried(captured, port)) == 1


def bound(host: Host, port: int) -> bool:
    return f":{port} " in host.run(["ss", "-Hlun"]).out


@versions
@pytest.mark.parametrize("mode", ["udp", "tcp"])
def test_dnsperf_gets_every_answer(captured, resolver, version, mode):
    needs("dnsperf")
    captured.client.outside("/run/queries").write_text("www.shunt.example A\n")
    done = captured.client.run(
        ["dnsperf", "-s", Lab.FAR[version], "-d", "/run/queries", "-m", mode, "-l", 2, "-c", 20,
         "-Q", 500, "-t", 8], timeout=60)
    sent = int(re.search(r"Queries sent:\s+(\d+)", done.out)[1])
    completed = int(re.search(r"Queries completed:\s+(\d+)", done.out)[1])
    assert sent > 300 and completed == sent, done
    assert f"NOERROR {completed} (100.00%)" in done.out


@versions
@pytest.mark.parametrize("options, complete", [
    (["+notcp", "+bufsize=4096"], True), (["+tcp"], True), (["+notcp", "+noedns", "+ignore"], False)
], ids=["edns", "tcp", "truncated"])
def test_kdig_gets_long_answers(captured, resolver, version, options, complete):
    needs("kdig")
    done = captured.client.run(["kdig", f"-{version}", "+time=5", "+retry=0", *options,
                                f"@{Lab.FAR[version]}", LONG_NAME, "TXT"])
    assert all(text in done.out for text in STRINGS) == complete, done
    assert ("tc" in re.search(r"Flags: ([^;]*);", done.out)[1].split()) != complete, done


class NtpServer:
    """Says what time it is here (RFC 5905), stratum 1."""

    def __init__(self, host: Host, version: int) -> None:
        self._socket = host.socket(family_of(Lab.FAR[version]), socket.SOCK_DGRAM)
        self._socket.bind((Lab.FAR[version], 123))
        threading.Thread(target=self._serve, daemon=True).start()
        host.on_close(self.close)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                query, peer = self._socket.recvfrom(1000)
                if len(query) < 48:  # close()
                    return
                seconds, fraction = divmod(time.time() + NTP_EPOCH, 1)
                now = struct.pack(">II", int(seconds), int(fraction * 2 ** 32))
                head = struct.pack(">BBbbII4s", 0x24, 1, query[2], -20, 0, 0, b"TEST")
                self._socket.sendto(head + now + query[40:48] + now + now, peer)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@versions
def test_an_ntp_client_learns_the_time(captured, version):
    needs("ntpdig")
    NtpServer(captured.server, version)
    done = captured.client.run(["ntpdig", "-j", "-p", 2, "-g", 50, Lab.FAR[version]], timeout=30)
    answer = json.loads(done.out)
    assert abs(answer["offset"]) < 1 and answer["stratum"] == 1, done
    assert carried(captured, 123)


GROUPS = {4: "239.255.7.7", 6: "ff02::7:7"}


@versions
def test_multicast_is_left_alone(captured, version):
    port = free_port()
    with captured.gateway.entered():
        index = socket.if_nametoindex("lan0")
    with captured.client.entered():
        from_index = socket.if_nametoindex("eth0")
    group = socket.inet_pton(family_of(GROUPS[version]), GROUPS[version])
    with captured.gateway.socket(family_of(GROUPS[version]), socket.SOCK_DGRAM) as member, \
            captured.client.socket(family_of(GROUPS[version]), socket.SOCK_DGRAM) as sender:
        member.settimeout(DEADLINE)
        member.bind(("", port))
        if version == 4:
            member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                              struct.pack("4s4si", group, b"\0" * 4, index))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                              struct.pack("4s4si", b"\0" * 4, b"\0" * 4, from_index))
        else:
            member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                              struct.pack("16si", group, index))
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, from_index)
        sender.sendto(b"all of you", (GROUPS[version], port))
        assert member.recv(100) == b"all of you"
    assert not carried(captured, port)


@pytest.mark.parametrize("address", ["192.168.77.255", "255.255.255.255"])
def test_broadcast_is_left_alone(captured, address):
    port = free_port()
    with captured.gateway.socket(socket.AF_INET, socket.SOCK_DGRAM) as neighbour, \
            captured.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        neighbour.settimeout(DEADLINE)
        neighbour.bind(("", port))
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        sender.sendto(b"anybody?", (address, port))
        assert neighbour.recv(100) == b"anybody?"
    assert not carried(captured, port)


@versions
def test_what_is_sent_to_one_host_is_carried(captured, version):
    """So that the two tests above can fail."""
    echo = UdpEcho(captured.server, family=family_of(Lab.FAR[version]))
    with captured.client.socket(family_of(Lab.FAR[version]), socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE)
        sock.sendto(b"you", (Lab.FAR[version], echo.port))
        assert sock.recv(100) == b"you"
    assert len(carried(captured, echo.port)) == 1
