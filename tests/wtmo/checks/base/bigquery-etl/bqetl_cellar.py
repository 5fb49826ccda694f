# As the import serves a generated file.

from airflow.sdk import DAG
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
import datetime
from utils.constants import ALLOWED_STATES, FAILED_STATES
from utils.gcp import bigquery_etl_query

docs = """
### bqetl_cellar

#### Owner

cellar@example.com
"""

default_args = {
    "owner": "cellar@example.com",
    "start_date": datetime.datetime(2024, 2, 1, 0, 0),
    "end_date": None,
    "email": ["cellar@example.com"],
    "depends_on_past": False,
    "retry_delay": datetime.timedelta(seconds=1800),
    "email_on_failure": True,
    "email_on_retry": True,
    "retries": 2,
    "max_active_tis_per_dag": None,
}

tags = ["impact/tier_3", "repo/bigquery-etl", "triage/no_triage"]

with DAG(
    "bqetl_cellar",
    default_args=default_args,
    schedule="0 1 * * *",
    doc_md=docs,
    tags=tags,
    catchup=False,
) as dag:

    wait_for_orchard_derived__cider__v1 = ExternalTaskSensor(
        task_id="wait_for_orchard_derived__cider__v1",
        external_dag_id="bqetl_orchard",
        external_task_id="orchard_derived__cider__v1",
        execution_delta=datetime.timedelta(seconds=-3600),
        check_existence=True,
        mode="reschedule",
        poke_interval=datetime.timedelta(minutes=5),
        allowed_states=ALLOWED_STATES,
        failed_states=FAILED_STATES,
        pool="DATA_ENG_EXTERNALTASKSENSOR",
    )

    cellar_derived__barrels__v1 = bigquery_etl_query(
        task_id="cellar_derived__barrels__v1",
        destination_table="barrels_v1",
        dataset_id="cellar_derived",
        project_id="moz-fx-data-shared-prod",
        owner="cellar@example.com",
        email=["cellar@example.com"],
        date_partition_parameter="submission_date",
        depends_on_past=True,
    )

    cellar_derived__barrels__v1.set_upstream(wait_for_orchard_derived__cider__v1)
