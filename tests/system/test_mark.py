# SPDX-License-Identifier: GPL-2.0-only
"""include/shunt/mark.h and its examples: programs that choose their way themselves."""
from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from netlab import UNPRIVILEGED, Host, Lab, needs, needs_users
from peers import TcpServer, echo_bytes
from shunt import ROOT, native

RULES = """
table inet marks {
  chain out {
    type filter hook output priority 0
    meta mark 0x10 tcp flags & (syn|ack) == syn counter
  }
}
"""


@pytest.fixture(scope="session")
def go_example(tmp_path_factory) -> Path:
    needs("go")
    made = tmp_path_factory.mktemp("go") / "mark"
    environment = os.environ | {"CGO_ENABLED": "0", "GOPROXY": "off", "GO111MODULE": "off",
                                "GOCACHE": str(made.parent / "cache")}
    subprocess.run(["go", "build", "-o", made, ROOT / "examples" / "mark.go"], check=True,
                   env=environment, timeout=300)
    return made


def words(tool: object, what: str, value: str, address: str, port: int) -> list[object]:
    in_go = Path(str(tool)).name == "mark"
    return [tool, what, value, *([f"{address}:{port}"] if in_go else [address, port])]


def marked(host: Host) -> int:
    return int(re.search(r"counter packets (\d+)", host.run(["nft", "list", "ruleset"]).out)[1])


def goes_by_mark_or_device(lab: Lab, tool: object) -> None:
    server = TcpServer(lab.server, echo_bytes)
    lab.client.nft(RULES)
    device = lab.client.run(["ip", "-o", "route", "get", Lab.FAR[4]]).out.split(" dev ")[1].split()
    for what, value, count in (("mark", "0x11", 0), ("mark", "0x10", 1), ("device", device[0], 1)):
        done = lab.client.run(words(tool, what, value, Lab.FAR[4], server.port))
        assert done.out == "connected\n" and marked(lab.client) == count
    done = lab.client.run(words(tool, "device", "shunt-none", Lab.FAR[4], server.port), check=False)
    assert not done.ok and "no such device" in done.err.lower(), done


def test_the_example_in_cpp(lab):
    goes_by_mark_or_device(lab, native("mark_example"))


@pytest.mark.long
def test_the_example_in_go(lab, go_example):
    goes_by_mark_or_device(lab, go_example)


def test_without_privilege_there_is_no_mark_but_a_device(lab):
    needs_users()
    server = TcpServer(lab.server, echo_bytes)
    tool = lab.client.install(native("mark_example"))
    device = lab.client.run(["ip", "-o", "route", "get", Lab.FAR[4]]).out.split(" dev ")[1].split()
    done = lab.client.run([tool, "mark", "0x10", Lab.FAR[4], server.port], user=UNPRIVILEGED,
                          check=False)
    assert done.err == "mark: Operation not permitted\n", done
    done = lab.client.run([tool, "device", device[0], Lab.FAR[4], server.port], user=UNPRIVILEGED,
                          check=False)
    assert done.out == "connected\n", done


@pytest.mark.parametrize("compiler,language,standard", [
    ("clang-19", "c", "c99"), ("clang-19", "c", "c23"), ("clang++-19", "c++", "c++11"),
    ("clang++-19", "c++", "c++23")])
def test_the_header_compiles_by_itself(tmp_path, compiler, language, standard):
    needs(compiler)
    source = tmp_path / "use.c"
    source.write_text("#include <shunt/mark.h>\n#include <shunt/mark.h>\n"
                      "int use(int fd);\n"
                      "int use(int fd) {\n"
                      "  return shunt_mark(fd, 1) + shunt_bind_to_device(fd, 0);\n"
                      "}\n")
    subprocess.run([compiler, "-x", language, f"-std={standard}", "-D_DEFAULT_SOURCE", "-Wall",
                    "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-I", ROOT / "include",
                    "-fsyntax-only", source], check=True, timeout=60)
