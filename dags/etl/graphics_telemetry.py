"""Compute which graphics cards, drivers and features Firefox has on desktop, for the public graphics dashboard.

## Where the data comes from and goes

A hundredth of the clients' pings `firefox_desktop_stable.metrics_v1` goes, as JSON files, to `gfx/telemetry-data` of
the bucket behind analysis-output.telemetry.mozilla.org, and from there to the
[dashboard](https://firefoxgraphics.github.io/telemetry/). `graphics_dashboard` takes the last 14 days;
`graphics_trends` adds the whole weeks of the last 28 days to its history. The program is
[`jobs/graphics-dashboard`](https://github.com/mozilla/docker-etl/tree/main/jobs/graphics-dashboard) of docker-etl.

The sensor waits for the main ping, which the programs do not read any more; their table is copied by
`copy_deduplicate_sliced`. It is so in production: a day whose copy is late is not missed by the run of the day after.

## When it fails

As long as the newest run is green, older ones need nothing: each run makes all files anew of the last weeks. The
dashboard is public and shows the data of the last success.

## How to re-run it

Clear the task of the newest run. Clearing an older one puts the dashboard back to that day; in the trends, a week
that is computed again replaces itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

OPTIONS = [
    *("--output-bucket", "moz-fx-data-static-websit-8565-analysis-output"),
    *("--output-prefix", "gfx/telemetry-data/"),
    *("--sample-id-count", "1"),
    *("--billing-project", "mozdata"),
    *("--end-date", "{{ ds }}"),
]

with DAG(
    "graphics_telemetry",
    doc_md=__doc__,
    schedule="0 3 * * *",
    start_date=datetime(2020, 11, 26),
    default_args=default_args(owner="firefox-quality", retry_delay=timedelta(minutes=20)),
    tags=[Tag.ImpactTier.tier_1],
):
    graphics_trends = GKEPodOperator(
        task_id="graphics_trends",
        image=image("graphics-dashboard"),
        arguments=["graphics_dashboard.trends", *OPTIONS, "--start-date", "{{ macros.ds_add(ds, -28) }}"],
    )
    graphics_dashboard = GKEPodOperator(
        task_id="graphics_dashboard",
        image=image("graphics-dashboard"),
        arguments=["graphics_dashboard.dashboard", *OPTIONS, "--time-window", "14"],
    )
    wait_for("copy_deduplicate", "copy_deduplicate_main_ping", delta=timedelta(hours=2)) >> [
        graphics_trends,
        graphics_dashboard,
    ]
