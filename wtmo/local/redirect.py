"""Sends the client paths that no connection can redirect to the stand-ins.

Loaded by every Airflow process through ``config/airflow_local_settings.py``. In production the addresses of
:class:`utils.config.LocalCloud` are empty and nothing is patched. Seven places need it, none has a setting of its own:

=================================================== ==========================================================
google-cloud-bigquery reading through gRPC          results come as REST pages (no stand-in for the Storage API)
googleapiclient discovery (``BigQueryHook``)        its endpoint is fixed to Google's
gcloud-aio-bigquery                                 wants ``BIGQUERY_EMULATOR_HOST`` without scheme, Google's client with it
the GKE cluster look-up (gRPC ``GetCluster``)       answers the pod server's address and certificate
airflow-provider-fivetran-async                     its address is a class attribute
``DataprocHook`` and its triggers (gRPC)            clients speak without TLS to the stand-in, whatever the region
``DbtCloudHook``                                    puts ``https://`` before its connection's host; kept where that has a scheme
=================================================== ==========================================================

Seen in google provider 22.8.0, gcloud-aio-bigquery 7.3.0, google-cloud-bigquery 3.47.0, fivetran-async 2.4.0, dbt-cloud
provider 4.11.1.
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

    if cloud.dataproc_endpoint:
        wrapt.register_post_import_hook(
            partial(_dataproc, cloud.dataproc_endpoint), "airflow.providers.google.cloud.hooks.dataproc"
        )
    if cloud.enabled:
        wrapt.register_post_import_hook(_dbt_cloud, "airflow.providers.dbt.cloud.hooks.dbt")


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


def _dataproc(endpoint: str, module: ModuleType) -> None:
    def client(name: str) -> Any:
        def get(self: Any, *_: Any, **__: Any) -> Any:
            from google.cloud import dataproc_v1
            from grpc import insecure_channel

            found = getattr(dataproc_v1, f"{name}Client")
            transport = found.get_transport_class("grpc")
            return found(transport=transport(channel=insecure_channel(endpoint), credentials=self.get_credentials()))

        return get

    def async_client(name: str) -> Any:
        async def get(self: Any, *_: Any, **__: Any) -> Any:
            from google.cloud import dataproc_v1
            from grpc.aio import insecure_channel

            credentials = (await self.get_sync_hook()).get_credentials()
            found = getattr(dataproc_v1, f"{name}AsyncClient")
            transport = found.get_transport_class("grpc_asyncio")
            return found(transport=transport(channel=insecure_channel(endpoint), credentials=credentials))

        return get

    for name, method in (("ClusterController", "get_cluster_client"), ("JobController", "get_job_client")):
        setattr(module.DataprocHook, method, client(name))
        setattr(module.DataprocAsyncHook, method, async_client(name))


def _dbt_cloud(module: ModuleType) -> None:
    hook = module.DbtCloudHook
    real_url, real_conn = hook.get_request_url_params, hook.get_conn

    def get_request_url_params(tenant: str, *args: Any, **kwargs: Any) -> Any:
        url, params = real_url(tenant, *args, **kwargs)
        return url.removeprefix("https://") if "://" in tenant else url, params

    def get_conn(self: Any, *args: Any, **kwargs: Any) -> Any:
        session = real_conn(self, *args, **kwargs)
        if "://" in (self.connection.host or ""):
            self.base_url = self.base_url.removeprefix("https://")
        return session

    hook.get_request_url_params = staticmethod(get_request_url_params)
    hook.get_conn = get_conn
