"""Clear the tasks of a DAG, or make its missing runs, over some dates. Started by hand; a dry run unless told otherwise.

## Where the data comes from and goes

It asks Airflow's own API, through the connection of that name, and changes nothing but runs of the DAG that is named. Two ways:

- `clear` off: the runs that are missing between the dates are made, by Airflow's own backfill. Runs that exist stay as they are.
- `clear` on: tasks of the runs that exist are cleared, so that they run again: all, or those whose id `task_regex` is found in.

Either way the log lists first what is meant, every run or every task with its state. `follow_backfill` then tells each minute how
far the runs are, and fails when one of them has failed. To backfill a table of bigquery-etl, register it: see
`bqetl_backfill_initiate`.

## When it fails

Whoever started it reads the log. A request that can't be right (a DAG that doesn't exist, a regular expression that matches no task,
dates the wrong way round) is refused before anything is done, and the message says what to change. When it fails while it is
clearing, the message says how many runs are done: look at the list, then ask for the rest.

## How to re-run it

Start a new run: first dry, then with the same values and `dry_run` off. Clearing `execute_backfill` does the same once more, and also
what has run well since. Stop the runs of a backfill on Airflow's page of backfills.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.dag_backfill import DAG_ID, MOMENT, TASK_REGEX, DagBackfillOperator, DagBackfillSensor
from utils.defaults import default_args
from utils.params import flag_param, text_param
from utils.tags import Tag

with DAG(
    "backfill",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2022, 11, 1),
    dagrun_timeout=timedelta(days=1),
    default_args=default_args(owner="data-engineering", triaged=False, retries=0),
    tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
    params={
        "dag_name": text_param("The DAG, by its id.", pattern=DAG_ID),
        "start_date": text_param("First logical date: 2026-03-01, or 2026-03-01T04:00:00 in UTC.", pattern=MOMENT),
        "end_date": text_param("Last logical date. A day is meant as a whole.", pattern=MOMENT),
        "clear": flag_param("Clear tasks of the runs that exist. Off: make the runs that are missing."),
        "dry_run": flag_param("Change nothing, and list what would be done.", default=True),
        "task_regex": text_param(
            "With clear: only tasks in whose id this regular expression is found.", pattern=TASK_REGEX, optional=True
        ),
    },
):
    execute_backfill = DagBackfillOperator(task_id="execute_backfill", execution_timeout=timedelta(hours=1))
    DagBackfillSensor(task_id="follow_backfill", record=execute_backfill.output, retries=3)
