# SPDX-License-Identifier: GPL-2.0-only
"""Where flows to fake addresses end up: families, dead addresses, proxies, and what no name may
lead to.
"""
from __future__ import annotations

import os
import socket
import time

import pytest

from daemons import Dnsmasq
from netlab import Host, Lab, needs_tun
from peers import TcpServer, UdpEcho, echo_bytes
from proxies import Dante, Microsocks
from queries import UdpServer, ask, question_end
from shunt import Process, flow_ends, read_object, shunt
from test_dns import SOMEBODY, STATE, exchange, fake

NAMES = {"www.example": [Lab.FAR[4], Lab.FAR[6]]}
SERVER = f"tcp://{Lab.FAR[4]}"


def fake_address(lab: Lab, name: str) -> str:
    (address,) = ask(lab.client, SOMEBODY, name).addresses
    return address


def test_a_dead_address_of_a_name_holds_nobody_up(lab):
    Dnsmasq(lab.server, NAMES)
    server = TcpServer(lab.server, echo_bytes)
    lab.server.nft("table inet dead { chain in { type filter hook input priority 0;"
                   f" ip daddr {Lab.FAR[4]} tcp dport {server.port} drop; }}; }}")
    gateway = fake(lab, "--dns-server", SERVER)
    address = fake_address(lab, "www.example")
    began = time.monotonic()
    assert exchange(lab, address, server.port) == "answer"
    assert time.monotonic() - began < 3, "the silent address was waited for"
    assert server.seen(1)[0]
    end = flow_ends(gateway.log_path, lambda end: end.destination[0] == address)
    assert (end.entry["host"], end.entry["host_from"]) == ("www.example", "fake-ip")
    assert gateway.stop() == 0


class OneFamilyServer(UdpServer):
    """A server of DNS that answers questions for A and never those for AAAA."""

    def __init__(self, host: Host, address: str) -> None:
        self._data = socket.inet_aton(address)
        super().__init__(host, Lab.FAR[4])

    def answer(self, query: bytes) -> bytes | None:
        end = question_end(query)
        if query[end - 4:end - 2] != b"\0\1":
            return None
        head = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
        return head + query[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + self._data


def test_a_family_that_nobody_answers_for_holds_nobody_up(lab):
    OneFamilyServer(lab.server, lab.server.v4)
    server = TcpServer(lab.server, echo_bytes)
    fake(lab, "--dns-server", f"udp://{Lab.FAR[4]}")
    address = fake_address(lab, "www.example")
    began = time.monotonic()
    assert exchange(lab, address, server.port) == "answer"
    assert time.monotonic() - began < 2, "the other family was waited for"


def test_no_name_leads_a_client_to_what_only_the_gateway_reaches(lab):
    own = lab.gateway.run(["ip", "-4", "-o", "addr", "show", "dev", "dmz0"]).out.split()[3]
    Dnsmasq(lab.server, {"loop.example": ["127.0.0.1"], "own.example": [own.split("/")[0]],
                         "meta.example": ["169.254.169.254"]})
    server = TcpServer(lab.gateway, echo_bytes)
    gateway = fake(lab, "--dns-server", SERVER)
    for name in ("loop.example", "own.example", "meta.example"):
        address = fake_address(lab, name)
        assert exchange(lab, address, server.port) == "reset"
        end = gateway.wait_log(lambda e, a=address: e["event"] == "end" and e["destination"] == a)
        assert end["detail"] == f"{name} has no address that clients may be led to"
    assert not server.accepted
    assert gateway.stop() == 0


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_proxy_gets_the_name_where_there_is_no_server(lab, scheme):
    server = TcpServer(lab.server, echo_bytes)
    proxy = Microsocks(lab.evil, lab.evil.v4)
    lab.evil.file("/etc/hosts", f"{lab.server.v4} only.the.proxy.knows.example\n")
    fake(lab, "--via", proxy.url(scheme))
    assert exchange(lab, fake_address(lab, "only.the.proxy.knows.example"), server.port) == "answer"


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_datagrams_reach_the_name_through_a_proxy_without_a_server(lab, scheme):
    echo = UdpEcho(lab.server)
    proxy = Dante(lab.evil, lab.evil.v4, outside="eth0")
    lab.evil.file("/etc/hosts", f"{lab.server.v4} only.the.proxy.knows.example\n")
    gateway = fake(lab, "--via", proxy.url(scheme))
    address = fake_address(lab, "only.the.proxy.knows.example")
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(8)
        sock.connect((address, echo.port))
        sock.send(b"hello")
        assert sock.recv(100) == b"hello"
    assert gateway.stop() == 0
    end = gateway.wait_log(lambda e: e["event"] == "end" and e["destination"] == address)
    assert (end["host"], end["host_from"]) == ("only.the.proxy.knows.example", "fake-ip")


def test_datagrams_of_whoever_dials_are_refused_without_a_server(lab):
    gateway = fake(lab)
    address = fake_address(lab, "www.example")
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(8)
        sock.connect((address, 443))
        sock.send(b"hello")
        with pytest.raises(ConnectionRefusedError):  # so that a browser turns to TCP at once
            sock.recv(100)
    end = gateway.wait_log(lambda e: e["event"] == "end" and e["destination"] == address)
    assert end["host"] == "www.example" and "no server is there to look up" in end["detail"]


def test_explain_says_what_a_fake_address_stands_for(lab):
    needs_tun()
    environment = {**os.environ, "SHUNT_STATE_DIR": STATE}
    lab.gateway.outside("/run/shunt.toml").write_text(
        'version = 1\n[capture]\nlan = ["lan0"]\n[dns]\nmode = "fake-ip"\n'
        '[rules]\nmatch = ["host *.example -> reject"]\n')
    serve = Process(lab.gateway, "serve", "-c", "/run/shunt.toml", json_log=False, env=environment)
    serve.wait_ready()
    address = fake_address(lab, "www.example")
    question = ("explain", "-c", "/run/shunt.toml", "--client", lab.client.v4, "--in", "lan0")
    done = shunt(lab.gateway, *question, address, env=environment)
    assert f"{address} is a fake address that stands for www.example" in done.out
    told = read_object(shunt(lab.gateway, *question, "--json", address, env=environment).out)
    assert (told["fake"], told["host"], told["rule"]) == (True, "www.example", 1)
    done = shunt(lab.gateway, *question, "198.19.1.1", env=environment)
    assert "stands for no name" in done.out and "refused" in done.out
    done = shunt(lab.gateway, "explain", "--rule", "host *.example -> drop", address,
                 env=environment)  # by the file alone
    assert "stands for www.example" in done.out and "drop" in done.out
    assert serve.stop() == 0
