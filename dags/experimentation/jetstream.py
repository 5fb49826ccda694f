"""Analyse running experiments every day, and those whose configuration was changed.

## Where the data comes from and goes

[Jetstream](https://github.com/mozilla/jetstream) reads `clients_daily`, `search_clients_daily` and events of the day, and writes
statistics of each experiment to `moz-fx-data-experiments.mozanalysis`, from where Experimenter shows them. The analysis itself
runs on a cluster of its own, as Argo workflows: the pod starts them and waits.

## When it fails

The log names the experiments that failed; the others are done. An experiment with a wrong configuration is its owner's to
mend, and is then analysed anew by `jetstream_run_config_changed`. Clear the task when the cluster was out of reach.

## How to re-run it

Clear `jetstream_run`: a day's statistics are written anew. A single experiment is quicker with the DAG `jetstream_rerun`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

CLUSTER = [
    "--cluster-ip={{ var.value.jetstream_cluster_ip }}",
    "--cluster-cert={{ var.value.jetstream_cluster_cert }}",
]

with DAG(
    "jetstream",
    doc_md=__doc__,
    schedule="0 4 * * *",
    start_date=datetime(2020, 3, 12),
    catchup=True,
    default_args=default_args(owner="experimentation"),
    tags=[Tag.ImpactTier.tier_1],
):
    jetstream_run = GKEPodOperator(
        task_id="jetstream_run",
        image=image("jetstream"),
        arguments=["--log_to_bigquery", "run-argo", "--date={{ ds }}", *CLUSTER],
    )
    jetstream_run_config_changed = GKEPodOperator(
        task_id="jetstream_run_config_changed",
        image=image("jetstream"),
        arguments=["--log_to_bigquery", "rerun-config-changed", "--argo", "--recreate-enrollments", *CLUSTER],
    )

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
        wait_for("copy_deduplicate", "bq_main_events", delta=timedelta(hours=3)),
        wait_for("copy_deduplicate", "event_events", delta=timedelta(hours=3)),
    ] >> jetstream_run
    jetstream_run >> jetstream_run_config_changed
