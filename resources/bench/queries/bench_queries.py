"""A day of queries of the sample, in pods and as BigQuery jobs of Airflow's own: the engines are compared over ten days."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from utils.defaults import default_args
from utils.gcp import bigquery_etl_query
from utils.tags import Tag

TABLES = (
    "telemetry_derived.event_events_v1",
    "telemetry_derived.main_events_v1",
    "telemetry_derived.clients_daily_v6",
    "firefox_desktop_derived.baseline_clients_daily_v1",
    "firefox_desktop_derived.metrics_clients_daily_v1",
)

for engine in ("pod", "native"):
    with DAG(
        f"bench_queries_{engine}",
        schedule=None,
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        default_args=default_args(owner="data-engineering", retries=0, email_on_failure=False),
        tags=[Tag.ImpactTier.tier_3],
        doc_md=__doc__,
    ):
        for dataset, table in (name.split(".") for name in TABLES):
            bigquery_etl_query(task_id=table, destination_table=table, dataset_id=dataset, engine=engine)
