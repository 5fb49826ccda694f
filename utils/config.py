"""Deployment facts, as frozen dataclasses. The only module that reads ``os.environ``.

Every fact has production's value as its default; an environment variable of the name given beside it replaces it.
Source of the values: the deployment facts of production.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """A copy of this process's environment, for those who start other processes."""
    return dict(os.environ)


def _env(name: str, default: str) -> str:
    return os.environ.get(name) or default


@dataclass(frozen=True)
class GkeCluster:
    """The cluster that runs pod tasks."""

    project_id: str = "moz-fx-data-airflow-gke-prod"
    location: str = "us-west1"
    cluster_name: str = "workloads-prod-v1"
    namespace: str = "default"


@dataclass(frozen=True)
class Connections:
    """Airflow connection ids. What each is for: :mod:`utils.connections`."""

    gke: str = "google_cloud_airflow_gke"
    shared_prod: str = "google_cloud_shared_prod"
    dataproc: str = "google_cloud_airflow_dataproc"
    fivetran: str = "fivetran_default"
    slack: str = "slack_airflow_bot"
    smtp: str = "smtp_default"
    netlify: str = "http_netlify_build_webhook"
    dbt_cloud: str = "dbt_cloud"
    adm_sftp: str = "adm_sftp"
    tripactions_sftp: str = "tripactions_sftp"
    jira: str = "eam_jira_connection_id"
    merino_elasticsearch_prod: str = "merino_elasticsearch_prod"
    merino_elasticsearch_stage: str = "merino_elasticsearch_stage"
    airflow_api: str = "airflow_api"


@dataclass(frozen=True)
class Dataproc:
    """Where Spark programs run."""

    project_id: str = "airflow-dataproc"
    region: str = "us-west1"
    service_account: str = "dataproc-runner-prod@airflow-dataproc.iam.gserviceaccount.com"
    staging_bucket: str = "moz-fx-data-prod-dataproc-scratch"
    artifact_bucket: str = "moz-fx-data-prod-airflow-dataproc-artifacts"


@dataclass(frozen=True)
class LocalCloud:
    """Where the stand-ins listen. All empty in production: then nothing is redirected.

    :param bigquery_url: ``BIGQUERY_EMULATOR_HOST``, with scheme: ``http://127.0.0.1:9050``.
    :param storage_url: ``STORAGE_EMULATOR_HOST``, with scheme.
    :param fivetran_url: ``FIVETRAN_API_URL``, with scheme.
    :param gke_endpoint: ``WTMO_GKE_ENDPOINT``, ``host:port`` without scheme, as GKE's cluster description gives it.
    :param gke_ca_file: ``WTMO_GKE_CA_FILE``, the PEM file of the certificate that signs it.
    :param dataproc_endpoint: ``WTMO_DATAPROC_ENDPOINT``, ``host:port``: gRPC without TLS.
    """

    bigquery_url: str = field(default_factory=lambda: _env("BIGQUERY_EMULATOR_HOST", "").rstrip("/"))
    storage_url: str = field(default_factory=lambda: _env("STORAGE_EMULATOR_HOST", "").rstrip("/"))
    fivetran_url: str = field(default_factory=lambda: _env("FIVETRAN_API_URL", "").rstrip("/"))
    gke_endpoint: str = field(default_factory=lambda: _env("WTMO_GKE_ENDPOINT", ""))
    gke_ca_file: str = field(default_factory=lambda: _env("WTMO_GKE_CA_FILE", ""))
    dataproc_endpoint: str = field(default_factory=lambda: _env("WTMO_DATAPROC_ENDPOINT", ""))

    @property
    def enabled(self) -> bool:
        """Whether this process talks to stand-ins."""
        return any((
            self.bigquery_url,
            self.storage_url,
            self.fivetran_url,
            self.gke_endpoint,
            self.dataproc_endpoint,
        ))


@dataclass(frozen=True)
class QueryTasks:
    """How query and check tasks of bigquery-etl run, where the task itself does not say.

    :param engine: ``WTMO_QUERY_ENGINE``: ``pod`` (a pod of the bigquery-etl image) or ``native`` (BigQuery jobs, submitted
        by Airflow).
    :param checkout: ``BQETL_CHECKOUT``, the bigquery-etl checkout that native tasks read when they run: its folder, or
        ``bundle:<name>`` for a DAG bundle (:mod:`utils.bqetl.source`).
        Default: the sample's where a stand-in takes BigQuery's place, none in production.
    :param public_project: ``WTMO_PUBLIC_PROJECT``, the project of tables that the public may read; the warehouse has views of them.
        Default: where a stand-in takes BigQuery's place, none: they are tables of the warehouse itself.
    """

    engine: str = field(default_factory=lambda: _env("WTMO_QUERY_ENGINE", "pod"))
    checkout: str = field(
        default_factory=lambda: _env(
            "BQETL_CHECKOUT",
            str(ROOT / "resources" / "sample" / "bigquery-etl") if LocalCloud().bigquery_url else "",
        )
    )
    public_project: str = field(
        default_factory=lambda: _env("WTMO_PUBLIC_PROJECT", "" if LocalCloud().bigquery_url else "mozilla-public-data")
    )


@dataclass(frozen=True)
class Imports:
    """Where the DAGs come from that another repository generates (docs/imports.md).

    :param url: ``WTMO_IMPORT_URL``, a git repository. Default: the public bigquery-etl; with a connection, the connection's.
    :param ref: ``WTMO_IMPORT_REF``, branch, tag or commit.
    :param git_conn_id: ``WTMO_IMPORT_CONN_ID``, an Airflow connection of type ``git`` for a private repository. Default: none.
    """

    url: str = field(
        default_factory=lambda: _env(
            "WTMO_IMPORT_URL", "" if _env("WTMO_IMPORT_CONN_ID", "") else "https://github.com/mozilla/bigquery-etl"
        )
    )
    ref: str = field(default_factory=lambda: _env("WTMO_IMPORT_REF", "generated-dags"))
    git_conn_id: str = field(default_factory=lambda: _env("WTMO_IMPORT_CONN_ID", ""))


GKE = GkeCluster()
CONNECTIONS = Connections()
DATAPROC = Dataproc()
WAREHOUSE_PROJECT = "moz-fx-data-shared-prod"
BUGZILLA_URL = _env("BUGZILLA_URL", "https://bugzilla.mozilla.org")
ALERT_ADDRESS = "telemetry-alerts@mozilla.com"
ALERT_CHANNEL = "#dataops-alerts"
SLACK_USER = "airflow-bot"
