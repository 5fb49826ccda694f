"""A task for each cell of the fault matrix, and tasks that end, or whose processes do, while their pod or job runs."""

from __future__ import annotations

import datetime as dt

from airflow.providers.cncf.kubernetes import kube_client
from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from tests.wtmo.local.fault_matrix import CELLS, START_SECONDS
from utils.config import ROOT
from utils.defaults import default_args
from utils.gcp import bigquery_etl_query
from utils.images import image
from utils.retries import FaultRetryPolicy
from utils.tags import Tag
from wtmo.local.pods.faults import ANNOTATION

# A request without an answer is given up after 60 s; the matrix has four slots and no such patience. (The triggerer
# does not read this file and keeps the 60 s.)
kube_client.API_TIMEOUT = 10

COMMON = {
    "start_date": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "tags": [Tag.ImpactTier.tier_3],
}
POD = {"image": image("bq2sftp"), "arguments": ["--some", "argument"], "startup_timeout_seconds": START_SECONDS}

with DAG("fault_matrix", schedule=None, default_args=default_args(owner="data-engineering", retries=0), **COMMON):
    for cell in CELLS:
        GKEPodOperator(
            task_id=cell.task_id,
            deferrable=cell.deferrable,
            do_xcom_push=cell.xcom,
            annotations={ANNOTATION: cell.fault},
            # The longest begin first.
            priority_weight=10 if cell.fault.startswith(("silent", "unschedulable")) else 1,
            **POD,
        )

with DAG(
    "killed",
    schedule=None,
    default_args=default_args(owner="data-engineering", retries=1, retry_delay=dt.timedelta(seconds=1)),
    **COMMON,
):
    for deferrable in (False, True):
        way = "deferrable" if deferrable else "sync"
        GKEPodOperator(
            task_id=f"marked_failed-{way}", deferrable=deferrable, annotations={ANNOTATION: "slow-end=600"}, **POD
        )
    for process in ("runner", "supervisor", "triggerer"):
        GKEPodOperator(
            task_id=f"{process}_killed",
            deferrable=process == "triggerer",
            do_xcom_push=True,
            annotations={ANNOTATION: "slow-end=60"},
            **POD,
        )

with DAG(
    "put_off",
    schedule=None,
    default_args=default_args(
        owner="data-engineering", retries=1, retry_policy=FaultRetryPolicy(longest=dt.timedelta(seconds=1))
    ),
    **COMMON,
):
    for deferrable in (False, True):
        GKEPodOperator(
            task_id=f"evicted_twice-{'deferrable' if deferrable else 'sync'}",
            deferrable=deferrable,
            annotations={ANNOTATION: "{{ 'evicted=1' if task_reschedule_count < 2 else '' }}"},
            **POD,
        )

with DAG(
    "orphaned",
    schedule=None,
    default_args=default_args(owner="data-engineering", retries=0, priority_weight=10),
    **COMMON,
):
    for task_id in ("marked_failed", "marked_success"):
        GKEPodOperator(task_id=task_id, annotations={ANNOTATION: "slow-end=600"}, **POD)
    GKEPodOperator(task_id="cleared", annotations={ANNOTATION: "slow-end=30"}, **POD)
    GKEPodOperator(task_id="goes_on", annotations={ANNOTATION: "slow-end=60"}, **POD)
    for process in ("runner", "supervisor"):
        GKEPodOperator(
            task_id=f"last_try_{process}_killed",
            deferrable=False,
            annotations={ANNOTATION: "slow-end=600"},
            # The tasks that defer go first: of four slots these two keep one each.
            priority_weight=1,
            **POD,
        )
    bigquery_etl_query(
        task_id="query",
        destination_table="days_v1",
        dataset_id="native_derived",
        date_partition_parameter=None,
        parameters=["submission_date:DATE:2026-06-01"],
        arguments=["--label=wtmo-min-running-ms:600000"],
        engine="native",
        checkout=str(ROOT / "tests" / "wtmo" / "local" / "native_dags" / "bigquery-etl"),
    )
