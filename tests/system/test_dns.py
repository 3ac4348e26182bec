# SPDX-License-Identifier: GPL-2.0-only
"""Captured queries that shunt answers itself: `--dns remote`, `--dns fake-ip`, and [dns]."""
from __future__ import annotations

import errno
import ipaddress
import os
import signal
import socket

import pytest

from daemons import Dnsmasq, Nginx
from netlab import Lab, needs, needs_tun, wait_until
from peers import TcpServer, UdpEcho, echo_bytes, receive
from proxies import Microsocks
from queries import (NXDOMAIN, SERVFAIL, CountedQueries, OptionsServer, Unbound, ask, parse, query,
                     state_lines)
from runners import AS_ROOT, AS_USER, Runner
from shunt import Gateway, Process, shunt

SOMEBODY = "203.0.113.53"  # whom clients ask; nobody is there
NAMES = {"www.example": [Lab.FAR[4], Lab.FAR[6]], "four.example": [Lab.FAR[4]]}
FAKE = ipaddress.ip_network("198.18.0.0/15")
STATE = "/run/state"
WHO = pytest.mark.parametrize("who", [AS_ROOT, AS_USER])


def remote(lab: Lab, server: str, *options: object) -> Gateway:
    return Gateway(lab.gateway, "-i", "lan0", "--dns", "remote", "--dns-server", server, *options)


def fake(lab: Lab, *options: object, **process) -> Gateway:
    environment = {**os.environ, "SHUNT_STATE_DIR": STATE}
    return Gateway(lab.gateway, "-i", "lan0", "--dns", "fake-ip", *options, env=environment,
                   **process)


def exchange(lab: Lab, address: str, port: int) -> str:
    try:
        with lab.client.connect((address, port), timeout=8) as sock:
            sock.sendall(b"hello")
            return "answer" if receive(sock, 5) == b"hello" else "end"
    except ConnectionError:
        return "reset"
    except OSError as error:
        return errno.errorcode[error.errno]


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_remote_asks_its_own_server_whoever_was_asked(lab, scheme):
    Dnsmasq(lab.server, NAMES)
    gateway = remote(lab, f"{scheme}://{Lab.FAR[4]}")
    for over_tcp in (False, True):
        assert ask(lab.client, SOMEBODY, "wWw.Example", tcp=over_tcp).addresses == [Lab.FAR[4]]
        assert ask(lab.client, SOMEBODY, "www.example", "AAAA", over_tcp).addresses == [Lab.FAR[6]]
        assert ask(lab.client, Lab.FAR[6], "four.example", tcp=over_tcp).addresses == [Lab.FAR[4]]
    assert ask(lab.client, SOMEBODY, "none.example").rcode != 0
    entry = gateway.wait_log(lambda e: e["event"] == "dns" and e["name"] == "www.example")
    assert (entry["type"], entry["rcode"], entry["addresses"], entry["fake"],
            entry["way_out"]) == ("A", "NOERROR", [Lab.FAR[4]], False, "dns")
    assert gateway.stop() == 0


def test_remote_over_tls_checks_the_certificate_and_leaks_nothing(lab):
    needs_tun()
    leaks = CountedQueries(lab.server)
    unbound = Unbound(lab.server, Lab.FAR[4], {"www.example": "203.0.113.99"})
    config = lab.gateway.outside("/run/shunt.toml")
    text = (f'version = 1\n[capture]\nlan = ["lan0"]\nhost = true\n[dns]\nmode = "remote"\n'
            f'server = "tls://{Lab.FAR[4]}"\n')
    config.write_text(text)
    untrusting = Process(lab.gateway, "serve", "-c", "/run/shunt.toml", json_log=False)
    untrusting.wait_ready()
    assert ask(lab.client, SOMEBODY, "www.example").rcode == SERVFAIL
    untrusting.wait_said("no answers to DNS")
    assert untrusting.stop() == 0
    lab.gateway.outside("/run/ca.pem").write_text(unbound.certificate)
    config.write_text(text + 'tls-ca = "ca.pem"\n')
    serve = Process(lab.gateway, "serve", "-c", "/run/shunt.toml", json_log=False)
    serve.wait_ready()
    for asker in (lab.client, lab.gateway):  # the LAN's, and this machine's own
        assert ask(asker, SOMEBODY, "www.example").addresses == ["203.0.113.99"]
        assert ask(asker, SOMEBODY, "nowhere.example", tcp=True).rcode == NXDOMAIN
    assert leaks.packets() == 0
    assert serve.stop() == 0


