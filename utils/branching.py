"""Conditions of branches, as the callables of Airflow's ``BranchPythonOperator`` and ``ShortCircuitOperator``."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Weekday(IntEnum):
    """Days of the week, as Python's ``weekday()`` counts them."""

    monday = 0
    tuesday = 1
    wednesday = 2
    thursday = 3
    friday = 4
    saturday = 5
    sunday = 6


@dataclass(frozen=True)
class WeekdayBranch:
    """Choose a task by the weekday of the run's logical date (UTC), that of its ``ds``.

    :param tasks: task to follow on a day.
    :param otherwise: task to follow on all others.
    """

    otherwise: str
    tasks: Mapping[Weekday, str] = field(default_factory=dict)

    def __call__(self, *, dag_run: Any, **_: Any) -> str:
        """The task to follow. A run by hand without a logical date goes by the day of its start."""
        date: datetime = dag_run.logical_date or dag_run.run_after
        return self.tasks.get(Weekday(date.weekday()), self.otherwise)


def no_newer_run_is_queued(*, ti: Any, dag_run: Any, **_: Any) -> bool:
    """Whether this run is the newest: for a DAG with one active run, whose every run does the work of those before it.

    Asks Airflow's API for the DAG's queued runs. With ``max_active_runs=1`` those are the ones that were triggered after
    this one started.
    """
    queued: int = ti.get_dr_count(dag_id=dag_run.dag_id, states=["queued"])
    return queued == 0
