"""How a container becomes processes on this machine. A third way is :mod:`wtmo.local.pods.docker`.

:class:`NamespaceRuntime` (Linux, as root or where unprivileged user namespaces are allowed): mount and process-id namespaces
of its own, a fresh root (see :mod:`wtmo.local.pods.launch`), volumes, exec. The network is the machine's: the stand-ins listen on 127.0.0.1.

:class:`ProcessRuntime` (macOS, or no namespaces): a plain process in a session of its own. There are no mounts: ``WTMO_VOLUMES``, a
JSON object, says which folder of this machine each mount path stands for, and ``WTMO_XCOM_DIR`` the one for ``/airflow/xcom``. A
container's own command (an image with no stand-in program) is refused, with one exception: the XCom sidecar, which is
imitated. Of exec it answers the two commands that the XCom of ``KubernetesPodOperator`` consists of, running nothing, and
refuses all else.

Both enforce limits as :mod:`wtmo.local.pods.limits` tells; what exec runs is not counted.

In both a container's processes get no variable of the server's environment but ``WTMO_PLATFORM``, by which the platform finds
its processes, and die with the server, also on kill -9 (``PR_SET_PDEATHSIG``; a plain process's own children, and macOS, need the
platform's guard for that).

As in Kubernetes the program is process 1 of its container under namespaces: a SIGTERM that it does not handle does nothing, and
it is killed at the end of the grace period.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from wtmo.errors import WtmoError
from wtmo.local.pods import launch, xcom
from wtmo.local.pods.errors import ApiError, bad_request
from wtmo.local.pods.limits import NO_LIMITS, ControlGroups, Group, Limits, watch_memory

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Self

    from wtmo.local.pods.images import ImageTable, Program

log = logging.getLogger(__name__)

PLATFORM_VARIABLE = "WTMO_PLATFORM"
VOLUMES_VARIABLE = "WTMO_VOLUMES"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STATUS_FILE = "status"
WRAPPER_FILE = "wrapper"  # what unshare says
_LAUNCHER = (sys.executable, "-I", "-S", str(Path(launch.__file__).resolve()))
_PROBE_TIMEOUT = 10.0
_SETUP_TIMEOUT = 10.0
_LONGEST_COMMAND = 4096
_REFUSED_CODE = 126  # a shell's code for what it may not run


class StartError(Exception):
    """A container that cannot be started here, and why."""


class ConfigError(Exception):
    """A container that cannot be made of its spec: the kubelet lets it wait with ``CreateContainerConfigError``."""


@dataclass(frozen=True)
class Mount:
    """A volume in a container.

    :param source: its folder on this machine.
    :param target: where the container sees it.
    """

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Orders:
    """What to start.

    :param argv: program and arguments; empty is a :class:`StartError`.
    :param env: its environment, whole.
    :param folder: the container's own, existing folder on this machine.
    :param own_command: no stand-in: ``argv`` is what the pod says.
    :param limits: what it may use. Default: no limits.
    :param image: the engine's image, for the runtime that has an engine.
    :param pod: the pod's object, for what only some runtimes heed.
    :param container: the container's spec, likewise.
    """

    argv: Sequence[str]
    env: dict[str, str]
    folder: Path
    mounts: tuple[Mount, ...] = ()
    own_command: bool = False
    limits: Limits = NO_LIMITS
    image: str = ""
    pod: Mapping[str, Any] = field(default_factory=dict)
    container: Mapping[str, Any] = field(default_factory=dict)


class Exec(Protocol):
    """A command that runs in a container: exec."""

    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    async def write(self, data: bytes) -> None:
        """Give it standard input."""

    def end_input(self) -> None:
        """It gets no more standard input."""

    async def wait(self) -> int:
        """Its exit code."""

    def kill(self) -> None:
        """End it at once."""


class Running(Protocol):
    """A container's processes."""

    output: asyncio.StreamReader

    async def wait(self) -> int:
        """Wait for the end. Returns the exit code; 128 + number if a signal ended it."""

    def start_error(self) -> str | None:
        """Why the program could not be started, known once it ended; None if it was."""

    def oom_killed(self) -> bool:
        """Whether it was killed because it used more memory than its limit, known once it ended."""

    def terminate(self) -> None:
        """Ask the program to end (SIGTERM)."""

    def kill(self) -> None:
        """End all processes at once (SIGKILL)."""

    async def exec(self, command: list[str], *, stdin: bool) -> Exec:
        """Run a command in the container.

        :raises ApiError: 400 if the container has ended meanwhile.
        """


