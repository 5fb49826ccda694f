"""The local BigQuery as a client sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils.config import WAREHOUSE_PROJECT

if TYPE_CHECKING:
    from google.cloud import bigquery

    from wtmo.local.state import PlatformRecord


def client(record: PlatformRecord, project: str = WAREHOUSE_PROJECT) -> bigquery.Client:
    """A client of the running platform's warehouse.

    :param project: the project that runs and names the tables by default. Default: the shared production project.
    """
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    return bigquery.Client(
        project=project,
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=record.settings["BIGQUERY_EMULATOR_HOST"]),
    )
