"""Press the day's apples into juice.

## Where the data comes from and goes

Apples of `orchard_raw.apples_v1` go to `orchard_derived.juice_v1`.

## When it fails

Clear the task: it can run again at any time.

## How to re-run it

Clear the task. Each run replaces its day.
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
    "press",
    doc_md=__doc__,
    schedule="0 3 * * *",
    start_date=datetime(2024, 1, 1),
    default_args=default_args(owner="data-tools", retries=1),
    tags=[Tag.ImpactTier.tier_3],
):
    wait_for("pick", "apples", delta=timedelta(hours=2)) >> GKEPodOperator(
        task_id="juice",
        image=image("jetstream"),
        arguments=["press", "--date={{ ds }}"],
        resources="small",
    )
