# SPDX-License-Identifier: GPL-2.0-only
"""UDP through two SOCKS5 proxies in a row: an association at the far one, made through an
association at the near one.

The near proxy is on the server's host and the far one on the third, which hears no other machine:
what its server sees from there came through both.
"""
from __future__ import annotations

import socket

import pytest

from netlab import Lab, bracketed, wait_until
from peers import UdpEcho
from proxies import PASSWORD, USER, Dante, Microsocks, Proxy, Squid
from test_serve import LOG, Serve, configure

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def way(name: str, url: str, *more: str) -> str:
    return f"[via.{name}]\nproxy = \"{url}\"\n" + "".join(f"{line}\n" for line in more)


def address_of(proxy: Proxy) -> str:
    return f"{bracketed(proxy.address)}:{proxy.port}"


def far_proxy(lab: Lab, version: int = 4) -> Dante:
    """On the third host, for the server's alone."""
    proxy = Dante(lab.evil, lab.evil.address(version), outside="eth0")
    ip, source = ("ip", lab.server.v4) if version == 4 else ("ip6", lab.server.v6)
    lab.evil.nft(f"table inet only {{ chain in {{ type filter hook input priority 0; "
                 f"tcp dport {proxy.port} {ip} saddr != {source} reject with tcp reset; }}; }}")
    return proxy


def chained(lab: Lab, near: str, far: str) -> Serve:
    configure(lab, [], near + far, default="far")
    serve = Serve(lab)
    serve.log_path = lab.gateway.outside(LOG)
    return serve


def ends(serve: Serve) -> dict:
    return serve.wait_log(lambda entry: entry["event"] == "end" and entry["protocol"] == "udp")


def connections_to(lab: Lab, proxy: Proxy) -> int:
    """Of the gateway's."""
    out = lab.gateway.run(["ss", "-Htn", "state", "established", "dport", f"= :{proxy.port}"]).out
    return len([line for line in out.splitlines() if proxy.address in line])


@pytest.mark.parametrize("proxies", [4, 6])
@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_go_through_both_proxies_and_come_back_from_where_they_were_sent(
        lab, version, proxies):
    near = Dante(lab.server, lab.server.address(proxies), outside="eth0")
    far = far_proxy(lab, proxies)
    echo = UdpEcho(lab.server, family=FAMILIES[version])
    serve = chained(lab, way("near", f"socks5://{address_of(near)}"),
                    way("far", f"socks5://{address_of(far)}", 'via = ["near"]'))
    where = (Lab.FAR[version], echo.port)
    with lab.client.socket(FAMILIES[version], socket.SOCK_DGRAM) as sock:
        sock.settimeout(8)
        for word in (b"one", b"two", b"x" * 1200):
            sock.sendto(word, where)
            answer, source = sock.recvfrom(2000)
            assert (answer, source[:2]) == (word, where)
    assert {peer[0] for _, peer in echo.received} == {lab.evil.address(version)}
    assert serve.stop() == 0
    end = ends(serve)
    assert end["way_out"] == "far"
    assert (end["bytes_up"], end["bytes_down"]) == (1206, 1206)


def test_passwords_are_told_to_each(lab):
    near = Dante(lab.server, lab.server.v4, outside="eth0", user=USER)
    far = far_proxy(lab)
    secret = lab.gateway.outside("/run/secret")
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    echo = UdpEcho(lab.server)
    serve = chained(lab, way("near", f"socks5://{address_of(near)}", f'user = "{USER}"',
                             'password-file = "/run/secret"'),
                    way("far", f"socks5://{address_of(far)}", 'via = ["near"]'))
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(8)
        sock.sendto(b"hello", (Lab.FAR[4], echo.port))
        assert sock.recv(100) == b"hello"
    assert serve.stop() == 0


@pytest.mark.parametrize("which", ["near", "far"])
def test_a_session_ends_with_either_association(lab, which):
    """All its connections go, and the next datagram finds the proxy that was started anew."""
    near = Dante(lab.server, lab.server.v4, outside="eth0")
    far = far_proxy(lab)
    echo = UdpEcho(lab.server)
    serve = chained(lab, way("near", f"socks5://{address_of(near)}"),
                    way("far", f"socks5://{address_of(far)}", 'via = ["near"]'))
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(8)
        sock.sendto(b"before", (Lab.FAR[4], echo.port))
        assert sock.recv(100) == b"before"
        assert connections_to(lab, near) == 2  # the far one's control connection, and its own
        (near if which == "near" else far).restart()
        assert ends(serve)["reason"] == "upstream_reset"
        wait_until(lambda: connections_to(lab, near) == 0, "the connections to the near proxy end")
        sock.sendto(b"after", (Lab.FAR[4], echo.port))
        assert sock.recv(100) == b"after"
    assert serve.stop() == 0


@pytest.mark.parametrize("kind, scheme", [(Squid, "http"), (Microsocks, "socks4a"),
                                          (Microsocks, "socks5")], ids=["http", "socks4", "socks5"])
def test_datagrams_never_pass_beside_a_hop_that_carries_none(lab, kind, scheme):
    """What is known of the kind of the proxy, and what a SOCKS5 proxy itself says."""
    near = kind(lab.server, lab.server.v4)
    far = far_proxy(lab)
    echo = UdpEcho(lab.server)
    serve = chained(lab, way("near", f"{scheme}://{address_of(near)}"),
                    way("far", f"socks5://{address_of(far)}", 'via = ["near"]'))
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(8)
        sock.connect((Lab.FAR[4], echo.port))
        sock.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)
    assert ends(serve)["failure"] == "unsupported"
    assert not echo.received
    assert connections_to(lab, near) == 0
    assert serve.stop() == 0


def test_a_first_hop_that_only_says_how_to_leave_carries_datagrams(lab):
    proxy = Dante(lab.evil, lab.evil.v4, outside="eth0")
    echo = UdpEcho(lab.server)
    serve = chained(lab, "[via.dmz]\ninterface = \"dmz0\"\nmark = 0x80\n",
                    way("far", f"socks5://{address_of(proxy)}", 'via = ["dmz"]'))
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(8)
        sock.sendto(b"hello", (Lab.FAR[4], echo.port))
        assert sock.recv(100) == b"hello"
    assert {peer[0] for _, peer in echo.received} == {lab.evil.v4}
    assert serve.stop() == 0
