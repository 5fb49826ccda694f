"""What one DAG has to do with another: it waits for it, is waited for, starts it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow.sdk import DAG


@dataclass(frozen=True, order=True)
class Wait:
    """A task that waits for another DAG.

    :param dag: the DAG that waits.
    :param task: its sensor.
    :param of_dag: the DAG that it waits for.
    :param of_tasks: that DAG's tasks, or a task group of it. Empty: the whole run.
    :param shift: logical date of the run that waits, less that of the run waited for.
    """

    dag: str
    task: str
    of_dag: str
    of_tasks: tuple[str, ...]
    shift: timedelta


@dataclass(frozen=True, order=True)
class Start:
    """A task that starts a run of another DAG."""

    dag: str
    task: str
    of_dag: str


def waits(dags: Iterable[DAG]) -> list[Wait]:
    """What the sensors of DAGs wait for, in other DAGs of any repository. Sorted."""
    return sorted(wait for dag in dags for task in dag.tasks for wait in _waits(dag, task))


def marked(dags: Iterable[DAG]) -> dict[str, set[str]]:
    """The DAGs that wait for a DAG by what its own markers say, by that DAG's id. Other repositories' DAGs are among them."""
    from airflow.providers.standard.sensors.external_task import ExternalTaskMarker

    found: dict[str, set[str]] = {}
    for dag in dags:
        for task in dag.tasks:
            if isinstance(task, ExternalTaskMarker):
                found.setdefault(dag.dag_id, set()).add(task.external_dag_id)
    return found


def starts(dags: Iterable[DAG]) -> list[Start]:
    """Which DAGs start which. Sorted."""
    from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

    return sorted(
        Start(dag.dag_id, task.task_id, task.trigger_dag_id)
        for dag in dags
        for task in dag.tasks
        if isinstance(task, TriggerDagRunOperator)
    )


def _waits(dag: DAG, task: Any) -> Iterator[Wait]:
    from airflow.providers.standard.sensors.external_task import ExternalTaskSensor

    if isinstance(task, ExternalTaskSensor):
        group = [task.external_task_group_id] if task.external_task_group_id else []
        single = [task.external_task_id] if task.external_task_id else []
        tasks = tuple(sorted(task.external_task_ids or group or single))
        yield Wait(dag.dag_id, task.task_id, task.external_dag_id, tasks, task.execution_delta or timedelta())
