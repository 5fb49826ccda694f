"""Airflow's public REST API, as the local platform's commands use it: a token, patience, and errors that people can read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Callable

    import airflow_client.client as airflow

    from wtmo.local.state import PlatformRecord

PATIENCE_SECONDS = 60
_FIRST_SERVER_ERROR = 500


def client(record: PlatformRecord) -> airflow.ApiClient:
    """A client of the running platform's API. There is no login on this machine: whoever asks gets a token."""
    import airflow_client.client as airflow
    import httpx

    host = record.settings["AIRFLOW_API_URL"]
    try:
        answer = httpx.get(f"{host}/auth/token", timeout=PATIENCE_SECONDS).raise_for_status()
    except httpx.HTTPError as error:
        raise WtmoError(f"Airflow's API on {host} does not answer: {error}", fix="`wtmo status` tells why") from error
    return airflow.ApiClient(airflow.Configuration(host=host, access_token=answer.json()["access_token"]))


def call(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call the API, again for a minute while the server is away or fails.

    :raises WtmoError: when it stays away, with what it said.
    :raises airflow_client.client.exceptions.ApiException: when it refuses the call (4xx).
    """
    from airflow_client.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return function(*arguments, **keywords)
        except ApiException as error:
            if (error.status or 0) < _FIRST_SERVER_ERROR:
                raise
            trouble: Exception = error
        except HTTPError as error:
            trouble = error
        if time.monotonic() > end:
            raise WtmoError(
                f"Airflow's API has not answered for {PATIENCE_SECONDS} s: {trouble}", fix="`wtmo status` tells why"
            ) from trouble
        time.sleep(1)
