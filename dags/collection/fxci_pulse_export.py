"""Take the messages about tasks of Firefox CI out of their queues, every two hours.

## Where the data comes from and goes

Taskcluster tells of each task's and run's end through Pulse, Firefox CI's message broker. The queues of the user
`fxci-etl` are read until they are empty, and what they hold is appended to tables of
`moz-fx-data-shared-prod.fxci_derived`. Rows that BigQuery does not take are put aside in the bucket `fxci-etl`. The
program is `fxci-etl pulse drain` of
[`jobs/fxci-taskcluster-export`](https://github.com/mozilla/docker-etl/tree/main/jobs/fxci-taskcluster-export) of
docker-etl.

## When it fails

The messages wait in their queues, and the next run takes them. It must not fail all day: Pulse deletes queues that grow
too long, and what was in them is lost. A refused login means that the password of the user has changed.

## How to re-run it

Leave it to the next run, or clear the latest one. A run has no day of its own: it takes what is there.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag

with DAG(
    "fxci_pulse_export",
    doc_md=__doc__,
    schedule="30 */2 * * *",
    start_date=datetime(2024, 7, 8),
    default_args=default_args(owner="firefox-quality", retries=1),
    tags=[Tag.ImpactTier.tier_3],
):
    GKEPodOperator(
        task_id="fxci_pulse_export",
        image=image("fxci-taskcluster-export"),
        arguments=["fxci-etl", "pulse", "drain", "-vv"],
        env_vars={
            "FXCI_ETL_BIGQUERY_PROJECT": WAREHOUSE_PROJECT,
            "FXCI_ETL_BIGQUERY_DATASET": "fxci_derived",
            "FXCI_ETL_STORAGE_PROJECT": "moz-fx-dev-releng",
            "FXCI_ETL_STORAGE_BUCKET": "fxci-etl",
            "FXCI_ETL_PULSE_USER": "fxci-etl",
        },
        secrets=pod_secrets(
            "fxci_etl",
            FXCI_ETL_STORAGE_CREDENTIALS="gcp-credentials",
            FXCI_ETL_PULSE_PASSWORD="pulse-password",
        ),
    )
