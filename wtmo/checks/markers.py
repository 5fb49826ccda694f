"""Rules of what points to a sensor of another DAG: that it exists, and that it waits for what is marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wtmo.checks.rule import Finding, Look, Severity, of_task, rule
from wtmo.checks.sensors import can_tell, is_there, lacking, listed, near_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wtmo.graph.model import Dag, Task, Wait


def _markers(look: Look) -> Iterator[tuple[Dag, Task, Wait]]:
    for dag, task in look.tasks():
        if task.waits is not None and task.marker:
            yield dag, task, task.waits


@rule(
    "SEN010",
    "A marker that points to nothing is what is left of a sensor that was renamed or deleted.",
    fix="Name the sensor that waits for this DAG, or remove the marker.",
)
def marker_target(look: Look) -> Iterator[Finding]:
    """The DAG and the task that a marker points to exist."""
    for dag, task, wait in _markers(look):
        if not is_there(look, wait.of_dag):
            if can_tell(look, wait.of_dag):
                near = near_to(wait.of_dag, list(look.dags))
                yield of_task(
                    dag,
                    task,
                    f"points to DAG {wait.of_dag!r}, which does not exist",
                    fix=f"{near}Name the DAG that waits, or remove the marker.",
                )
            continue
        missing, known = lacking(look, wait)
        if missing:
            there = look.dags[wait.of_dag].by_id
            back = [name for name in known if name in there and _points_back(there[name], dag)]
            near = near_to(missing[0], back) or near_to(missing[0], known)
            yield of_task(
                dag,
                task,
                f"points to task {listed(missing)} of DAG {wait.of_dag!r}, which that DAG does not have",
                fix=f"{near}Name the sensor that waits for {dag.dag_id}, or remove the marker.",
            )


def _points_back(task: Task, dag: Dag) -> bool:
    return task.waits is not None and not task.marker and task.waits.of_dag == dag.dag_id


@rule(
    "SEN011",
    "A marker promises that clearing this task reaches those that wait for it.",
    fix="Name the sensor that waits for this DAG, or remove the marker.",
    severity=Severity.warning,
)
def marker_points_back(look: Look) -> Iterator[Finding]:
    """A marker points to a sensor that waits for its own DAG, and for a task that comes before the marker.

    A DAG of nothing but markers and tasks that do nothing (``copy_deduplicate_task_markers``) is one that people clear to reach
    others: what points to it, and what it points to, is right.
    """
    relays = {dag.dag_id for dag in look.dags.values() if _is_relay(dag)}
    for dag, task, wait in _markers(look):
        other = look.dags.get(wait.of_dag)
        if other is None or relays & {dag.dag_id, other.dag_id}:
            continue
        for name in wait.of_tasks:
            target = other.by_id.get(name)
            if target is None:
                continue
            if not _points_back(target, dag):
                what = "waits for another DAG" if target.waits and not target.marker else "is no sensor on another DAG"
                back = [each.task_id for each in other.tasks if _points_back(each, dag)]
                near = f"Sensors of {wait.of_dag} that wait for {dag.dag_id}: {listed(back) or 'none'}. "
                yield of_task(
                    dag,
                    task,
                    f"points to {wait.of_dag}.{name}, which {what}",
                    fix=f"{near}Name one of them, or remove the marker.",
                )
            elif (
                target.waits
                and (wanted := set(target.waits.of_tasks) & dag.by_id.keys())
                and not wanted & _above(dag, task)
            ):
                yield of_task(
                    dag,
                    task,
                    f"points to {wait.of_dag}.{name}, which waits for {listed(sorted(wanted))}, and that does not come "
                    "before the marker",
                    fix=f"Put the marker behind {listed(sorted(wanted))}, or remove it.",
                )


def _is_relay(dag: Dag) -> bool:
    return any(task.marker for task in dag.tasks) and all(
        task.marker or task.is_a("EmptyOperator") for task in dag.tasks
    )


def _above(dag: Dag, task: Task) -> set[str]:
    """A task and all that come before it."""
    tasks, found, left = dag.by_id, set[str](), [task.task_id]
    while left:
        name = left.pop()
        if name in tasks and name not in found:
            found.add(name)
            left += tasks[name].upstream
    return found
