"""Where imports are kept, and how the tree that is served is replaced.

A store is one folder::

    current -> trees/<version>   what is served; replaced by one rename
    trees/<version>/dags/        the files, read-only, complete from the moment that the folder has this name
                   /source/      of a folder source, the bytes that they were translated from
                   /status.json  what ``wtmo import status`` shows of it
    versions/<version>/dags/     copies for runs that are pinned to a version (Airflow's own clean-up removes them)
    cache/<fingerprint>/         verdicts: may be removed at any time
    source.git/                  the source's commits, of git sources
    last.json                    how the last import ended
    lock, versions.lock          held while an import writes, while a copy is made

A version is ``<commit or "folder">-<digest>``, the digest of the names and bytes of all files: :meth:`Store.sound` tells
whether a tree is what its name says. Killed at any moment, a store has ``current`` at the old or the new tree, and what was
half made has a name that nobody reads; the next import removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wtmo.cache import HALF_MADE, Cache, read_json, tidy, write_json
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

DIGEST_LENGTH = 16
# A run that is pinned to a version began at most this long ago, unless it is cleared: then it takes the newest.
KEEP_SECONDS = 7 * 86_400
KEEP_TREES = 3
KEEP_CACHES = 2
LOCK_SECONDS = 900


def digest(files: Mapping[str, bytes]) -> str:
    """The digest of a tree: of the names and bytes of its files, in any order."""
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:DIGEST_LENGTH]


@dataclass(frozen=True)
class Tree:
    """One complete tree of the store."""

    path: Path

    @property
    def version(self) -> str:
        """Its name, which ends with its digest."""
        return self.path.name

    @property
    def dags(self) -> Path:
        """The folder that Airflow reads."""
        return self.path / "dags"

    @property
    def source(self) -> Path:
        """The folder with the bytes before translation; of folder sources only."""
        return self.path / "source"

    @property
    def status(self) -> dict[str, Any]:
        """What is known of it; empty when that cannot be read."""
        return read_json(self.path / "status.json")

    def files(self) -> dict[str, bytes]:
        """All its files, by ``dags/<name>`` and ``source/<name>``."""
        return {
            path.relative_to(self.path).as_posix(): path.read_bytes()
            for folder in (self.dags, self.source)
            for path in folder.rglob("*.py")
        }


class Store:
    """One folder of imports."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mirror = root / "source.git"
        self.trees = root / "trees"
        self.versions = root / "versions"
        self.last = root / "last.json"

    @property
    def current(self) -> Tree | None:
        """The tree that is served. None: there is none yet."""
        link = self.root / "current"
        try:
            path = self.root / link.readlink()
        except OSError:
            return None
        return Tree(path) if path.is_dir() else None

    def tree(self, version: str) -> Tree:
        """The tree of a version, whether it is there or not."""
        return Tree(self.trees / version)

    def sound(self, tree: Tree) -> bool:
        """Whether a tree is there, whole, and what its version says."""
        try:
            return tree.dags.is_dir() and tree.version.rpartition("-")[2] == digest(tree.files())
        except OSError:
            return False

    @contextlib.contextmanager
    def lock(self, report: Callable[[str], object], *, seconds: float = LOCK_SECONDS) -> Generator[None, None, None]:
        """Be the only one that writes. Waits for another import, and says so.

        :param seconds: how long to wait at most.
        :raises WtmoError: the folder cannot be written, or the other import took longer.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            file = (self.root / "lock").open("w")
        except OSError as error:
            raise WtmoError(
                f"cannot write to {self.root}: {error.strerror}",
                fix="make it writable, or name another with --into DIR",
            ) from error
        with file:
            if not _try_lock(file.fileno()):
                report("another import is under way; waiting for it")
                end = time.monotonic() + seconds
                while not _try_lock(file.fileno()):
                    if time.monotonic() > end:
                        raise WtmoError(
                            f"another import into {self.root} was not done after {seconds:.0f} s",
                            fix="look at what it does, or end it, and import again",
                        )
                    time.sleep(0.05)
            self._remove_half_made()
            yield

    def write_tree(self, version: str, files: Mapping[str, bytes], status: Mapping[str, Any]) -> Tree:
        """Make a tree, whole or not at all. One that is there and sound keeps its files and gets the new status.

        :param files: by ``dags/<name>`` and ``source/<name>``.
        """
        tree = self.tree(version)
        if self.sound(tree):
            if tree.status != status:
                write_json(tree.path / "status.json", status)
            return tree
        if tree.path.exists():
            _mend(tree, files)
            write_json(tree.path / "status.json", status)
            return tree
        half = self._half_made(self.trees)
        before = self.current
        for name, content in files.items():
            _write_file(half / name, content, before.path / name if before else None)
        (half / "dags").mkdir(parents=True, exist_ok=True)
        write_json(half / "status.json", status)
        half.replace(tree.path)
        return tree

    def serve(self, tree: Tree) -> None:
        """Make a tree the one that is served, in one step."""
        before = self.current
        if before and before.path == tree.path:
            return
        link = self._half_made(self.root)
        link.symlink_to(Path("trees") / tree.version)
        link.replace(self.root / "current")
        if before:
            # Its age counts from now on.
            with contextlib.suppress(OSError):
                os.utime(before.path)

    def pin(self, version: str) -> Tree | None:
        """The copy of a version for runs that are pinned to it, made from its tree. None: there is no such tree."""
        pinned = Tree(self.versions / version)
        if self.sound(pinned):
            return pinned
        tree = self.tree(version)
        if not self.sound(tree):
            return None
        with (self.root / "versions.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if pinned.path.exists():
                _mend(pinned, tree.files())
                return pinned
            for left in self.versions.glob(f"{HALF_MADE}*"):
                _delete(left)
            half = self._half_made(self.versions)
            for name, content in tree.files().items():
                _write_file(half / name, content, tree.path / name)
            (half / "dags").mkdir(parents=True, exist_ok=True)
            half.replace(pinned.path)
        return pinned

    def sweep(self, now: float, fingerprint: str) -> list[str]:
        """Remove trees that nobody can be pinned to any more, and old caches.

        :param now: seconds since 1970.
        :param fingerprint: whose cache stays in any case.
        :return: versions that were removed.
        """
        current = self.current
        trees = sorted(self._folders(self.trees), key=lambda path: path.stat().st_mtime, reverse=True)
        old = [
            path
            for path in trees[KEEP_TREES:]
            if path.stat().st_mtime < now - KEEP_SECONDS and not (current and path == current.path)
        ]
        for path in old:
            self._remove(path)
        tidy(self.root / "cache", {fingerprint}, keep=KEEP_CACHES)
        return [path.name for path in old]

    def cache(self, fingerprint: str) -> Cache:
        """The verdicts that were made with a fingerprint."""
        return Cache(self.root / "cache" / fingerprint)

    def _half_made(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{HALF_MADE}{os.getpid()}.{time.monotonic_ns()}"

    def _remove(self, path: Path) -> None:
        """Remove a folder; killed half-way, what is left has a name that nobody reads."""
        half = self._half_made(path.parent)
        path.replace(half)
        _delete(half)

    def _remove_half_made(self) -> None:
        for folder in (self.root, self.trees):
            for path in folder.glob(f"{HALF_MADE}*"):
                _delete(path)

    def _folders(self, folder: Path) -> Iterable[Path]:
        return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def _write_file(path: Path, content: bytes, before: Path | None) -> None:
    """Write a read-only file. One with the same bytes before keeps its time, by which Airflow tells what to parse anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with contextlib.suppress(OSError):
        if before and before.read_bytes() == content:
            shutil.copystat(before, path)
    path.chmod(0o444)


def _mend(tree: Tree, files: Mapping[str, bytes]) -> None:
    """Put a damaged tree right where it lies, file by file: what reads it meanwhile finds each file whole."""
    for name in tree.files().keys() - files.keys():
        (tree.path / name).unlink()
    for name, content in files.items():
        path = tree.path / name
        with contextlib.suppress(OSError):
            if path.read_bytes() == content:
                continue
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f"{HALF_MADE}{path.name}")
        half.unlink(missing_ok=True)
        _write_file(half, content, None)
        half.replace(path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
