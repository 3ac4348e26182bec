# SPDX-License-Identifier: GPL-2.0-only
"""What a TCP connection must be like to its two ends, whatever takes it over on the way.

One set of tests, run once without shunt (`unproxied`: the tests themselves are right) and once for
each way of capturing, IPv4 and IPv6. The clients are commands, so that `shunt run` can wrap them.
"""
from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import peers
from clients import HALF_CLOSE_ANSWER
from cgroups import needs_ebpf
from daemons import Nginx
from leaks import MACHINE
from netlab import UNPRIVILEGED, Host, Lab, Result, bracketed, needs, needs_users
from peers import TcpServer
from shunt import BINARY, Gateway, Process, flow_ends, install_shunt, native

pytestmark = pytest.mark.threads

CLIENTS = Path(__file__).with_name("clients.py")
_logs = itertools.count()


@dataclass(frozen=True)
class Way:
    """A way for connections to go: where the client is, and what captures it."""

    name: str
    client: str = "client"  # which host
    server: str = "server"
    options: tuple[str, ...] = ()  # of `shunt gateway`; () is no gateway
    user: int | None = None
    run: bool = False  # each client under `shunt run`
    method: str = "namespace"  # of it
    loopback: bool = False

    @property
    def client_tool(self) -> str:
        """What no library can intercept, but where a library is what captures."""
        return native("client_dynamic" if self.method == "preload" else "static_client")

    @property
    def captured(self) -> bool:
        return bool(self.options) or self.run


FORWARDED = ("-i", "lan0")
WAYS = [
    Way("unproxied"),
    Way("tproxy-forwarded", options=(*FORWARDED, "--method", "tproxy")),
    Way("redirect-forwarded", options=(*FORWARDED, "--method", "redirect")),
    Way("tproxy-own", client="gateway", options=("--host", "--method", "tproxy")),
    Way("redirect-own", client="gateway", options=("--host", "--method", "redirect")),
    Way("tproxy-own-user", client="gateway", options=("--host", "--method", "tproxy"),
        user=UNPRIVILEGED),
    Way("tproxy-loopback", client="gateway", server="gateway", loopback=True,
        options=("--host", "--loopback", "--method", "tproxy")),
    Way("redirect-loopback", client="gateway", server="gateway", loopback=True,
        options=("--host", "--loopback", "--method", "redirect")),
    Way("run-as-root", run=True),
    Way("run-as-user", run=True, user=UNPRIVILEGED),
    Way("seccomp-as-root", run=True, method="seccomp"),
    Way("seccomp-as-user", run=True, method="seccomp", user=UNPRIVILEGED),
    Way("ptrace-as-root", run=True, method="ptrace"),
    Way("ptrace-as-user", run=True, method="ptrace", user=UNPRIVILEGED),
    Way("run-ebpf", run=True, method="ebpf"),
    Way("preload-as-root", run=True, method="preload"),
    Way("preload-as-user", run=True, method="preload", user=UNPRIVILEGED),
]


class Route:
    """A Way that is set up: runs clients over it and knows what was logged of them."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.lab = Lab()
        self.client: Host = self.lab.hosts[way.client]
        self.server: Host = self.lab.hosts[way.server]
        self.gateway: Process | None = None
        self._run_log: Path | None = None
        try:
            self.nginx = Nginx(self.server)
            if way.options:
                self.gateway = Gateway(self.lab.gateway, *way.options, "--connect-timeout", "2s")
        except BaseException:
            self.lab.close()
            raise

    def address(self, version: int) -> str:
        if self.way.loopback:
            return {4: "127.0.0.1", 6: "::1"}[version]
        return Lab.FAR[version]

    def url(self, version: int, path: str, port: int = 80) -> str:
        return self.lab.url(self.address(version), port=port, path=path)

    def run(self, command: list, **options) -> Result:
        if self.way.method == "ebpf":
            MACHINE.change()  # until the test is over
        if self.way.run:
            log = f"/run/run-log-{next(_logs)}"
            self._run_log = self.client.outside(log)
            self._run_log.touch()
            self._run_log.chmod(0o666)
            shunt = install_shunt(self.client) if self.way.user else BINARY
            command = [shunt, "run", "--method", self.way.method, "--json",
                       "--log-to", log, "--connect-timeout", "2s", "--", *command]
        return self.client.run(command, user=self.way.user, **options)

    def tool(self, program: Path | str) -> str:
        """The program where the clients' user can read it."""
        return str(program) if self.way.user is None else self.client.install(program)

    def say(self, verb: str, version: int, port: int, address: str | None = None) -> str:
        """Runs a verb of clients.py and returns the one word or line that it prints."""
        return self.run(["/usr/bin/python3", self.tool(CLIENTS), verb,
                         address or self.address(version), port], timeout=30).out.strip()

    def logged(self, address: str, port: int, condition: Callable = lambda end: True):
        """The log's closing line of a connection to there; waits for it."""
        if not self.way.captured:
            return None
        return flow_ends(self.gateway.log_path if self.gateway else self._run_log,
                         lambda end: end.destination == (address, port) and condition(end))

    def close(self) -> None:
        try:
            if self.gateway is not None:
                assert self.gateway.running, f"died: {self.gateway}"
                assert self.gateway.stop() == 0, str(self.gateway)
        finally:
            self.lab.close()


