"""Wait for a task of another DAG, and tell other DAGs' tasks that they wait for one of ours."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.sensors.external_task import ExternalTaskMarker, ExternalTaskSensor
from airflow.sdk import TaskGroup
from airflow.sdk.exceptions import AirflowSensorTimeout

from utils.constants import ALLOWED_STATES, FAILED_STATES
from utils.pools import EXTERNAL_TASK_SENSOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.sdk import BaseOperator, Context

SHORTEST_WAIT = timedelta(hours=6)
LONGEST_WAIT = timedelta(days=7)
_POLL = timedelta(minutes=1)
_FAILED_RUN = "failed"


class ExternalRunSensor(ExternalTaskSensor):
    """Airflow's ``ExternalTaskSensor``, whose log and errors name the run that it waits for and that run's state.

    The provider's says "External job has failed", or only that a trigger timed out, and leaves it to the reader to find out
    which run that was (standard 1.21.0; no upstream issue found).

    It waits for as long as its own DAG's interval, so that it ends about when its next run begins: at least 6 hours, at most
    7 days. Give ``timeout`` for another limit.

    :param timeout: how long to wait. Default: the run's interval, within those bounds.
    :param kwargs: every other parameter of ``ExternalTaskSensor`` and of ``BaseSensorOperator``.
    """

    def __init__(self, *, timeout: timedelta | float | None = None, **kwargs: Any) -> None:
        super().__init__(timeout=LONGEST_WAIT if timeout is None else timeout, **kwargs)
        self.fits_interval = timeout is None

    def execute(self, context: Context) -> None:
        """Say what is waited for, then wait."""
        if self.fits_interval:
            self.timeout = wait_limit(context["data_interval_start"], context["data_interval_end"]).total_seconds()
        self.log.info("Waiting at most %s for %s", timedelta(seconds=self.timeout), self._target(context))
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """What the trigger saw, in words that name the run."""
        try:
            super().execute_complete(context, event)
        except Exception as error:
            error.args = (f"{error} Waited for {self._target(context)}. {self._advice()}",)
            raise

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """What ended the waiting; a time-out is told with the run."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSensorTimeout as error:
            limit = timedelta(seconds=self.timeout)
            if self.fits_interval:
                limit = wait_limit(context["data_interval_start"], context["data_interval_end"])
            raise AirflowSensorTimeout(
                f"Waited {limit} in vain for {self._target(context)}. {self._advice()}"
            ) from error

    def _advice(self) -> str:
        return f"When {self.external_dag_id} is right, clear this task: what comes after it follows."

    def _target(self, context: Context) -> str:
        """What is waited for and how it stands, ``d.t of the run of <date> (run <id>: failed, t: failed)``."""
        dates = self._get_dttm_filter(context)
        tasks = self.external_task_ids or ([self.external_task_group_id] if self.external_task_group_id else [])
        name = ".".join([self.external_dag_id, *([", ".join(tasks)] if tasks else [])])
        date = ", ".join(date.isoformat() for date in dates)
        return f"{name} of the run of {date} ({self._state(context, dates)})"

    def _state(self, context: Context, dates: Sequence[datetime]) -> str:
        ti: Any = context["ti"]
        wanted = list(self.external_task_ids or [])
        try:
            found = ti.get_task_states(
                dag_id=self.external_dag_id, logical_dates=list(dates), **({"task_ids": wanted} if wanted else {})
            )
            runs = {run: ti.get_dagrun_state(self.external_dag_id, run) for run in sorted(found)}
        except Exception as error:  # it must not hide what is being told
            return f"its state is not known: {error}"
        if not found:
            return "there is no such run" + (", or no such task in it" if wanted else "")
        return "; ".join(
            ", ".join([
                f"run {run}: {state}",
                *(f"{task}: {found[run][task] or 'not started'}" for task in wanted if task in found[run]),
            ])
            for run, state in runs.items()
        )


def wait_limit(start: datetime | None, end: datetime | None) -> timedelta:
    """How long a sensor waits for another DAG: the run's interval, at least 6 hours and at most 7 days.

    :param start: where the run's interval starts. None: a run without interval, it waits 7 days.
    :param end: where it ends.
    """
    if start is None or end is None or end <= start:
        return LONGEST_WAIT
    return min(max(end - start, SHORTEST_WAIT), LONGEST_WAIT)


def wait_for(
    dag_id: str,
    task: str | None,
    *,
    delta: timedelta = timedelta(),
    task_id: str | None = None,
    fail_with_it: bool = True,
    **differing: Any,
) -> ExternalRunSensor:
    """A sensor that waits for a task of another DAG without a worker slot, in the pool of such sensors.

    :param dag_id: the other DAG.
    :param task: its task, ``group.task`` for one in a group. None: the whole run.
    :param delta: this run's logical date less that of the run waited for. DAG at 04:00 that waits for one at 01:00: 3 hours.
        Negative for a run that starts later. Default: the same logical date.
    :param task_id: id of the sensor. Default: ``wait_for_<task>``.
    :param fail_with_it: fail at once when the task has failed or was skipped, instead of waiting on. Default: True.
    :param differing: any other parameter of :class:`ExternalRunSensor`.
    """
    return ExternalRunSensor(
        task_id=task_id or f"wait_for_{task or dag_id}",
        external_dag_id=dag_id,
        external_task_id=task,
        execution_delta=delta or None,
        **{
            "allowed_states": ALLOWED_STATES,
            "failed_states": (FAILED_STATES if task else [_FAILED_RUN]) if fail_with_it else None,
            "pool": EXTERNAL_TASK_SENSOR.name,
            "poke_interval": _POLL.total_seconds(),
            "deferrable": True,
        }
        | differing,
    )


def mark(
    task: BaseOperator, waiting: dict[str, str], *, delta: timedelta = timedelta(), group_id: str | None = None
) -> None:
    """Put behind a task the markers of the sensors of other DAGs that wait for it, in a group ``<task>_external``.

    Airflow 3 doesn't clear other DAGs through them (apache/airflow#61451); they show in the graph, and DAGs of imported files
    have them.

    :param task: the task that is waited for.
    :param waiting: sensor that waits, by its DAG: ``{"dag_id": "wait_for_it"}``.
    :param delta: the logical date of the run that waits less that of this run, as the sensor's ``delta`` says it. Default: the same
        logical date.
    :param group_id: id of the group. Default: ``<task>_external``.
    """
    date = f"(logical_date + macros.timedelta(seconds={delta.total_seconds():.0f}))" if delta else "logical_date"
    with TaskGroup(group_id or f"{task.task_id}_external") as markers:
        for dag_id, sensor in waiting.items():
            ExternalTaskMarker(
                task_id=f"{dag_id}__{sensor}",
                external_dag_id=dag_id,
                external_task_id=sensor,
                logical_date=f"{{{{ {date}.isoformat() }}}}",
            )
    task >> markers
