from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk import DAG, Connection
from airflow.sdk.exceptions import AirflowException

from operators.jira import JiraTicketNotifier

CONTEXT: Any = {
    "ti": SimpleNamespace(dag_id="d", task_id="t", try_number=4, log_url="http://host/log?a=1"),
    "run_id": "scheduled__1",
    "dag": DAG("d", schedule=None),
}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[requests.PreparedRequest]:
    """What reaches Jira, which answers 201."""
    requests_sent: list[requests.PreparedRequest] = []

    def send(_: Any, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        requests_sent.append(request)
        response = requests.Response()
        response.status_code = 201
        response._content = b'{"key": "ASP-1"}'
        return response

    monkeypatch.setattr(requests.Session, "send", send)
    jira = Connection(
        conn_id="eam_jira_connection_id", conn_type="http", host="https://jira.example.com", login="u", password="p"
    )
    monkeypatch.setattr(HttpHook, "get_connection", lambda _, conn_id: {"eam_jira_connection_id": jira}[conn_id])
    return requests_sent


def test_a_failure_opens_a_ticket(sent: list[requests.PreparedRequest]) -> None:
    JiraTicketNotifier(project="ASP", issue_type="10020")(CONTEXT)
    (request,) = sent
    assert (request.method, request.url) == ("POST", "https://jira.example.com/rest/api/2/issue")
    assert request.headers["Authorization"].startswith("Basic ")
    fields = json.loads(request.body or "")["fields"]
    assert fields["project"] == {"key": "ASP"}
    assert fields["issuetype"] == {"id": "10020"}
    assert fields["summary"] == "[Airflow] d.t failed"
    assert "failed in the run scheduled__1, try 4" in fields["description"]
    assert "http://host/log?a=1" in fields["description"]


def test_a_ticket_that_jira_refuses_is_an_error(
    sent: list[requests.PreparedRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow logs it and goes on."""

    def refuse(*_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.reason = 401, "Unauthorized"
        return response

    monkeypatch.setattr(requests.Session, "send", refuse)
    with pytest.raises(AirflowException, match="401:Unauthorized"):
        JiraTicketNotifier(project="ASP", issue_type="10020")(CONTEXT)
    assert sent == []
