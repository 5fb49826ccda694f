"""Compute each day how rollouts and features do, for the dashboards of operational monitoring.

## Where the data comes from and goes

[OpMon](https://github.com/mozilla/opmon) reads which projects there are from metric-hub and which rollouts from
Experimenter, makes a query for each of them, and writes its statistics of the day to
`moz-fx-data-shared-prod.operational_monitoring_derived`. Looker shows them.

## When it fails

The log names the project that failed; a query that its configuration makes wrong is its owner's to mend. It can wait
for the next working day.

## How to re-run it

Clear `opmon_run` for all projects of a day. A single project over many days: the DAG
`operational_monitoring_backfill`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "operational_monitoring",
    doc_md=__doc__,
    schedule="0 4 * * *",
    start_date=datetime(2021, 6, 3),
    default_args=default_args(owner="experimentation"),
    tags=[Tag.ImpactTier.tier_3],
):
    [
        wait_for(
            "bqetl_main_summary",
            "telemetry_derived__clients_daily__v6",
            delta=timedelta(hours=2),
            task_id="wait_for_clients_daily",
        ),
        wait_for(
            "bqetl_search",
            "search_derived__search_clients_daily__v8",
            delta=timedelta(hours=1),
            task_id="wait_for_search_clients_daily",
        ),
    ] >> GKEPodOperator(
        task_id="opmon_run",
        image=image("opmon"),
        arguments=["--log_to_bigquery", "run", "--date={{ ds }}"],
    )
