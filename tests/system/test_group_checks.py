# SPDX-License-Identifier: GPL-2.0-only
"""`check` of a group: what is asked, of whom, and when."""
from __future__ import annotations

import pytest

from netlab import Lab
from peers import TcpServer, echo_bytes
from proxies import PASSWORD, USER, Dante, Microsocks, Tinyproxy
from shunt import shunt
from test_serve import CONFIG, Serve, configure, reach, reload

EU = "[via.eu]\ngroup = \"failover\"\nmembers = [\"paris\", \"rome\"]\n"
DEAD = "eu (paris): found dead by its check"
ALIVE = "eu (paris): alive again"


def proxy(name: str, url: str, password: str = "") -> str:
    secret = f'user = "{USER}"\npassword-file = "{password}"\n' if password else ""
    return f"[via.{name}]\nproxy = \"{url}\"\n{secret}"


def secret(lab: Lab, text: str) -> str:
    path = lab.gateway.outside("/run/secret")
    path.write_text(text + "\n")
    path.chmod(0o600)
    return "/run/secret"


@pytest.mark.parametrize("kind", [Dante, Microsocks], ids=lambda kind: kind.program)
def test_without_a_target_a_proxy_that_refuses_the_password_is_dead(lab, kind):
    """It accepts every connection, and no other host is there to be asked."""
    outside = {"outside": "eth0"} if kind is Dante else {}
    paris = kind(lab.evil, lab.evil.v4, USER, **outside)
    rome = Tinyproxy(lab.evil, lab.evil.v4)
    address = f"{paris.address}:{paris.port}"
    wrong = secret(lab, "wrong")
    ways = proxy("paris", f"socks5://{address}", wrong) + proxy("rome", rome.url("http")) + EU
    configure(lab, [], ways + 'check = { interval = "200ms", timeout = "200ms" }\n', default="eu")
    serve = Serve(lab)
    serve.wait_said(DEAD)
    assert not serve.said("eu (rome)")
    server = TcpServer(lab.server, echo_bytes)
    assert reach(lab, server.port) == "answer"  # by the other one, at once
    secret(lab, PASSWORD)
    reload(lab)
    assert reach(lab, server.port) == "answer"
    assert sum(DEAD in line for line in serve.lines) == 1
    assert serve.stop() == 0


def test_without_a_target_a_proxy_that_comes_back_is_alive_again(lab):
    paris = Microsocks(lab.evil, lab.evil.v4)
    ways = (proxy("paris", paris.url("socks5")) + proxy("rome", "http://192.0.2.66:9") + EU)
    configure(lab, [], ways + 'check = { interval = "200ms", timeout = "200ms" }\n', default="eu")
    serve = Serve(lab)
    serve.wait_said("eu (rome): found dead by its check")
    paris.process.kill()
    serve.wait_said(DEAD)
    paris.restart()
    serve.wait_said(ALIVE)
    assert serve.stop() == 0


def test_a_member_without_a_proxy_needs_a_target(lab):
    configure(lab, [], "[via.paris]\ninterface = \"wan0\"\n[via.rome]\ninterface = \"dmz0\"\n" + EU
              + "check = {}\n", default="eu")
    done = shunt(lab.gateway, "check", CONFIG, check=False)
    assert done.code == 3
    assert "without a target the members' proxies are checked, and \"paris\" is none" in done.err


def test_the_first_check_after_a_reload_goes_by_the_new_kernel_rules(lab):
    """The only one within the hour: by a table that nothing looked up before the reload. So many
    rules take the kernel a moment."""
    rules = [f"port {port} -> direct" for port in range(40000, 40900)]
    target = "203.0.113.123"
    lab.server.ip(f"addr add {target}/32 dev lo")
    lab.gateway.ip(f"route add unreachable {target}",
                   f"route add {target} via 198.51.100.2 table 300")
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, rules)
    serve = Serve(lab)
    for attempt in range(3):  # each with a table of its own that is new
        table = 300 + attempt
        if attempt:
            lab.gateway.ip(f"route add {target} via 198.51.100.2 table {table}")
        configure(lab, rules, f"[via.paris]\ntable = {table}\n[via.rome]\n" + EU +
                  f'check = {{ target = "tcp://{target}:{server.port}", interval = "1h", '
                  'timeout = "5s" }\n', default="eu")
        reload(lab)
        serve.wait_said("eu (rome): found dead by its check")
        serve.lines.clear()
        assert len(server.ended(attempt + 1)) == attempt + 1
        assert not serve.said(DEAD)
    assert serve.stop() == 0
