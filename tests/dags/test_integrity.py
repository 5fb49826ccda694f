"""Every DAG loads, keeps the rules, survives serialization, and waits for something that exists."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction

from tests.dags.imported import IMPORTED, WRONG_IN_PRODUCTION
from utils.policy import check_dag

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

Bags = dict[str, "DagBag"]
START = pendulum.datetime(2026, 3, 1)


@pytest.mark.parametrize("folder", ["dags", "resources/sample/dags"])
def test_every_file_loads(bags: Bags, folder: str) -> None:
    bag = bags[folder]
    assert not bag.import_errors, "\n\n".join(f"{file}:\n{error}" for file, error in bag.import_errors.items())
    assert bag.dags, f"no DAG was found in {folder}/: is it the right folder?"


def test_no_file_is_without_a_dag(bags: Bags) -> None:
    for folder, bag in bags.items():
        files = {str(path) for path in Path(bag.dag_folder).rglob("*.py")}
        assert files == {dag.fileloc for dag in bag.dags.values()}, f"{folder}/ holds DAG files, and nothing else"


def test_the_rules_hold(dags: dict[str, DAG]) -> None:
    problems = [problem for dag in dags.values() for problem in check_dag(dag)]
    assert not problems, "\n".join(problems)


def test_the_file_is_named_after_the_dag(dags: dict[str, DAG]) -> None:
    families = {dag.fileloc for dag in dags.values()}
    for file in families:
        ids = [dag.dag_id for dag in dags.values() if dag.fileloc == file]
        if len(ids) == 1:
            expected = ids[0].replace("-", "_") + ".py"
            assert Path(file).name == expected, f"rename {file} to {expected}: on-call looks for the dag_id"


def test_serialization_round_trip(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        once = DagSerialization.to_dict(dag)
        again = DagSerialization.from_dict(once)
        assert again.dag_id == dag.dag_id
        assert set(again.task_ids) == set(dag.task_ids)
        assert {t: again.get_task(t).upstream_task_ids for t in again.task_ids} == {
            t: dag.get_task(t).upstream_task_ids for t in dag.task_ids
        }
        assert DagSerialization.to_dict(dag) == once, f"{dag.dag_id} is another one each time it is serialized"


def sensors(dags: dict[str, DAG]) -> list[tuple[DAG, Any]]:
    return [(dag, task) for dag in dags.values() for task in dag.tasks if isinstance(task, ExternalTaskSensor)]


def of_ours(dag: DAG, sensor: Any) -> bool:
    """Whether the sensor is right in production, or should be."""
    return (dag.dag_id, sensor.task_id) not in WRONG_IN_PRODUCTION


def test_sensors_wait_for_something_that_exists(dags: dict[str, DAG]) -> None:
    assert sensors(dags), "the sample DAG has a sensor"
    for dag, sensor in sensors(dags):
        where = f"{dag.dag_id}.{sensor.task_id}"
        known = {d.dag_id: set(d.task_ids) for d in dags.values()} | {d: tasks for d, (_, tasks) in IMPORTED.items()}
        tasks = known.get(sensor.external_dag_id)
        if tasks is None and not of_ours(dag, sensor):
            continue
        assert tasks is not None, (
            f"{where} waits for DAG {sensor.external_dag_id}, which doesn't exist. One of another repository is a line in "
            "tests/dags/imported.py."
        )
        wanted = set(sensor.external_task_ids or [sensor.external_task_id] if sensor.external_task_id else [])
        missing = wanted - tasks
        assert not missing, f"{where} waits for {missing} of {sensor.external_dag_id}, which doesn't exist"


def logical_dates(dag: DAG, days: int, start: pendulum.DateTime = START) -> list[pendulum.DateTime]:
    """When the runs of some days in 2026 have their logical dates."""
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    window = TimeRestriction(earliest=start, latest=start.add(days=days), catchup=True)
    dates: list[pendulum.DateTime] = []
    info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=window)
    while info is not None:
        dates.append(info.logical_date)
        info = timetable.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=window)
    return dates


@pytest.fixture(scope="module")
def schedules(dags: dict[str, DAG]) -> dict[str, DAG]:
    """Every DAG that can be waited for, those of other repositories as their schedule alone."""
    start = pendulum.datetime(2020, 1, 1)
    return dags | {d: DAG(d, schedule=schedule, start_date=start) for d, (schedule, _) in IMPORTED.items()}


def waits_in_vain(dag: DAG, sensor: Any, schedules: dict[str, DAG]) -> str | None:
    """The first run of a year for which there is no run to wait for; None: each one has one."""
    target = schedules.get(sensor.external_dag_id)
    if target is None:
        return f"there is no DAG {sensor.external_dag_id}"
    shift = sensor.execution_delta or timedelta()
    days = 3 if max(len(logical_dates(d, days=1)) for d in (dag, target)) > 24 else 100
    waited_for = [date - shift for date in logical_dates(dag, days)]
    assert waited_for, f"{dag.dag_id} has no runs in {days} days"
    margin = abs(shift) + timedelta(days=1)
    runs = set(logical_dates(target, days + 2 * margin.days + 2, start=START - margin))
    lost = [date for date in waited_for if date not in runs]
    return f"no run of {target.dag_id} has the date {lost[0]}" if lost else None


def test_sensors_wait_for_a_run_that_exists(dags: dict[str, DAG], schedules: dict[str, DAG]) -> None:
    for dag, sensor in sensors(dags):
        if of_ours(dag, sensor):
            found = waits_in_vain(dag, sensor, schedules)
            assert found is None, f"{dag.dag_id}.{sensor.task_id}: {found}"


@pytest.mark.parametrize(("dag_id", "task_id"), WRONG_IN_PRODUCTION)
def test_what_is_wrong_in_production_still_is(
    dags: dict[str, DAG], schedules: dict[str, DAG], dag_id: str, task_id: str
) -> None:
    """When this fails, take the sensor off the list."""
    if dag_id in dags:
        assert waits_in_vain(dags[dag_id], dags[dag_id].get_task(task_id), schedules)


def test_ds_is_the_start_of_the_data_interval(dags: dict[str, DAG]) -> None:
    """Without [scheduler] create_cron_data_intervals every partition would shift by a day, without a word."""
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dags["copy_deduplicate"])).timetable
    window = TimeRestriction(earliest=pendulum.datetime(2026, 6, 1, 1), latest=None, catchup=True)
    info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=window)
    assert info is not None
    assert info.logical_date == pendulum.datetime(2026, 6, 1, 1)
    assert info.run_after == pendulum.datetime(2026, 6, 2, 1)
