"""Resource limits of containers, as far as this machine can enforce them.

========== ========================================================================================================
memory     a control group (v1 or v2), where this process may make one below its own or, v2, below one that already hands
           the controller down: root, a container with a writable ``/sys/fs/cgroup``, a user's systemd session. Over its limit
           the kernel kills the container: 137, OOMKilled.
memory     elsewhere the server looks four times a second at the resident memory of the container's processes, and kills it
           when that is over the limit: also 137, OOMKilled. What is allocated and freed in between is not seen.
cpu        a control group; elsewhere not enforced, which the server says when it starts
========== ========================================================================================================

``RLIMIT_AS`` and ``RLIMIT_DATA`` are not used: they count memory that is reserved and never touched, and a program meets a failed
allocation there, which no pod in a cluster does.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import signal
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

_QUANTITY = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<suffix>|[numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,2})"
)
_DECIMAL = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", start=1)}
_PERIOD = 100_000  # microseconds, the kernel's default
_LEAST_QUOTA = 1000  # the kernel's least
_LOOK_INTERVAL = 0.25
_REMOVAL_TIMEOUT = 2.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_BASES_FILE = "control-groups"


def quantity(value: object) -> float:
    """A number in Kubernetes' notation.

    >>> quantity("1.5Gi"), quantity("250m"), quantity(2), quantity("1e3")
    (1610612736.0, 0.25, 2.0, 1000.0)

    :raises ValueError: for what is none, or less than nothing.
    """
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, int | float | str) else None
    if match is None or isinstance(value, bool):
        raise ValueError(f"Invalid value: {str(value)[:80]!r}: must be a quantity such as 512Mi, 2G, 500m or 1")
    suffix = match["suffix"]
    if suffix[:1] in {"e", "E"} and len(suffix) > 1 and suffix not in _BINARY:
        return float(match[0])
    return float(match["number"]) * (_BINARY.get(suffix) or _DECIMAL[suffix])


@dataclass(frozen=True)
class Limits:
    """What a container may use.

    :param memory: bytes. Default: no limit.
    :param cpu: processors, ``0.5`` is half of one. Default: no limit.
    """

    memory: int | None = None
    cpu: float | None = None

    @classmethod
    def of(cls, container: Mapping[str, Any]) -> Limits:
        """The limits that a container's spec states; requests are no limits."""
        stated = (container.get("resources") or {}).get("limits") or {}
        memory, cpu = (quantity(stated[name]) if stated.get(name) is not None else None for name in ("memory", "cpu"))
        return cls(int(memory) if memory else None, cpu or None)


NO_LIMITS = Limits()


@dataclass(frozen=True)
class _Hierarchy:
    """Where a controller's groups are.

    :param own: the folder of this process's group.
    :param top: the highest folder that is seen.
    """

    unified: bool
    own: Path
    top: Path


def _hierarchies(groups: str, mounts: str) -> dict[str, _Hierarchy]:
    """The hierarchies of the controllers ``memory`` and ``cpu`` that are mounted.

    :param groups: text of ``/proc/self/cgroup``.
    :param mounts: text of ``/proc/self/mountinfo``.
    """
    own: dict[str, str] = {}
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    found: dict[str, _Hierarchy] = {}
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        kind, options = right.split()[0], right.split()[-1].split(",")
        root, point = left.split()[3:5]
        if kind == "cgroup2":
            controllers_file = Path(point) / "cgroup.controllers"
            offered = controllers_file.read_text().split() if controllers_file.exists() else []
            path = own.get("", "/")
        elif kind == "cgroup":
            offered = options
            path = next((own[name] for name in options if name in own), "/")
        else:
            continue
        below = path.removeprefix(root) if root != "/" and path.startswith(root) else path
        for name in {"memory", "cpu"}.intersection(offered):
            found[name] = _Hierarchy(kind == "cgroup2", Path(point) / below.lstrip("/"), Path(point))
    return found


