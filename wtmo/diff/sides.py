"""What a difference is between: a git ref of this repository, a checkout, a folder of DAGs, an import, or an inventory kept in a file.

A ref is unpacked into a temporary folder, with its own operators, utilities and settings; the work tree is never touched.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config import ROOT, environment
from wtmo.errors import WtmoError
from wtmo.graph.inventory import IMPORTED, OWN, Source
from wtmo.graph.model import File, Inventory
from wtmo.imports.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

UNPACKED = ("config", "dags", "operators", "plugins", "resources", "utils")
"""Folders of a ref that what its DAGs are depends on."""
GIT_SECONDS = 120
FORMAT = 1


@dataclass(frozen=True)
class Side:
    """One side of a difference.

    :param name: what the user typed.
    :param told: what it is, for people.
    :param sources: what to load. Empty: ``kept`` holds it already.
    """

    name: str
    told: str
    sources: tuple[Source, ...] = ()
    kept: Inventory | None = None


def open_side(name: str, into: Path, imported: Sequence[Source] = (), repository: Path = ROOT) -> Side:
    """Find out what a name means: a path that exists, else a git ref.

    :param into: an empty folder for what has to be unpacked.
    :param imported: imported DAGs, loaded with each ref's or checkout's own operators: a change of those changes them too.
    :raises WtmoError: it is neither, or can't be read.
    """
    path = Path(name)
    if name and path.is_dir():
        return _folder(name, path.resolve(), imported)
    if path.is_file():
        return Side(name, f"the inventory in {name}", kept=load(path))
    commit = (
        _git(repository, "rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}").strip().decode()
    )
    if not commit:
        raise WtmoError(
            f"{name!r} is no git ref of this repository and no folder",
            fix="name a branch, a tag or a commit (git log --oneline), or a folder of DAGs",
        )
    _unpack(repository, commit, into)
    if not (into / "dags").is_dir():
        raise WtmoError(f"{name} has no dags/", fix="name a ref of a repository that has DAGs")
    return Side(name, f"{name} ({commit[:12]})", _checkout(into, imported))


def _folder(name: str, path: Path, imported: Sequence[Source]) -> Side:
    if (path / "current").is_symlink():
        tree = Store(path).current
        if tree is None:
            raise WtmoError(
                f"the import in {name} serves nothing", fix="import something into it: wtmo import SOURCE --into FOLDER"
            )
        return Side(name, f"the import in {name} ({tree.version})", (Source(IMPORTED, tree.dags),))
    if (path / "dags").is_dir() and (path / "operators").is_dir() and (path / "utils").is_dir():
        return Side(name, f"the checkout {name}", _checkout(path, imported))
    root = path / "dags" if (path / "dags").is_dir() else path
    return Side(name, f"the folder {name}", (Source(IMPORTED, root),))


def _checkout(path: Path, imported: Sequence[Source]) -> tuple[Source, ...]:
    return Source(OWN, path / "dags", code=path), *(Source(each.bundle, each.root, code=path) for each in imported)


def _unpack(repository: Path, commit: str, into: Path) -> None:
    there = _git(repository, "ls-tree", "--name-only", "-z", commit).decode(errors="replace").split("\0")
    wanted = [name for name in UNPACKED if name in there]
    if not wanted:
        return
    archive = _git(repository, "archive", "--format=tar", commit, "--", *wanted)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(into, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise WtmoError(f"cannot unpack {commit[:12]} into {into}: {error}") from error


def _git(repository: Path, *arguments: str) -> bytes:
    """What git says. A ref that is not there: nothing.

    :raises WtmoError: it fails, or is not there.
    """
    command = ["git", "--no-replace-objects", "-C", str(repository), "-c", "core.fsmonitor=false", *arguments]
    # Within a hook git's own variables name another repository.
    own = {name: value for name, value in environment().items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=GIT_SECONDS, check=False, env=own
        )
    except FileNotFoundError as error:
        raise WtmoError("git is not installed, and refs can't be read without it", fix="apt-get install git") from error
    except subprocess.TimeoutExpired as error:
        raise WtmoError(f"git {arguments[0]} took longer than {GIT_SECONDS} s") from error
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode and "not a git repository" in said:
        raise WtmoError(f"{repository} is no git repository, so it has no refs", fix="name two folders of DAGs")
    if done.returncode and said:
        raise WtmoError(f"git {arguments[0]} failed: {said}")
    return done.stdout if done.returncode == 0 else b""


# --- kept inventories


def save(inventory: Inventory, path: Path) -> None:
    """Keep an inventory in a file: for a difference between two environments, each describes its DAGs itself."""
    try:
        path.write_text(json.dumps({"format": FORMAT, **asdict(inventory)}, sort_keys=True))
    except OSError as error:
        raise WtmoError(f"cannot write {path}: {error.strerror}", fix="name a file that you can write") from error


def load(path: Path) -> Inventory:
    """The opposite of :func:`save`.

    :raises WtmoError: the file holds no inventory, or one of another version of this tool.
    """
    try:
        told = json.loads(path.read_bytes())
        if told["format"] != FORMAT:
            raise WtmoError(
                f"{path} was written by another version", fix=f"write it anew: wtmo diff BASE --save {path}"
            )
        return Inventory(told["date"], tuple(File.from_json(each) for each in told["files"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WtmoError(
            f"{path} holds no inventory: {type(error).__name__}: {error}",
            fix=f"write one: wtmo diff BASE --save {path}",
        ) from error
