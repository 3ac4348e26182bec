# SPDX-License-Identifier: GPL-2.0-only
"""`shunt serve`: a configuration that is replaced while it works."""
from __future__ import annotations

import itertools
import json
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from leaks import KernelState
from netlab import UNPRIVILEGED, Lab, family_of, needs_tun, needs_users, wait_until
from peers import TcpServer, echo_bytes, receive
from shunt import Process, read_object, shunt

CONFIG = "/run/shunt.toml"
LOG = "/run/traffic.json"

HEAD = f"""version = 1
[log]
format = "json"
to = "{LOG}"
[capture]
lan = ["lan0"]
"""


def configure(lab: Lab, rules: list[str], more: str = "", default: str = "direct",
              head: str = HEAD) -> None:
    """Writes the file as an editor does: a new one in the place of the old."""
    path = lab.gateway.outside(CONFIG)
    lines = "".join(f"  {json.dumps(rule)},\n" for rule in rules)
    scratch = path.with_suffix(".new")
    scratch.write_text(f"{head}{more}[rules]\nmatch = [\n{lines}]\ndefault = \"{default}\"\n")
    scratch.rename(path)


class Serve(Process):
    def __init__(self, lab: Lab, **process) -> None:
        needs_tun()
        super().__init__(lab.gateway, "serve", "-c", CONFIG, json_log=False, **process)
        self.wait_ready()


def reload(lab: Lab, *options: str, code: int = 0):
    done = shunt(lab.gateway, "reload", *options, check=False)
    assert done.code == code, done
    return done


def reach(lab: Lab, port: int, address: str = Lab.FAR[4], timeout: float = 5) -> str:
    try:
        with lab.client.connect((address, port), timeout=timeout) as sock:
            sock.sendall(b"hello")
            return "answer" if receive(sock, 5) == b"hello" else "end"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "silence"


def test_new_rules_hold_for_new_connections_and_old_ones_go_on(lab):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [])
    serve = Serve(lab)
    live = lab.client.connect((Lab.FAR[4], server.port))
    live.sendall(b"one")
    assert receive(live, 3) == b"one"
    configure(lab, [f"port {server.port} -> reject"])
    assert "1 rule, 0 ways out (1 new, 0 gone)" in reload(lab).out
    assert reach(lab, server.port) in {"refused", "reset"}
    live.sendall(b"two")
    assert receive(live, 3) == b"two"
    assert serve.stop() == 0


def test_close_changed_ends_what_the_new_rules_would_not_have_let(lab):
    server, other = (TcpServer(lab.server, echo_bytes) for _ in range(2))
    configure(lab, [])
    Serve(lab)
    changed = lab.client.connect((Lab.FAR[4], server.port))
    kept = lab.client.connect((Lab.FAR[4], other.port))
    for sock in (changed, kept):
        sock.sendall(b"one")
        assert receive(sock, 3) == b"one"
    configure(lab, [f"port {server.port} -> reject"])
    reload(lab, "--close-changed")
    with pytest.raises(ConnectionResetError):
        changed.recv(1)
    kept.sendall(b"two")
    assert receive(kept, 3) == b"two"


def test_a_bad_file_changes_nothing_and_is_told_to_who_asked(lab):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [f"port {server.port} -> reject"])
    serve = Serve(lab)
    configure(lab, [f"prot {server.port} -> direct"])
    done = reload(lab, code=3)
    assert "error[S030]" in done.err and "did you mean" in done.err
    serve.wait_said("the old one stays")
    assert reach(lab, server.port) in {"refused", "reset"}


def test_what_cannot_change_while_shunt_runs_is_refused_by_name(lab):
    configure(lab, [])
    Serve(lab)
    configure(lab, ["port 1 -> reject"], head=HEAD.replace('"lan0"', '"lan0", "dmz0"'))
    assert "capture.lan cannot be changed while shunt runs" in reload(lab, code=3).err


def test_nobody_to_reload_is_an_exit_code_of_its_own(lab):
    assert "error[S045]" in reload(lab, code=6).err


