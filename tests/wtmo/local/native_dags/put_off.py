"""A query that BigQuery's rate limit refuses once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from operators.bigquery import BigQueryRunBqetlOperator
from utils.defaults import default_args
from utils.tags import Tag


class RefusedOnceOperator(BigQueryRunBqetlOperator):
    """Its first job meets a rate limit, which the worker hears of after the deferral."""

    is_first = False

    def execute_complete(self, context: Any, event: dict[str, Any], progress: dict[str, Any]) -> Any:
        """Go on, and note whether the task was put off."""
        self.is_first = context["task_reschedule_count"] == 0
        return super().execute_complete(context, event, progress)

    def _get(self, ref: Any) -> Any:
        job = super()._get(ref)
        if self.is_first:
            job._properties["status"]["errorResult"] = {"reason": "jobRateLimitExceeded", "message": "Too many."}
        return job


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
        arguments=[["query", "--label=wtmo-min-running-ms:2000", "--parameter=submission_date:DATE:{{ds}}", file]]
    )
