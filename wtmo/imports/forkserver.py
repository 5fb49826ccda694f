"""Loads files for :class:`wtmo.imports.sandbox.Sandbox`: ``python -m wtmo.imports.forkserver``, its orders on standard input.

It loads Airflow and the shared modules once, then forks a child a file, which costs milliseconds instead of seconds. It runs
no code of a file itself, holds no secret, and is in the namespaces that the children inherit.

Messages in both directions are JSON with a length of 4 bytes, big-endian, before it. The first one to it is the
configuration (:func:`main`), each further one a file: ``{"number", "name", "text" (base64), "what": "load" | "record" | "describe",
"traced", "root", "bundle", "date"}`` (the last three for ``describe``, which reads the file where it lies). Its answer: ``{"number", "code" (exit code; negative: signal), "late", "too_much", "seconds", "memory" (bytes of the
pages that it wrote or first read), "said" (end of its output), "result"}``; the result is the text that the child wrote, not
looked at here. A child has a pipe of its own, so it can say something false about its own file only. When standard input ends,
all ends.
"""

from __future__ import annotations

import base64
import faulthandler
import gc
import io
import json
import os
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from wtmo.imports import isolation
from wtmo.imports.isolation import Isolation
from wtmo.local.pods import launch

RESULT_SIZE = 64 * isolation.MIB
SAID_SIZE = 64 * 1024
PATIENCE = 2.0
"""Seconds between Airflow's own time-out, which names a line, and the kill. In between, the traceback is dumped."""
DESCRIBING_SECONDS = 90.0
"""What telling all about a file's DAGs may take, on top of loading it: one of 600 tasks takes seconds."""
_TICK = 0.02
_CHUNK = 1 << 16
_LARGEST_READ = 1 << 20


def read_message(stream: io.RawIOBase) -> dict[str, Any] | None:
    """The next message; None at the end of the stream.

    :param stream: without a buffer: what is in one, ``select`` does not see.
    """
    head = _read(stream, 4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">I", head)
    body = _read(stream, length)
    return json.loads(body) if len(body) == length else None


def _read(stream: io.RawIOBase, length: int) -> bytes:
    found = bytearray()
    while len(found) < length and (part := stream.read(min(length - len(found), _LARGEST_READ))):
        found += part
    return bytes(found)


def write_message(stream: BinaryIO | io.RawIOBase, message: dict[str, Any]) -> None:
    """Write a message, whole."""
    body = json.dumps(message).encode()
    rest = memoryview(struct.pack(">I", len(body)) + body)
    while rest:
        rest = rest[stream.write(rest) or 0 :]
    stream.flush()


