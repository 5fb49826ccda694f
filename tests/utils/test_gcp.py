"""The contract with bigquery-etl's generator: every keyword it writes, and the command that comes of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.sdk import DAG, TaskGroup
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import models as k8s

from operators.bigquery import BigQueryRunBqetlOperator
from operators.gcp_container_operator import GKEPodOperator
from utils.config import CONNECTIONS
from utils.gcp import (
    bigquery_bigeye_check,
    bigquery_dq_check,
    bigquery_etl_copy_deduplicate,
    bigquery_etl_query,
)
from utils.images import image

RESOURCES = k8s.V1ResourceRequirements(requests={"memory": "8Gi"}, limits={"memory": "9Gi"})
SECRET = Secret("env", "TOKEN", "airflow-gke-secrets", "some_token")

COMMON: dict[str, Any] = {
    "owner": "data-engineering",
    "email": ["team@example.com"],
    "start_date": datetime(2026, 1, 1),
    "depends_on_past": True,
    "task_concurrency": 1,
    "priority_weight": 85,
    "trigger_rule": "all_done",
    "gcp_conn_id": "another_connection",
    "retries": 47,
    "retry_delay": timedelta(seconds=300),
    "email_on_retry": False,
    "container_resources": RESOURCES,
    "node_selector": {"pool": "big"},
    "startup_timeout_seconds": 600,
    "secrets": [SECRET],
    "doc_md": "What it does.",
    "execution_timeout": timedelta(hours=1),
    "name": "some-name",
}
CLUSTER = {"gke_project_id": "a-project", "gke_location": "us-east1", "gke_cluster_name": "a-cluster"}

HELPERS_ONLY = {*CLUSTER, "task_concurrency"}

HELPERS = {
    bigquery_etl_query: {"destination_table": "t_v1", "dataset_id": "d"},
    bigquery_dq_check: {"source_table": "t_v1", "dataset_id": "d"},
    bigquery_bigeye_check: {"table_id": "p.d.t_v1", "warehouse_id": "1939"},
    bigquery_etl_copy_deduplicate: {"target_project_id": "p"},
    GKEPodOperator: {"image": "image:1", "arguments": ["python"]},
}
NAMES = [helper.__name__ for helper in HELPERS]


def made(helper: Any, **kwargs: Any) -> GKEPodOperator:
    task = helper(task_id="some_task", **HELPERS[helper] | kwargs)
    assert isinstance(task, GKEPodOperator)
    return task


@pytest.mark.parametrize(
    ("helper", "keyword"),
    [
        pytest.param(helper, keyword, id=f"{helper.__name__}-{keyword}")
        for helper in HELPERS
        for keyword in (*COMMON, *CLUSTER)
        if helper is not GKEPodOperator or keyword not in HELPERS_ONLY
    ],
)
def test_every_common_keyword_is_taken_and_means_the_same(helper: Any, keyword: str) -> None:
    value = (COMMON | CLUSTER)[keyword]
    task = made(helper, **{keyword: value})
    attribute = {
        "task_concurrency": "max_active_tis_per_dag",
        "gke_project_id": "project_id",
        "gke_location": "location",
        "gke_cluster_name": "cluster_name",
    }.get(keyword, keyword)
    got = getattr(task, attribute)
    if keyword == "secrets":
        assert got[0] is SECRET
    elif keyword == "start_date":
        assert got.replace(tzinfo=None) == value
    else:
        assert got == value


@pytest.mark.parametrize("helper", HELPERS, ids=NAMES)
def test_task_group(helper: Any) -> None:
    with DAG("d", schedule=None):
        group = TaskGroup("group")
        assert made(helper, task_group=group).task_id == "group.some_task"


@pytest.mark.parametrize("helper", HELPERS, ids=NAMES)
def test_an_unknown_keyword_is_refused_by_name(helper: Any) -> None:
    with pytest.raises((TypeError, AirflowException), match="destination_tabel"):
        made(helper, destination_tabel="t")


@pytest.mark.parametrize("helper", [helper for helper in HELPERS if helper is not GKEPodOperator])
def test_it_runs_the_private_image_and_waits_without_a_slot(helper: Any) -> None:
    task = made(helper)
    assert task.image == image("private-bigquery-etl")
    assert task.deferrable is True
    assert made(helper, docker_image="another:1").image == "another:1"


def test_the_cluster_under_the_operators_own_names() -> None:
    task = made(bigquery_dq_check, location="us-east1", cluster_name="a-cluster")
    assert (task.location, task.cluster_name) == ("us-east1", "a-cluster")


def test_two_names_of_one_thing_are_refused() -> None:
    with pytest.raises(TypeError, match="Give one of them"):
        made(bigquery_etl_query, task_concurrency=1, max_active_tis_per_dag=2)


QUERY_FILE = "sql/moz-fx-data-shared-prod/telemetry_derived/t_v1/query.sql"
PROJECT = "--project_id=moz-fx-data-shared-prod"
DATASET = "--dataset_id=telemetry_derived"


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        pytest.param(
            {},
            [
                "query",
                "--destination_table=t_v1${{ds_nodash}}",
                DATASET,
                PROJECT,
                "--parameter=submission_date:DATE:{{ds}}",
                QUERY_FILE,
            ],
            id="one day's partition",
        ),
        pytest.param(
            {"date_partition_parameter": None, "parameters": ["submission_date:DATE:{{ds}}"]},
            [
                "query",
                "--destination_table=t_v1",
                DATASET,
                PROJECT,
                "--parameter=submission_date:DATE:{{ds}}",
                QUERY_FILE,
            ],
            id="whole table",
        ),
        pytest.param(
            {"destination_table": "t_v1$20260601", "date_partition_parameter": None},
            ["query", "--destination_table=t_v1$20260601", DATASET, PROJECT, QUERY_FILE],
            id="partition by name",
        ),
        pytest.param(
            {
                "date_partition_parameter": "month",
                "table_partition_template": "${{ds[:7]}}",
                "parameters": ("n:INT64:1",),
            },
            [
                "query",
                "--destination_table=t_v1${{ds[:7]}}",
                DATASET,
                PROJECT,
                "--parameter=n:INT64:1",
                "--parameter=month:DATE:{{ds}}",
                QUERY_FILE,
            ],
            id="template and own parameters",
        ),
        pytest.param(
            {"destination_table": None, "sql_file_path": "sql/p/d/t_v1/script.sql"},
            ["query", DATASET, PROJECT, "sql/p/d/t_v1/script.sql"],
            id="a script has no destination",
        ),
        pytest.param(
            {"arguments": ["--billing-project", "moz-fx-data-backfill-2"], "date_partition_parameter": None},
            [
                "query",
                "--destination_table=t_v1",
                DATASET,
                PROJECT,
                "--billing-project",
                "moz-fx-data-backfill-2",
                QUERY_FILE,
            ],
            id="arguments",
        ),
        pytest.param(
            {"dataset_id": "a-project:d", "project_id": "b-project", "date_partition_parameter": None},
            [
                "query",
                "--destination_table=t_v1",
                "--dataset_id=a-project:d",
                "--project_id=b-project",
                "sql/a-project/d/t_v1/query.sql",
            ],
            id="dataset of another project",
        ),
        pytest.param(
            {"multipart": True, "sql_file_path": "sql/p/d/t_v1", "date_partition_parameter": None},
            ["script/bqetl", "query", "run-multipart", "--destination_table=t_v1", DATASET, PROJECT, "sql/p/d/t_v1"],
            id="multipart",
        ),
        pytest.param(
            {"multipart": True, "date_partition_parameter": None},
            [
                *("script/bqetl", "query", "run-multipart", "--destination_table=t_v1", DATASET, PROJECT),
                QUERY_FILE.removesuffix("/query.sql"),
            ],
            id="multipart, folder of the table",
        ),
    ],
)
def test_query_command(kwargs: dict[str, Any], expected: list[str]) -> None:
    given = {"dataset_id": "telemetry_derived", **kwargs}
    parameters = given.get("parameters")
    before = list(parameters) if parameters else None
    assert made(bigquery_etl_query, **given).arguments == expected
    assert (list(parameters) if parameters else None) == before, "the caller's list is not touched"


def test_a_partition_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Task some_task: .*date_partition_parameter=None"):
        made(bigquery_etl_query, destination_table="t_v1$20260601")


def test_a_query_without_a_file_is_refused() -> None:
    with pytest.raises(ValueError, match="give sql_file_path="):
        made(bigquery_etl_query, destination_table=None)


@pytest.mark.parametrize(("fails", "marker"), [(True, "fail"), (False, "warn")])
def test_check_command(fails: bool, marker: str) -> None:
    task = made(
        bigquery_dq_check,
        source_table='t_v1${{ macros.ds_format(ds, "%Y-%m-%d", "%Y%m%d") }}',
        dataset_id="telemetry_derived",
        is_dq_check_fail=fails,
        parameters=["submission_date:DATE:{{ds}}"],
        arguments=["--date-from", "{{ds}}"],
    )
    assert task.arguments == [
        *("script/bqetl", "check", "run", "--marker", marker),
        "sql/moz-fx-data-shared-prod/telemetry_derived/t_v1",
        "--parameter=submission_date:DATE:{{ds}}",
        "--date-from",
        "{{ds}}",
    ]


def test_bigeye_command_and_its_key() -> None:
    task = made(bigquery_bigeye_check)
    assert task.arguments == [
        *("script/bqetl", "monitoring", "run", "p.d.t_v1"),
        *("--warehouse_id", "1939", "--project_id", "moz-fx-data-shared-prod"),
    ]
    assert [(s.deploy_target, s.secret, s.key) for s in task.secrets] == [
        ("BIGEYE_API_KEY", "airflow-gke-restricted-secrets", "bqetl_artifact_deployment__bigeye_api_key")
    ]


def test_copy_deduplicate_command() -> None:
    task = made(
        bigquery_etl_copy_deduplicate,
        billing_projects=("a", "b"),
        only_tables=["x_live.t_v1"],
        except_tables=["y_live.t_v1"],
        write_to_v2_tables=["z_live.t_v1"],
        parallelism=5,
        priority="BATCH",
        hourly=True,
        slices=20,
    )
    assert task.arguments == [
        *("script/bqetl", "copy_deduplicate", "--project-id=p", "--billing-projects", "a", "b"),
        *("--date={{ds}}", "--parallelism=5", "--priority=BATCH", "--hourly", "--slices=20"),
        *("--only", "x_live.t_v1", "--except", "y_live.t_v1", "--write-to-v2", "z_live.t_v1"),
    ]
    assert "--only" not in made(bigquery_etl_copy_deduplicate).arguments


@pytest.mark.parametrize("empty", [[], ()])
def test_copying_no_table_is_refused(empty: Any) -> None:
    with pytest.raises(ValueError, match="every live table would be processed"):
        made(bigquery_etl_copy_deduplicate, only_tables=empty)


# Without a pod

NATIVE = [bigquery_etl_query, bigquery_dq_check]
OF_PODS = {"container_resources", "node_selector", "startup_timeout_seconds", "secrets", "name", *CLUSTER}


def native(helper: Any, **kwargs: Any) -> BigQueryRunBqetlOperator:
    task = helper(task_id="some_task", **HELPERS[helper] | kwargs)
    assert isinstance(task, BigQueryRunBqetlOperator)
    return task


@pytest.mark.parametrize("helper", NATIVE)
def test_a_native_task_runs_the_command_of_the_pod(helper: Any) -> None:
    kwargs = {"parameters": ["n:INT64:1"], "arguments": ["--billing-project", "a"]}
    task = native(helper, engine="native", **kwargs)
    assert task.arguments == made(helper, **kwargs).arguments == made(helper, engine="pod", **kwargs).arguments
    assert task.deferrable is True
    assert task.gcp_conn_id == CONNECTIONS.shared_prod


@pytest.mark.parametrize("helper", NATIVE)
def test_the_setting_is_for_those_that_name_no_engine(helper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTMO_QUERY_ENGINE", "native")
    native(helper)
    made(helper, engine="pod")
    made(bigquery_bigeye_check)


@pytest.mark.parametrize("helper", NATIVE)
@pytest.mark.parametrize("keyword", [*COMMON, *CLUSTER])
@pytest.mark.filterwarnings("ignore:Setting email")  # as config/airflow_local_settings.py does
def test_by_the_setting_every_common_keyword_is_taken(
    helper: Any, keyword: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WTMO_QUERY_ENGINE", "native")
    value = (COMMON | CLUSTER)[keyword]
    task = native(helper, **{keyword: value})
    if keyword == "gcp_conn_id":
        assert task.gcp_conn_id == CONNECTIONS.shared_prod, "the one given is that of the pod cluster"
    elif keyword not in OF_PODS | {"start_date"}:
        assert getattr(task, "max_active_tis_per_dag" if keyword == "task_concurrency" else keyword) == value


def test_by_the_setting_the_place_of_the_cluster_is_not_that_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTMO_QUERY_ENGINE", "native")
    assert native(bigquery_dq_check, location="us-west1", cluster_name="a-cluster").location is None


@pytest.mark.parametrize("keyword", sorted(OF_PODS))
def test_a_native_task_refuses_what_is_of_pods(keyword: str) -> None:
    with pytest.raises(TypeError, match=rf"Task some_task: {keyword}= is of pods"):
        native(bigquery_etl_query, engine="native", **{keyword: (COMMON | CLUSTER)[keyword]})


def test_a_native_task_takes_the_connection_and_location_of_bigquery() -> None:
    task = native(bigquery_etl_query, engine="native", gcp_conn_id="another", location="EU", poll_interval=1)
    assert (task.gcp_conn_id, task.location, task.poll_interval) == ("another", "EU", 1)


@pytest.mark.parametrize("setting", [True, False])
def test_an_unknown_engine_is_refused(setting: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTMO_QUERY_ENGINE", "nativ")
    with pytest.raises(ValueError, match="no engine 'nativ'"):
        native(bigquery_etl_query, **({} if setting else {"engine": "nativ"}))


@pytest.mark.parametrize("helper", NATIVE)
def test_a_flag_that_needs_the_pod_is_refused_with_that_advice(helper: Any) -> None:
    with pytest.raises(ValueError, match=r'Task some_task: .*--shiny.*use engine="pod"'):
        native(helper, engine="native", arguments=["--shiny"])


@pytest.mark.parametrize("helper", NATIVE)
def test_a_native_task_refuses_an_unknown_keyword(helper: Any) -> None:
    with pytest.raises((TypeError, AirflowException), match="destination_tabel"):
        native(helper, engine="native", destination_tabel="t")


def test_nothing_is_read_when_a_native_task_is_parsed() -> None:
    assert native(bigquery_etl_query, engine="native", sql_file_path="sql/p/d/nowhere_v1/query.sql")
