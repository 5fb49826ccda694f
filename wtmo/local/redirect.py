"""Sends the client paths that no connection can redirect to the stand-ins.

Loaded by every Airflow process through ``config/airflow_local_settings.py``. In production the addresses of
:class:`utils.config.LocalCloud` are empty and nothing is patched. Five places need it, none has a setting of its own:

=================================================== ==========================================================
google-cloud-bigquery reading through gRPC          results come as REST pages (no stand-in for the Storage API)
googleapiclient discovery (``BigQueryHook``)        its endpoint is fixed to Google's
gcloud-aio-bigquery                                 wants ``BIGQUERY_EMULATOR_HOST`` without scheme, Google's client with it
the GKE cluster look-up (gRPC ``GetCluster``)       answers the pod server's address and certificate
airflow-provider-fivetran-async                     its address is a class attribute
=================================================== ==========================================================

Seen in google provider 22.8.0, gcloud-aio-bigquery 7.3.0, google-cloud-bigquery 3.47.0, fivetran-async 2.4.0.
"""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import wrapt

if TYPE_CHECKING:
    from types import ModuleType

    from utils.config import LocalCloud


def install(cloud: LocalCloud) -> None:
    """Patch what the addresses of ``cloud`` ask for, each module when it is first imported."""
    if cloud.bigquery_url:
        wrapt.register_post_import_hook(partial(_gcloud_aio, cloud.bigquery_url), "gcloud.aio.bigquery.bigquery")
        wrapt.register_post_import_hook(
            partial(_discovery, cloud.bigquery_url), "airflow.providers.google.cloud.hooks.bigquery"
        )
        wrapt.register_post_import_hook(_no_storage_api, "google.cloud.bigquery.client")
    if cloud.gke_endpoint:
        wrapt.register_post_import_hook(
            partial(_cluster, cloud), "airflow.providers.google.cloud.hooks.kubernetes_engine"
        )
    if cloud.fivetran_url:
        wrapt.register_post_import_hook(partial(_fivetran, cloud.fivetran_url), "fivetran_provider_async.hooks")


def _gcloud_aio(url: str, module: ModuleType) -> None:
    def init_api_root(api_root: str | None, *_: Any, **__: Any) -> tuple[bool, str]:
        return True, api_root or f"{url}/bigquery/v2"

    module.__dict__["init_api_root"] = init_api_root


def _discovery(url: str, module: ModuleType) -> None:
    real_build = module.build

    def build(*args: Any, **kwargs: Any) -> Any:
        from google.api_core.client_options import ClientOptions

        return real_build(*args, **kwargs | {"client_options": ClientOptions(api_endpoint=f"{url}/bigquery/v2/")})

    module.__dict__["build"] = build


def _no_storage_api(module: ModuleType) -> None:
    def none(*_: Any, **__: Any) -> None:
        return None

    for name in ("_ensure_bqstorage_client", "_get_shared_bqstorage_client"):
        if hasattr(module.Client, name):
            setattr(module.Client, name, none)


def _cluster(cloud: LocalCloud, module: ModuleType) -> None:
    def get_cluster(*_: Any, **__: Any) -> Any:
        from google.cloud.container_v1.types import Cluster, MasterAuth

        certificate = base64.b64encode(Path(cloud.gke_ca_file).read_bytes()).decode()
        return Cluster(endpoint=cloud.gke_endpoint, master_auth=MasterAuth(cluster_ca_certificate=certificate))

    module.GKEHook.get_cluster = get_cluster


def _fivetran(url: str, module: ModuleType) -> None:
    parts = urlsplit(url)
    module.FivetranHook.api_protocol = parts.scheme
    module.FivetranHook.api_host = parts.netloc
