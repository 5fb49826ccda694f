"""Fill the tables of bigquery-etl that are new and empty. Started by `bqetl_artifact_deployment`.

## Where the data comes from and goes

Each query of bigquery-etl with an initialisation fills its table with all of the past, if the table is empty and was made within
the last day. Tables of four projects: `moz-fx-data-shared-prod`, `-experiments`, `-marketing-prod` and `-bq-people`.

## When it fails

The log names the table. Nothing else is held back, but the table has no past yet: tell the owner of its query.

## How to re-run it

Clear the task: tables that have rows are left alone. A table older than a day is left alone too and needs a backfill.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG
from kubernetes.client import V1ResourceRequirements

from operators.gcp_container_operator import GKEPodOperator
from utils.bqetl.generation import GENERATE_SQL, REQUESTS
from utils.commands import shell
from utils.defaults import default_args
from utils.images import image
from utils.params import flag_param
from utils.tags import Tag

with DAG(
    "bqetl_artifact_initialize",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 3, 23),
    max_active_runs=1,
    max_active_tasks=1,
    default_args=default_args(owner="data-engineering", retries=1, retry_delay=timedelta(minutes=5)),
    tags=[Tag.ImpactTier.tier_1],
    params={"generate_sql": flag_param("Generate the SQL first.")},
):
    GKEPodOperator(
        task_id="query_initialize",
        image=image("private-bigquery-etl"),
        **shell(
            f"{GENERATE_SQL}script/bqetl query initialize '*' --skip-nonempty --skip-tables-older-than 1 "
            "--project-id=moz-fx-data-shared-prod --project-id=moz-fx-data-experiments "
            "--project-id=moz-fx-data-marketing-prod --project-id=moz-fx-data-bq-people"
        ),
        container_resources=V1ResourceRequirements(requests=REQUESTS),
    )