def test_a_server_that_is_down_is_an_answer_at_once_and_no_leak(lab):
    leaks = CountedQueries(lab.server)
    remote(lab, f"tls://{Lab.FAR[4]}")
    for _ in range(3):
        assert ask(lab.client, SOMEBODY, "www.example", timeout=2).rcode == SERVFAIL
    assert leaks.packets() == 0


def test_what_is_too_long_for_a_datagram_is_truncated_and_whole_over_tcp(lab):
    hosts = "".join(f"203.0.113.{i} a.example\n" for i in range(1, 61))
    lab.server.outside("/run/many").write_text(hosts)
    Dnsmasq(lab.server, {}, "--addn-hosts=/run/many")
    remote(lab, f"tcp://{Lab.FAR[4]}")
    wait_until(lambda: len(ask(lab.client, SOMEBODY, "a.example", tcp=True).addresses) == 60,
               "sixty addresses")
    short = ask(lab.client, SOMEBODY, "a.example")
    assert short.truncated and not short.records
    assert len(ask(lab.client, SOMEBODY, "a.example", edns=4096).addresses) == 60


def test_answers_come_from_the_cache_until_their_time_is_over(lab):
    Dnsmasq(lab.server, {"www.example": [Lab.FAR[4], "300"]})  # with a TTL; else it is 0
    remote(lab, f"tcp://{Lab.FAR[4]}", "--workers", "1")
    assert ask(lab.client, SOMEBODY, "www.example").addresses == [Lab.FAR[4]]
    for pid in lab.server.processes():  # it has a child for the connection
        os.kill(pid, signal.SIGKILL)
    kept = ask(lab.client, SOMEBODY, "www.example")
    assert kept.addresses == [Lab.FAR[4]] and 0 < kept.records[0][1] <= 300
    assert ask(lab.client, SOMEBODY, "www.example", "AAAA").rcode == SERVFAIL


def test_options_of_edns_go_no_further_than_shunt(lab):
    """Neither what a client says to the server, nor what the server says to whom it answered."""
    needs("dig")
    server = OptionsServer(lab.server, Lab.FAR[4], "203.0.113.7")
    remote(lab, f"udp://{Lab.FAR[4]}", "--workers", "1")
    dig = ["dig", "+tries=1", "+time=8", f"@{SOMEBODY}", "www.example", "A"]
    asked = dig + ["+cookie=0123456789abcdef", "+nsid", "+subnet=192.0.2.0/24"]
    for command in (asked, asked, dig + ["+nocookie"], dig + ["+noedns"]):
        said = lab.client.run(command).out
        assert "203.0.113.7" in said and "status: NOERROR" in said
        assert ("OPT PSEUDOSECTION" in said) == ("+noedns" not in command), said
        for option in ("COOKIE", "NSID", "CLIENT-SUBNET"):
            assert option not in said
    # Asked for with EDNS and without; the second came from what was kept.
    assert [len(message) - len(query("www.example")) for message in server.queries] == [11, 0]
    assert server.queries[0][-11:] == query("www.example", edns=1232)[-11:]
    assert server.queries[0][2:4] == b"\x01\x20"  # RD, and AD as dig asks for it
    flags = lab.client.run(dig + ["+dnssec"]).out
    assert "flags: do" in flags and len(server.queries) == 3


def test_a_fake_address_leads_to_the_name(lab):
    Dnsmasq(lab.server, NAMES)
    server = TcpServer(lab.server, echo_bytes)
    gateway = fake(lab, "--dns-server", f"tcp://{Lab.FAR[4]}",
                   "--rule", "host denied.example -> reject")
    answer = ask(lab.client, SOMEBODY, "www.example")
    (address,) = answer.addresses
    assert ipaddress.ip_address(address) in FAKE and answer.records[0][1] == 60
    assert ask(lab.client, SOMEBODY, "WWW.example", tcp=True).addresses == [address]
    assert exchange(lab, address, server.port) == "answer"
    assert server.seen(1)[0]
    assert ask(lab.client, SOMEBODY, "www.example", "AAAA").addresses == []
    assert ask(lab.client, SOMEBODY, "www.example", "HTTPS").records == []
    reverse = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
    assert ask(lab.client, SOMEBODY, reverse, "PTR").records[0][2] == "www.example"
    assert ask(lab.client, SOMEBODY, "0.255.19.198.in-addr.arpa", "PTR").rcode == NXDOMAIN
    # The rules know the name before the first byte, and it needs no verification.
    (denied,) = ask(lab.client, SOMEBODY, "denied.example").addresses
    assert exchange(lab, denied, server.port) == "reset"
    gateway.wait_log(lambda e: e["event"] == "end" and e.get("rule") == 1)
    assert exchange(lab, "198.19.200.1", server.port) == "EHOSTUNREACH"
    end = gateway.wait_log(lambda e: e["event"] == "end" and e["destination"] == "198.19.200.1")
    assert "stands for no name" in end["detail"]
    assert gateway.stop() == 0


