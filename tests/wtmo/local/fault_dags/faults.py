"""Tasks that fail, each for a reason that its log and its mail must name; and two that reach the cluster another way."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.gcp import bigquery_etl_query
from utils.images import image
from utils.tags import Tag

BQETL = image("private-bigquery-etl")

with DAG(
    "faults",
    schedule="0 0 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    default_args=default_args(owner="data-engineering", retries=0),
    tags=[Tag.ImpactTier.tier_3],
):
    GKEPodOperator(task_id="unknown_image", image="example.com/nobody/nothing:1", arguments=["x"])
    bigquery_etl_query(
        task_id="missing_query",
        destination_table="nothing_v1",
        dataset_id="telemetry_derived",
        date_partition_parameter=None,
    )
    GKEPodOperator(task_id="bad_sql", image=BQETL, arguments=["bq", "query", "SELECT 1 FRM x"])
    GKEPodOperator(task_id="unknown_command", image=BQETL, arguments=["script/bqetl", "fly"])
    for deferrable in (True, False):
        GKEPodOperator(
            task_id=f"kubernetes_{'deferred' if deferrable else 'waiting'}",
            image=BQETL,
            arguments=["bq", "query", "SELECT 'through a kubernetes connection' AS way"],
            gcp_conn_id="any_cluster",
            deferrable=deferrable,
        )
