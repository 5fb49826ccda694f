"""Transfer the last 60 days of Google Play's reports to BigQuery once more.

## Where the data comes from and goes

Google mends its reports for weeks. The program starts the BigQuery transfer of the Play store (variable
`play_store_transfer_config_id`) anew for each of the 60 days up to the day before the run's, and waits for all of them.
The transfer writes to tables of `moz-fx-data-marketing-prod`. The program is
[`jobs/play-store-export`](https://github.com/mozilla/docker-etl/tree/main/jobs/play-store-export) of docker-etl.

## When it fails

It can wait: tomorrow's run transfers 59 of the same days. The log gives each day's end, `succeeded`, `failed` or
`cancelled`; why a transfer failed is told in BigQuery, under data transfers of the project. One that took more than 20
minutes counts as failed and may be done by now.

## How to re-run it

Clear the task. A transfer replaces its day, so nothing is doubled. To go further back than 60 days, start the transfer
in BigQuery by hand.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.commands import late
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "play_store_export",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2020, 6, 23),
    default_args=default_args(owner="market-data", retries=1),
    tags=[Tag.ImpactTier.tier_3],
):
    GKEPodOperator(
        task_id="play_store_export",
        image=image("play-store-export"),
        # The day that Airflow 2 called yesterday_ds.
        arguments=late(
            *("python", "play_store_export/export.py", "--date={{ macros.ds_add(ds, -1) }}", "--backfill-day-count=60"),
            *("--project", "moz-fx-data-marketing-prod"),
            "--transfer-config={{ var.value.play_store_transfer_config_id }}",
        ),
    )