def _hands_down(folder: Path, controller: str, *, enable: bool) -> bool:
    """Whether groups below a v2 group have a controller; tries to make it so if ``enable``."""
    control = folder / "cgroup.subtree_control"
    try:
        if controller in control.read_text().split():
            return True
        if enable:
            control.write_text(f"+{controller}")  # EBUSY while processes are in the group itself
            return True
    except OSError:
        pass
    return False


def _parent(hierarchy: _Hierarchy, controller: str) -> Path | None:
    """The group below which ours are made."""
    if not hierarchy.unified:
        return hierarchy.own
    folder = hierarchy.own
    while not _hands_down(folder, controller, enable=folder == hierarchy.own):
        if folder == hierarchy.top:
            return None
        folder = folder.parent
    return folder


@dataclass
class Group:
    """The control groups of one container.

    :param folders: by controller; in v2 they are the same one.
    """

    folders: dict[str, Path] = field(default_factory=dict)

    @property
    def entries(self) -> list[str]:
        """Files into which a process writes ``0`` to join."""
        return [str(folder / "cgroup.procs") for folder in dict.fromkeys(self.folders.values())]

    def oom_killed(self) -> bool:
        """Whether the kernel killed one of its processes for the limit."""
        folder = self.folders.get("memory")
        for name in ("memory.events", "memory.oom_control"):
            if folder and (folder / name).exists():
                counts = dict(line.split() for line in (folder / name).read_text().splitlines())
                return int(counts.get("oom_kill", 0)) > 0
        return False

    def remove(self) -> None:
        """Remove it; processes that are left in it are killed."""
        for folder in self.folders.values():
            _remove(folder)


def _members(folder: Path) -> list[int]:
    """Processes in a group. The kernel says 0 for one that this process can't see, and ``kill(0)`` would end ourselves."""
    try:
        listed = (folder / "cgroup.procs").read_text().split()
    except OSError:
        return []
    return [int(pid) for pid in listed if int(pid) > 0]


def _remove(folder: Path) -> None:
    """Remove a group and what is below it."""
    end = time.monotonic() + _REMOVAL_TIMEOUT
    for below in [each for each in folder.glob("*") if each.is_dir()]:
        _remove(below)
    while folder.exists():
        try:
            folder.rmdir()
        except OSError as error:
            if time.monotonic() > end:
                log.warning("cannot remove the control group %s: %s", folder, error.strerror)
                return
            for pid in _members(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)  # the kernel takes a moment to let go of what ended


