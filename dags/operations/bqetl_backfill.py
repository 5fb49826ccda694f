"""Run the query of a table again for a range of days, straight into the table. Started by hand.

## Where the data comes from and goes

`bqetl query backfill` replaces the partitions of these days in the table itself, or in `destination_table`: nothing is staged and
nothing is kept. For nearly every backfill `bqetl_backfill_initiate` is the better way, which stages the rows for a look at them.

## When it fails

Whoever started it reads the log, which names the days that failed. The others are done.

## How to re-run it

Start a new run with the days that are left: a day is replaced as a whole. Start with the dry run, which is the default. Days more
than 775 days ago need `override_retention_range_limit`.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowFailException

from operators.gcp_container_operator import GKEPodOperator
from utils.commands import DATE, PROJECT, TABLE
from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.images import image
from utils.params import choice_param, date_param, flag_param, list_param, number_param, text_param
from utils.tags import Tag

NAME = r"[A-Za-z0-9_]+"
OVERRIDES = {
    "parameters": {"type": "array", "items": {"type": "string"}},
    "date_partition_parameter": {"type": ["null", "string"]},
}

with DAG(
    "bqetl_backfill",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2023, 10, 18),
    dagrun_timeout=timedelta(days=4),
    default_args=default_args(owner="data-engineering", triaged=False, retries=0),
    tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
    params={
        "table_name": text_param("The table, dataset.table.", pattern=TABLE),
        "sql_dir": text_param("Folder of the queries in bigquery-etl.", pattern=rf"{NAME}(?:/{NAME})*", default="sql"),
        "project_id": choice_param(
            "Project whose folder the query is in.",
            choices=[
                WAREHOUSE_PROJECT,
                "moz-fx-data-marketing-prod",
                "moz-fx-data-bq-performance",
                "moz-fx-data-experiments",
                "moz-fx-cjms-prod-f3c7",
                "moz-fx-cjms-nonprod-9a36",
                "glam-fenix-dev",
                "mozfun",
            ],
            default=WAREHOUSE_PROJECT,
        ),
        "start_date": date_param("First day."),
        "end_date": date_param("Last day."),
        "dry_run": flag_param("Send the queries as dry runs; nothing is written.", default=True),
        "exclude": list_param("Days to leave out, one a line.", pattern=DATE),
        "max_rows": number_param("How many rows of each result the log shows.", default=10, minimum=0, maximum=500),
        "parallelism": number_param("How many days at once.", default=8, minimum=1, maximum=50),
        "destination_table": text_param(
            "Where the rows go, if not to the query's own table: project.dataset.table, with or without $partition.",
            pattern=rf"(?:(?:{PROJECT}[.:])?{NAME}\.)?{NAME}(?:\$[0-9]{{4,10}})?",
            optional=True,
        ),
        "run_checks": flag_param("Run the checks of the table after each day.", default=True),
        "scheduling_overrides": Param(
            {},
            type=["null", "object"],
            properties=OVERRIDES,
            additionalProperties=False,
            description="Instead of those of the table's metadata: parameters, date_partition_parameter.",
        ),
        "override_retention_range_limit": flag_param("Allow days more than 775 days ago."),
        "billing_project": text_param(
            "Project that the queries run in.", pattern=PROJECT, default="moz-fx-data-backfill-slots", optional=True
        ),
    },
):

    @task
    def generate_backfill_command(params: dict[str, Any]) -> list[str]:
        """The command of the pod. Dates are those of ISO 8601, so they compare as text."""
        if params["start_date"] > params["end_date"]:
            raise AirflowFailException(
                f"start_date={params['start_date']} is after end_date={params['end_date']}. Swap them."
            )
        return [
            *("bqetl", "query", "backfill", params["table_name"]),
            *("--sql_dir", params["sql_dir"], "--project_id", params["project_id"]),
            *("--start_date", params["start_date"], "--end_date", params["end_date"]),
            *("--max_rows", str(params["max_rows"]), "--parallelism", str(params["parallelism"])),
            *([f"--destination_table={table}"] if (table := params["destination_table"]) else []),
            *(word for day in params["exclude"] for word in ("--exclude", day)),
            *(["--scheduling_overrides", json.dumps(given)] if (given := params["scheduling_overrides"]) else []),
            *(["--dry_run"] if params["dry_run"] else []),
            "--checks" if params["run_checks"] else "--no-checks",
            *(["--override-retention-range-limit"] if params["override_retention_range_limit"] else []),
            *([f"--billing-project={project}"] if (project := params["billing_project"]) else []),
        ]

    GKEPodOperator(task_id="bqetl_backfill", image=image("private-bigquery-etl"), arguments=generate_backfill_command())
