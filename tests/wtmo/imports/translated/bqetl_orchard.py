# Generated via https://github.com/mozilla/bigquery-etl/blob/main/bigquery_etl/query_scheduling/generate_airflow_dags.py

from airflow.sdk import DAG
from airflow.providers.google.cloud.sensors.bigquery import (
    BigQueryTableExistenceSensor,
    BigQueryTablePartitionExistenceSensor,
)
from airflow.providers.standard.sensors.external_task import ExternalTaskMarker
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import TaskGroup
from airflow.providers.cncf.kubernetes.secret import Secret
import datetime
from kubernetes.client import models as k8s
from operators.gcp_container_operator import GKEPodOperator
from utils.constants import ALLOWED_STATES, FAILED_STATES
from utils.gcp import bigquery_etl_query, bigquery_dq_check, bigquery_bigeye_check

from operators.fivetran import FivetranOperator

docs = """
### bqetl_orchard

Built from bigquery-etl repo, [`dags/bqetl_orchard.py`](https://github.com/mozilla/bigquery-etl/blob/generated-sql/dags/bqetl_orchard.py)

#### Description

Counts apples. The text may name {{ execution_date }} and {{ no_such_variable }}: nothing renders it.

#### Owner

fruit@example.com

#### Tags

* impact/tier_3
* repo/bigquery-etl
"""

orchard__press__v1_press_key = Secret(
    deploy_type="env",
    deploy_target="PRESS_KEY",
    secret="airflow-gke-restricted-secrets",
    key="orchard__press_key",
)
orchard__press__v1_press_file = Secret(
    deploy_type="volume",
    deploy_target="/secrets/press",
    secret="airflow-gke-secrets",
    key="orchard__press_file",
)

default_args = {
    "owner": "fruit@example.com",
    "start_date": datetime.datetime(2022, 9, 1, 0, 0),
    "end_date": datetime.datetime(2031, 12, 31, 0, 0),
    "email": ["fruit@example.com", "telemetry-alerts@mozilla.com"],
    "depends_on_past": False,
    "retry_delay": datetime.timedelta(seconds=1800),
    "email_on_failure": True,
    "email_on_retry": False,
    "retries": 2,
    "max_active_tis_per_dag": None,
}

tags = ["impact/tier_3", "repo/bigquery-etl"]