def test_a_proxy_that_would_be_captured_itself_is_warned_of_until_the_file_lets_it_out(lab):
    def configured(exclude: str) -> None:
        capture = f'host = true\nexclude = [{exclude}]\n'
        configure(lab, [], head=HEAD + capture, default="near",
                  more='[via.near]\nproxy = "http://127.0.0.1:9"\n')
    configured("")
    serve = Serve(lab)
    assert 'exclude = ["uid N"]' in serve.wait_said("way out near runs on this machine")
    assert 'exclude = ["proto udp"]' in serve.wait_said("the default, near, carries no UDP")
    serve.lines.clear()
    configured('"uid 13"')
    reload(lab)
    serve.wait_said("carries no UDP")
    assert not serve.said("runs on this machine")
    assert serve.stop() == 0


def test_another_user_is_not_heard_even_where_the_socket_lets_him_in(lab):
    needs_users()
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [])
    serve = Serve(lab)
    found = lab.gateway.run(["find", "/run", "-type", "s", "-name", "control.*"]).out.split()
    assert len(found) == 1, found
    configure(lab, [f"port {server.port} -> reject"])
    ask = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.settimeout(5);"
           "s.connect(sys.argv[1])\n"
           "try: s.sendall(b'reload\\n'); print(len(s.recv(100)))\n"
           "except ConnectionError: print(0)")
    lab.gateway.run(["chmod", "0666", found[0]])
    lab.gateway.run(["chmod", "0755", str(Path(found[0]).parent)])
    command = ["/usr/bin/python3", "-c", ask, found[0]]
    assert lab.gateway.run(command, user=UNPRIVILEGED).out.strip() == "0"
    assert reach(lab, server.port) == "answer"
    assert int(lab.gateway.run(command).out) > 0  # root is
    assert reach(lab, server.port) in {"refused", "reset"}
    assert serve.stop() == 0


def test_the_plan_of_a_configuration_is_what_is_installed(lab):
    needs_tun()
    configure(lab, ["port 22 -> direct", "host a.example -> reject"])
    plan = shunt(lab.gateway, "plan", "serve", "-c", CONFIG).out
    assert "rule_1" in plan and "dport 22" in plan and "iifname" in plan, plan
    Serve(lab)
    chains = {line.split()[1] for line in plan.splitlines() if line.strip().startswith("chain ")}
    listed = lab.gateway.run(["nft", "list", "ruleset"]).out
    installed = {line.split()[1] for line in listed.splitlines()
                 if line.strip().startswith("chain ")}
    assert chains and chains == installed


def test_sighup_reloads(lab):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [])
    serve = Serve(lab)
    configure(lab, [f"port {server.port} -> reject"])
    serve.send_signal(signal.SIGHUP)
    serve.wait_said("reloaded: 1 rule")
    assert reach(lab, server.port) in {"refused", "reset"}


def test_exclusions_and_kernel_rules_change_with_the_file(lab):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, ["host a.example -> reject"])
    Serve(lab)
    assert reach(lab, server.port) == "answer"
    assert server.seen(1)[-1].peer[0] == Lab.WAN[4]  # carried by shunt
    configure(lab, [f"port {server.port} -> direct", "host a.example -> reject"])
    reload(lab)
    assert reach(lab, server.port) == "answer"
    assert server.seen(2)[-1].peer[0] == lab.client.v4  # left to the kernel


def test_a_changed_list_is_read_again_and_a_bad_one_is_not(lab):
    port = TcpServer(lab.server, echo_bytes).port
    list_file = lab.gateway.outside("/run/blocked.txt")
    list_file.write_text("192.0.2.200\n")
    configure(lab, ["to @blocked.txt -> reject"])
    serve = Serve(lab)
    assert reach(lab, port) == "answer"
    list_file.write_text(f"192.0.2.200\n{Lab.FAR[4]}\n")
    serve.wait_said("read changed lists again")
    assert reach(lab, port) in {"refused", "reset"}
    list_file.write_text("nonsense/99\n")
    serve.wait_said("a changed list is not used")
    said_at = time.monotonic()
    wait_until(lambda: time.monotonic() > said_at + 4.5, "two more looks at the lists")
    assert sum("a changed list is not used" in line for line in serve.lines) == 1
    assert reach(lab, port) in {"refused", "reset"}


