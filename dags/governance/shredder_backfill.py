"""Delete the data of clients who asked for it in a given time, from given tables. Started by hand.

## Where the data comes from and goes

As of `shredder`, for requests between two dates and for the tables that are named, in `moz-fx-data-shared-prod`. Tables that
`shredder` does not know are ignored. Its state is kept apart, in `shredder_state_backfill` and `tasks_backfill`, and it runs one
query at a time, not to take slots from `shredder`.

## When it fails

Whoever started it reads the log. It has 44 retries, five minutes apart, as single queries are expected to fail; each try goes on
where the last one ended.

## How to re-run it

Clear the task, or start a new run with the same dates and tables: what was deleted is not looked at again. Start with the dry run,
which is the default: it sends each query to BigQuery as a dry run and deletes nothing. For many tables that takes long too.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from operators.gcp_container_operator import GKEPodOperator
from utils.commands import TABLE
from utils.images import image
from utils.params import date_param, flag_param, list_param
from utils.shredder import BATCH_SLOTS, shredder_args, shredder_command
from utils.tags import Tag

if TYPE_CHECKING:
    from airflow.sdk import Context

DELETES, DRY_RUN = "shredder_backfill", "shredder_backfill_dry_run"


def which(*, params: dict[str, Any]) -> str:
    """The task to follow. Dates are those of ISO 8601, so they compare as text."""
    start, end = params["request_start_date"], params["request_end_date"]
    if start > end:
        raise AirflowFailException(f"request_start_date={start} is after request_end_date={end}. Swap them.")
    return DRY_RUN if params["dry_run"] else DELETES


def target_tables(context: Context, jinja_env: object) -> list[str]:
    """The tables, one argument each. Airflow calls it when it renders the task."""
    return list(context["params"]["target_tables"])


with DAG(
    "shredder_backfill",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2024, 3, 1),
    default_args=shredder_args(),
    tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
    params={
        "request_start_date": date_param("First day of the requests."),
        "request_end_date": date_param("Last day of the requests, and of the partitions to delete from."),
        "target_tables": list_param("Tables to delete from, dataset.table, one a line.", pattern=TABLE, at_least=1),
        "dry_run": flag_param("Delete nothing, and check what would be done.", default=True),
    },
):
    BranchPythonOperator(task_id="dry_run_branch", python_callable=which) >> [
        GKEPodOperator(
            task_id=task_id,
            image=image("private-bigquery-etl"),
            cmds=[
                *shredder_command(
                    "{{ params.request_start_date }}",
                    "{{ params.request_end_date }}",
                    parallelism=1,
                    state="_backfill",
                    dry_run=task_id == DRY_RUN,
                ),
                BATCH_SLOTS,
                "--only",
            ],
            arguments=target_tables,
            on_finish_action="delete_pod",
        )
        for task_id in (DRY_RUN, DELETES)
    ]
