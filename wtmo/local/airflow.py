"""The environment in which Airflow runs on this machine: only what differs from ``config/airflow.cfg``."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING, Any

from utils import connections, variables
from utils.config import GKE, ROOT
from wtmo.local import generated, tls

if TYPE_CHECKING:
    from pathlib import Path

    from wtmo.local.generated import Origin
    from wtmo.local.state import State

RESOURCES = ROOT / "resources"
# What `wtmo day --all` makes in place of imported DAGs: the bundle, and its folder below the state's.
STAND_INS, STAND_IN_DAGS = "stand-ins", "stand-in-dags"

# Two cores bear four tasks at once: with 32 the api-server stalls and tasks fail on its time-outs.
PARALLELISM = 4


@dataclass(frozen=True)
class Ports:
    """One port a service, all on loopback unless :meth:`host` is overridden (compose has a host a service)."""

    ui: int
    postgres: int
    bigquery: int
    gcs: int
    pods: int
    fivetran: int
    smtp: int
    slack: int
    google: int
    dataproc: int
    sftp: int

    def host(self, service: str) -> str:
        """The host of a service: loopback."""
        return "127.0.0.1"

    def address(self, service: str) -> str:
        """``host:port`` of a service."""
        return f"{self.host(service)}:{getattr(self, service)}"


def stand_in_settings(state: State, ports: Ports) -> dict[str, str]:
    """What makes a client talk to the stand-ins (read by :class:`utils.config.LocalCloud` and Google's clients)."""
    return {
        "BIGQUERY_EMULATOR_HOST": f"http://{ports.address('bigquery')}",
        "STORAGE_EMULATOR_HOST": f"http://{ports.address('gcs')}",
        "FIVETRAN_API_URL": f"http://{ports.address('fivetran')}",
        "BUGZILLA_URL": f"http://{ports.address('slack')}/bugzilla",
        "WTMO_GKE_ENDPOINT": ports.address("pods"),
        "WTMO_GKE_CA_FILE": str(state.root / "secrets" / "pods.crt"),
        "WTMO_DATAPROC_ENDPOINT": ports.address("dataproc"),
    }


def secrets(state: State, ports: Ports) -> dict[str, str]:
    """This platform's secrets, made at first use: ``postgres``, ``jwt``, ``api``, ``fernet`` and those of
    :func:`stand_in_secrets`.
    """
    return stand_in_secrets(state, ports) | {
        "fernet": state.secret("fernet", tls.fernet_key).read_text(),
        **{name: state.secret(name).read_text() for name in ("postgres", "jwt", "api")},
    }


def stand_in_secrets(state: State, ports: Ports) -> dict[str, str]:
    """What the stand-ins ask for or show, made at first use: ``service_token``, ``service_account_key`` (a key file of
    Google as JSON) and ``sftp_host_key`` (the public key, ``ssh-ed25519 AAAA...``).
    """
    token_uri = f"http://{ports.address('google')}/token"

    def key() -> str:
        return json.dumps(tls.service_account_key(token_uri, GKE.project_id))

    # The private key is made once; the address of the token service is this start's.
    account = json.loads(state.secret("service_account_key", key).read_text()) | {"token_uri": token_uri}
    return {
        "service_account_key": json.dumps(account),
        "service_token": state.secret("service_token").read_text(),
        "sftp_host_key": tls.ssh_public_key(state.secret("sftp_host_key", tls.ssh_host_key).read_text()),
    }


def client_settings(state: State, ports: Ports, secrets: dict[str, str]) -> dict[str, str]:
    """What sends Airflow's operators to the stand-ins: addresses, development connections and variables.

    :param secrets: those of :func:`stand_in_secrets`.
    """
    return stand_in_settings(state, ports) | _connections(ports, secrets) | _variables()


def environment(
    state: State,
    ports: Ports,
    secrets: dict[str, str],
    *,
    imports: Origin,
    checkout: Path | None = None,
    dags: Path | None = None,
) -> dict[str, str]:
    """The environment of Airflow's processes.

    :param secrets: those of :func:`secrets`.
    :param imports: what the bundle of imported DAGs polls.
    :param checkout: the bigquery-etl checkout that native query tasks read. Default: what ``BQETL_CHECKOUT`` says, or the sample's.
    :param dags: a folder to serve as one more bundle. Default: none.
    """
    home = state.folder("airflow")
    bundles = [
        bundle("telemetry-airflow", ROOT / "dags"),
        generated.bundle(),
        bundle(STAND_INS, state.folder(STAND_IN_DAGS)),
    ]
    if dags:
        bundles.append(bundle("more", dags.resolve()))
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
        "WTMO_ROOT": str(ROOT),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'config'}",
        # setproctitle would overwrite the environment by which the guard finds a process.
        "SPT_NOENV": "1",
        "AIRFLOW__CORE__EXECUTOR": "wtmo.local.executor.RequeueSafeLocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{ports.ui}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": secrets["fernet"],
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(ports.ui),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{ports.ui}",
        "AIRFLOW__API__SECRET_KEY": secrets["api"],
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets["jwt"],
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (
            f"postgresql+psycopg2://airflow:{secrets['postgres']}@127.0.0.1:{ports.postgres}/postgres"
        ),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home / "bundles"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        # Airflow 3.3.2 sees every other end of a task at the next heartbeat only (supervisor.py looks before the process is
        # gone, then waits): at its default a slot is held for 5 s more.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # A scheduler that is killed takes its tasks with it here: that is seen after half a minute, and the loss of one
        # task's process after two, not after five.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",
        # Runs are started by `wtmo day` and by hand; a DAG that is switched on must not catch up years.
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
    }
    if checkout:
        settings["BQETL_CHECKOUT"] = str(checkout)
    return settings | imports.settings | client_settings(state, ports, secrets)


def component(name: str, *arguments: str) -> list[str]:
    """The command line of one of Airflow's processes."""
    return [sys.executable, "-m", "airflow", name, *arguments]


def bundle(name: str, path: Path) -> dict[str, Any]:
    """One entry of Airflow's list of DAG bundles: a folder, looked at every 5 s."""
    return {
        "name": name,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(path), "refresh_interval": 5},
    }


def _connections(ports: Ports, secrets: dict[str, str]) -> dict[str, str]:
    """The declared connections with their placeholders filled in, one variable a connection."""
    values: dict[str, str] = {
        "service_account_key": secrets["service_account_key"],
        "service_token": secrets["service_token"],
        "slack_url": f"http://{ports.address('slack')}",
        "airflow_url": f"http://{ports.address('ui')}",
        "smtp_host": ports.host("smtp"),
        "smtp_port": str(ports.smtp),
        "sftp_host": ports.host("sftp"),
        "sftp_port": str(ports.sftp),
        "sftp_host_key": secrets["sftp_host_key"],
    }

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(inner) for key, inner in value.items()}
        return Template(value).substitute(values) if isinstance(value, str) else value

    return {
        f"AIRFLOW_CONN_{name.upper()}": json.dumps(_port_as_number(fill(connection.development)))
        for name, connection in connections.DECLARED.items()
    }


def _port_as_number(connection: dict[str, Any]) -> dict[str, Any]:
    return connection | ({"port": int(connection["port"])} if "port" in connection else {})


def _variables() -> dict[str, str]:
    return {f"AIRFLOW_VAR_{name.upper()}": value for name, value in variables.development_values().items()}
