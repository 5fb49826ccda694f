"""Google's own operators against the stand-ins, one task an operator and mode; ``test_providers.py`` says what each must do.

Tasks that end in ``_deferred`` must have been handed to the triggerer: the sensors look for what is made only once all of
them wait there (``all_wait``), the jobs report RUNNING for seconds.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from airflow.providers.google.cloud.operators.bigquery import (
    BigQueryCheckOperator,
    BigQueryColumnCheckOperator,
    BigQueryCreateEmptyDatasetOperator,
    BigQueryDeleteTableOperator,
    BigQueryGetDataOperator,
    BigQueryInsertJobOperator,
    BigQueryIntervalCheckOperator,
    BigQueryTableCheckOperator,
    BigQueryValueCheckOperator,
)
from airflow.providers.google.cloud.operators.gcs import GCSCreateBucketOperator, GCSListObjectsOperator
from airflow.providers.google.cloud.sensors.bigquery import (
    BigQueryTableExistenceSensor,
    BigQueryTablePartitionExistenceSensor,
)
from airflow.providers.google.cloud.sensors.gcs import GCSObjectExistenceSensor
from airflow.providers.google.cloud.transfers.bigquery_to_bigquery import BigQueryToBigQueryOperator
from airflow.providers.google.cloud.transfers.bigquery_to_gcs import BigQueryToGCSOperator
from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator
from airflow.providers.google.cloud.transfers.local_to_gcs import LocalFilesystemToGCSOperator
from airflow.sdk import DAG, task

from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.tags import Tag

DATASET = "provider_test"
BUCKET = "provider-test"
ROWS = f"{WAREHOUSE_PROJECT}.{DATASET}.rows"
TABLE: dict[str, str] = {"project_id": WAREHOUSE_PROJECT, "dataset_id": DATASET}
# Job labels that keep a job RUNNING for so long: an operator that looks once before it defers finds it so.
SLOW = {"wtmo-min-running-ms": "4000"}
# These operators pass no labels on, so the query itself takes seconds.
SLOW_COUNT = (
    "SELECT COUNT(DISTINCT MOD(a * b, 9973)) "
    "FROM UNNEST(GENERATE_ARRAY(1, 400)) AS a, UNNEST(GENERATE_ARRAY(1, 200)) AS b"
)


def query(sql: str, destination: str | None = None, **more: Any) -> dict[str, Any]:
    """The configuration of a query job, with a destination in the test's dataset."""
    into = {"projectId": WAREHOUSE_PROJECT, "datasetId": DATASET, "tableId": destination}
    written = {"destinationTable": into, "writeDisposition": "WRITE_TRUNCATE"} if destination else {}
    return {"query": {"query": sql, "useLegacySql": False, **written, **more}}


