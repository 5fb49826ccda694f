"""What there is to know of an import, as one JSON object: for ``wtmo import status``, for programs, for the UI.

::

    version     what is served: <commit or "folder">-<digest>
    source      kind, url, ref, commit, date, subject
    files       how many the source has;  served: how many are served, retired ones too
    held_back   file, problems (line, reason), commit, date, subject of the version that does not pass;
                serves: commit, date, blob of the one that is served instead, or null
    retired     file, commit, date, subject of its removal; until; outcome; dags
    rules       by rule of the translator: files, changes
    last        how the last import ended: at, outcome (imported, unchanged, stopped, failed), why, held_back;
                failing_since when the source cannot be read
    age         seconds since the newest commit that is served; source_age: since the source was read the last time

Dates are ISO 8601 in UTC. There are no names and no addresses of persons in it, and no secrets.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from wtmo.cache import read_json
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wtmo.imports.plan import Held, Plan
    from wtmo.imports.source import Revision, Snapshot, Source
    from wtmo.imports.store import Store


def describe(plan: Plan, snapshot: Snapshot, source: Source) -> dict[str, Any]:
    """The part that a tree carries with it. Made of the source alone: it holds no present time."""
    return {
        "source": {
            "kind": source.kind,
            "url": source.url,
            "ref": source.ref,
            "commit": snapshot.id if source.kind == "git" else None,
            "date": iso(snapshot.date) if source.kind == "git" else None,
            "subject": snapshot.subject,
        },
        "files": plan.files,
        "served": len(plan.served),
        "held_back": held_back(plan.held),
        "retired": [
            {
                "file": entry.name,
                "commit": entry.vanished.commit,
                "date": iso(entry.vanished.date),
                "subject": entry.vanished.subject,
                "until": iso(entry.until),
                "outcome": entry.outcome,
                "dags": list(entry.dag_ids),
            }
            for entry in plan.retired
        ],
        "rules": {rule: {"files": files, "changes": changes} for rule, (files, changes) in plan.rules.items()},
    }


def held_back(held: Sequence[Held]) -> list[dict[str, Any]]:
    """What does not pass, and what is served instead."""
    return [
        {
            "file": entry.name,
            "problems": [{"line": problem.line, "reason": problem.reason} for problem in entry.problems],
            **_commit(entry.revision),
            "serves": _commit(entry.serves) | {"blob": entry.serves.blob} if entry.serves else None,
        }
        for entry in held
    ]


def read_status(store: Store, now: float) -> dict[str, Any]:
    """All that is known of a store.

    :param now: seconds since 1970.
    :raises WtmoError: nothing was imported into it.
    """
    tree = store.current
    last = read_json(store.last)
    if not tree and not last:
        raise WtmoError(
            f"nothing was imported into {store.root}",
            fix="wtmo import https://github.com/mozilla/bigquery-etl --ref generated-dags",
        )
    told = {key: value for key, value in tree.status.items() if key != "key"} if tree else {}
    shown_last = {key: value for key, value in last.items() if key != "key"}
    commit_date = (told.get("source") or {}).get("date")
    return {
        "version": tree.version if tree else None,
        **told,
        "last": shown_last,
        "age": _age(commit_date, now),
        "source_age": _age(last.get("read"), now),
    }


def iso(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601."""
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC).isoformat()


def seconds_of(text: str) -> float:
    """ISO 8601 as seconds since 1970."""
    return dt.datetime.fromisoformat(text).timestamp()


def age(seconds: float | None) -> str:
    """How long something takes or is ago, for a person.

    >>> age(200_000), age(7_300), age(90), age(None)
    ('2 d', '2 h', '1 min', '')
    """
    if seconds is None:
        return ""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _age(date: str | None, now: float) -> float | None:
    return max(0.0, now - seconds_of(date)) if date else None


def _commit(revision: Revision) -> dict[str, Any]:
    date = iso(revision.date) if revision.commit else None
    return {"commit": revision.commit, "date": date, "subject": revision.subject}


def held_of(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The files that are held back: by what is served, or by the import that was stopped for their number."""
    last = status.get("last") or {}
    found = last.get("held_back") if last.get("outcome") == "stopped" else status.get("held_back")
    return list(found or [])
