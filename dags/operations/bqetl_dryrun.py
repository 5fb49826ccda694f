"""Dry-run every query of bigquery-etl and compare the schemas. Started by `bqetl_artifact_deployment`.

## Where the data comes from and goes

Each query file in `sql` of bigquery-etl is sent to BigQuery as a dry run: nothing is computed, nothing is written.

## When it fails

Nothing waits for it, and what is wrong was deployed already: tell the owner of the query that the log names. A query whose tables
are not deployed yet is right the next time. One that may not be read, or that always takes too long, belongs on the list of
queries to skip in bigquery-etl's `bqetl_project.yaml`.

## How to re-run it

Clear the task: it looks at the files of the image as it is now. While newer runs wait, a run is skipped: the newest covers it.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import DAG
from kubernetes.client import V1ResourceRequirements

from operators.gcp_container_operator import GKEPodOperator
from utils.branching import no_newer_run_is_queued
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "bqetl_dryrun",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2025, 12, 6),
    max_active_runs=1,
    default_args=default_args(owner="data-engineering", retries=0),
    tags=[Tag.ImpactTier.tier_2],
):
    ShortCircuitOperator(task_id="skip_if_queued_runs_exist", python_callable=no_newer_run_is_queued) >> GKEPodOperator(
        task_id="dryrun",
        image=image("private-bigquery-etl"),
        arguments=["script/bqetl", "dryrun", "--validate-schemas", "sql"],
        container_resources=V1ResourceRequirements(requests={"cpu": "4", "memory": "2Gi"}),
        trigger_rule="all_done",
    )
