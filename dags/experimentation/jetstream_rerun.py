"""Analyse one experiment again. Started by hand.

## Where the data comes from and goes

As of the DAG `jetstream`, for one experiment.

## When it fails

Whoever started it reads the log. Nothing waits for it.

## How to re-run it

Start a new run. The statistics of the experiment are written anew; its enrollments only if you ask for it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, task

from operators.gcp_container_operator import GKEPodOperator
from utils.commands import SLUG
from utils.defaults import default_args
from utils.images import image
from utils.params import flag_param, text_param
from utils.tags import Tag

PERIODS = ("overall", "week", "day")

with DAG(
    "jetstream_rerun",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2025, 1, 1),
    dagrun_timeout=timedelta(days=4),
    default_args=default_args(owner="experimentation", triaged=False, retries=0),
    tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
    params={
        "experiment_slug": text_param("The experiment, by its slug in Experimenter.", pattern=SLUG),
        "recreate_enrollments": flag_param("Find out anew who is enrolled."),
        "statistics_only": flag_param("Keep the metrics of each client, compute the statistics anew."),
        **{f"analysis_{period}": flag_param(f"Analyse the period {period}. None: all.") for period in PERIODS},
    },
):

    @task
    def generate_rerun_arguments(params: dict[str, object]) -> list[str]:
        """The command of the pod."""
        return [
            *("rerun", "--slug", str(params["experiment_slug"]), "--argo"),
            *(["--recreate-enrollments"] if params["recreate_enrollments"] else []),
            *(["--statistics-only=true"] if params["statistics_only"] else []),
            *(f"--analysis-periods={period}" for period in PERIODS if params[f"analysis_{period}"]),
        ]

    GKEPodOperator(task_id="jetstream_rerun", image=image("jetstream"), arguments=generate_rerun_arguments())
