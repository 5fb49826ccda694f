"""Where generated files come from: a folder, a local git repository, or a git URL.

A source gives a :class:`Snapshot`: each file's present revision and the older ones, newest first. Git sources are read
from a bare repository of our own, into which one ref is fetched: nothing of the source's configuration, hooks or
work tree has a say, and what was served once can be made again after the source's history was rewritten.

Bounds, beyond which nothing is read: :data:`MAX_FILES` files, :data:`MAX_FILE` bytes a file, :data:`MAX_PACK` bytes a fetch.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import tarfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from utils.config import environment
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

MAX_FILES = 2_000
MAX_FILE = 2 << 20
MAX_PACK = 2 << 30
MAX_COMMITS = 5_000
FETCH_SECONDS = 600
READ_SECONDS = 120
FOLDER = "dags"

_OUR_REF = "refs/wtmo/source"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]*")
_SCP_LIKE = re.compile(r"[\w.-]+@[\w.-]+:(?!/?-)[\w./~+-]+")
_URL = re.compile(r"[a-z]+://")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_ADDRESS = re.compile(r"\S+@\S+")
_LINK, _MODULE, _NO_BLOB = "120000", "160000", "0" * 40


@dataclass(frozen=True)
class Revision:
    """One version of one file.

    :param blob: git's object id of its bytes; empty when it cannot be read as a file, then ``problem`` says why.
    :param commit: the commit that brought it, with its date (seconds since 1970) and first line. None in a folder.
    """

    blob: str
    commit: str | None = None
    date: int = 0
    subject: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Vanished:
    """A file that the source no longer has: the commit that removed it, and its revisions, newest first."""

    commit: str | None
    date: int
    subject: str
    revisions: tuple[Revision, ...]

    def until(self, days: int) -> int:
        """When it has been gone for some days; seconds since 1970."""
        return self.date + days * 86_400


@dataclass(frozen=True)
class Snapshot:
    """A source at one moment.

    :param id: the commit; ``folder`` for a folder.
    :param date: when the commit was made, or the folder read; seconds since 1970.
    :param files: by path in the folder of DAGs, the revisions, newest first; the first is the present one.
    :param vanished: by path, what was removed in the history that was read.
    """

    id: str
    date: int
    subject: str
    files: Mapping[str, tuple[Revision, ...]]
    vanished: Mapping[str, Vanished] = field(default_factory=dict)

    def only(self, pattern: str) -> Snapshot:
        """The files whose path matches a glob pattern."""
        files = {name: revisions for name, revisions in self.files.items() if fnmatchcase(name, pattern)}
        vanished = {name: gone for name, gone in self.vanished.items() if fnmatchcase(name, pattern)}
        return replace(self, files=files, vanished=vanished)

    def content(self, retire_days: int) -> str:
        """A digest of everything that can change what is made of it. A commit stands for all its history."""
        present = sorted((name, revisions[0]) for name, revisions in self.files.items())
        gone = sorted((name, by.date) for name, by in self.vanished.items() if by.until(retire_days) > self.date)
        return hashlib.sha256(repr((self.id, present, gone)).encode()).hexdigest()


class Source(ABC):
    """Where generated files come from.

    :param url: what to show for it; holds no secret.
    """

    url: str
    kind: str
    ref: str | None = None

    def remember(self, served: Path | None, gone: Mapping[str, int]) -> None:
        """Take note of what is served now. Of use to a source without history only.

        :param served: the folder with the bytes before translation of what is served.
        :param gone: by path, when a file was first missed; seconds since 1970.
        """
        del served, gone

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """Look at the source.

        :raises WtmoError: it cannot be read.
        """

    @abstractmethod
    def read(self, blobs: Iterable[str]) -> dict[str, bytes]:
        """The bytes of blobs that a snapshot named.

        :raises WtmoError: one is missing or larger than :data:`MAX_FILE`.
        """


class FolderSource(Source):
    """A folder of files, no history. The last good version of a file is the one that is served now.

    :param path: the folder; its sub-folder ``dags`` is taken when there is one.
    :param clock: tells the present; seconds since 1970.
    """

    kind = "folder"

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.url = str(path)
        self._clock = clock
        self._served: Path | None = None
        self._gone: Mapping[str, int] = {}
        self._bytes: dict[str, bytes] = {}

    def remember(self, served: Path | None, gone: Mapping[str, int]) -> None:
        """See :class:`Source`."""
        self._served, self._gone = served, gone

    def snapshot(self) -> Snapshot:
        """Read every ``*.py`` below the folder; what is a link is named, not followed."""
        now = int(self._clock())
        root = self.path / FOLDER if (self.path / FOLDER).is_dir() else self.path
        present = dict(self._walk(root))
        _bound(len(present), self.url)
        before = {name: Revision(blob) for name, blob in self._remember()}
        files = {
            name: (revision, *([before[name]] if name in before and before[name] != revision else []))
            for name, revision in present.items()
        }
        vanished = {
            name: Vanished(None, self._gone.get(name, now), "", (revision,))
            for name, revision in before.items()
            if name not in present
        }
        return Snapshot("folder", now, "", files, vanished)

    def read(self, blobs: Iterable[str]) -> dict[str, bytes]:
        """The bytes that :meth:`snapshot` saw."""
        return {blob: self._bytes[blob] for blob in blobs}

    def _walk(self, root: Path) -> Iterator[tuple[str, Revision]]:
        try:
            for path in sorted(root.rglob("*")):
                name = path.relative_to(root).as_posix()
                if any(part.startswith((".", "__pycache__")) for part in PurePosixPath(name).parts):
                    continue
                if path.is_symlink():
                    yield name, Revision("", problem="is a symbolic link; put the file itself there")
                elif path.suffix == ".py" and not path.is_dir():
                    yield name, self._revision(path, name)
        except OSError as error:
            raise WtmoError(f"cannot read {root}: {error.strerror}", fix="name a folder that you can read") from error

    def _revision(self, path: Path, name: str) -> Revision:
        if problem := _bad_name(name):
            return Revision("", problem=problem)
        # A link or a pipe put there since: not followed, not waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return Revision("", problem="is no regular file")
            content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            return Revision("", problem=_too_large())
        return Revision(self._keep(content))

    def _remember(self) -> Iterator[tuple[str, str]]:
        if self._served and self._served.is_dir():
            for path in sorted(self._served.rglob("*.py")):
                yield path.relative_to(self._served).as_posix(), self._keep(path.read_bytes())

    def _keep(self, content: bytes) -> str:
        blob = blob_id(content)
        self._bytes[blob] = content
        return blob


class GitSource(Source):
    """One ref of a git repository.

    :param url: a path, ``https://``, ``ssh://``, ``file://`` or ``user@host:path``. A user's password or token in it is refused.
    :param ref: branch, tag or full commit id. Default: the repository's ``HEAD``.
    :param mirror: the bare repository that the ref is fetched into; made when missing.
    :param extra_environment: further environment of git while it fetches, such as ``GIT_SSH_COMMAND``.
    :param seconds: what a fetch may take. Default: :data:`FETCH_SECONDS`.
    :param depth: how many commits of the history to fetch. Default: all of them.
    """

    kind = "git"

    def __init__(
        self,
        url: str,
        mirror: Path,
        *,
        ref: str | None = None,
        extra_environment: Mapping[str, str] | None = None,
        seconds: int | None = None,
        depth: int | None = None,
    ) -> None:
        self._from = _allowed(url)
        self.url = url
        self.ref = ref
        if ref is not None and (not _REF.fullmatch(ref) or ".." in ref):
            raise WtmoError(f"{ref!r} is not a branch, a tag or a full commit id", fix="give --ref such a name")
        self.mirror = mirror
        self.extra_environment = dict(extra_environment or {})
        self._seconds = seconds
        self._depth = depth

    def branch(self, name: str) -> str | None:
        """The ref of a branch of the repository, or of the one that it was cloned from. None: neither has it.

        :raises WtmoError: the source cannot be reached.
        """
        self._prepare()
        refs = self._git("ls-remote", "--", self._from, seconds=self._seconds or FETCH_SECONDS).decode().split()[1::2]
        wanted = {f"refs/heads/{name}": name, f"refs/remotes/origin/{name}": f"refs/remotes/origin/{name}"}
        return next((short for ref, short in wanted.items() if ref in refs), None)

    def head(self) -> str:
        """The commit that the last fetch brought.

        :raises WtmoError: nothing was fetched yet.
        """
        if commit := self._resolve(_OUR_REF):
            return commit
        raise WtmoError(f"nothing of {self.url} was fetched yet")

    def export(self, folder: str, into: Path) -> None:
        """Write a folder of the fetched commit's files below ``into``; nothing lands outside of it.

        :raises WtmoError: the commit has no such folder, or it cannot be written.
        """
        archive = self._git("archive", "--format=tar", _OUR_REF, "--", folder, failure=f"{self.url} has no {folder}/")
        try:
            with tarfile.open(fileobj=io.BytesIO(archive)) as files:
                files.extractall(into, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise WtmoError(f"cannot write the files of {self.url} to {into}: {error}") from error

    def fetch(self, ref: str | None = None) -> None:
        """Bring the ref's commits into the mirror.

        :raises WtmoError: the source cannot be reached, or has no such ref.
        """
        self._prepare()
        wanted = ref or self.ref or "HEAD"
        limit = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({MAX_PACK},) * 2)"
        self._git(
            *("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--update-shallow"),
            *((f"--depth={self._depth}",) if self._depth else ()),
            *("--no-write-fetch-head", "--", self._from, f"+{wanted}:{_OUR_REF}"),
            wrap=(sys.executable, "-IS", "-c", f"{limit}; os.execvp(sys.argv[1], sys.argv[1:])"),
            seconds=self._seconds or FETCH_SECONDS,
            failure=f"cannot fetch {wanted} of {self.url}",
        )

    def snapshot(self) -> Snapshot:
        """Fetch, and look at the ref's commit."""
        self.fetch()
        return self.at(_OUR_REF)

    def fetched(self) -> Snapshot | None:
        """What the last fetch brought. None: nothing was fetched yet."""
        return self.at(_OUR_REF) if self._resolve(_OUR_REF) else None

    def commit(self, commit: str) -> Snapshot:
        """One commit, fetched if it is not here.

        :raises WtmoError: the source has it no longer.
        """
        if not _COMMIT.fullmatch(commit):
            raise WtmoError(f"{commit!r} is not a full commit id")
        if not self._resolve(commit):
            self.fetch()
        if not self._resolve(commit):
            self.fetch(commit)
        return self.at(commit)

    def at(self, revision: str) -> Snapshot:
        """A commit that is in the mirror, with the history of each file along its first parents."""
        commit = self._resolve(revision)
        if not commit:
            raise WtmoError(f"{self.url} has no {revision}", fix="name a branch that it has with --ref")
        date, _, subject = (
            self._git("log", "-1", "--format=%ct %s", commit, "--").decode(errors="replace").partition(" ")
        )
        folder = bool(self._git("ls-tree", "-d", "-z", commit, "--", FOLDER))
        prefix = f"{FOLDER}/" if folder else ""
        files, vanished = self._history(commit, prefix)
        present: dict[str, tuple[Revision, ...]] = {}
        for mode, blob, size, name in self._entries(commit, prefix):
            if problem := _entry_problem(mode, size, name):
                known = files.get(name, [Revision("")])
                newest = known[0]
                present[name] = (Revision("", newest.commit, newest.date, newest.subject, problem), *known[1:])
            elif name.endswith(".py"):
                present[name] = tuple(files.get(name) or [Revision(blob)])
        _bound(len(present), self.url)
        left = {name: gone for name, gone in vanished.items() if name not in present}
        return Snapshot(commit, int(date), clean(subject), present, left)

    def read(self, blobs: Iterable[str]) -> dict[str, bytes]:
        """The bytes of blobs, all by one process."""
        wanted = sorted(set(blobs))
        if not wanted:
            return {}
        out = self._git("cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in wanted).encode())
        found: dict[str, bytes] = {}
        at = 0
        for blob in wanted:
            end = out.index(b"\n", at)
            header = out[at:end].split()
            if len(header) != 3 or header[1] != b"blob":
                raise WtmoError(
                    f"{self.url} does not have the object {blob} that its history names",
                    fix="the repository is damaged or a partial clone; import from a full one",
                )
            size = int(header[2])
            found[blob] = out[end + 1 : end + 1 + size]
            at = end + size + 2
        return found

    def _entries(self, commit: str, prefix: str) -> Iterator[tuple[str, str, int, str]]:
        for entry in _split(self._git("ls-tree", "-r", "-l", "-z", commit, "--", *([prefix] if prefix else []))):
            meta, _, name = entry.partition("\t")
            mode, _, blob, size = meta.split()
            yield mode, blob, int(size) if size.isdigit() else 0, name.removeprefix(prefix)

    def _history(self, commit: str, prefix: str) -> tuple[dict[str, list[Revision]], dict[str, Vanished]]:
        """By name, its revisions of regular files, newest first; and what was removed last."""
        log = self._git(
            *("log", "--first-parent", "--diff-merges=first-parent", "--raw", "--no-abbrev", "--no-renames", "-z"),
            *("--no-show-signature", f"--max-count={MAX_COMMITS}", "--format=%x01%H %ct %s", commit, "--"),
            *([prefix] if prefix else []),
        )
        files: dict[str, list[Revision]] = {}
        removed: dict[str, tuple[str, int, str]] = {}
        at, date, subject = "", 0, ""
        fields = iter(_split(log))
        for entry in fields:
            text = entry.lstrip("\n")
            if text.startswith("\x01"):
                at, when, subject = text[1:].split(" ", 2)
                date, subject = int(when), clean(subject)
            elif text.startswith(":"):
                _, mode, _, blob, _ = text.split()
                name = next(fields).removeprefix(prefix)
                if blob == _NO_BLOB:
                    if name not in files:
                        removed.setdefault(name, (at, date, subject))
                elif name.endswith(".py") or mode in {_LINK, _MODULE}:
                    blob = "" if mode in {_LINK, _MODULE} else blob
                    files.setdefault(name, []).append(Revision(blob, at, date, subject))
        vanished = {
            name: Vanished(*by, tuple(revision for revision in files[name] if revision.blob))
            for name, by in removed.items()
            if files.get(name)
        }
        # Only the present revision may be no file; an older one of that kind can never be served again.
        kept = {name: [all_[0], *(old for old in all_[1:] if old.blob)] for name, all_ in files.items()}
        return kept, vanished

    def _resolve(self, revision: str) -> str | None:
        if not (self.mirror / "HEAD").exists():
            return None
        answer = self._run("rev-parse", "--quiet", "--verify", "--end-of-options", f"{revision}^{{commit}}")
        return answer.stdout.decode().strip() if answer.returncode == 0 else None

    def _prepare(self) -> None:
        if (self.mirror / "HEAD").exists():
            return
        self.mirror.parent.mkdir(parents=True, exist_ok=True)
        _require(
            _git_process(("init", "--quiet", "--bare", "--template=", "--", str(self.mirror)), READ_SECONDS, {}),
            f"cannot make {self.mirror}",
        )

    def _git(
        self,
        *arguments: str,
        stdin: bytes = b"",
        wrap: Sequence[str] = (),
        seconds: int = READ_SECONDS,
        failure: str | None = None,
    ) -> bytes:
        answer = self._run(*arguments, stdin=stdin, wrap=wrap, seconds=seconds)
        return _require(answer, failure or f"cannot read {self.url}")

    def _run(
        self, *arguments: str, stdin: bytes = b"", wrap: Sequence[str] = (), seconds: int = READ_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        return _git_process(
            (f"--git-dir={self.mirror}", *arguments), seconds, self.extra_environment, stdin=stdin, wrap=wrap
        )


# Whatever the machine's or the user's configuration says: no hook, no submodule, no other protocol, no background process.
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.logAllRefUpdates": "false",
    "fetch.recurseSubmodules": "false",
    "fetch.fsckObjects": "true",
    # Old commits of long-lived repositories have these harmless faults.
    "fetch.fsck.missingSpaceBeforeDate": "ignore",
    "fetch.fsck.zeroPaddedFilemode": "ignore",
    "fetch.fsck.badTimezone": "ignore",
    "gc.auto": "0",
    "log.showSignature": "false",
    "maintenance.auto": "false",
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    "protocol.file.allow": "always",
    "submodule.recurse": "false",
}
_REDIRECTS = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_EXTERNAL_DIFF", "GIT_TRACE", "GIT_CEILING_DIRECTORIES", "GIT_PAGER"),
)


