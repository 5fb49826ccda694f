# Generated via https://github.com/mozilla/bigquery-etl/blob/main/bigquery_etl/query_scheduling/generate_airflow_dags.py

from airflow.sdk import DAG
from airflow.sdk import TaskInstanceState as State
import datetime
from operators.gcp_container_operator import GKEPodOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from utils.constants import ALLOWED_STATES, FAILED_STATES

docs = """
### bqetl_open_fruit

Exports of public data: the form without catchup=.
"""


default_args = {
    "owner": "fruit@example.com",
    "start_date": datetime.datetime(2022, 9, 1, 0, 0),
    "end_date": None,
    "email": ["telemetry-alerts@mozilla.com"],
    "depends_on_past": False,
    "retry_delay": datetime.timedelta(seconds=1800),
    "email_on_failure": True,
    "email_on_retry": True,
    "retries": 2,
    "max_active_tis_per_dag": None,
}

tags = ["impact/tier_3", "repo/bigquery-etl"]

with DAG(
    "bqetl_open_fruit",
    default_args=default_args,
    schedule="0 5 * * *",
    doc_md=docs,
    tags=tags,
    catchup=False,
) as dag:
    docker_image = "us-docker.pkg.dev/moz-fx-data-artifacts-prod/private-bigquery-etl/private-bigquery-etl:latest"

    export_public_data_json_orchard_derived__apples__v1 = GKEPodOperator(
        task_id="export_public_data_json_orchard_derived__apples__v1",
        name="export_public_data_json_orchard_derived__apples__v1",
        arguments=["script/publish_public_data_json"]
        + ["--query_file=sql/example-project/orchard_derived/apples_v1/query.sql"]
        + ["--destination_table=apples${{ds_nodash}}"]
        + ["--dataset_id=orchard_derived"]
        + ["--project_id=example-project"]
        + ["--parameter=submission_date:DATE:{{ds}}"],
        image=docker_image,
    )

    wait_for_orchard_derived__apples__v1 = ExternalTaskSensor(
        task_id="wait_for_orchard_derived__apples__v1",
        external_dag_id="bqetl_orchard",
        external_task_id="harvest.orchard_derived__apples__v1",
        execution_delta=datetime.timedelta(seconds=5400),
        check_existence=True,
        mode="reschedule",
        poke_interval=datetime.timedelta(minutes=5),
        allowed_states=ALLOWED_STATES,
        failed_states=FAILED_STATES,
        pool="DATA_ENG_EXTERNALTASKSENSOR",
    )

    export_public_data_json_orchard_derived__apples__v1.set_upstream(
        wait_for_orchard_derived__apples__v1
    )

    public_data_gcs_metadata = GKEPodOperator(
        task_id="public_data_gcs_metadata",
        arguments=["script/publish_public_data_gcs_metadata"],
        image=docker_image,
    )

    public_data_gcs_metadata.set_upstream(
        [
            export_public_data_json_orchard_derived__apples__v1,
        ]
    )
