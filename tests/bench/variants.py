# SPDX-License-Identifier: GPL-2.0-only
"""What is compared: shunt, and the programs that do the same from Debian, one worker each.

Each gets the settings that make it fast and correct; where that is not how it comes, the note says
so. A variant is started once and stays up for all rounds.
"""
from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netlab import wait_until
from shunt import BINARY

from sites import FIRST_PORT, LAST_PORT, SHADOW_PORT, SOCKS_PORT, Site

HAPROXY_PORT, REDIRECT_PORT = 9000, 12345
BEFORE = "SHUNT_BEFORE"  # environment: another build of shunt, to be compared with this one


@dataclass(frozen=True)
class Variant:
    name: str
    start: Callable[[Site], None]
    note: str
    program: str = ""  # what must be installed
    chain: bool = False  # through a proxy behind it
    capacity: int = 9500  # connections at a time

    @property
    def missing(self) -> bool:
        return bool(self.program) and shutil.which(self.program) is None


def listening(site: Site, port: int) -> None:
    wait_until(lambda: f":{port} " in site.gateway.run(["ss", "-Hltn"]).out, f"port {port}", 20)


def start_direct(_: Site) -> None:
    pass


def start_shunt(site: Site, *options: str, binary: Path | str = BINARY) -> None:
    """Its traffic lines go to /dev/null: none is made, as the others make none."""
    said = site.gateway.outside("/run/shunt-said")
    with open(said, "wb") as stderr:
        child = site.spawn([binary, "gateway", "-i", "lan0", "--method", "tproxy", "--workers", "1",
                            *options], stdout=subprocess.DEVNULL, stderr=stderr)
    wait_until(lambda: "shunt: ready:" in said.read_text() or child.poll() is not None, "shunt")
    assert child.poll() is None, said.read_text()


def start_early(site: Site) -> None:
    start_shunt(site, "--connect", "early", "--notrack")


def start_before(site: Site) -> None:
    binary = os.environ[BEFORE]
    knows = "--notrack" in subprocess.run([binary, "help", "gateway"], capture_output=True,
                                          text=True, check=True).stdout
    start_shunt(site, "--connect", "early", *(["--notrack"] if knows else []), binary=binary)


def start_honest(site: Site) -> None:
    start_shunt(site, "--connect", "honest")


def start_shunt_chain(site: Site) -> None:
    start_shunt(site, "--connect", "early", "--notrack", "--via",
                f"socks5://{site.upstream}:{SOCKS_PORT}")


def capture_by_tproxy(site: Site, port: int) -> None:
    site.gateway.ip("rule add fwmark 1 lookup 100",
                    "route add local default dev lo table 100")
    site.gateway.nft("table inet bench { chain in { type filter hook prerouting priority mangle;"
                     f" iifname lan0 tcp dport {FIRST_PORT}-{LAST_PORT}"
                     f" tproxy ip to :{port} meta mark set 1 accept; }}; }}")


def capture_by_redirect(site: Site) -> None:
    site.gateway.nft("table inet bench { chain in { type nat hook prerouting priority dstnat;"
                     f" iifname lan0 tcp dport {FIRST_PORT}-{LAST_PORT}"
                     f" redirect to :{REDIRECT_PORT}; }}; }}")
    # Thousands of connections a second: those that are over must not fill the table.
    site.gateway.sysctl(net__netfilter__nf_conntrack_tcp_timeout_time_wait=1)


def start_haproxy(site: Site) -> None:
    path = site.write("haproxy.cfg", f"""global
  nbthread 1
  maxconn 9800
  maxpipes 100
  tune.bufsize 65536
defaults
  mode tcp
  timeout connect 10s
  timeout client 300s
  timeout server 300s
  option splice-request
  option splice-response
listen all
  bind 0.0.0.0:{HAPROXY_PORT} transparent backlog 8192
  server original 0.0.0.0:0
""")
    site.spawn(["haproxy", "-db", "-q", "-f", path])
    listening(site, HAPROXY_PORT)
    capture_by_tproxy(site, HAPROXY_PORT)


def start_nginx(site: Site) -> None:
    servers = "\n".join(
        f"  server {{ listen {site.client_side}:{port} backlog=8192;"
        f" proxy_pass {site.upstream}:{port}; }}" for port in range(FIRST_PORT, LAST_PORT + 1))
    path = site.write("nginx.conf", f"""load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
error_log /dev/null crit;
pid /run/nginx-bench.pid;
worker_rlimit_nofile 20000;
events {{ worker_connections 19900; }}
stream {{
  tcp_nodelay on;
  proxy_buffer_size 64k;
  proxy_half_close on;
{servers}
}}
""")
    site.spawn(["nginx", "-e", "/dev/null", "-c", path])
    listening(site, LAST_PORT)
    site.target = site.client_side


def start_redsocks(site: Site) -> None:
    path = site.write("redsocks.conf", f"""base {{
  log_debug = off; log_info = off; log = "file:/dev/null"; daemon = off;
  redirector = iptables; rlimit_nofile = 20000; redsocks_conn_max = 4900;
}}
redsocks {{
  local_ip = 0.0.0.0; local_port = {REDIRECT_PORT}; listenq = 8192; splice = true;
  ip = {site.upstream}; port = {SOCKS_PORT}; type = socks5;
}}
""")
    site.spawn(["redsocks", "-c", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    listening(site, REDIRECT_PORT)
    capture_by_redirect(site)


def start_ss_redir(site: Site) -> None:
    site.spawn(["ss-redir", "-s", site.upstream, "-p", SHADOW_PORT, "-b", "0.0.0.0", "-l",
                REDIRECT_PORT, "-m", "aes-128-gcm", "-k", "bench", "-n", "20000", "-t", "600",
                "--no-delay"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    listening(site, REDIRECT_PORT)
    capture_by_redirect(site)


VARIANTS = [
    Variant("direct", start_direct, "routed by a gateway without any rule"),
    Variant("shunt", start_early, "TPROXY, `--connect early --notrack`, one worker"),
    Variant("shunt-honest", start_honest, "TPROXY, `--connect honest`, one worker"),
    Variant("haproxy", start_haproxy, "TPROXY, `bind … transparent`, `option splice-request` and "
            "`splice-response`, one thread, 64 KiB buffers", "haproxy"),
    Variant("nginx", start_nginx, "stream; it cannot recover the original destination, so the "
            "client connects to it, which spares it the capture; one worker, 64 KiB buffers, "
            "`proxy_half_close on` (off by default)", "nginx"),
    Variant("shunt-socks5", start_shunt_chain, "TPROXY, early, `--notrack`, `--via "
            "socks5://…` to microsocks", "microsocks", chain=True, capacity=1000),
    Variant("redsocks", start_redsocks, "REDIRECT, splice, SOCKS5 to the same microsocks",
            "redsocks", chain=True, capacity=1000),
    Variant("ss-redir", start_ss_redir, "REDIRECT, encrypts (aes-128-gcm) to ss-server beside the "
            "server", "ss-redir", chain=True, capacity=1000),
]
if BEFORE in os.environ:
    VARIANTS.insert(2, Variant("shunt-before", start_before, f"as shunt, the build that {BEFORE} "
                               "in the environment names"))
