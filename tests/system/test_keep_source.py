# SPDX-License-Identifier: GPL-2.0-only
"""`keep-source` on a way out: the server sees the client's own address, and answers come back."""
from __future__ import annotations

import contextlib
import re
import socket
import time

import pytest

from daemons import Nginx
from leaks import KernelState
from netlab import Host, Lab, container_on_bridge, family_of, needs, wait_until
from peers import TcpServer, UdpEcho, echo_bytes, free_port
from shunt import chains, read_log, shunt, with_ports
from test_serve import CONFIG, LOG, Serve, configure, reach, reload

KEEP = "[via.clear]\nkeep-source = true\n"
KEEP_PORT = "[via.clear]\nkeep-source = \"port\"\n"
NAMED = "host a.example -> reject"  # some rule needs a name: nothing is left to the kernel


def talk(sock: socket.socket, text: bytes = b"hello") -> None:
    sock.sendall(text)
    answer = b""
    while len(answer) < len(text) and (data := sock.recv(65536)):
        answer += data
    assert answer == text


def ask_udp(host: Host, address: str, port: int, source_port: int = 0) -> bytes:
    family = family_of(address)
    with host.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", source_port))
        sock.settimeout(5)
        sock.sendto(b"who?", (address, port))
        return sock.recv(100)


def ends(lab: Lab) -> list[dict]:
    return [entry for entry in read_log(lab.gateway.outside(LOG)) if entry["event"] == "end"]


# What the server sees.


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_nginx_sees_the_clients_address(lab, version, method):
    needs("nginx", "curl")
    Nginx(lab.server)
    configure(lab, [], KEEP.replace("[via", f"method = \"{method}\"\n[via"), default="clear")
    serve = Serve(lab)
    said = lab.client.run(["curl", "-sS", "-g", lab.url(Lab.FAR[version], version,
                                                        path="/whoami")]).out
    assert said.split()[0] == lab.client.address(version)
    # A large body and a path of small segments come through the same way.
    lab.client.run(["curl", "-sS", "-g", "-o", "/dev/null", "--fail",
                    lab.url(Lab.FAR[version], version, path="/big")], timeout=60)
    wait_until(lambda: len(ends(lab)) >= 2, "both connections are logged")
    assert all(entry["way_out"] == "clear" for entry in ends(lab))  # carried, not forwarded
    assert serve.stop() == 0


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("keep", [KEEP, KEEP_PORT], ids=["address", "port"])
def test_an_udp_server_sees_the_clients_address(lab, version, keep):
    echo = UdpEcho(lab.server, family=family_of(Lab.FAR[version]))
    configure(lab, [], keep, default="clear")
    Serve(lab)
    source_port = free_port()
    for _ in range(3):
        assert ask_udp(lab.client, Lab.FAR[version], echo.port, source_port) == b"who?"
    peers = {peer for _, peer in echo.received}
    assert {address for address, _ in peers} == {lab.client.address(version)}
    assert ({port for _, port in peers} == {source_port}) == (keep is KEEP_PORT)


@pytest.mark.parametrize("version", [4, 6])
def test_a_server_on_this_machine_sees_the_clients_address(lab, version):
    """A port forwarding of somebody's leads there, behind shunt."""
    server = TcpServer(lab.gateway, echo_bytes)
    echo = UdpEcho(lab.gateway, family=family_of(Lab.FAR[version]))
    ip = {4: "ip", 6: "ip6"}[version]
    lab.gateway.nft(f"table {ip} forwarding {{ chain out {{ type nat hook output priority -100;"
                    f" {ip} daddr {Lab.FAR[version]} dnat to {Lab.WAN[version]}; }}; }}")
    configure(lab, [], KEEP, default="clear")
    serve = Serve(lab)
    with lab.client.connect((Lab.FAR[version], server.port)) as sock:
        talk(sock)
        talk(sock, b"x" * 100_000)
    assert server.seen(1)[0].peer[0] == lab.client.address(version)
    assert ask_udp(lab.client, Lab.FAR[version], echo.port) == b"who?"
    assert echo.received[0][1][0] == lab.client.address(version)
    assert serve.stop() == 0


