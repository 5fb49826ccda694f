"""Predict what each search client will bring in the year to come, from what it has searched.

## Where the data comes from and goes

`moz-fx-data-shared-prod.search.search_rfm` of the day goes through a model of
[lifetimes](https://github.com/CamDavidsonPilon/lifetimes), in Spark; its predictions for 364 days go to
`analysis.ltv_daily` and what it was made of to `analysis.ltv_daily_model_perf`. `ltv_revenue_join` brings them
together with revenue, in `revenue_derived.client_ltv_v1`, which is
[documented](https://docs.telemetry.mozilla.org/datasets/search/client_ltv/reference.html).

## When it fails

Tell the owning team on the next working day. No task starts while that of the day before has not succeeded: a failed
day holds up all that come after it, which follow by themselves once it is done. The log of `run_dataproc_pyspark`
shows the end of Spark's log. A cluster that can't be made for want of machines (it has 31) can be had an hour later.

## How to re-run it

Clear `run_dataproc_pyspark` of the group: its cluster is made and deleted with it, and `ltv_revenue_join` follows.
Each day has a partition of its own, which is replaced. The oldest day first.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.dataproc import PySparkJob, pyspark_job
from operators.external_task import wait_for
from utils.config import DATAPROC, WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.gcp import bigquery_etl_query
from utils.tags import Tag

PREDICTION = PySparkJob(
    driver=f"gs://{DATAPROC.artifact_bucket}/jobs/ltv_daily.py",
    arguments=[
        *("--submission-date", "{{ ds }}"),
        *("--prediction-days", "364"),
        *("--project-id", WAREHOUSE_PROJECT),
        *("--source-qualified-table-id", f"{WAREHOUSE_PROJECT}.search.search_rfm"),
        *("--dataset-id", "analysis"),
        *("--intermediate-table-id", "ltv_daily_temporary_search_rfm_day"),
        *("--model-input-table-id", "ltv_daily_model_perf"),
        *("--model-output-table-id", "ltv_daily"),
        *("--temporary-gcs-bucket", DATAPROC.staging_bucket),
    ],
    image_version="1.4-debian10",
    workers=30,
    worker_machine="n2-standard-16",
    components=["ANACONDA"],
    packages=["lifetimes==0.11.1"],
    properties={"spark:spark.jars": "gs://spark-lib/bigquery/spark-bigquery-latest.jar"},
    idle_delete=timedelta(minutes=10),
    retry_delay=timedelta(minutes=5),
)

with DAG(
    "ltv_daily",
    doc_md=__doc__,
    schedule="0 4 * * *",
    start_date=datetime(2020, 3, 15),
    default_args=default_args(owner="data-science", retries=3, depends_on_past=True),
    tags=[Tag.ImpactTier.tier_2],
) as dag:
    prediction = pyspark_job("ltv_daily", PREDICTION, cluster_name="ltv-daily-{{ ds_nodash }}")
    ltv_revenue_join = bigquery_etl_query(
        task_id="ltv_revenue_join",
        destination_table="client_ltv_v1",
        dataset_id="revenue_derived",
        arguments=[
            "--clustering_fields=engine,country",
            *("--schema_update_option=ALLOW_FIELD_ADDITION", "--schema_update_option=ALLOW_FIELD_RELAXATION"),
            *("--time_partitioning_type=DAY", "--time_partitioning_field=submission_date"),
        ],
    )

    (
        wait_for(
            "bqetl_search",
            "search_derived__search_clients_last_seen__v1",
            delta=timedelta(hours=1),
            task_id="wait_for_search_clients_last_seen",
        )
        >> prediction
        >> ltv_revenue_join
    )
    # A group's last task is the one before its teardown; production joins when the cluster is gone.
    dag.get_task("ltv_daily.delete_dataproc_cluster") >> ltv_revenue_join
