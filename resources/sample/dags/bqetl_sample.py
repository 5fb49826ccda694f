# Sample of a generated DAG, in the form that bigquery-etl's generator writes today: for Airflow 2.10. `wtmo import` translates
# it. Written by hand, from the sample's query metadata in resources/sample/bigquery-etl. Where a generated file pokes every
# 5 minutes, this one does every 5 seconds: a day of the sample should take minutes.

from airflow import DAG
from airflow.sensors.external_task import ExternalTaskSensor
import datetime
from utils.constants import ALLOWED_STATES, FAILED_STATES
from utils.gcp import bigquery_etl_query, bigquery_dq_check, bigquery_bigeye_check

from fivetran_provider_async.operators import FivetranOperator

docs = """
### bqetl_sample

Built from the sample of bigquery-etl, `resources/sample/bigquery-etl`

#### Description

Clients and active users by day, activity by country, and revenue of advertisements in US dollars.

Waits for `copy_deduplicate`, so is scheduled after that DAG.

#### Owner

data-engineering

#### Tags

* impact/tier_2
* repo/bigquery-etl
"""


default_args = {
    "owner": "data-engineering",
    "start_date": datetime.datetime(2019, 7, 25, 0, 0),
    "end_date": None,
    "email": ["telemetry-alerts@mozilla.com"],
    "depends_on_past": False,
    "retry_delay": datetime.timedelta(seconds=300),
    "email_on_failure": True,
    "email_on_retry": True,
    "retries": 1,
    "max_active_tis_per_dag": None,
}

tags = ["impact/tier_2", "repo/bigquery-etl"]

