# SPDX-License-Identifier: GPL-2.0-only
"""Names that clients looked up: rules about hosts for connections that say no name themselves."""
from __future__ import annotations

import pytest

from daemons import Dnsmasq
from netlab import Lab, needs
from peers import TcpServer, banner, echo_bytes
from shunt import Gateway, flow_ends, shunt
from test_rules import ask, request

VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
RECORD = {4: "A", 6: "AAAA"}


def resolver(lab: Lab) -> None:
    """On all addresses of the server: denied and good.example are there, other.example is not."""
    needs("dnsmasq", "dig")
    Dnsmasq(lab.server, {
        "denied.example": [lab.server.v4, lab.server.v6],
        "good.example": [Lab.FAR[4], Lab.FAR[6]],
        "other.example": [lab.server.v4, lab.server.v6]})


def look_up(lab: Lab, version: int, name: str, server: str, *options: str) -> None:
    done = lab.client.run(["dig", "+time=5", "+tries=1", "+short", *options, f"@{server}", name,
                           RECORD[version]])
    assert done.out.strip() in (lab.server.address(version), Lab.FAR[version])


def greeting(lab: Lab, address: str, port: int) -> str:
    """What a client hears that waits for the server to speak."""
    try:
        with lab.client.connect((address, port), timeout=10) as sock:
            return "greeting" if sock.recv(1) else "end"
    except ConnectionError:
        return "reset"


@VERSIONS
def test_a_server_that_speaks_first_is_denied_by_the_name_it_was_looked_up_by(lab, version):
    resolver(lab)
    far, near = Lab.FAR[version], lab.server.address(version)
    server = TcpServer(lab.server, banner)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--server-first", server.port,
                      "--rule=host denied.example -> reject")
    assert greeting(lab, near, server.port) == "greeting"  # nobody has looked it up
    look_up(lab, version, "denied.example", far)
    assert greeting(lab, near, server.port) == "reset"
    assert greeting(lab, far, server.port) == "greeting"
    look_up(lab, version, "other.example", far)  # one of its names is denied still
    assert greeting(lab, near, server.port) == "reset"
    end = flow_ends(gateway.log_path, lambda end: end.failure == "rejected_by_rule")
    assert (end.entry["host"], end.entry["host_from"], end.entry["rule"]) == \
        ("denied.example", "dns", 1)
    assert gateway.stop() == 0


@VERSIONS
def test_a_resolver_permits_only_where_it_is_trusted(lab, version):
    resolver(lab)
    far, near = Lab.FAR[version], lab.server.address(version)
    server = TcpServer(lab.server, banner)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--server-first", server.port,
                      "--trust-dns", near, "--rule=app dns -> direct",
                      "--rule=host good.example -> direct", "--rule=-> reject")
    look_up(lab, version, "good.example", far)  # the same resolver by an address of no trust
    assert greeting(lab, far, server.port) == "reset"
    gateway.wait_said("permits nothing")
    assert not server.accepted
    look_up(lab, version, "good.example", near)
    assert greeting(lab, far, server.port) == "greeting"
    assert greeting(lab, near, server.port) == "reset"
    assert gateway.stop() == 0


@VERSIONS
def test_a_name_that_the_client_says_comes_first_and_trusted_answers_verify_it(lab, version):
    resolver(lab)
    far, near = Lab.FAR[version], lab.server.address(version)
    server = TcpServer(lab.server, echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--trust-dns", near,
                      "--rule=app dns -> direct", "--rule=host denied.example -> reject",
                      "--rule=host good.example,other.example -> direct", "--rule=-> reject")
    look_up(lab, version, "denied.example", near)
    assert ask(lab, near, server.port, request("other.example")) == "reset"  # not verified yet
    look_up(lab, version, "other.example", near)
    assert ask(lab, near, server.port, request("other.example")) == "answer"
    assert ask(lab, near, server.port, b"no name\r\n") == "reset"  # might mean denied.example
    assert ask(lab, far, server.port, request("good.example")) == "reset"
    look_up(lab, version, "good.example", near)
    assert ask(lab, far, server.port, request("good.example")) == "answer"
    end = flow_ends(gateway.log_path, lambda end: end.destination[0] == far
                    and end.reason == "closed")
    assert (end.entry["host"], end.entry["host_from"]) == ("good.example", "http")
    assert gateway.stop() == 0


@VERSIONS
def test_what_is_asked_over_tcp_is_remembered_as_well(lab, version):
    resolver(lab)
    far, near = Lab.FAR[version], lab.server.address(version)
    server = TcpServer(lab.server, banner)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--server-first", server.port, "--trust-dns", near,
                      "--rule=app dns -> direct", "--rule=host denied.example -> reject",
                      "--rule=host good.example -> direct", "--rule=-> reject")
    look_up(lab, version, "good.example", far, "+tcp")  # of no trust
    assert greeting(lab, far, server.port) == "reset"
    look_up(lab, version, "good.example", near, "+tcp")
    assert greeting(lab, far, server.port) == "greeting"
    assert gateway.stop() == 0


@VERSIONS
@pytest.mark.parametrize("over", ["+notcp", "+tcp"])
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
def test_what_shunt_answers_itself_is_remembered_as_well(lab, version, over, trusted):
    resolver(lab)
    far, near = Lab.FAR[version], lab.server.address(version)
    server = TcpServer(lab.server, banner)
    gateway = Gateway(lab.gateway, "-i", "lan0", "--server-first", server.port,
                      "--dns", "remote", "--dns-server", f"tcp://{Lab.FAR[4]}",
                      "--trust-dns", Lab.FAR[4] if trusted else "192.0.2.250",
                      "--rule=app dns -> direct", "--rule=host denied.example -> reject",
                      "--rule=host good.example -> direct", "--rule=-> reject")
    look_up(lab, version, "good.example", near, over)  # whom the client asks does not matter
    assert greeting(lab, far, server.port) == ("greeting" if trusted else "reset")
    look_up(lab, version, "denied.example", near, over)
    assert greeting(lab, near, server.port) == "reset"
    end = flow_ends(gateway.log_path, lambda end: end.destination == (near, server.port))
    assert (end.entry["host"], end.entry["host_from"]) == ("denied.example", "dns")
    assert gateway.stop() == 0


def test_a_resolver_that_is_no_address_is_a_mistake(lab):
    done = shunt(lab.gateway, "gateway", "-i", "lan0", "--trust-dns", "resolver", check=False)
    assert done.code == 2
    assert "--trust-dns" in done.err and "no IP address" in done.err
