# SPDX-License-Identifier: GPL-2.0-only
"""What connect() says, as programs see it.

    python3 outcomes.py SECONDS NAME=ADDRESS/PORT...

All at once, each by a blocking socket and by asyncio. Prints JSON: {"NAME": {"blocking": "ok",
"asyncio": "ECONNREFUSED", "seconds": 0.01}, ...}; what takes longer than SECONDS is "silence".
A command and not a function, since `shunt run` captures commands.
"""
from __future__ import annotations

import asyncio
import errno
import json
import socket
import sys
import threading
import time


def word(error: OSError) -> str:
    if isinstance(error, TimeoutError) and error.errno is None:
        return "silence"
    return errno.errorcode.get(error.errno, repr(error))


def blocking(address: str, port: int, seconds: float) -> str:
    try:
        with socket.create_connection((address, port), timeout=seconds):
            return "ok"
    except OSError as error:
        return word(error)


async def asynchronous(address: str, port: int, seconds: float) -> str:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), seconds)
    except asyncio.TimeoutError:
        return "silence"
    except OSError as error:
        return word(error)
    writer.close()
    return "ok"


async def all_asynchronous(targets: dict[str, tuple[str, int]], seconds: float) -> dict[str, str]:
    said = await asyncio.gather(*(asynchronous(*target, seconds) for target in targets.values()))
    return dict(zip(targets, said))


def main() -> None:
    seconds = float(sys.argv[1])
    targets: dict[str, tuple[str, int]] = {}
    for argument in sys.argv[2:]:
        name, _, place = argument.partition("=")
        address, _, port = place.rpartition("/")
        targets[name] = (address, int(port))
    said: dict[str, dict] = {name: {} for name in targets}

    def ask(name: str) -> None:
        began = time.monotonic()
        said[name]["blocking"] = blocking(*targets[name], seconds)
        said[name]["seconds"] = time.monotonic() - began

    threads = [threading.Thread(target=ask, args=(name,)) for name in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, outcome in asyncio.run(all_asynchronous(targets, seconds)).items():
        said[name]["asyncio"] = outcome
    print(json.dumps(said))


if __name__ == "__main__":
    main()
