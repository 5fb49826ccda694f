"""What keeps a process that runs a stranger's file from the rest of the machine. Standard library only.

Each layer is used where the system has it, and :func:`probe` says which ones those are:

- *namespaces* (Linux, as root or where unprivileged user namespaces are allowed): no network device, no sight of other
  processes, a read-only root file system, a temporary folder of bounded size.
- *Landlock* (Linux 5.13 or newer): only named folders can be read, only the temporary folder written. From version 4
  on no TCP, from version 6 on no signals to other processes.
- *seccomp* (Linux on x86-64 and ARM64): no sockets, no further processes, no signals to others, no change of owner, mode or
  time of a file, none of the kernel's interfaces that could give any of these back.
- *limits* of memory, processor time, file size and open files (everywhere; macOS does not enforce the one of memory).
- *audit hook* (everywhere): Python's own calls for network, processes and writing raise :class:`ForbiddenError`. Under the other
  layers it only makes the message clear. Where it is alone it does not stop native code.

System call numbers and structures: linux/landlock.h, linux/seccomp.h, linux/bpf_common.h, asm/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wtmo.local.pods import launch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MIB = 1 << 20
TEMPORARY_SIZE = 64 * MIB
"""What the temporary folder of a load holds under namespaces, in bytes."""
FILE_SIZE = 16 * MIB
OPEN_FILES = 256
PROCESSES = 512
"""Upper bound of the user's processes where seccomp does not forbid new ones."""
_GRACE = 5
_PROBE_SECONDS = 10

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_PR_GET_SECCOMP = 21
_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000
_CLONE_THREAD = 0x00010000

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_READ = (1 << 2) | (1 << 3)
_LANDLOCK_EXECUTE = 1 << 0
_LANDLOCK_OF_FILES = _LANDLOCK_EXECUTE | (1 << 1) | (1 << 2) | (1 << 14) | (1 << 15)
_LANDLOCK_TCP = 4
_LANDLOCK_SCOPES = 6


on_denial: Callable[[str], None] | None = None
"""Told of each event of Python's that the audit hook refuses, also where the error is caught."""


class ForbiddenError(PermissionError):
    """Something that a file may not do while it is loaded."""


@dataclass(frozen=True)
class Isolation:
    """The layers that are in use. Made by :func:`probe`.

    :param unshare: flags of util-linux ``unshare`` that work here; empty: no namespaces.
    :param landlock: version of the interface; 0: none.
    :param seccomp: whether system calls are filtered.
    """

    unshare: tuple[str, ...] = ()
    landlock: int = 0
    seccomp: bool = False

    def enforced(self) -> list[tuple[str, str | None]]:
        """What is enforced, and how; None where nothing but the audit hook stands for it."""
        namespaces = bool(self.unshare)
        network = [
            *(["network namespace"] if namespaces else []),
            *(["seccomp"] if self.seccomp else []),
            *(
                ["Landlock (TCP only)"]
                if self.landlock >= _LANDLOCK_TCP and not self.seccomp and not namespaces
                else []
            ),
        ]
        writing = [*(["read-only mounts"] if namespaces else []), *(["Landlock"] if self.landlock else [])]
        reading = [*(["Landlock"] if self.landlock else [])]
        nothing_left = [
            *(["process-id namespace"] if namespaces else []),
            *(["seccomp"] if self.seccomp else []),
        ]
        others = [
            *(["process-id namespace"] if namespaces else []),
            *(["seccomp"] if self.seccomp else []),
            *(["Landlock"] if self.landlock >= _LANDLOCK_SCOPES else []),
        ]
        memory = "RLIMIT_AS" if sys.platform == "linux" else None
        return [
            ("time limit", "killed by the fork server"),
            ("memory limit", memory),
            ("no secrets in the environment", "environment made from an allow-list"),
            ("no network", _joined(network)),
            ("no writing outside the temporary folder", _joined(writing)),
            ("no reading outside Python, Airflow and the shared modules", _joined(reading)),
            ("no further processes, nothing left behind", _joined(nothing_left)),
            ("no access to other processes", _joined(others)),
            ("no privileges", "capabilities dropped" if sys.platform == "linux" else None),
        ]


def _joined(layers: list[str]) -> str | None:
    return ", ".join(layers) or None


def probe() -> Isolation:
    """Find out which layers work on this machine, as this user. Takes some milliseconds."""
    if sys.platform != "linux":
        return Isolation()
    return Isolation(unshare=_probe_unshare(), landlock=_landlock_version(), seccomp=_has_seccomp())


