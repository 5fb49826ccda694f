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

from datetime import datetime
from typing import Any

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.config import WAREHOUSE_PROJECT
from utils.images import image
from utils.shredder import BATCH_SLOTS, shredder_args, shredder_command
from utils.tags import Tag
from utils.timetables import MultiWeekTimetable

START = datetime(2023, 5, 16)
OWN_SLOTS = "--billing-project=moz-fx-data-shredder"
METRICS_SLOTS = (
    f"--billing-project={WAREHOUSE_PROJECT}",
    "--reservation-override=projects/moz-fx-bigquery-reserv-global/locations/US/reservations/shredder-desktop-metrics",
)
MAIN, USE_COUNTER = "telemetry_stable.main_v5", "telemetry_stable.main_use_counter_v4"
EVENTS = ("telemetry_derived.event_events_v1", "firefox_desktop_derived.events_stream_v1")
METRICS = "firefox_desktop_stable.metrics_v1"
STAGING = "cohort_weekly_active_clients_staging_v1"
COHORTS = (f"telemetry_derived.{STAGING}", f"glean_telemetry_derived.{STAGING}")


def shred(task_id: str, *flags: str, parallelism: int | str, **pod: Any) -> GKEPodOperator:
    """Delete from some tables, for the requests of nine weeks. ``ds`` is 28 days before the run starts."""
    weeks = "{{macros.ds_add(ds, 27-7*9)}}", "{{macros.ds_add(ds, 27)}}"
    return GKEPodOperator(
        task_id=task_id,
        name=f"shredder-{task_id.replace('_', '-')}",
        image=image("private-bigquery-etl"),
        arguments=[*shredder_command(*weeks, parallelism=parallelism), *flags],
        # a pod that stayed behind would delete next to the next try's
        on_finish_action="delete_pod",
        **pod,
    )


def setting(name: str, default: int) -> str:
    """A variable that can be set while a run goes on: the next try has it."""
    return f"{{{{ var.value.get('shredder_{name}', {default}) }}}}"


def shred_samples(
    task_id: str, name: str, tables: tuple[str, ...], slots: tuple[str, ...], at_once: int, batch: int
) -> None:
    """Delete sample by sample, through a table of its own.

    :param name: its variables start with ``shredder_<name>``. Where they say nothing, ``at_once`` queries run at once
        and each takes ``batch`` samples.
    """
    shred(
        task_id,
        f"--sampling-parallelism={setting(f'{name}_sampling_parallelism', 2)}",
        f"--sampling-batch-size={setting(f'{name}_sampling_batch_size', batch)}",
        "--temp-dataset=moz-fx-data-shredder.shredder_tmp",
        *slots,
        *("--only", *tables, "--sampling-tables", *tables),
        parallelism=setting(f"{name}_parallelism", at_once),
        resources="small",
    )


with DAG(
    "shredder",
    doc_md=__doc__,
    schedule=MultiWeekTimetable(weeks=4, first=START),
    start_date=START,
    default_args=shredder_args(depends_on_past=True),
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
    shred_samples("with-sampling", "w_sampling", EVENTS, (BATCH_SLOTS,), at_once=1, batch=1)
    shred_samples("desktop-metrics", "desktop_metrics", (METRICS,), METRICS_SLOTS, at_once=2, batch=4)
    shred("force-no-dml", BATCH_SLOTS, "--max-single-dml-bytes=1", "--only", *COHORTS, parallelism=1)
