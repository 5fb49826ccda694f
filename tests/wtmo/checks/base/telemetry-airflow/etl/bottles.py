"""Count the bottles of each hour.

## Where the data comes from and goes

Bottles of `orchard_derived.juice_v1` are counted in `orchard_derived.bottles_v1`.

## When it fails

Clear the task: it can run again at any time.

## How to re-run it

Clear the task. Each run replaces its day.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from utils.defaults import default_args
from utils.gcp import bigquery_dq_check, bigquery_etl_query
from utils.tags import Tag

with DAG(
    "bottles",
    doc_md=__doc__,
    schedule="0 * * * *",
    start_date=datetime(2024, 1, 1),
    max_active_runs=1,
    default_args=default_args(owner="ads", triaged=False),
    tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
):
    query = bigquery_etl_query(
        task_id="orchard_derived__bottles__v1",
        dataset_id="orchard_derived",
        destination_table="bottles_v1",
    )
    checks = bigquery_dq_check(
        task_id="checks__fail_orchard_derived__bottles__v1",
        dataset_id="orchard_derived",
        source_table="bottles_v1",
        parameters=["submission_date:DATE:{{ds}}"],
    )
    query >> checks
