"""Tasks that do nothing, to measure what a task costs by itself."""

from __future__ import annotations

import datetime as dt

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from utils.config import ALERT_ADDRESS
from utils.tags import Tag

TASKS = 60


def nothing() -> None:
    """Do nothing."""


with DAG(
    "bench_noop",
    schedule="0 0 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    default_args={"owner": "data-platform", "email": [ALERT_ADDRESS], "email_on_failure": False},
    tags=[Tag.ImpactTier.tier_3],
    max_active_tasks=TASKS,
    doc_md=__doc__,
):
    for number in range(TASKS):
        PythonOperator(task_id=f"nothing_{number:02}", python_callable=nothing)
