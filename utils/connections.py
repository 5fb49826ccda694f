"""Airflow connections, declared once with what they are for.

DAGs name them as ``CONNECTIONS.slack`` (:mod:`utils.config`), and what a pod must know of one as
``connection_value(CONNECTIONS.adm_sftp, "host")``. One that is not declared here fails a test. The offline platform has the connections as given here; production's are set in production.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from utils.config import CONNECTIONS, DATAPROC, GKE, WAREHOUSE_PROJECT
from utils.names import did_you_mean


@dataclass(frozen=True)
class Connection:
    """A connection of Airflow.

    :param conn_id: its name.
    :param about: what it is for.
    :param development: what it is on the offline platform, in the form of Airflow's JSON connections. ``${name}`` in it is
        replaced by what that platform made: ``service_token``, ``service_account_key``, ``slack_url``, ``airflow_url``,
        ``smtp_host``, ``smtp_port``, ``sftp_host``, ``sftp_port``, ``sftp_host_key``.
    """

    conn_id: str
    about: str
    development: dict[str, Any] = field(repr=False)


def _google(project: str, **extra: Any) -> dict[str, Any]:
    return {
        "conn_type": "google_cloud_platform",
        "extra": {"project": project, "is_anonymous": True, "num_retries": 1} | extra,
    }


_BIGQUERY = _google(WAREHOUSE_PROJECT, use_legacy_sql=False, location="US")
_SFTP = {
    "conn_type": "sftp",
    "host": "${sftp_host}",
    "port": "${sftp_port}",
    "login": "development",
    "password": "${service_token}",
    "extra": {"host_key": "${sftp_host_key}"},
}

_ALL = (
    Connection("google_cloud_default", "BigQuery and GCS, where an operator is given no connection.", _BIGQUERY),
    Connection(CONNECTIONS.shared_prod, "BigQuery and GCS of the warehouse.", _BIGQUERY),
    Connection(CONNECTIONS.dataproc, "Dataproc clusters and their jobs.", _google(DATAPROC.project_id)),
    Connection(
        CONNECTIONS.gke,
        "The GKE cluster of pod tasks.",
        {
            "conn_type": "google_cloud_platform",
            "extra": {"project": GKE.project_id, "keyfile_dict": "${service_account_key}", "num_retries": 1},
        },
    ),
    Connection(
        CONNECTIONS.fivetran,
        "Fivetran's API.",
        {"conn_type": "fivetran", "login": "local-key", "password": "${service_token}"},
    ),
    Connection(
        CONNECTIONS.slack,
        "Slack, as the bot of the platform.",
        {"conn_type": "slack", "password": "${service_token}", "extra": {"base_url": "${slack_url}/api/"}},
    ),
    Connection(
        CONNECTIONS.smtp,
        "Mail about retries and failures.",
        {
            "conn_type": "smtp",
            "host": "${smtp_host}",
            "port": "${smtp_port}",
            "extra": {
                "disable_ssl": True,
                "disable_tls": True,
                "from_email": "airflow@workflow.telemetry.mozilla.org",
            },
        },
    ),
    Connection(
        CONNECTIONS.netlify,
        "Webhooks that build sites on Netlify.",
        {"conn_type": "http", "host": "${slack_url}/netlify"},
    ),
    Connection(
        CONNECTIONS.dbt_cloud,
        "dbt Cloud's API.",
        {"conn_type": "dbt_cloud", "login": "1", "password": "${service_token}", "host": "${slack_url}/dbt"},
    ),
    Connection(
        CONNECTIONS.adm_sftp,
        "SFTP server of the ad partner. The extra known_hosts holds its host key.",
        _SFTP | {"extra": {"known_hosts": "${sftp_host} ${sftp_host_key}"}},
    ),
    Connection(CONNECTIONS.tripactions_sftp, "SFTP server of the travel agency, for people data.", _SFTP),
    Connection(
        CONNECTIONS.jira,
        "Jira, where failed integrations open a ticket.",
        {"conn_type": "http", "host": "${slack_url}/jira", "login": "development", "password": "${service_token}"},
    ),
    Connection(
        CONNECTIONS.merino_elasticsearch_prod,
        "Merino's Elasticsearch in production; pods get its address.",
        {"conn_type": "http", "host": "http://localhost:9200"},
    ),
    Connection(
        CONNECTIONS.merino_elasticsearch_stage,
        "Merino's Elasticsearch in staging; pods get its address.",
        {"conn_type": "http", "host": "http://localhost:9200"},
    ),
    Connection(
        CONNECTIONS.airflow_api,
        "This Airflow's own REST API, for tasks that clear or start others. Host with scheme and port; login and password of "
        "a service account with the role Op. Without a login, as on one machine, whoever asks gets a token.",
        {"conn_type": "http", "host": "${airflow_url}"},
    ),
)

DECLARED: dict[str, Connection] = {connection.conn_id: connection for connection in _ALL}
"""Every connection, by its name."""


def connection_value(conn_id: str, field: str) -> str:
    """A template for a value of a connection, read when the task runs: ``{{ conn.adm_sftp.host }}``.

    :param field: ``host``, ``port``, ``login``, or ``extra_dejson.<name>``. A password is a secret of the pod instead.
    :raises ValueError: the connection is not declared; the message lists the near ones.
    """
    if conn_id not in DECLARED:
        raise ValueError(
            f"No connection {conn_id!r} is declared. {did_you_mean(conn_id, DECLARED)} "
            "A new one is an entry in utils/connections.py."
        )
    return f"{{{{ conn.{conn_id}.{field} }}}}"
