# SPDX-License-Identifier: GPL-2.0-only
"""`log.to` a file, and whoever rotates it."""
from __future__ import annotations

import signal
import threading

import pytest

from netlab import Lab, wait_until
from peers import TcpServer, echo_bytes
from shunt import read_log
from test_serve import CONFIG, LOG, Serve, configure, reach, reload


class Traffic:
    """Connections one after the other until it is told to stop."""

    def __init__(self, lab: Lab, port: int) -> None:
        self.lab, self.port = lab, port
        self.made = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            assert reach(self.lab, self.port) == "answer"
            self.made += 1

    def goes_on(self, more: int = 20) -> None:
        until = self.made + more
        wait_until(lambda: self.made >= until, f"{more} more connections")

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def test_a_renamed_file_is_followed_by_a_new_one_and_no_line_is_lost(lab):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [])
    serve = Serve(lab)
    log = lab.gateway.outside(LOG)
    traffic = Traffic(lab, server.port)
    files = []
    try:
        for turn in range(3):
            traffic.goes_on()
            rotated = log.with_name(f"traffic.json.{turn}")
            log.rename(rotated)
            files.append(rotated)
            serve.send_signal(signal.SIGHUP)
            wait_until(log.exists, "the new file")
            size = rotated.stat().st_size
            traffic.goes_on()
            assert rotated.stat().st_size - size <= 64 * 1024  # what was being written then
            settled = rotated.stat().st_size
            traffic.goes_on()
            assert rotated.stat().st_size == settled
    finally:
        traffic.stop()
    assert serve.stop() == 0
    entries = []
    for path in [*files, log]:
        lines = read_log(path)
        assert lines and path.read_bytes().endswith(b"\n")
        entries += lines
    ends = [entry["flow"] for entry in entries if entry["event"] == "end"]
    starts = [entry["flow"] for entry in entries if entry["event"] == "start"]
    assert len(ends) == len(set(ends)) == traffic.made
    assert sorted(starts) == sorted(ends)
    assert not [entry for entry in entries if entry["event"] == "dropped"]


@pytest.mark.parametrize("how", ["hangup", "command"])
def test_a_mistake_in_the_configuration_does_not_keep_the_old_file(lab, how):
    server = TcpServer(lab.server, echo_bytes)
    configure(lab, [])
    serve = Serve(lab)
    log = lab.gateway.outside(LOG)
    log.rename(log.with_name("old"))
    lab.gateway.outside(CONFIG).write_text("version = 'none'\n")
    if how == "command":
        reload(lab, code=3)
    else:
        serve.send_signal(signal.SIGHUP)
        serve.wait_said("the old one stays")
    assert reach(lab, server.port) == "answer"
    wait_until(lambda: read_log(log), "a line in the new file")
    assert serve.stop() == 0
    assert not read_log(log.with_name("old"))


def test_a_file_that_cannot_be_opened_leaves_the_old_one(lab):
    server = TcpServer(lab.server, echo_bytes)
    folder = lab.gateway.outside("/run/logs")
    folder.mkdir()
    head = f"version = 1\n[log]\nformat = \"json\"\nto = \"/run/logs/traffic\"\n" \
           "[capture]\nlan = [\"lan0\"]\n"
    configure(lab, [], head=head)
    serve = Serve(lab)
    folder.rename(folder.with_name("moved"))
    reload(lab)
    serve.wait_said("the log file stays the one that is open: opening the log file "
                    "/run/logs/traffic: No such file or directory")
    assert reach(lab, server.port) == "answer"
    wait_until(lambda: read_log(folder.with_name("moved") / "traffic"), "a line in the old file")
    assert serve.stop() == 0
