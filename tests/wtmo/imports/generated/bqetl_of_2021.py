# The generator's form of 2020 and 2021: tasks name their DAG, and helpers are imported that nothing uses.

from airflow import DAG
from airflow.operators.sensors import ExternalTaskSensor
import datetime

# This comment stands above an import that is left out in part.
from utils.gcp import bigquery_etl_query, gke_command

default_args = {
    "owner": "fruit@example.com",
    "start_date": datetime.datetime(2020, 2, 1, 0, 0),
    "email": ["telemetry-alerts@mozilla.com"],
    "depends_on_past": False,
    "retry_delay": datetime.timedelta(seconds=1800),
    "email_on_failure": True,
    "email_on_retry": True,
    "retries": 1,
}

with DAG(
    "bqetl_of_2021", default_args=default_args, tags=["impact/tier_3", "repo/bigquery-etl"]
) as dag:

    cherries__v1 = bigquery_etl_query(
        task_id="cherries__v1",
        destination_table="cherries_v1",
        dataset_id="orchard_derived",
        project_id="example-project",
        owner="fruit@example.com",
        email=["telemetry-alerts@mozilla.com"],
        date_partition_parameter="submission_date",
        depends_on_past=True,
        parameters=["from:DATE:{{ yesterday_ds }}", "to:DATE:{{ next_ds }}"],
        dag=dag,
    )

    wait_for_press = ExternalTaskSensor(
        task_id="wait_for_press",
        external_dag_id="bqetl_orchard",
        external_task_id="harvest.orchard__press__v1",
        execution_delta=datetime.timedelta(seconds=-3600),
        check_existence=True,
        mode="reschedule",
        dag=dag,
    )

    cherries__v1.set_upstream(wait_for_press)
