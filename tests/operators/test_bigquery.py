"""BigQueryRunBqetlOperator against the local BigQuery: the jobs it makes, one a try, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.sdk import DAG
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
    TaskDeferred,
)
from airflow.sdk.module_loading import import_string
from google.api_core.exceptions import NotFound, ServiceUnavailable
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from operators import bigquery as native
from operators import gcp_container_operator
from operators.bigquery import BigQueryJobError, BigQueryJobsTrigger, BigQueryRunBqetlOperator, BigQueryUsageError
from operators.gcp_container_operator import GKEPodOperator
from utils.bqetl.flags import TEMPORARY_DATASET
from utils.config import ROOT
from utils.constants import BIGQUERY_JOBS_KEY
from utils.labels import label_value
from utils.retries import PUT_OFF, FaultRetryPolicy, rule_of
from utils.tags import Tag
from wtmo.local.bqetl import cli

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.loopback

PROJECT = "moz-fx-data-shared-prod"
DAY = "2026-06-01"
LONG = "--label=wtmo-min-running-ms:60000"
BOTH_MODES = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "worker"])


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def served_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout whose tables the local BigQuery makes as they are described: a link to that of the test."""
    return tmp_path_factory.mktemp("served") / "checkout"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, served_checkout: Path) -> Iterator[str]:
    """A local BigQuery whose jobs run long enough to be waited for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("bigquery")
    command = [sys.executable, "-m", "wtmo.local.bigquery", "--port", str(port), "--state", str(folder / "state")]
    command += ["--min-running", "0.2", "--checkout", str(served_checkout), "--scratch", TEMPORARY_DATASET]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=ROOT, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while not _healthy(address):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, "waited 60 s for the local BigQuery"
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(10)


class Warehouse:
    """The local BigQuery, a checkout to fill, and a dataset of the test's own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.client = bigquery.Client(PROJECT, AnonymousCredentials())
        self.dataset = f"d_{uuid.uuid4().hex[:12]}"
        self.client.create_dataset(self.dataset)

    def write(self, table: str, files: dict[str, str]) -> str:
        """A table's folder in the checkout, from its root."""
        folder = f"sql/{PROJECT}/{self.dataset}/{table}"
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (self.root / folder / name).write_text(text)
        return folder

    def sql(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.client.query_and_wait(sql.replace("DATASET", self.dataset))]

    def jobs(self, task_id: str) -> list[bigquery.QueryJob]:
        """The jobs of a task of the DAG of this test."""
        return [
            job
            for job in self.client.list_jobs(all_users=True, max_results=1000)
            if (job.labels.get("airflow-dag"), job.labels.get("airflow-task")) == (self.dataset, label_value(task_id))
        ]


