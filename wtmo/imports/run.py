"""An import: look at the source, judge what is new, replace the tree that is served; and the same for one pinned version.

What is served is a function of the source's commit, of the code that judges (:func:`wtmo.imports.verdicts.fingerprint`), of the
hand-written DAGs and of :class:`Options`. State only saves time: any machine makes the same bytes anew, and
:func:`materialise` compares the digest.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wtmo.cache import read_json, write_json
from wtmo.errors import WtmoError
from wtmo.imports.plan import RETIRE_DAYS, make_plan
from wtmo.imports.status import describe, held_back, iso, seconds_of
from wtmo.imports.store import Store, digest
from wtmo.imports.translating import translate_all
from wtmo.imports.verdicts import (
    HAND_WRITTEN,
    Judge,
    SandboxLoader,
    compare_files,
    fingerprint,
    hand_written,
    hand_written_digest,
    no_report,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from wtmo.imports.plan import Plan
    from wtmo.imports.source import GitSource, Snapshot, Source
    from wtmo.imports.store import Tree
    from wtmo.imports.translating import Translated
    from wtmo.imports.verdicts import Loader, Report

MAX_HELD = 0.1
# What does not load may be the machine's fault: with nothing new it is tried again this often.
RETRY_SECONDS = 3_600

_VERSION = re.compile(r"([0-9a-f]{40})-([0-9a-f]{16})")


@dataclass(frozen=True)
class Options:
    """What an import's result depends on besides the source and the code.

    :param only: of the source's files, those whose path matches this glob pattern. Default: all.
    :param max_held: the share of files, 0 to 1, above which an import stops and changes nothing.
    :param retire_days: how long a vanished file is still served, without schedule.
    """

    only: str | None = None
    max_held: float = MAX_HELD
    retire_days: int = RETIRE_DAYS


@dataclass(frozen=True)
class Tools:
    """What an import works with: the real ones unless a test says otherwise."""

    loader: Callable[[], Loader] = SandboxLoader
    translate: Callable[[Sequence[tuple[str, bytes]]], Iterable[Translated]] = translate_all
    dags: Path = field(default_factory=lambda: HAND_WRITTEN)
    fingerprint: Callable[[], str] = fingerprint
    now: Callable[[], float] = time.time
    differences: Callable[[Any, Mapping[str, bytes]], Sequence[Any]] = compare_files


@dataclass(frozen=True)
class Outcome:
    """How an import ended.

    :param outcome: ``imported`` (another tree is served), ``unchanged``, ``stopped`` (too many files would be held back) or
        ``checked`` (nothing was to be changed).
    :param why: why it was stopped.
    :param status: see :mod:`wtmo.imports.status`; that of the tree that is served, or of the one that would have been.
    :param translated: how many files were translated.
    :param loaded: how many files were loaded.
    :param differences: of a check, what differs between a file before and after its translation
        (:class:`wtmo.imports.compare.Difference`).
    """

    outcome: str
    version: str | None
    status: dict[str, Any]
    why: str = ""
    translated: int = 0
    loaded: int = 0
    differences: tuple[Any, ...] = ()

    @property
    def exit_status(self) -> int:
        """0: all is served; 1: something is held back; 2: nothing was done."""
        if self.outcome == "stopped":
            return 2
        return 1 if self.status.get("held_back") or self.differences else 0


def run_import(
    source: Source,
    store: Store,
    options: Options | None = None,
    *,
    report: Report = no_report,
    tools: Tools | None = None,
) -> Outcome:
    """Bring what is served up to the source.

    :raises WtmoError: the source cannot be read, or the store not be written. What is served stays; ``last.json`` says why.
    """
    options, tools = options or Options(), tools or Tools()
    with store.lock(report), _recorded(store, tools.now):
        return _import(source, store, options, report, tools)


def _import(source: Source, store: Store, options: Options, report: Report, tools: Tools) -> Outcome:
    now = tools.now()
    last = read_json(store.last)
    current = store.current
    retired = current.status.get("retired", []) if current else []
    source.remember(
        current.source if current else None, {entry["file"]: int(seconds_of(entry["date"])) for entry in retired}
    )
    snapshot = _snapshot(source, options)
    _keep_others(current, options)
    print_ = tools.fingerprint()
    key = _key(snapshot, print_, options, tools)
    recent = last.get("key") == key and now - seconds_of(last["tried"]) < RETRY_SECONDS
    if last.get("key") == key and last["outcome"] == "stopped" and recent:
        return Outcome("stopped", current.version if current else None, {"held_back": last["held_back"]}, last["why"])
    if current and store.sound(current):
        status = current.status
        if status.get("key") == key and (recent or not status.get("held_back")):
            _record(store, now, "unchanged", key=key, tried=last.get("tried") if last.get("key") == key else None)
            return Outcome("unchanged", current.version, status)

    cache = store.cache(print_)
    with tools.loader() as loader:
        judge = Judge(source.read, cache, loader, translate=tools.translate, report=report)
        plan = make_plan(snapshot, judge, hand_written(cache, loader, tools.dags), retire_days=options.retire_days)
    done = (judge.translated, judge.loaded)
    told = describe(plan, snapshot, source)
    if why := _too_bad(plan, options):
        _record(store, now, "stopped", key=key, why=why, held_back=held_back(plan.held))
        return Outcome("stopped", current.version if current else None, told, why, *done)
    files = _files(plan, source)
    version = f"{snapshot.id}-{digest(files)}"
    tree = store.write_tree(version, files, told | {"key": key})
    changed = not current or current.version != version
    store.serve(tree)
    _record(store, now, "imported" if changed else "unchanged", key=key)
    store.sweep(now, print_)
    return Outcome("imported" if changed else "unchanged", version, told, "", *done)


def run_check(
    open_source: Callable[[Path], Source],
    options: Options | None = None,
    *,
    report: Report = no_report,
    tools: Tools | None = None,
) -> Outcome:
    """Do all that an import does and write nothing; compare each file before and after its translation too.

    :param open_source: gives the source; called with a folder for a temporary copy of its commits.
    :raises WtmoError: the source cannot be read.
    """
    options, tools = options or Options(), tools or Tools()
    with tempfile.TemporaryDirectory(prefix="wtmo-check-") as folder, tools.loader() as loader:
        store = Store(Path(folder))
        source = open_source(store.mirror)
        snapshot = _snapshot(source, options)
        judge = Judge(source.read, None, loader, translate=tools.translate, report=report)
        taken = hand_written(store.cache("check"), loader, tools.dags)
        plan = make_plan(snapshot, judge, taken, retire_days=options.retire_days)
        passed = {name: file.revision.blob for name, file in plan.served.items() if not file.retired}
        sources = source.read(passed.values())
        differences = tools.differences(loader, {name: sources[blob] for name, blob in passed.items()})
        version = f"{snapshot.id}-{digest(_files(plan, source))}"
        told = describe(plan, snapshot, source)
        return Outcome(
            "checked", version, told, _too_bad(plan, options), judge.translated, judge.loaded, tuple(differences)
        )


def materialise(
    version: str,
    source: GitSource,
    store: Store,
    options: Options | None = None,
    *,
    report: Report = no_report,
    tools: Tools | None = None,
) -> Tree:
    """The files of one version, for runs that are pinned to it: from the store, or made anew from the source's commit.

    What is made anew is translated first and not loaded: the digest tells whether that was all. Only when some file was held
    back for how it loads is the sandbox needed.

    :raises WtmoError: the version cannot be made: its commit is gone, or other code made it.
    """
    options, tools = options or Options(), tools or Tools()
    if pinned := store.pin(version):
        return pinned
    found = _VERSION.fullmatch(version)
    if not found:
        raise WtmoError(
            f"the version {version} is not in {store.root}, and only a version of a git commit can be made anew",
            fix="clear the run with 'Run with latest bundle version'",
        )
    commit, wanted = found.groups()
    with store.lock(report):
        if pinned := store.pin(version):
            return pinned
        snapshot = source.commit(commit)
        snapshot = snapshot.only(options.only) if options.only else snapshot
        cache = store.cache(tools.fingerprint())
        made = ""
        with tools.loader() as loader:
            for using in (None, loader):
                judge = Judge(source.read, cache, using, translate=tools.translate, report=report)
                taken = hand_written(cache, using, tools.dags) if using else {}
                plan = make_plan(snapshot, judge, taken, retire_days=options.retire_days)
                files = _files(plan, source)
                made = digest(files)
                if made == wanted:
                    store.write_tree(version, files, describe(plan, snapshot, source))
                    break
    pinned = store.pin(version) if made == wanted else None
    if not pinned:
        raise WtmoError(
            f"the version {version} cannot be made anew here: from commit {commit[:12]} this release makes {made}. "
            "Another release of the translator, or other hand-written DAGs, made it",
            fix="clear the run with 'Run with latest bundle version'",
        )
    return pinned


def _snapshot(source: Source, options: Options) -> Snapshot:
    snapshot = source.snapshot()
    if options.only:
        snapshot = snapshot.only(options.only)
    if not snapshot.files:
        matching = f" that match {options.only!r}" if options.only else ""
        raise WtmoError(
            f"{source.url} has no Python files{matching}",
            fix="name the folder, or the branch with --ref, that has the DAG files in it or in its folder dags/",
        )
    return snapshot


def _keep_others(current: Tree | None, options: Options) -> None:
    """An import of some files must not take the others out of service."""
    if not current or not options.only:
        return
    from fnmatch import fnmatchcase

    names = [path.relative_to(current.dags).as_posix() for path in current.dags.rglob("*.py")]
    if others := [name for name in names if not fnmatchcase(name, options.only)]:
        raise WtmoError(
            f"{len(others)} files are served that {options.only!r} does not match; this import would end that",
            fix="import all, or into another folder with --into, or look only with --check",
        )


def _key(snapshot: Snapshot, print_: str, options: Options, tools: Tools) -> str:
    whole = (snapshot.content(options.retire_days), print_, hand_written_digest(tools.dags), options)
    return hashlib.sha256(repr(whole).encode()).hexdigest()


def _too_bad(plan: Plan, options: Options) -> str:
    if plan.share_held > options.max_held:
        return (
            f"{len(plan.held)} of {plan.files} files would be held back, more than {options.max_held:.0%}: "
            "nothing was changed"
        )
    if not plan.served:
        return f"none of {plan.files} files passes: nothing was changed"
    return ""


def _files(plan: Plan, source: Source) -> dict[str, bytes]:
    files = {f"dags/{name}": served.text for name, served in plan.served.items()}
    if source.kind == "folder":
        # A folder has no history: what the good versions were is kept with them.
        content = source.read({served.revision.blob for served in plan.served.values()})
        files |= {f"source/{name}": content[served.revision.blob] for name, served in plan.served.items()}
    return files


@contextmanager
def _recorded(store: Store, now: Callable[[], float]) -> Generator[None, None, None]:
    """Note why an import failed, and since when imports do."""
    try:
        yield
    except WtmoError as error:
        last = read_json(store.last)
        at = iso(now())
        since = last.get("failing_since") if last.get("outcome") == "failed" else None
        write_json(store.last, {**last, "at": at, "outcome": "failed", "why": error.what, "failing_since": since or at})
        raise


def _record(
    store: Store,
    now: float,
    outcome: str,
    *,
    key: str,
    why: str = "",
    held_back: Sequence[dict[str, Any]] = (),
    tried: str | None = None,
) -> None:
    at = iso(now)
    value = {"at": at, "read": at, "tried": tried or at, "outcome": outcome, "why": why, "key": key}
    write_json(store.last, value | ({"held_back": list(held_back)} if held_back else {}))
