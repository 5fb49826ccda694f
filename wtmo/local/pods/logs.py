"""A container's log: a file on disk, written line by line with the time, followed by any number of readers.

One line of the file is one line of output in the kubelet's layout (CRI): ``<RFC 3339 time, ns> <F|P> <bytes>``. ``P`` marks a part of a
line longer than 16 KiB; the ``F`` after it ends the line. Bytes are kept as they come, whatever their encoding. A log is cut
off at 256 MiB, so that a program that never stops writing does not fill the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BLOCK = 64 * 1024
LONGEST_PART = 16 * 1024
LARGEST_LOG = 256 * 1024 * 1024
_TIME_WIDTH = len("2026-06-01T00:00:00.000000000Z")
_TAG = _TIME_WIDTH + 1
_DATA = _TIME_WIDTH + 3


def nano_timestamp(nanoseconds: int) -> str:
    """RFC 3339 with nine decimals, always of the same width, so that texts compare as times do."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


class ContainerLog:
    """One container's log.

    :param path: its file, which need not exist yet.
    :param closed: nothing more will be written (the container ended before this server started). Default: false.
    """

    def __init__(self, path: Path, *, closed: bool = False) -> None:
        self._path = path
        self._closed = closed
        self._rest = b""
        self._time = 0
        self._full = False
        self._changed = asyncio.Event()

    @property
    def path(self) -> Path:
        """Its file."""
        return self._path

    @property
    def exists(self) -> bool:
        """Whether the container ever started."""
        return self._path.exists()

    def open(self) -> None:
        """The container starts: from now on there is something to read."""
        self._path.touch()

    def append(self, output: bytes) -> None:
        """Add what the container wrote."""
        *lines, self._rest = (self._rest + output).split(b"\n")
        entries = [entry for line in lines for entry in self._entries(line)]
        while len(self._rest) > LONGEST_PART:
            entries.append(self._entry(b"P", self._rest[:LONGEST_PART]))
            self._rest = self._rest[LONGEST_PART:]
        self._write(entries)

    def flush(self) -> None:
        """Add the last line if it did not end."""
        if self._rest:
            rest, self._rest = self._rest, b""
            self._write(self._entries(rest))

    def close(self) -> None:
        """Let the followers go: call it when the container's status says that it ended."""
        self._closed = True
        self._wake()

    def _entries(self, line: bytes) -> list[bytes]:
        parts = [line[start : start + LONGEST_PART] for start in range(0, len(line), LONGEST_PART)] or [b""]
        return [*(self._entry(b"P", part) for part in parts[:-1]), self._entry(b"F", parts[-1])]

    def _entry(self, tag: bytes, data: bytes) -> bytes:
        # A clock set back must not unsort the log, and no two lines have the same time.
        self._time = max(time.time_ns(), self._time + 1)
        return nano_timestamp(self._time).encode() + b" " + tag + b" " + data + b"\n"

    def _write(self, entries: list[bytes]) -> None:
        if not entries or self._full:
            return
        with self._path.open("ab") as file:
            if file.tell() > LARGEST_LOG:
                self._full = True
                entries = [self._entry(b"F", b"wtmo: the log is full (256 MiB); what follows is not kept")]
            file.write(b"".join(entries))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def read(
        self,
        *,
        follow: bool = False,
        timestamps: bool = False,
        since: str | None = None,
        tail: int | None = None,
    ) -> AsyncIterator[bytes]:
        """Blocks of whole entries, at most about 64 KiB each.

        :param follow: go on until :meth:`close`. Default: end with what there is.
        :param timestamps: put the time and a blank before each line. Default: no.
        :param since: leave out lines older than this :func:`nano_timestamp`. Default: none.
        :param tail: only this many of the last lines. Default: all.
        """
        start = 0 if since is None and tail is None else await asyncio.to_thread(self._start, since, tail)
        continued = False
        rest = b""
        with self._path.open("rb") as file:
            file.seek(start)
            while True:
                if block := file.read(BLOCK):
                    whole, newline, rest = (rest + block).rpartition(b"\n")
                    if newline:
                        text, continued = _shown(whole.split(b"\n"), timestamps=timestamps, continued=continued)
                        yield text
                elif self._closed or not follow:
                    return
                else:
                    await self._changed.wait()

    def _start(self, since: str | None, tail: int | None) -> int:
        """Where in the file to begin."""
        earliest = (since or "").encode()
        starts: deque[int] = deque(maxlen=tail)
        position, begins = 0, True
        with self._path.open("rb") as file:
            for entry in file:
                if begins and entry[:_TIME_WIDTH] >= earliest:
                    if tail is None:
                        return position
                    starts.append(position)
                begins = entry[_TAG : _TAG + 1] == b"F"
                position += len(entry)
        return starts[0] if starts else position

    def last_lines(self, *, lines: int, size: int) -> str:
        """The end of the log as text.

        :param lines: at most so many lines.
        :param size: at most so many bytes.
        """
        with self._path.open("rb") as file:
            start = max(0, file.seek(0, 2) - size - lines * (_DATA + 1) - LONGEST_PART)
            file.seek(start)
            entries = file.read().split(b"\n")[:-1]
        if start:
            del entries[0]
        text, _ = _shown(entries[-lines:], timestamps=False, continued=False)
        return text[-size:].decode(errors="replace")


def _shown(entries: list[bytes], *, timestamps: bool, continued: bool) -> tuple[bytes, bool]:
    """Entries as a reader sees them, and whether the last one's line goes on.

    :param continued: the first entry goes on with a line that is already begun.
    """
    pieces: list[bytes] = []
    for entry in entries:
        if timestamps and not continued:
            pieces += (entry[:_TIME_WIDTH], b" ")
        pieces.append(entry[_DATA:])
        continued = entry[_TAG : _TAG + 1] == b"P"
        if not continued:
            pieces.append(b"\n")
    return b"".join(pieces), continued
