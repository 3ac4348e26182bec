# SPDX-License-Identifier: GPL-2.0-only
"""What this machine asks a resolver of its own on loopback, with `--host`, in each mode of DNS."""
from __future__ import annotations

import ipaddress
import socket

import pytest

from daemons import Dnsmasq, Nginx
from netlab import Host, Lab, needs
from peers import TcpServer, banner, echo_bytes, receive
from proxies import Microsocks
from queries import CountedQueries, ask
from runners import AS_ROOT, AS_USER, Runner
from shunt import Gateway
from test_dns import FAKE

RESOLVERS = pytest.mark.parametrize("resolver", ["127.0.0.53", "::1"])
OVER = pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
OWN = ["203.0.113.1", "2001:db8:99::1"]  # what the resolver here says
SERVER = f"tcp://{Lab.FAR[4]}"


def resolver_on_loopback(host: Host, names: dict[str, list[str]], *options: str) -> Dnsmasq:
    """Where systemd-resolved and dnsmasq stand, and nowhere else."""
    return Dnsmasq(host, names, "--bind-interfaces", "--listen-address=127.0.0.53",
                   "--listen-address=::1", *options)


@RESOLVERS
@OVER
def test_remote_answers_in_its_place(lab, resolver, tcp):
    resolver_on_loopback(lab.gateway, {"www.example": OWN, "printer": ["203.0.113.2"]})
    Dnsmasq(lab.server, {"www.example": [Lab.FAR[4]]})
    gateway = Gateway(lab.gateway, "--host", "--dns", "remote", "--dns-server", SERVER)
    assert ask(lab.gateway, resolver, "www.example", tcp=tcp).addresses == [Lab.FAR[4]]
    # A name that only the network around knows is still its to answer.
    assert ask(lab.gateway, resolver, "printer", tcp=tcp).addresses == ["203.0.113.2"]
    assert gateway.stop() == 0
    assert ask(lab.gateway, resolver, "www.example", tcp=tcp).addresses == OWN[:1]


@RESOLVERS
@OVER
def test_fake_ip_answers_in_its_place(lab, resolver, tcp):
    resolver_on_loopback(lab.gateway, {"www.example": OWN})
    Dnsmasq(lab.server, {"www.example": [Lab.FAR[4]]})
    server = TcpServer(lab.server, echo_bytes)
    gateway = Gateway(lab.gateway, "--host", "--dns", "fake-ip", "--dns-server", SERVER)
    (address,) = ask(lab.gateway, resolver, "www.example", tcp=tcp).addresses
    assert ipaddress.ip_address(address) in FAKE
    with lab.gateway.connect((address, server.port), timeout=8) as sock:
        sock.sendall(b"hello")
        assert receive(sock, 5) == b"hello"
    assert gateway.stop() == 0


@RESOLVERS
@OVER
def test_in_the_mode_system_it_answers_and_its_answers_are_remembered(lab, resolver, tcp):
    near = lab.server.v4
    resolver_on_loopback(lab.gateway, {"denied.example": [near]})
    server = TcpServer(lab.server, banner)
    gateway = Gateway(lab.gateway, "--host", "--server-first", server.port,
                      "--rule=host denied.example -> reject")
    with lab.gateway.connect((near, server.port), timeout=8) as sock:
        assert sock.recv(1)  # nobody has looked it up
    assert ask(lab.gateway, resolver, "denied.example", tcp=tcp).addresses == [near]
    with pytest.raises(ConnectionError):
        lab.gateway.connect((near, server.port), timeout=8).recv(1)
    end = gateway.wait_log(lambda e: e["event"] == "end" and e.get("rule") == 1)
    assert (end["host"], end["host_from"]) == ("denied.example", "dns")
    assert gateway.stop() == 0


def test_no_proxy_is_asked_for_what_is_on_loopback(lab):
    """Its own loopback is another machine's."""
    resolver_on_loopback(lab.gateway, {"www.example": OWN})
    resolver_on_loopback(lab.evil, {"www.example": ["203.0.113.66"]})
    proxy = Microsocks(lab.evil, lab.evil.v4)
    Gateway(lab.gateway, "--host", "--via", proxy.url("socks5"),
            "--rule=host other.example -> reject")
    for tcp in (False, True):
        assert ask(lab.gateway, "127.0.0.53", "www.example", tcp=tcp).addresses == OWN[:1]


@OVER
def test_a_resolver_that_asks_others_is_in_no_loop(lab, tcp):
    """What it asks is captured as well: in `system` it goes on, in `remote` it is answered."""
    Dnsmasq(lab.server, {"www.example": [Lab.FAR[4]]})
    resolver_on_loopback(lab.gateway, {}, f"--server={Lab.FAR[4]}")
    asked = CountedQueries(lab.server)
    gateway = Gateway(lab.gateway, "--host", "--rule=host other.example -> reject")
    assert ask(lab.gateway, "127.0.0.53", "www.example", tcp=tcp).addresses == [Lab.FAR[4]]
    assert gateway.stop() == 0
    ends = [e for e in gateway.log() if e["event"] == "end" and e["destination_port"] == 53]
    assert {e["destination"] for e in ends} == {"127.0.0.53", Lab.FAR[4]} and len(ends) <= 4
    before = asked.packets()
    Gateway(lab.gateway, "--host", "--dns", "remote", "--dns-server", SERVER)
    assert ask(lab.gateway, "127.0.0.53", "www.example", tcp=tcp).addresses == [Lab.FAR[4]]
    assert asked.packets() - before < 20


def test_what_is_excluded_is_left_to_the_resolver(lab):
    resolver_on_loopback(lab.gateway, {"www.example": OWN})
    Dnsmasq(lab.server, {"www.example": [Lab.FAR[4]]})
    Gateway(lab.gateway, "--host", "--dns", "remote", "--dns-server", SERVER,
            "--exclude", "to 127.0.0.0/8")
    assert ask(lab.gateway, "127.0.0.53", "www.example").addresses == OWN[:1]
    assert ask(lab.gateway, "::1", "www.example").addresses == [Lab.FAR[4]]


def test_other_ports_of_loopback_are_nobodys_business(lab):
    service = TcpServer(lab.gateway, echo_bytes)
    gateway = Gateway(lab.gateway, "--host", "--dns", "remote", "--dns-server", SERVER)
    for address in ("127.0.0.1", "::1", Lab.WAN[4]):
        with lab.gateway.connect((address, service.port)) as sock:
            sock.sendall(b"hello")
            assert receive(sock, 5) == b"hello"
    assert gateway.stop() == 0
    assert not [e for e in gateway.log() if e.get("destination_port") == service.port]


@pytest.mark.parametrize("who", [AS_ROOT, AS_USER])
@pytest.mark.parametrize("options", [(), ("--dns", "remote", "--dns-server", SERVER),
                                     ("--dns", "fake-ip", "--dns-server", SERVER)],
                         ids=["system", "remote", "fake-ip"])
def test_run_asks_past_the_proxy_what_is_on_the_hosts_loopback(lab, who, options):
    """In `system` all names, in the others those that only the network around knows."""
    needs("curl")
    resolver_on_loopback(lab.gateway, {"printer": [lab.server.v4]})
    lab.gateway.file("/etc/resolv.conf", "nameserver 127.0.0.53\n")
    Nginx(lab.server)
    Dnsmasq(lab.server, {})
    proxy = Microsocks(lab.evil, lab.evil.v4)  # which carries no datagram
    done = Runner(lab.gateway, who).sh("curl -s -m 10 http://printer/small",
                                       "--via", proxy.url("socks5"), *options)
    assert done.out == "small body\n"