@pytest.fixture
def warehouse(url: str, served_checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    served_checkout.unlink(missing_ok=True)
    served_checkout.symlink_to(tmp_path)
    connection = {"conn_type": "google_cloud_platform", "extra": {"project": PROJECT, "is_anonymous": True}}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_SHARED_PROD", json.dumps(connection))
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
    monkeypatch.setenv("BQETL_CHECKOUT", str(tmp_path))
    # As wtmo.local.redirect does for a whole process.
    monkeypatch.setattr("gcloud.aio.bigquery.bigquery.init_api_root", lambda *_: (True, f"{url}/bigquery/v2"))
    (tmp_path / "sql").mkdir()
    return Warehouse(tmp_path)


class Store(dict[str, Any]):
    """Airflow's task state store, as a retry of the same task instance sees it again."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Try:
    """One try of a task instance, through as many deferrals as it takes."""

    def __init__(self, warehouse: Warehouse, arguments: list[str], *, store: Store | None = None, **more: Any) -> None:
        self.number = more.pop("number", 1)
        self.pushed: dict[str, Any] = {}
        self.deferrals = 0
        task_id = more.pop("task_id", "task")
        bundle = more.pop("bundle", None)
        self.parameters: dict[str, Any] = {"task_id": task_id, "arguments": arguments, "poll_interval": 0.05} | more
        self.task = self.made()
        ti = SimpleNamespace(
            dag_id=warehouse.dataset,
            task_id=task_id,
            run_id="scheduled__2026-06-01T03:00:00+00:00",
            map_index=-1,
            try_number=self.number,
            id=uuid.uuid4(),
            start_date=datetime.now(UTC),
            bundle_instance=bundle,
        )
        ti.xcom_push = lambda key, value: self.pushed.__setitem__(key, value)
        self.store = Store() if store is None else store
        self.context: Any = {"ti": ti, "task_state_store": self.store, "task_reschedule_count": 0}

    def made(self) -> BigQueryRunBqetlOperator:
        """The task of a DAG, as each worker makes it from the DAG's file."""
        with DAG("of_the_test", schedule=None, tags=[Tag.ImpactTier.tier_2, Tag.Repo.bqetl]):
            return BigQueryRunBqetlOperator(**{"owner": "data-engineering"} | self.parameters)

    def start(self) -> TaskDeferred:
        """Run until it is deferred the first time."""
        with pytest.raises(TaskDeferred) as caught:
            self.task.execute(self.context)
        return caught.value

    def run(self) -> Any:
        step = partial(self.task.execute, self.context)
        while True:
            try:
                return step()
            except TaskDeferred as deferred:
                self.deferrals += 1
                step = self.resumed(deferred)

    def resumed(self, deferred: TaskDeferred) -> Any:
        """The step after the deferral, on another worker: an operator made anew, arguments as they were stored."""
        event = first_event(deferred.trigger)
        kwargs = json.loads(json.dumps(deferred.kwargs)) | {"event": event}
        self.task = self.made()
        return partial(self.task.resume_execution, deferred.method_name, kwargs, self.context)


def rebuilt(trigger: Any) -> Any:
    path, arguments = trigger.serialize()
    return import_string(path)(**json.loads(json.dumps(arguments)))


def first_event(trigger: Any) -> Any:
    """What the trigger fires, once it was stored and built anew as Airflow does it."""

    async def fire() -> Any:
        async with asyncio.timeout(30):
            return await anext(rebuilt(trigger).run())

    return asyncio.run(fire()).payload


def query(warehouse: Warehouse, folder: str, *more: str, table: str = "t_v1") -> list[str]:
    return ["query", f"--destination_table={table}", f"--dataset_id={warehouse.dataset}", *more, f"{folder}/query.sql"]


# What is run


PARTITIONED = {
    "query.sql": "{% set n = 2 %}SELECT @submission_date AS day, n FROM UNNEST(GENERATE_ARRAY(1, {{ n }})) AS n",
    "metadata.yaml": "bigquery:\n  time_partitioning:\n    field: day\n    type: day\n",
    "schema.yaml": "fields:\n- {name: day, type: DATE, description: A day.}\n- {name: n, type: INTEGER}\n",
}


@BOTH_MODES
def test_a_day_is_written_by_one_labelled_job(
    warehouse: Warehouse, deferrable: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = warehouse.write("t_v1", PARTITIONED)
    task_id = "a_group.of_tasks__with_a_name_that_is_longer_than_any_label_may_be__v1"
    for day in (DAY, "2026-06-02", DAY):
        arguments = query(
            warehouse, folder, f"--parameter=submission_date:DATE:{day}", table=f"t_v1${day.replace('-', '')}"
        )
        done = Try(warehouse, arguments, deferrable=deferrable, task_id=task_id)
        result = done.run()
        assert done.deferrals == (1 if deferrable else 0)
        assert result["rows_written"] == 2
        assert not done.store, "a task that is cleared after its success must run its query again"
    assert warehouse.sql("SELECT CAST(day AS STRING), n FROM DATASET.t_v1 ORDER BY day, n") == [
        (DAY, 1), (DAY, 2), ("2026-06-02", 1), ("2026-06-02", 2),
    ]  # fmt: skip
    jobs = warehouse.jobs(task_id)
    assert len(jobs) == 3
    assert jobs[0].labels == {
        "airflow-dag": warehouse.dataset,
        "airflow-task": label_value(task_id),
        "airflow-run": label_value("scheduled__2026-06-01T03:00:00+00:00"),
        "airflow-try": "1",
        "airflow-owner": "data-engineering",
        "airflow-tier": "tier_2",
    }
    assert result["jobs"] == [f"{PROJECT}:{jobs[0].location}.{jobs[0].job_id}"]
    assert result["bytes_processed"] == jobs[0].total_bytes_processed
    assert result["slot_ms"] == jobs[0].slot_millis
    assert done.pushed["bigquery_job_detail"]["job_id"] == jobs[0].job_id
    log = capsys.readouterr().out
    assert f"{jobs[0].job_id}, 2 rows written, {jobs[0].total_bytes_processed:,} bytes processed, " in log
    assert f"{jobs[0].slot_millis / 1000:,.1f} slot seconds" in log


def variables_of_a_pod(dag_id: str) -> dict[str, str]:
    """What the pod operator gives the program for the task of :class:`Try`."""
    with DAG(dag_id, schedule=None, tags=[Tag.ImpactTier.tier_2, Tag.Repo.bqetl]):
        pod = GKEPodOperator(task_id="task", owner="data-engineering", image="i", name="task")
    ti = SimpleNamespace(
        dag_id=dag_id, task_id="task", run_id="scheduled__2026-06-01T03:00:00+00:00", try_number=1, map_index=-1
    )
    identity = pod._identity({"ti": ti})  # type: ignore[typeddict-item]
    return {gcp_container_operator._VARIABLES[name]: value for name, value in identity.items()}


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--append_table", "--noreplace"],
        ["--schema_update_option=ALLOW_FIELD_ADDITION", "--append_table"],
        ["--time_partitioning_type=DAY", "--time_partitioning_field=day", "--clustering_fields=n"],
        ["--billing_project=moz-fx-data-backfill-1", "--batch"],
        ['--parameter=names:ARRAY<STRING>:["a", "b\'c"]', "--label=a:b", "--maximum_bytes_billed=1000000000"],
    ],
    ids=lambda flags: " ".join(flags) or "plain",
)
def test_the_job_is_that_of_the_pod_s_program(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    folder = warehouse.write("t_v1", {"query.sql": "SELECT @submission_date AS day, 1 AS n"})
    arguments = query(warehouse, folder, f"--parameter=submission_date:DATE:{DAY}", *flags)
    Try(warehouse, arguments).run()
    rows = warehouse.sql("SELECT TO_JSON_STRING(t) FROM DATASET.t_v1 AS t")
    warehouse.client.delete_table(f"{warehouse.dataset}.t_v1")
    for name, value in variables_of_a_pod(warehouse.dataset).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert cli.main(arguments) == 0
    assert warehouse.sql("SELECT TO_JSON_STRING(t) FROM DATASET.t_v1 AS t") == rows
    client = bigquery.Client("moz-fx-data-backfill-1" if "--batch" in flags else PROJECT, AnonymousCredentials())
    mine = [
        job.to_api_repr()["configuration"]
        for job in client.list_jobs(all_users=True)
        if job.labels.get("airflow-dag") == warehouse.dataset
    ]
    assert len(mine) == 2
    assert mine[0] == mine[1]


def test_names_without_a_project_are_of_the_query_s_own_where_it_is_billed_elsewhere(warehouse: Warehouse) -> None:
    warehouse.sql("CREATE TABLE DATASET.source AS SELECT 7 AS n")
    folder = warehouse.write(
        "t_v1", {"query.sql": f"SELECT a.n + b.n AS n FROM source AS a, {warehouse.dataset}.source AS b"}
    )
    Try(warehouse, query(warehouse, folder, "--billing_project=moz-fx-data-backfill-1")).run()
    assert warehouse.sql("SELECT n FROM DATASET.t_v1") == [(14,)]


def test_a_whole_table_keeps_its_descriptions_and_a_dry_run_writes_nothing(warehouse: Warehouse) -> None:
    folder = warehouse.write(
        "t_v1",
        {
            "query.sql": "SELECT 1 AS n",
            "schema.yaml": "fields:\n- {name: n, type: INTEGER, description: A number.}\n",
        },
    )
    result = Try(warehouse, query(warehouse, folder, "--dry_run")).run()
    assert result["jobs"] == []
    assert [table.table_id for table in warehouse.client.list_tables(warehouse.dataset)] == []
    for _ in range(2):
        Try(warehouse, query(warehouse, folder)).run()
    (described,) = warehouse.client.get_table(f"{warehouse.dataset}.t_v1").schema
    assert described.description == "A number."
    assert warehouse.sql("SELECT n FROM DATASET.t_v1") == [(1,)]


def test_descriptions_that_can_not_be_put_back_are_told_and_no_failure(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for the query runner: the rows are written, and another try would meet the same."""
    schema = "fields:\n- {name: n, type: STRING, description: A number.}\n"
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    Try(warehouse, query(warehouse, folder)).run()
    warehouse.write("t_v1", {"schema.yaml": schema})
    assert Try(warehouse, query(warehouse, folder)).run()["rows_written"] == 1
    assert "could not put the field descriptions of schema.yaml back" in capsys.readouterr().out


PUBLIC = {
    "query.sql": "SELECT 1 AS n",
    "metadata.yaml": "labels: {public_bigquery: true, review_bugs: ['1414839']}\n",
    "schema.yaml": "fields:\n- {name: n, type: INTEGER, description: A number.}\n",
}


def test_public_data_is_written_to_the_project_of_public_data(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = warehouse.write("t_v1", PUBLIC)
    monkeypatch.setenv("WTMO_PUBLIC_PROJECT", "mozilla-public-data")
    warehouse.client.create_dataset(f"mozilla-public-data.{warehouse.dataset}")
    Try(warehouse, query(warehouse, folder)).run()
    (described,) = warehouse.client.get_table(f"mozilla-public-data.{warehouse.dataset}.t_v1").schema
    assert described.description == "A number."
    assert [table.table_id for table in warehouse.client.list_tables(warehouse.dataset)] == []
    warehouse.write("t_v1", {"metadata.yaml": "labels: {public_bigquery: false}\n"})
    Try(warehouse, query(warehouse, folder)).run()
    assert warehouse.sql("SELECT n FROM DATASET.t_v1") == [(1,)]


@pytest.mark.parametrize(
    ("metadata", "destination", "says"),
    [
        ("labels: {public_bigquery: true}", "t_v1", "query.sql is public data without a review"),
        (PUBLIC["metadata.yaml"], "other.t_v1", "--destination_table=other.t_v1 is no table of its dataset"),
        (PUBLIC["metadata.yaml"], "", "--destination_table= is no table of its dataset"),
    ],
)
def test_public_data_that_is_not_reviewed_or_goes_elsewhere_is_refused(
    warehouse: Warehouse, metadata: str, destination: str, says: str
) -> None:
    folder = warehouse.write("t_v1", PUBLIC | {"metadata.yaml": metadata})
    with pytest.raises(BigQueryUsageError, match=re.escape(says)):
        Try(warehouse, query(warehouse, folder, table=destination)).run()
    assert warehouse.jobs("task") == []


def test_a_script_writes_by_itself(warehouse: Warehouse) -> None:
    folder = warehouse.write("t_v1", {"script.sql": "CREATE TABLE t_v1 AS SELECT @n AS n;\nSELECT 1;"})
    arguments = ["query", f"--dataset_id={warehouse.dataset}", "--parameter=n:INT64:5", f"{folder}/script.sql"]
    Try(warehouse, arguments).run()
    assert warehouse.sql("SELECT n FROM DATASET.t_v1") == [(5,)]


@BOTH_MODES
def test_a_multipart_query_is_joined_and_leaves_no_temporary_table(warehouse: Warehouse, deferrable: bool) -> None:
    folder = warehouse.write(
        "t_v1",
        {
            "part1.sql": "SELECT id, id * 10 AS a FROM UNNEST([1, 2]) AS id",
            "part2.sql": "SELECT id, id * 100 AS b FROM UNNEST([2, 3]) AS id",
            "metadata.yaml": "bigquery:\n  clustering:\n    fields: [id]\n",
        },
    )
    command = ["script/bqetl", "query", "run-multipart", "--using=id", f"--dataset_id={warehouse.dataset}"]
    done = Try(warehouse, [*command, "--destination_table=t_v1", folder], deferrable=deferrable)
    result = done.run()
    assert warehouse.sql("SELECT id, a, b FROM DATASET.t_v1 ORDER BY id") == [
        (1, 10, None),
        (2, 20, 200),
        (3, None, 300),
    ]
    assert (len(result["jobs"]), result["rows_written"]) == (3, 3)
    assert warehouse.client.get_table(f"{warehouse.dataset}.t_v1").clustering_fields == ["id"]
    assert [table.table_id for table in warehouse.client.list_tables("tmp")] == []


def test_legacy_sql_is_submitted_as_such_and_the_local_bigquery_refuses_it_by_name(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = warehouse.write("t_v1", {"query.sql": f"SELECT COUNT(*) AS n FROM [{PROJECT}:d.t]"})
    arguments = query(warehouse, folder, "--use_legacy_sql", "--billing_project=moz-fx-data-backfill-1")
    sent, submit = [], bigquery.Client.query

    def seen(self: bigquery.Client, sql: str, config: bigquery.QueryJobConfig, **keywords: Any) -> Any:
        sent.append(config.to_api_repr()["query"])
        return submit(self, sql, config, **keywords)

    monkeypatch.setattr(bigquery.Client, "query", seen)
    with pytest.raises(BigQueryJobError, match=rf"{folder}/query\.sql: .*legacy SQL \(useLegacySql: true\)") as caught:
        Try(warehouse, arguments).run()
    assert "was never made" not in capsys.readouterr().out, "a job that was refused is not cancelled"
    assert [configuration["useLegacySql"] for configuration in sent] == [True]
    assert "connectionProperties" not in sent[0], "a property of GoogleSQL sessions"
    rule = rule_of(caught.value)
    assert rule
    assert rule.name == "bad SQL"
    for flag in ("--use_legacy_sql=false", "--nouse_legacy_sql"):
        warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
        Try(warehouse, query(warehouse, folder, flag)).run()
        assert sent[-1]["useLegacySql"] is False


HOSTILE = "x'; DROP TABLE t; --\\\" {{ 7 }}"


def test_a_parameter_s_value_is_never_sql(warehouse: Warehouse) -> None:
    folder = warehouse.write(
        "t_v1",
        {
            "query.sql": "SELECT @text AS text",
            "checks.sql": "#fail\nSELECT IF(@text = '', ERROR('empty'), NULL);\n#warn\nSELECT '{{ text }}';",
        },
    )
    Try(warehouse, query(warehouse, folder, f"--parameter=text:STRING:{HOSTILE}")).run()
    assert warehouse.sql("SELECT text FROM DATASET.t_v1") == [(HOSTILE,)]
    check = ["script/bqetl", "check", "run", "--marker", "warn", folder]
    Try(warehouse, [*check, "--parameter=text:STRING:plain-1.5 a_b"]).run()
    with pytest.raises(BigQueryUsageError, match=r"checks.sql.*parameter text is no plain text: write @text"):
        Try(warehouse, [*check, f"--parameter=text:STRING:{HOSTILE}"]).run()


# What fails


@BOTH_MODES
def test_bad_sql_is_told_with_file_and_line_and_not_tried_again(warehouse: Warehouse, deferrable: bool) -> None:
    folder = warehouse.write("t_v1", {"query.sql": "SELECT\n  1 AS one,\n  nothing\n"})
    bad = Try(warehouse, query(warehouse, folder), deferrable=deferrable)
    with pytest.raises(BigQueryJobError) as caught:
        bad.run()
    assert f"{folder}/query.sql: Unrecognized name: nothing" in str(caught.value)
    assert "\n  3 |   nothing\n        ^" in str(caught.value)
    rule = rule_of(caught.value)
    assert rule
    assert rule.name == "bad SQL"
    assert not bad.store


CHECKS = """#fail
{{ not_null(["n"]) }}
#fail
SELECT 1;
#fail
{{ min_row_count(5) }}
#fail
SELECT nothing;
#warn
SELECT ERROR("of the other marker");
"""


@BOTH_MODES
def test_failing_checks_are_told_with_count_and_text_and_stop_no_other(warehouse: Warehouse, deferrable: bool) -> None:
    warehouse.sql("CREATE TABLE DATASET.t_v1 AS SELECT n FROM UNNEST([1, NULL, NULL]) AS n")
    folder = warehouse.write("t_v1", {"checks.sql": CHECKS})
    red = Try(warehouse, ["script/bqetl", "check", "run", "--marker", "fail", folder], deferrable=deferrable)
    with pytest.raises(BigQueryJobError) as caught:
        red.run()
    message = str(caught.value)
    assert message.startswith(f"3 of 4 checks marked #fail of {folder}/checks.sql failed:\n")
    assert "#fail 1 of 4: columns with NULL: n in 2 rows" in message
    assert "COUNTIF(n IS NULL)" in message, "the check's own text"
    assert "#fail 3 of 4: too few rows: 3, expected at least 5" in message
    assert "#fail 4 of 4: Unrecognized name: nothing" in message
    assert "other marker" not in message


def test_the_link_of_checks_leads_to_one_that_failed(warehouse: Warehouse) -> None:
    folder = warehouse.write("t_v1", {"checks.sql": "#fail\nSELECT ERROR('bad');\n#fail\nSELECT 1;"})
    red = Try(warehouse, ["script/bqetl", "check", "run", folder])
    with pytest.raises(BigQueryJobError, match="1 of 2"):
        red.run()
    assert red.pushed["bigquery_job_detail"]["job_id"].endswith("check1")


def test_checks_that_hold_pass(warehouse: Warehouse) -> None:
    warehouse.sql("CREATE TABLE DATASET.t_v1 AS SELECT 1 AS n")
    checks = "#fail\n{{ not_null(['n']) }}\n#fail\n{{ is_unique('n') }}"
    folder = warehouse.write("t_v1", {"checks.sql": checks})
    green = Try(warehouse, ["script/bqetl", "check", "run", "--marker", "fail", folder])
    assert len(green.run()["jobs"]) == 2
    assert green.deferrals == 1, "checks run side by side"


def test_checks_of_a_dry_run_are_not_said_to_have_passed(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = warehouse.write("t_v1", {"checks.sql": "#fail\nSELECT ERROR('it would fail')"})
    assert Try(warehouse, ["script/bqetl", "check", "run", "--dry_run", folder]).run()["jobs"] == []
    log = capsys.readouterr().out
    assert "The SQL of all 1 checks" in log
    assert "passed" not in log


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "No such file"),
        ({"query.sql": "SELECT\n{{ nothing }}"}, "query.sql:2: 'nothing' is undefined"),
    ],
)
def test_a_file_that_can_not_be_run_is_named_and_not_tried_again(
    warehouse: Warehouse, files: dict[str, str], says: str
) -> None:
    folder = warehouse.write("t_v1", files)
    with pytest.raises(AirflowFailException, match=says):
        Try(warehouse, query(warehouse, folder)).run()


def test_without_a_checkout_the_error_says_what_to_set(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BQETL_CHECKOUT")
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST")
    with pytest.raises(BigQueryUsageError, match="Set BQETL_CHECKOUT"):
        Try(warehouse, ["query", "a.sql"]).run()


# The files as a DAG bundle


class Repository:
    """A git repository of the test's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "--quiet", "--initial-branch=main", str(path), where=path.parent)

    def git(self, *arguments: str, where: Path | None = None) -> str:
        names = ("-c", "user.name=test", "-c", "user.email=test@example.invalid", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *names, *arguments], cwd=where or self.path, check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()

    def commit(self, name: str, text: str) -> str:
        """Change a file; the version."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)
        self.git("add", name)
        self.git("commit", "--quiet", "--message", "a version")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return make_repository(tmp_path, monkeypatch)


def make_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """bigquery-etl as the git bundle ``bigquery-etl``, which has its DAGs in ``dags/``."""
    made = Repository(tmp_path / "remote")
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    bundles = [
        {
            "name": "bigquery-etl",
            "classpath": "airflow.providers.git.bundles.git.GitDagBundle",
            "kwargs": {"repo_url": str(made.path), "tracking_ref": "main", "subdir": "dags"},
        },
        {
            "name": "folder",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(made.path)},
        },
    ]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    monkeypatch.setenv("BQETL_CHECKOUT", "bundle:bigquery-etl")
    made.commit("dags/some.py", "")
    return made


def bundled(warehouse: Warehouse, repository: Repository, n: int) -> tuple[list[str], str]:
    """A query's arguments, and the version of it that gives ``n``."""
    folder = f"sql/{PROJECT}/{warehouse.dataset}/t_v1"
    return query(warehouse, folder), repository.commit(f"{folder}/query.sql", f"SELECT {n} AS n")


def test_the_newest_version_of_a_git_bundle_is_read(warehouse: Warehouse, repository: Repository) -> None:
    for n in (1, 2):
        arguments, _ = bundled(warehouse, repository, n)
        Try(warehouse, arguments).run()
        assert warehouse.sql("SELECT n FROM DATASET.t_v1") == [(n,)]


def test_a_run_s_own_bundle_is_read_in_the_version_that_airflow_pinned(
    warehouse: Warehouse, repository: Repository
) -> None:
    arguments, pinned = bundled(warehouse, repository, 1)
    bundled(warehouse, repository, 2)
    own = DagBundlesManager().get_bundle("bigquery-etl", pinned)
    Try(warehouse, arguments, bundle=own).run()
    assert warehouse.sql("SELECT n FROM DATASET.t_v1") == [(1,)]
    of_others = SimpleNamespace(name="telemetry-airflow", version=pinned)
    Try(warehouse, arguments, bundle=of_others).run()
    assert warehouse.sql("SELECT n FROM DATASET.t_v1") == [(2,)]


def test_all_steps_of_a_try_read_one_version(warehouse: Warehouse, repository: Repository) -> None:
    folder = f"sql/{PROJECT}/{warehouse.dataset}/t_v1"
    repository.commit(f"{folder}/part1.sql", "SELECT 1 AS id, 2 AS a")
    version = repository.commit(f"{folder}/part2.sql", "SELECT 1 AS id, 3 AS b")
    command = ["script/bqetl", "query", "run-multipart", "--using=id", f"--dataset_id={warehouse.dataset}"]
    first = Try(warehouse, [*command, "--destination_table=t_v1", folder])
    deferred = first.start()
    repository.commit(f"{folder}/part3.sql", "SELECT 1 AS id, 4 AS c")
    assert deferred.kwargs
    assert deferred.kwargs["progress"]["version"] == version
    join = first.resumed(deferred)
    with pytest.raises(TaskDeferred) as joined:
        join()
    first.resumed(joined.value)()
    assert warehouse.sql("SELECT id, a, b FROM DATASET.t_v1") == [(1, 2, 3)]


def test_a_bundle_without_versions_is_read_where_it_is(
    warehouse: Warehouse, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BQETL_CHECKOUT", "bundle:folder")
    arguments, _ = bundled(warehouse, repository, 1)
    Try(warehouse, arguments).run()
    assert warehouse.sql("SELECT n FROM DATASET.t_v1") == [(1,)]


def test_a_bundle_that_is_not_there_or_has_no_queries_is_named(warehouse: Warehouse, repository: Repository) -> None:
    with pytest.raises(BigQueryUsageError, match="no DAG bundle 'bqetl', but bigquery-etl, folder"):
        Try(warehouse, ["query", "a.sql"], checkout="bundle:bqetl").run()
    with pytest.raises(BigQueryUsageError, match="has no folder sql/"):
        Try(warehouse, ["query", "a.sql"]).run()


# One job a try


def running(warehouse: Warehouse, **files: str) -> tuple[list[str], Try, TaskDeferred]:
    """A try whose job runs on."""
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"} | files)
    arguments = query(warehouse, folder, LONG)
    first = Try(warehouse, arguments)
    return arguments, first, first.start()


@pytest.mark.parametrize("note_is_there", [True, False])
def test_the_same_try_started_twice_makes_one_job(warehouse: Warehouse, note_is_there: bool) -> None:
    _, first, deferred = running(warehouse)
    if not note_is_there:
        first.store.clear()
    again = first.start()
    assert again.trigger.jobs == deferred.trigger.jobs
    (job,) = warehouse.jobs("task")
    assert job.state != "DONE"
    first.task.on_kill()


def test_nothing_needless_comes_before_the_job_of_a_first_try(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the time from a task's start to its job's, these would be a tenth each, and a second TLS handshake."""
    folder = warehouse.write("t_v1", PARTITIONED)
    store, get_client = Store(), native.BigQueryHook.get_client
    made: list[Any] = []
    monkeypatch.setattr(store, "get", lambda _: pytest.fail("A first try asked for the note of one before it."))

    def counted(hook: Any, **more: Any) -> Any:
        made.append(more)
        return get_client(hook, **more)

    monkeypatch.setattr(native.BigQueryHook, "get_client", counted)
    first = Try(warehouse, query(warehouse, folder, f"--parameter=submission_date:DATE:{DAY}", LONG), store=store)
    first.start()
    assert made == [{"project_id": PROJECT, "location": None}]
    first.task.on_kill()
    assert len(made) == 2, "the signal may come while the connections of the first are in use"


def test_a_retry_after_a_lost_worker_goes_on_with_the_running_job(warehouse: Warehouse) -> None:
    arguments, lost, deferred = running(warehouse)
    retry = Try(warehouse, arguments, store=lost.store, number=2).start()
    assert [job["job_id"] for job in retry.trigger.jobs] == [job["job_id"] for job in deferred.trigger.jobs]
    assert len(warehouse.jobs("task")) == 1
    asyncio.run(rebuilt(retry.trigger).on_kill())


@pytest.mark.parametrize("who_says", ["task", "connection", "BigQuery"])
def test_a_lost_job_is_looked_for_where_it_is(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, who_says: str
) -> None:
    """Outside of the US and the EU BigQuery does not find a job by its id alone."""
    where = "us-west1"
    extra = {"project": PROJECT, "is_anonymous": True} | ({"location": where} if who_says == "connection" else {})
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_SHARED_PROD", json.dumps(connection))
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    first = Try(warehouse, query(warehouse, folder, LONG), location=where if who_says == "task" else None)
    submit = bigquery.Client.query

    def by_its_tables(self: bigquery.Client, sql: str, config: bigquery.QueryJobConfig, **keywords: Any) -> Any:
        (noted,) = first.store[BIGQUERY_JOBS_KEY]["jobs"]
        assert noted["location"] == (None if who_says == "BigQuery" else where)
        return submit(self, sql, config, **keywords | {"location": where})

    monkeypatch.setattr(bigquery.Client, "query", by_its_tables)
    first.start()
    (noted,) = first.store[BIGQUERY_JOBS_KEY]["jobs"]
    assert noted["location"] == where
    first.task.on_kill()
    assert ended(warehouse)


def test_a_job_that_was_sent_twice_is_looked_for_where_it_is(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    first = Try(warehouse, query(warehouse, folder, LONG))
    submit, get = bigquery.Client.query, bigquery.Client.get_job

    def sent_twice(*arguments: Any, **keywords: Any) -> Any:
        for _ in range(2):
            submit(*arguments, **keywords | {"location": "us-west1"})

    def strict(self: bigquery.Client, job_id: str, *, location: str | None, **keywords: Any) -> Any:
        if location is None:
            raise NotFound(f"Not found: Job {job_id}")
        return get(self, job_id, location=location, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(bigquery.Client, "query", sent_twice)
        patch.setattr(bigquery.Client, "get_job", strict)
        assert [job["location"] for job in first.start().trigger.jobs] == ["us-west1"]
    first.task.on_kill()
    assert ended(warehouse)


def test_a_retry_with_other_sql_cancels_the_running_job_and_starts_its_own(warehouse: Warehouse) -> None:
    arguments, lost, _ = running(warehouse)
    warehouse.write("t_v1", {"query.sql": "SELECT 2 AS n"})
    retry = Try(warehouse, arguments, store=lost.store, number=2)
    retry.start()
    mine, old = sorted(warehouse.jobs("task"), key=lambda job: job.labels["airflow-try"], reverse=True)
    end = time.monotonic() + PATIENCE
    while not old.done(reload=True) and time.monotonic() < end:
        time.sleep(0.05)
    assert old.error_result["reason"] == "stopped"
    assert (mine.labels["airflow-try"], mine.state != "DONE") == ("2", True)
    retry.task.on_kill()


def test_a_failed_job_of_another_try_is_not_reused(warehouse: Warehouse) -> None:
    arguments, lost, deferred = running(warehouse)
    asyncio.run(rebuilt(deferred.trigger).on_kill())
    assert ended(warehouse)
    retry = Try(warehouse, arguments, store=lost.store, number=2).start()
    assert retry.trigger.jobs[0]["job_id"] != deferred.trigger.jobs[0]["job_id"]
    asyncio.run(rebuilt(retry.trigger).on_kill())


@BOTH_MODES
def test_a_job_of_another_try_that_is_being_cancelled_is_not_waited_for_in_vain(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    arguments, lost, deferred = running(warehouse)
    retry = Try(warehouse, arguments, store=lost.store, number=2, deferrable=deferrable)
    old = deferred.trigger.jobs[0]["job_id"]
    submit = bigquery.Client.query

    def short(self: bigquery.Client, sql: str, config: bigquery.QueryJobConfig, **keywords: Any) -> Any:
        labels = {name: value for name, value in config.labels.items() if name != "wtmo-min-running-ms"}
        config.labels = labels
        return submit(self, sql, config, **keywords)

    def cancelled_meanwhile(_: float) -> None:
        warehouse.client.cancel_job(old)
        end = time.monotonic() + PATIENCE
        while not warehouse.client.get_job(old).done() and time.monotonic() < end:
            threading.Event().wait(0.05)

    monkeypatch.setattr(bigquery.Client, "query", short)
    if deferrable:
        adopted = retry.start()
        assert [job["job_id"] for job in adopted.trigger.jobs] == [old]
        cancelled_meanwhile(0)
        with pytest.raises(TaskDeferred) as again:
            retry.resumed(adopted)()
        result = retry.resumed(again.value)()
    else:
        monkeypatch.setattr(native.time, "sleep", cancelled_meanwhile)
        result = retry.run()
    assert len(result["jobs"]) == 1
    assert not result["jobs"][0].endswith(old)
    assert not retry.store


@pytest.mark.parametrize(("flag", "jobs"), [("--append_table", 1), ("--replace", 2)])
def test_a_job_that_a_lost_try_finished_counts_where_a_second_one_would_add_rows(
    warehouse: Warehouse, flag: str, jobs: int
) -> None:
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    arguments = query(warehouse, folder, flag)
    lost = Try(warehouse, arguments)
    first_event(lost.start().trigger)
    Try(warehouse, arguments, store=lost.store, number=2).run()
    assert warehouse.sql("SELECT n FROM DATASET.t_v1") == [(1,)]
    assert len(warehouse.jobs("task")) == jobs


def test_a_run_that_was_deleted_and_made_again_runs_again(warehouse: Warehouse) -> None:
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    for _ in range(2):
        Try(warehouse, query(warehouse, folder, "--append_table")).run()
    assert warehouse.sql("SELECT n FROM DATASET.t_v1") == [(1,), (1,)]


def done(warehouse: Warehouse) -> bool:
    return all(job.state == "DONE" for job in warehouse.jobs("task"))


PATIENCE = 20.0


def ended(warehouse: Warehouse) -> bool:
    """Whether the jobs end within 20 s: BigQuery takes a cancellation in and carries it out a little later."""
    end = time.monotonic() + PATIENCE
    while not done(warehouse) and time.monotonic() < end:
        time.sleep(0.05)
    return done(warehouse)


def test_a_killed_worker_task_cancels_its_job_and_fails(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    killed = Try(warehouse, query(warehouse, folder, LONG), deferrable=False)
    # Airflow calls on_kill of a worker's task in the middle of whatever it does.
    monkeypatch.setattr(native.time, "sleep", lambda _: killed.task.on_kill())
    with pytest.raises(BigQueryJobError, match="killed"):
        killed.run()
    assert ended(warehouse)


def test_a_killed_waiting_task_cancels_its_job_from_the_triggerer(warehouse: Warehouse) -> None:
    _, _, deferred = running(warehouse)
    assert not done(warehouse)
    asyncio.run(rebuilt(deferred.trigger).on_kill())
    assert ended(warehouse)


def test_on_kill_cancels_the_jobs_that_were_started(warehouse: Warehouse) -> None:
    _, first, _ = running(warehouse)
    first.task.on_kill()
    assert ended(warehouse)


def test_the_timeout_is_that_of_the_try_however_often_it_defers(warehouse: Warehouse) -> None:
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    late = Try(warehouse, query(warehouse, folder, LONG), execution_timeout=timedelta(minutes=10))
    late.context["ti"].start_date -= timedelta(minutes=4)
    timeout = late.start().timeout
    assert timeout
    assert timedelta(minutes=5.9) < timeout <= timedelta(minutes=6)
    late.task.on_kill()


OF_THE_WORKER = {"arguments", "checkout", "location", "deferrable"}


def test_no_option_is_forgotten_at_deferral(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option that waiting needs changes what the trigger is made of, also one that is added later."""
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    connection = {"conn_type": "google_cloud_platform", "extra": {"project": PROJECT, "is_anonymous": True}}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))

    def waits(**option: Any) -> Any:
        task = Try(warehouse, query(warehouse, folder, LONG), **option)
        if "impersonation_chain" in option:
            monkeypatch.setattr(task.task, "_client", Try(warehouse, ["query", "a.sql"]).task._client)
        trigger = task.start().trigger
        path, arguments = trigger.serialize()
        assert rebuilt(trigger).serialize() == (path, arguments)
        task.task.on_kill()
        # Of the jobs all but the try's own id.
        return [*arguments.items()], [job | {"job_id": ""} for job in arguments.pop("jobs")]

    plain = waits()[0][1:]
    options = set(inspect.signature(BigQueryRunBqetlOperator.__init__).parameters) - {"self", "kwargs"} - OF_THE_WORKER
    assert len(options) >= 3
    for name in options:
        value: Any = 3.5 if name == "poll_interval" else "other"
        assert waits(**{name: value})[0][1:] != plain, name


def test_a_time_out_while_deferred_cancels_the_job(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    _, first, deferred = running(warehouse)

    def timed_out(*_: Any, **__: Any) -> None:
        raise TaskDeferralTimeout("trigger timed out")

    monkeypatch.setattr("airflow.sdk.BaseOperator.resume_execution", timed_out)
    with pytest.raises(AirflowTaskTimeout, match="cancelled"):
        first.task.resume_execution(deferred.method_name, deferred.kwargs, first.context)
    assert ended(warehouse)


def multipart(warehouse: Warehouse, part2: str = "SELECT 1 AS id, 3 AS b", **more: Any) -> Try:
    """A try whose first part ends at once, while its second runs on."""
    folder = warehouse.write("t_v1", {"part1.sql": "SELECT 1 AS id, 2 AS a", "part2.sql": part2})
    command = ["script/bqetl", "query", "run-multipart", "--using=id", f"--dataset_id={warehouse.dataset}"]
    warehouse.client.create_dataset(f"{warehouse.dataset}_tmp", exists_ok=True)
    more.setdefault("poll_interval", 0.05)
    return Try(
        warehouse,
        [*command, f"--temp_dataset={PROJECT}.{warehouse.dataset}_tmp", "--destination_table=t_v1", folder],
        **more,
    )


def temporary(warehouse: Warehouse) -> list[str]:
    return [table.table_id for table in warehouse.client.list_tables(f"{warehouse.dataset}_tmp")]


@pytest.fixture
def long_second_part(monkeypatch: pytest.MonkeyPatch) -> None:
    make_second_part_long(monkeypatch)


def make_second_part_long(monkeypatch: pytest.MonkeyPatch) -> None:
    submit = bigquery.Client.query

    def slow(self: bigquery.Client, sql: str, config: bigquery.QueryJobConfig, **keywords: Any) -> Any:
        if keywords["job_id"].endswith("part2"):
            config.labels = config.labels | {"wtmo-min-running-ms": "60000"}
        return submit(self, sql, config, **keywords)

    monkeypatch.setattr(bigquery.Client, "query", slow)


def wait_for_the_first_part(warehouse: Warehouse) -> None:
    end = time.monotonic() + 20
    while not temporary(warehouse):
        assert time.monotonic() < end, "waited 20 s for the table of the first part"
        time.sleep(0.05)


@pytest.mark.usefixtures("long_second_part")
@pytest.mark.parametrize("how", ["killed", "timed out"])
def test_a_multipart_query_that_ends_while_deferred_leaves_no_temporary_table(warehouse: Warehouse, how: str) -> None:
    first = multipart(warehouse)
    deferred = first.start()
    wait_for_the_first_part(warehouse)
    if how == "killed":
        asyncio.run(rebuilt(deferred.trigger).on_kill())
    else:
        with pytest.raises(AirflowTaskTimeout):
            first.task.resume_execution("__fail__", {"error": "Trigger timeout"}, first.context)
    assert ended(warehouse)
    assert temporary(warehouse) == []


@pytest.mark.usefixtures("long_second_part")
def test_a_lost_try_that_is_of_no_use_leaves_no_temporary_table(warehouse: Warehouse) -> None:
    lost = multipart(warehouse)
    lost.start()
    wait_for_the_first_part(warehouse)
    (old,) = temporary(warehouse)
    retry = multipart(warehouse, store=lost.store, number=2, part2="SELECT 1 AS id, 4 AS b")
    deferred = retry.start()
    assert old not in temporary(warehouse)
    asyncio.run(rebuilt(deferred.trigger).on_kill())
    assert ended(warehouse)
    assert temporary(warehouse) == []


@pytest.mark.usefixtures("long_second_part")
def test_a_multipart_query_that_is_killed_on_a_worker_leaves_no_temporary_table(warehouse: Warehouse) -> None:
    killed = multipart(warehouse, deferrable=False, poll_interval=0.5)
    looked: list[bool] = []

    def kill() -> None:
        wait_for_the_first_part(warehouse)
        looked.append(True)
        killed.task.on_kill()
        assert temporary(warehouse) == [], "by on_kill itself: Airflow may end the process a moment later"

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(BigQueryJobError, match="killed"):
        killed.run()
    killer.join(30)
    assert looked
    assert ended(warehouse)
    assert temporary(warehouse) == []


def test_a_task_that_fails_after_it_started_a_job_leaves_none_running(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.sql("CREATE TABLE DATASET.t_v1 AS SELECT 1 AS n")
    folder = warehouse.write("t_v1", {"checks.sql": "#fail\nSELECT 1;\n#fail\nSELECT 2;"})
    failing = Try(warehouse, ["script/bqetl", "check", "run", LONG, folder])
    submit, calls = bigquery.Client.query, []

    def second_is_lost(self: bigquery.Client, *arguments: Any, **keywords: Any) -> Any:
        calls.append(1)
        job = submit(self, *arguments, **keywords)
        if len(calls) == 2:
            raise ServiceUnavailable("the answer was lost")
        return job

    monkeypatch.setattr(bigquery.Client, "query", second_is_lost)
    with pytest.raises(ServiceUnavailable):
        failing.run()
    assert len(warehouse.jobs("task")) == 2
    assert ended(warehouse)


# What passes


def failing(job: bigquery.QueryJob, reason: str) -> bigquery.QueryJob:
    """The job, as one that BigQuery has failed."""
    job._properties["status"] = {"state": "DONE", "errorResult": {"reason": reason, "message": "some fault"}}
    return job


@BOTH_MODES
def test_a_fault_that_passes_is_waited_out_in_the_same_try(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    """As often as it may be, also without retries; then it is a failure as any other."""
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    own = Try(warehouse, query(warehouse, folder), deferrable=deferrable, retries=0, retry_policy=FaultRetryPolicy())
    with monkeypatch.context() as patch:
        get = BigQueryRunBqetlOperator._get
        patch.setattr(BigQueryRunBqetlOperator, "_get", lambda *a: failing(get(*a), "jobRateLimitExceeded"))
        for count, minutes in enumerate((1, 2, 4, 8, 16)):
            own.context["task_reschedule_count"] = count
            before = datetime.now(UTC)
            with pytest.raises(AirflowRescheduleException) as caught:
                own.run()
            assert (
                timedelta() <= caught.value.reschedule_date - before - timedelta(minutes=minutes) < timedelta(minutes=1)
            )
            assert isinstance(caught.value.__cause__, BigQueryJobError)
        own.context["task_reschedule_count"] = PUT_OFF
        with pytest.raises(BigQueryJobError, match="some fault"):
            own.run()
    assert len(warehouse.jobs("task")) == 6, "each time a job of its own"
    own.context["task_reschedule_count"] = 1
    assert own.run()["rows_written"] == 1


def test_a_script_that_failed_is_put_off_where_it_may_run_twice(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have done a part of its work by then."""
    folder = warehouse.write("t_v1", {"script.sql": "CREATE TABLE t_v1 AS SELECT 1 AS n;\nSELECT 1;"})
    arguments = ["query", f"--dataset_id={warehouse.dataset}", f"{folder}/script.sql"]
    get = BigQueryRunBqetlOperator._get
    monkeypatch.setattr(BigQueryRunBqetlOperator, "_get", lambda *a: failing(get(*a), "backendError"))
    for retries, end in ((0, BigQueryJobError), (1, AirflowRescheduleException)):
        with pytest.raises(end):
            Try(warehouse, arguments, retries=retries, retry_policy=FaultRetryPolicy()).run()


def test_what_would_fail_again_is_not_waited_out(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = warehouse.write("t_v1", {"checks.sql": "#fail\nSELECT 1;\n#fail\nSELECT ERROR('bad');\n#fail\nSELECT 3;"})
    command = ["script/bqetl", "check", "run", "--marker", "fail", folder]
    get = BigQueryRunBqetlOperator._get

    def some_fail(task: BigQueryRunBqetlOperator, ref: native.JobRef) -> bigquery.QueryJob:
        return get(task, ref) if "2 of 3" in ref["title"] else failing(get(task, ref), "backendError")

    monkeypatch.setattr(BigQueryRunBqetlOperator, "_get", some_fail)
    with pytest.raises(BigQueryJobError, match="3 of 3") as caught:
        Try(warehouse, command, retry_policy=FaultRetryPolicy()).run()
    rule = rule_of(caught.value)
    assert rule
    assert rule.name == "bad SQL"


def test_a_killed_task_is_not_put_off(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    killed = Try(warehouse, query(warehouse, folder, LONG), deferrable=False, retry_policy=FaultRetryPolicy())

    def kill(_: float) -> None:
        killed.task.on_kill()
        raise ServiceUnavailable("the connection was cut")

    monkeypatch.setattr(native.time, "sleep", kill)
    with pytest.raises(ServiceUnavailable):
        killed.run()


def test_a_job_whose_answer_was_lost_before_the_task_was_put_off_counts(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    own = Try(warehouse, query(warehouse, folder, "--append_table"), retry_policy=FaultRetryPolicy())
    submit = bigquery.Client.query

    def lost(*arguments: Any, **keywords: Any) -> Any:
        submit(*arguments, **keywords).result()
        raise ServiceUnavailable("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(bigquery.Client, "query", lost)
        with pytest.raises(AirflowRescheduleException):
            own.run()
    own.context["task_reschedule_count"] = 1
    own.run()
    assert warehouse.sql("SELECT n FROM DATASET.t_v1") == [(1,)]


# The trigger


def test_the_trigger_outlives_a_bigquery_that_is_away(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    task = Try(warehouse, query(warehouse, folder))
    deferred = task.start()
    real, away = native._is_done, [True, True, True]

    async def flaky(*arguments: Any) -> bool:
        if away:
            away.pop()
            raise ConnectionResetError("BigQuery is away")
        return await real(*arguments)

    monkeypatch.setattr(native, "_is_done", flaky)
    assert first_event(deferred.trigger) == {}
    away.extend([True] * 2)
    monkeypatch.setattr(native, "POLLS_UNANSWERED", 2)
    event = first_event(deferred.trigger)
    assert "BigQuery is away" in event["unanswered"]
    kwargs = json.loads(json.dumps(deferred.kwargs))
    assert (
        task.task.resume_execution(deferred.method_name, {**kwargs, "event": event}, task.context)["rows_written"] == 1
    )


def test_a_job_that_is_gone_is_not_waited_for(warehouse: Warehouse) -> None:
    folder = warehouse.write("t_v1", {"query.sql": "SELECT 1 AS n"})
    task = Try(warehouse, query(warehouse, folder))
    deferred = task.start()
    for jobs in (deferred.trigger.jobs, deferred.kwargs["progress"]["started"]):
        jobs[0]["job_id"] = "gone"
    with pytest.raises(NotFound, match="gone"):
        task.resumed(deferred)()


def test_forty_waiting_tasks_leave_the_event_loop_free(warehouse: Warehouse) -> None:
    _, first, deferred = running(warehouse)

    async def longest_stall() -> float:
        triggers = [asyncio.create_task(anext(rebuilt(deferred.trigger).run())) for _ in range(40)]
        longest = 0.0
        for _ in range(40):
            before = time.monotonic()
            await asyncio.sleep(0.05)
            longest = max(longest, time.monotonic() - before - 0.05)
        assert not any(trigger.done() for trigger in triggers)
        for trigger in triggers:
            trigger.cancel()
        await asyncio.gather(*triggers, return_exceptions=True)
        return longest

    # A blocking call would stall it for as long as 40 polls take one after the other.
    assert asyncio.run(longest_stall()) < 2
    first.task.on_kill()


# What is refused when a DAG is parsed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["query", "--shiny", "a.sql"], "--shiny"),
        (["query", "--use_legacy", "a.sql"], "--use_legacy"),
        (["query", "--replace=perhaps", "a.sql"], "perhaps"),
        (["query", "--schema_update_option=DROP", "a.sql"], "DROP"),
        (["query", "--help", "a.sql"], "--help"),
        (["query", "sql/p/d/t_v1/query.py"], "Python"),
        (["script/bqetl", "query", "run-multipart", "--destination_table=t", "--rename", "a"], "--rename"),
        (["script/bqetl", "check", "run", "--date-from", "a"], "--date-from|--date_from"),
        (["script/bqetl", "copy_deduplicate", "--date=2026-06-01"], "no query and no check"),
        (["bq", "load"], "no query and no check"),
    ],
)
def test_what_needs_the_pod_is_refused_with_that_advice(arguments: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=rf"Task some_task: (?s:.*)(?:{says})(?s:.*)use engine=\"pod\""):
        BigQueryRunBqetlOperator(task_id="some_task", arguments=arguments)


def test_what_is_a_template_is_known_at_run_time_only() -> None:
    arguments = [
        "--destination_table=t_v1${{ds_nodash}}",
        "--schema_update_option={{ 'ALLOW_FIELD_ADDITION' if ds == '2026-06-01' else '' }}",
        "--replace={{ params.replace }}",
        "--max_rows={% if 1 %}1{% endif %}",
    ]
    task = BigQueryRunBqetlOperator(task_id="some_task", arguments=["query", *arguments, "a.sql"])
    assert "arguments" in task.template_fields


# Mutation: what is taken away makes a test fail


@contextlib.contextmanager
def _whatever_runs(_: Any) -> Generator[None]:
    yield


def _newest(setting: str, *, own: Any = None, version: str | None = None) -> Any:
    return OPENED(setting)


def _multipart_timed_out(f: Any) -> None:
    make_second_part_long(f.patch)
    test_a_multipart_query_that_ends_while_deferred_leaves_no_temporary_table(f.warehouse, "timed out")


def _multipart_killed(f: Any) -> None:
    make_second_part_long(f.patch)
    test_a_multipart_query_that_ends_while_deferred_leaves_no_temporary_table(f.warehouse, "killed")


def _pinned(f: Any) -> None:
    repository = make_repository(f.folder, f.patch)
    test_a_run_s_own_bundle_is_read_in_the_version_that_airflow_pinned(f.warehouse, repository)


OPENED = native.opened
DELETED: Any = object()
WORKER, WAITS = {"deferrable": False}, {"deferrable": True}
# What is changed, to what, and the test that sees it.
MUTATIONS: list[tuple[Any, str, Any, Callable[..., object]]] = [
    (BigQueryRunBqetlOperator, "execute", DELETED, lambda f: test_a_script_writes_by_itself(f.warehouse)),
    (
        BigQueryRunBqetlOperator,
        "on_kill",
        DELETED,
        lambda f: test_on_kill_cancels_the_jobs_that_were_started(f.warehouse),
    ),
    (
        BigQueryRunBqetlOperator,
        "resume_execution",
        DELETED,
        lambda f: test_a_time_out_while_deferred_cancels_the_job(f.warehouse, f.patch),
    ),
    (BigQueryJobsTrigger, "run", DELETED, lambda f: test_a_script_writes_by_itself(f.warehouse)),
    (BigQueryJobsTrigger, "serialize", DELETED, lambda f: test_a_script_writes_by_itself(f.warehouse)),
    (
        BigQueryJobsTrigger,
        "on_kill",
        DELETED,
        lambda f: test_a_killed_waiting_task_cancels_its_job_from_the_triggerer(f.warehouse),
    ),
    (
        native,
        "POLLS_UNANSWERED",
        1,
        lambda f: test_the_trigger_outlives_a_bigquery_that_is_away(f.warehouse, f.patch),
    ),
    (
        native,
        "_key",
        lambda _: f"airflow_{uuid.uuid4().hex[:16]}",
        lambda f: test_the_same_try_started_twice_makes_one_job(f.warehouse, note_is_there=False),
    ),
    (
        BigQueryRunBqetlOperator,
        "_of_lost_try",
        lambda *_: None,
        lambda f: test_a_retry_after_a_lost_worker_goes_on_with_the_running_job(f.warehouse),
    ),
    (
        native,
        "CANCELLED",
        "never",
        lambda f: test_a_job_of_another_try_that_is_being_cancelled_is_not_waited_for_in_vain(
            f.warehouse, f.patch, **WORKER
        ),
    ),
    (
        native,
        "_digest",
        lambda _: "the same",
        lambda f: test_a_retry_with_other_sql_cancels_the_running_job_and_starts_its_own(f.warehouse),
    ),
    (
        BigQueryRunBqetlOperator,
        "_leaving_nothing_running",
        _whatever_runs,
        lambda f: test_a_task_that_fails_after_it_started_a_job_leaves_none_running(f.warehouse, f.patch),
    ),
    (BigQueryRunBqetlOperator, "_drop", lambda *_: None, lambda f: _multipart_timed_out(f)),
    (BigQueryJobsTrigger, "_drop", lambda *_: asyncio.sleep(0), lambda f: _multipart_killed(f)),
    (native, "opened", _newest, lambda f: _pinned(f)),
    (
        native,
        "time_left",
        lambda timeout, _: timeout,
        lambda f: test_the_timeout_is_that_of_the_try_however_often_it_defers(f.warehouse),
    ),
    (
        native,
        "waiting_out",
        lambda *_, **__: contextlib.nullcontext(),
        lambda f: test_a_fault_that_passes_is_waited_out_in_the_same_try(f.warehouse, f.patch, **WORKER),
    ),
    (
        native,
        "passes",
        lambda _: True,
        lambda f: test_what_would_fail_again_is_not_waited_out(f.warehouse, f.patch),
    ),
    (
        BigQueryRunBqetlOperator,
        "_labels",
        lambda *_: {},
        lambda f: test_a_day_is_written_by_one_labelled_job(f.warehouse, capsys=f.capsys, **WORKER),
    ),
    (
        BigQueryRunBqetlOperator,
        "_show_link",
        lambda *_: None,
        lambda f: test_a_day_is_written_by_one_labelled_job(f.warehouse, capsys=f.capsys, **WORKER),
    ),
    (
        native.bqetl_jobs,
        "put_descriptions_back",
        lambda *_, **__: "",
        lambda f: test_a_whole_table_keeps_its_descriptions_and_a_dry_run_writes_nothing(f.warehouse),
    ),
    (
        native,
        "_told",
        lambda title, message, *_, **__: f"{title}: {message}",
        lambda f: test_failing_checks_are_told_with_count_and_text_and_stop_no_other(f.warehouse, **WORKER),
    ),
    (
        BigQueryRunBqetlOperator,
        "_refuse_unknown",
        lambda _: None,
        lambda _: test_what_needs_the_pod_is_refused_with_that_advice(["query", "--shiny", "a.sql"], "--shiny"),
    ),
]


@pytest.mark.parametrize(("target", "name", "changed", "check"), MUTATIONS, ids=lambda v: getattr(v, "__name__", v))
def test_everything_is_needed(
    warehouse: Warehouse,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    target: Any,
    name: str,
    changed: Any,
    check: Callable[..., object],
) -> None:
    def run(warehouse: Warehouse) -> None:
        with pytest.MonkeyPatch.context() as patch:
            folder = tmp_path_factory.mktemp("more")
            check(SimpleNamespace(warehouse=warehouse, patch=patch, capsys=capsys, folder=folder))

    run(warehouse)
    if changed is DELETED:
        monkeypatch.delattr(target, name)
    else:
        monkeypatch.setattr(target, name, changed)
    monkeypatch.setattr(sys.modules[__name__], "PATIENCE", 1.0)
    with pytest.raises((Exception, pytest.fail.Exception)):
        run(Warehouse(warehouse.root))


def test_no_override_is_without_such_a_check() -> None:
    checked = {(target, name) for target, name, _, _ in MUTATIONS}
    for cls in {target for target, _, _, _ in MUTATIONS if isinstance(target, type)}:
        inherited = {name for base in cls.__mro__[1:] for name in vars(base)}
        overrides = {name for name in vars(cls) if name in inherited and "__" not in name}
        attributes = {"template_fields", "operator_extra_links", "ui_color", "_abc_impl", "_is_protocol"}
        assert {(cls, name) for name in overrides - attributes} <= checked, cls