def _probe_unshare() -> tuple[str, ...]:
    common = ("--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child")
    # The child makes its root as the loads will: some containers allow namespaces and no mounts.
    trial = (
        "import sys; sys.path.insert(0, sys.argv[1]); from wtmo.local.pods import launch; launch.enter_root([], [], [])"
    )
    folder = str(Path(__file__).resolve().parents[2])
    for user in (("--user", "--map-root-user"), ()):
        command = ["unshare", *user, *common, sys.executable, "-I", "-S", "-c", trial, folder]
        try:
            result = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_PROBE_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if result.returncode == 0:
            return (*user, *common)
    return ()


def _landlock_version() -> int:
    return max(0, int(_libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def _has_seccomp() -> bool:
    return platform.machine() in _MACHINES and int(_libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0)) >= 0


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


# --- namespaces


def fork_alone(isolation: Isolation, own: int) -> int:
    """Fork; under namespaces the child is process 1 of a process-id namespace of its own, so that all it starts ends
    with it.

    :param own: file descriptor of this process's own process-id namespace.
    """
    if not isolation.unshare:
        return os.fork()
    _checked(_libc.unshare(_CLONE_NEWPID), "cannot make a process-id namespace")
    pid = os.fork()
    if pid:
        _checked(_libc.setns(own, _CLONE_NEWPID), "cannot go back to the own process-id namespace")
    return pid


def own_folder(folder: Path) -> None:
    """Make the folder a file system in memory that this process alone sees, and ``/proc`` that of its own namespace."""
    _checked(_libc.unshare(_CLONE_NEWNS), "cannot make a mount namespace")
    launch.mount_proc(Path("/proc"))
    launch.mount_tmpfs(folder, "0700", size=TEMPORARY_SIZE)


# --- what a process gives up


def confine(isolation: Isolation, *, temporary: Path, readable: Iterable[Path], memory: int, seconds: float) -> None:
    """Give up everything that the isolation names, for ever. For a process with one thread.

    :param temporary: the one folder that can be written.
    :param readable: folders and files that can be read besides it, where Landlock is.
    :param memory: bytes of address space in addition to what this process has.
    :param seconds: processor time, plus a grace of 5 s.
    :raises OSError: a layer that was there at the probe is not.
    """
    _limit(isolation, memory=memory, seconds=seconds)
    if sys.platform == "linux":
        _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "cannot tie the process to its parent")
        _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "cannot rule out new privileges")
        _drop_capabilities()
        _checked(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "cannot shut the process to debuggers")
    if isolation.landlock:
        _restrict_files(isolation.landlock, temporary, readable)
    if isolation.seccomp:
        _filter_system_calls()
    sys.addaudithook(_Guard(temporary))


def close_to_debuggers() -> None:
    """Other processes of this user can't read or write this one's memory."""
    if sys.platform == "linux":
        _checked(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "cannot shut the process to debuggers")


def _limit(isolation: Isolation, *, memory: int, seconds: float) -> None:
    if sys.platform == "linux":
        Path("/proc/self/oom_score_adj").write_text("1000")
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, size + memory)
    processor = int(seconds) + _GRACE
    _lower(resource.RLIMIT_CPU, processor)
    _lower(resource.RLIMIT_FSIZE, FILE_SIZE)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _lower(resource.RLIMIT_CORE, 0)
    if not isolation.seccomp:
        _lower(resource.RLIMIT_NPROC, PROCESSES)


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (lowest, lowest))


def _drop_capabilities() -> None:
    header = struct.pack("Ii", 0x20080522, 0)
    _checked(_libc.capset(header, b"\0" * 24), "cannot drop the capabilities")


def _restrict_files(version: int, temporary: Path, readable: Iterable[Path]) -> None:
    bits = 13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16
    everything = (1 << bits) - 1
    attributes = struct.pack("Q", everything)
    if version >= _LANDLOCK_TCP:
        attributes += struct.pack("Q", 0b11)
    if version >= _LANDLOCK_SCOPES:
        attributes += struct.pack("Q", 0b11)
    call = ctypes.c_long(_LANDLOCK_CREATE)
    size = ctypes.c_size_t(len(attributes))
    rules = _checked(_libc.syscall(call, attributes, size, ctypes.c_uint32(0)), "cannot make Landlock rules")
    try:
        _allow(rules, temporary, everything)
        for path in readable:
            _allow(rules, path, _LANDLOCK_READ | _LANDLOCK_EXECUTE)
        for name in ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"):
            _allow(rules, Path(name), _LANDLOCK_READ | (1 << 1))
        restrict = ctypes.c_long(_LANDLOCK_RESTRICT)
        _checked(_libc.syscall(restrict, ctypes.c_int(rules), ctypes.c_uint32(0)), "cannot enter the Landlock rules")
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return
    try:
        if not path.is_dir():
            rights &= _LANDLOCK_OF_FILES
        rule = struct.pack("=Qi", rights, place)
        add = ctypes.c_long(_LANDLOCK_ADD)
        _checked(
            _libc.syscall(add, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint32(0)), f"cannot allow {path}"
        )
    finally:
        os.close(place)


