# As the import serves a generated file.

from airflow.sdk import DAG
from airflow.providers.standard.sensors.external_task import ExternalTaskMarker
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import TaskGroup
import datetime
from utils.constants import ALLOWED_STATES, FAILED_STATES
from utils.gcp import bigquery_etl_query, bigquery_dq_check

docs = """
### bqetl_orchard

#### Owner

fruit@example.com
"""

default_args = {
    "owner": "fruit@example.com",
    "start_date": datetime.datetime(2024, 2, 1, 0, 0),
    "end_date": None,
    "email": ["telemetry-alerts@mozilla.com", "fruit@example.com"],
    "depends_on_past": False,
    "retry_delay": datetime.timedelta(seconds=1800),
    "email_on_failure": True,
    "email_on_retry": True,
    "retries": 2,
    "max_active_tis_per_dag": None,
}

tags = ["impact/tier_2", "repo/bigquery-etl"]

with DAG(
    "bqetl_orchard",
    default_args=default_args,
    schedule="0 2 * * *",
    doc_md=docs,
    tags=tags,
    catchup=False,
) as dag:

    wait_for_apples = ExternalTaskSensor(
        task_id="wait_for_apples",
        external_dag_id="pick",
        external_task_id="apples",
        execution_delta=datetime.timedelta(seconds=3600),
        check_existence=True,
        mode="reschedule",
        poke_interval=datetime.timedelta(minutes=5),
        allowed_states=ALLOWED_STATES,
        failed_states=FAILED_STATES,
        pool="DATA_ENG_EXTERNALTASKSENSOR",
    )

    orchard_derived__cider__v1 = bigquery_etl_query(
        task_id="orchard_derived__cider__v1",
        destination_table="cider_v1",
        dataset_id="orchard_derived",
        project_id="moz-fx-data-shared-prod",
        owner="fruit@example.com",
        email=["fruit@example.com", "telemetry-alerts@mozilla.com"],
        date_partition_parameter="submission_date",
        depends_on_past=False,
    )

    with TaskGroup("orchard_derived__cider__v1_external") as orchard_derived__cider__v1_external:
        ExternalTaskMarker(
            task_id="bqetl_cellar__wait_for_orchard_derived__cider__v1",
            external_dag_id="bqetl_cellar",
            external_task_id="wait_for_orchard_derived__cider__v1",
            logical_date="{{ (logical_date - macros.timedelta(seconds=3600)).isoformat() }}",
        )

        orchard_derived__cider__v1_external.set_upstream(orchard_derived__cider__v1)

    checks__fail_orchard_derived__cider__v1 = bigquery_dq_check(
        task_id="checks__fail_orchard_derived__cider__v1",
        source_table="cider_v1",
        dataset_id="orchard_derived",
        project_id="moz-fx-data-shared-prod",
        is_dq_check_fail=True,
        owner="fruit@example.com",
        email=["fruit@example.com", "telemetry-alerts@mozilla.com"],
        depends_on_past=False,
        parameters=["submission_date:DATE:{{ds}}"],
        retries=0,
    )

    checks__fail_orchard_derived__cider__v1.set_upstream(orchard_derived__cider__v1)
    orchard_derived__cider__v1.set_upstream(wait_for_apples)
