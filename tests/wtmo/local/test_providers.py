"""The provider's BigQuery and Cloud Storage operators on the platform: what each did, and that those told to defer did."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from utils.config import ROOT, WAREHOUSE_PROJECT
from wtmo.local import api, day, platform, warehouse
from wtmo.local.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wtmo.local.state import PlatformRecord

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]

DATE = dt.date(2026, 6, 1)
DAGS = ROOT / "tests" / "wtmo" / "local" / "provider_dags"
DATASET = f"{WAREHOUSE_PROJECT}.provider_test"

# What a failed task's log must say.
FAILING = {
    "bad_sql": "Syntax error",
    "bad_sql_deferred": "Syntax error",
    "missing_table_deferred": "Not found: Table moz-fx-data-shared-prod:provider_test.nothing",
    "check_fails": "Test failed",
}
SUCCEEDING = (
    "create_dataset",
    "create_bucket",
    "insert_job",
    "insert_job_deferred",
    "check",
    "check_deferred",
    "value_check",
    "value_check_deferred",
    "column_check",
    "table_check",
    "interval_check",
    "interval_check_deferred",
    "get_data",
    "get_data_deferred",
    "table",
    "table_deferred",
    "partition",
    "partition_deferred",
    "local_to_gcs",
    "list_objects",
    "object",
    "object_deferred",
    "bigquery_to_gcs",
    "bigquery_to_gcs_deferred",
    "gcs_to_bigquery",
    "gcs_to_bigquery_deferred",
    "bigquery_to_bigquery",
    "delete_table",
)
DEFERRED = [name for name in (*SUCCEEDING, *FAILING) if name.endswith("_deferred")]


class Run:
    """The DAG's run on a platform that still runs."""

    def __init__(self, state: State, record: PlatformRecord) -> None:
        self.state = state
        self.record = record
        lines: list[str] = []
        self.results = {r.task: r for r in day.run_day(state, record, DATE, report=lines.append, dags=("providers",))}
        self.report = "\n".join(lines)

    def logs(self, task: str) -> dict[str, str]:
        """The task's log files by name."""
        folder = self.state.root / "airflow" / "logs"
        return {p.name: p.read_text() for p in folder.rglob(f"task_id={task}/*.log*") if p.is_file()}

    def xcom(self, task: str) -> object:
        """What the task returned."""
        import airflow_client.client as airflow

        with api.client(self.record) as client:
            (run,) = airflow.DagRunApi(client).get_dag_runs("providers").dag_runs
            entry = airflow.XComApi(client).get_xcom_entry(
                "providers", task, run.dag_run_id, "return_value", deserialize=True
            )
        value: object = entry.actual_instance.value if entry.actual_instance else None
        return value

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """The rows of a query."""
        return [tuple(row.values()) for row in warehouse.client(self.record).query_and_wait(sql)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    state = State(tmp_path_factory.mktemp("providers"))
    launch = platform.Launch(state, port=0, dags=DAGS)
    try:
        yield Run(state, launch.wait(lambda _: None))
    finally:
        launch.stop()


def test_every_task_is_known_here(run: Run) -> None:
    assert set(run.results) - {"all_wait"} == {*SUCCEEDING, *FAILING}


@pytest.mark.parametrize("task", SUCCEEDING)
def test_succeeds(run: Run, task: str) -> None:
    assert run.results[task].state == "success", run.report.partition(f"providers.{task} failed")[2] or run.report


@pytest.mark.parametrize(("task", "says"), FAILING.items())
def test_fails_and_says_why(run: Run, task: str, says: str) -> None:
    assert run.results[task].state == "failed"
    assert says in "\n".join(run.logs(task).values())


@pytest.mark.parametrize(("task", "tries"), [("bad_sql", 1), ("bad_sql_deferred", 1), ("check_fails", 2)])
def test_what_would_fail_again_is_not_retried(run: Run, task: str, tries: int) -> None:
    """Each has one retry; bad SQL leaves it, by the policy of :mod:`utils.retries`."""
    assert len([name for name in run.logs(task) if ".trigger." not in name]) == tries


@pytest.mark.parametrize("task", DEFERRED)
def test_was_really_deferred(run: Run, task: str) -> None:
    """Its log says so, and the triggerer wrote a log of its own for it, in which the trigger fires."""
    logs = run.logs(task)
    triggerer = "\n".join(text for name, text in logs.items() if ".trigger." in name)
    assert "DEFERRED" in logs["attempt=1.log"]
    assert "rigger fired event" in triggerer


def test_results_are_those_of_the_data(run: Run) -> None:
    assert run.rows(f"SELECT submission_date, COUNT(*), SUM(n) FROM {DATASET}.rows GROUP BY 1 ORDER BY 1") == [
        (DATE - dt.timedelta(days=1), 5, 15),
        (DATE, 5, 15),
    ]
    assert run.rows(f"SELECT total FROM {DATASET}.totals") == [(30,)]
    for table in ("loaded", "loaded_deferred"):
        assert run.rows(f"SELECT id, name FROM {DATASET}.{table} ORDER BY id") == [(1, "one"), (2, "two"), (3, "three")]
    tables = {table.table_id for table in warehouse.client(run.record).list_tables(DATASET)}
    assert tables == {"rows", "totals", "loaded", "loaded_deferred"}, "delete_table left its table or more"


def test_what_was_exported_is_in_the_bucket(run: Run) -> None:
    folder: Path = run.state.root / "gcs" / "provider-test"
    assert (folder / "rows.csv").read_text() == (DAGS / "rows.csv").read_text()
    for mode in ("sync", "deferred"):
        lines = [line for path in folder.glob(f"out/{mode}-*.ndjson") for line in path.read_text().splitlines()]
        assert len(lines) == 10


@pytest.mark.parametrize("task", ["get_data", "get_data_deferred"])
def test_get_data_gives_the_rows(run: Run, task: str) -> None:
    rows = run.xcom(task)
    assert isinstance(rows, list)
    assert sorted(int(row["n"]) for row in rows) == sorted([*range(1, 6)] * 2)


def test_list_objects_gives_the_names(run: Run) -> None:
    assert run.xcom("list_objects") == ["rows.csv"]
