"""Turns this process into a container's program. Run by path: ``python -I -S launch.py``, with its orders on standard input.

Only the standard library, and little of it: it runs once for every container, before the program. The orders are one JSON
object, on standard input so that no value of an environment variable reaches a command line or the disk:

========== ============================================================================================================
``argv``   the program and its arguments
``env``    its environment, whole
``cwd``    its working directory, as the program sees it
``status`` path of a file to which the process id is written when all is set up, or ``error <text>`` when it can't be
``parent`` process id of the server: this process ends when that one is gone
``groups`` control groups that it joins: paths of their ``cgroup.procs``
``root``   null (plain process) or what the root file system is made of: ``visible`` ``[[source, target], ...]`` (read-only),
           ``masked`` ``[path, ...]`` (shown empty), ``mounts`` ``[[source, target, read_only], ...]`` (volumes)
========== ============================================================================================================

With ``root`` it must have been started in mount and process-id namespaces of its own (util-linux ``unshare``). It needs
``mount_setattr``, so Linux 5.12 or newer. The root is a fresh tmpfs with the host's folders in it, read-only; ``/tmp``,
``/run``, ``/airflow``, ``/proc`` and ``/dev/shm`` are the container's own. This keeps containers from disturbing each other
and the host; it is not a boundary against hostile programs.

Ends with 128 if the program could not be started, as container runtimes do.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Any

START_ERROR = 128
ROOT = Path("/")
HOST = ROOT / ".host"
TEMPORARY = ROOT / "tmp"
FRESH = ("proc", "tmp", "run", "airflow")

# Numbers of the Linux interface: linux/prctl.h, linux/mount.h, linux/fcntl.h. The system call has the same number
# on every architecture that Python runs on; libc has a name for it only since glibc 2.36.
_PR_SET_PDEATHSIG = 1
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC = 0x2, 0x4, 0x8, 0x1000, 0x4000
_MNT_DETACH = 0x2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_SYS_MOUNT_SETATTR = 442
_READ_ONLY = struct.pack("QQQQ", 0x1, 0, 0, 0)  # struct mount_attr: set, clear, propagation, userns_fd

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount_tmpfs(target: Path, mode: str, *, size: int | None = None) -> None:
    """Mount an empty file system in memory.

    :param mode: permissions of its root, octal.
    :param size: bytes that it holds. Default: the kernel's, half of the memory.
    """
    options = (f"mode={mode}" + (f",size={size}" if size is not None else "")).encode()
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV)
    _checked(_libc.mount(b"tmpfs", bytes(target), b"tmpfs", flags, options), f"cannot mount a tmpfs on {target}")


def mount_proc(target: Path) -> None:
    """Mount the ``/proc`` of this process-id namespace."""
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _checked(_libc.mount(b"proc", bytes(target), b"proc", flags, None), f"cannot mount proc on {target}")


def _bind(source: Path, target: Path, *, read_only: bool) -> None:
    flags = ctypes.c_ulong(_MS_BIND | _MS_REC)
    _checked(_libc.mount(bytes(source), bytes(target), None, flags, None), f"cannot mount {source} on {target}")
    if read_only:
        call = ctypes.c_long(_SYS_MOUNT_SETATTR)
        where = (ctypes.c_int(_AT_FDCWD), bytes(target), ctypes.c_uint(_AT_RECURSIVE))
        result = _libc.syscall(call, *where, _READ_ONLY, ctypes.c_size_t(len(_READ_ONLY)))
        _checked(result, f"cannot make {target} read-only")


def _on_host(path: str) -> Path:
    return HOST / path.lstrip("/")


def enter_root(visible: list[list[str]], masked: list[str], mounts: list[list[Any]]) -> None:
    """Make the container's root file system and move into it. The process must have a mount namespace of its own.

    The host's root stays reachable under ``HOST`` until the end: paths under the host's ``/tmp`` and ``/run`` can then
    still be bound.
    """
    mount_tmpfs(TEMPORARY, "0755")
    old_root = TEMPORARY / HOST.name
    old_root.mkdir()
    _checked(_libc.pivot_root(bytes(TEMPORARY), bytes(old_root)), "cannot change the root")
    os.chdir(ROOT)
    for entry in HOST.iterdir():
        target = ROOT / entry.name
        if entry.name in FRESH:
            continue
        if entry.is_symlink():
            target.symlink_to(entry.readlink())
        elif entry.is_dir():
            target.mkdir()
            _bind(entry, target, read_only=True)
    for name in FRESH:
        (ROOT / name).mkdir()
    mount_proc(ROOT / "proc")
    mount_tmpfs(TEMPORARY, "1777")
    shared_memory = ROOT / "dev" / "shm"
    if shared_memory.is_dir():
        mount_tmpfs(shared_memory, "1777")
    for source, path in visible:
        if path.split("/")[1] in FRESH:
            Path(path).mkdir(parents=True, exist_ok=True)
            _bind(_on_host(source), Path(path), read_only=True)
    for path in masked:
        if Path(path).is_dir():
            mount_tmpfs(Path(path), "0755")
    for source, path, read_only in mounts:
        target = Path(path)
        if target == HOST or HOST in target.parents:
            raise OSError(f"cannot mount a volume on {target}")
        target.mkdir(parents=True, exist_ok=True)
        _bind(_on_host(source), target, read_only=read_only)
    _checked(_libc.umount2(bytes(HOST), ctypes.c_int(_MNT_DETACH)), "cannot let go of the host's root")
    HOST.rmdir()


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])


def _prepare(orders: dict[str, Any]) -> int:
    """Do all that comes before the program. Returns this process's id as the server sees it."""
    root = orders["root"]
    if root is None:
        if sys.platform == "linux":
            _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "cannot tie this process to the server")
        pid, parent = os.getpid(), os.getppid()
    else:
        # Still the host's /proc: it names this process and its parent, unshare, as the server does.
        pid = int(Path("/proc/self").readlink().name)
        parent = _parent_of(_parent_of(pid))
    if parent != orders["parent"]:
        raise OSError("the server died meanwhile")
    for group in orders["groups"]:
        Path(group).write_text("0", encoding="ascii")  # 0 is the process that writes
    if root is not None:
        enter_root(root["visible"], root["masked"], root["mounts"])
    os.chdir(orders["cwd"])
    return pid


def main() -> None:
    """Read the orders and become the program."""
    orders = json.loads(sys.stdin.buffer.read())
    with Path(orders["status"]).open("w", encoding="utf-8") as status, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
        os.dup2(sys.stdout.fileno(), sys.stderr.fileno())  # the other one is for what started this process
        try:
            pid = _prepare(orders)
            status.write(f"{pid}\n")
            status.flush()
            # Python ignores these two, and what is ignored stays so in the program.
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.execvpe(orders["argv"][0], orders["argv"], orders["env"])
        except OSError as error:
            status.write(f"error cannot run {orders['argv'][0]!r}: {error.strerror or error}\n")
    sys.exit(START_ERROR)


if __name__ == "__main__":
    main()
