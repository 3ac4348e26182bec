# SPDX-License-Identifier: GPL-2.0-only
"""Real SOCKS5 and HTTP proxies from Debian, on a test host.

    proxy = Dante(lab.gateway, "192.168.77.1", outside="wan0", user=USER)
    proxy.url("socks5")          # "socks5://alice@192.168.77.1:1080"
"""
from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from daemons import listening
from netlab import Host, needs, wait_until

USER = "alice"
PASSWORD = "open-sesame"
# What `openssl passwd -6 -salt shunt "open-sesame"` prints.
PASSWORD_HASH = ("$6$shunt$WTOOUle21Zm/9rboRjX8.iq4gvrig0g"
                 "Xj4.f4vuS0w4O.Px2PSnkeRwG.edKEb3vmVlIv2YAf8pI7DXhfLz8y1")


class Proxy:
    """A proxy process on `host`, listening on `address`."""

    port = 0
    program = ""
    run_as: int | None = None

    def __init__(self, host: Host, address: str, user: str | None = None) -> None:
        needs(self.program)
        self.host = host
        self.address = address
        self.user = user

    def url(self, scheme: str) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"{scheme}://{user}{self.address}:{self.port}"

    def trusted_by(self, host: Host) -> None:
        """Makes `host` trust the proxy's certificate, where it has one."""

    def restart(self) -> None:
        """Ends it and all its connections, and starts it again."""
        self.process.kill()
        self.process.wait()
        for pid in self.host.processes():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                if Path(f"/proc/{pid}/comm").read_text().strip() == self.program:
                    os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not listening(self.host, self.port), f"{self.program} is gone")
        self._start(*self._command)

    def _start(self, *command: str) -> None:
        self._command = command
        inside = f"/run/{self.program}-said"
        self.said = self.host.outside(inside)
        with open(self.said, "wb") as said:
            self.process = self.host.spawn(list(command), user=self.run_as, stdout=said,
                                           stderr=subprocess.STDOUT)
        wait_until(lambda: listening(self.host, self.port) or self.process.poll() is not None,
                   self.program)
        assert self.process.poll() is None, self.said.read_text()

    def _config(self, text: str) -> str:
        inside = f"/run/{self.program}.conf"
        self.host.outside(inside).write_text(text)
        return inside


class Microsocks(Proxy):
    """SOCKS5, TCP only. Drops what arrives together with its greeting."""

    port = 1080
    program = "microsocks"

    def __init__(self, host: Host, address: str, user: str | None = None,
                 run_as: int | None = None) -> None:
        super().__init__(host, address, user)
        self.run_as = run_as
        secret = ["-u", user, "-P", PASSWORD] if user else []
        self._start("microsocks", "-i", address, "-p", str(self.port), *secret)


class Dante(Proxy):
    """SOCKS5 for TCP and UDP; its users are the host's, so it gets a passwd and a shadow file."""

    port = 1081
    program = "danted"

    def __init__(self, host: Host, address: str, user: str | None = None,
                 outside: str = "wan0") -> None:
        super().__init__(host, address, user)
        if user:
            host.file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
                      f"{user}:x:4242:4242::/:/bin/false\n")
            host.file("/etc/shadow", f"root:*:19000:0:99999:7:::\n"
                      f"{user}:{PASSWORD_HASH}:19000:0:99999:7:::\n")
        self._start("danted", "-f", self._config(
            f"logoutput: stderr\ninternal: {address} port = {self.port}\nexternal: {outside}\n"
            f"clientmethod: none\nsocksmethod: {'username' if user else 'none'}\n"
            "user.privileged: root\nuser.unprivileged: root\n"
            "client pass { from: 0/0 to: 0/0 }\n"
            "socks pass { from: 0/0 to: 0/0 protocol: tcp udp }\n"))


class Squid(Proxy):
    """HTTP CONNECT; says in X-Squid-Error why it failed."""

    port = 3128
    program = "squid"

    def __init__(self, host: Host, address: str, user: str | None = None) -> None:
        super().__init__(host, address, user)
        assert user is None, "its passwords are checked by a helper program"
        host.run(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"])  # it leaves its segments there
        self._start("squid", "-N", "-f", self._config(
            f"http_port {address}:{self.port}\nhttp_access allow all\ncache deny all\n"
            "cache_effective_user proxy\ncache_effective_group proxy\nvisible_hostname squid\n"
            "pid_filename none\naccess_log none\ncache_log /dev/null\nnetdb_filename none\n"
            "coredump_dir /\nshutdown_lifetime 0 seconds\nconnect_timeout 5 seconds\n"
            "pinger_enable off\nmax_filedescriptors 1024\n"))


class Tinyproxy(Proxy):
    """HTTP CONNECT."""

    port = 8888
    program = "tinyproxy"

    def __init__(self, host: Host, address: str, user: str | None = None) -> None:
        super().__init__(host, address, user)
        secret = f"BasicAuth {user} {PASSWORD}\n" if user else ""
        self._start("tinyproxy", "-d", "-c", self._config(
            f"Port {self.port}\nListen {address}\nTimeout 600\nMaxClients 100\n{secret}"))


def self_signed(host: Host, address: str) -> str:
    """A key and a certificate for `address`, in one file on `host`; yields the certificate."""
    needs("openssl")
    host.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
              "-nodes", "-days", "2", "-subj", "/CN=proxy", "-addext",
              f"subjectAltName=IP:{address}", "-keyout", "/run/proxy.key", "-out",
              "/run/proxy.crt"])
    certificate = host.outside("/run/proxy.crt").read_text()
    host.outside("/run/proxy.pem").write_text(
        certificate + host.outside("/run/proxy.key").read_text())
    return certificate


class TlsTinyproxy(Tinyproxy):
    """HTTP CONNECT within TLS: haproxy before tinyproxy."""

    tls_port = 8443

    def __init__(self, host: Host, address: str, user: str | None = None) -> None:
        needs("haproxy")
        super().__init__(host, address, user)
        self.certificate = self_signed(host, address)
        host.outside("/run/tls.cfg").write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n"
            f" timeout server 60s\nlisten tls\n bind {address}:{self.tls_port} ssl crt "
            f"/run/proxy.pem\n server tinyproxy {address}:{self.port}\n")
        self.tls = host.spawn(["haproxy", "-db", "-q", "-f", "/run/tls.cfg"])
        wait_until(lambda: listening(host, self.tls_port), "haproxy")

    def url(self, scheme: str) -> str:
        return super().url(scheme).replace(f":{self.port}", f":{self.tls_port}")

    def trusted_by(self, host: Host) -> None:
        host.file("/etc/ssl/certs/ca-certificates.crt", self.certificate)
