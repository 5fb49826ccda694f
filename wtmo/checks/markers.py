"""Rules of what points to a sensor of another DAG: that it exists, and that it waits for what is marked."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from wtmo.checks.rule import Finding, Look, Severity, of_task, rule
from wtmo.checks.schedules import Schedules, dates_of, shown, typed
from wtmo.checks.sensors import can_tell, is_there, lacking, listed, near_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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


@rule(
    "SEN015",
    "Who clears a task with what comes after it takes the marker's word for which run that is.",
    fix="Give the marker the logical_date of the run that waits for the marker's own (mark: delta, as the sensor's).",
    severity=Severity.warning,
)
def marker_date(look: Look) -> Iterator[Finding]:
    """The run that a marker points to is the one whose sensor waits for the marker's own: its date undoes the sensor's shift.

    Proved for those runs of a year for which one waits. A DAG that runs more often than the one that waits also marks dates of which
    there is no run, and of several runs that wait for the same one a marker can name but one: both is right. A marker of a DAG that
    stands for another one (``SEN011``) is not compared, as no sensor waits for that. Which run a sensor waits for, and whether that
    is known, is ``SEN003``'s and ``SEN014``'s.

    It is a warning, as nothing fails of it: another run than the one that used the data is cleared, or none.
    """
    schedules = Schedules(look)
    for dag, task, wait in _markers(look):
        for sensor, its in _answering(look, dag, wait):
            own, other = schedules[dag.dag_id], schedules[wait.of_dag]
            waits = dict(dates_of(other, its))
            waiting = _turned(waits)
            asked = [(date, named) for date, all_named in dates_of(own, wait) for named in all_named if date in waiting]
            judged = [(date, named) for date, named in asked if named in waiting[date] or other.lists(named)] or asked
            if not (wrong := [(date, named) for date, named in judged if named not in waiting[date]]):
                continue
            date, named = wrong[0]
            what = "does not exist" if other.lists(named) else "is not of the year that is looked at"
            if named in waits:
                what = f"waits for that of {shown(waits[named][0])}"
            share = f"{len(wrong)} of {len(judged)} runs of a year point to a wrong one"
            yield of_task(
                dag,
                task,
                f"its run of {shown(date)} points to that of {wait.of_dag} of {shown(named)}, which {what}: "
                f"{sensor.task_id} waits for it in that of {shown(waiting[date][0])}; "
                f"{share if len(wrong) < len(judged) else 'no run of a year points to the right one'}",
                fix=_how_to_mark(
                    wrong, waiting, sensor.task_id if {each for _, each in wrong} <= waits.keys() else None
                ),
            )


def _answering(look: Look, dag: Dag, wait: Wait) -> Iterator[tuple[Task, Wait]]:
    """The sensors that a marker points to, as far as they wait for its DAG."""
    there = look.dags[wait.of_dag].by_id if wait.of_dag in look.dags else {}
    for name in wait.of_tasks:
        sensor = there.get(name)
        if sensor is not None and sensor.waits is not None and _points_back(sensor, dag):
            yield sensor, sensor.waits


def _turned(waits: Mapping[int, tuple[int, ...]]) -> dict[int, list[int]]:
    """Dates of the runs that wait, by the date waited for."""
    found: dict[int, list[int]] = defaultdict(list)
    for date, targets in waits.items():
        for target in targets:
            found[target].append(date)
    return dict(found)


def _how_to_mark(wrong: Sequence[tuple[int, int]], waiting: Mapping[int, Sequence[int]], sensor: str | None) -> str:
    """What to type.

    :param sensor: where the marker's dates are those of runs, so that it may be the one that is right.
    """
    shifts = {right - date for date, _ in wrong for right in waiting[date]}
    if len(shifts) > 1:
        date = wrong[0][0]
        return f"Give the marker a logical_date that answers the run that waits: for {shown(date)} it is {shown(waiting[date][0])}."
    if (shift := shifts.pop()) == 0:
        fix = "Remove the marker's logical_date (mark: delta)"
    else:
        sign = "-" if shift < 0 else "+"
        template = f"{{{{ (logical_date {sign} macros.timedelta(seconds={abs(shift)})).isoformat() }}}}"
        fix = f'Type logical_date="{template}" (mark: delta={typed(shift)})'
    marked = {named - date for date, named in wrong}
    if sensor is not None and len(marked) == 1:
        fix += f"; or, where the marker is right, execution_delta={typed(marked.pop())} of {sensor}"
    return f"{fix}."
