from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from google.cloud.dataproc_v1 import Cluster, Job

from operators.dataproc import PySparkJob, pyspark_job

JOB = PySparkJob(
    driver="gs://bucket/job.py",
    arguments=["--date", "{{ ds }}"],
    image_version="1.5-debian10",
    workers=6,
    worker_machine="n2-highmem-4",
    master_machine="n2-highmem-8",
    components=["ANACONDA"],
    packages=["boto3==1.16.20", "click==7.1.2"],
    properties={"spark:spark.driver.memory": "40g"},
)


@pytest.fixture
def tasks() -> dict[str, Any]:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        pyspark_job("g", JOB, cluster_name="some-cluster-{{ ds }}")
    return {task.task_id: task for task in dag.tasks}


def test_the_cluster_is_deleted_whether_the_job_succeeds_or_not(tasks: dict[str, Any]) -> None:
    create, run, delete = (tasks[f"g.{name}"] for name in ("create_dataproc_cluster", "run_dataproc_pyspark", "delete_dataproc_cluster"))  # fmt: skip
    assert create.is_setup
    assert delete.is_teardown
    assert run.upstream_task_ids == {"g.create_dataproc_cluster"}
    assert delete.upstream_task_ids == {"g.create_dataproc_cluster", "g.run_dataproc_pyspark"}
    assert delete.trigger_rule == "all_done_setup_success"
    assert not delete.on_failure_fail_dagrun, "a run counts as the job counts"


def test_nothing_holds_a_worker_slot(tasks: dict[str, Any]) -> None:
    assert len(tasks) == 3
    assert all(task.deferrable for task in tasks.values())


def test_all_three_speak_of_the_same_cluster(tasks: dict[str, Any]) -> None:
    for task in tasks.values():
        assert (task.project_id, task.region) == ("airflow-dataproc", "us-west1")
        assert task.gcp_conn_id == "google_cloud_airflow_dataproc"
        name = task.job["placement"]["cluster_name"] if hasattr(task, "job") else task.cluster_name
        assert name == "some-cluster-{{ ds }}"


def test_the_cluster_is_one_that_dataproc_takes(tasks: dict[str, Any]) -> None:
    given = tasks["g.create_dataproc_cluster"].cluster_config
    cluster = Cluster({"config": given}).config  # refuses a field that the API doesn't have
    assert (cluster.master_config.num_instances, cluster.worker_config.num_instances) == (1, 6)
    assert cluster.master_config.machine_type_uri == "n2-highmem-8"
    assert cluster.worker_config.machine_type_uri == "n2-highmem-4"
    for machines in (cluster.master_config, cluster.worker_config):
        assert (machines.disk_config.boot_disk_type, machines.disk_config.boot_disk_size_gb) == ("pd-standard", 1024)
    assert cluster.config_bucket == "moz-fx-data-prod-dataproc-scratch"
    assert cluster.gce_cluster_config.service_account == "dataproc-runner-prod@airflow-dataproc.iam.gserviceaccount.com"
    assert cluster.software_config.image_version == "1.5-debian10"
    assert dict(cluster.software_config.properties) == {
        "core:fs.gs.implicit.dir.repair.enable": "false",
        "spark:spark.driver.memory": "40g",
    }
    assert [component.name for component in cluster.software_config.optional_components] == ["ANACONDA"]
    assert cluster.lifecycle_config.idle_delete_ttl == timedelta(hours=4)
    assert cluster.lifecycle_config.auto_delete_ttl == timedelta(hours=8)
    assert dict(cluster.gce_cluster_config.metadata) == {"PIP_PACKAGES": "boto3==1.16.20 click==7.1.2"}
    assert cluster.initialization_actions[0].executable_file.endswith("/pip-install.sh")


def test_the_job_is_one_that_dataproc_takes(tasks: dict[str, Any]) -> None:
    job = Job(tasks["g.run_dataproc_pyspark"].job)
    assert job.pyspark_job.main_python_file_uri == "gs://bucket/job.py"
    assert list(job.pyspark_job.args) == ["--date", "{{ ds }}"]


def test_the_program_may_be_tried_again_sooner_than_the_rest() -> None:
    half_an_hour, soon = timedelta(minutes=30), timedelta(minutes=5)
    with DAG("d", schedule=None, default_args={"retries": 3, "retry_delay": half_an_hour}) as dag:
        pyspark_job("g", replace(JOB, retry_delay=soon), cluster_name="c")
        pyspark_job("h", JOB, cluster_name="c")
    delays = {task.task_id: task.retry_delay for task in dag.tasks}
    assert len(delays) == 6
    assert {task_id for task_id, delay in delays.items() if delay == soon} == {"g.run_dataproc_pyspark"}
    assert set(delays.values()) == {soon, half_an_hour}


def test_without_packages_nothing_is_installed() -> None:
    bare = PySparkJob("gs://b/j.py", [], "1.4-debian10", 30, "n2-standard-16", idle_delete=timedelta(minutes=10))
    with DAG("d", schedule=None) as dag:
        pyspark_job("g", bare, cluster_name="c")
    task: Any = dag.get_task("g.create_dataproc_cluster")
    assert "initialization_actions" not in task.cluster_config
    assert "optional_components" not in task.cluster_config["software_config"]
    assert task.cluster_config["lifecycle_config"]["idle_delete_ttl"] == {"seconds": 600}


def test_it_is_the_same_at_each_parse(tasks: dict[str, Any]) -> None:
    dag = tasks["g.run_dataproc_pyspark"].dag
    once = DagSerialization.to_dict(dag)
    assert DagSerialization.to_dict(dag) == once
    assert DagSerialization.from_dict(once).get_task("g.delete_dataproc_cluster").is_teardown