def test_datagrams_to_a_fake_address_reach_the_name(lab):
    Dnsmasq(lab.server, NAMES)
    echo = UdpEcho(lab.server)
    fake(lab, "--dns-server", f"udp://{Lab.FAR[4]}")
    (address,) = ask(lab.client, SOMEBODY, "four.example").addresses
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(8)
        sock.connect((address, echo.port))
        sock.send(b"hello")
        assert sock.recv(100)


def test_a_proxy_that_takes_names_gets_the_name_and_nobody_else_does(lab):
    needs("curl")
    leaks = CountedQueries(lab.server)
    Nginx(lab.server)
    proxy = Microsocks(lab.evil, lab.evil.v4)
    lab.evil.file("/etc/hosts", f"{lab.server.v4} only.the.proxy.knows.example\n")
    fake(lab, "--via", proxy.url("socks5h"))
    (address,) = ask(lab.client, SOMEBODY, "only.the.proxy.knows.example").addresses
    done = lab.client.run(["curl", "-s", "-m", "10", "--resolve",
                           f"only.the.proxy.knows.example:80:{address}",
                           "http://only.the.proxy.knows.example/small"])
    assert done.out == "small body\n"
    assert leaks.packets() == 0


def test_fake_addresses_mean_the_same_after_a_kill(lab):
    state = lab.gateway.outside(STATE) / "fake-ip"
    gateway = fake(lab)
    addresses = {f"host{i}.example": ask(lab.client, SOMEBODY, f"host{i}.example").addresses
                 for i in range(20)}
    assert len(state_lines(state)) == 20
    gateway.kill()
    with state.open("a") as file:
        file.write("21 half.exam")  # a line that was being written
    gateway = fake(lab)
    for name, address in reversed(addresses.items()):
        assert ask(lab.client, SOMEBODY, name).addresses == address
    assert ask(lab.client, SOMEBODY, "half.example").addresses not in addresses.values()
    assert gateway.stop() == 0
    state.write_text("shunt fake-ip 1 198.18.0.0/15\nsomething else\n")
    gateway = fake(lab)
    assert gateway.said("damaged")
    assert ask(lab.client, SOMEBODY, "host7.example").addresses
    assert gateway.stop() == 0


def test_fake_addresses_mean_the_same_after_a_full_disk(lab):
    lab.gateway.run(["sh", "-c", f"mkdir {STATE} && mount -t tmpfs -o size=8k tmpfs {STATE}"])
    state = lab.gateway.outside(STATE) / "fake-ip"
    gateway = fake(lab)
    addresses: dict[str, list[str]] = {}

    def learn() -> None:
        name = f"a-name-that-fills-the-disk-{len(addresses)}.example"
        addresses[name] = ask(lab.client, SOMEBODY, name).addresses
        assert addresses[name]

    def full() -> bool:
        learn()
        return gateway.said("No space left on device")

    wait_until(full, "a full disk")
    for _ in range(20):
        learn()
    text = state.read_text()
    assert text.endswith("\n") and len(state_lines(state)) < len(addresses)
    assert all(len(line.split(" ")) == 2 for line in text.splitlines()[1:])
    lab.gateway.run(["mount", "-o", "remount,size=1m", STATE])

    def caught_up() -> bool:
        learn()
        return len(state_lines(state)) == len(addresses)

    wait_until(caught_up, "all names in the file")
    gateway.kill()
    gateway = fake(lab)
    for name, address in reversed(addresses.items()):
        assert ask(lab.client, SOMEBODY, name).addresses == address
    assert gateway.stop() == 0