@pytest.fixture
def container(lab):
    return container_on_bridge(lab)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("bridge_netfilter", [0, 1])
def test_a_server_in_a_container_sees_the_clients_address(lab, container, version,
                                                         bridge_netfilter):
    key = "net.bridge.bridge-nf-call-ip6tables" if version == 6 \
        else "net.bridge.bridge-nf-call-iptables"
    if not lab.gateway.run(["sysctl", "-qw", f"{key}={bridge_netfilter}"], check=False).ok:
        pytest.skip("needs br_netfilter: the kernel has no bridge netfilter")
    server = TcpServer(container, echo_bytes)
    echo = UdpEcho(container, family=family_of(container.address(version)))
    configure(lab, [], KEEP, default="clear")
    Serve(lab)
    with lab.client.connect((container.address(version), server.port)) as sock:
        talk(sock)
        talk(sock, b"x" * 100_000)
    assert server.seen(1)[0].peer[0] == lab.client.address(version)
    assert ask_udp(lab.client, container.address(version), echo.port) == b"who?"
    assert echo.received[0][1][0] == lab.client.address(version)


@pytest.mark.parametrize("version", [4, 6])
def test_own_traffic_leaves_from_the_address_that_it_has(lab, version):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [], "host = true\n" + KEEP + "keep-source-from = [\"10.0.0.0/8\"]\n",
              default="clear")
    serve = Serve(lab)
    with lab.gateway.connect((Lab.FAR[version], server.port)) as sock:
        talk(sock)
    assert server.seen(1)[0].peer[0] == Lab.WAN[version]
    wait_until(lambda: any(e["way_out"] == "clear" for e in ends(lab)), "the flow's end")
    assert serve.stop() == 0


def test_it_combines_with_a_proxy_header(lab):
    def keep_header(client, record):
        record.header = b""
        while not record.header.endswith(b"\n"):
            record.header += client.recv(1)
        echo_bytes(client, record)

    server = TcpServer(lab.server, keep_header)
    configure(lab, [], KEEP + "proxy-protocol = \"v1\"\ninterface = \"wan0\"\nmark = 1\n",
              default="clear")
    Serve(lab)
    with lab.client.connect((Lab.FAR[4], server.port)) as sock:
        talk(sock)
    seen = server.seen(1)[0]
    assert seen.peer[0] == lab.client.v4
    assert seen.header.startswith(f"PROXY TCP4 {lab.client.v4} {Lab.FAR[4]} ".encode())


# What might stand in the way of the answers.


@pytest.mark.parametrize("filter", [0, 1, 2])
@pytest.mark.parametrize("valid_mark", [0, 1])
def test_reverse_path_filters_let_answers_in(lab, filter, valid_mark):
    server = TcpServer(lab.server, echo_bytes)
    lab.gateway.sysctl(net__ipv4__conf__all__src_valid_mark=valid_mark,
                       net__ipv4__conf__all__rp_filter=filter,
                       net__ipv4__conf__wan0__rp_filter=filter)
    configure(lab, [], KEEP, default="clear")
    Serve(lab)
    with lab.client.connect((Lab.FAR[4], server.port)) as sock:
        talk(sock)
    assert server.seen(1)[0].peer[0] == lab.client.v4


@pytest.mark.parametrize("keep", [KEEP, KEEP_PORT], ids=["address", "port"])
def test_masquerading_does_not_hide_who_asks_and_is_warned_of(lab, keep):
    server = TcpServer(lab.server, echo_bytes)
    lab.gateway.nft("table ip nat { chain post { type nat hook postrouting priority srcnat;"
                    " oifname wan0 masquerade; }; }\ntable ip6 nat { chain post {"
                    " type nat hook postrouting priority srcnat; oifname wan0 masquerade; }; }")
    configure(lab, [], keep, default="clear")
    assert "# warning: some rule here translates sources" in \
        shunt(lab.gateway, "plan", "serve", "-c", CONFIG).out
    serve = Serve(lab)
    assert serve.said("some rule here translates sources")
    for version in (4, 6):
        with lab.client.connect((Lab.FAR[version], server.port)) as sock:
            talk(sock)
        assert server.accepted[-1].peer[0] == lab.client.address(version)


