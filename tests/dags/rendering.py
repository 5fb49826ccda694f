"""What a task gets when it runs: its templates rendered by Airflow's own environment, without a database."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import pendulum
from airflow.sdk.execution_time import macros

if TYPE_CHECKING:
    from airflow.sdk import DAG


class Run:
    """A run as templates see it.

    :param logical_date: ISO 8601, UTC. None: started by hand without one.
    :param end: end of its data interval; None: it has none.
    :param run_type: ``scheduled``, ``manual``, ``backfill``, ``operator_triggered``.
    :param run_after: when it was due, or was started by hand. Default: the end of the interval.
    """

    def __init__(
        self, logical_date: str | None, *, end: str | None, run_type: str = "scheduled", run_after: str | None = None
    ) -> None:
        self.logical_date = _moment(logical_date)
        self.data_interval_end = _moment(end)
        self.run_type = run_type
        self.run_after = _moment(run_after or end)

    def context(self) -> dict[str, Any]:
        """What Airflow derives of it. Without a logical date there is no ``ds``, and what names it fails."""
        date = self.logical_date
        of_date = {"logical_date": date, "ds": f"{date:%Y-%m-%d}", "ds_nodash": f"{date:%Y%m%d}"} if date else {}
        interval = {"data_interval_end": self.data_interval_end} if self.data_interval_end else {}
        return {"dag_run": self, "macros": macros} | of_date | interval


def _moment(text: str | None) -> pendulum.DateTime | None:
    return cast("pendulum.DateTime", pendulum.parse(text)) if text else None


def rendered(dag: DAG, task_id: str, field: str, run: Run, **context: Any) -> Any:
    """A field of a task as the run gets it.

    :param context: more of what templates name: ``var``, ``conn``, ``ti``.
    """
    task: Any = copy.copy(dag.get_task(task_id))
    setattr(task, field, copy.deepcopy(getattr(task, field)))
    task.template_fields = (field,)
    task.render_template_fields(run.context() | context, task.get_template_env())
    return getattr(task, field)
