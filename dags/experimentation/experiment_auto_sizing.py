"""Compute every Sunday how many clients experiments of usual configurations would need.

## Where the data comes from and goes

[Auto-sizing](https://github.com/mozilla/auto-sizing) reads the metrics of clients, and writes sizes to the dataset
`auto_sizing` and the bucket `mozanalysis`, from where Experimenter offers them to who plans an experiment. The
computation runs on Jetstream's cluster, as Argo workflows: the pod starts them and waits.

The sensor waits for Jetstream's run two hours older than the run's own date. As a weekly run starts a week after its
date, that one is done long before: the sensor doesn't keep the two apart on Sunday mornings. It is so in production.

## When it fails

Experimenter shows the sizes of last week: it can wait for the next working day. Clear the task when the cluster was
out of reach.

## How to re-run it

Clear `auto_sizing_run`: it computes sizes of the clients as they are on the day it runs.
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
    "experiment_auto_sizing",
    doc_md=__doc__,
    schedule="0 6 * * 0",
    start_date=datetime(2023, 4, 15),
    default_args=default_args(owner="experimentation"),
    tags=[Tag.ImpactTier.tier_1],
):
    wait_for(
        "jetstream", "jetstream_run_config_changed", delta=timedelta(hours=2), task_id="wait_for_jetstream"
    ) >> GKEPodOperator(
        task_id="auto_sizing_run",
        image=image("auto-sizing"),
        arguments=[
            *("--log-to-bigquery", "run-argo"),
            *("--bucket=mozanalysis", "--dataset-id=auto_sizing"),
            "--cluster-ip={{ var.value.jetstream_cluster_ip }}",
            "--cluster-cert={{ var.value.jetstream_cluster_cert }}",
        ],
    )
