"""TIM: what hangs ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils.policy import some
from wtmo.checks.rule import Severity, of_dag, of_task, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wtmo.checks.rule import Finding, Look
    from wtmo.graph.model import Task


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _works(task: Task) -> bool:
    """Whether it does something that can hang: sensors have a timeout of their own, empty tasks are not run."""
    return not task.is_a("BaseSensorOperator") and not task.is_a("EmptyOperator")


@rule(
    "TIM001",
    "A task that hangs holds its pod, and whoever waits for it, until somebody looks.",
    fix="Give default_args(execution_timeout=timedelta(...)), or the DAG dagrun_timeout= or a deadline.",
    severity=Severity.warning,
)
def bounded(look: Look) -> Iterator[Finding]:
    """A hand-written DAG of tier 1 says how long it may take: each of its tasks that works has an ``execution_timeout``, or the DAG a
    ``dagrun_timeout`` or a deadline. It warns: production has none on 92 % of its tasks.
    """
    for dag in look.dags.values():
        if look.tier(dag) != "tier_1" or not look.is_own(dag) or dag.deadline or dag.attributes.get("dagrun_timeout"):
            continue
        endless = [task.task_id for task in dag.tasks if _works(task) and not task.attributes.get("execution_timeout")]
        if endless:
            yield of_dag(dag, f"nothing ends {some(endless)} when it hangs")


@rule(
    "TIM002",
    "A limit that another one comes before says something that is not so.",
    fix="Make execution_timeout= shorter than dagrun_timeout=, or dagrun_timeout= longer.",
)
def within_run(look: Look) -> Iterator[Finding]:
    """No task may take longer than its whole run."""
    for dag, task in look.tasks():
        run, own = _seconds(dag.attributes.get("dagrun_timeout")), _seconds(task.attributes.get("execution_timeout"))
        if run is not None and own is not None and own > run:
            yield of_task(dag, task, f"may take {_hours(own)}, its run only {_hours(run)}")


@rule(
    "TIM003",
    "Airflow ends a task whose limit is zero or less as soon as it starts.",
    fix="Give it a positive timedelta, or none.",
)
def positive(look: Look) -> Iterator[Finding]:
    """Limits of time are positive: ``execution_timeout``, ``timeout``, ``dagrun_timeout``."""
    for dag in look.dags.values():
        limit = _seconds(dag.attributes.get("dagrun_timeout"))
        if limit is not None and limit <= 0:
            yield of_dag(dag, f"dagrun_timeout is {_hours(limit)}")
        for task in dag.tasks:
            for name in ("execution_timeout", *(("timeout",) if task.is_a("BaseSensorOperator") else ())):
                limit = _seconds(task.attributes.get(name))
                if limit is not None and limit <= 0:
                    yield of_task(dag, task, f"{name} is {_hours(limit)}")


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if abs(seconds) >= 3600 else f"{seconds:g} s"