with DAG(
    "bqetl_orchard",
    default_args=default_args,
    schedule="30 3 * * *",
    max_active_runs=3,
    doc_md=docs,
    tags=tags,
    catchup=False,
    start_date=None,
) as dag:

    task_group_harvest = TaskGroup("harvest")

    wait_for_copy_deduplicate_all = ExternalTaskSensor(
        task_id="wait_for_copy_deduplicate_all",
        external_dag_id="copy_deduplicate",
        external_task_id="copy_deduplicate_all",
        execution_delta=datetime.timedelta(seconds=9000),
        check_existence=True,
        mode="reschedule",
        poke_interval=datetime.timedelta(minutes=5),
        allowed_states=ALLOWED_STATES,
        failed_states=FAILED_STATES,
        pool="DATA_ENG_EXTERNALTASKSENSOR",
    )

    wait_for_garden_weather__rain__v1 = ExternalTaskSensor(
        task_id="wait_for_garden_weather__rain__v1",
        external_dag_id="bqetl_weather",
        external_task_id="garden.garden_weather__rain__v1",
        execution_delta=datetime.timedelta(days=-1, seconds=82800),
        check_existence=True,
        mode="reschedule",
        poke_interval=datetime.timedelta(seconds=600),
        timeout=datetime.timedelta(days=2),
        allowed_states=ALLOWED_STATES,
        failed_states=FAILED_STATES,
        pool="DATA_ENG_EXTERNALTASKSENSOR",
    )

    wait_for_trees_table = BigQueryTableExistenceSensor(
        task_id="wait_for_trees_table",
        project_id="example-project",
        dataset_id="orchard",
        table_id="trees",
        gcp_conn_id="google_cloud_shared_prod",
        deferrable=True,
        poke_interval=datetime.timedelta(minutes=5),
        timeout=datetime.timedelta(hours=24),
        retries=1,
        retry_delay=datetime.timedelta(seconds=1800),
    )

    wait_for_blossom_partition = BigQueryTablePartitionExistenceSensor(
        task_id="wait_for_blossom_partition",
        project_id="example-project",
        dataset_id="orchard",
        table_id="blossom",
        partition_id="{{ data_interval_start.subtract(days=1) | ds_nodash }}",
        gcp_conn_id="google_cloud_shared_prod",
        deferrable=True,
        poke_interval=datetime.timedelta(minutes=5),
        timeout=datetime.timedelta(hours=24),
    )

    fivetran_orchard_sync_start = FivetranOperator(
        connector_id="{{ var.value.fivetran_orchard_connector_id }}",
        task_id="fivetran_orchard_task",
        deferrable=False,
        max_active_tis_per_dag=1,
        trigger_rule="all_done",
    )

    bigeye__orchard_derived__apples__v1 = bigquery_bigeye_check(
        task_id="bigeye__orchard_derived__apples__v1",
        table_id="example-project.orchard_derived.apples_v1",
        warehouse_id="1939",
        owner="fruit@example.com",
        email=["fruit@example.com", "telemetry-alerts@mozilla.com"],
        depends_on_past=False,
        execution_timeout=datetime.timedelta(hours=1),
        retries=0,
        task_group=task_group_harvest,
    )

    checks__fail_orchard_derived__apples__v1 = bigquery_dq_check(
        task_id="checks__fail_orchard_derived__apples__v1",
        source_table='apples_v1${{ macros.ds_format(macros.ds_add(ds, -1), "%Y-%m-%d", "%Y%m%d") }}',
        dataset_id="example-project:orchard_derived",
        project_id="example-billing",
        is_dq_check_fail=True,
        owner="fruit@example.com",
        doc_md='Wants {{ execution_date }} in "prose".',
        email=["fruit@example.com", "telemetry-alerts@mozilla.com"],
        start_date=datetime.datetime(2023, 2, 3, 0, 0),
        depends_on_past=True,
        ignore_first_depends_on_past=True,
        max_active_tis_per_dag=1,
        arguments=["--quiet"],
        parameters=["submission_date:DATE:{{macros.ds_add(ds, -1)}}"]
        + ["limit:INT64:5"],
    )

    checks__warn_orchard_derived__pears__v1 = bigquery_dq_check(
        task_id="checks__warn_orchard_derived__pears__v1",
        source_table="pears_v1",
        dataset_id="orchard_derived",
        project_id="example-project",
        is_dq_check_fail=False,
        owner="fruit@example.com",
        email=["fruit@example.com", "telemetry-alerts@mozilla.com"],
        depends_on_past=False,
        parameters=["kind:STRING:pear"] + ["submission_date:DATE:{{ds}}"],
        location="us-west1",
        cluster_name="workloads-prod-v1",
        gcp_conn_id="google_cloud_airflow_gke",
        retry_delay=datetime.timedelta(seconds=1800),
        retries=2,
        email_on_retry=False,
    )

    orchard__press__v1 = GKEPodOperator(
        task_id="orchard__press__v1",
        arguments=[
            "python",
            "sql/example-project/orchard_derived/press_v1/query.py",
        ]
        + ["--date", "{{ ds }}", "--key={{ var.value.press_key }}"],
        image="us-docker.pkg.dev/moz-fx-data-artifacts-prod/private-bigquery-etl/private-bigquery-etl:latest",
        owner="fruit@example.com",
        email=["fruit@example.com", "telemetry-alerts@mozilla.com"],
        doc_md="Presses\n\napples.",
        container_resources=k8s.V1ResourceRequirements(
            requests={"memory": "4Gi", "cpu": "500m"},
            limits={"memory": "8Gi"},
        ),
        node_selector={"pool": "highmem"},
        startup_timeout_seconds=600,
        secrets=[
            orchard__press__v1_press_key,
            orchard__press__v1_press_file,
        ],
        gcp_conn_id="google_cloud_airflow_gke",
        retry_delay=datetime.timedelta(seconds=300),
        retries=3,
        email_on_retry=False,
        task_group=task_group_harvest,
    )

    with TaskGroup(
        "orchard__press__v1_external",
        parent_group=task_group_harvest,
    ) as orchard__press__v1_external:
        ExternalTaskMarker(
            task_id="bqetl_cider__wait_for_orchard__press__v1",
            external_dag_id="bqetl_cider",
            external_task_id="wait_for_orchard__press__v1",
            logical_date="{{ (logical_date - macros.timedelta(days=-1, seconds=81000)).isoformat() }}",
        )

        ExternalTaskMarker(
            task_id="bqetl_juice__press_done",
            external_dag_id="bqetl_juice",
            external_task_id="press_done",
            logical_date="{{ (logical_date + macros.timedelta(seconds=1800)).isoformat() }}",
        )

        ExternalTaskMarker(
            task_id="bqetl_jam__wait_for_orchard__press__v1",
            external_dag_id="bqetl_jam",
            external_task_id="wait_for_orchard__press__v1",
        )

        orchard__press__v1_external.set_upstream(orchard__press__v1)

    orchard_derived__apples__v1 = bigquery_etl_query(
        #### WARNING: This task has been scheduled in the default DAG. It can be moved to a more suitable DAG using `bqetl query schedule`.
        task_id="orchard_derived__apples__v1",
        destination_table='apples_v1${{ macros.ds_format(macros.ds_add(ds, -1), "%Y-%m-%d", "%Y%m%d") }}',
        dataset_id="example-project:orchard_derived",
        project_id="example-billing",
        sql_file_path="sql/example-project/orchard_derived/apples_v1/query.sql",
        owner="fruit@example.com",
        email=["fruit@example.com", "telemetry-alerts@mozilla.com"],
        date_partition_parameter=None,
        depends_on_past=True,
        ignore_first_depends_on_past=True,
        trigger_rule="all_done",
        arguments=["--schema_update_option=ALLOW_FIELD_ADDITION"],
        parameters=["submission_date:DATE:{{macros.ds_add(ds, -1)}}"],
        priority_weight=80,
        gke_project_id="moz-fx-data-airflow-gke-prod",
        gke_location="us-west1",
        gke_cluster_name="workloads-prod-v1",
        gcp_conn_id="google_cloud_airflow_gke",
        task_group=task_group_harvest,
    )

    orchard_derived__basket__v1 = bigquery_etl_query(
        task_id="orchard_derived__basket__v1",
        destination_table="basket_v1",
        dataset_id="orchard_derived",
        project_id="example-project",
        owner="fruit@example.com",
        email=["fruit@example.com", "telemetry-alerts@mozilla.com"],
        start_date=datetime.datetime(2024, 5, 6, 0, 0),
        date_partition_parameter="submission_date",
        table_partition_template='${{ (logical_date - macros.timedelta(hours=5)).strftime("%Y%m%d") }}',
        depends_on_past=True,
        ignore_first_depends_on_past=True,
        container_resources=k8s.V1ResourceRequirements(requests={"memory": "4Gi"}),
        node_selector={"pool": "highmem"},
        startup_timeout_seconds=600,
        secrets=[
            orchard__press__v1_press_key,
        ],
    )

    orchard_derived__pears__v1 = bigquery_etl_query(
        task_id="orchard_derived__pears__v1",
        destination_table=None,
        dataset_id="orchard_derived",
        project_id="example-project",
        owner="fruit@example.com",
        email=["fruit@example.com", "telemetry-alerts@mozilla.com"],
        date_partition_parameter=None,
        depends_on_past=False,
        max_active_tis_per_dag=1,
        parameters=[
            "hour:TIMESTAMP:{{ (logical_date - macros.timedelta(hours=1)).strftime('%Y-%m-%d') }}"
        ],
        multipart=True,
        sql_file_path="sql/example-project/orchard_derived/pears_v1",
    )

    bigeye__orchard_derived__apples__v1.set_upstream(orchard_derived__apples__v1)

    checks__fail_orchard_derived__apples__v1.set_upstream(orchard_derived__apples__v1)

    orchard__press__v1.set_upstream(wait_for_trees_table)

    orchard__press__v1.set_upstream(wait_for_blossom_partition)

    orchard_derived__apples__v1.set_upstream(wait_for_copy_deduplicate_all)

    orchard_derived__apples__v1.set_upstream(fivetran_orchard_sync_start)

    fivetran_orchard_sync_start.set_upstream(wait_for_garden_weather__rain__v1)

    orchard_derived__basket__v1.set_upstream(orchard__press__v1)

    orchard_derived__pears__v1.set_upstream(checks__fail_orchard_derived__apples__v1)
