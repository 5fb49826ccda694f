"""What the bundle of imported DAGs serves on this machine: the sample's generated files, or a checkout that was named.

Both reach Airflow as in production, from a git repository through :mod:`wtmo.imports`. A plain folder becomes one first.
"""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config import ROOT, environment
from wtmo.errors import WtmoError
from wtmo.imports.run import Options
from wtmo.imports.source import FOLDER, FolderSource, GitSource, open_source
from wtmo.imports.status import held_of, read_status
from wtmo.imports.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from wtmo.local.state import PlatformRecord, State

    Report = Callable[[str], None]

BUNDLE = "bigquery-etl"
SAMPLE_FILES = ROOT / "resources" / "sample" / "dags"
DAGS_BRANCH, SQL_BRANCH = "generated-dags", "generated-sql"
# Here a checkout is looked at, however much of it is held back.
OPTIONS = Options(max_held=1.0)
SHOWN = 10
# A first fetch of a large repository, and the import of all its files on a slow machine.
SECONDS = 900

_OWN_REF = "refs/heads/main"
_FIRST = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Origin:
    """One ref of a git repository: what the bundle polls."""

    url: str
    ref: str

    @property
    def settings(self) -> dict[str, str]:
        """The environment that says so to the bundle (:class:`utils.config.Imports`)."""
        return {"WTMO_IMPORT_URL": self.url, "WTMO_IMPORT_REF": self.ref, "WTMO_IMPORT_CONN_ID": ""}


def sample(state: State) -> Origin:
    """The repository of the sample's generated files, made or brought up to date."""
    return commit_folder(SAMPLE_FILES, _sample_repository(state))


def serves_sample(state: State, record: PlatformRecord) -> bool:
    """Whether the running platform imports the sample's generated files."""
    return record.settings.get("WTMO_IMPORT_URL") == str(_sample_repository(state).resolve())


def _sample_repository(state: State) -> Path:
    return state.folder("generated") / "sample.git"


def origin(state: State, where: str, ref: str | None) -> Origin:
    """The repository to import from.

    :param where: a git URL, a git repository, or a folder of generated files. A repository is polled while the platform runs;
        a folder is taken as it is now.
    :param ref: branch, tag or commit. Default: the branch ``generated-dags``, also of the repository that it was cloned
        from; a repository without one gives its ``HEAD``.
    :raises WtmoError: it is none of these, or can't be read.
    """
    repositories = state.folder("generated")
    source = open_source(where, ref=ref, mirror=repositories / "refs.git")
    if isinstance(source, GitSource):
        return Origin(source.url, ref or source.branch(DAGS_BRANCH) or "HEAD")
    return commit_folder(Path(source.url), repositories / "folder.git")


def checkout(state: State, where: str | None, imported: Origin, report: Report) -> Path | None:
    """The folder of query files that go with imported DAGs.

    :param where: a folder that holds ``sql/``, taken as it is; or a repository or URL with the branch ``generated-sql``, whose
        newest commit is written below the state folder. Default: ``imported``, where it has that branch.
    :return: None: none was named, and ``imported`` has none.
    :raises WtmoError: what was named has no query files.
    """
    if where and (Path(where).expanduser() / "sql").is_dir():
        return Path(where).expanduser().resolve()
    repositories = state.folder("generated")
    source = open_source(where or imported.url, ref=None, mirror=repositories / "sql.git")
    branch = source.branch(SQL_BRANCH) if isinstance(source, GitSource) else None
    if not isinstance(source, GitSource) or not branch:
        if where:
            raise WtmoError(
                f"{where} has neither a folder sql/ nor a branch {SQL_BRANCH}",
                fix="name a checkout of bigquery-etl that has one",
            )
        return None
    newest = GitSource(source.url, repositories / "sql.git", ref=branch, depth=1)
    report(f"fetching the query files of {source.url} {branch}")
    newest.fetch()
    folder = repositories / f"sql-{newest.head()}"
    if not folder.is_dir():
        half = repositories / "half-made"
        for old in [half, *repositories.glob("sql-*")]:
            shutil.rmtree(old, ignore_errors=True)
        newest.export("sql", half)
        half.replace(folder)
    return folder


def supplied(
    state: State, where: str | None, ref: str | None, bqetl: str | None, report: Report
) -> tuple[Origin | None, Path | None]:
    """What ``wtmo up`` was told to serve, and the query files that go with it. None: the sample's.

    :raises WtmoError: one of them can't be read.
    """
    if not where:
        if ref:
            raise WtmoError("a ref of nothing", fix="name the repository too: make up IMPORT=... IMPORT_REF=...")
        return None, checkout(state, bqetl, sample(state), report) if bqetl else None
    imported = origin(state, where, ref)
    return imported, checkout(state, bqetl, imported, report)


