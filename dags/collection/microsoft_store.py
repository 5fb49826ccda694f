"""Read what the Microsoft Store counted of Firefox three days ago: acquisitions, conversions, installs.

## Where the data comes from and goes

The store's analytics API, for the applications that a secret lists, to `app_acquisitions_v1`, `app_conversions_v1` and
`app_installs_v1` of `moz-fx-data-shared-prod.microsoft_derived`. Each table has its own `query.py` in bigquery-etl. The
store counts late: the run of a day asks for three days before, and runs in the afternoon.

## When it fails

It can wait for the next working day; tell the team market-data. A refused login means that the secret of the API client
has expired: it is made anew in Microsoft's tenant and put into the cluster's secret. The tables don't need each other.

## How to re-run it

Clear the task: it asks for the same day again and replaces it. A day that was missed can be made up as long as the
store tells it.
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
    "microsoft_store",
    doc_md=__doc__,
    schedule="0 15 * * *",
    start_date=datetime(2024, 6, 18),
    default_args=default_args(owner="market-data"),
    tags=[Tag.ImpactTier.tier_2],
):
    for table in ("app_acquisitions", "app_conversions", "app_installs"):
        GKEPodOperator(
            task_id=f"microsoft_derived__{table}__v1",
            image=image("private-bigquery-etl"),
            arguments=[
                *("python", f"sql/{WAREHOUSE_PROJECT}/microsoft_derived/{table}_v1/query.py"),
                "--date={{ macros.ds_add(ds, -3) }}",
            ],
            secrets=pod_secrets(
                None,
                "MICROSOFT_CLIENT_ID",
                "MICROSOFT_CLIENT_SECRET",
                "MICROSOFT_TENANT_ID",
                "MICROSOFT_STORE_APP_LIST",
            ),
        )
