"""Export every five minutes how running experiments do, for Experimenter's pages.

## Where the data comes from and goes

The views of enrollments, clicks and searches go as JSON, a file an experiment and view, to `monitoring` of the bucket
`mozanalysis` of `moz-fx-data-experiments`, for experiments that run or have ended within 14 days. The program is
[`jobs/experiments-monitoring-data-export`](https://github.com/mozilla/docker-etl/tree/main/jobs/experiments-monitoring-data-export)
of docker-etl.

## When it fails

One failed run needs nothing: the next one, minutes later, exports the same. When all fail, Experimenter's pages stand
still; who watches a launch misses them. Tell the owning team.

## How to re-run it

Don't: start the DAG instead. The files are those of the moment at which they were written, and each run replaces
them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

VIEWS = (
    "telemetry_derived.experiment_enrollment_other_events_overall_v1",
    "telemetry_derived.experiment_enrollment_cumulative_population_estimate_v1",
    "telemetry_derived.experiment_enrollment_overall_v1",
    "telemetry_derived.experiment_unenrollment_overall_v1",
    "telemetry_derived.experiment_cumulative_ad_clicks_v1",
    "telemetry_derived.experiment_cumulative_search_count_v1",
    "telemetry_derived.experiment_cumulative_search_with_ads_count_v1",
    "telemetry.experiment_enrollment_daily_active_population",
)

with DAG(
    "experiments_live",
    doc_md=__doc__,
    schedule="*/5 * * * *",
    start_date=datetime(2021, 1, 8),
    max_active_runs=1,
    default_args=default_args(owner="experimentation", retries=1, retry_delay=timedelta(minutes=5)),
    tags=[Tag.ImpactTier.tier_2],
):
    GKEPodOperator(
        task_id="experiment_enrollment_export",
        image=image("experiments-monitoring-data-export"),
        arguments=[
            *("python", "experiments_monitoring_data_export/export.py"),
            *("--datasets", *(f"{WAREHOUSE_PROJECT}.{view}" for view in VIEWS)),
        ],
    )
