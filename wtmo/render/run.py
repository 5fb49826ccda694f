"""Loads the DAGs that are to be rendered, and writes what they render to."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING

from wtmo.checks.run import query_files
from wtmo.diff.run import Options, day, imported_sources
from wtmo.errors import WtmoError
from wtmo.graph.inventory import DEFAULT_CACHE, OWN, default_sources, inventory
from wtmo.render.task import documents, find, rendered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wtmo.graph.inventory import Source
    from wtmo.graph.model import Dag, Inventory, Task
    from wtmo.imports.verdicts import Report


def tasks(
    dag_id: str | None,
    task_id: str | None,
    *,
    all_: bool,
    date: str | None,
    imports: Path | None,
    checkout: Path | None,
    report: Report,
) -> list[tuple[Dag, Task]]:
    """The tasks that are asked for, in the run of a day.

    Only the files that name the DAG are loaded; all of them where those don't have it.

    :raises WtmoError: there is no such DAG or task; the message names the near ones.
    """
    if all_ == bool(dag_id):
        raise WtmoError("name a DAG, or give --all", fix="wtmo render DAG [TASK], or wtmo render --all --out FOLDER")
    when, files = day(date), query_files(checkout)
    sources = (*_own(), *imported_sources(Options(imports=imports)))
    if dag_id is None:
        every = inventory(sources, date=when, checkout=files, report=report)
        return [(dag, task) for dag in every.dags.values() for task in sorted(dag.tasks, key=lambda task: task.task_id)]
    names = {dag_id.encode(), dag_id.replace("-", "_").encode()}
    roots = {source.bundle: source.root for source in sources}

    def is_named(bundle: str, path: Path) -> bool:
        text = (roots[bundle] / path).read_bytes()
        return any(name in text or name in path.name.encode() for name in names)

    if any(
        is_named(source.bundle, path.relative_to(source.root))
        for source in sources
        for path in source.root.rglob("*.py")
    ):
        some = inventory(sources, date=when, checkout=files, only=is_named, report=report)
        if dag_id in some.dags:
            return find(some, dag_id, task_id)
    return find(inventory(sources, date=when, checkout=files, report=report), dag_id, task_id)


def own(date: str, report: Report, *, cache: Path | None = DEFAULT_CACHE) -> Inventory:
    """The hand-written DAGs on a day.

    :param cache: folder of what is known from before. None: all files are loaded.
    :raises WtmoError: one does not load.
    """
    found = inventory(_own(), date=date, cache=cache, report=report)
    for file in found.files:
        if file.refused is not None:
            raise WtmoError(f"{file.name} does not load: {file.refused}", fix="mend it, then run this again")
    return found


def write(found: Sequence[tuple[Dag, Task]], folder: Path, *, as_json: bool) -> int:
    """Write a file a DAG into a folder, which is made. Returns how many.

    :raises WtmoError: it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        count = 0
        for dag_id, group in groupby(found, key=lambda each: each[0].dag_id):
            of_dag = list(group)
            text = json.dumps([rendered(*each) for each in of_dag], indent=1) + "\n" if as_json else documents(of_dag)
            (folder / f"{dag_id}.{'json' if as_json else 'yaml'}").write_text(text)
            count += 1
    except OSError as error:
        raise WtmoError(
            f"cannot write to {folder}: {error.strerror}", fix="name a folder that you can write"
        ) from error
    return count


def _own() -> tuple[Source, ...]:
    return tuple(source for source in default_sources() if source.bundle == OWN)
