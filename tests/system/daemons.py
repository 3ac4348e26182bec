# SPDX-License-Identifier: GPL-2.0-only
"""Real servers from Debian on a test host: nginx and dnsmasq. Those of the tests' own are in
peers.py, proxies in proxies.py.
"""
from __future__ import annotations

import contextlib
import hashlib
import subprocess
from pathlib import Path

from netlab import DEADLINE, Host, wait_until

NGINX = """
daemon off; master_process on; worker_processes 2; error_log {root}/error.log; pid {root}/pid;
{user}
events {{ worker_connections 4096; }}
http {{
  access_log {root}/access.log; sendfile on; keepalive_requests 100000; client_max_body_size 0;
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5; default_type application/octet-stream;
  server {{
    listen 80 backlog=2048; listen [::]:80 backlog=2048; root {root}/files;
    location = /whoami {{ return 200 "$remote_addr $server_addr $server_port\\n"; }}
    location = /moved {{ return 301 /small; }}
    location = /length {{ return 200 "$request_length\\n"; }}
  }}
}}
"""


class Nginx:
    """A real nginx on a host's port 80. Files: /small (a line), /1k, /1m, /big (32 MiB)."""

    SIZES = {"small": 0, "1k": 1024, "1m": 1 << 20, "big": 32 << 20}

    def __init__(self, host: Host) -> None:
        inside = "/run/nginx"
        self.root = host.outside(inside)  # goes with the host
        (self.root / "files").mkdir(parents=True)
        block = hashlib.shake_256(b"shunt").digest(1 << 20)
        self.sha256: dict[str, str] = {}
        for name, size in self.SIZES.items():
            body = b"small body\n" if size == 0 else \
                (block * (size // len(block) + 1))[:size]
            (self.root / "files" / name).write_bytes(body)
            self.sha256[name] = hashlib.sha256(body).hexdigest()
        user = "user root;"  # a worker of another user could not read this host's /run
        (self.root / "nginx.conf").write_text(NGINX.format(root=inside, user=user))
        self._log = open(self.root / "stderr", "wb")
        host.on_close(self._log.close)
        self.process = host.spawn(["nginx", "-c", f"{inside}/nginx.conf", "-p", inside,
                                   "-e", f"{inside}/error.log"],
                                  stdout=self._log, stderr=self._log)
        host.on_close(self._stop)
        wait_until(lambda: listening(host, 80) or self.process.poll() is not None, "nginx")
        assert self.process.poll() is None, (self.root / "stderr").read_text()

    def _stop(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(DEADLINE)


class Dnsmasq:
    """A real dnsmasq on a host's port 53 that knows `names` and nothing else."""

    def __init__(self, host: Host, names: dict[str, list[str]], *options: str) -> None:
        arguments = [f"--host-record={name},{','.join(addresses)}"
                     for name, addresses in names.items()]
        self.process = host.spawn(
            # Not --no-daemon: then it serves one TCP connection after the other.
            ["dnsmasq", "--keep-in-foreground", "--user=root", "--group=root", "--no-resolv",
             "--no-hosts", "--conf-file=/dev/null", "--pid-file=",
             "--log-facility=/dev/null", *arguments, *options],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        wait_until(lambda: listening(host, 53) or self.process.poll() is not None, "dnsmasq")
        assert self.process.poll() is None, self.process.stderr.read().decode()


def listening(host: Host, port: int) -> bool:
    """Whether someone listens on the TCP port, without connecting to it."""
    with host.entered():
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    return True
    return False