@pytest.fixture(scope="module")
def path(request, binary):
    if request.param.user is not None:
        needs_users()
    if request.param.method == "ebpf":
        needs_ebpf()
    made = Route(request.param)
    yield made
    made.close()


def ways(choose: Callable[[Way], bool] = lambda way: True):
    chosen = [way for way in WAYS if choose(way)]
    return pytest.mark.parametrize("path", chosen, indirect=True, ids=lambda way: way.name)


every_way = ways()
every_routed_way = ways(lambda way: not way.loopback)
every_version = pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])


def server_for(path: Route, handler) -> TcpServer:
    return TcpServer(path.server, handler)


# Real clients against a real server.


@every_version
@every_way
def test_curl_gets_a_big_body_whole(path, version):
    needs("curl")
    done = path.run(["curl", "-sS", "--fail", path.url(version, "/big")], timeout=30)
    assert hashlib.sha256(done.out_bytes).hexdigest() == path.nginx.sha256["big"]


@every_version
@every_way
def test_curl_keeps_a_connection_alive(path, version):
    needs("curl")
    urls = [path.url(version, "/small")] * 20
    done = path.run(["curl", "-sS", "--fail", "-w", "%{num_connects}\n", *urls], timeout=30)
    answers = done.out.split("small body\n")
    assert "".join(answers[1:]).split() == ["1"] + ["0"] * 19


@every_version
@every_way
def test_wget_gets_a_body_whole(path, version):
    needs("wget")
    done = path.run(["wget", "-q", "-O", "-", path.url(version, "/1m")], timeout=30)
    assert hashlib.sha256(done.out_bytes).hexdigest() == path.nginx.sha256["1m"]


@every_version
@every_way
def test_python_gets_a_body_whole(path, version):
    script = ("import sys, urllib.request, hashlib\n"
              "body = urllib.request.urlopen(sys.argv[1], timeout=20).read()\n"
              "print(hashlib.sha256(body).hexdigest())")
    done = path.run(["/usr/bin/python3", "-c", script, path.url(version, "/1m")], timeout=30)
    assert done.out.strip() == path.nginx.sha256["1m"]


@every_version
@every_way
def test_a_big_upload_arrives_whole(path, version):
    needs("curl")
    server = server_for(path, peers.http_put)
    body = path.client.outside("/run/body")
    if not body.exists():
        shutil.copy(path.nginx.root / "files" / "big", body)
    done = path.run(["curl", "-sS", "--fail", "-T", "/run/body",
                     path.url(version, "/up", server.port)], timeout=30)
    assert done.out == f"{path.nginx.sha256['big']} /up\n"


@every_version
@every_way
def test_a_chunked_upload_arrives_whole(path, version):
    needs("curl")
    server = server_for(path, peers.http_put)
    done = path.run(["curl", "-sS", "--fail", "-T", "-", path.url(version, "/up", server.port)],
                    input=bytes(1_000_000), timeout=30)
    assert done.out == f"{hashlib.sha256(bytes(1_000_000)).hexdigest()} /up\n"


# A program that nothing can intercept, and how it connects.


@every_version
@every_way
@pytest.mark.parametrize("options", [[], ["--nonblocking"], ["--threads", "20"],
                                     ["--bytes", "3000000"], ["--bytes", "0"]],
                         ids=["blocking", "nonblocking", "threads", "megabytes", "nothing"])
def test_static_client_gets_every_byte_back(path, version, options):
    server = server_for(path, peers.echo_bytes)
    done = path.run([path.tool(path.way.client_tool), *options, path.address(version),
                     server.port], timeout=30, check=False)
    assert done.ok, done
    # getpeername() shows the address that was asked for.
    assert done.out.endswith(f"peer={path.address(version)}:{server.port}\n")


@every_way
def test_static_client_connects_to_a_mapped_address(path):
    server = server_for(path, peers.echo_bytes)
    done = path.run([path.tool(path.way.client_tool), "--mapped", path.address(4), server.port],
                    check=False)
    assert done.ok, done
    assert f"peer=::ffff:{path.address(4)}:{server.port}" in done.out


