"""Run the models of dbt Cloud that are made of the day's pings. On Sundays, despite its name.

## Where the data comes from and goes

The job 684764 of dbt Cloud: which tables it reads and writes stands there, in the models tagged `refresh_daily` and
`scheduled_in_airflow`.

## When it fails

Nothing in Airflow waits for it. The task's log links to the job in dbt Cloud; few have an account there, so ask the owning team. A
job that runs longer than five minutes fails the task but goes on in dbt Cloud: the next try waits for it and starts no second one.

## How to re-run it

Clear `trigger_dbt_daily_cloud_run_job`. The job knows no date: it brings its models to today's state.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.dbt.cloud.operators.dbt import DbtCloudRunJobOperator
from airflow.sdk import DAG

from operators.external_task import wait_for
from utils.config import CONNECTIONS
from utils.defaults import default_args
from utils.tags import Tag

with DAG(
    "dbt_daily",
    doc_md=__doc__,
    schedule="0 4 * * 0",
    start_date=datetime(2024, 7, 31),
    max_active_runs=1,
    default_args=default_args(owner="data-engineering", triaged=False),
    tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
):
    wait_for("copy_deduplicate", "copy_deduplicate_all", delta=timedelta(hours=3)) >> DbtCloudRunJobOperator(
        task_id="trigger_dbt_daily_cloud_run_job",
        dbt_cloud_conn_id=CONNECTIONS.dbt_cloud,
        account_id="{{ var.value.dbt_account_id }}",
        job_id=684764,
        check_interval=10,
        timeout=300,
        reuse_existing_run=True,
        deferrable=True,
    )
