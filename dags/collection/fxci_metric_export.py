"""Write down how long each worker of Firefox CI ran on a day.

## Where the data comes from and goes

The uptime of machines, which Google's Cloud Monitoring has of the projects of Firefox CI, summed up over the day per
machine, to a table of `moz-fx-data-shared-prod.fxci_derived`. The program is `fxci-etl metric export` of
[`jobs/fxci-taskcluster-export`](https://github.com/mozilla/docker-etl/tree/main/jobs/fxci-taskcluster-export) of
docker-etl.

## When it fails

It can wait for some days: Cloud Monitoring keeps its figures for weeks. `Abort: metric export ran too close` means that
the day was over for less than ten minutes: clear the task.

## How to re-run it

Clear the task. The day's partition is replaced.
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
    "fxci_metric_export",
    doc_md=__doc__,
    schedule="30 0 * * *",
    start_date=datetime(2024, 7, 8),
    default_args=default_args(owner="firefox-quality", retries=1),
    tags=[Tag.ImpactTier.tier_3],
):
    GKEPodOperator(
        task_id="fxci_metric_export",
        image=image("fxci-taskcluster-export"),
        arguments=["fxci-etl", "metric", "export", "-vv", "--date={{ ds }}"],
        env_vars={
            "FXCI_ETL_BIGQUERY_PROJECT": WAREHOUSE_PROJECT,
            "FXCI_ETL_BIGQUERY_DATASET": "fxci_derived",
            "FXCI_ETL_STORAGE_PROJECT": "moz-fx-dev-releng",
            "FXCI_ETL_STORAGE_BUCKET": "fxci-etl",
        },
        secrets=pod_secrets(
            "fxci_etl",
            FXCI_ETL_STORAGE_CREDENTIALS="gcp-credentials",
            FXCI_ETL_MONITORING_CREDENTIALS="gcp-credentials",
        ),
    )
