"""What was found out before, on disk, by names that say all that it depends on. Losing it costs time, nothing else.

The caches of one kind lie in a folder of their own, one for each version of the code that finds things out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

HALF_MADE = ".half-made."
"""Names of what is being written begin with it."""


class Cache:
    """One folder of answers, each in a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, *name: str) -> dict[str, Any]:
        """What was found out; empty when it is not known."""
        return read_json(self._file(name))

    def put(self, value: Mapping[str, Any], *name: str) -> None:
        """Keep what was found out."""
        file = self._file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, value, indent=None)

    def _file(self, name: tuple[str, ...]) -> Path:
        whole = "\0".join(name)
        return self._folder / f"{hashlib.sha256(whole.encode()).hexdigest()[:40]}.json"


def tidy(root: Path, used: Collection[str], *, keep: int) -> None:
    """Remove the caches that were not used for long.

    :param root: the folder that they lie in.
    :param used: names of those that are in use.
    :param keep: how many stay, those in use among them.
    """
    for name in used:
        with contextlib.suppress(OSError):
            os.utime(root / name)
    times: dict[Path, float] = {}
    for path in root.iterdir() if root.is_dir() else ():
        with contextlib.suppress(OSError):
            if path.is_dir() and path.name not in used:
                times[path] = path.stat().st_mtime
    for path in sorted(times, key=times.__getitem__, reverse=True)[max(keep - len(used), 0) :]:
        shutil.rmtree(path, ignore_errors=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty when there is none that can be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: Mapping[str, Any], *, indent: int | None = 1) -> None:
    """Write a JSON object, whole or not at all."""
    temporary = path.with_name(f"{HALF_MADE}{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    temporary.write_text(json.dumps(value, indent=indent, separators=None if indent else (",", ":")))
    temporary.replace(path)