@pytest.mark.parametrize("version", [4, 6])
def test_answers_come_back_where_somebody_switches_connection_tracking_off(lab, version):
    server = TcpServer(lab.server, echo_bytes)
    echo = UdpEcho(lab.server, family=family_of(Lab.FAR[version]))
    lab.gateway.nft("table inet raw { chain pre { type filter hook prerouting priority raw;"
                    " iifname wan0 notrack; }; chain out { type filter hook output priority raw;"
                    " oifname wan0 notrack; }; }")
    configure(lab, [], KEEP, default="clear")
    Serve(lab)
    with lab.client.connect((Lab.FAR[version], server.port)) as sock:
        talk(sock)
    assert server.seen(1)[0].peer[0] == lab.client.address(version)
    assert ask_udp(lab.client, Lab.FAR[version], echo.port) == b"who?"
    assert echo.received[0][1][0] == lab.client.address(version)


def test_a_path_with_a_smaller_mtu_is_discovered(lab):
    """The router's ICMP error goes to the client's address, and is meant for shunt's socket."""
    host = Host("farther")
    lab.hosts["farther"] = host
    lab.server.ip(f"link add far0 mtu 1280 type veth peer name eth0 netns {host.pid}",
                  "addr add 203.0.113.1/24 dev far0", "link set far0 up")
    host.ip("addr add 203.0.113.20/24 dev eth0", "link set eth0 up",
            "route add default via 203.0.113.1")
    lab.server.sysctl(net__ipv4__ip_forward=1)
    far = TcpServer(host, echo_bytes)
    configure(lab, [], KEEP, default="clear")
    Serve(lab)
    with lab.client.connect(("203.0.113.20", far.port)) as sock:
        talk(sock, b"x" * 60_000)
    assert far.seen(1)[0].peer[0] == lab.client.v4
    routes = lab.gateway.run(["ip", "route", "get", "203.0.113.20"]).out
    assert "mtu 1280" in routes, "there was nothing to discover"


def test_answers_that_go_astray_are_told_with_the_remedy(lab):
    server = TcpServer(lab.server, echo_bytes)
    lab.server.ip("route add blackhole 192.168.77.0/24")
    configure(lab, [], KEEP + "connect-timeout = \"1s\"\n", default="clear")
    serve = Serve(lab)
    for _ in range(2):
        assert reach(lab, server.port, lab.server.v4) == "silence"
    said = serve.wait_said("keeps clients' addresses")
    assert all(word in said for word in ("\"clear\"", f"{lab.server.v4}:{server.port}",
                                         lab.client.v4, "192.168.77.0/24", Lab.WAN[4])), said
    assert sum("keeps clients' addresses" in line for line in serve.lines) == 1


def test_a_server_that_answers_nobody_is_no_stray(lab):
    configure(lab, [], KEEP + "connect-timeout = \"1s\"\n", default="clear")
    serve = Serve(lab)
    assert reach(lab, 80, Lab.BLACKHOLE[4]) == "silence"
    assert not serve.said("keeps clients' addresses")


# Whose address may be used.


def test_a_client_that_may_not_be_spoken_for_is_refused_or_goes_the_next_way(lab):
    server, other = (TcpServer(lab.server, echo_bytes) for _ in range(2))
    configure(lab, [f"port {other.port} -> clear else direct"],
              KEEP + "keep-source-from = [\"10.0.0.0/8\", \"fd00:77::/64\"]\n", default="clear")
    Serve(lab)
    assert reach(lab, server.port, Lab.FAR[6]) == "answer"
    assert server.seen(1)[0].peer[0] == lab.client.v6
    assert reach(lab, server.port) in {"refused", "reset"}
    wait_until(lambda: any(f"keep-source-from does not name {lab.client.v4}" in str(entry)
                           for entry in ends(lab)), "the reason is logged")
    assert len(server.accepted) == 1
    assert reach(lab, other.port) == "answer"
    assert other.seen(1)[0].peer[0] == Lab.WAN[4]