class ControlGroups:
    """The groups of all containers of one server.

    :param bases: by controller, an existing folder in which groups are made; a controller that is missing is not enforced.
    :param missing: by controller, why it is missing.
    """

    def __init__(self, bases: Mapping[str, Path] | None = None, missing: Mapping[str, str] | None = None) -> None:
        self.bases = dict(bases or {})
        self.missing = dict(missing or {})

    @classmethod
    def find(cls, state: Path, groups: str | None = None, mounts: str | None = None) -> ControlGroups:
        """Make the folders, and remove what a server that was killed has left.

        :param state: the server's state folder; remembers there where groups were made.
        :param groups: text of ``/proc/self/cgroup``. Default: that file's.
        :param mounts: text of ``/proc/self/mountinfo``. Default: that file's.
        """
        remembered = state / _BASES_FILE
        if remembered.exists():
            for line in remembered.read_text().splitlines():
                _remove(Path(line))
        if sys.platform != "linux":
            return cls({}, dict.fromkeys(("memory", "cpu"), "no Linux"))
        own = groups if groups is not None else Path("/proc/self/cgroup").read_text()
        found = _hierarchies(own, mounts if mounts is not None else Path("/proc/self/mountinfo").read_text())
        name = f"wtmo-pods-{hashlib.sha256(bytes(state)).hexdigest()[:12]}"
        bases: dict[str, Path] = {}
        missing: dict[str, str] = {}
        for controller in ("memory", "cpu"):
            if controller not in found:
                missing[controller] = "no such controller is mounted"
                continue
            parent = _parent(found[controller], controller)
            if parent is None:
                missing[controller] = f"no group from {found[controller].own} up hands the controller down"
                continue
            base = parent / name
            try:
                base.mkdir(exist_ok=True)
                if found[controller].unified and not _hands_down(base, controller, enable=True):
                    missing[controller] = f"cannot enable it in {base}"
                    base.rmdir()
                    continue
            except OSError as error:
                missing[controller] = f"cannot make {base}: {error.strerror}"
                continue
            bases[controller] = base
        remembered.write_text("".join(f"{base}\n" for base in dict.fromkeys(bases.values())))
        return cls(bases, missing)

    def make(self, limits: Limits) -> Group:
        """A group with limits: no folder where there is nothing to limit or no base.

        :raises OSError: the kernel refuses.
        """
        name = uuid.uuid4().hex
        group = Group()
        for controller, limit in (("memory", limits.memory), ("cpu", limits.cpu)):
            if limit is None or controller not in self.bases:
                continue
            folder = self.bases[controller] / name
            folder.mkdir(exist_ok=True)
            group.folders[controller] = folder
        try:
            if "memory" in group.folders and limits.memory:
                _limit_memory(group.folders["memory"], limits.memory)
            if "cpu" in group.folders and limits.cpu:
                _limit_cpu(group.folders["cpu"], max(_LEAST_QUOTA, int(limits.cpu * _PERIOD)))
        except OSError:
            group.remove()
            raise
        return group

    def close(self) -> None:
        """Remove everything."""
        for base in self.bases.values():
            _remove(base)

    def __str__(self) -> str:
        """What is enforced, for the log."""
        ways = {"memory": "watched four times a second", "cpu": "not enforced"}
        return ", ".join(
            f"{name} by control groups"
            if name in self.bases
            else f"{name} {way} ({self.missing.get(name, 'not tried')})"
            for name, way in ways.items()
        )


def _limit_memory(folder: Path, size: int) -> None:
    if (folder / "memory.max").exists():
        (folder / "memory.max").write_text(str(size))
        (folder / "memory.oom.group").write_text("1")  # the container ends as a whole, as in Kubernetes
        swap, value = folder / "memory.swap.max", 0
    else:
        (folder / "memory.limit_in_bytes").write_text(str(size))
        swap, value = folder / "memory.memsw.limit_in_bytes", size
    if swap.exists():  # not where the kernel does not count swap
        swap.write_text(str(value))


def _limit_cpu(folder: Path, quota: int) -> None:
    if (folder / "cpu.max").exists():
        (folder / "cpu.max").write_text(f"{quota} {_PERIOD}")
    else:
        (folder / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (folder / "cpu.cfs_quota_us").write_text(str(quota))


async def watch_memory(pid: int, limit: int, kill: Callable[[], None]) -> None:
    """Look at a process and all below it until they use more than they may; then kill. Cancel it when the process ended.

    :param pid: of this machine.
    :param limit: bytes of resident memory.
    """
    while resident_memory(pid) <= limit:
        await asyncio.sleep(_LOOK_INTERVAL)
    kill()


def resident_memory(pid: int) -> int:
    """Bytes of resident memory of a process and all below it; 0 if it ended."""
    if sys.platform != "linux":
        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            for each in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += int(each.memory_info().rss)
        return total
    # psutil would read all processes of the machine to find the children of one.
    folder = Path("/proc") / str(pid)
    try:
        total = int((folder / "statm").read_bytes().split()[1]) * _PAGE
        below = [child for task in (folder / "task").iterdir() for child in (task / "children").read_text().split()]
    except (OSError, IndexError):
        return 0
    return total + sum(resident_memory(int(child)) for child in below)
