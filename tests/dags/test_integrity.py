"""Every DAG loads, keeps the rules, survives serialization, and waits for something that exists."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction

from utils.policy import check_dag
from utils.pools import POOLS

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

Bags = dict[str, "DagBag"]


@pytest.fixture(scope="session")
def dags(bags: Bags) -> dict[str, DAG]:
    found = [dag for bag in bags.values() for dag in bag.dags.values()]
    by_id = {dag.dag_id: dag for dag in found}
    assert len(by_id) == len(found), f"a dag_id is used twice: {sorted(dag.dag_id for dag in found)}"
    return by_id


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


def test_pools_are_declared(dags: dict[str, DAG]) -> None:
    known = {"default_pool", *(pool.name for pool in POOLS)}
    used = {(dag.dag_id, task.task_id, task.pool) for dag in dags.values() for task in dag.tasks}
    unknown = sorted(use for use in used if use[2] not in known)
    assert not unknown, f"declare these pools in utils/pools.py: {unknown}"


def sensors(dags: dict[str, DAG]) -> list[tuple[DAG, Any]]:
    return [(dag, task) for dag in dags.values() for task in dag.tasks if isinstance(task, ExternalTaskSensor)]


def test_sensors_wait_for_something_that_exists(dags: dict[str, DAG]) -> None:
    assert sensors(dags), "the sample DAG has a sensor"
    for dag, sensor in sensors(dags):
        where = f"{dag.dag_id}.{sensor.task_id}"
        target = dags.get(sensor.external_dag_id)
        assert target is not None, f"{where} waits for DAG {sensor.external_dag_id}, which doesn't exist"
        wanted = set(sensor.external_task_ids or [sensor.external_task_id] if sensor.external_task_id else [])
        missing = wanted - set(target.task_ids)
        assert not missing, f"{where} waits for {missing} of {target.dag_id}, which doesn't exist"


def logical_dates(dag: DAG, days: int) -> list[pendulum.DateTime]:
    """When the runs of some days in 2026 have their logical dates."""
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    start = pendulum.datetime(2026, 3, 1)
    window = TimeRestriction(earliest=start, latest=start.add(days=days), catchup=True)
    dates: list[pendulum.DateTime] = []
    info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=window)
    while info is not None:
        dates.append(info.logical_date)
        info = timetable.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=window)
    return dates


def test_sensors_wait_for_a_run_that_exists(dags: dict[str, DAG]) -> None:
    for dag, sensor in sensors(dags):
        shift = sensor.execution_delta or timedelta()
        runs = set(logical_dates(dags[sensor.external_dag_id], days=30))
        waited_for = [date - shift for date in logical_dates(dag, days=20)[5:]]
        assert waited_for, f"{dag.dag_id} has no runs in 20 days"
        lost = [date for date in waited_for if date not in runs]
        assert not lost, f"{dag.dag_id}.{sensor.task_id}: no run of {sensor.external_dag_id} has the date {lost[0]}"


def test_ds_is_the_start_of_the_data_interval(dags: dict[str, DAG]) -> None:
    """Without [scheduler] create_cron_data_intervals every partition would shift by a day, without a word."""
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dags["copy_deduplicate"])).timetable
    window = TimeRestriction(earliest=pendulum.datetime(2026, 6, 1, 1), latest=None, catchup=True)
    info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=window)
    assert info is not None
    assert info.logical_date == pendulum.datetime(2026, 6, 1, 1)
    assert info.run_after == pendulum.datetime(2026, 6, 2, 1)
