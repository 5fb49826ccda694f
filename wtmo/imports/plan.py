"""Which version of which file is served: a pure function of a source's snapshot and of the verdicts on its files.

- A file that passes is served as it is.
- A file that does not pass, or declares a DAG that is another's, is held back: its newest older revision that passes is
  served instead.
- A file that vanished is retired: served without a schedule for some days, so that runs under way end, what failed can
  be cleared, and nothing new starts. At once gone, its running runs would stay "running" for ever. Then it is gone.
- A DAG belongs to the hand-written file that declares it; else to the file that is named after it; else to the one that
  has been there longest.

The days are counted by commit dates: the same commit gives the same files, whoever asks, whenever.
"""

from __future__ import annotations

import ast
import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wtmo.imports.source import Revision, Snapshot, Vanished

RETIRE_DAYS = 7
# How far back a good version is looked for.
MAX_OLDER = 20


@dataclass(frozen=True)
class Problem:
    """One reason why a file does not pass, and the line of the source that it is about, when it is about one."""

    reason: str
    line: int | None = None


@dataclass(frozen=True)
class Change:
    """What one rule of the translator changed at one line."""

    rule: str
    line: int
    what: str


@dataclass(frozen=True)
class Item:
    """A file to judge.

    :param note: of a retired file, what to say in it; empty for all others.
    """

    name: str
    blob: str
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """What came of translating and loading one file.

    :param text: what to serve. Empty: it does not pass, ``problems`` says why.
    :param dag_ids: each DAG that it declares, with its line in the source.
    """

    text: bytes = b""
    dag_ids: Mapping[str, int | None] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Served:
    """One file of the tree that is served."""

    text: bytes
    revision: Revision
    dag_ids: tuple[str, ...]
    retired: bool = False


@dataclass(frozen=True)
class Held:
    """A file whose present version is not served.

    :param revision: the version that does not pass.
    :param serves: the older version that is served instead. None: nothing is.
    """

    name: str
    problems: tuple[Problem, ...]
    revision: Revision
    serves: Revision | None


@dataclass(frozen=True)
class Retired:
    """A file that the source no longer has.

    :param until: served until a commit of this date (seconds since 1970).
    :param outcome: ``served`` without schedule, or why it is not.
    """

    name: str
    vanished: Vanished
    until: int
    outcome: str
    dag_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The tree to serve and what to say of it.

    :param rules: by rule of the translator, in how many files it changed how much.
    """

    served: Mapping[str, Served]
    held: tuple[Held, ...]
    retired: tuple[Retired, ...]
    files: int
    rules: Mapping[str, tuple[int, int]]

    @property
    def share_held(self) -> float:
        """The share of the source's files that is held back, 0 to 1."""
        return len(self.held) / self.files if self.files else 0.0


@dataclass
class _Track:
    """One file on its way to the revision that is served."""

    name: str
    revisions: Sequence[Revision]
    since: int
    vanished: Vanished | None = None
    note: str = ""
    at: int = 0
    problems: tuple[Problem, ...] = ()
    dropped: str = ""

    @property
    def revision(self) -> Revision | None:
        return self.revisions[self.at] if self.at < len(self.revisions) and not self.dropped else None

    @property
    def item(self) -> Item | None:
        return Item(self.name, self.revision.blob, self.note) if self.revision else None

    def refuse(self, problems: tuple[Problem, ...]) -> None:
        """Go back one revision. What is told of a file are the problems of its present version."""
        if not self.problems:
            self.problems = problems
        self.at += 1


def make_plan(
    snapshot: Snapshot,
    judge: Callable[[Sequence[Item]], Mapping[Item, Verdict]],
    taken: Mapping[str, str],
    *,
    retire_days: int = RETIRE_DAYS,
) -> Plan:
    """Find what to serve.

    :param judge: gives a verdict on each of some files, with no two of one name.
    :param taken: by ``dag_id``, the hand-written file that declares it.
    :param retire_days: how long a vanished file stays.
    """
    tracks = [
        _Track(name, revisions[: MAX_OLDER + 1], revisions[-1].date)
        for name, revisions in sorted(snapshot.files.items())
    ] + [
        _Track(name, gone.revisions[:MAX_OLDER], gone.revisions[-1].date, gone, _note(gone, retire_days))
        for name, gone in sorted(snapshot.vanished.items())
        if gone.until(retire_days) > snapshot.date
    ]
    verdicts: dict[Item, Verdict] = {}
    while True:
        for track in tracks:
            if track.revision and track.revision.problem:
                track.refuse((Problem(track.revision.problem),))
        items = [track.item for track in tracks if track.item]
        verdicts |= judge([item for item in items if item not in verdicts])
        refused = [track for track in tracks if track.item and not verdicts[track.item].text]
        for track in refused:
            if track.item:
                track.refuse(verdicts[track.item].problems)
        if not refused and not _settle(tracks, verdicts, taken):
            return _plan(snapshot, tracks, verdicts, retire_days)