class Runtime(Protocol):
    """A way to run containers."""

    name: str

    async def program(self, image: str, policy: str, images: ImageTable) -> Program:
        """What runs in place of an image; pulls it where there is a registry.

        :param policy: ``Always``, ``IfNotPresent`` or ``Never``.
        :param images: the stand-ins.
        :raises ImageError: nothing can.
        """

    async def start(self, orders: Orders) -> Running:
        """Start a container.

        :raises StartError: if it cannot be.
        :raises ConfigError: if it never can be.
        """

    async def close(self) -> None:
        """Let go of what it holds; no container runs any more."""


def _exit_code(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode


async def _spawn(
    argv: Sequence[str], *, env: dict[str, str], stdin: bool, stderr: int
) -> tuple[Process, asyncio.StreamReader]:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=PIPE if stdin else DEVNULL, stdout=PIPE, stderr=stderr, env=env, cwd="/", start_new_session=True
    )
    if process.stdout is None:
        raise RuntimeError("a process started with a pipe has none")
    return process, process.stdout


class _Launched:
    """A process that was handed its orders through :mod:`wtmo.local.pods.launch`."""

    def __init__(self, process: Process, output: asyncio.StreamReader, orders: Orders, group: Group) -> None:
        self.process = process
        self.output = output
        self._status = orders.folder / STATUS_FILE
        self._wrapper = orders.folder / WRAPPER_FILE
        self._group = group
        self._oom_killed = False
        self._memory = None if "memory" in group.folders else orders.limits.memory

    @classmethod
    async def launch(
        cls,
        wrapper: Sequence[str],
        orders: Orders,
        *,
        root: object,
        cwd: str,
        platform: str | None,
        groups: ControlGroups,
    ) -> Self:
        """Start the launcher and hand it its orders.

        :param wrapper: what runs the launcher: nothing, or unshare.
        :param root: as :mod:`wtmo.local.pods.launch` wants it.
        """
        if not orders.argv:
            raise StartError("no command specified: the image has no stand-in that would bring one")
        (orders.folder / STATUS_FILE).unlink(missing_ok=True)
        marker = {PLATFORM_VARIABLE: platform} if platform else {}
        env = {"PATH": SEARCH_PATH} | marker
        group = groups.make(orders.limits)
        try:
            with (orders.folder / WRAPPER_FILE).open("wb") as said:
                process, output = await _spawn([*wrapper, *_LAUNCHER], env=env, stdin=True, stderr=said.fileno())
        except BaseException:
            group.remove()
            raise
        message = {
            "argv": list(orders.argv),
            "env": orders.env | marker,
            "cwd": cwd,
            "status": str(orders.folder / STATUS_FILE),
            "parent": os.getpid(),
            "groups": group.entries,
            "root": root,
        }
        await _feed(process, json.dumps(message).encode())
        _end_input(process)
        return cls(process, output, orders, group)

    async def wait(self) -> int:
        watch = asyncio.create_task(self._watch(self._memory)) if self._memory else None
        try:
            code = _exit_code(await self.process.wait())
        finally:
            if watch is not None:
                watch.cancel()
        if code == 1 and self._status_lines() and self.wrapper_error():
            code = 128 + signal.SIGKILL  # unshare fails to end as its child did: nobody can handle SIGKILL
        self._oom_killed = self._oom_killed or self._group.oom_killed()
        await asyncio.to_thread(self._group.remove)
        return code

    async def _watch(self, limit: int) -> None:
        def kill() -> None:
            self._oom_killed = True
            self.kill()

        await watch_memory(self.process.pid, limit, kill)

    def kill(self) -> None:
        """As :class:`Running` says."""
        raise NotImplementedError

    def oom_killed(self) -> bool:
        return self._oom_killed

    def start_error(self) -> str | None:
        lines = self._status_lines()
        return lines[-1].removeprefix("error ") if lines and lines[-1].startswith("error ") else None

    def wrapper_error(self) -> str:
        """What the wrapper complained of."""
        return self._wrapper.read_text(encoding="utf-8", errors="replace").strip() if self._wrapper.exists() else ""

    def pid(self) -> int | None:
        """The program's process id on this machine; None before all is set up, and after the end."""
        lines = self._status_lines() if self.process.returncode is None else []
        return int(lines[0]) if lines and lines[0].isdigit() else None

    def _status_lines(self) -> list[str]:
        if not self._status.exists():
            return []
        return self._status.read_text(encoding="utf-8").split("\n")[:-1]