@dataclass
class _Child:
    number: int
    pid: int
    folder: Path
    result: int
    output: int
    began: float
    deadline: float
    written: bytearray = field(default_factory=bytearray)
    said: bytearray = field(default_factory=bytearray)
    late: bool = False
    too_much: bool = False

    def drain(self) -> None:
        """Take what is in the two pipes, never waiting."""
        self.written += _available(self.result)
        self.said += _available(self.output)
        del self.said[:-SAID_SIZE]
        if len(self.written) > RESULT_SIZE and not self.too_much:
            self.too_much = True
            self.kill()
        if self.too_much:
            self.written.clear()

    def kill(self) -> None:
        for end in (os.kill, os.killpg):
            try:
                end(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue


def _available(descriptor: int) -> bytes:
    parts = []
    for _ in range(16):
        try:
            part = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


class _Server:
    def __init__(self, configuration: dict[str, Any], requests: io.RawIOBase, answers: BinaryIO) -> None:
        self.isolation = Isolation(
            **configuration["isolation"] | {"unshare": tuple(configuration["isolation"]["unshare"])}
        )
        self.home = Path(configuration["home"])
        self.readable = [Path(path) for path in configuration["readable"]]
        self.seconds: float = configuration["seconds"]
        self.memory: int = configuration["memory"]
        self.bundle: str = configuration["bundle"]
        self.describes: bool = configuration["describes"]
        self.requests, self.answers = requests, answers
        self.children: dict[int, _Child] = {}
        self.own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY) if self.isolation.unshare else -1

    def run(self) -> None:
        source = self.requests.fileno()
        try:
            while True:
                waiting = [source, *(fd for child in self.children.values() for fd in (child.result, child.output))]
                ready, _, _ = select.select(waiting, [], [], _TICK if self.children else None)
                if source in ready:
                    request = read_message(self.requests)
                    if request is None:
                        break
                    self.start(request)
                for child in list(self.children.values()):
                    self.look_after(child)
        finally:
            for child in self.children.values():
                child.kill()
                os.waitpid(child.pid, 0)

    def start(self, request: dict[str, Any]) -> None:
        folder = self.home / "loads" / str(request["number"])
        folder.mkdir(parents=True)
        result, result_end = os.pipe()
        output, output_end = os.pipe()
        began = time.monotonic()
        pid = isolation.fork_alone(self.isolation, self.own_namespace)
        if pid == 0:
            self.become(request, folder, result_end, output_end)
        os.close(result_end)
        os.close(output_end)
        os.set_blocking(result, False)
        os.set_blocking(output, False)
        deadline = began + self.limit(request) + 2 * PATIENCE
        self.children[pid] = _Child(request["number"], pid, folder, result, output, began, deadline)

    def limit(self, request: dict[str, Any]) -> float:
        """Seconds that a file's process has. Airflow ends the loading itself after :attr:`seconds`."""
        return self.seconds + (DESCRIBING_SECONDS if request["what"] == "describe" else 0)

    def become(self, request: dict[str, Any], folder: Path, result: int, output: int) -> None:
        """In the child: load the file, write what came of it, end. Never returns."""
        code = 1
        try:
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            # Above these two nothing stays open: neither another file's pipe nor the way to the importing process.
            os.dup2(result, 3)
            os.closerange(4, max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 4096))
            signal.set_wakeup_fd(-1)
            if self.isolation.unshare:
                isolation.own_folder(folder)
            os.chdir(folder)
            # Libraries that make a temporary file when they are imported find the folder that can be written.
            tempfile.tempdir = os.fspath(folder)
            text = base64.b64decode(request["text"])
            isolation.confine(
                self.isolation,
                temporary=folder,
                readable=self.readable,
                memory=self.memory,
                seconds=self.limit(request),
            )
            faulthandler.dump_traceback_later(self.limit(request) + PATIENCE, file=2)
            outcome = _outcome(request, text, folder, self.bundle)
            faulthandler.cancel_dump_traceback_later()
            with os.fdopen(3, "wb") as stream:
                stream.write(json.dumps(outcome).encode())
            code = 0
        except BaseException:
            # Not the file's failure (that is an outcome), or one in which not even telling it worked.
            traceback.print_exc()
        finally:
            os._exit(code)

    def look_after(self, child: _Child) -> None:
        child.drain()
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid == 0:
            if time.monotonic() > child.deadline and not child.late:
                child.late = True
                child.kill()
            return
        child.kill()  # what it left behind in its group
        child.drain()
        os.close(child.result)
        os.close(child.output)
        del self.children[child.pid]
        shutil.rmtree(child.folder, ignore_errors=True)
        answer = {
            "number": child.number,
            "code": os.waitstatus_to_exitcode(status),
            "late": child.late,
            "too_much": child.too_much,
            "seconds": time.monotonic() - child.began,
            "memory": usage.ru_minflt * resource.getpagesize(),
            "said": child.said.decode(errors="replace"),
            "result": child.written.decode(errors="replace"),
        }
        write_message(self.answers, answer)

    def preload(self) -> None:
        """Load what files need, so that children share it."""
        # The settings load the shared modules in processes that fork, which they know by their command line.
        sys.argv = [sys.argv[0], "dag-processor"]
        from wtmo.imports import loading

        loading.warm_up(self.bundle, describes=self.describes)
        gc.collect()
        gc.freeze()


def _outcome(request: dict[str, Any], text: bytes, folder: Path, bundle: str) -> dict[str, Any]:
    from wtmo.imports import loading

    if request["what"] == "record":
        return loading.record(request["name"], text, folder)
    if request["what"] == "describe":
        return loading.describe(
            request["name"], Path(request["root"]), request["bundle"], request["date"], traced=request["traced"]
        )
    return loading.load(request["name"], text, folder, bundle, traced=request["traced"])


def main() -> None:
    """Serve until standard input ends."""
    requests, answers = io.FileIO(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what the modules print goes where their warnings go
    configuration = read_message(requests)
    if configuration is None:
        return
    if configuration["isolation"]["unshare"]:
        launch.enter_root(configuration["visible"], [], [])
    home = Path(configuration["home"])
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(home)
    isolation.close_to_debuggers()
    server = _Server(configuration, requests, answers)
    try:
        server.preload()
    except BaseException:
        write_message(answers, {"error": traceback.format_exc()})
        raise
    write_message(answers, {"ready": True})
    server.run()


if __name__ == "__main__":
    main()
