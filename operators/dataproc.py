"""Run a PySpark program on a Dataproc cluster of its own: make the cluster, run the program, delete the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.google.cloud.operators.dataproc import (
    DataprocCreateClusterOperator,
    DataprocDeleteClusterOperator,
    DataprocSubmitJobOperator,
)
from airflow.sdk import TaskGroup

from utils.config import CONNECTIONS, DATAPROC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INSTALL = "gs://dataproc-initialization-actions/python/pip-install.sh"
_DISK_GB = 1024
_LONGEST_LIFE = timedelta(hours=8)


@dataclass(frozen=True)
class PySparkJob:
    """A program and the cluster that it needs.

    :param driver: URI of the program.
    :param arguments: its arguments. (templated)
    :param image_version: Dataproc's image.
    :param workers: how many.
    :param worker_machine: machine type of the workers.
    :param master_machine: machine type of the master.
    :param components: Dataproc's optional components, ``ANACONDA``.
    :param packages: Python packages to install, ``name==version``.
    :param properties: properties of the cluster, ``spark:spark.driver.memory``, besides the platform's.
    :param idle_delete: the cluster deletes itself after so long without a job.
    :param retry_delay: before the program is tried again. Less than ``idle_delete``: later there is no cluster for it.
        Default: the DAG's.
    """

    driver: str
    arguments: Sequence[str]
    image_version: str
    workers: int
    worker_machine: str
    master_machine: str = "n1-standard-8"
    components: Sequence[str] = ()
    packages: Sequence[str] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    idle_delete: timedelta = timedelta(hours=4)
    retry_delay: timedelta | None = None


def pyspark_job(group_id: str, job: PySparkJob, *, cluster_name: str) -> TaskGroup:
    """A group of three tasks: ``create_dataproc_cluster``, ``run_dataproc_pyspark``, ``delete_dataproc_cluster``.

    The cluster is deleted whether the program succeeded or not, and the run fails when the program failed. The first and the
    last are set-up and teardown: who clears the middle one clears all three. None of them holds a worker slot while it waits.
    A cluster that nobody deletes deletes itself, 8 hours after its start at the latest.

    :param group_id: id of the group.
    :param cluster_name: (templated)
    """
    where: dict[str, Any] = {
        "project_id": DATAPROC.project_id,
        "region": DATAPROC.region,
        "gcp_conn_id": CONNECTIONS.dataproc,
    }
    sooner: dict[str, Any] = {"retry_delay": job.retry_delay} if job.retry_delay else {}
    with TaskGroup(group_id) as group:
        create_dataproc_cluster = DataprocCreateClusterOperator(
            task_id="create_dataproc_cluster",
            cluster_name=cluster_name,
            cluster_config=_cluster(job),
            labels={"airflow-dag": "{{ dag.dag_id }}"},
            deferrable=True,
            **where,
        )
        run_dataproc_pyspark = DataprocSubmitJobOperator(
            task_id="run_dataproc_pyspark",
            job={
                "placement": {"cluster_name": cluster_name},
                "pyspark_job": {"main_python_file_uri": job.driver, "args": list(job.arguments)},
            },
            deferrable=True,
            **where,
            **sooner,
        )
        delete_dataproc_cluster = DataprocDeleteClusterOperator(
            task_id="delete_dataproc_cluster", cluster_name=cluster_name, deferrable=True, **where
        )
        delete_dataproc_cluster.as_teardown(setups=create_dataproc_cluster)
        create_dataproc_cluster >> run_dataproc_pyspark >> delete_dataproc_cluster
    return group


def _cluster(job: PySparkJob) -> dict[str, Any]:
    """The cluster, in the form of Dataproc's API (``ClusterConfig``)."""
    config: dict[str, Any] = {
        "config_bucket": DATAPROC.staging_bucket,
        "gce_cluster_config": {
            "service_account": DATAPROC.service_account,
            "service_account_scopes": ["https://www.googleapis.com/auth/cloud-platform"],
        },
        "master_config": _machines(1, job.master_machine),
        "worker_config": _machines(job.workers, job.worker_machine),
        "software_config": {
            "image_version": job.image_version,
            "properties": {"core:fs.gs.implicit.dir.repair.enable": "false", **job.properties},
        },
        "lifecycle_config": {
            "idle_delete_ttl": {"seconds": int(job.idle_delete.total_seconds())},
            "auto_delete_ttl": {"seconds": int(_LONGEST_LIFE.total_seconds())},
        },
    }
    if job.components:
        config["software_config"]["optional_components"] = list(job.components)
    if job.packages:
        config["gce_cluster_config"]["metadata"] = {"PIP_PACKAGES": " ".join(job.packages)}
        config["initialization_actions"] = [{"executable_file": _INSTALL, "execution_timeout": {"seconds": 600}}]
    return config


def _machines(number: int, machine_type: str) -> dict[str, Any]:
    return {
        "num_instances": number,
        "machine_type_uri": machine_type,
        "disk_config": {"boot_disk_type": "pd-standard", "boot_disk_size_gb": _DISK_GB},
    }
