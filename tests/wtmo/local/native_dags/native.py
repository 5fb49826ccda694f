"""Query and checks as BigQuery jobs, without a pod: green ones, red ones, and one that runs until it is killed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from airflow.sdk import DAG

from utils.defaults import default_args
from utils.gcp import bigquery_dq_check, bigquery_etl_query
from utils.tags import Tag

NATIVE = {"engine": "native", "checkout": str(Path(__file__).parent / "bigquery-etl")}

for dag_id in ("native", "native_killed"):
    with DAG(
        dag_id,
        schedule="0 0 * * *",
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        catchup=False,
        default_args=default_args(owner="data-engineering", retries=0),
        tags=[Tag.ImpactTier.tier_3],
    ):
        days = bigquery_etl_query(
            task_id="days",
            destination_table="days_v1",
            dataset_id="native_derived",
            arguments=["--label=wtmo-min-running-ms:120000"] if dag_id == "native_killed" else [],
            **NATIVE,
        )
        if dag_id == "native":
            for fails in (True, False):
                days >> bigquery_dq_check(
                    task_id=f"checks_{'fail' if fails else 'warn'}",
                    source_table="days_v1",
                    dataset_id="native_derived",
                    is_dq_check_fail=fails,
                    parameters=["submission_date:DATE:{{ds}}"],
                    **NATIVE,
                )
            bigquery_etl_query(
                task_id="missing_file", destination_table="nothing_v1", dataset_id="native_derived", **NATIVE
            )
