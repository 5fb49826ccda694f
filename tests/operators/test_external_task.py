"""Sensors hold no slot, wait no longer than their run matters, and name what they wait for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskMarker, ExternalTaskSensor
from airflow.providers.standard.triggers.external_task import WorkflowTrigger
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred
from airflow.sdk.execution_time import macros

from operators.external_task import LONGEST_WAIT, SHORTEST_WAIT, ExternalRunSensor, mark, wait_for, wait_limit
from utils.policy import check_dag

NOON = datetime(2026, 6, 2, 12, tzinfo=UTC)
TIMED_OUT = {"error": "Trigger timeout"}


class TaskInstance:
    """Answers as Airflow's API does for a run that failed."""

    def __init__(self, states: dict[str, dict[str, str | None]]) -> None:
        self.states = states
        self.asked: dict[str, Any] = {}

    def get_task_states(self, **asked: Any) -> dict[str, dict[str, str | None]]:
        self.asked = asked
        return self.states

    def get_dagrun_state(self, dag_id: str, run_id: str) -> str:
        return f"state of {dag_id} {run_id}"


def context(states: dict[str, dict[str, str | None]] | None = None, *, hours: float | None = 24) -> Any:
    start = NOON if hours is not None else None
    return {
        "ti": TaskInstance({"r1": {"t": "failed", "other": "success"}} if states is None else states),
        "logical_date": NOON,
        "data_interval_start": start,
        "data_interval_end": None if hours is None else NOON + timedelta(hours=hours),
    }


def test_a_sensor_by_default() -> None:
    sensor = wait_for("d", "g.t", delta=timedelta(hours=3))
    assert isinstance(sensor, ExternalTaskSensor)
    assert (sensor.task_id, sensor.external_dag_id, sensor.external_task_ids) == ("wait_for_g.t", "d", ["g.t"])
    assert (sensor.deferrable, sensor.pool, sensor.poke_interval) == (True, "DATA_ENG_EXTERNALTASKSENSOR", 60)
    assert (sensor.allowed_states, sensor.failed_states) == (["success"], ["failed", "upstream_failed", "skipped"])
    assert sensor.execution_delta == timedelta(hours=3)
    assert (wait_for("d", None).task_id, wait_for("d", None).failed_states) == ("wait_for_d", ["failed"])
    assert wait_for("d", "t", fail_with_it=False).failed_states == []


@pytest.mark.parametrize(
    ("hours", "limit"),
    [
        (24, timedelta(days=1)),
        (1, SHORTEST_WAIT),
        (24 * 31, LONGEST_WAIT),
        (24 * 7, timedelta(days=7)),
        (0, LONGEST_WAIT),
    ],
)
def test_it_waits_as_long_as_its_interval(hours: float, limit: timedelta) -> None:
    assert wait_limit(NOON, NOON + timedelta(hours=hours)) == limit
    with pytest.raises(TaskDeferred) as deferred:
        wait_for("d", "t").execute(context(hours=hours))
    assert deferred.value.timeout == limit


def test_a_run_without_interval_and_a_limit_of_ones_own() -> None:
    with pytest.raises(TaskDeferred) as deferred:
        wait_for("d", "t").execute(context(hours=None))
    assert deferred.value.timeout == LONGEST_WAIT
    with pytest.raises(TaskDeferred) as deferred:
        wait_for("d", "t", timeout=timedelta(hours=2)).execute(context())
    assert deferred.value.timeout == timedelta(hours=2)


def test_it_waits_in_the_triggerer_for_the_shifted_run() -> None:
    with pytest.raises(TaskDeferred) as deferred:
        wait_for("d", "t", delta=timedelta(hours=-2)).execute(context())
    trigger = deferred.value.trigger
    assert isinstance(trigger, WorkflowTrigger)
    assert trigger.logical_dates == [NOON + timedelta(hours=2)]
    assert trigger.external_task_ids == ["t"]


