"""How a task gets at Airflow's own API: with a service account, or as anybody where there is no login."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow_client.client.exceptions import ApiException

from utils.airflow_api import airflow_api, reason

PASSWORD = "very-secret"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[requests.PreparedRequest]:
    """What reaches Airflow, which gives a token."""
    requests_sent: list[requests.PreparedRequest] = []

    def send(_: Any, request: requests.PreparedRequest, **given: Any) -> requests.Response:
        assert given["timeout"] == 60
        requests_sent.append(request)
        return answer(201, b'{"access_token": "some-token"}')

    monkeypatch.setattr(requests.Session, "send", send)
    return requests_sent


def answer(status: int, content: bytes = b"{}") -> requests.Response:
    response = requests.Response()
    response.status_code, response._content = status, content
    return response


def connect(monkeypatch: pytest.MonkeyPatch, **login: str) -> None:
    connection = Connection(conn_id="airflow_api", conn_type="http", host="https://airflow.example", **login)
    monkeypatch.setattr(HttpHook, "get_connection", staticmethod(lambda conn_id: {"airflow_api": connection}[conn_id]))


def test_a_service_account_logs_in(sent: list[requests.PreparedRequest], monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, login="backfills", password=PASSWORD)
    configuration = airflow_api().configuration
    (request,) = sent
    assert (request.method, request.url) == ("POST", "https://airflow.example/auth/token")
    assert json.loads(request.body or "") == {"username": "backfills", "password": PASSWORD}
    assert (configuration.host, configuration.access_token) == ("https://airflow.example", "some-token")


def test_on_one_machine_there_is_no_login(
    sent: list[requests.PreparedRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch)
    assert airflow_api().configuration.access_token == "some-token"
    (request,) = sent
    assert (request.method, request.body) == ("GET", None)
    assert "Authorization" not in request.headers


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_says_what_to_do(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    connect(monkeypatch, login="backfills", password=PASSWORD)
    monkeypatch.setattr(requests.Session, "send", lambda *_, **__: answer(status))
    with pytest.raises(
        AirflowFailException, match=rf"connection airflow_api \({status}\). Give that connection"
    ) as error:
        airflow_api()
    assert PASSWORD not in str(error.value)


def test_an_api_that_is_away_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch)
    monkeypatch.setattr(requests.Session, "send", lambda *_, **__: answer(503))
    with pytest.raises(AirflowException, match="gives no token: 503") as error:
        airflow_api()
    assert not isinstance(error.value, AirflowFailException)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"detail": "There is already a running backfill"}', "409 There is already a running backfill"),
        ('{"detail": [{"msg": "a"}, "b"]}', "409 a; b"),
        ("<html>", "409 Conflict"),
        (None, "409 Conflict"),
    ],
)
def test_a_refusal_is_read(body: str | None, words: str) -> None:
    assert reason(ApiException(status=409, reason="Conflict", body=body)) == words