def _git_process(
    arguments: Sequence[str],
    seconds: int,
    extra: Mapping[str, str],
    *,
    stdin: bytes = b"",
    wrap: Sequence[str] = (),
) -> subprocess.CompletedProcess[bytes]:
    settings = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
    inherited = {name: value for name, value in environment().items() if name not in _REDIRECTS}
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    command = [*wrap, "git", "--no-pager", *settings, *arguments]
    try:
        return subprocess.run(
            command, input=stdin, capture_output=True, timeout=seconds, check=False, env=inherited | quiet | dict(extra)
        )
    except FileNotFoundError:
        raise WtmoError("git is not installed", fix="install git 2.31 or newer") from None
    except subprocess.TimeoutExpired:
        said = f"git was not done after {seconds} s".encode()
        return subprocess.CompletedProcess(command, 124, b"", said)


def _require(answer: subprocess.CompletedProcess[bytes], failure: str) -> bytes:
    if answer.returncode == 0:
        return answer.stdout
    lines = [clean(line, 300) for line in answer.stderr.decode(errors="replace").splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith(("fatal:", "error:", "remote:"))), " ".join(lines[-1:]))
    fix = "check its address, the ref, and your access to it"
    if "dubious ownership" in said:
        fix = "the repository belongs to another user: git config --global --add safe.directory <its path>"
    if re.search(r"couldn't find remote ref [0-9a-f]{4,39}$", said):
        fix = "a commit is fetched by its whole hash: 40 characters, as `git rev-parse` prints it"
    raise WtmoError(f"{failure}: {said or f'git ended with status {answer.returncode}'}", fix=fix)


