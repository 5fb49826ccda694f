"""Draw the results of experiments, every three hours.

## Where the data comes from and goes

[Partybal](https://github.com/mozilla/partybal) makes charts of the statistics that Jetstream has computed. It runs
several times a day so that analyses started by hand show up soon.

## When it fails

As long as the newest run is green, older ones need nothing. It fails when results are missing: look at `jetstream`
first.

## How to re-run it

Clear the task, or wait for the next run: everything is drawn anew each time.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "partybal",
    doc_md=__doc__,
    schedule="0 */3 * * *",
    start_date=datetime(2021, 6, 21),
    default_args=default_args(owner="experimentation"),
    tags=[Tag.ImpactTier.tier_2],
):
    GKEPodOperator(task_id="partybal", image=image("partybal"))