@pytest.fixture(scope="session")
def go_client(tmp_path_factory) -> Path:
    needs("go")
    made = tmp_path_factory.mktemp("go") / "client"
    source = Path(__file__).parent / "native" / "client.go"
    environment = os.environ | {"CGO_ENABLED": "0", "GOPROXY": "off", "GO111MODULE": "off",
                                "GOCACHE": str(made.parent / "cache")}
    subprocess.run(["go", "build", "-o", made, source], check=True, env=environment, timeout=300)
    return made


# Go programs are refused where a library would have to be in them (test_run_preload.py).
@pytest.mark.long
@every_version
@ways(lambda way: way.method != "preload")
def test_go_client_gets_every_byte_back(path, version, go_client):
    server = server_for(path, peers.echo_bytes)
    address = f"{bracketed(path.address(version))}:{server.port}"
    assert path.run([path.tool(go_client), address, 50, 300_000], timeout=60).out == "ok\n"


@every_version
@every_way
def test_the_server_is_reached_where_the_client_meant_to_go(path, version):
    server = server_for(path, peers.echo_bytes)
    assert path.say("ask", version, server.port) == f"{path.address(version)} {server.port}"
    assert server.ended(1)[0].local == (path.address(version), server.port)
    path.logged(path.address(version), server.port,
                lambda end: (end.bytes_up, end.bytes_down, end.reason) == (8, 8, "closed"))


# Each direction ends by itself.


@every_version
@every_way
def test_half_close_by_the_client_leaves_the_answer_open(path, version):
    server = server_for(path, peers.digest_after_eof)
    assert path.say("half_close", version, server.port) == HALF_CLOSE_ANSWER
    assert server.ended(1)[0].end == "eof"


@every_version
@every_way
def test_half_close_by_the_server_leaves_the_client_talking(path, version):
    server = server_for(path, peers.hello_then_half_close)
    assert path.say("half_closed", version, server.port) == "hello"
    ended = server.ended(1)[0]
    assert (ended.end, ended.received) == ("eof", 100_000)


@every_version
@every_way
def test_reset_by_the_client_reaches_the_server(path, version):
    server = server_for(path, peers.echo_bytes)
    assert path.say("send_reset", version, server.port) == "reset"
    assert server.ended(1)[0].end == "reset"
    path.logged(path.address(version), server.port, lambda end: end.reason == "client_reset")


@every_version
@every_way
def test_reset_by_the_server_reaches_the_client(path, version):
    server = server_for(path, peers.reset_after_first_bytes)
    assert path.say("get_reset", version, server.port) == "reset"
    path.logged(path.address(version), server.port, lambda end: end.reason == "upstream_reset")


@every_version
@every_way
def test_an_urgent_byte_from_the_client_stays_urgent_and_in_place(path, version):
    server = server_for(path, peers.urgent_recorder)
    assert path.say("send_urgent", version, server.port) == "12345!67890"
    assert server.ended(1)[0].urgent == [5]


@every_version
@every_way
def test_an_urgent_byte_from_the_server_stays_urgent_and_in_place(path, version):
    server = server_for(path, peers.urgent_sender)
    assert path.say("get_urgent", version, server.port) == "plain ! after"


@every_version
@every_way
def test_a_server_that_speaks_first_is_heard(path, version):
    server = server_for(path, peers.banner)
    assert path.say("get_banner", version, server.port) == "220 ready"


# Upstreams that cannot be reached.


@every_version
@every_way
def test_a_refused_upstream_resets_the_client_and_is_logged_as_refused(path, version):
    port = peers.free_port()
    said = path.say("just_connect", version, port)
    assert said in (("reset", "refused") if path.way.captured else ("refused",))
    path.logged(path.address(version), port,
                lambda end: (end.reason, end.failure) == ("refused", "refused"))


@every_version
@every_routed_way
def test_an_unreachable_upstream_resets_the_client_and_is_logged_as_unreachable(path, version):
    port = peers.free_port()
    said = path.say("just_connect", version, port, address=Lab.UNREACHABLE[version])
    assert said in (("reset", "unreachable") if path.way.captured else ("unreachable",))
    path.logged(Lab.UNREACHABLE[version], port,
                lambda end: end.reason == "refused" and "unreachable" in end.failure)


@every_version
@ways(lambda way: way.captured and not way.loopback)
def test_a_silent_upstream_times_out_and_is_logged_as_that(path, version):
    """To a held client too: it repeats its SYN until it has had enough itself."""
    port = peers.free_port()
    said = path.say("just_connect", version, port, address=Lab.BLACKHOLE[version])
    let_in_early = path.way.name.startswith("redirect") or path.way.method == "ebpf"
    assert said == ("reset" if let_in_early else "silence")
    path.logged(Lab.BLACKHOLE[version], port,
                lambda end: end.reason == "refused" and end.failure == "timed_out")