def test_a_network_that_is_none_is_an_error_with_its_place(lab):
    configure(lab, [], KEEP + "keep-source-from = [\"10.0.0/8\"]\n", default="clear")
    done = shunt(lab.gateway, "check", CONFIG, check=False)
    assert done.code == 3 and "error[S043]" in done.err and "10.0.0/8" in done.err, done


@pytest.mark.parametrize("more, key", [
    ("source = \"192.0.2.1\"", "source"), ("proxy = \"socks5://192.0.2.1\"", "proxy"),
    ("via = [\"direct\"]", "via")])
def test_contradictions_are_errors_that_say_why(lab, more, key):
    configure(lab, [], KEEP + more + "\n", default="clear")
    done = shunt(lab.gateway, "check", CONFIG, check=False)
    assert done.code == 3 and f"error[S033]: way out \"clear\", {key}: " in done.err, done


# The client's port.


def test_the_port_is_kept_and_given_up_where_it_is_taken(lab):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [], KEEP_PORT, default="clear")
    Serve(lab)
    free, taken = free_port(), free_port()
    with lab.gateway.socket() as other:
        other.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
        other.bind((lab.client.v4, taken))
        other.listen()
        for port in (free, taken):
            with lab.client.connect((Lab.FAR[4], server.port), source=("", port)) as sock:
                talk(sock)
    peers = [accepted.peer for accepted in server.seen(2)]
    assert {address for address, _ in peers} == {lab.client.v4}
    assert peers[0][1] == free
    assert peers[1][1] != taken


def test_two_servers_at_once_from_one_client_port(lab):
    servers = [TcpServer(lab.server, echo_bytes) for _ in range(5)]
    configure(lab, [], KEEP_PORT, default="clear")
    Serve(lab)
    port = free_port()
    with contextlib.ExitStack() as stack:
        for server in servers:
            sock = lab.client.socket()
            stack.enter_context(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", port))
            sock.settimeout(5)
            sock.connect((Lab.FAR[4], server.port))
            talk(sock)
    for server in servers:
        assert server.seen(1)[0].peer == (lab.client.v4, port)


def connect_again_and_again(lab: Lab, port: int, server: TcpServer, count: int) -> list[str]:
    failures = []
    for number in range(count):
        try:
            with lab.client.connect((Lab.FAR[4], server.port), source=("", port)) as sock:
                talk(sock, b"%05d" % number)
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(1) == b""
        except (OSError, AssertionError) as error:
            failures.append(f"{number}: {error!r}")
    return failures


@pytest.mark.parametrize("keep", [KEEP, KEEP_PORT], ids=["address", "port"])
@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_one_client_port_again_and_again(lab, keep, count):
    """Reliability row 8: no EADDRINUSE reaches a client."""
    server = TcpServer(lab.server, echo_bytes)
    lab.client.sysctl(net__ipv4__tcp_max_tw_buckets=0)
    configure(lab, [], keep, default="clear")
    serve = Serve(lab)
    began = time.monotonic()
    assert connect_again_and_again(lab, free_port(), server, count) == []
    assert time.monotonic() - began < 120
    assert {accepted.peer[0] for accepted in server.accepted} == {lab.client.v4}
    assert serve.stop() == 0


def test_many_connections_at_once_from_one_client(lab):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [], KEEP, default="clear")
    Serve(lab)
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            sock = stack.enter_context(lab.client.connect((Lab.FAR[4], server.port)))
            talk(sock)
        assert len({accepted.peer for accepted in server.seen(500)}) == 500


# What is installed, and what is left.


