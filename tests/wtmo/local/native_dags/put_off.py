"""A query that BigQuery's rate limit refuses once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from airflow.sdk import DAG
from google.api_core.exceptions import Forbidden

from operators.bigquery import BigQueryRunBqetlOperator
from utils.defaults import default_args
from utils.tags import Tag


class RefusedOnceOperator(BigQueryRunBqetlOperator):
    """Its first job meets a rate limit."""

    def _submit(self, *arguments: Any) -> Any:
        job = super()._submit(*arguments)
        if not self.has_run:
            raise Forbidden("Exceeded rate limits", errors=[{"reason": "rateLimitExceeded"}])
        return job

    def execute(self, context: Any) -> Any:
        """Run, and note how often it was put off."""
        self.has_run = context["task_reschedule_count"] > 0
        return super().execute(context)


with DAG(
    "native_put_off",
    schedule="0 0 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    default_args=default_args(owner="data-engineering", retries=0),
    tags=[Tag.ImpactTier.tier_3],
):
    file = "sql/moz-fx-data-shared-prod/native_derived/days_v1/query.sql"
    RefusedOnceOperator.partial(task_id="days", checkout=str(Path(__file__).parent / "bigquery-etl")).expand(
        arguments=[["query", "--parameter=submission_date:DATE:{{ds}}", file]]
    )
