"""Forecast what search brings, once a month: active users, searches and clicks on ads.

## Where the data comes from and goes

The table `search_revenue_levers_daily_v1` up to the last whole month goes through models by device, country and
partner; the forecasts go to `moz-fx-data-shared-prod.search_derived.search_funnel_forecasts_v1`. The program is
[`jobs/kpi-forecasting`](https://github.com/mozilla/docker-etl/tree/main/jobs/kpi-forecasting) of docker-etl; each
task names its configuration there.

The sensor waits for the run of the search dashboard of the same date. As a monthly run starts a month after its date,
that one is done long before: the sensor doesn't make sure that yesterday's data are there. It is so in production,
and does no harm while forecasts end with the last whole month.

## When it fails

It starts on the 7th of a month, and the forecast of revenue is made of it in these days: tell the owning team at
once. Later in the month it can wait.

## How to re-run it

Clear the task. The newest data are forecast, whatever the run's date, and the forecast is added to those of before,
with the time at which it was made.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "search_forecasting",
    doc_md=__doc__,
    schedule="30 5 7 * *",
    start_date=datetime(2024, 7, 6),
    default_args=default_args(owner="data-science"),
    tags=[Tag.ImpactTier.tier_1],
):
    wait_for(
        "bqetl_search_dashboard",
        "search_derived__search_revenue_levers_daily__v1",
        task_id="wait_for_search_dashboard",
    ) >> [
        GKEPodOperator(
            task_id=f"search_forecasting_search_forecasting_{metric}",
            image=image("kpi-forecasting"),
            arguments=[
                *("python", "./kpi_forecasting.py"),
                *("-c", f"kpi_forecasting/configs/search_forecasting_{metric}.yaml"),
            ],
        )
        for metric in ("daily_active_users", "search_count", "ad_clicks")
    ]