def test_plan_prints_the_return_path_as_it_is_installed(lab):
    configure(lab, [], KEEP, default="clear")
    planned = shunt(lab.gateway, "plan", "serve", "-c", CONFIG).out
    before = KernelState.of(lab.gateway)
    serve = Serve(lab)
    rules = {4: lab.gateway.run(["ip", "rule"]).out, 6: lab.gateway.run(["ip", "-6", "rule"]).out}
    wanted = re.findall(r"^ip (-6 )?rule add pref (\d+) fwmark (\S+)( iif \S+)? "
                        r"(lookup \d+|goto \d+|nop|unreachable) protocol 177$", planned, re.M)
    assert {word.split()[0] for *_, word in wanted} == {"lookup", "goto", "nop"}
    for six, priority, mark, interface, action in wanted:
        line = rf"^{priority}:\s+from all fwmark {mark}{interface} {action} proto 177$"
        assert re.search(line, rules[6 if six else 4], re.M), line
    assert sum(rule.count("proto 177") for rule in rules.values()) == len(wanted)
    installed = lab.gateway.run(["nft", "list", "ruleset"]).out
    table = re.search(r"^table .*?^}$", planned, re.M | re.S)[0]
    lab.evil.nft(with_ports(table.replace("  flags owner\n", ""), installed))
    copied = lab.evil.run(["nft", "list", "ruleset"]).out
    assert chains(copied) == chains(installed)
    assert serve.stop() == 0
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_a_killed_one_leaves_only_what_is_allowed(lab, method):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [], KEEP.replace("[via", f"method = \"{method}\"\n[via"), default="clear")
    before = KernelState.of(lab.gateway)
    serve = Serve(lab)
    sock = lab.client.connect((Lab.FAR[4], server.port))
    talk(sock)
    serve.kill()
    sock.close()
    assert KernelState.of(lab.gateway).after_kill(before) == []
    with lab.client.connect((Lab.FAR[4], server.port), timeout=2) as direct:
        talk(direct)
    assert shunt(lab.gateway, "down").ok
    assert KernelState.of(lab.gateway).added_and_removed(before) == []


@pytest.mark.parametrize("method", ["tproxy", "redirect"])
def test_reload_brings_the_return_path_and_takes_it_away(lab, method):
    server = TcpServer(lab.server, echo_bytes)
    way = f"method = \"{method}\"\n"
    configure(lab, [NAMED], way)
    serve = Serve(lab)
    assert reach(lab, server.port) == "answer"
    assert server.seen(1)[-1].peer[0] == Lab.WAN[4]
    before = lab.gateway.run(["ip", "rule"]).out
    configure(lab, [], way + KEEP, default="clear")
    reload(lab)
    live = lab.client.connect((Lab.FAR[4], server.port))
    talk(live)
    assert server.seen(2)[-1].peer[0] == lab.client.v4
    configure(lab, [NAMED], way)
    reload(lab)
    assert reach(lab, server.port) == "answer"
    assert server.seen(3)[-1].peer[0] == Lab.WAN[4]
    talk(live)  # the live one keeps its way, and its answers
    live.close()
    wait_until(lambda: lab.gateway.run(["ip", "rule"]).out == before, "the rules are gone")
    assert serve.stop() == 0


def test_a_client_port_cannot_be_kept_with_redirect(lab):
    configure(lab, [], "method = \"redirect\"\n" + KEEP_PORT, default="clear")
    done = shunt(lab.gateway, "serve", "-c", CONFIG, check=False)
    assert done.code == 5 and "error[S052]" in done.err, done


def test_a_deleted_return_rule_is_put_back(lab):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [], KEEP, default="clear")
    Serve(lab)
    installed = lab.gateway.run(["ip", "rule"]).out
    lab.gateway.run(["ip", "rule", "flush", "protocol", "177"])
    wait_until(lambda: lab.gateway.run(["ip", "rule"]).out == installed, "the rules are back", 2)
    assert reach(lab, server.port) == "answer"


def test_without_a_tun_device_it_says_what_is_missing(lab):
    lab.gateway.run(["mount", "--bind", "/dev/null", "/dev/net/tun"])
    configure(lab, [], KEEP, default="clear")
    done = shunt(lab.gateway, "serve", "-c", CONFIG, check=False)
    assert done.code == 5 and "error[S050]" in done.err and "tun" in done.err, done
