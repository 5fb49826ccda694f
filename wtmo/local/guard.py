"""Ends a platform whose supervisor died without ending it (kill -9, the machine's out-of-memory killer).

Run as ``python -m wtmo.local.guard MARKER``, with standard input a pipe whose other end only the supervisor holds. When the
pipe closes without the word ``done``, every process of the platform is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

import psutil

from wtmo.local.state import marked_processes


def sweep(marker: str, *, seconds: float = 10) -> list[int]:
    """Kill every process of a platform until none is left. Returns the process ids.

    :param seconds: how long to go on at the most. Default: 10.
    """
    killed: list[int] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = list(marked_processes(marker))
        if not found:
            break
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed.append(process.pid)
        psutil.wait_procs(found, timeout=1)
    return killed


def main() -> None:
    """Wait for the supervisor to say ``done`` or to die."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    marker = sys.argv[1]
    if b"done" not in sys.stdin.buffer.read():
        sweep(marker)
    os._exit(0)


if __name__ == "__main__":
    main()
