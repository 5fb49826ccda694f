"""Translation in processes of its own: two at once, bounded in time and memory.

The translator reads what others wrote. A file that sends it into an endless loop, eats the memory or ends its process is one
refused file, not the end of the import.

Run as a module, it reads requests (``{"name": ..., "source": <base64>}``, one JSON a line) from standard input and writes one
answer a line: ``{"text": ..., "changes": [[rule, line, what], ...], "problems": [[line, reason], ...]}``.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from utils.config import ROOT
from wtmo.imports.plan import Change, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROCESSES = 2
# The largest file of the generator takes 3 s.
FILE_SECONDS = 60
MEMORY = 2 << 30
# A further process is worth its start from this many bytes on.
_WORTH_A_PROCESS = 100_000


@dataclass(frozen=True)
class Translated:
    """What became of one file: ``text``, or else ``problems``."""

    name: str
    text: bytes
    changes: tuple[Change, ...]
    problems: tuple[Problem, ...]


def translate_all(
    files: Sequence[tuple[str, bytes]], *, seconds: float = FILE_SECONDS, command: Sequence[str] = ()
) -> Iterator[Translated]:
    """Translate files, in the order in which they are done.

    :param files: names and bytes.
    :param seconds: what one file may take.
    :param command: what to run instead of this module, for tests.
    """
    shares = _shares(files)
    done: queue.Queue[Translated | BaseException | None] = queue.Queue()

    def work(share: list[tuple[str, bytes]]) -> None:
        try:
            for result in _translate(share, seconds, command or (sys.executable, "-m", __name__)):
                done.put(result)
        except BaseException as error:
            done.put(error)
        finally:
            done.put(None)

    threads = [threading.Thread(target=work, args=(share,), daemon=True) for share in shares]
    for thread in threads:
        thread.start()
    left = len(threads)
    while left:
        result = done.get()
        if isinstance(result, BaseException):
            raise result
        if result is None:
            left -= 1
        else:
            yield result


def _shares(files: Sequence[tuple[str, bytes]]) -> list[list[tuple[str, bytes]]]:
    """The files in as many parts of about the same size as it is worth to start processes for."""
    size = sum(len(content) for _, content in files)
    shares: list[list[tuple[str, bytes]]] = [[] for _ in range(min(PROCESSES, 1 + size // _WORTH_A_PROCESS))]
    sizes = [0] * len(shares)
    for file in sorted(files, key=lambda file: len(file[1]), reverse=True):
        least = sizes.index(min(sizes))
        shares[least].append(file)
        sizes[least] += len(file[1])
    return [share for share in shares if share]


def _translate(files: list[tuple[str, bytes]], seconds: float, command: Sequence[str]) -> Iterator[Translated]:
    """One process a time; a file on which it ends or hangs is refused, and the next process takes the rest."""
    left = list(files)
    while left:
        with tempfile.TemporaryFile() as requests:
            for name, content in left:
                requests.write(_line({"name": name, "source": base64.b64encode(content).decode()}))
            requests.seek(0)
            process = subprocess.Popen(
                command, stdin=requests, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=_environment()
            )
        try:
            answers = _lines(process, seconds)
            for answer in answers:
                name, _ = left.pop(0)
                changes = tuple(Change(rule, line, what) for rule, line, what in answer["changes"])
                problems = tuple(Problem(reason, line) for line, reason in answer["problems"])
                yield Translated(name, answer["text"].encode(), changes, problems)
                if not left:
                    return
        finally:
            hung = process.poll() is None
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        name, _ = left.pop(0)
        why = f"takes longer than {seconds:.0f} s" if hung else f"ends its process (status {process.returncode})"
        yield Translated(name, b"", (), (Problem(f"its translation {why}"),))


def _lines(process: subprocess.Popen[bytes], seconds: float) -> Iterator[dict[str, Any]]:
    """The answers of a process, until it ends or one takes too long."""
    if not process.stdout:
        return
    descriptor = process.stdout.fileno()
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        end = time.monotonic() + seconds
        while selector.select(max(0.0, end - time.monotonic())):
            part = os.read(descriptor, 1 << 16)
            if not part:
                process.wait(seconds)
                return
            *lines, buffer = (buffer + part).split(b"\n")
            for line in lines:
                yield json.loads(line)
                end = time.monotonic() + seconds


def _environment() -> dict[str, str]:
    """Nothing of ours: no address, no secret."""
    return {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    import resource

    from wtmo.imports.translate import TranslationError, translate

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for request in map(json.loads, requests):
        text, changes, problems = "", [], []
        try:
            result = translate(base64.b64decode(request["source"]), request["name"])
            text = result.text
            changes = [[change.rule, change.line, change.what] for change in result.changes]
        except TranslationError as error:
            problems = [[problem.line, problem.reason] for problem in error.problems]
        except (RecursionError, MemoryError):
            problems = [[None, "is nested too deeply, or too large, to be translated"]]
        answers.write(_line({"text": text, "changes": changes, "problems": problems}))
        answers.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
