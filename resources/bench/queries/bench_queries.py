"""A day of queries of the sample, in pods, as BigQuery jobs of Airflow's own, and in pods that start later: the engines are
compared over ten days.

A worker makes only the DAG that it runs, as a generated file has one. The annotation is spelled out: the module that knows it
loads a web server, and every task would wait for that.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, get_parsing_context

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

RUNS = get_parsing_context().dag_id
DELAYED: dict[str, Any] = {"annotations": {"wtmo.local/fault": "slow-start=0.9"}}

for name, engine, more in (("pod", "pod", {}), ("delayed_pod", "pod", DELAYED), ("native", "native", {})):
    dag_id = f"bench_queries_{name}"
    if RUNS not in {None, dag_id}:
        continue
    with DAG(
        dag_id,
        schedule=None,
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        default_args=default_args(owner="data-engineering", retries=0, triaged=False, on_failure_callback=None),
        tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
        doc_md=__doc__,
    ):
        for dataset, table in (full.split(".") for full in TABLES):
            bigquery_etl_query(task_id=table, destination_table=table, dataset_id=dataset, engine=engine, **more)