def default_store(state: State, other: Path) -> Store:
    """The store that a person means who names none: the platform's, or ``other`` if that has none."""
    own = store(state)
    return own if own.current or own.last.exists() else Store(other.resolve())


def store(state: State) -> Store:
    """Where the bundle keeps what it imported."""
    return Store(state.root / "airflow" / "bundles" / BUNDLE)


def command(state: State, imported: Origin) -> list[str]:
    """The command line of the import that fills the bundle's folder, with the options that the bundle has."""
    into = ("--into", str(store(state).root), "--max-held", str(OPTIONS.max_held))
    return [sys.executable, "-m", "wtmo", "import", imported.url, "--ref", imported.ref, *into]


def bundle() -> dict[str, object]:
    """The entry of Airflow's list of DAG bundles.

    Each change below ``dags/``, ``operators/``, ``utils/`` or ``config/`` lets the next refresh judge the imported files anew; the
    dag-processor parses nothing meanwhile. So it is not refreshed as often as the folder in which people work.
    """
    return {
        "name": BUNDLE,
        "classpath": "wtmo.imports.bundle.ImportedDagBundle",
        "kwargs": {"refresh_interval": 30, "max_held": OPTIONS.max_held},
    }


def serves(state: State, imported: Origin) -> bool:
    """Whether the bundle's folder holds an older import of the same repository."""
    tree = store(state).current
    return bool(tree) and (tree.status.get("source") or {}).get("url") == imported.url if tree else False


def summary(state: State) -> str:
    """What is served and what is held back, in a few lines."""
    told = read_status(store(state), time.time())
    held, where = held_of(told), told.get("source") or {}
    lines = [f"serves {told.get('served', 0)} generated files of {where.get('url')}, {len(held)} held back"]
    for entry in held[:SHOWN]:
        problem = entry["problems"][0]
        line = f":{problem['line']}" if problem["line"] else ""
        lines.append(f"  {entry['file']}{line}: {problem['reason']}")
    if len(held) > SHOWN:
        lines.append(f"  and {len(held) - SHOWN} more: wtmo import status")
    return "\n".join(lines)


def commit_folder(folder: Path, repository: Path) -> Origin:
    """Commit the Python files of a folder of generated DAGs; nothing when they are those of the newest commit.

    The first commit has a fixed author and date, so that the same files give the same commit on every machine. Later ones
    have the present: the age of a fault and of a vanished file counts from them.

    :param folder: its sub-folder ``dags`` is taken when there is one.
    :raises WtmoError: it holds no Python files, or one that is no regular file.
    """
    source = FolderSource(folder)
    files = source.snapshot().files
    if problems := [f"{folder / name} {found[0].problem}" for name, found in files.items() if found[0].problem]:
        raise WtmoError("\n".join(problems))
    if not files:
        raise WtmoError(f"{folder} holds no Python files", fix="name a folder of generated DAG files, or a repository")
    if not (repository / "HEAD").exists():
        _git(repository, "init", "--quiet", "--bare", "--template=", "--initial-branch=main")
    content = source.read(found[0].blob for found in files.values())
    entries = "".join(f"100644 blob {found[0].blob}\t{FOLDER}/{name}\n" for name, found in sorted(files.items()))
    for blob in content.values():
        _git(repository, "hash-object", "-w", "--stdin", stdin=blob)
    index = {"GIT_INDEX_FILE": str(repository / "index")}
    (repository / "index").unlink(missing_ok=True)
    _git(repository, "update-index", "--add", "--index-info", stdin=entries.encode(), extra=index)
    tree = _git(repository, "write-tree", extra=index)
    before = _git(repository, "for-each-ref", "--format=%(objectname) %(tree)", _OWN_REF)
    parent, _, same = before.partition(" ")
    if tree != same:
        date = dt.datetime.now(dt.UTC) if parent else _FIRST
        who = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", "wtmo"), ("EMAIL", "wtmo@localhost.invalid"), ("DATE", date.isoformat()))
        }
        subject = f"Generated files of {folder.name}"
        made = _git(repository, "commit-tree", tree, *(("-p", parent) if parent else ()), "-m", subject, extra=who)
        _git(repository, "update-ref", _OWN_REF, made)
    return Origin(str(repository.resolve()), _OWN_REF.rpartition("/")[2])


def _git(repository: Path, *arguments: str, stdin: bytes = b"", extra: dict[str, str] | None = None) -> str:
    """Run git on our own repository, whatever the user's configuration says."""
    inherited = {name: value for name, value in environment().items() if not name.startswith("GIT_")}
    own = {"GIT_DIR": str(repository), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    try:
        done = subprocess.run(
            ["git", *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
            env=inherited | own | (extra or {}),
        )
    except FileNotFoundError:
        raise WtmoError("git is not installed", fix="install git 2.31 or newer") from None
    if done.returncode:
        raise WtmoError(f"git {arguments[0]} in {repository} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode().strip()
