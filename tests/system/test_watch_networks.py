# SPDX-License-Identifier: GPL-2.0-only
"""`shunt watch` of what has a network namespace of its own: the client's programs, watched by a
shunt on the gateway. Containers are the state files that their engines would have written.
"""
from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from leaks import KernelState
from netlab import Lab, wait_until
from peers import TcpServer, UdpEcho, echo_bytes
from shunt import Process, shunt
from watching import PYTHON, Program, asks, root, server

__all__ = ["root", "server"]
ID = "4f66ad9a1bd2" + 52 * "0"


def watch(lab: Lab, root: Path, *words: object) -> Process:
    made = Process(lab.gateway, "watch", "--cgroup-root", root, *words)
    made.wait_ready()
    return made


def peers_of(server: TcpServer) -> set[str]:
    return {accepted.peer[0] for accepted in server.accepted}


@pytest.mark.parametrize("egress", ["outside", "inside"])
def test_a_namespace_is_captured_and_nobody_outside(lab, root, server, egress):
    inside, outside = Program(lab, root / "rest"), Program(lab, root / "rest", host=lab.gateway)
    watching = watch(lab, root, f"netns:/proc/{inside.pid}/ns/net", "--egress", egress)
    assert asks(lab, inside, server, watching)
    expected = lab.gateway.v4 if egress == "outside" else lab.client.v4
    assert peers_of(server) == {expected}
    assert not asks(lab, outside, server, watching)
    assert watching.stop() == 0
    inside.end()
    outside.end()


def test_a_process_is_captured_where_it_is(lab, root, server):
    program, other = Program(lab, root / "rest"), Program(lab, root / "rest")
    before = KernelState.of(lab.client)
    watching = watch(lab, root, f"pid:{program.pid}")
    assert asks(lab, program, server, watching)
    assert not asks(lab, other, server, watching)
    assert watching.stop() == 0
    wait_until(lambda: KernelState.of(lab.client).added_and_removed(before) == [], "all is gone")
    watching = watch(lab, root, f"pid:{program.pid}")
    watching.kill()
    wait_until(lambda: KernelState.of(lab.client).after_kill(before) == [], "all is gone")
    assert program("ask", Lab.FAR[4], server.port) == "hello"
    program.end()
    other.end()


def test_every_kind_of_address_is_carried(lab, root):
    tcp, udp = TcpServer(lab.server, echo_bytes), UdpEcho(lab.server, family=socket.AF_INET6)
    holder = Program(lab, root / "rest")
    watching = watch(lab, root, f"netns:/proc/{holder.pid}/ns/net")
    script = ("import socket\n"
              f"for address in ('{Lab.FAR[4]}', '{Lab.FAR[6]}', '::ffff:{Lab.FAR[4]}'):\n"
              f"  s = socket.create_connection((address, {tcp.port}), 5); s.sendall(b'x')\n"
              "  print(s.recv(1), s.getpeername()[0] == address)\n"
              "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(5)\n"
              f"s.sendto(b'x', ('{Lab.FAR[6]}', {udp.port})); print(s.recvfrom(9)[1][0])\n")
    enter = f'echo $$ > {root}/rest/cgroup.procs; exec "$@"'
    done = lab.client.run(["sh", "-c", enter, "sh", PYTHON, "-c", script])
    assert done.out == 3 * "b'x' True\n" + Lab.FAR[6] + "\n"
    wait_until(lambda: sum(e["event"] == "end" for e in watching.log()) >= 3, "they are logged")
    assert watching.stop() == 0
    holder.end()


def state_files(engine: str, top: Path, name: str, pid: int) -> None:
    if engine == "docker":
        home = top / "var/lib/docker/containers" / ID
        home.mkdir(parents=True)
        (home / "config.v2.json").write_text(json.dumps(
            {"State": {"Running": True, "Pid": pid}, "ID": ID, "Name": f"/{name}"}))
        return
    names = top / "var/lib/containers/storage/overlay-containers"
    names.mkdir(parents=True)
    (names / "containers.json").write_text(json.dumps([{"id": ID, "names": [name]}]))
    state = top / "run/containers/storage/overlay-containers" / ID / "userdata"
    state.mkdir(parents=True)
    (state / "pidfile").write_text(str(pid))


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_container_is_captured_by_its_name(lab, root, server, engine, tmp_path):
    scope = root / "system.slice" / f"{engine}-{ID}.scope"
    (scope / "container").mkdir(parents=True)
    first, second = Program(lab, scope / "container"), Program(lab, scope)
    beside = Program(lab, root / "rest")  # the same network, another container
    state_files(engine, tmp_path, "web", first.pid)
    options = ("--debug-engine-root", tmp_path)
    watching = watch(lab, root, "container:web", *options)
    assert asks(lab, first, server, watching) and asks(lab, second, server, watching)
    assert not asks(lab, beside, server, watching)
    assert watching.stop() == 0
    watching = watch(lab, root, f"netns:/proc/{first.pid}/ns/net", "!container:web", *options)
    assert not asks(lab, first, server, watching)
    assert asks(lab, beside, server, watching)
    assert watching.stop() == 0
    for program in (first, second, beside):
        program.end()
    done = shunt(lab.gateway, "watch", "--cgroup-root", root, "container:web", *options,
                 check=False)
    assert done.code == 1 and "does not run" in done.err, done


def test_mistakes_about_networks_are_said(lab, root, tmp_path):
    program = Program(lab, root / "rest")
    for words, said in (((f"netns:{tmp_path}",), "no network namespace"),
                        (("netns:/no/such",), "/no/such"),
                        (("container:nobody",), 'there is no container "nobody"'),
                        ((f"pid:{program.pid}", "netns:/proc/self/ns/net"), "different network")):
        done = shunt(lab.gateway, "watch", "--cgroup-root", root, *words, "--debug-engine-root",
                     tmp_path, check=False)
        assert done.code in (1, 2) and said in done.err, done
        assert done.err.count("error") == 1, done
    program.end()