def open_source(where: str, *, ref: str | None, mirror: Path) -> Source:
    """The source that a person named: a git URL, the top folder of a git repository, or a folder.

    :param where: folder, repository or URL.
    :param ref: branch, tag or commit; of git only.
    :param mirror: see :class:`GitSource`.
    :raises WtmoError: it is none of these, or not allowed.
    """
    if _URL.match(where) or _SCP_LIKE.fullmatch(where) or where.startswith("-"):
        return GitSource(where, mirror, ref=ref)
    path = Path(where).expanduser()
    if not path.is_dir():
        raise WtmoError(
            f"{where} is no folder, no git repository and no git URL",
            fix="name one: wtmo import https://github.com/mozilla/bigquery-etl --ref generated-dags",
        )
    path = path.resolve()
    if (path / ".git").exists() or ((path / "HEAD").is_file() and (path / "objects").is_dir()):
        return GitSource(str(path), mirror, ref=ref)
    if ref is not None:
        raise WtmoError(f"{where} is a folder and no git repository: it has no {ref!r}", fix="leave --ref out")
    return FolderSource(path)


def blob_id(content: bytes) -> str:
    """Git's name of a file's bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def clean(text: str, longest: int = 100) -> str:
    """What others wrote, fit to be shown on one line: no control characters, no mail addresses.

    >>> clean("Fix  \x1b[2J for somebody@example.com")
    'Fix [2J for …'
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(_ADDRESS.sub("…", plain).split())[:longest]


