"""The Slack sink, talked to over HTTP and by Slack's own client."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from wtmo.local.services.outbox import read_outbox
from wtmo.local.services.slack import SlackSink

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.loopback

TOKEN = "xoxb-very-secret"


def client_of(outbox: Path) -> TestClient[Any, Any]:
    return TestClient(TestServer(SlackSink(outbox).app()), headers={"Authorization": f"Bearer {TOKEN}"})


async def test_post_and_update(tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        posted = await (
            await client.post(
                "/api/chat.postMessage", json={"channel": "#alerts", "text": "it broke", "username": "Airflow"}
            )
        ).json()
        assert posted["ok"] is True
        assert posted["channel"] == "#alerts"
        updated = await (
            await client.post("/api/chat.update", data={"channel": "#alerts", "text": "mended", "ts": posted["ts"]})
        ).json()
        assert (updated["ok"], updated["ts"]) == (True, posted["ts"])
    first, second = read_outbox(tmp_path)
    assert (first.kind, first.recipients, first.sender, first.text) == ("slack", ("#alerts",), "Airflow", "it broke")
    assert (second.text, second.subject) == ("mended", f"replaces the message {posted['ts']}")
    assert not any(TOKEN in path.read_text() for path in tmp_path.iterdir())


async def test_message_of_blocks_keeps_their_text(tmp_path: Path) -> None:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*dag* failed"}}, {"type": "divider"}]
    async with client_of(tmp_path) as client:
        for arguments in (
            {"blocks": blocks},
            {"blocks": json.dumps(blocks)},
            {"attachments": [{"fallback": "*dag* failed"}]},
        ):
            assert (await (await client.post("/api/chat.postMessage", json={"channel": "c"} | arguments)).json())["ok"]
    assert [message.text for message in read_outbox(tmp_path)] == ["*dag* failed"] * 3


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": ""}])
@pytest.mark.parametrize("method", ["chat.postMessage", "auth.test", "chat.update", "files.getUploadURLExternal", "x"])
async def test_a_token_is_required(tmp_path: Path, method: str, headers: dict[str, str]) -> None:
    async with TestClient(TestServer(SlackSink(tmp_path).app())) as client:
        answer = await client.post(f"/api/{method}", json={"channel": "c", "text": "t"}, headers=headers)
        assert answer.status == 200
        assert await answer.json() == {"ok": False, "error": "not_authed"}
        if method == "auth.test":
            assert (await (await client.post("/api/auth.test", data={"token": TOKEN})).json())["ok"] is True
    assert read_outbox(tmp_path) == []


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("chat.postMessage", {"text": "t"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "c"}, "no_text"),
        ("chat.postMessage", {"channel": "c", "blocks": "{broken"}, "no_text"),
        ("chat.update", {"channel": "c", "text": "t"}, "message_not_found"),
        ("files.getUploadURLExternal", {}, "invalid_arguments"),
        ("files.completeUploadExternal", {"files": [{"id": "F1"}]}, "file_not_found"),
        ("files.completeUploadExternal", {"files": 3}, "file_not_found"),
        ("conversations.list", {}, "unknown_method"),
    ],
)
async def test_errors_are_slacks(tmp_path: Path, method: str, arguments: dict[str, Any], error: str) -> None:
    async with client_of(tmp_path) as client:
        assert await (await client.post(f"/api/{method}", json=arguments)).json() == {"ok": False, "error": error}
        assert (
            await client.post(f"/api/{method}", data="[1", headers={"Content-Type": "application/json"})
        ).status == 200
    assert read_outbox(tmp_path) == []


async def test_webhook(tmp_path: Path) -> None:
    async with TestClient(TestServer(SlackSink(tmp_path).app())) as client:
        for arguments in ({"json": {"text": "one"}}, {"data": {"payload": '{"text": "two", "channel": "#c"}'}}):
            answer = await client.post("/services/T0/B0/very-secret", **arguments)  # type: ignore[arg-type]
            assert await answer.text() == "ok"
        assert (await client.post("/services/T0/B0/very-secret", json={})).status == 400
    assert [(message.text, message.recipients) for message in read_outbox(tmp_path)] == [
        ("one", ("(webhook)",)),
        ("two", ("#c",)),
    ]
    assert not any("very-secret" in path.read_text() for path in tmp_path.iterdir())


async def test_airflows_hook_posts_and_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.slack.hooks.slack import SlackHook

    async with client_of(tmp_path) as client:
        extra = {"base_url": str(client.make_url("/api/"))}
        connection = {"conn_type": "slack", "password": TOKEN, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_AIRFLOW_BOT", json.dumps(connection))

        def use() -> None:
            hook = SlackHook(slack_conn_id="slack_airflow_bot")
            assert hook.test_connection()[0]
            hook.call("chat.postMessage", json={"channel": "#alerts", "text": "hello"})
            hook.client.files_upload_v2(
                channel="C123", content="a,b\n", filename="rows.csv", initial_comment="the rows"
            )

        await asyncio.to_thread(use)
    posted, uploaded = read_outbox(tmp_path)
    assert posted.text == "hello"
    assert (uploaded.text, uploaded.recipients) == ("the rows\n[file: rows.csv (4 bytes)]", ("C123",))
