"""Pick the day's apples.

## Where the data comes from and goes

Apples go from the trees to `orchard_raw.apples_v1`.

## When it fails

Clear the task: it can run again at any time.

## How to re-run it

Clear the task. Each run replaces its day.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.external_task import mark
from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "pick",
    doc_md=__doc__,
    schedule="0 1 * * *",
    start_date=datetime(2024, 1, 1),
    dagrun_timeout=timedelta(hours=20),
    default_args=default_args(owner="data-engineering", execution_timeout=timedelta(hours=3)),
    tags=[Tag.ImpactTier.tier_2],
):
    apples = GKEPodOperator(
        task_id="apples",
        image=image("jetstream"),
        arguments=["pick", "--date={{ ds }}"],
        resources="small",
    )
    pears = GKEPodOperator(
        task_id="pears",
        image=image("jetstream"),
        cmds=["python"],
        arguments=["-m", "pick", "--fruit=pears", "--date={{ ds }}"],
        env_vars={"BASKET": "{{ ds_nodash }}"},
        resources="small",
    )
    apples >> pears
    mark(apples, {"bqetl_orchard": "wait_for_apples"}, delta=timedelta(hours=1))