def test_a_range_that_is_in_use_is_an_error(lab):
    lab.gateway.ip("addr add 198.18.3.1/24 dev dmz0")
    gateway = Gateway(lab.gateway, "-i", "lan0", "--dns", "fake-ip", wait=False)
    assert gateway.wait() == 3
    assert gateway.said("198.18.0.0/15 is used here: dmz0 has 198.18.3.1/24")


@WHO
def test_run_never_tells_the_network_a_name(lab, who):
    needs("curl")
    leaks = CountedQueries(lab.server)
    Nginx(lab.server)
    proxy = Microsocks(lab.evil, lab.evil.v4)
    lab.evil.file("/etc/hosts", f"{lab.server.v4} only.the.proxy.knows.example\n")
    lab.gateway.file("/etc/resolv.conf", f"nameserver {SOMEBODY}\n")
    runner = Runner(lab.gateway, who)
    done = runner.sh("curl -s -m 10 http://only.the.proxy.knows.example/small",
                     "--via", proxy.url("socks5h"), "--dns", "fake-ip")
    assert done.out == "small body\n"
    assert leaks.packets() == 0


@WHO
def test_run_answers_in_the_place_of_a_resolver_on_loopback(lab, who):
    needs("curl")
    leaks = CountedQueries(lab.server)
    Nginx(lab.server)
    unbound = Unbound(lab.server, Lab.FAR[4], {"www.example": Lab.FAR[4]})
    lab.gateway.file("/etc/ssl/certs/ca-certificates.crt", unbound.certificate)
    lab.gateway.file("/etc/resolv.conf", "nameserver 127.0.0.53\n")
    done = Runner(lab.gateway, who).sh("curl -s -m 10 http://www.example/small", "--dns", "remote",
                                       "--dns-server", f"tls://{Lab.FAR[4]}")
    assert done.out == "small body\n"
    assert leaks.packets() == 0


def test_ten_thousand_queries_beside_a_daemon_on_the_port(lab):
    """Row 8: each is answered for what it asked, and the daemon on the port gets none of them."""
    daemon = lab.gateway.socket(socket.AF_INET, socket.SOCK_DGRAM)
    daemon.bind(("0.0.0.0", 53))
    fake(lab)
    names = [f"host{number}.example" for number in range(500)]
    answers: dict[int, list[str]] = {}
    with lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(8)
        sock.connect((SOMEBODY, 53))
        for first in range(0, 10_000, 50):
            for number in range(first, first + 50):
                sock.send(query(names[number % len(names)], identifier=number))
            try:
                while len(answers) < first + 50:
                    answer = parse(sock.recv(512))
                    assert answer.id not in answers
                    answers[answer.id] = answer.addresses
            except TimeoutError:
                break  # what is missing is counted below
    assert sorted(set(range(10_000)) - answers.keys()) == []
    addresses = [{answers[number][0] for number in range(index, 10_000, len(names))}
                 for index in range(len(names))]
    assert all(len(of_one_name) == 1 for of_one_name in addresses)
    assert len(set.union(*addresses)) == len(names)
    daemon.setblocking(False)
    with pytest.raises(BlockingIOError):
        daemon.recv(512)
    daemon.close()


def test_contradictions_are_told_before_anything_starts(lab):
    for options, said in [
            (("--dns", "remote"), "needs a server"),
            (("--dns", "remote", "--dns-server", "tls://dns.example"), "no address"),
            (("--dns-server", "tcp://192.0.2.1"), "go where their clients send them"),
            (("--dns", "fake-ip", "--host"), "shunt itself needs a server")]:
        gateway = Gateway(lab.gateway, "-i", "lan0", *options, wait=False)
        assert gateway.wait() == 2 and gateway.said(said), gateway


def test_another_mode_needs_a_restart(lab):
    needs_tun()
    config = lab.gateway.outside("/run/shunt.toml")
    head = 'version = 1\n[capture]\nlan = ["lan0"]\n'
    config.write_text(head)
    Process(lab.gateway, "serve", "-c", "/run/shunt.toml", json_log=False).wait_ready()
    config.write_text(head + f'[dns]\nmode = "remote"\nserver = "tcp://{Lab.FAR[4]}"\n')
    done = shunt(lab.gateway, "reload", check=False)
    assert done.code == 3 and "dns cannot be changed while shunt runs" in done.err
