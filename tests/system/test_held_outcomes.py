# SPDX-License-Identifier: GPL-2.0-only
"""What proxies, ways out and rules say becomes the outcome of the client's own connect()."""
from __future__ import annotations

import errno
import socket

import pytest

from netlab import Lab, container_on_bridge, family_of
from peers import Accepted, TcpServer, echo_bytes, free_port, receive
from shunt import Gateway, shunt
from test_serve import Serve, configure

VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
SILENCE = "silence"


def outcome(lab: Lab, version: int, port: int, timeout: float = 10) -> object:
    """"ok", "silence" or the name of connect()'s error."""
    with lab.client.socket(family_of(Lab.FAR[version])) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect((Lab.FAR[version], port))
        except TimeoutError as timed_out:
            return errno.errorcode[timed_out.errno] if timed_out.errno else SILENCE
        except OSError as failed:
            return errno.errorcode[failed.errno]
        return "ok"


def through(lab: Lab, url: str, *keys: str) -> Serve:
    lines = "".join(f"{key}\n" for key in keys)
    configure(lab, [], f'[via.office]\nproxy = "{url}"\n{lines}', default="office")
    return Serve(lab)


SOCKS_CODES = {1: "ECONNREFUSED", 2: "ECONNREFUSED", 3: "ENETUNREACH", 4: "EHOSTUNREACH",
               5: "ECONNREFUSED", 6: SILENCE}  # RFC 1928 section 6


def socks5_by_port(client: socket.socket, _accepted: Accepted) -> None:
    """Answers CONNECT with the port's last digit as the code."""
    receive(client, 3)
    client.sendall(b"\5\0")
    head = receive(client, 4)
    rest = receive(client, (4 if head[3] == 1 else 16) + 2)
    code = int.from_bytes(rest[-2:], "big") % 10
    client.sendall(bytes([5, code]) + b"\0\1" + bytes(6))


@VERSIONS
@pytest.mark.parametrize("code", SOCKS_CODES)
def test_a_socks5_proxys_code_is_the_outcome(lab, version, code):
    proxy = TcpServer(lab.server, socks5_by_port)
    serve = through(lab, f"socks5://{lab.server.v4}:{proxy.port}")
    wait = 2.5 if SOCKS_CODES[code] == SILENCE else 10
    assert outcome(lab, version, 7000 + code, wait) == SOCKS_CODES[code], serve
    assert serve.stop() == 0


HTTP_ANSWERS = {"502 Bad Gateway": "EHOSTUNREACH", "403 Forbidden": "ECONNREFUSED",
                "503 Unavailable\r\nX-Squid-Error: ERR_CONNECT_FAIL 111": "ECONNREFUSED",
                "503 Unavailable\r\nX-Squid-Error: ERR_CONNECT_FAIL 101": "ENETUNREACH",
                "502 Bad Gateway\r\nProxy-Status: proxy; error=connection_refused": "ECONNREFUSED",
                "504 Gateway Timeout": SILENCE}


@VERSIONS
@pytest.mark.parametrize("answer", HTTP_ANSWERS)
def test_an_http_proxys_status_is_the_outcome(lab, version, answer):
    def refuse(client: socket.socket, _accepted: Accepted) -> None:
        while b"\r\n\r\n" not in client.recv(4096):
            pass
        client.sendall(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())

    proxy = TcpServer(lab.server, refuse)
    # It takes names, and so its clients wait only where that is asked for.
    serve = through(lab, f"http://{lab.server.v4}:{proxy.port}", 'connect = "honest"')
    wait = 2.5 if HTTP_ANSWERS[answer] == SILENCE else 10
    assert outcome(lab, version, 80, wait) == HTTP_ANSWERS[answer], serve
    assert serve.stop() == 0


@pytest.mark.parametrize("way_out, rule, expected", [
    ("early", "-> office", "ok"), ("honest", "-> office", "ECONNREFUSED"),
    ("honest", "-> office connect early", "ok"), (None, "-> office connect honest", "ECONNREFUSED"),
    (None, "-> office", "ECONNREFUSED"), (None, "host ads.example -> reject", "ok")],
    ids=["way-out-early", "way-out-honest", "rule-early", "rule-honest", "neither", "a-name-first"])
def test_when_a_client_is_let_in_is_for_the_way_out_and_the_rule_to_say(lab, way_out, rule,
                                                                         expected):
    mode = f'connect = "{way_out}"\n' if way_out else ""
    configure(lab, [rule], f'[via.office]\ninterface = "wan0"\n{mode}', default="office")
    serve = Serve(lab)
    said = outcome(lab, 4, free_port())  # who is let in first may be reset before connect() ends
    assert ("ok" if said == "ECONNRESET" else said) == expected, serve
    assert serve.stop() == 0


def test_who_insists_is_told_where_nobody_can_be_held(lab):
    """REDIRECT has no way to hold a connection."""
    done = shunt(lab.gateway, "gateway", "-i", "lan0", "--method", "redirect", "--connect",
                 "honest", check=False, timeout=20)
    assert done.code == 5 and "S061" in done.err, done


def bridge_netfilter(lab: Lab, on: bool) -> None:
    done = lab.gateway.run(["sysctl", "-qw", f"net.bridge.bridge-nf-call-iptables={on:d}",
                            f"net.bridge.bridge-nf-call-ip6tables={on:d}"], check=False)
    if on and not done.ok:
        pytest.skip("needs br_netfilter: the kernel has no bridge netfilter")


@VERSIONS
def test_a_container_on_a_bridge_is_told_the_outcome(lab, version):
    container = container_on_bridge(lab)
    bridge_netfilter(lab, False)
    server = TcpServer(lab.server, echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "br0")
    with container.connect((Lab.FAR[version], server.port)) as sock:
        sock.sendall(b"question")
        assert receive(sock, 8) == b"question"
    with pytest.raises(ConnectionRefusedError):
        container.connect((Lab.FAR[version], free_port()))
    with pytest.raises(OSError) as unreachable:
        container.connect((Lab.UNREACHABLE[version], 80))
    assert unreachable.value.errno == errno.EHOSTUNREACH
    assert gateway.stop() == 0


@VERSIONS
def test_what_is_filtered_while_it_is_bridged_is_captured_by_redirect(lab, version):
    """There the socket that TPROXY finds for a packet is lost."""
    container = container_on_bridge(lab)
    bridge_netfilter(lab, True)
    server = TcpServer(lab.server, echo_bytes)
    gateway = Gateway(lab.gateway, "-i", "br0")
    gateway.wait_said("by REDIRECT, since TPROXY does not work here: bridge-netfilter: what br0")
    with container.connect((Lab.FAR[version], server.port)) as sock:
        sock.sendall(b"question")
        assert receive(sock, 8) == b"question"
    assert gateway.stop() == 0
    said = shunt(lab.gateway, "doctor", check=False).out
    assert "bridge-netfilter" in said and "bridge-nf-call-iptables=0" in said
    refused = shunt(lab.gateway, "gateway", "-i", "br0", "--method", "tproxy", check=False,
                    timeout=20)
    assert refused.code == 5 and "bridge-nf-call-iptables=0" in refused.err, refused
