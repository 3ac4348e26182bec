# SPDX-License-Identifier: GPL-2.0-only
"""Rules as clients and logs see them: `--rule` of `shunt gateway` and `shunt run`."""
from __future__ import annotations

import itertools
import re
import socket
import ssl
import statistics
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netlab import Lab, family_of, needs_users, wait_until
from peers import TcpServer, UdpEcho, banner, echo_bytes, free_port, receive
from runners import AS_ROOT, AS_USER, Runner
from shunt import ROOT, Gateway, flow_ends, read_log, shunt

METHODS = pytest.mark.parametrize("method", ["tproxy", "redirect"])
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
WHO = pytest.mark.parametrize("who", [AS_ROOT, AS_USER])
_logs = itertools.count()


def gateway_with(lab: Lab, *rules: str, options: tuple[object, ...] = ()) -> Gateway:
    return Gateway(lab.gateway, "-i", "lan0", *options, *map("--rule={}".format, rules))


def request(host: str, method: str = "GET", path: str = "/") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def client_hello(name: str) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    session = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def exchange(sock: socket.socket, *pieces: bytes) -> str:
    """What a client of an echo server sees that sends the pieces in a segment each."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for number, piece in enumerate(pieces):
            if number > 0:
                time.sleep(0.02)  # a segment of its own: nothing tells when the first was taken
            sock.sendall(piece)
        wanted = b"".join(pieces)
        return "answer" if receive(sock, len(wanted)) == wanted else "end"
    except ConnectionError:
        return "reset"
    except TimeoutError:
        return "silence"


def ask(lab: Lab, address: str, port: int, *pieces: bytes, timeout: float = 10.0) -> str:
    with lab.client.connect((address, port), timeout=timeout) as sock:
        return exchange(sock, *pieces)


@METHODS
@VERSIONS
def test_each_kind_of_term_decides(lab, method, version):
    far = Lab.FAR[version]
    main, by_client, by_app = (TcpServer(lab.server, echo_bytes) for _ in range(3))
    hello = client_hello("a.tls.example")
    cases = [
        ("host denied.example", main, (request("denied.example"),)),
        ("host *.tls.example app tls", main, (hello[:20], hello[20:])),
        (f"client {lab.client.address(version)} port {by_client.port}", by_client, (b"x",)),
        (f"to {far} proto tcp app ssh port {by_app.port}", by_app, (b"SSH-2.0-x\r\n",)),
        ("method POST path /api/*", main, (request("fine.example", "POST", "/api/x?y"),)),
        ("host ~\"^b[0-9]+[.]\" in lan0,eth9", main, (request("b12.example"),)),
    ]
    gateway = gateway_with(lab, *(f"{terms} -> reject" for terms, _, _ in cases),
                           options=("--method", method))
    for number, (terms, server, pieces) in enumerate(cases, 1):
        assert ask(lab, far, server.port, *pieces) == "reset", terms
        end = flow_ends(gateway.log_path, lambda end, number=number:
                        end.entry.get("rule") == number)
        assert (end.reason, end.failure) == ("refused", "rejected_by_rule"), terms
    assert ask(lab, far, main.port, request("fine.example")) == "answer"
    passed = flow_ends(gateway.log_path, lambda end: end.bytes_up > 0)
    assert "rule" not in passed.entry
    assert len(main.accepted) == 1
    assert gateway.stop() == 0


@METHODS
@VERSIONS
def test_a_dropped_client_hears_nothing(lab, method, version):
    server = TcpServer(lab.server, echo_bytes)
    gateway = gateway_with(lab, "host denied.example -> drop", f"port {free_port()} -> reject",
                           options=("--method", method))
    far = Lab.FAR[version]
    assert ask(lab, far, server.port, request("denied.example"), timeout=1.5) == "silence"
    assert ask(lab, far, server.port, request("fine.example")) == "answer"
    end = flow_ends(gateway.log_path, lambda end: end.entry.get("rule") == 1)
    assert end.failure == "dropped_by_rule"
    assert gateway.stop(timeout=5) == 0  # nobody waits for the dropped


@VERSIONS
def test_datagrams_are_rejected_and_dropped(lab, version):
    rejected, dropped, passed = (UdpEcho(lab.server, family=family_of(Lab.FAR[version]))
                                 for _ in range(3))
    gateway = gateway_with(lab, f"proto udp port {rejected.port} in lan0 -> reject",
                           f"proto udp port {dropped.port} -> drop")

    def say(echo: UdpEcho) -> str:
        with lab.client.socket(family_of(Lab.FAR[version]), socket.SOCK_DGRAM) as sock:
            sock.settimeout(1.0)
            sock.connect((Lab.FAR[version], echo.port))
            try:
                sock.send(b"hello")
                return "answer" if sock.recv(100) else "end"
            except ConnectionRefusedError:
                return "refused"
            except TimeoutError:
                return "silence"

    assert [say(echo) for echo in (rejected, dropped, passed)] == ["refused", "silence", "answer"]
    for rule, failure in ((1, "rejected_by_rule"), (2, "dropped_by_rule")):
        entry = gateway.wait_log(lambda entry, rule=rule: entry.get("rule") == rule)
        assert (entry["event"], entry["failure"]) == ("end", failure)
    assert gateway.stop() == 0


@VERSIONS
def test_the_next_way_out_carries_what_the_first_cannot(lab, version):
    server = TcpServer(lab.server, echo_bytes)
    nobody = f"socks5://{Lab.LAN[4]}:{free_port()}"
    gateway = gateway_with(lab, "host a.example -> via else direct",
                           options=("--via", nobody))
    far = Lab.FAR[version]
    assert ask(lab, far, server.port, request("a.example")) == "answer"
    end = flow_ends(gateway.log_path, lambda end: end.entry.get("rule") == 1)
    assert (end.reason, end.entry["way_out"]) == ("closed", "direct")
    assert ask(lab, far, server.port, request("b.example")) == "reset"  # via alone
    assert ask(lab, far, free_port(), request("a.example")) == "reset"
    refused = gateway.wait_log(lambda entry: entry.get("failure") == "refused")
    assert refused["way_out"] == "direct"  # tried last
    assert gateway.stop() == 0


@METHODS
@VERSIONS
def test_a_name_permits_only_the_addresses_that_it_has(lab, method, version):
    far, near = Lab.FAR[version], lab.server.address(version)
    server = TcpServer(lab.server, echo_bytes)
    lab.gateway.file("/etc/hosts", f"{far} good.example\n{near} other.example\n")
    gateway = gateway_with(lab, "host good.example,made-up.example -> direct", "-> reject",
                           options=("--method", method, "--sniff-wait", "2s"))
    seen = {(host, address): ask(lab, address, server.port, request(host))
            for host in ("good.example", "made-up.example", "other.example")
            for address in (far, near)}
    answered = {question for question, outcome in seen.items() if outcome == "answer"}
    assert answered == {("good.example", far)}
    assert gateway.said("permits nothing")
    assert gateway.stop() == 0


@METHODS
@VERSIONS
def test_of_five_hundred_names_and_addresses_only_the_permitted_pairs_are_reached(
        lab, method, version):
    """25 names, said by HTTP or by TLS, and 10 addresses (reliability row 10). Each name has an
    address, five have two; ten names are permitted, five denied, ten unheard of."""
    net = {4: "203.0.113.", 6: "2001:db8:113::"}[version]
    addresses = [f"{net}{last}" for last in range(101, 111)]
    lab.server.ip(*(f"addr add {address}/{32 if version == 4 else 128} dev lo"
                    for address in addresses))
    names = [f"{kind}{number}.example" for kind, count in (("yes", 10), ("no", 5), ("odd", 10))
             for number in range(count)]
    homes = {name: {addresses[place % 10], addresses[(place + place % 5 // 4 * 3) % 10]}
             for place, name in enumerate(names)}
    lab.gateway.file("/etc/hosts", "".join(f"{address} {name}\n" for name in names
                                           for address in sorted(homes[name])))
    server = TcpServer(lab.server, echo_bytes)
    gateway = gateway_with(lab, "host ~\"^no\" -> reject",
                           f"host {','.join(names[:10])} -> direct", "-> reject",
                           options=("--method", method, "--sniff-wait", "5s"))

    def attempt(case: tuple[str, str, Callable[[str], bytes]]) -> tuple[str, str] | None:
        name, address, said_by = case
        outcome = ask(lab, address, server.port, said_by(name))
        assert outcome in ("answer", "reset"), f"{name} at {address}: {outcome}"
        return (name, address) if outcome == "answer" else None

    cases = list(itertools.product(names, addresses, (request, client_hello)))
    assert len(cases) == 500
    with ThreadPoolExecutor(8) as clients:
        reached = Counter(filter(None, clients.map(attempt, cases)))
    permitted = {(name, address) for name in names[:10] for address in homes[name]}
    assert len(permitted) == 12
    assert reached == dict.fromkeys(permitted, 2)  # each by Host and by SNI
    assert len(server.accepted) == 24, "somebody was let in and then reset"
    assert gateway.stop() == 0


@VERSIONS
def test_a_name_denies_unverified(lab, version):
    server = TcpServer(lab.server, echo_bytes)
    gateway = gateway_with(lab, "host denied.example -> reject")
    assert ask(lab, Lab.FAR[version], server.port, request("Denied.Example.")) == "reset"
    assert not server.accepted
    assert gateway.stop() == 0


@METHODS
def test_a_later_request_for_a_denied_host_does_not_pass(lab, method):
    server = TcpServer(lab.server, echo_bytes)
    gateway = gateway_with(lab, "host denied.example -> reject", options=("--method", method))
    with lab.client.connect((Lab.FAR[4], server.port)) as sock:
        assert exchange(sock, request("fine.example")) == "answer"
        assert exchange(sock, request("also-fine.example")) == "answer"
        assert exchange(sock, request("denied.example")) == "reset"
    end = flow_ends(gateway.log_path, lambda end: end.reason == "host_changed")
    assert end.bytes_up == len(request("fine.example") + request("also-fine.example"))
    assert gateway.stop() == 0


NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer_requests(sock: socket.socket, _accepted: object) -> None:
    while sock.recv(10_000):
        sock.sendall(NO_CONTENT)


def test_a_later_request_is_logged_with_the_rule_that_it_came_under(lab):
    server = TcpServer(lab.server, answer_requests)
    gateway = gateway_with(lab, "host denied.example -> reject")
    with lab.client.connect((Lab.FAR[4], server.port)) as sock:
        sock.sendall(request("fine.example"))
        assert receive(sock, len(NO_CONTENT)) == NO_CONTENT
        assert exchange(sock, request("denied.example")) == "reset"
    flow_ends(gateway.log_path, lambda end: end.reason == "host_changed")
    said = [(entry["host"], entry["way_out"], entry.get("rule"))
            for entry in gateway.log() if entry["event"] == "http_request"]
    assert said == [("fine.example", "direct", None), ("denied.example", "reject", 1)]
    assert gateway.stop() == 0


@METHODS
def test_a_later_request_that_cannot_be_followed_does_not_pass(lab, method):
    server = TcpServer(lab.server, echo_bytes)
    gateway = gateway_with(lab, "host denied.example -> reject", options=("--method", method))
    first = request("fine.example")
    odd = [b"GET  / HTTP/1.1\r\nHost: denied.example\r\n\r\n",
           b"GET / HTTP/1.1 \r\nHost: denied.example\r\n\r\n",
           b"GET / HTTP/1.1\r\nno colon\r\nHost: denied.example\r\n\r\n",
           b"GET / HTTP/1.1\r\nX(Y): x\r\nHost: denied.example\r\n\r\n",
           b"GET / HTTP/1.1\r\nX: " + 17_000 * b"x" + b"\r\nHost: denied.example\r\n\r\n"]
    for later in odd:
        with lab.client.connect((Lab.FAR[4], server.port)) as sock:
            port = sock.getsockname()[1]
            assert exchange(sock, first) == "answer"
            assert exchange(sock, later) == "reset", later[:60]
        end = flow_ends(gateway.log_path,
                        lambda end, port=port: end.entry["client_port"] == port)
        assert end.reason == "host_changed", later[:60]
        # Of a head that comes in pieces the first pass, but never all of it.
        assert end.bytes_up == len(first) or len(later) > 10_000, later[:60]
        assert end.bytes_up < len(first) + len(later), later[:60]
    assert gateway.stop() == 0


def padded_hello(name: str) -> bytes:
    """Of more than 16 KiB, the name behind the padding; OpenSSL takes it."""
    def with_length(size: int, data: bytes) -> bytes:
        return len(data).to_bytes(size, "big") + data

    def extension(kind: int, data: bytes) -> bytes:
        return kind.to_bytes(2, "big") + with_length(2, data)

    server_name = extension(0, with_length(2, b"\0" + with_length(2, name.encode())))
    extensions = extension(21, bytes(17_000)) + server_name
    body = (b"\3\3" + bytes(32) + b"\0" + with_length(2, b"\x13\x01") + b"\1\0"
            + with_length(2, extensions))
    message = b"\1" + with_length(3, body)
    return b"".join(b"\x16\3\1" + with_length(2, message[at:at + 16_000])
                    for at in range(0, len(message), 16_000))


def unreadable(name: str) -> list[bytes]:
    """What servers take and shunt does not follow."""
    host = f"Host: {name}\r\n\r\n".encode()
    return [b"GET  / HTTP/1.1\r\n" + host,
            b"GET / HTTP/1.1 \r\n" + host,
            b"GET / HTTP/1.1\r\nno colon\r\n" + host,
            b"GET / HTTP/1.1\r\nX(Y): x\r\n" + host,
            b"GET / HTTP/1.1\r\nX: " + 17_000 * b"x" + b"\r\n" + host,
            33 * b"A" + b" / HTTP/1.1\r\n" + host,
            padded_hello(name)]


@METHODS
def test_what_cannot_be_read_does_not_pass_where_a_rule_denies_by_name(lab, method):
    server = TcpServer(lab.server, echo_bytes)
    gateway = gateway_with(lab, f"port {free_port()} host x.example -> reject",
                           "host denied.example -> reject", options=("--method", method))
    pieces = unreadable("denied.example")
    for piece in pieces:
        assert ask(lab, Lab.FAR[4], server.port, piece) == "reset", piece[:60]
    assert not server.accepted
    gateway.wait_said("in a way that cannot be read")
    gateway.wait_log(lambda _: len(ends_of(gateway)) == len(pieces))
    assert {(end["rule"], end["failure"]) for end in ends_of(gateway)} == {(2, "rejected_by_rule")}
    for piece in (b"EHLO denied.example\r\n", b"PING\r\n", b"SET denied.example HTTP\r\n",
                  b"NICK x\r\nUSER x 0 * :HTTP/1.1\r\n"):
        assert ask(lab, Lab.FAR[4], server.port, piece) == "answer", piece
    assert gateway.stop() == 0


def ends_of(gateway: Gateway) -> list[dict]:
    return [entry for entry in gateway.log() if entry["event"] == "end"]


def test_what_cannot_be_read_passes_where_no_rule_denies_by_name(lab):
    server = TcpServer(lab.server, echo_bytes)
    gateway = gateway_with(lab, f"port {free_port()} host denied.example -> reject",
                           "host fine.example -> direct")
    for piece in unreadable("denied.example"):
        assert ask(lab, Lab.FAR[4], server.port, piece) == "answer", piece[:60]
    assert gateway.stop() == 0


def test_each_of_two_hosts_of_a_request_denies(lab):
    server = TcpServer(lab.server, echo_bytes)
    gateway = gateway_with(lab, "host denied.example -> reject")
    for scheme in ("HTTP", "https", "ftp"):
        piece = f"GET {scheme}://DENIED.example/ HTTP/1.1\r\nHost: x.example\r\n\r\n".encode()
        assert ask(lab, Lab.FAR[4], server.port, piece) == "reset"
        with lab.client.connect((Lab.FAR[4], server.port)) as sock:
            assert exchange(sock, request("fine.example")) == "answer"
            assert exchange(sock, piece) == "reset"
    assert gateway.stop() == 0


def test_a_hello_that_comes_late_is_held_to_denials(lab):
    server = TcpServer(lab.server, echo_bytes)
    gateway = gateway_with(lab, "host denied.example -> reject", options=("--sniff-wait", "50ms"))
    for name, outcome in (("denied.example", "reset"), ("fine.example", "answer")):
        hello = client_hello(name)
        for number, before in enumerate((0, 100), len(server.accepted) + 1):
            with lab.client.connect((Lab.FAR[4], server.port)) as sock:
                sock.sendall(hello[:before])
                wait_until(lambda number=number: len(server.accepted) == number, "the dial")
                assert receive(sock, before) == hello[:before]
                assert exchange(sock, hello[before:]) == outcome, (name, before)
    late = gateway.wait_log(lambda entry: entry["event"] == "tls")
    assert (late["server_name"], late["rule"], late["way_out"]) == ("denied.example", 1, "reject")
    assert gateway.stop() == 0


def banner_seconds(lab: Lab, port: int) -> float:
    times = []
    for _ in range(7):
        began = time.monotonic()
        with lab.client.connect((Lab.FAR[4], port)) as sock:
            assert sock.recv(100) == b"220 ready\r\n"
        times.append(time.monotonic() - began)
    return statistics.median(times)


@pytest.mark.figures
@METHODS
def test_servers_that_speak_first_are_not_kept_waiting_by_name_rules(lab, method):
    known, told, unknown = 25, free_port(), free_port()
    for port in (known, told, unknown):
        TcpServer(lab.server, banner, port=port)
    direct = banner_seconds(lab, known)
    gateway = gateway_with(lab, "host denied.example -> reject",
                           options=("--method", method, "--server-first", told))
    assert banner_seconds(lab, known) <= direct + 0.050
    assert banner_seconds(lab, told) <= direct + 0.050
    assert 0.3 <= banner_seconds(lab, unknown) <= direct + 0.3 + 0.050
    assert gateway.said("did not name its destination")
    assert gateway.stop() == 0


@METHODS
def test_the_gateways_own_processes_are_told_apart(lab, method):
    needs_users()
    server = TcpServer(lab.server, echo_bytes)
    gateway = Gateway(lab.gateway, "--host", "-i", "lan0", "--method", method,
                      "--rule", "process python3 host a.example -> reject",
                      "--rule", "uid 4711 host b.example -> reject")
    script = ("import socket,sys; s=socket.create_connection((sys.argv[1],int(sys.argv[2])),10);"
              "s.sendall(f'GET / HTTP/1.1\\r\\nHost: {sys.argv[3]}\\r\\n\\r\\n'.encode())\n"
              "try: print('answer' if s.recv(10) else 'end')\nexcept OSError: print('reset')")

    def say(host: str, user: int | None = None) -> str:
        return lab.gateway.run(["/usr/bin/python3", "-c", script, Lab.FAR[4], str(server.port),
                                host], user=user).out.strip()

    assert say("a.example") == "reset"
    assert say("b.example") == "answer"
    assert say("b.example", user=4711) == "reset"
    assert say("c.example", user=4711) == "answer"
    assert ask(lab, Lab.FAR[4], server.port, request("a.example")) == "answer"  # forwarded
    assert gateway.stop() == 0


def run_rules(lab: Lab, who: str, rules: tuple[str, ...], verb: str, address: str,
              port: int) -> tuple[str, list[dict]]:
    runner = Runner(lab.client, who)
    # Not in /tmp, which is the machine's: another test's file there may be another user's.
    inside = "/run/rules-logs"
    folder = lab.client.outside(inside)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    inside += f"/{next(_logs)}"
    options = map("--rule={}".format, rules)
    clients = str(Path(__file__).with_name("clients.py"))
    done = runner.run([*options, "--json", "--log-to", inside, "--", "/usr/bin/python3",
                       lab.client.install(clients), verb, address, port])
    return done.out.strip() or str(done), read_log(lab.client.outside(inside))


@WHO
@VERSIONS
def test_a_command_is_refused_by_its_name(lab, who, version):
    server = TcpServer(lab.server, echo_bytes)
    rules = (f"port {server.port} process python3 exe /usr/bin/python3* -> reject",)
    said, _ = run_rules(lab, who, rules, "ask", Lab.FAR[version], server.port)
    assert said in ("reset", "refused")
    assert not server.accepted
    rules = ("process somebody-else -> reject", f"uid {Runner(lab.client, who).uid} -> direct",
             "-> reject")
    said, _ = run_rules(lab, who, rules, "ask", Lab.FAR[version], server.port)
    assert said == f"{Lab.FAR[version]} {server.port}"


def test_a_mistake_in_a_rule_is_shown_where_it_is(lab):
    for command in (("gateway", "-i", "lan0"), ("run", "true")):
        done = shunt(lab.gateway, command[0], "--rule", "prot tcp -> reject", *command[1:],
                     check=False)
        assert done.code == 2, done
        assert "error[S030]" in done.err and "^^^^" in done.err, done.err
    done = shunt(lab.gateway, "gateway", "-i", "lan0", "--rule", "port 80 -> vai", check=False)
    assert done.code == 2 and "error[S012]" in done.err, done.err


def test_the_plan_shows_what_the_kernel_decides(lab):
    plan = shunt(lab.gateway, "plan", "gateway", "-i", "lan0", "--rule", "port 22 -> direct",
                 "--rule", "host a.example -> reject").out
    assert "rule_1" in plan and "dport 22" in plan


def documented_rules() -> list[str]:
    """The lines of the first code block of docs/rules.md, and what stands behind a --rule."""
    text = (ROOT / "docs" / "rules.md").read_text()
    block = re.findall(r"```\n(.*?)```", text, re.DOTALL)[0]
    on_command_lines = re.findall(r"--rule[= ]'([^']*->[^']*)'",
                                  text + (ROOT / "README.md").read_text())
    return [line for line in block.splitlines() if "->" in line] + on_command_lines


def test_the_documented_rules_are_rules(lab):
    rules = documented_rules()
    assert len(rules) >= 7
    lists = lab.gateway.outside("/run/lists")
    lists.mkdir()
    (lists / "ads.txt").write_text("ads.example\n")
    known = [re.sub(r"\b(office|wan2)\b(?=( else|$))", "via", rule) for rule in rules]
    shunt(lab.gateway, "plan", "gateway", "-i", "lan0", "--via", "socks5://127.0.0.1:1",
          *map("--rule={}".format, known), cwd="/run/lists")
