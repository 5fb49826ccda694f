from __future__ import annotations

import configparser
import json
import re
from typing import TYPE_CHECKING

import pytest
from airflow.dag_processing.bundles.manager import DagBundlesManager

from utils import connections, variables
from utils.config import ROOT
from wtmo.imports.bundle import ImportedDagBundle
from wtmo.local import airflow, generated
from wtmo.local.generated import Origin
from wtmo.local.state import State

if TYPE_CHECKING:
    from pathlib import Path

PORTS = airflow.Ports(
    ui=1, postgres=2, bigquery=3, gcs=4, pods=5, fivetran=6, smtp=7, slack=8, google=9, dataproc=10, sftp=11
)
SECRETS = {
    name: f"secret-{name}" for name in ("postgres", "jwt", "api", "fernet", "service_token", "sftp_host_key")
} | {"service_account_key": json.dumps({"type": "service_account", "private_key": "a\nb"})}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return airflow.environment(State(tmp_path), PORTS, SECRETS, imports=Origin("/a/repository", "main"))


def test_native_queries_read_the_files_that_go_with_imported_dags(tmp_path: Path) -> None:
    """Those that the pods are given; without them what the person's environment says stays."""
    given = airflow.environment(
        State(tmp_path), PORTS, SECRETS, imports=Origin("/a/repository", "main"), checkout=tmp_path / "checkout"
    )
    assert given["BQETL_CHECKOUT"] == str(tmp_path / "checkout")
    assert "BQETL_CHECKOUT" not in airflow.environment(State(tmp_path), PORTS, SECRETS, imports=Origin("/a", "main"))


def test_the_bundle_of_imported_dags_polls_what_it_is_told(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the person's own environment says."""
    monkeypatch.setenv("WTMO_IMPORT_CONN_ID", "git_private")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    bundle = DagBundlesManager().get_bundle("bigquery-etl")
    assert isinstance(bundle, ImportedDagBundle)
    assert (bundle.repo_url, bundle.tracking_ref, bundle.git_conn_id) == ("/a/repository", "main", None)
    assert bundle.options == generated.OPTIONS, "else the import before Airflow's start counts for nothing"


def test_every_declared_connection_is_a_valid_one_without_placeholders(environment: dict[str, str]) -> None:
    from airflow.sdk import Connection

    for name, declared in connections.DECLARED.items():
        text = environment[f"AIRFLOW_CONN_{name.upper()}"]
        assert "${" not in text
        connection = Connection.from_json(text, conn_id=name)
        assert connection.conn_type == declared.development["conn_type"]
    smtp = json.loads(environment["AIRFLOW_CONN_SMTP_DEFAULT"])
    assert smtp["port"] == PORTS.smtp


def test_every_variable_has_a_value_unless_templates_have_a_default(environment: dict[str, str]) -> None:
    for name, variable in variables.VARIABLES.items():
        value = environment.get(f"AIRFLOW_VAR_{name.upper()}")
        assert (value is None) == (variable.development is None), name
        assert value != "", name


def test_the_key_file_in_the_connection_survives_its_line_breaks(environment: dict[str, str]) -> None:
    extra = json.loads(environment["AIRFLOW_CONN_GOOGLE_CLOUD_AIRFLOW_GKE"])["extra"]
    assert json.loads(extra["keyfile_dict"])["private_key"] == "a\nb"


def test_everything_local_is_on_loopback(environment: dict[str, str]) -> None:
    for name, value in environment.items():
        for host in re.findall(r"https?://([^:/\"]+)", value):
            assert host in {"127.0.0.1", "localhost"}, name
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"


def test_local_settings_only_add_to_the_shared_ones(environment: dict[str, str]) -> None:
    shared = configparser.ConfigParser(interpolation=None)
    shared.read(ROOT / "config" / "airflow.cfg")
    both = {
        f"AIRFLOW__{section}__{key}".upper()
        for section in shared.sections()
        for key in shared[section]
        if f"AIRFLOW__{section}__{key}".upper() in environment
    }
    # The local platform serves the sample's bundle beside the repository's own.
    assert both == {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"}
