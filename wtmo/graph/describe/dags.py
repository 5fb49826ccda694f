"""The DAGs of a file, and all about one of them. Runs in the sandbox only."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.serialization.serialized_objects import DagSerialization

from utils import policy
from wtmo.graph.describe.context import context_of
from wtmo.graph.describe.mapped import answer_for_groups
from wtmo.graph.describe.params import param_facts
from wtmo.graph.describe.rendering import Renderer
from wtmo.graph.describe.runs import by_hand, fires, once
from wtmo.graph.describe.tasks import describe_task
from wtmo.graph.describe.values import attribute, plain, share_configuration, utc, words
from wtmo.graph.model import Dag as DagFacts
from wtmo.graph.model import Run
from wtmo.imports import shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow.sdk import DAG


def describe_dags(dags: Iterable[DAG], day: str, bundle: str, file: str, lines: Mapping[int, int]) -> dict[str, Any]:
    """The DAGs of a file, by their ids, as the ``dags`` of a :class:`wtmo.graph.model.File`; or a refusal.

    :param day: ``YYYY-MM-DD``, for which dates are worked out.
    :param lines: :attr:`wtmo.graph.describe.watch.Watch.lines`.
    """
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
    share_configuration()
    answer_for_groups()
    found = []
    for dag in sorted(dags, key=lambda each: each.dag_id):
        try:
            found.append(describe_dag(dag, moment, bundle, file, lines))
        except Exception as error:
            # Airflow's own error says no more than that; its cause says what is wrong.
            reason = f"DAG {dag.dag_id!r} can't be serialized: {words(error.__cause__ or error)}"
            return {"refused": reason, "refused_kind": "serialize", "line": lines.get(id(dag))}
    return {"dags": [dag.to_json() for dag in found]}


def describe_dag(dag: DAG, day: datetime, bundle: str, file: str, lines: Mapping[int, int]) -> DagFacts:
    """All about a DAG.

    :param day: for which dates are worked out, midnight in UTC.
    """
    stored = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    tasks = list(dag.tasks)
    bounds = shape.effective_dates(dag.start_date, dag.end_date, tasks)
    start, end = (datetime.fromisoformat(each) if each else None for each in bounds.values())
    dates = fires(stored.timetable, start, end, day)
    started = not dates
    run = dates[0] if dates else by_hand(stored.timetable, day)
    renderer = Renderer(dag, context_of(dag, run, started=started), dates or [once(stored.timetable, start) or run])
    groups = dag.task_group.get_task_group_dict()
    return DagFacts(
        dag_id=dag.dag_id,
        bundle=bundle,
        file=file,
        line=lines.get(id(dag)),
        schedule=_schedule(dag.timetable, stored.timetable),
        fires=tuple((utc(a), utc(b), utc(c)) for a, b, c in dates),
        run=Run(utc(run[0]), utc(run[1]), utc(run[2]), started),
        **bounds,
        tags=tuple(sorted(map(str, dag.tags))),
        attributes={name: _attribute_of_dag(name, getattr(dag, name, None)) for name in shape.OF_DAGS},
        default_args=plain(dag.default_args),
        unknown_default_args=_unknown_keys(dag),
        params={name: param_facts(value) for name, value in dag.params.items()},
        groups={
            str(key): group.parent_group.group_id
            for key, group in groups.items()
            if key is not None and group.parent_group
        },
        deadline=bool(getattr(dag, "deadline", None)),
        tasks=tuple(sorted((describe_task(task, renderer, lines) for task in tasks), key=lambda task: task.task_id)),
    )


def _unknown_keys(dag: DAG) -> tuple[str, ...]:
    # The tree that the file is loaded with may be older than this check.
    check: Callable[[DAG], tuple[str, ...]] | None = getattr(policy, "unknown_keys", None)
    return () if check is None else tuple(check(dag))


def _attribute_of_dag(name: str, value: Any) -> Any:
    return sorted(value or {}) if name in {"user_defined_macros", "user_defined_filters"} else attribute(name, value)


def _schedule(timetable: Any, stored: Any) -> dict[str, Any]:
    """As :func:`wtmo.imports.shape.schedule`, and the assets that it waits for."""
    found = {name: plain(value) for name, value in shape.schedule(timetable).items()}
    condition = getattr(stored, "asset_condition", None)
    if condition is None:
        return found
    assets = sorted({(asset.name, asset.uri) for _, asset in condition.iter_assets()})
    return found | {"assets": [{"name": name, "uri": uri} for name, uri in assets]}