with DAG(
    "bqetl_sample",
    default_args=default_args,
    schedule_interval="0 3 * * *",
    doc_md=docs,
    tags=tags,
    catchup=False,
) as dag:
    wait_for_copy_deduplicate_all = ExternalTaskSensor(
        task_id="wait_for_copy_deduplicate_all",
        external_dag_id="copy_deduplicate",
        external_task_id="copy_deduplicate_all",
        execution_delta=datetime.timedelta(seconds=7200),
        check_existence=True,
        mode="reschedule",
        poke_interval=datetime.timedelta(seconds=5),
        allowed_states=ALLOWED_STATES,
        failed_states=FAILED_STATES,
        pool="DATA_ENG_EXTERNALTASKSENSOR",
    )

    wait_for_copy_deduplicate_main_ping = ExternalTaskSensor(
        task_id="wait_for_copy_deduplicate_main_ping",
        external_dag_id="copy_deduplicate",
        external_task_id="copy_deduplicate_main_ping",
        execution_delta=datetime.timedelta(seconds=7200),
        check_existence=True,
        mode="reschedule",
        poke_interval=datetime.timedelta(seconds=5),
        allowed_states=ALLOWED_STATES,
        failed_states=FAILED_STATES,
        pool="DATA_ENG_EXTERNALTASKSENSOR",
    )

    fivetran_sample_netsuite_sync_start = FivetranOperator(
        connector_id="{{ var.value.fivetran_sample_netsuite_connector_id }}",
        task_id="fivetran_sample_netsuite_task",
        deferrable=False,
        task_concurrency=1,
    )

    bigeye__telemetry_derived__active_users_aggregates__v1 = bigquery_bigeye_check(
        task_id="bigeye__telemetry_derived__active_users_aggregates__v1",
        table_id="moz-fx-data-shared-prod.telemetry_derived.active_users_aggregates_v1",
        warehouse_id="1939",
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        depends_on_past=False,
        execution_timeout=datetime.timedelta(hours=1),
        retries=1,
    )

    checks__fail_firefox_desktop_derived__baseline_clients_daily__v1 = bigquery_dq_check(
        task_id="checks__fail_firefox_desktop_derived__baseline_clients_daily__v1",
        source_table="baseline_clients_daily_v1",
        dataset_id="firefox_desktop_derived",
        project_id="moz-fx-data-shared-prod",
        is_dq_check_fail=True,
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        depends_on_past=False,
        parameters=["submission_date:DATE:{{ds}}"],
        retry_delay=datetime.timedelta(seconds=300),
        retries=1,
    )

    checks__fail_revenue_derived__ad_revenue_daily__v1 = bigquery_dq_check(
        task_id="checks__fail_revenue_derived__ad_revenue_daily__v1",
        source_table="ad_revenue_daily_v1",
        dataset_id="revenue_derived",
        project_id="moz-fx-data-shared-prod",
        is_dq_check_fail=True,
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        depends_on_past=False,
        parameters=["submission_date:DATE:{{ds}}"],
        retry_delay=datetime.timedelta(seconds=300),
        retries=1,
    )

    checks__fail_telemetry_derived__active_users_aggregates__v1 = bigquery_dq_check(
        task_id="checks__fail_telemetry_derived__active_users_aggregates__v1",
        source_table="active_users_aggregates_v1",
        dataset_id="telemetry_derived",
        project_id="moz-fx-data-shared-prod",
        is_dq_check_fail=True,
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        depends_on_past=False,
        parameters=["submission_date:DATE:{{ds}}"],
        retry_delay=datetime.timedelta(seconds=300),
        retries=1,
    )

    checks__fail_telemetry_derived__clients_daily__v6 = bigquery_dq_check(
        task_id="checks__fail_telemetry_derived__clients_daily__v6",
        source_table="clients_daily_v6",
        dataset_id="telemetry_derived",
        project_id="moz-fx-data-shared-prod",
        is_dq_check_fail=True,
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        depends_on_past=False,
        parameters=["submission_date:DATE:{{ds}}"],
        retry_delay=datetime.timedelta(seconds=300),
        retries=1,
    )

    checks__warn_firefox_desktop_derived__baseline_clients_daily__v1 = bigquery_dq_check(
        task_id="checks__warn_firefox_desktop_derived__baseline_clients_daily__v1",
        source_table="baseline_clients_daily_v1",
        dataset_id="firefox_desktop_derived",
        project_id="moz-fx-data-shared-prod",
        is_dq_check_fail=False,
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        depends_on_past=False,
        parameters=["submission_date:DATE:{{ds}}"],
        retry_delay=datetime.timedelta(seconds=300),
        retries=1,
    )

    firefox_desktop_derived__baseline_clients_daily__v1 = bigquery_etl_query(
        task_id="firefox_desktop_derived__baseline_clients_daily__v1",
        destination_table="baseline_clients_daily_v1",
        dataset_id="firefox_desktop_derived",
        project_id="moz-fx-data-shared-prod",
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        date_partition_parameter="submission_date",
        depends_on_past=False,
    )

    firefox_desktop_derived__metrics_clients_daily__v1 = bigquery_etl_query(
        task_id="firefox_desktop_derived__metrics_clients_daily__v1",
        destination_table="metrics_clients_daily_v1",
        dataset_id="firefox_desktop_derived",
        project_id="moz-fx-data-shared-prod",
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        date_partition_parameter="submission_date",
        depends_on_past=False,
    )

    revenue_derived__ad_revenue_daily__v1 = bigquery_etl_query(
        task_id="revenue_derived__ad_revenue_daily__v1",
        destination_table="ad_revenue_daily_v1",
        dataset_id="revenue_derived",
        project_id="moz-fx-data-shared-prod",
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        date_partition_parameter="submission_date",
        depends_on_past=False,
    )

    telemetry_derived__active_users_aggregates__v1 = bigquery_etl_query(
        task_id="telemetry_derived__active_users_aggregates__v1",
        destination_table="active_users_aggregates_v1",
        dataset_id="telemetry_derived",
        project_id="moz-fx-data-shared-prod",
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        date_partition_parameter="submission_date",
        depends_on_past=False,
    )

    telemetry_derived__clients_daily__v6 = bigquery_etl_query(
        task_id="telemetry_derived__clients_daily__v6",
        destination_table="clients_daily_v6",
        dataset_id="telemetry_derived",
        project_id="moz-fx-data-shared-prod",
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        date_partition_parameter="submission_date",
        depends_on_past=False,
    )

    telemetry_derived__country_activity__v1 = bigquery_etl_query(
        task_id="telemetry_derived__country_activity__v1",
        destination_table="country_activity_v1",
        dataset_id="telemetry_derived",
        project_id="moz-fx-data-shared-prod",
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
        date_partition_parameter=None,
        depends_on_past=False,
        task_concurrency=1,
    )

    bigeye__telemetry_derived__active_users_aggregates__v1.set_upstream(telemetry_derived__active_users_aggregates__v1)

    checks__fail_firefox_desktop_derived__baseline_clients_daily__v1.set_upstream(
        firefox_desktop_derived__baseline_clients_daily__v1
    )

    checks__fail_revenue_derived__ad_revenue_daily__v1.set_upstream(revenue_derived__ad_revenue_daily__v1)

    checks__fail_telemetry_derived__active_users_aggregates__v1.set_upstream(
        telemetry_derived__active_users_aggregates__v1
    )

    checks__fail_telemetry_derived__clients_daily__v6.set_upstream(telemetry_derived__clients_daily__v6)

    checks__warn_firefox_desktop_derived__baseline_clients_daily__v1.set_upstream(
        firefox_desktop_derived__baseline_clients_daily__v1
    )

    firefox_desktop_derived__baseline_clients_daily__v1.set_upstream(wait_for_copy_deduplicate_all)

    firefox_desktop_derived__metrics_clients_daily__v1.set_upstream(wait_for_copy_deduplicate_all)

    revenue_derived__ad_revenue_daily__v1.set_upstream(fivetran_sample_netsuite_sync_start)

    revenue_derived__ad_revenue_daily__v1.set_upstream(firefox_desktop_derived__metrics_clients_daily__v1)

    telemetry_derived__active_users_aggregates__v1.set_upstream(
        checks__fail_firefox_desktop_derived__baseline_clients_daily__v1
    )

    telemetry_derived__active_users_aggregates__v1.set_upstream(checks__fail_telemetry_derived__clients_daily__v6)

    telemetry_derived__clients_daily__v6.set_upstream(wait_for_copy_deduplicate_main_ping)

    telemetry_derived__country_activity__v1.set_upstream(checks__fail_telemetry_derived__active_users_aggregates__v1)
