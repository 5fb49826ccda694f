"""Label bottles again, of the days that somebody asks for.

## Where the data comes from and goes

Bottles of `orchard_derived.bottles_v1` get new labels.

## When it fails

Clear the task: it can run again at any time.

## How to re-run it

Clear the task. Each run replaces its day.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param

from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "relabel",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2024, 1, 1),
    default_args=default_args(owner="data-engineering", retries=0),
    tags=[Tag.ImpactTier.tier_3],
    params={
        "day": Param("2026-06-01", type="string", format="date"),
        "bottles": Param(10, type="integer", minimum=1, maximum=1000),
    },
):
    label = GKEPodOperator(
        task_id="label",
        image=image("jetstream"),
        arguments=["label", "--day={{ params.day }}", "--bottles={{ params.bottles }}"],
        resources="small",
    )
    label >> TriggerDagRunOperator(task_id="start_press", trigger_dag_id="press")
