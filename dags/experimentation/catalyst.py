"""Write performance reports of the experiments that have just ended.

## Where the data comes from and goes

[Catalyst](https://github.com/mozilla/catalyst) reads `clients_daily`, `search_clients_daily` and events, and
publishes a page for each experiment at <https://protosaur.dev/perf-reports/index.html>.

## When it fails

When the pod could not run (image, cluster, access), clear the task. What goes wrong in the program itself is the
performance team's, which writes Catalyst and reads these reports: it can wait for them.

## How to re-run it

Clear `catalyst_run`. It is given no date and looks for what has ended lately: a later run reports what a failed one
has missed.
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
    "catalyst",
    doc_md=__doc__,
    schedule="0 4 * * *",
    start_date=datetime(2025, 5, 5),
    default_args=default_args(owner="experimentation", retries=1),
    tags=[Tag.ImpactTier.tier_2],
):
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
    ] >> GKEPodOperator(task_id="catalyst_run", image=image("catalyst"))
