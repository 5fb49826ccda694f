"""Read the listings of add-ons in other browsers' stores, once a day.

## Where the data comes from and goes

The pages of the Chrome Web Store go to `moz-fx-data-shared-prod.external_derived.chrome_extensions_v1`. The program is
[`jobs/extensions`](https://github.com/mozilla/docker-etl/tree/main/jobs/extensions) of docker-etl.

## When it fails

Nothing waits for it: it can wait for the next working day. The store's pages change now and then; the log then names what the
program did not find, and the program must follow.

## How to re-run it

Clear the task. The pages are those of the day on which it runs: a day that was missed cannot be made up.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "extensions",
    doc_md=__doc__,
    schedule="0 15 * * *",
    start_date=datetime(2025, 4, 13),
    default_args=default_args(owner="market-data"),
    tags=[Tag.ImpactTier.tier_3, Tag.Repo.airflow],
):
    GKEPodOperator(
        task_id="pull_extensions",
        image=image("extensions"),
        arguments=["python", "extensions/main.py", "--date", "{{ ds }}"],
    )
