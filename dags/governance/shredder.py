"""Delete the data of clients who asked for it: every four weeks, from every table that is keyed by client.

## Where the data comes from and goes

Requests are the deletion-request pings, and what opting out sends, of the nine weeks that end the day before a run starts. A request
is therefore seen by two runs at least: rows that came in late go with the second. Which tables are keyed by which id stands in
bigquery-etl. The rows are deleted from stable and derived tables. What was done is kept, by table and partition, in
`moz-fx-data-shredder.shredder_state`: a try that follows goes on where the last one ended.

`all` takes every table that no other task takes; tables with the most rows have a task, and slots, of their own.

## When it fails

It is expected to: each try runs a query once, and of thousands some fail. So each task has 44 retries, five minutes apart; most
ends need nobody. If a task has failed for good, the log names the partitions: clear it. Tell the owning team when the same ones fail
again, or when a run has not ended after three weeks: deletion has to be done in time, and the next run of a task waits for this one.

## How to re-run it

Clear the task: it reads its state and does only what is missing. Never start a second run next to it, as state is read at a
start only and both would delete the same. A table that is new, or requests older than nine weeks: `shredder_backfill`. After a
pause the newest four weeks are run, none before: more than one that was missed is for `shredder_backfill` too.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, ExceptionRetryPolicy

from operators.gcp_container_operator import GKEPodOperator
from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag
from utils.timetables import MultiWeekTimetable

START = datetime(2023, 5, 16)
STATE = "moz-fx-data-shredder.shredder_state"
OWN_SLOTS = "--billing-project=moz-fx-data-shredder"
BATCH_SLOTS = "--billing-project=moz-fx-data-bq-batch-prod"
METRICS_SLOTS = (
    f"--billing-project={WAREHOUSE_PROJECT}",
    "--reservation-override=projects/moz-fx-bigquery-reserv-global/locations/US/reservations/shredder-desktop-metrics",
)
MAIN, USE_COUNTER = "telemetry_stable.main_v5", "telemetry_stable.main_use_counter_v4"
EVENTS = ("telemetry_derived.event_events_v1", "firefox_desktop_derived.events_stream_v1")
METRICS = "firefox_desktop_stable.metrics_v1"
COHORTS = tuple(
    f"{d}.cohort_weekly_active_clients_staging_v1" for d in ("telemetry_derived", "glean_telemetry_derived")
)


def shred(task_id: str, *flags: str, parallelism: int | str, **pod: Any) -> GKEPodOperator:
    """Delete from some tables.

    :param parallelism: how many queries run at once, or a template of that.
    """
    return GKEPodOperator(
        task_id=task_id,
        name=f"shredder-{task_id.replace('_', '-')}",
        image=image("private-bigquery-etl"),
        arguments=[
            "script/shredder_delete",
            f"--state-table={STATE}.shredder_state",
            f"--task-table={STATE}.tasks",
            # ds is 28 days before the run starts
            "--end-date={{macros.ds_add(ds, 27)}}",
            "--start-date={{macros.ds_add(ds, 27-7*9)}}",
            "--no-use-dml",
            f"--parallelism={parallelism}",
            *flags,
        ],
        # a pod that stayed behind would delete next to the next try's
        on_finish_action="delete_pod",
        **pod,
    )


def setting(name: str, default: int) -> str:
    """A variable that can be set while a run goes on: the next try has it."""
    return f"{{{{ var.value.get('shredder_{name}', {default}) }}}}"


def sampling(name: str, *, batch: int) -> list[str]:
    """Delete sample by sample, through a table of its own.

    :param batch: how many samples a query takes, where no variable says otherwise.
    """
    return [
        f"--sampling-parallelism={setting(f'{name}_sampling_parallelism', 2)}",
        f"--sampling-batch-size={setting(f'{name}_sampling_batch_size', batch)}",
        "--temp-dataset=moz-fx-data-shredder.shredder_tmp",
    ]


with DAG(
    "shredder",
    doc_md=__doc__,
    schedule=MultiWeekTimetable(weeks=4, first=START),
    start_date=START,
    default_args=default_args(
        owner="data-governance",
        triaged=False,
        depends_on_past=True,
        retries=44,
        retry_delay=timedelta(minutes=5),
        # one query's error is no reason to leave out the others
        retry_policy=ExceptionRetryPolicy(rules=[]),
    ),
    tags=[Tag.ImpactTier.tier_2, Tag.Triage.no_triage],
):
    for task_id, table in (("telemetry_main", MAIN), ("telemetry_main_use_counter", USE_COUNTER)):
        shred(task_id, OWN_SLOTS, f"--only={table}", parallelism=2, resources="small")
    shred(
        "all",
        BATCH_SLOTS,
        *("--except", MAIN, USE_COUNTER, *EVENTS, METRICS, *COHORTS),
        parallelism=setting("all_parallelism", 3),
        resources="large",
        startup_timeout_seconds=360,
    )
    shred("experiments", BATCH_SLOTS, "--environment=experiments", parallelism=6, resources="medium")
    shred(
        "with-sampling",
        *sampling("w_sampling", batch=1),
        BATCH_SLOTS,
        *("--only", *EVENTS, "--sampling-tables", *EVENTS),
        parallelism=setting("w_sampling_parallelism", 1),
        resources="small",
    )
    shred(
        "desktop-metrics",
        *sampling("desktop_metrics", batch=4),
        *METRICS_SLOTS,
        *("--only", METRICS, "--sampling-tables", METRICS),
        parallelism=setting("desktop_metrics_parallelism", 2),
        resources="small",
    )
    shred("force-no-dml", BATCH_SLOTS, "--max-single-dml-bytes=1", "--only", *COHORTS, parallelism=1)
