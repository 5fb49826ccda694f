"""Compute one project of operational monitoring again, day after day. Started by hand.

## Where the data comes from and goes

As of the DAG `operational_monitoring`, for one project. The days are taken one after the other, as each needs the one
before; days outside the project's own dates are left out.

## When it fails

Whoever started it reads the log, which names the day. The other days have been done. Nothing waits for it.

## How to re-run it

Start a new run with the days that are missing: each day's statistics are written anew. A run may take four days at
most.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException

from operators.gcp_container_operator import GKEPodOperator
from utils.commands import SLUG
from utils.defaults import default_args
from utils.images import image
from utils.params import date_param, text_param
from utils.tags import Tag

FLAG = r"--[a-z_-]+(?:=[A-Za-z0-9_.:/-]+)?"

with DAG(
    "operational_monitoring_backfill",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2021, 1, 1),
    dagrun_timeout=timedelta(days=4),
    default_args=default_args(owner="experimentation", triaged=False, retries=0),
    tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
    params={
        "slug": text_param("The project, by its slug in metric-hub or in Experimenter.", pattern=SLUG),
        "start_date": date_param("The first day."),
        "end_date": date_param("The last day, included."),
        "args": text_param(
            "More flags for `opmon backfill`, `--flag=value`, a space between two of them.",
            pattern=rf"{FLAG}(?: {FLAG})*",
            optional=True,
        ),
    },
):

    @task
    def generate_backfill_arguments(params: dict[str, object]) -> list[str]:
        """The command of the pod."""
        first, last = (date.fromisoformat(str(params[name])) for name in ("start_date", "end_date"))
        if first > last:
            raise AirflowFailException(
                f"start_date={first} is after end_date={last}. Start a new run with the days in order."
            )
        return [
            *("backfill", "--slug", str(params["slug"])),
            *("--start-date", str(first)),
            *("--end_date", str(last)),
            *str(params["args"] or "").split(),
        ]

    GKEPodOperator(task_id="opmon_backfill", image=image("opmon"), arguments=generate_backfill_arguments())
