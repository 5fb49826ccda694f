"""Copy each day's pings from live tables to stable tables, one row a document_id.

## Where the data comes from and goes

Pings arrive all day in the tables of the datasets `*_live`, some of them more than once. A run takes one day of each
table and writes, of every `document_id`, the earliest row to the same table of the dataset `*_stable`. It replaces
that day's partition and no other. Three tables are derived here at once, because much waits for them:
`telemetry_derived.event_events_v1`, `main_events_v1` and `core_clients_first_seen_v1`.

This is the root of the platform: 104 DAGs wait for it, directly or not.

## When it fails

Tell the owning team at once. Nothing needs to be held back: what waits, waits. The task's log names the table. A quota
or a rate limit passes: clear the task. `copy_deduplicate_main_ping` that runs out of resources needs more slices. A
single broken table can be added to `EXCLUDED` until it is mended; its days must then be made up.

## How to re-run it

Clear the task: a day is replaced as a whole, so running it again gives the same rows. Then clear what waited for it.
`telemetry_derived__core_clients_first_seen__v1` needs the day before it first.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.gcp import bigquery_etl_copy_deduplicate, bigquery_etl_query
from utils.tags import Tag

SLICED = ["firefox_desktop_live.metrics_v1"]
MAIN = ["telemetry_live.main_use_counter_v4", "telemetry_live.main_v5"]
FIRST_SHUTDOWN = ["telemetry_live.first_shutdown_use_counter_v4", "telemetry_live.first_shutdown_v5"]
EVENT = ["telemetry_live.event_v4"]
EXCLUDED = [*MAIN, *EVENT, *FIRST_SHUTDOWN, *SLICED]

with DAG(
    "copy_deduplicate",
    doc_md=__doc__,
    schedule="0 1 * * *",
    start_date=datetime(2019, 7, 25),
    catchup=True,
    max_active_runs=1,
    default_args=default_args(owner="data-engineering", retry_delay=timedelta(minutes=5)),
    tags=[Tag.ImpactTier.tier_1],
):
    copy_deduplicate_all_base = bigquery_etl_copy_deduplicate(
        task_id="copy_deduplicate_all_base",
        billing_projects=[WAREHOUSE_PROJECT],
        except_tables=EXCLUDED,
        parallelism=10,
        priority_weight=100,
        resources="tiny",
    )
    copy_deduplicate_sliced = bigquery_etl_copy_deduplicate(
        task_id="copy_deduplicate_sliced",
        billing_projects=[WAREHOUSE_PROJECT],
        only_tables=SLICED,
        hourly=True,
        parallelism=5,
        priority_weight=100,
        resources="tiny",
    )
    copy_deduplicate_all = EmptyOperator(task_id="copy_deduplicate_all")
    copy_deduplicate_main_ping = bigquery_etl_copy_deduplicate(
        task_id="copy_deduplicate_main_ping",
        billing_projects=[WAREHOUSE_PROJECT],
        only_tables=MAIN,
        slices=20,
        parallelism=5,
        priority_weight=100,
    )
    bigquery_etl_copy_deduplicate(
        task_id="copy_deduplicate_first_shutdown_ping",
        billing_projects=[WAREHOUSE_PROJECT],
        only_tables=FIRST_SHUTDOWN,
        parallelism=1,
        priority_weight=50,
    )
    copy_deduplicate_event_ping = bigquery_etl_copy_deduplicate(
        task_id="copy_deduplicate_event_ping",
        billing_projects=[WAREHOUSE_PROJECT],
        only_tables=EVENT,
        parallelism=1,
        priority_weight=100,
    )

    event_events = bigquery_etl_query(
        task_id="event_events",
        dataset_id="telemetry_derived",
        destination_table="event_events_v1",
        arguments=["--schema_update_option=ALLOW_FIELD_ADDITION"],
        priority_weight=90,
    )
    bq_main_events = bigquery_etl_query(
        task_id="bq_main_events",
        dataset_id="telemetry_derived",
        destination_table="main_events_v1",
        arguments=["--schema_update_option=ALLOW_FIELD_ADDITION"],
        priority_weight=90,
    )
    core_clients_first_seen = bigquery_etl_query(
        task_id="telemetry_derived__core_clients_first_seen__v1",
        dataset_id="telemetry_derived",
        destination_table="core_clients_first_seen_v1",
        depends_on_past=True,
    )

    [copy_deduplicate_all_base, copy_deduplicate_sliced] >> copy_deduplicate_all >> core_clients_first_seen
    copy_deduplicate_event_ping >> event_events
    copy_deduplicate_main_ping >> bq_main_events
