"""A Docker engine of the tests' own, and an image made of this machine's Python: no registry is asked."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from utils.config import ROOT, environment

PYTHON_IMAGE = "test/python:1"  # the entry point is `python -c`
SHELL_IMAGE = "alpine:3.24.2"  # the name of the XCom sidecar's image; a shell and little more
UNPACKED = ROOT / ".local" / "docker" / "engine"  # by .ci/install-engine
_START_TIMEOUT = 60.0
_PROGRAMS = ("cat", "env", "grep", "id", "ls", "pgrep", "sh", "sleep", "touch", "true")
_PROJECT = ("utils/__init__.py", "utils/config.py", "wtmo/__init__.py", "wtmo/local/__init__.py")
_LEFT_OUT = {"site-packages", "test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "pydoc_data", "turtledemo"}


class NoEngineError(Exception):
    """Why there is none here."""


class DockerEngine:
    """One engine, started when made."""

    def __init__(self) -> None:
        self._path = f"{environment()['PATH']}:{UNPACKED / 'usr/bin'}:{UNPACKED / 'usr/sbin'}"
        libraries = ":".join(map(str, (UNPACKED / "lib").glob("*")))
        self._env = environment() | {"PATH": self._path} | ({"LD_LIBRARY_PATH": libraries} if libraries else {})
        missing = [name for name in ("dockerd", "containerd", "runc", "docker") if not self._which(name)]
        if sys.platform != "linux" or os.geteuid() != 0:
            raise NoEngineError("starting an engine takes root on Linux")
        if missing:
            raise NoEngineError(f"no {', '.join(missing)}: .ci/install-engine brings them")
        # Short: the path of a socket has 108 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="wtmo-engine-"))
        self.address = f"unix://{self.folder}/socket"
        self._process = self._start()
        try:
            self._wait()
            self._make_images()
        except BaseException:
            self.end()
            raise

    def _which(self, name: str) -> str | None:
        return shutil.which(name, path=self._path)

    def _start(self) -> subprocess.Popen[bytes]:
        argv = [
            # It ends with the tests, also when they are killed.
            "setpriv", "--pdeathsig", "TERM", str(self._which("dockerd")), "--host", self.address, "--data-root", str(self.folder / "data"),
            "--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid"),
            "--bridge=none", "--iptables=false", "--ip-masq=false",
        ]  # fmt: skip
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(argv, env=self._env, stdout=log, stderr=log, start_new_session=True)

    def _wait(self) -> None:
        end = time.monotonic() + _START_TIMEOUT
        while self.docker("version", check=False).returncode != 0:
            log = (self.folder / "log").read_text(errors="replace")
            if self._process.poll() is not None:
                raise NoEngineError(f"dockerd ended with {self._process.returncode}: {log[-1500:]}")
            if time.monotonic() > end:
                raise NoEngineError(f"dockerd did not answer within {_START_TIMEOUT:.0f} s: {log[-1500:]}")
            time.sleep(0.1)

    def docker(
        self, *arguments: str, check: bool = True, input: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the docker command on this engine."""
        argv = [str(self._which("docker")), "--host", self.address, *arguments]
        return subprocess.run(argv, env=self._env, input=input, check=check, capture_output=True, timeout=60)

    def containers(self) -> list[str]:
        """Names of all containers, ended ones too."""
        return self.docker("ps", "--all", "--format", "{{.Names}}").stdout.decode().split()

    def _make_images(self) -> None:
        python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
        changes = [
            f'ENTRYPOINT ["{python}", "-c"]', "ENV PATH=/usr/bin:/bin PYTHONPATH=/project",
            "ENV OF_THE_IMAGE=yes", "WORKDIR /tmp",
        ]  # fmt: skip
        options = [word for change in changes for word in ("--change", change)]
        root = _root(python)
        self.docker("import", *options, "-", PYTHON_IMAGE, input=root)
        self.docker("import", "--change", "ENV PATH=/usr/bin:/bin", "-", SHELL_IMAGE, input=root)

    def end(self) -> None:
        """End the engine and remove what it stored."""
        with contextlib.suppress(subprocess.SubprocessError):  # one that never started has no containers
            if left := self.containers():
                self.docker("rm", "--force", *left)
        # SIGTERM can take it 15 s; nothing that it has to put in order is kept. Its containerd dies with it.
        self._process.kill()
        self._process.wait()
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if (point := line.split()[1]).startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", point], timeout=10, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def _root(python: Path) -> bytes:
    """A root file system with this machine's Python, a shell, and the part of the project that the recorder needs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def add(source: Path, target: str, left_out: frozenset[str] = frozenset()) -> None:
            def keep(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
                name = Path(item.name).name
                return None if name in left_out or name.startswith("config-") else item

            tar.add(source, target.lstrip("/"), filter=keep)

        programs = {name: shutil.which(name) for name in _PROGRAMS}
        found = {name: Path(path).resolve() for name, path in programs.items() if path}
        for library in _libraries([python.resolve(), *found.values()]):
            add(library.resolve(), str(library))
        for name, path in found.items():
            add(path, f"usr/bin/{name}")
        add(python.resolve(), str(python))
        for target, name in ((str(python), "usr/bin/python"), ("/usr/bin/sh", "bin/sh")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        modules = Path(sys.base_prefix, "lib", python.name)
        add(modules, str(modules), frozenset(_LEFT_OUT))
        for name in _PROJECT:
            add(ROOT / name, f"project/{name}")
        add(ROOT / "wtmo/local/pods", "project/wtmo/local/pods")
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    return buffer.getvalue()


def _libraries(programs: list[Path]) -> set[Path]:
    found: set[Path] = set()
    for program in programs:
        listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, timeout=10, check=False).stdout
        found |= {Path(word) for line in listed.splitlines() for word in line.split() if word.startswith("/")}
    return found