async def _feed(process: Process, data: bytes) -> None:
    if process.stdin is not None:
        with contextlib.suppress(ConnectionError):  # it ended or does not read: its exit code tells
            process.stdin.write(data)
            await process.stdin.drain()


def _end_input(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()


class _ProcessExec:
    """An exec that is a real process."""

    def __init__(self, process: Process, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        self._process = process
        self.stdout = stdout
        self.stderr = stderr

    async def write(self, data: bytes) -> None:
        await _feed(self._process, data)

    def end_input(self) -> None:
        _end_input(self._process)

    async def wait(self) -> int:
        return _exit_code(await self._process.wait())

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()


class _NamespaceContainer(_Launched):
    """``process`` is ``unshare``, the parent of the container's process 1."""

    nsenter: tuple[str, ...] = ()
    env: Mapping[str, str] = MappingProxyType({})

    def terminate(self) -> None:
        if (pid := self.pid()) is not None:
            with contextlib.suppress(ProcessLookupError):  # it ended, unshare is about to
                os.kill(pid, signal.SIGTERM)
        elif self.process.returncode is None:
            self.process.kill()  # not set up yet: there is no program to ask

    def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()  # the container's process 1 dies with it, and with that all others

    async def exec(self, command: list[str], *, stdin: bool) -> Exec:
        """Run a command in the container's namespaces; waits until they are set up."""
        end = asyncio.get_running_loop().time() + _SETUP_TIMEOUT
        while (pid := self.pid()) is None and self.process.returncode is None:
            if asyncio.get_running_loop().time() > end:
                raise ApiError(504, "Timeout", f"the container was not set up within {_SETUP_TIMEOUT:.0f} s")
            await asyncio.sleep(0.02)
        if pid is None:
            raise bad_request("the container has ended")
        argv = [*self.nsenter, "--target", str(pid), "--", *command]
        process, stdout = await _spawn(argv, env=dict(self.env), stdin=stdin, stderr=PIPE)
        if process.stderr is None:
            raise RuntimeError("a process started with a pipe has none")
        return _ProcessExec(process, stdout, process.stderr)


class NamespaceRuntime:
    """Containers in Linux namespaces. See the module's text.

    :param visible: folders and files of this machine that containers must see (read-only) although they may lie under
        ``/tmp`` or ``/run``, which are the container's own.
    :param masked: folders that containers see empty.
    :param platform: the value of ``WTMO_PLATFORM``, if any.
    """

    name = "namespace"

    def __init__(
        self,
        *,
        visible: Iterable[Path],
        masked: Iterable[Path],
        platform: str | None,
        groups: ControlGroups | None = None,
    ) -> None:
        user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
        self._wrapper = (
            *("setpriv", "--pdeathsig", "KILL", "unshare"),
            *user,
            *("--mount", "--pid", "--fork", "--kill-child"),
        )
        same_user = ("--user", "--preserve-credentials") if user else ()
        self._nsenter = ("setpriv", "--pdeathsig", "KILL", "nsenter", *same_user, "--mount", "--pid")
        pairs = [(str(path.resolve()), target) for path in visible for target in {str(path), str(path.resolve())}]
        self._visible = sorted(set(pairs), key=lambda pair: pair[1])
        self._masked = [str(path.resolve()) for path in masked]
        self._platform = platform
        self.groups = groups or ControlGroups()

    async def program(self, image: str, policy: str, images: ImageTable) -> Program:
        """The stand-in; nothing is pulled, whatever the policy."""
        del policy
        return images.program(image)

    async def close(self) -> None:
        """Remove the control groups."""
        self.groups.close()

    async def start(self, orders: Orders) -> _NamespaceContainer:
        """Start a container in namespaces of its own."""
        mounts = [[str(mount.source.resolve()), mount.target, mount.read_only] for mount in orders.mounts]
        root = {"visible": self._visible, "masked": self._masked, "mounts": mounts}
        container = await _NamespaceContainer.launch(
            self._wrapper,
            orders,
            root=root,
            cwd=str(launch.TEMPORARY),
            platform=self._platform,
            groups=self.groups,
        )
        container.nsenter, container.env = self._nsenter, orders.env
        return container

    async def probe(self, folder: Path) -> str | None:
        """Run ``true`` in a container. Returns why that did not work, None if it did.

        :param folder: an existing folder for it.
        """
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                container = await self.start(_trial(folder))
                await container.output.read()
                code = await container.wait()
        except (OSError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
        if code == 0:
            return None
        return container.start_error() or container.wrapper_error() or f"exit code {code}"


class _PlainContainer(_Launched):
    """A plain process, the leader of a session and process group."""

    async def wait(self) -> int:
        code = await super().wait()
        self._signal_group()  # what it left behind
        return code

    def terminate(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()

    def kill(self) -> None:
        if self.process.returncode is None:
            self._signal_group()

    def _signal_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
            os.killpg(self.process.pid, signal.SIGKILL)

    async def exec(self, command: list[str], *, stdin: bool) -> Exec:
        del stdin
        return _refused(command)


def _refusal(command: object) -> bytes:
    text = f"exec of {command!r} is refused: the process runtime has no isolation and only answers the XCom commands\n"
    return text.encode()


def _refused(command: list[str]) -> Exec:
    # Not an HTTP error: the kubernetes client loses the text of one that comes before the websocket.
    return _Answer(stderr=_refusal(command), code=_REFUSED_CODE)


class _ImitatedSidecar:
    """The XCom sidecar without a process: waits until it is told to end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.output = asyncio.StreamReader()

    def _end(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)
            self.output.feed_eof()

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def start_error(self) -> str | None:
        return None

    def oom_killed(self) -> bool:
        return False

    def terminate(self) -> None:
        self._end(128 + signal.SIGTERM)

    def kill(self) -> None:
        self._end(128 + signal.SIGKILL)

    async def exec(self, command: list[str], *, stdin: bool) -> Exec:
        if tuple(command) == xcom.READ_COMMAND:
            return _Answer(stdout=self._result())
        if tuple(command) == xcom.SHELL_COMMAND and stdin:
            return _ImitatedShell(lambda: self._end(0))
        return _refused(command)

    def _result(self) -> bytes:
        file = self._folder / xcom.FILE_NAME
        content = file.read_bytes() if file.is_file() else b""
        return content or f"{xcom.EMPTY_RESULT}\n".encode()


class _Answer:
    """An exec that is nothing but its output and exit code."""

    def __init__(self, *, stdout: bytes = b"", stderr: bytes = b"", code: int = 0) -> None:
        self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()
        for stream, text in ((self.stdout, stdout), (self.stderr, stderr)):
            stream.feed_data(text)
            stream.feed_eof()
        self._code = code

    async def write(self, data: bytes) -> None:
        """It reads nothing."""

    def end_input(self) -> None:
        """It reads nothing."""

    async def wait(self) -> int:
        return self._code

    def kill(self) -> None:
        """There is no process."""


class _ImitatedShell:
    """A ``/bin/sh`` in the sidecar that knows one command: the one that ends the sidecar, and with it itself (SIGINT)."""

    def __init__(self, end_sidecar: Callable[[], None]) -> None:
        self._end_sidecar = end_sidecar
        self._typed = b""
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()

    def _finish(self, code: int, error: bytes = b"") -> None:
        if not self._code.done():
            self.stderr.feed_data(error)
            self.stdout.feed_eof()
            self.stderr.feed_eof()
            self._code.set_result(code)

    async def write(self, data: bytes) -> None:
        self._typed += data
        if b"\n" not in self._typed and len(self._typed) < _LONGEST_COMMAND:
            return
        typed = self._typed.decode(errors="replace").strip()
        if typed in xcom.END_COMMANDS:
            self._end_sidecar()
            self._finish(128 + signal.SIGINT)
        else:
            self._finish(_REFUSED_CODE, _refusal(typed))

    def end_input(self) -> None:
        self._finish(0)

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def kill(self) -> None:
        self._finish(128 + signal.SIGKILL)


class ProcessRuntime:
    """Containers as plain processes. See the module's text.

    :param platform: the value of ``WTMO_PLATFORM``, if any.
    """

    name = "process"

    def __init__(self, *, platform: str | None, groups: ControlGroups | None = None) -> None:
        self._platform = platform
        self.groups = groups or ControlGroups()

    async def program(self, image: str, policy: str, images: ImageTable) -> Program:
        """The stand-in; nothing is pulled, whatever the policy."""
        del policy
        return images.program(image)

    async def close(self) -> None:
        """Remove the control groups."""
        self.groups.close()

    async def start(self, orders: Orders) -> Running:
        """Start a container as a plain process, or the imitated sidecar."""
        folders = {mount.target.rstrip("/"): mount.source for mount in orders.mounts}
        folder = folders.get(xcom.FOLDER)
        if orders.own_command:
            if folder is not None and tuple(orders.argv) == xcom.SIDECAR_COMMAND:
                return _ImitatedSidecar(folder)
            raise StartError("the process runtime has no isolation: it runs stand-ins and no container's own command")
        env = orders.env | {"HOME": str(orders.folder)} | ({xcom.FOLDER_VARIABLE: str(folder)} if folder else {})
        if folders:
            env[VOLUMES_VARIABLE] = json.dumps({target: str(source) for target, source in folders.items()})
        return await _PlainContainer.launch(
            (),
            replace(orders, env=env),
            root=None,
            cwd=str(orders.folder),
            platform=self._platform,
            groups=self.groups,
        )

    async def probe(self, folder: Path) -> str | None:
        """Run ``true``. Returns why that did not work, None if it did."""
        container = await self.start(_trial(folder))
        code = await container.wait()
        return container.start_error() or (f"exit code {code}" if code else None)


def _trial(folder: Path) -> Orders:
    return Orders(argv=["true"], env={"PATH": SEARCH_PATH}, folder=folder, limits=Limits(memory=64 * 2**20, cpu=1))


async def choose(
    kind: str,
    *,
    visible: Iterable[Path],
    masked: Iterable[Path],
    platform: str | None,
    folder: Path,
    groups: ControlGroups,
) -> NamespaceRuntime | ProcessRuntime:
    """The runtime that is asked for, of the two that need no engine.

    :param kind: ``namespace``, ``process``, or ``auto``: namespaces if a container really starts, else processes.
    :param folder: an existing folder for the trial.
    :param groups: control groups; left alone where a container can't join them.
    :raises WtmoError: ``namespace`` does not work here.
    """
    runtime: NamespaceRuntime | ProcessRuntime
    if kind != "process":
        runtime = NamespaceRuntime(visible=visible, masked=masked, platform=platform)
        reason = await runtime.probe(folder)
        if reason is None:
            return await _with_groups(runtime, groups, folder)
        if kind == "namespace":
            raise WtmoError(f"the namespace runtime does not work here: {reason}", fix="use --runtime process or auto")
        log.warning("no Linux namespaces for pods (%s): they run as plain processes", reason)
    return await _with_groups(ProcessRuntime(platform=platform), groups, folder)


async def _with_groups(
    runtime: NamespaceRuntime | ProcessRuntime, groups: ControlGroups, folder: Path
) -> NamespaceRuntime | ProcessRuntime:
    """The runtime with as many of the groups as a container can really join."""
    runtime.groups = groups
    if groups.bases:
        try:
            reason = await runtime.probe(folder)
        except OSError as error:
            reason = error.strerror or str(error)
        if reason:
            groups.close()
            runtime.groups = ControlGroups({}, dict.fromkeys(("memory", "cpu"), f"a container can't join: {reason}"))
    log.info("limits of containers: %s", runtime.groups)
    return runtime
