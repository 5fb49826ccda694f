"""What the two DAGs that run Shredder share: who looks after them, how patiently they try again, and the command's beginning."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy

from utils.defaults import default_args

STATE = "moz-fx-data-shredder.shredder_state"
BATCH_SLOTS = "--billing-project=moz-fx-data-bq-batch-prod"


def shredder_args(**differing: Any) -> dict[str, Any]:
    """``default_args`` of a DAG that deletes: each try goes on where the last one ended.

    :param differing: what else the DAG sets.
    """
    return default_args(
        owner="data-governance",
        triaged=False,
        retries=44,
        retry_delay=timedelta(minutes=5),
        # one query's error is no reason to leave out the others
        retry_policy=ExceptionRetryPolicy(rules=[]),
        **differing,
    )


def shredder_command(
    start: str, end: str, *, parallelism: int | str, state: str = "", dry_run: bool = False
) -> list[str]:
    """The command, up to where it says whose slots it takes and which tables.

    :param start: first day of the requests, or a template of it.
    :param end: last day of the requests and of the partitions that are deleted from, or a template of it.
    :param parallelism: how many queries run at once, or a template of that.
    :param state: what the names of the tables end with that keep what was done: each DAG has its own.
    :param dry_run: delete nothing, and check what would be done.
    """
    return [
        "script/shredder_delete",
        *(["--dry-run"] if dry_run else []),
        f"--state-table={STATE}.shredder_state{state}",
        f"--task-table={STATE}.tasks{state}",
        f"--end-date={end}",
        f"--start-date={start}",
        "--no-use-dml",
        f"--parallelism={parallelism}",
    ]
