# SPDX-License-Identifier: GPL-2.0-only
"""`shunt run` as root and as an ordinary user on a Host of a lab."""
from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from netlab import UNPRIVILEGED, Host, Result
from shunt import install_shunt

AS_ROOT = "root"
AS_USER = "user"
_REAL_ROOT = open("/proc/self/uid_map").read().split() == ["0", "0", "4294967295"]


class Runner:
    """Runs commands under `shunt run` for one kind of user.

    Where the test run itself is the mapped root of a user namespace there is no second uid: the
    "user" is then another uid of a further user namespace. That root without its capabilities would
    not do: without CAP_SETFCAP it may map itself nowhere (user_namespaces(7), since Linux 5.12).
    """

    def __init__(self, host: Host, who: str) -> None:
        self.host, self.who = host, who
        self.shunt = install_shunt(host)  # the build may be where users cannot look

    def _as(self, command: Sequence[object]) -> list[str]:
        words = [str(word) for word in command]
        if self.who == AS_ROOT:
            return words
        if _REAL_ROOT:
            return ["setpriv", "--reuid", str(UNPRIVILEGED), "--regid", str(UNPRIVILEGED),
                    "--clear-groups", "--", *words]
        return ["unshare", "--user", f"--map-user={UNPRIVILEGED}", f"--map-group={UNPRIVILEGED}",
                "--", *words]

    @property
    def uid(self) -> int:
        return UNPRIVILEGED if self.who == AS_USER else os.getuid()

    def command(self, command: Sequence[object]) -> list[str]:
        """`command` (with no shunt) as it is started from outside the lab."""
        return self.host.command(self._as(command))

    def line(self, *words: object) -> str:
        """Shell text that runs the command under shunt."""
        return shlex.join(self._as([self.shunt, "run", *words]))

    def plain(self, command: Sequence[object], check: bool = True, **run) -> Result:
        """Without shunt, unless the command says so itself."""
        cwd = run.pop("cwd", None)  # entered as root, before privileges are dropped
        enter = ["env", "--chdir", cwd] if cwd else []
        return self.host.run([*enter, *self._as(command)], check=check, **run)

    def run(self, command: Sequence[object], **run) -> Result:
        return self.host.run(self._as([self.shunt, "run", *command]), check=False, **run)

    def sh(self, script: str, *options: str, **run) -> Result:
        return self.run([*options, "sh", "-c", script], **run)

    def python(self, script: str, *options: str, **run) -> Result:
        return self.run([*options, "/usr/bin/python3", "-c", script], **run)
