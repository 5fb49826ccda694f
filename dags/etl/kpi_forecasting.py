"""Forecast daily active users, on desktop and on mobile, every day.

## Where the data comes from and goes

The metrics of the active users' aggregates, as metric-hub defines them, go through a Prophet model; the forecast goes
to `moz-fx-data-shared-prod.telemetry_derived.kpi_forecasts_v0`, behind the dashboards of key metrics and the monthly
forecast of revenue. The program is
[`jobs/kpi-forecasting`](https://github.com/mozilla/docker-etl/tree/main/jobs/kpi-forecasting) of docker-etl; each
task names its configuration there.

## When it fails

In the first week of a month tell the owning team at once: the forecast of revenue is made of it then. Otherwise it
can wait for the next working day, as tomorrow's run forecasts the same.

## How to re-run it

Clear the task. The newest data are forecast, whatever the run's date, and the forecast is added to those of before,
with the time at which it was made.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

FORECASTS = {
    "dau_desktop": ("firefox_desktop_active_users_aggregates_v4",),
    "dau_mobile": (
        "firefox_ios_active_users_aggregates_v3",
        "fenix_active_users_aggregates_v3",
        "focus_android_active_users_aggregates_v3",
        "focus_ios_active_users_aggregates_v3",
    ),
}
"""What each forecast reads, by its configuration."""

with DAG(
    "kpi_forecasting",
    doc_md=__doc__,
    schedule="0 5 * * *",
    start_date=datetime(2022, 3, 28),
    default_args=default_args(owner="data-science"),
    tags=[Tag.ImpactTier.tier_1],
):
    for name, tables in FORECASTS.items():
        [
            wait_for("bqetl_analytics_aggregations", table, delta=timedelta(minutes=45)) for table in tables
        ] >> GKEPodOperator(
            task_id=f"kpi_forecasting_{name}",
            image=image("kpi-forecasting"),
            arguments=["python", "./kpi_forecasting.py", "-c", f"kpi_forecasting/configs/{name}.yaml"],
        )
