"""Count how many of the release population run an outdated Firefox, and why, once a week.

## Where the data comes from and goes

A hundredth of the main pings of half a year, up to the Saturday before the report's date, to one JSON file a week,
`app-update/data/out-of-date/<Sunday>.json` in the bucket `moz-fx-data-static-websit-8565-analysis-output`. The
dashboard of [orphaned updates](https://telemetry.mozilla.org/update-orphaning/) shows it. The queries are billed to
`mozdata`. The program is
[`jobs/update-orphaning-dashboard`](https://github.com/mozilla/docker-etl/tree/main/jobs/update-orphaning-dashboard) of
docker-etl.

A run by schedule reports as of the Sunday at the end of its week, `ds` + 6; one that was started by hand or by another
DAG as of its own day.

## When it fails

It can wait for the next working day: the dashboard goes on showing the weeks before. The log shows BigQuery's error.

## How to re-run it

Clear the task: the week's file is written anew. For an old week start a run by hand whose logical date is the Sunday
after it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.commands import late
from utils.defaults import default_args
from utils.images import image
from utils.run_dates import ASKED_FOR, BY_SCHEDULE
from utils.tags import Tag

with DAG(
    "update_orphaning_dashboard_etl",
    doc_md=__doc__,
    schedule="0 2 * * MON",
    start_date=datetime(2019, 10, 12),
    default_args=default_args(owner="firefox-quality", retry_delay=timedelta(minutes=10)),
    tags=[Tag.ImpactTier.tier_3],
):
    GKEPodOperator(
        task_id="update_orphaning_dashboard_etl",
        image=image("update-orphaning-dashboard"),
        arguments=late(
            "--run-date",
            f"{{{{ logical_date.add(days=6) | ds_nodash if {BY_SCHEDULE} else {ASKED_FOR} | ds_nodash }}}}",
            *("--output-bucket", "moz-fx-data-static-websit-8565-analysis-output"),
            *("--output-prefix", "app-update/data/out-of-date/"),
            *("--billing-project", "mozdata"),
        ),
    )