def _allowed(url: str) -> str:
    """What to hand to git: never an option, never a protocol that runs a program."""
    if url.startswith("/") and "\0" not in url:
        return url
    if _SCP_LIKE.fullmatch(url):
        return url
    parts = urlsplit(url)
    if parts.password:
        raise WtmoError(
            "the URL holds a password or token, which would show in process lists and logs",
            fix="leave it out and use git's credential helper, or an Airflow connection of type git",
        )
    host = parts.hostname or ""
    if (
        parts.scheme in {"https", "ssh"}
        and host
        and not host.startswith("-")
        and not (parts.username or "").startswith("-")
    ):
        return url
    if parts.scheme == "file" and not host and parts.path.startswith("/"):
        return url
    raise WtmoError(
        f"{url!r} is not a git URL that may be read", fix="use https://, ssh://, file:/// or user@host:path"
    )


def _entry_problem(mode: str, size: int, name: str) -> str:
    if mode == _LINK:
        return "is a symbolic link; put the file itself there"
    if mode == _MODULE:
        return "is a submodule, which is not followed"
    if not name.endswith(".py"):
        return ""
    return _bad_name(name) or (_too_large() if size > MAX_FILE else "")


def _bad_name(name: str) -> str:
    if all(_PART.fullmatch(part) for part in name.split("/")):
        return ""
    return "has a name that no DAG file may have; use letters, digits, '_', '-' and '.'"


def _too_large() -> str:
    return f"is larger than {MAX_FILE >> 20} MiB"


def _bound(count: int, url: str) -> None:
    if count > MAX_FILES:
        raise WtmoError(
            f"{url} has {count} files, more than {MAX_FILES}",
            fix="name the folder or the branch with the DAG files only",
        )


def _split(output: bytes) -> list[str]:
    """The fields of git's -z output. Names that are no UTF-8 keep their bytes as \\x escapes."""
    return [field.decode(errors="backslashreplace") for field in output.split(b"\0") if field]
