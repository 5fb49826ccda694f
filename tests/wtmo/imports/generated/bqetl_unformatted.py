# The template's own layout, before a formatter has been over it.



from airflow import DAG
from airflow.sensors.external_task import ExternalTaskMarker
from airflow.sensors.external_task import ExternalTaskSensor
from airflow.utils.task_group import TaskGroup
import datetime
from operators.gcp_container_operator import GKEPodOperator
from utils.constants import ALLOWED_STATES, FAILED_STATES
from utils.gcp import bigquery_etl_query, bigquery_dq_check, bigquery_bigeye_check


docs = """
### bqetl_unformatted
"""

default_args = {'owner': 'fruit@example.com', 'start_date': datetime.datetime(2022, 9, 1, 0, 0), 'end_date': None, 'email': ['telemetry-alerts@mozilla.com'], 'depends_on_past': True, 'retry_delay': datetime.timedelta(seconds=1800), 'email_on_failure': True, 'email_on_retry': True, 'retries': 2, 'task_concurrency': 1}

tags = ['impact/tier_3', 'repo/bigquery-etl']

with DAG(
    'bqetl_unformatted',
    default_args=default_args,
    schedule_interval=datetime.timedelta(seconds=10800),doc_md=docs,
    tags=tags,
    catchup=True,
) as dag:

    wait_for_press = ExternalTaskSensor(
        task_id='wait_for_press',
        external_dag_id='bqetl_orchard',
        external_task_id='harvest.orchard__press__v1',
        check_existence=True,
        mode='reschedule',
        poke_interval=datetime.timedelta(minutes=5),
        allowed_states=ALLOWED_STATES,
        failed_states=FAILED_STATES,
        pool='DATA_ENG_EXTERNALTASKSENSOR',
    )

    plums__v1 = bigquery_dq_check(
            task_id='plums__v1',
            source_table='plums_v1',dataset_id='orchard_derived',
            project_id='example-project',
            is_dq_check_fail = False,
            owner='fruit@example.com',
            email=['telemetry-alerts@mozilla.com'],
            depends_on_past=True,
            parameters=["submission_date:DATE:{{ds}}"],
        )

    with TaskGroup(
        'plums__v1_external',

    ) as plums__v1_external:
        ExternalTaskMarker(
            task_id='bqetl_jam__wait_for_plums__v1',
            external_dag_id='bqetl_jam',
            external_task_id='wait_for_plums__v1',
            execution_date="{{ (execution_date - macros.timedelta(seconds=3600)).isoformat() }}",
            )

        plums__v1_external.set_upstream(plums__v1)



    plums__v1.set_upstream(wait_for_press)