def test_a_failure_names_the_run_and_its_state() -> None:
    given = context()
    with pytest.raises(Exception, match=r"External job has failed") as failed:
        wait_for("d", "t", delta=timedelta(hours=3)).execute_complete(given, {"status": "failed"})
    message = str(failed.value)
    assert "d.t of the run of 2026-06-02T09:00:00+00:00 (run r1: state of d r1, t: failed)" in message
    assert "When d is right, clear this task" in message
    assert "other" not in message
    assert given["ti"].asked == {
        "dag_id": "d",
        "task_ids": ["t"],
        "logical_dates": [NOON - timedelta(hours=3)],
    }


def test_a_time_out_names_the_run_and_its_state() -> None:
    sensor = wait_for("d", "t")
    with pytest.raises(AirflowSensorTimeout, match=r"Waited 1 day, 0:00:00 in vain for d.t of .*t: running"):
        sensor.resume_execution("__fail__", TIMED_OUT, context({"r1": {"t": "running"}}))
    with pytest.raises(AirflowSensorTimeout, match=r"\(there is no such run, or no such task in it\)"):
        sensor.resume_execution("__fail__", TIMED_OUT, context({}))
    with pytest.raises(AirflowSensorTimeout, match=r"Waited 2:00:00 in vain for d of .*run r1: state of d r1\)"):
        wait_for("d", None, timeout=timedelta(hours=2)).resume_execution("__fail__", TIMED_OUT, context())


def test_a_task_that_has_not_started() -> None:
    with pytest.raises(AirflowSensorTimeout, match=r"t: not started"):
        wait_for("d", "t").resume_execution("__fail__", TIMED_OUT, context({"r1": {"t": None}}))


def test_success_goes_on() -> None:
    wait_for("d", "t").execute_complete(context(), {"status": "success"})


def test_an_api_that_does_not_answer_hides_no_failure() -> None:
    given = context()
    given["ti"].get_task_states = lambda **_: 1 / 0
    with pytest.raises(Exception, match=r"External job has failed.*its state is not known: division by zero"):
        wait_for("d", "t").execute_complete(given, {"status": "failed"})


def test_upstream_still_says_neither() -> None:
    """When this fails, :class:`ExternalRunSensor` needs no messages of its own any more."""
    sensor = ExternalTaskSensor(task_id="s", external_dag_id="d", external_task_id="t")
    with pytest.raises(Exception, match=r"^External job has failed\.$"):
        sensor.execute_complete(context(), {"status": "failed"})
    with pytest.raises(AirflowSensorTimeout, match=r"^Trigger timeout$"):
        sensor.resume_execution("__fail__", TIMED_OUT, context())


def test_markers_stand_behind_the_task() -> None:
    with DAG("own", schedule=None) as dag:
        mark(EmptyOperator(task_id="t"), {"other_dag": "wait_for_t"})
    marker: Any = dag.get_task("t_external.other_dag__wait_for_t")
    assert isinstance(marker, ExternalTaskMarker)
    assert (marker.external_dag_id, marker.external_task_id) == ("other_dag", "wait_for_t")
    assert marker.upstream_task_ids == {"t"}
    assert marker.logical_date == "{{ logical_date.isoformat() }}"


def test_markers_name_the_run_that_waits() -> None:
    with DAG("own", schedule=None) as dag:
        mark(EmptyOperator(task_id="t"), {"other_dag": "wait_for_t"}, delta=timedelta(days=-6, hours=2))
    marker: Any = dag.get_task("t_external.other_dag__wait_for_t")
    names = {"logical_date": datetime(2026, 6, 7, 1, tzinfo=UTC), "macros": macros}
    named = dag.get_template_env().from_string(marker.logical_date).render(names)
    assert datetime.fromisoformat(named) == datetime(2026, 6, 1, 3, tzinfo=UTC)


def test_a_sensor_is_a_task_like_any_other() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    from utils.defaults import default_args
    from utils.tags import Tag

    with DAG("own", schedule=None, default_args=default_args(owner="ads"), tags=[Tag.ImpactTier.tier_1]) as dag:
        ExternalRunSensor(task_id="s", external_dag_id="d", external_task_id="t")
    assert check_dag(dag) == []
    task = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("s")
    assert task.external_dag_id == "d"
