# SPDX-License-Identifier: GPL-2.0-only
"""System tests: shunt, real clients and real servers on networks made of namespaces.

    /usr/bin/python3 -m pytest -n 2 tests/system            # the short run
    /usr/bin/python3 -m pytest tests/system --long          # with everything marked `long`
    SHUNT_BUILD=build/asan-ubsan ... pytest tests/system    # another build's binary and tools

How to write one (netlab.py, peers.py, shunt.py and leaks.py say more at their heads):

    def test_refused_upstream_resets_the_client(lab):
        gateway = Gateway(lab.gateway, "-i", "lan0")
        ...

`lab` is a fresh client - gateway - server (- evil) network, gone when the test is over or when its
process dies. `module_lab` is one for all tests of a module. Wait for things with
netlab.wait_until() and a deadline; never sleep. netlab.needs("program", …) skips, naming what is
missing.

As an ordinary user the whole run goes into a user namespace of its own; where that is forbidden
every test is skipped for that reason ("needs namespaces"); tests/allowed_skips.txt says where such
skips are in order.
"""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import shunt
from leaks import MACHINE
from netlab import Host, Lab

_REEXECUTED = "SHUNT_TESTS_IN_USER_NAMESPACE"
_PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
os.environ["PATH"] = _PATH  # ordinary users often lack the sbin directories


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests marked long as well")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; runs with --long only")
    config.addinivalue_line("markers", "threads: what the run under TSan is made of")
    config.addinivalue_line("markers", "figures: measures; not meaningful with sanitizers")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A run in the background of a script: what it starts would ignore it as well.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the same of nohup
    _enter_user_namespace(config)


def _enter_user_namespace(config: pytest.Config) -> None:
    """An ordinary user runs everything as the mapped root of a namespace, where that is allowed."""
    if os.geteuid() == 0 or _REEXECUTED in os.environ or hasattr(config, "workerinput"):
        return
    inside = ["unshare", "--user", "--map-root-user", "--mount", "--net"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode != 0:
        return
    os.environ[_REEXECUTED] = "1"
    # pytest names its folder after the user, who is called root in there.
    temporary = Path(tempfile.gettempdir()) / f"shunt-tests-{os.geteuid()}"
    temporary.mkdir(mode=0o700, exist_ok=True)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(temporary)
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    os.execvp("unshare", [*inside, sys.executable, "-m", "pytest",
                          *map(str, config.invocation_params.args)])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unwanted = set() if config.getoption("--long") else {"long"}
    if "san" in shunt.BUILD.name:
        unwanted.add("figures")
    dropped = [item for item in items if unwanted & {mark.name for mark in item.iter_markers()}]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def _namespaces_work() -> str:
    if shutil.which("nsenter") is None or shutil.which("setpriv") is None:
        return "needs util-linux: nsenter and setpriv"
    try:
        Host("probe").close()
    except (AssertionError, OSError):
        return "needs namespaces: run as root, or allow user namespaces"
    return ""


@pytest.fixture(scope="session", autouse=True)
def machine_is_left_alone():
    """Skips everything without namespaces; proves that the machine's own network is untouched."""
    why_not = _namespaces_work()
    if why_not:
        pytest.skip(why_not)
    before = _machine()
    yield
    assert _machine() == before, "the machine's own rules changed"


def _machine() -> dict[str, str]:
    return {command: subprocess.run(command.split(), capture_output=True, text=True).stdout
            for command in ("nft -s list tables", "ip -4 rule", "ip -6 rule",
                            "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding")}


@pytest.fixture(scope="session")
def binary() -> Path:
    """The shunt under test."""
    assert shunt.BINARY.exists(), f"{shunt.BINARY} is not built; SHUNT_BUILD names another build"
    return shunt.BINARY


@pytest.fixture(autouse=True)
def no_system_call_is_refused():
    """Every test runs under the filter of src/kernel/syscall_filter.cc: what a new feature calls
    must be in its list."""
    shunt.Process.started.clear()
    yield
    refused = [line for process in shunt.Process.started for line in process.refused_calls()]
    assert refused == [], "add it to the list in src/kernel/syscall_filter.cc, if it is in order"


@pytest.fixture(autouse=True)
def machine_is_free_again():
    yield
    MACHINE.leave()


@pytest.fixture
def lab(binary):
    with Lab() as made:
        yield made


@pytest.fixture(scope="module")
def module_lab(binary):
    with Lab() as made:
        yield made
