"""The environment in which Airflow runs on this machine: only what differs from ``config/airflow.cfg``."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from utils.config import ROOT

if TYPE_CHECKING:
    from wtmo.local.state import State

RESOURCES = ROOT / "resources"
SAMPLE_DAGS = RESOURCES / "sample" / "dags"

# Two cores bear four tasks at once: with 32 the api-server stalls and tasks fail on its time-outs.
PARALLELISM = 4


@dataclass(frozen=True)
class Ports:
    """One port of loopback a service."""

    ui: int
    postgres: int
    bigquery: int
    gcs: int
    pods: int
    fivetran: int
    smtp: int
    slack: int
    google: int


def stand_in_settings(state: State, ports: Ports) -> dict[str, str]:
    """What makes a client talk to the stand-ins (read by :class:`utils.config.LocalCloud` and Google's clients)."""
    return {
        "BIGQUERY_EMULATOR_HOST": f"http://127.0.0.1:{ports.bigquery}",
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{ports.gcs}",
        "FIVETRAN_API_URL": f"http://127.0.0.1:{ports.fivetran}",
        "WTMO_GKE_ENDPOINT": f"127.0.0.1:{ports.pods}",
        "WTMO_GKE_CA_FILE": str(state.root / "secrets" / "pods.crt"),
    }


def environment(state: State, ports: Ports, secrets: dict[str, str]) -> dict[str, str]:
    """The environment of Airflow's processes.

    :param secrets: ``postgres``, ``jwt``, ``api``, ``fernet``, ``service_token`` (what the stand-ins ask for) and
        ``service_account_key`` (a key file of Google as JSON).
    """
    home = state.folder("airflow")
    bundles = [_bundle("telemetry-airflow", ROOT / "dags"), _bundle("bigquery-etl", SAMPLE_DAGS)]
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
        "WTMO_ROOT": str(ROOT),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'config'}",
        # setproctitle would overwrite the environment by which the guard finds a process.
        "SPT_NOENV": "1",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
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
        # Runs are started by `wtmo day` and by hand; a DAG that is switched on must not catch up years.
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
    }
    return settings | stand_in_settings(state, ports) | _connections(ports, secrets) | _variables()


def component(name: str, *arguments: str) -> list[str]:
    """The command line of one of Airflow's processes."""
    return [sys.executable, "-m", "airflow", name, *arguments]


def _bundle(name: str, path: Path) -> dict[str, Any]:
    return {
        "name": name,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(path), "refresh_interval": 5},
    }


def _connections(ports: Ports, secrets: dict[str, str]) -> dict[str, str]:
    """``resources/connections.json`` with its placeholders filled in, one variable a connection."""
    values: dict[str, str] = {
        "service_account_key": secrets["service_account_key"],
        "service_token": secrets["service_token"],
        "slack_url": f"http://127.0.0.1:{ports.slack}",
        "smtp_port": str(ports.smtp),
    }

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(inner) for key, inner in value.items()}
        return Template(value).substitute(values) if isinstance(value, str) else value

    declared = json.loads((RESOURCES / "connections.json").read_text())
    return {
        f"AIRFLOW_CONN_{name.upper()}": json.dumps(_port_as_number(fill(connection)))
        for name, connection in declared.items()
    }


def _port_as_number(connection: dict[str, Any]) -> dict[str, Any]:
    return connection | ({"port": int(connection["port"])} if "port" in connection else {})


def _variables() -> dict[str, str]:
    declared = json.loads((RESOURCES / "variables.json").read_text())
    return {f"AIRFLOW_VAR_{name.upper()}": value for name, value in declared.items()}
