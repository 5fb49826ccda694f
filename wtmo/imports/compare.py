"""Compares what a file means before and after translation: DAGs, tasks, edges, schedules, dates, arguments, templates.

Before: the original, run against the recorder of Airflow 2 (:mod:`wtmo.imports.airflow2`). After: the translation, loaded by
Airflow 3. Both run in the sandbox and come back as shapes (:mod:`wtmo.imports.shape`); here is only data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wtmo.imports.sandbox import Candidate, Loaded, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wtmo.imports.sandbox import Sandbox

_NOTHING = "(nothing)"
_LONGEST = 300


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was.

    :param where: ``<dag>`` or ``<dag>.<task>``.
    :param what: the attribute, ``edge``, ``task``, ``group`` or ``dag``.
    :param before: its value in the source, as text.
    :param after: that in the translation.
    """

    where: str
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} was {self.before}, is {self.after}"


def compare_files(
    sandbox: Sandbox, originals: Sequence[Candidate], loaded: Mapping[str, Loaded]
) -> Iterator[tuple[str, list[Difference] | Refused]]:
    """Compare files with their loaded translations.

    :param originals: the sources for Airflow 2.
    :param loaded: the translation of each, by name.
    :returns: name of each file and its differences; a :class:`Refused` where the original can't be recorded, which is no pass.
    """
    for outcome in sandbox.record(originals):
        if isinstance(outcome, Refused):
            yield outcome.name, outcome
        else:
            yield outcome.name, compare(outcome.shapes, loaded[outcome.name].shapes)


def compare(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> list[Difference]:
    """Every difference between the shapes of a file's DAGs, in the order of their names."""
    return list(_compare({dag["dag_id"]: dag for dag in before}, {dag["dag_id"]: dag for dag in after}))


def _compare(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    for dag_id in sorted(before.keys() | after.keys()):
        if dag_id not in before or dag_id not in after:
            yield _of_presence(dag_id, "dag", dag_id in before)
            continue
        old, new = before[dag_id], after[dag_id]
        yield from _of_values(dag_id, old["dag"], new["dag"])
        yield from _of_values(dag_id, old["groups"], new["groups"], "group ")
        yield from _of_edges(dag_id, old["edges"], new["edges"])
        for task_id in sorted(old["tasks"].keys() | new["tasks"].keys()):
            where = f"{dag_id}.{task_id}"
            if task_id not in old["tasks"] or task_id not in new["tasks"]:
                yield _of_presence(where, "task", task_id in old["tasks"])
                continue
            first, second = old["tasks"][task_id], new["tasks"][task_id]
            yield from _of_values(where, {"kind": first["kind"]}, {"kind": second["kind"]})
            yield from _of_values(where, {"group": first["group"]}, {"group": second["group"]})
            if first["kind"] == second["kind"]:
                yield from _of_values(where, first["attributes"], second["attributes"])


def _of_presence(where: str, what: str, was: bool) -> Difference:
    return Difference(where, what, what if was else _NOTHING, _NOTHING if was else what)


def _of_values(where: str, old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[Difference]:
    for name in sorted(old.keys() | new.keys()):
        first, second = old.get(name), new.get(name)
        if _meaning(first) != _meaning(second):
            yield Difference(where, prefix + name, _text(first), _text(second))


def _of_edges(where: str, old: list[list[str]], new: list[list[str]]) -> Iterator[Difference]:
    first, second = ({tuple(edge) for edge in edges} for edges in (old, new))
    for edge in sorted(first ^ second):
        text = " >> ".join(edge)
        yield Difference(where, "edge", text if edge in first else _NOTHING, _NOTHING if edge in first else text)


def _meaning(value: Any) -> Any:
    """A value without what does not change its meaning: a template's text."""
    if isinstance(value, dict):
        if value.keys() == {"template", "renders"}:
            return ("template", tuple(value["renders"]))
        return {name: _meaning(inner) for name, inner in value.items()}
    return [_meaning(inner) for inner in value] if isinstance(value, list) else value


def _text(value: Any) -> str:
    text = _NOTHING if value is None else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