# --- seccomp

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# Name: number on x86-64, number on ARM64; None where there is no such call.
_FORBIDDEN: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "setpgid": (109, 154),
    "setsid": (112, 157),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "personality": (135, 92),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}
_CLONE, _CLONE3 = (56, 220), 435
_KILL, _TGKILL, _PRCTL, _PRLIMIT = (62, 129), (234, 131), (157, 167), (302, 261)

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_X32 = 0x40000000


def _filter_system_calls() -> None:
    program = _program(os.getpid())
    array = (ctypes.c_char * len(program)).from_buffer_copy(program)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    whole = Program(len(program) // 8, ctypes.addressof(array))
    _checked(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(whole), 0, 0), "cannot filter system calls")


def _program(pid: int) -> bytes:
    """The filter: a denied call ends with EPERM."""
    architecture, column = _MACHINES[platform.machine()]
    refuse = _instruction(_RETURN, _ERROR | errno.EPERM)
    allow = _instruction(_RETURN, _ALLOW)
    # clone3 gets its flags in memory, where no filter can look; glibc falls back to clone.
    unknown = _instruction(_RETURN, _ERROR | errno.ENOSYS)
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        *(_instruction(_EQUAL, architecture, 1, 0), refuse),
        _instruction(_LOAD, _NUMBER),
        *(_instruction(_AT_LEAST, _X32, 0, 1), refuse),
        *(_instruction(_EQUAL, _CLONE3, 0, 1), unknown),
    ]
    for numbers in _FORBIDDEN.values():
        number = numbers[column]
        if number is not None:
            program += [_instruction(_EQUAL, number, 0, 1), refuse]
    own = _instruction(_EQUAL, pid, 0, 1)
    with_argument = (
        (_CLONE, [_instruction(_ANY_BIT, _CLONE_THREAD, 0, 1), allow, refuse]),
        (_KILL, [own, allow, refuse]),
        (_TGKILL, [own, allow, refuse]),
        (
            _PRCTL,
            [
                *(_instruction(_EQUAL, _PR_SET_PDEATHSIG, 0, 1), refuse),
                *(_instruction(_EQUAL, _PR_SET_DUMPABLE, 0, 1), refuse),
                allow,
            ],
        ),
        (_PRLIMIT, [_instruction(_EQUAL, 0, 0, 1), allow, own, allow, refuse]),
    )
    for numbers, block in with_argument:
        body = [_instruction(_LOAD, _FIRST_ARGUMENT), *block]
        program += [_instruction(_EQUAL, numbers[column], 0, len(body)), *body]
    return b"".join([*program, allow])


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


# --- the audit hook

_NETWORK = {
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
    *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"),
}
_PROCESSES = {
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"),
    "os.killpg",
}
_CHANGES = {
    *("os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr", "shutil.rmtree"),
}
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class _Guard:
    """Turns Python's audit events into refusals. An audit hook cannot be taken away again."""

    def __init__(self, temporary: Path) -> None:
        self._temporary = os.path.realpath(temporary)
        self._pid = os.getpid()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _NETWORK:
            _tell(event)
            raise ForbiddenError(errno.EPERM, "a DAG file has no network while it is loaded")
        if event in _PROCESSES or (event == "os.kill" and arguments[0] != self._pid):
            _tell(event)
            raise ForbiddenError(errno.EPERM, "a DAG file can't start or signal processes while it is loaded")
        if (event == "open" and self._writes(arguments)) or event in _CHANGES:
            for path in arguments[:2] if event in {"os.rename", "os.link"} else arguments[:1]:
                self._check(event, path)

    @staticmethod
    def _writes(arguments: Sequence[Any]) -> bool:
        _, mode, flags = arguments
        return bool(flags & _WRITE_FLAGS) if isinstance(flags, int) else any(letter in str(mode) for letter in "wax+")

    def _check(self, event: str, path: Any) -> None:
        if isinstance(path, int):
            return  # a file that is open already: it went through here, or it is a pipe
        whole = os.path.realpath(os.fsdecode(path))
        if whole != os.devnull and whole != self._temporary and not whole.startswith(self._temporary + os.sep):
            _tell(event)
            raise ForbiddenError(errno.EPERM, f"a DAG file can't write {whole} while it is loaded")


def _tell(event: str) -> None:
    if on_denial is not None:
        on_denial(event)