class Load:
    """Short connections one after the other, and long ones that say something now and then."""

    def __init__(self, lab: Lab, port: int) -> None:
        self.lab, self.port = lab, port
        self.stop = threading.Event()
        self.requests = itertools.count()
        self.done = 0
        self.failures: list[str] = []
        self.threads = [threading.Thread(target=self.short) for _ in range(3)]
        self.threads += [threading.Thread(target=self.long) for _ in range(10)]
        for thread in self.threads:
            thread.start()

    def ask(self, sock: socket.socket) -> None:
        text = b"request %d" % next(self.requests)
        sock.sendall(text)
        assert receive(sock, len(text)) == text
        self.done += 1

    def short(self) -> None:
        while not self.stop.is_set():
            try:
                with self.lab.client.connect((Lab.FAR[4], self.port)) as sock:
                    self.ask(sock)
            except (OSError, AssertionError) as error:
                self.failures.append(f"short: {error!r}")

    def long(self) -> None:
        try:
            with self.lab.client.connect((Lab.FAR[4], self.port)) as sock:
                while not self.stop.wait(0.05):
                    self.ask(sock)
        except (OSError, AssertionError) as error:
            self.failures.append(f"long: {error!r}")

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_a_hundred_reloads_fail_no_request_and_cut_no_connection(lab):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [])
    Serve(lab)
    load = Load(lab, server.port)
    try:
        for turn in range(100):
            rules = [f"port {server.port} -> direct"] if turn % 3 == 0 else []
            rules += [f"host n{turn}.example -> reject"] if turn % 2 == 0 else ["app ssh -> direct"]
            if turn % 10 == 9:
                rules = ["nonsense"]
            configure(lab, rules)
            reload(lab, code=3 if turn % 10 == 9 else 0)
    finally:
        load.end()
    assert load.failures == []
    assert load.done > 200


def test_the_service_manager_is_told(lab):
    heard: list[bytes] = []
    path = "/run/notify"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(lab.gateway.outside(path)))
    sock.settimeout(10)
    configure(lab, [])
    serve = Serve(lab, env={"NOTIFY_SOCKET": path, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    heard.append(sock.recv(500))
    reload(lab)
    heard += [sock.recv(500), sock.recv(500)]
    assert serve.stop() == 0
    heard.append(sock.recv(500))
    assert heard[0] == b"READY=1\nSTATUS=0 rules, 0 ways out\n"
    assert heard[1].startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert heard[2].startswith(b"READY=1\n") and heard[3] == b"STOPPING=1\n"


def test_nothing_is_left_behind(lab):
    before = KernelState.of(lab.gateway)
    configure(lab, ["port 22 -> direct"])
    serve = Serve(lab)
    reload(lab)
    assert serve.stop() == 0
    assert KernelState.of(lab.gateway) == before
    assert not list(lab.gateway.outside("/run").glob("shunt/*/control.*"))


def test_a_killed_one_is_replaced(lab):
    configure(lab, [])
    Serve(lab).kill()
    again = Serve(lab)
    reload(lab)
    assert again.stop() == 0
    assert not list(lab.gateway.outside("/run").glob("shunt/*/control.*"))


RULES = [
    "port {a} -> reject",
    "port {b} -> direct",
    "client 192.168.77.2 to 198.51.100.0/24 port {c} -> drop",
    "client 192.168.77.0/28 port {d} -> direct",
    "to 203.0.113.0/24 port {e} -> reject",
    "to 2001:db8:113::/48 port {e},{f} -> reject",
    "proto udp -> reject",
    "in lan0 port {c},{f} -> direct",
]


def test_explain_says_what_really_happens(lab):
    """Every port on five destinations: 30 connections that explain foretells."""
    servers = [TcpServer(lab.server, echo_bytes) for _ in range(6)]
    ports = {name: server.port for name, server in zip("abcdef", servers, strict=True)}
    configure(lab, [rule.format(**ports) for rule in RULES], default="reject",
              head=HEAD.replace("[capture]\n", "[limits]\nsniff-wait = \"50ms\"\n[capture]\n"))
    Serve(lab)
    far = [lab.server.v4, lab.server.v6, Lab.FAR[4], Lab.FAR[6], lab.FAR[4]]
    expected = {"direct": {"answer"}, "reject": {"refused", "reset", "end"}, "drop": {"silence"}}
    for address, port in itertools.product(far, ports.values()):
        client = lab.client.address(4 if family_of(address) == socket.AF_INET else 6)
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        said = read_object(shunt(lab.gateway, "explain", "-c", CONFIG, "--json", where,
                                 "--client", client, "--in", "lan0").out)
        assert reach(lab, port, address, timeout=1.5) in expected[said["action"]], said
