"""The token endpoint, used by google-auth with a fresh service account key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import TestClient, TestServer

from wtmo.local.services.google_auth import JWT_BEARER, GoogleAuth
from wtmo.local.tls import service_account_key

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.loopback


async def test_google_auth_gets_the_token_of_the_file(tmp_path: Path) -> None:
    from google.auth.transport.requests import Request
    from google.oauth2.service_account import Credentials

    file = tmp_path / "token"
    file.write_text("first\n")
    async with TestServer(GoogleAuth(file).app()) as server:
        key = service_account_key(str(server.make_url("/token")), "moz-fx-data-airflow-gke-prod")
        credentials = Credentials.from_service_account_info(
            key, scopes=["https://www.googleapis.com/auth/cloud-platform"]
        )  # type: ignore[no-untyped-call]
        assert credentials.project_id == "moz-fx-data-airflow-gke-prod"
        await asyncio.to_thread(credentials.refresh, Request())
        assert credentials.token == "first"
        assert credentials.valid
        file.write_text("second")
        await asyncio.to_thread(credentials.refresh, Request())
        assert credentials.token == "second"


async def test_aio_client_gets_it_too(tmp_path: Path) -> None:
    import io
    import json

    from gcloud.aio.auth import Token

    file = tmp_path / "token"
    file.write_text("aio")
    async with TestServer(GoogleAuth(file).app()) as server:
        key = service_account_key(str(server.make_url("/token")), "p")
        token = Token(service_file=io.StringIO(json.dumps(key)), scopes=["s"])
        assert await token.get() == "aio"
        await token.close()


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": JWT_BEARER}, "invalid_grant"),
        ({"grant_type": JWT_BEARER, "assertion": "nonsense"}, "invalid_grant"),
    ],
)
async def test_other_requests_get_no_token(tmp_path: Path, form: dict[str, str], error: str) -> None:
    (tmp_path / "token").write_text("secret")
    async with TestClient(TestServer(GoogleAuth(tmp_path / "token").app())) as client:
        answer = await client.post("/token", data=form)
        assert answer.status == 400
        body = await answer.json()
    assert body["error"] == error
    assert "access_token" not in body


async def test_missing_token_file_is_named(tmp_path: Path) -> None:
    async with TestClient(TestServer(GoogleAuth(tmp_path / "missing").app())) as client:
        answer = await client.post("/token", data={"grant_type": JWT_BEARER, "assertion": "a.b.c"})
        assert answer.status == 503
        assert str(tmp_path / "missing") in await answer.text()


def test_keys_are_fresh() -> None:
    first, second = (service_account_key("http://127.0.0.1:1/token", "p") for _ in range(2))
    assert first["private_key"] != second["private_key"]
    assert first["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
