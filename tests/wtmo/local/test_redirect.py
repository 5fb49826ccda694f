"""In production nothing is patched; offline each of the seven paths goes to its stand-in."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from utils.config import ROOT, environment

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json, sys
sys.path[:0] = sys.argv[1:3]
import airflow_local_settings
from gcloud.aio.bigquery import bigquery as aio
from airflow.providers.google.cloud.hooks import bigquery, kubernetes_engine
from google.cloud.bigquery import client
from fivetran_provider_async import hooks
from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
from airflow.providers.google.cloud.hooks.dataproc import DataprocHook as Dataproc
from google.auth.credentials import AnonymousCredentials
from unittest.mock import patch
import grpc
dbt_tenant, dataproc = "cloud.getdbt.com", None
cluster = None
if sys.argv[3] == "offline":
    dbt_tenant = "http://127.0.0.1:6/dbt"
    hook = Dataproc.__new__(Dataproc)
    hook.get_credentials = lambda: AnonymousCredentials()
    with patch("grpc.insecure_channel", side_effect=grpc.insecure_channel) as made:
        clients = [hook.get_cluster_client("us-west1"), hook.get_job_client("us-west1")]
    dataproc = [call.args[0] for call in made.call_args_list]
    found = kubernetes_engine.GKEHook.get_cluster(None, name="x", project_id="p")
    cluster = [found.endpoint, found.master_auth.cluster_ca_certificate]
print(json.dumps({
    "aio": list(aio.init_api_root(None)),
    "discovery": bigquery.build.__module__,
    "storage": client.Client._ensure_bqstorage_client.__module__,
    "fivetran": f"{hooks.FivetranHook.api_protocol}://{hooks.FivetranHook.api_host}",
    "cluster": cluster,
    "dbt": DbtCloudHook.get_request_url_params(dbt_tenant, "1/runs/")[0],
    "dataproc": dataproc,
    "dataproc client": Dataproc.get_cluster_client.__module__,
}))
"""


def _look(mode: str, settings: dict[str, str]) -> dict[str, object]:
    clean = {k: v for k, v in environment().items() if not k.startswith(("BIGQUERY", "STORAGE", "FIVETRAN", "WTMO"))}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT), str(ROOT / "config"), mode],
        env=clean | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    seen: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return seen


def test_production_is_left_as_it_is() -> None:
    seen = _look("production", {})
    assert seen["aio"] == [False, "https://www.googleapis.com/bigquery/v2"]
    assert seen["discovery"] == "googleapiclient.discovery"
    assert seen["storage"] == "google.cloud.bigquery.client"
    assert seen["fivetran"] == "https://api.fivetran.com"
    assert seen["dbt"] == "https://cloud.getdbt.com/api/v2/accounts/1/runs/"
    assert seen["dataproc client"] == "airflow.providers.google.cloud.hooks.dataproc"


def test_offline_every_path_goes_to_its_stand_in(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.write_text("PEM")
    seen = _look(
        "offline",
        {
            "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:9",
            "FIVETRAN_API_URL": "http://127.0.0.1:8",
            "WTMO_GKE_ENDPOINT": "127.0.0.1:7",
            "WTMO_GKE_CA_FILE": str(certificate),
            "WTMO_DATAPROC_ENDPOINT": "127.0.0.1:5",
        },
    )
    assert seen["aio"] == [True, "http://127.0.0.1:9/bigquery/v2"]
    assert seen["discovery"] == "wtmo.local.redirect"
    assert seen["storage"] == "wtmo.local.redirect"
    assert seen["fivetran"] == "http://127.0.0.1:8"
    assert seen["cluster"] == ["127.0.0.1:7", "UEVN"]
    assert seen["dbt"] == "http://127.0.0.1:6/dbt/api/v2/accounts/1/runs/"
    assert seen["dataproc"] == ["127.0.0.1:5", "127.0.0.1:5"]


@pytest.mark.parametrize("name", ["BIGQUERY_EMULATOR_HOST", "FIVETRAN_API_URL"])
def test_one_address_alone_redirects_only_its_own_path(name: str) -> None:
    seen = _look("partly", {name: "http://127.0.0.1:9"})
    assert (seen["fivetran"] == "http://127.0.0.1:9") == (name == "FIVETRAN_API_URL")
    assert (seen["discovery"] == "wtmo.local.redirect") == (name == "BIGQUERY_EMULATOR_HOST")