with DAG(
    "providers",
    schedule="0 0 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    default_args=default_args(owner="data-engineering", retries=0),
    tags=[Tag.ImpactTier.tier_3],
):
    places = [
        BigQueryCreateEmptyDatasetOperator(task_id="create_dataset", **TABLE),
        GCSCreateBucketOperator(task_id="create_bucket", bucket_name=BUCKET, project_id=WAREHOUSE_PROJECT),
    ]
    waiting = [
        BigQueryTableExistenceSensor(
            task_id="table_deferred", **TABLE, table_id="rows", deferrable=True, poke_interval=1, timeout=240
        ),
        BigQueryTablePartitionExistenceSensor(
            task_id="partition_deferred",
            **TABLE,
            table_id="rows",
            partition_id="{{ ds_nodash }}",
            deferrable=True,
            poke_interval=1,
            timeout=240,
        ),
        GCSObjectExistenceSensor(
            task_id="object_deferred",
            bucket=BUCKET,
            object="rows.csv",
            deferrable=True,
            poke_interval=1,
            timeout=240,
        ),
    ]

    @task.sensor(poke_interval=1, timeout=240)
    def all_wait(names: list[str], dag_run: Any = None, ti: Any = None) -> bool:
        """Whether every one of the sensors waits in the triggerer."""
        found = ti.get_task_states(dag_id=dag_run.dag_id, task_ids=names, run_ids=[dag_run.run_id])
        states = dict(found.get(dag_run.run_id, {}))
        return [states.get(name) for name in names] == ["deferred"] * len(names)

    insert_job = BigQueryInsertJobOperator(
        task_id="insert_job",
        configuration=query(
            "SELECT DATE_SUB(@day, INTERVAL back DAY) AS submission_date, n FROM UNNEST([0, 1]) AS back, "
            "UNNEST(GENERATE_ARRAY(1, @rows)) AS n",
            "rows",
            timePartitioning={"type": "DAY", "field": "submission_date"},
            queryParameters=[
                {"name": "day", "parameterType": {"type": "DATE"}, "parameterValue": {"value": "{{ ds }}"}},
                {"name": "rows", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "5"}},
            ],
        ),
    )
    local_to_gcs = LocalFilesystemToGCSOperator(
        task_id="local_to_gcs", src=str(Path(__file__).with_name("rows.csv")), dst="rows.csv", bucket=BUCKET
    )
    places >> all_wait([sensor.task_id for sensor in waiting]) >> [insert_job, local_to_gcs]
    for sensor in waiting:
        places >> sensor

    insert_job >> [
        BigQueryInsertJobOperator(
            task_id="insert_job_deferred",
            configuration=query(f"SELECT SUM(n) AS total FROM `{ROWS}`", "totals") | {"labels": SLOW},
            deferrable=True,
            poll_interval=1,
        ),
        # With retries left: the retry policy ends these two at once, and leaves check_fails its second try.
        BigQueryInsertJobOperator(task_id="bad_sql", configuration=query("SELECT 1 FRM x"), retries=1),
        BigQueryInsertJobOperator(
            task_id="bad_sql_deferred",
            configuration=query("SELECT 1 FRM x") | {"labels": SLOW},
            deferrable=True,
            poll_interval=1,
            retries=1,
        ),
        BigQueryInsertJobOperator(
            task_id="missing_table_deferred",
            configuration=query(f"SELECT * FROM `{WAREHOUSE_PROJECT}.{DATASET}.nothing`") | {"labels": SLOW},
            deferrable=True,
            poll_interval=1,
        ),
        BigQueryCheckOperator(task_id="check", sql=f"SELECT COUNT(*) FROM `{ROWS}`", use_legacy_sql=False),
        BigQueryCheckOperator(
            task_id="check_deferred", sql=SLOW_COUNT, use_legacy_sql=False, deferrable=True, poll_interval=1
        ),
        BigQueryCheckOperator(
            task_id="check_fails", sql=f"SELECT COUNT(*) FROM `{ROWS}` WHERE n > 5", use_legacy_sql=False, retries=1
        ),
        BigQueryValueCheckOperator(
            task_id="value_check", sql=f"SELECT COUNT(*) FROM `{ROWS}`", pass_value=10, use_legacy_sql=False
        ),
        BigQueryValueCheckOperator(
            task_id="value_check_deferred",
            sql=SLOW_COUNT,
            pass_value=9973,
            tolerance=0.99,
            use_legacy_sql=False,
            deferrable=True,
            poll_interval=1,
        ),
        BigQueryColumnCheckOperator(
            task_id="column_check",
            table=ROWS,
            column_mapping={"n": {"null_check": {"equal_to": 0}, "max": {"equal_to": 5}}},
            use_legacy_sql=False,
        ),
        BigQueryTableCheckOperator(
            task_id="table_check",
            table=ROWS,
            checks={"row_count": {"check_statement": "COUNT(*) = 10"}},
            use_legacy_sql=False,
        ),
        *(
            BigQueryIntervalCheckOperator(
                task_id=f"interval_check{'_deferred' if deferrable else ''}",
                table=ROWS,
                date_filter_column="submission_date",
                days_back=-1,
                metrics_thresholds={"COUNT(*)": 1.5},
                use_legacy_sql=False,
                deferrable=deferrable,
                poll_interval=1,
            )
            for deferrable in (False, True)
        ),
        *(
            BigQueryGetDataOperator(
                task_id=f"get_data{'_deferred' if deferrable else ''}",
                dataset_id=DATASET,
                table_id="rows",
                table_project_id=WAREHOUSE_PROJECT,
                selected_fields="n",
                as_dict=True,
                use_legacy_sql=False,
                deferrable=deferrable,
                poll_interval=1,
            )
            for deferrable in (False, True)
        ),
        BigQueryTableExistenceSensor(task_id="table", **TABLE, table_id="rows", poke_interval=1, timeout=60),
        BigQueryTablePartitionExistenceSensor(
            task_id="partition", **TABLE, table_id="rows", partition_id="{{ ds_nodash }}", poke_interval=1, timeout=60
        ),
        *(
            BigQueryToGCSOperator(
                task_id=f"bigquery_to_gcs{'_deferred' if deferrable else ''}",
                source_project_dataset_table=ROWS,
                destination_cloud_storage_uris=[f"gs://{BUCKET}/out/{'deferred' if deferrable else 'sync'}-*.ndjson"],
                export_format="NEWLINE_DELIMITED_JSON",
                deferrable=deferrable,
            )
            for deferrable in (False, True)
        ),
    ]
    copy = BigQueryToBigQueryOperator(
        task_id="bigquery_to_bigquery",
        source_project_dataset_tables=ROWS,
        destination_project_dataset_table=f"{WAREHOUSE_PROJECT}.{DATASET}.copied",
        write_disposition="WRITE_TRUNCATE",
    )
    (
        insert_job
        >> copy
        >> BigQueryDeleteTableOperator(
            task_id="delete_table", deletion_dataset_table=f"{WAREHOUSE_PROJECT}.{DATASET}.copied"
        )
    )
    local_to_gcs >> [
        GCSListObjectsOperator(task_id="list_objects", bucket=BUCKET, prefix="rows"),
        GCSObjectExistenceSensor(task_id="object", bucket=BUCKET, object="rows.csv", poke_interval=1, timeout=60),
        *(
            GCSToBigQueryOperator(
                task_id=f"gcs_to_bigquery{'_deferred' if deferrable else ''}",
                bucket=BUCKET,
                source_objects=["rows.csv"],
                destination_project_dataset_table=(
                    f"{WAREHOUSE_PROJECT}.{DATASET}.loaded{'_deferred' if deferrable else ''}"
                ),
                write_disposition="WRITE_TRUNCATE",
                skip_leading_rows=1,
                schema_fields=[{"name": "id", "type": "INTEGER"}, {"name": "name", "type": "STRING"}],
                deferrable=deferrable,
            )
            for deferrable in (False, True)
        ),
    ]
