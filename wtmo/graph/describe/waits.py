"""What a sensor waits for or a marker points to, and how it maps dates. Runs in the sandbox only."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.providers.standard.sensors.external_task import ExternalTaskMarker

from wtmo.graph.describe.values import plain, utc, words
from wtmo.graph.model import Wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wtmo.graph.describe.rendering import Rendered, Renderer

_SAME_DATE = "{{ logical_date.isoformat() }}"
"""The default of a marker."""


def wait_of(rendered: Rendered, renderer: Renderer, context: Mapping[str, Any]) -> Wait:
    """What a sensor waits for, or a marker points to."""
    task = rendered.task
    is_marker = isinstance(task, ExternalTaskMarker)
    names = [task.external_task_id] if is_marker else task.external_task_ids or [task.external_task_id]
    of_tasks = tuple(str(plain(name)) for name in names or () if name)
    group = None if is_marker else task.external_task_group_id
    wait = partial(Wait, str(plain(task.external_dag_id)), of_tasks, group if group is None else str(group))
    if rendered.errors:
        why = "; ".join(rendered.errors.values())
        if any(name in rendered.errors for name in ("external_dag_id", "external_task_id", "external_task_ids")):
            return wait(how="template", delta=None, error=why)
    if not is_marker:
        if task.execution_delta:
            return wait(how="delta", delta=task.execution_delta.total_seconds())
        if task.execution_date_fn is None:
            return wait()
    how = "template" if is_marker else "function"
    asked = str(context["task"].logical_date) if is_marker else task.execution_date_fn
    if asked == _SAME_DATE:
        return wait()
    if asked not in renderer.mapped:
        renderer.mapped[asked] = _mapped(asked, task, renderer, context)
    return wait(how=how, **renderer.mapped[asked])


def _mapped(asked: Any, task: Any, renderer: Renderer, context: Mapping[str, Any]) -> dict[str, Any]:
    """``delta`` or ``dates`` of a :class:`Wait` whose dates a template or a function gives for each run; or its ``error``."""
    found: list[tuple[datetime, list[datetime]]] = []
    try:
        template = renderer.environment.from_string(asked) if isinstance(asked, str) else None
        for dates in renderer.dates:
            names = {**context, **dates}
            given = task._handle_execution_date_fn(context=names) if template is None else template.render(names)
            given = list(given) if isinstance(given, list | tuple) else [given]
            found.append((dates["logical_date"], [_moment(each) for each in given]))
    except Exception as error:
        return {"delta": None, "error": words(error)}
    shifts = {own.timestamp() - other.timestamp() for own, others in found for other in others}
    if len(shifts) == 1 and all(len(others) == 1 for _, others in found):
        return {"delta": shifts.pop()}
    return {"delta": None, "dates": tuple((utc(own), tuple(utc(each) for each in others)) for own, others in found)}


def _moment(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else pendulum.parse(str(value))
    if not isinstance(moment, datetime):
        raise TypeError(f"{value!r} is no date")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
