# SPDX-License-Identifier: GPL-2.0-only
"""What a running gateway may still do, and the sandbox of the service: docs/service.md."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

import shunt
from leaks import KernelState
from netlab import UNPRIVILEGED, Host, Lab, needs, needs_tun, needs_users
from peers import TcpServer, UdpEcho, echo_bytes
from shunt import ROOT, Gateway, Process
from test_serve import CONFIG, HEAD, Serve, configure, reach, reload

UNIT = ROOT / "packaging" / "shunt.service"
PROCESS_RULES = ROOT / "packaging" / "process-rules.conf"
TOA = ROOT / "packaging" / "toa.conf"

ALWAYS = {"net_admin": 12, "net_raw": 13, "net_bind_service": 10}
PROCESSES = {"sys_ptrace": 19, "dac_read_search": 2}
SANITIZED = "san" in shunt.BUILD.name


def bits(*capabilities: dict[str, int]) -> str:
    return f"{sum(1 << bit for each in capabilities for bit in each.values()):016x}"


def threads_status(pid: int) -> dict[str, dict[str, str]]:
    """/proc/PID/task/*/status of every thread, by its name and number."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines()
                      if ":" in line)
        found[f"{fields['Name'].strip()} {task.name}"] = {k: v.strip() for k, v in fields.items()}
    return found


def check_threads(pid: int, capabilities: str, bounding: str = "0" * 16) -> None:
    threads = threads_status(pid)
    assert len(threads) >= 3, threads.keys()  # main, log, workers
    expected = {"CapEff": capabilities, "CapPrm": capabilities, "CapInh": "0" * 16,
                "CapAmb": "0" * 16, "CapBnd": bounding, "NoNewPrivs": "1"}
    if not SANITIZED:
        expected["Seccomp"] = "2"
    for name, status in threads.items():
        assert {key: status[key] for key in expected} == expected, name


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_every_thread_has_given_up_what_is_not_in_use(lab, command):
    needs_users()
    server = TcpServer(lab.server, echo_bytes)
    if command == "serve":
        configure(lab, ["host a.example -> reject"])
        process = Serve(lab)
    else:
        needs_tun()
        process = Gateway(lab.gateway, "-i", "lan0", "--rule", "host a.example -> reject")
    assert reach(lab, server.port) == "answer"
    check_threads(process.pid, bits(ALWAYS))
    assert process.stop() == 0


def test_rules_that_ask_for_programs_keep_what_it_takes(lab):
    needs_users()
    head = HEAD.replace("[capture]\n", "[capture]\nhost = true\n")
    configure(lab, ["process nobody-has-this-name -> reject"], head=head)
    process = Serve(lab)
    check_threads(process.pid, bits(ALWAYS, PROCESSES))
    assert process.stop() == 0


def test_a_reload_does_not_ask_for_what_was_given_up(lab):
    head = HEAD.replace("[capture]\n", "[capture]\nhost = true\n")
    configure(lab, [], head=head)
    Serve(lab)
    configure(lab, ["process apt -> reject"], head=head)
    done = reload(lab, code=3)
    assert "error[S046]" in done.err and "start it again" in done.err
    configure(lab, ["uid 4711 -> reject"], head=head)  # the kernel says whose a socket is
    reload(lab)


def test_a_configuration_that_only_privilege_reads_can_be_read_again(lab):
    needs_users()
    configure(lab, [])
    path = lab.gateway.outside(CONFIG)
    os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
    path.chmod(0o600)
    process = Serve(lab)
    process.wait_said("keeping CAP_DAC_READ_SEARCH")
    check_threads(process.pid, bits(ALWAYS, {"dac_read_search": 2}))
    reload(lab)


# The service.


def merged(tmp_path: Path, *parts: Path) -> Path:
    """A unit with its drop-ins, which say what they say as if they stood at its end."""
    unit = tmp_path / "shunt.service"
    unit.write_text("".join(part.read_text() for part in parts))
    return unit


@pytest.mark.parametrize("parts, limit", [([UNIT], 2.0), ([UNIT, PROCESS_RULES], 4.5),
                                          ([UNIT, PROCESS_RULES, TOA], 4.5)])
def test_exposure_of_the_unit(tmp_path, parts, limit):
    needs("systemd-analyze")
    unit = merged(tmp_path, *parts)
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                           f"--threshold={int(limit * 10)}", str(unit)],
                          capture_output=True, text=True, check=False)
    score = re.search(r"exposure level for shunt.service: ([\d.]+)", done.stdout)
    assert score and float(score[1]) <= limit, done.stdout[-300:] + done.stderr
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_is_well_formed(tmp_path):
    needs("systemd-analyze")
    text = merged(tmp_path, UNIT, PROCESS_RULES, TOA).read_text()
    # Where nothing is installed: a program that exists, and no manual page.
    text = re.sub(r"/usr/bin/shunt", "/bin/true", text).replace("Documentation=", "#")
    text = text.replace("User=shunt", "User=root").replace("Group=shunt", "Group=root")
    (tmp_path / "shunt.service").write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                           str(tmp_path / "shunt.service")], capture_output=True, text=True,
                          check=False)
    said = [line for line in done.stderr.splitlines() if "shunt.service" in line]
    assert said == [] and done.returncode == 0, done.stderr


def system_call_sets() -> dict[str, list[str]]:
    done = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"],
                          capture_output=True, text=True, check=True)
    sets: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("@"):
            current = sets.setdefault(line.strip(), [])
        elif line.startswith("    ") and not line.lstrip().startswith("#"):
            current.append(line.strip())
    return sets


def expand(name: str, sets: dict[str, list[str]]) -> set[str]:
    if not name.startswith("@"):
        return {name}
    return set().union(*(expand(each, sets) for each in sets[name]))


def test_the_unit_lets_pass_what_shunt_lets_itself(tmp_path):
    """Two lists of system calls: systemd's must not be the shorter one."""
    needs("systemd-analyze")
    sets = system_call_sets()
    allowed: set[str] = set()
    for line in (UNIT.read_text() + TOA.read_text()).splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.partition("=")[2].lstrip("~").split()
            named = set().union(*(expand(word, sets) for word in words))
            allowed = allowed - named if "=~" in line else allowed | named
    allowed |= expand("@default", sets)
    source = (ROOT / "src/kernel/syscall_filter.cc").read_text()
    table = source.partition("kAllowed = ")[2].partition("});")[0]
    own = set(re.findall(r'"(\w+)"', table)) | set(re.findall(r'filter.allow\("(\w+)"', source))
    assert len(own) > 100
    known = expand("@known", sets)
    # And what it takes to get there.
    assert ((own & known) | {"capset", "seccomp", "wait4", "kill"}) - allowed == set()


class Service(Process):
    """`shunt serve` as packaging/shunt.service runs it: another user, ambient capabilities, no new
    privileges, /proc/sys read-only but for the network's, and no namespaces: the kernel lets no
    unprivileged process make one that is in a chroot (user_namespaces(7), EPERM)."""

    ENVIRONMENT = {"SHUNT_RUN_DIR": "/run/shunt", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def __init__(self, lab: Lab) -> None:
        needs_users()
        needs_tun()
        host = lab.gateway
        settings = dict(line.split("=", 1) for line in UNIT.read_text().splitlines()
                        if "=" in line and not line.startswith("#"))
        self.capabilities = [name.removeprefix("CAP_").lower()
                             for name in settings["AmbientCapabilities"].split()]
        given = ",".join(["-all", *(f"+{name}" for name in self.capabilities)])
        user = str(UNPRIVILEGED)
        as_service = ("chroot", "/run/root", "setpriv", "--reuid", user, "--regid", user,
                      "--clear-groups", "--inh-caps", given, "--ambient-caps", given,
                      "--bounding-set", given, "--no-new-privs")
        host.run(["sh", "-ec", f"""
            mkdir -p /run/shunt && chown {UNPRIVILEGED}:{UNPRIVILEGED} /run/shunt
            mknod -m 666 /run/tun c 10 200 && mount --bind /run/tun /dev/net/tun
            mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys
            mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net
            mkdir -p /run/root && mount --rbind / /run/root"""])
        assert not host.run([*as_service, "unshare", "--user", "true"], check=False).ok
        assert settings["Environment"] == "SHUNT_RUN_DIR=/run/shunt"
        self.user_command = as_service
        super().__init__(host, "serve", "-c", CONFIG, json_log=False, prefix=as_service,
                         env=self.ENVIRONMENT)
        self.wait_ready()


SERVICE_HEAD = HEAD.replace("/run/traffic.json", "/run/shunt/traffic.json")


def own_sysctls(host: Host) -> str:
    return host.run(["sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]).out


def test_the_service_works_as_a_user_with_ambient_capabilities(binary):
    with Lab(forwarding=False) as lab:
        server, datagrams = TcpServer(lab.server, echo_bytes), UdpEcho(lab.server)
        before = KernelState.of(lab.gateway)
        assert own_sysctls(lab.gateway) == "0\n0\n"
        configure(lab, [], head=SERVICE_HEAD)
        service = Service(lab)
        assert service.said("by TPROXY")
        assert not service.said("without CAP_") and not service.said("sysctl"), service
        assert own_sysctls(lab.gateway) == "1\n1\n"  # raised by a user that is not root
        assert reach(lab, server.port) == "answer"
        assert reach(lab, server.port, Lab.FAR[6]) == "answer"
        ask_by_udp(lab, datagrams.port)
        check_threads(service.pid, bits(ALWAYS), bounding=bits(ALWAYS))

        configure(lab, [f"port {server.port} -> reject"], head=SERVICE_HEAD)
        assert "1 rule" in reload(lab).out  # root finds it, though the record is another user's
        assert reach(lab, server.port) in {"refused", "reset"}
        configure(lab, [], head=SERVICE_HEAD)
        inside = lab.gateway.run([*service.user_command, "env", "SHUNT_RUN_DIR=/run/shunt",
                                  shunt.BINARY, "reload"])
        assert "reloaded: 0 rules" in inside.out  # ExecReload
        configure(lab, ["port 1 -> reject", "port 2 -> reject"], head=SERVICE_HEAD)
        service.send_signal(signal.SIGHUP)
        service.wait_said("reloaded: 2 rules")
        assert reach(lab, server.port) == "answer"

        assert service.stop() == 0
        assert own_sysctls(lab.gateway) == "0\n0\n"
        after = [line for line in KernelState.of(lab.gateway).added_and_removed(before)
                 if "/run/shunt/traffic" not in line]
        assert after == []
        log = lab.gateway.outside("/run/shunt/traffic.json").read_text().splitlines()
        assert any(json.loads(line)["event"] == "end" for line in log)


def ask_by_udp(lab: Lab, port: int) -> None:
    sock = lab.client.socket(kind=2)
    sock.settimeout(10)
    sock.sendto(b"hello", (Lab.FAR[4], port))
    data, sender = sock.recvfrom(100)
    assert data.endswith(b"hello") and sender == (Lab.FAR[4], port)


def test_nobody_looks_into_the_service(binary):
    if SANITIZED:
        pytest.skip("needs unsanitized: sanitizers read the process's own maps, so it is left open")
    with Lab() as lab:
        configure(lab, [], head=SERVICE_HEAD)
        service = Service(lab)
        look = ["cat", f"/proc/{service.pid}/maps"]
        same_user = lab.gateway.run(look, user=UNPRIVILEGED, check=False)
        assert same_user.code != 0 and "Permission denied" in same_user.err
        assert os.stat(f"/proc/{service.pid}/fd").st_uid == 0


def test_a_killed_service_is_cleared_up_by_its_next_start(binary):
    with Lab(forwarding=False) as lab:
        before = KernelState.of(lab.gateway)
        configure(lab, [], head=SERVICE_HEAD)
        service = Service(lab)
        service.kill()
        assert own_sysctls(lab.gateway) == "1\n1\n"
        again = Process(lab.gateway, "serve", "-c", CONFIG, json_log=False,
                        prefix=service.user_command,
                        env=Service.ENVIRONMENT)
        again.wait_ready()
        assert again.stop() == 0
        assert KernelState.of(lab.gateway).added_and_removed(before) == []
