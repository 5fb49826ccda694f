"""Webhooks and tickets end in the outbox; what Jira would refuse is refused."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from wtmo.local.services.hooks import Hooks
from wtmo.local.services.outbox import read_outbox

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.loopback

LOGIN = {"Authorization": "Basic " + base64.b64encode(b"user:very-secret").decode()}
FIELDS = {"project": {"key": "ASP"}, "issuetype": {"id": "10020"}, "summary": "d.t failed", "description": "Log: x"}
ISSUE = "/jira/rest/api/2/issue"


def client_of(outbox: Path) -> TestClient[Any, Any]:
    app = web.Application()
    app.add_routes(Hooks(outbox).routes())
    return TestClient(TestServer(app))


async def test_a_build_is_asked_for(tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        assert (await client.post("/netlify/some-id", data="{}")).status == 200
    (message,) = read_outbox(tmp_path)
    assert (message.kind, message.recipients, message.subject, message.text) == ("netlify", ("some-id",), "build", "{}")


async def test_tickets_are_numbered(tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        answers = [await client.post(ISSUE, json={"fields": FIELDS}, headers=LOGIN) for _ in range(2)]
        assert [answer.status for answer in answers] == [201, 201]
        assert [(await answer.json())["key"] for answer in answers] == ["ASP-1", "ASP-2"]
    first, second = read_outbox(tmp_path)
    assert (first.kind, first.recipients, first.subject, first.text) == ("jira", ("ASP-1",), "d.t failed", "Log: x")
    assert second.recipients == ("ASP-2",)
    assert "very-secret" not in first.path.read_text()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"fields": FIELDS | {"summary": ""}}, "You must specify a summary"),
        ({"fields": {name: value for name, value in FIELDS.items() if name != "project"}}, "project is required"),
        ({"fields": []}, "Can not instantiate issue"),
        ({"fields": FIELDS | {"project": "ASP"}}, "Can not instantiate issue"),
        ([], "Can not instantiate issue"),
    ],
)
async def test_a_bad_ticket_is_refused(tmp_path: Path, body: Any, error: str) -> None:
    async with client_of(tmp_path) as client:
        answer = await client.post(ISSUE, json=body, headers=LOGIN)
        assert answer.status == 400
        assert error in await answer.text()
        assert (await client.post(ISSUE, json={"fields": FIELDS})).status == 401
    assert read_outbox(tmp_path) == []


async def test_a_bug_is_tagged_once(tmp_path: Path) -> None:
    key = {"X-BUGZILLA-API-KEY": "very-secret"}
    async with client_of(tmp_path) as client:
        found = await (await client.get("/bugzilla/rest/bug")).json()
        assert found == {"bugs": [{"id": 2, "whiteboard": ""}, {"id": 1, "whiteboard": ""}]}
        answer = await client.put("/bugzilla/rest/bug/2", json={"whiteboard": "[tag]"}, headers=key)
        assert answer.status == 200
        assert await (await client.get("/bugzilla/rest/bug")).json() == {"bugs": [{"id": 1, "whiteboard": ""}]}
    (message,) = read_outbox(tmp_path)
    assert (message.kind, message.recipients, message.text) == ("bugzilla", ("2",), "[tag]")
    assert "very-secret" not in message.path.read_text()


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("1", {"whiteboard": "x"}, {}, 401),
        ("9", {"whiteboard": "x"}, {"X-BUGZILLA-API-KEY": "k"}, 404),
        ("1", {}, {"X-BUGZILLA-API-KEY": "k"}, 400),
        ("1", [], {"X-BUGZILLA-API-KEY": "k"}, 400),
    ],
)
async def test_a_bad_change_of_a_bug_is_refused(
    tmp_path: Path, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    async with client_of(tmp_path) as client:
        answer = await client.put(f"/bugzilla/rest/bug/{path}", json=body, headers=headers)
        assert (answer.status, (await answer.json())["error"]) == (status, True)
    assert list(read_outbox(tmp_path)) == []
