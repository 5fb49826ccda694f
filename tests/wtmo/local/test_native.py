"""Queries and checks as BigQuery jobs, on a whole platform: what Airflow says, what is in the table, what runs on."""

from __future__ import annotations

import datetime as dt
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from utils.config import ROOT
from utils.labels import label_value
from wtmo.local import api, day, platform, warehouse
from wtmo.local.components import Supplies
from wtmo.local.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wtmo.local.state import PlatformRecord

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]

DATE = dt.date(2026, 6, 1)
DAGS = ROOT / "tests" / "wtmo" / "local" / "native_dags"


def wait(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[State, PlatformRecord]]:
    state = State(tmp_path_factory.mktemp("native"))
    # The stand-in of BigQuery makes tables as its own checkout describes them: it has that of the tasks.
    launch = platform.Launch(state, port=0, dags=DAGS, supplies=Supplies(checkout=DAGS / "bigquery-etl"))
    try:
        yield state, launch.wait(lambda _: None)
    finally:
        launch.stop()


def jobs(record: PlatformRecord, dag: str) -> list[Any]:
    return [job for job in warehouse.client(record).list_jobs(all_users=True) if job.labels.get("airflow-dag") == dag]


def test_a_day_of_native_tasks(running: tuple[State, PlatformRecord]) -> None:
    state, record = running
    lines: list[str] = []
    results = {r.task: r for r in day.run_day(state, record, DATE, report=lines.append, dags=("native",))}
    report = "\n".join(lines)
    states = {task: result.state for task, result in results.items()}
    assert states == {
        "days": "success",
        "checks_fail": "success",
        "checks_warn": "failed",
        "missing_file": "failed",
    }, report
    assert results["days"].rows == 3

    client = warehouse.client(record)
    sql = f"SELECT COUNT(*) FROM native_derived.days_v1 WHERE submission_date = '{DATE}'"
    assert [tuple(row.values()) for row in client.query_and_wait(sql)] == [(3,)]
    table = client.get_table("native_derived.days_v1")
    assert table.time_partitioning.field == "submission_date"
    assert [field.description for field in table.schema] == ["The day.", "A number."]

    said = report.partition("native.checks_warn failed")[2]
    assert "values not in [1, 2]: n in 1 rows" in said
    assert "native_derived/nothing_v1/query.sql" in report.partition("native.missing_file failed")[2]

    import airflow_client.client as airflow

    with api.client(record) as api_client:
        runs = [run.dag_run_id for run in airflow.DagRunApi(api_client).get_dag_runs("native").dag_runs]
    made = jobs(record, "native")
    assert sorted(job.labels["airflow-task"] for job in made) == [*["checks_fail"] * 2, "checks_warn", "days"]
    (run,) = {job.labels["airflow-run"] for job in made}
    assert run == label_value(runs[0])
    assert {job.labels["airflow-try"] for job in made} == {"1"}


def test_a_waiting_task_that_is_marked_failed_leaves_no_job_running(running: tuple[State, PlatformRecord]) -> None:
    import airflow_client.client as airflow

    state, record = running
    results: list[Any] = []
    follow = threading.Thread(
        target=lambda: results.extend(day.run_day(state, record, DATE, report=lambda _: None, dags=("native_killed",)))
    )
    follow.start()

    def instances(client: Any) -> list[Any]:
        return list(airflow.TaskInstanceApi(client).get_task_instances("native_killed", "~", limit=10).task_instances)

    with api.client(record) as client:
        wait(lambda: [i for i in instances(client) if i.triggerer_job], "the triggerer to have the task")
        assert [job.state for job in jobs(record, "native_killed")] == ["RUNNING"]
        (waiting,) = instances(client)
        airflow.TaskInstanceApi(client).patch_task_instance(
            "native_killed",
            waiting.dag_run_id,
            "days",
            airflow.PatchTaskInstanceBody(new_state=airflow.TaskInstanceState.FAILED),
        )
    wait(lambda: [job.state for job in jobs(record, "native_killed")] == ["DONE"], "the job to be cancelled")
    (job,) = jobs(record, "native_killed")
    assert job.error_result["reason"] == "stopped"
    follow.join(60)
    assert [result.state for result in results] == ["failed"]


def test_a_query_that_meets_a_rate_limit_is_put_off_and_keeps_its_retries(
    running: tuple[State, PlatformRecord],
) -> None:
    """A mapped one, which has none."""
    import airflow_client.client as airflow

    state, record = running
    (result,) = day.run_day(state, record, DATE, report=lambda _: None, dags=("native_put_off",))
    assert result.state == "success"
    with api.client(record) as client:
        (done,) = airflow.TaskInstanceApi(client).get_task_instances("native_put_off", "~", limit=10).task_instances
    assert (done.try_number, done.max_tries) == (1, 0)
    assert [job.labels["airflow-try"] for job in jobs(record, "native_put_off")] == ["1", "1"]


def test_a_limit_of_one_sync_at_a_time_holds_while_it_is_deferred(running: tuple[State, PlatformRecord]) -> None:
    """In Airflow 2 it did not, which is why generated files say ``deferrable=False`` (mozilla/telemetry-airflow#1932)."""
    import airflow_client.client as airflow

    _, record = running
    seen: set[str] = set()
    with api.client(record) as client:
        tasks, runs = airflow.TaskInstanceApi(client), airflow.DagRunApi(client)
        api.call(airflow.DAGApi(client).patch_dag, "native_syncs", airflow.DAGPatchBody(is_paused=False))
        for day_of_month in (1, 2):
            moment = dt.datetime(2026, 6, day_of_month, tzinfo=dt.UTC)
            api.call(runs.trigger_dag_run, "native_syncs", airflow.TriggerDAGRunPostBody(logical_date=moment))

        def all_done() -> bool:
            found = api.call(tasks.get_task_instances, "native_syncs", "~", limit=10).task_instances
            states = [str(each.state and each.state.value) for each in found]
            at_work = [state for state in states if state in {"queued", "running", "deferred"}]
            assert len(at_work) <= 1, states
            seen.update(at_work)
            return len(states) == 2 and set(states) <= {"success", "failed"}

        wait(all_done, "both syncs to end", 120)
        ends = api.call(tasks.get_task_instances, "native_syncs", "~", limit=10).task_instances
    assert [each.state.value for each in ends] == ["success", "success"]
    assert "deferred" in seen
    first, second = sorted(ends, key=lambda each: each.start_date)
    assert first.end_date <= second.start_date