def _settle(tracks: Sequence[_Track], verdicts: Mapping[Item, Verdict], taken: Mapping[str, str]) -> bool:
    """Send back the files that declare a DAG of another. Whether there was one."""
    claims: dict[str, list[_Track]] = defaultdict(list)
    for track in tracks:
        if track.item:
            for dag_id in verdicts[track.item].dag_ids:
                claims[dag_id].append(track)
    lost: dict[str, tuple[_Track, tuple[Problem, ...], str]] = {}
    for dag_id, claimants in claims.items():
        claimants.sort(key=lambda track: _claim(track, dag_id))
        owner = taken.get(dag_id) or claimants[0].name
        for track in claimants if dag_id in taken else claimants[1:]:
            item = track.item
            line = verdicts[item].dag_ids[dag_id] if item else None
            reason = f"declares the DAG {dag_id}, which is that of {owner}"
            lost.setdefault(track.name, (track, (Problem(reason, line),), owner))
    for track, problems, owner in lost.values():
        if track.vanished:
            track.dropped = f"its DAG is now that of {owner}"
        else:
            track.refuse(problems)
    return bool(lost)


def _claim(track: _Track, dag_id: str) -> tuple[bool, bool, bool, int, str]:
    named_after = PurePosixPath(track.name).stem.replace("-", "_") == dag_id.replace("-", "_")
    return track.vanished is not None, not named_after, track.at > 0, track.since, track.name


def _plan(snapshot: Snapshot, tracks: Sequence[_Track], verdicts: Mapping[Item, Verdict], retire_days: int) -> Plan:
    served: dict[str, Served] = {}
    held: list[Held] = []
    retired: list[Retired] = []
    files: dict[str, set[str]] = defaultdict(set)
    changes: dict[str, int] = defaultdict(int)
    for track in tracks:
        verdict = verdicts[track.item] if track.item else None
        if verdict and track.revision:
            ids = tuple(sorted(verdict.dag_ids))
            served[track.name] = Served(verdict.text, track.revision, ids, track.vanished is not None)
            for change in verdict.changes:
                files[change.rule].add(track.name)
                changes[change.rule] += 1
        if track.vanished:
            outcome = "served" if verdict else track.dropped or f"no version passes: {track.problems[0].reason}"
            until = track.vanished.until(retire_days)
            ids = tuple(sorted(verdict.dag_ids)) if verdict else ()
            retired.append(Retired(track.name, track.vanished, until, outcome, ids))
        elif track.at:
            held.append(Held(track.name, track.problems, track.revisions[0], track.revision))
    rules = {rule: (len(names), changes[rule]) for rule, names in sorted(files.items())}
    return Plan(served, tuple(held), tuple(retired), len(snapshot.files), rules)


def _note(gone: Vanished, retire_days: int) -> str:
    last = dt.datetime.fromtimestamp(gone.until(retire_days), dt.UTC)
    by = f"by commit {gone.commit[:12]}" if gone.commit else "from the source's folder"
    return f"# Retired: this file was removed {by}. It is served without a schedule until {last:%Y-%m-%d}.\n"


def retire(text: bytes, note: str) -> bytes:
    """The file without its schedules, all else as it was, and ``note`` at its end.

    >>> retire(b'with DAG("a", schedule="@daily", tags=[]):\\n    pass\\n', "# Retired.\\n")
    b'with DAG("a", schedule=None, tags=[]):\\n    pass\\n# Retired.\\n'
    """
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    spans = sorted(_schedules(text, starts), reverse=True)
    for start, end in spans:
        text = text[:start] + b"None" + text[end:]
    return text + (b"" if text.endswith(b"\n") or not text else b"\n") + note.encode()


def _schedules(text: bytes, starts: Sequence[int]) -> set[tuple[int, int]]:
    spans = set()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for keyword in node.keywords if name in {"DAG", "dag"} else ():
            value = keyword.value
            if keyword.arg == "schedule" and value.end_lineno is not None and value.end_col_offset is not None:
                start = starts[value.lineno - 1] + value.col_offset
                spans.add((start, starts[value.end_lineno - 1] + value.end_col_offset))
    return spans
