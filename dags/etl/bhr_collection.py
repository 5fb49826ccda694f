"""Aggregate the stacks of Firefox's hangs of a day, from the pings of the Background Hang Reporter.

## Where the data comes from and goes

The pings `bhr` of the stable tables, a sample of them, go as JSON files to the bucket of
[Firefox's hang statistics](https://fqueze.github.io/hang-stats/): those of the main process under `hangs_main`, those of the
content processes under `hangs_child`. The program is
[`mozetl/bhr_collection`](https://github.com/mozilla/python_mozetl/tree/main/mozetl/bhr_collection).

## When it fails

`run_dataproc_pyspark` shows the end of Spark's log and links to the job. Out of memory: give the job more workers. A cluster
that can't be made for want of machines can be had an hour later: clear the task. A cluster that stays behind deletes itself.

## How to re-run it

Clear `run_dataproc_pyspark` of the group: its cluster is made and deleted with it. A day's files are written anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.dataproc import PySparkJob, pyspark_job
from operators.external_task import wait_for
from utils.config import DATAPROC
from utils.defaults import default_args
from utils.tags import Tag


def hangs(thread_filter: str, tag: str, *, sample: str, workers: int) -> PySparkJob:
    """The aggregation of one kind of process."""
    return PySparkJob(
        driver="https://raw.githubusercontent.com/mozilla/python_mozetl/main/mozetl/bhr_collection/bhr_collection.py",
        arguments=[
            *("--date", "{{ ds }}"),
            *("--sample-size", sample),
            "--use_gcs",
            *("--thread-filter", thread_filter),
            *("--output-tag", tag),
            *("--billing-project", DATAPROC.project_id),
        ],
        image_version="1.5-debian10",
        workers=workers,
        worker_machine="n2-highmem-4",
        master_machine="n2-highmem-8",
        packages=["boto3==1.16.20", "click==7.1.2", "google-cloud-storage==2.7.0"],
        properties={
            "spark:spark.jars": "gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar",
            "spark:spark.driver.memory": "40g",
            "spark:spark.executor.memory": "21g",
        },
    )


with DAG(
    "bhr_collection",
    doc_md=__doc__,
    schedule="0 5 * * *",
    start_date=datetime(2020, 11, 26),
    default_args=default_args(owner="firefox-quality", retries=1),
    tags=[Tag.ImpactTier.tier_1],
):
    pings = wait_for("copy_deduplicate", "copy_deduplicate_all", delta=timedelta(hours=4))
    pings >> pyspark_job(
        "bhr_collection",
        hangs("Gecko", "main", sample="0.5", workers=6),
        cluster_name="bhr-collection-main-{{ ds }}",
    )
    pings >> pyspark_job(
        "bhr_collection_child",
        hangs("Gecko_Child", "child", sample="0.06", workers=12),
        cluster_name="bhr-collection-child-{{ ds }}",
    )
