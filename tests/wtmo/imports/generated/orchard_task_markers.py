# Generated via https://github.com/mozilla/bigquery-etl/blob/main/bigquery_etl/query_scheduling/copy_deduplicate_task_markers.py

from airflow import DAG
from airflow.operators.empty import EmptyOperator
from airflow.sensors.external_task import ExternalTaskMarker
from airflow.utils.task_group import TaskGroup
import datetime

docs = """
### orchard_task_markers

Carries `{source_task_id}_marker` on to those who wait.
"""

default_args = {
    "owner": "fruit@example.com",
    "start_date": datetime.datetime(2026, 4, 23),
    "email": ["telemetry-alerts@mozilla.com"],
    "email_on_failure": True,
    "email_on_retry": False,
    "retries": 1,
    "retry_delay": datetime.timedelta(minutes=30),
}

tags = ["impact/tier_3", "repo/bigquery-etl"]

with DAG(
    "orchard_task_markers",
    default_args=default_args,
    schedule_interval="0 1 * * *",
    doc_md=docs,
    tags=tags,
    catchup=True,
) as dag:

    EmptyOperator(task_id="noop")

    press_marker = EmptyOperator(
        task_id="press_marker",
    )

    with TaskGroup("press_task_markers") as press_task_markers:

        ExternalTaskMarker(
            task_id="bqetl_cider__press",
            external_dag_id="bqetl_cider",
            external_task_id="wait_for_press",
            execution_date="{{ (logical_date + macros.timedelta(seconds=7200)).isoformat() }}",
        )

        ExternalTaskMarker(
            task_id="bqetl_juice__press",
            external_dag_id="bqetl_juice",
            external_task_id="wait_for_press",
        )

    press_marker >> press_task_markers
