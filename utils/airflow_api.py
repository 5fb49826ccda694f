"""This Airflow's own REST API, for tasks: they have no metadata database, and the API of tasks can't clear or start others."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from utils.config import CONNECTIONS

if TYPE_CHECKING:
    import airflow_client.client as airflow
    from airflow_client.client.exceptions import ApiException

SECONDS_OF_ONE_REQUEST = 60.0
_TRIES = 5


def airflow_api(conn_id: str = CONNECTIONS.airflow_api) -> airflow.ApiClient:
    """A client of the API, with a token of its own. Use it as a context manager.

    What only reads is asked again up to 5 times while the server is away; what changes something is not.

    :param conn_id: connection of type ``http``: host with scheme and port, login and password of a service account. Without a
        login it asks for a token as anybody, which Airflow gives where all are administrators: on one machine.
    :raises AirflowFailException: the login is refused.
    :raises AirflowException: no token can be had now.
    """
    import airflow_client.client as airflow
    from airflow.providers.http.hooks.http import HttpHook
    from urllib3 import Retry

    login = HttpHook.get_connection(conn_id)
    hook = HttpHook(method="POST" if login.login else "GET", http_conn_id=conn_id)
    response = hook.run(
        "/auth/token",
        json={"username": login.login, "password": login.password} if login.login else None,
        extra_options={"check_response": False, "timeout": SECONDS_OF_ONE_REQUEST},
    )
    if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise AirflowFailException(
            f"Airflow's API on {hook.base_url} refuses the login of the connection {conn_id} ({response.status_code}). "
            "Give that connection the login and password of a service account with the role Op."
        )
    if not response.ok:
        raise AirflowException(f"Airflow's API on {hook.base_url} gives no token: {response.status_code}")
    return airflow.ApiClient(
        airflow.Configuration(
            host=hook.base_url,
            access_token=response.json()["access_token"],
            retries=Retry(total=_TRIES, backoff_factor=1, status_forcelist={502, 503, 504}, raise_on_status=False),
        )
    )


def reason(error: ApiException) -> str:
    """Why the API refused a call, in its own words."""
    try:
        detail = json.loads(error.body or "")["detail"]
    except (ValueError, KeyError, TypeError):
        detail = error.reason
    if isinstance(detail, list):
        detail = "; ".join(str(entry.get("msg", entry)) if isinstance(entry, dict) else str(entry) for entry in detail)
    return f"{error.status} {detail}"
