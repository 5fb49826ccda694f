"""Look every day for countries in which searches are not what they used to be.

## Where the data comes from and goes

`mozdata.search.search_aggregates` of the day is compared with the 30 days before, by country and engine. The day is
added to `mozdata.analysis.desktop_search_alert_historical_data`, what is unusual to `desktop_search_alert_records`,
and one row to `desktop_search_alert_latest_daily`, on which an alert of Looker looks. The program is
[`jobs/search-alert`](https://github.com/mozilla/docker-etl/tree/main/jobs/search-alert) of docker-etl.

## When it fails

Tell the owning team on the next working day. Nobody is alerted about searches until it is mended, and a day that is
missing is missed by the comparisons of the four weeks after it too.

## How to re-run it

Clear `search_alert`, the oldest day first. The tables are not partitioned and a run appends: when the log says
"Updating" one of them, delete the day's rows there before, or they count twice. For the same reason there is one run
at a time.
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
    "search_alert",
    doc_md=__doc__,
    schedule="0 4 * * *",
    start_date=datetime(2022, 1, 20),
    max_active_runs=1,
    default_args=default_args(owner="data-science", retries=3),
    tags=[Tag.ImpactTier.tier_2],
):
    wait_for(
        "bqetl_search",
        "search_derived__search_aggregates__v8",
        delta=timedelta(hours=1),
        task_id="wait_for_search_aggregates",
    ) >> GKEPodOperator(
        task_id="search_alert",
        image=image("search-alert"),
        arguments=["python", "search_alert/main.py", "--submission_date={{ ds }}", "--project_id=mozdata"],
    )
