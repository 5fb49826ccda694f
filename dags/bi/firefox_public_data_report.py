"""Make the Firefox Public Data Report of a week: hardware and activity of users, with notes.

## Where the data comes from and goes

Two queries of bigquery-etl aggregate the main pings and `clients_last_seen` of the week into the tables
`public_data_report_hardware_aggregates_v1` and `public_data_report_user_activity_v1` of `telemetry_derived`. The
exports write them and the annotations of the charts as JSON to the bucket
`moz-fx-data-static-websit-8565-analysis-output`, under `public-data-report/`; `ensemble_transposer` brings them into
the form that [data.firefox.com](https://data.firefox.com/) reads. The programs:
[firefox-public-data-report-etl](https://github.com/mozilla/firefox-public-data-report-etl),
[ensemble-transposer](https://github.com/mozilla/ensemble-transposer).

A run's `ds` is the Monday at the start of its week. The sensors wait for the Sunday at its end, six days later. In
production's graph the marker of `copy_deduplicate` names the sensor `wait_for_copy_deduplicate_main_ping`; here, as
there, it is `wait_for_main_ping`.

## When it fails

It can wait for the next working day; tell the team data-tools. The site goes on showing the weeks before.

## How to re-run it

Clear the query: the week's partition is replaced, and what follows runs again. An export alone is cleared alone; always
clear `ensemble_transposer` with it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.gcp import bigquery_etl_query
from utils.images import image
from utils.tags import Tag

CLI = ("-m", "public_data_report.cli")
OUTPUT_BUCKET = "moz-fx-data-static-websit-8565-analysis-output"
HARDWARE_AGGREGATES = "public_data_report_hardware_aggregates_v1"
USER_ACTIVITY = "public_data_report_user_activity_v1"

with DAG(
    "firefox_public_data_report",
    doc_md=__doc__,
    schedule="0 1 * * MON",
    start_date=datetime(2020, 4, 6),
    default_args=default_args(owner="data-tools", retry_delay=timedelta(minutes=10)),
    tags=[Tag.ImpactTier.tier_3],
):
    wait_for_main_ping = wait_for(
        "copy_deduplicate", "copy_deduplicate_main_ping", delta=timedelta(days=-6), task_id="wait_for_main_ping"
    )
    hardware_report_query = bigquery_etl_query(
        task_id="hardware_report_query", dataset_id="telemetry_derived", destination_table=HARDWARE_AGGREGATES
    )
    hardware_report_export = GKEPodOperator(
        task_id="hardware_report_export",
        image=image("firefox-public-data-report-etl"),
        arguments=[
            *(*CLI, "hardware_report", "--date_from", "{{ ds }}"),
            *("--input_bq_table", f"{WAREHOUSE_PROJECT}.telemetry_derived.{HARDWARE_AGGREGATES}"),
            *("--output_bq_table", f"{WAREHOUSE_PROJECT}.telemetry_derived.public_data_report_hardware_v1"),
            *("--gcs_bucket", OUTPUT_BUCKET, "--gcs_path", "public-data-report/hardware/"),
        ],
    )
    wait_for_clients_last_seen = wait_for(
        "bqetl_main_summary",
        "telemetry_derived__clients_last_seen__v1",
        delta=timedelta(days=-6, hours=-1),
        task_id="wait_for_clients_last_seen",
    )
    user_activity = bigquery_etl_query(
        task_id="user_activity", dataset_id="telemetry_derived", destination_table=USER_ACTIVITY
    )
    user_activity_export = GKEPodOperator(
        task_id="user_activity_export",
        image=image("firefox-public-data-report-etl"),
        arguments=[
            *(*CLI, "user_activity"),
            *("--bq_table", f"{WAREHOUSE_PROJECT}.telemetry_derived.{USER_ACTIVITY}"),
            *("--gcs_bucket", OUTPUT_BUCKET, "--gcs_path", "public-data-report/user_activity"),
        ],
    )
    annotations_export = GKEPodOperator(
        task_id="annotations_export",
        image=image("firefox-public-data-report-etl"),
        arguments=[
            *(*CLI, "annotations", "--date_to", "{{ ds }}"),
            *("--output_bucket", OUTPUT_BUCKET, "--output_prefix", "public-data-report/annotations"),
        ],
    )
    ensemble_transposer = GKEPodOperator(
        task_id="ensemble_transposer",
        image=image("ensemble-transposer"),
        env_vars={"GCS_BUCKET_NAME": "moz-fx-data-static-websit-8565-ensemble"},
    )

    wait_for_main_ping >> hardware_report_query >> hardware_report_export
    wait_for_clients_last_seen >> user_activity >> user_activity_export
    [hardware_report_export, user_activity_export, annotations_export] >> ensemble_transposer
