"""dbt Cloud's stand-in: the life of a run, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from wtmo.local.services.dbt_cloud import DbtCloud
from wtmo.local.services.outbox import read_outbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.loopback

ACCOUNT = "/dbt/api/v2/accounts/1"
RUN = f"{ACCOUNT}/jobs/684764/run/"
CAUSE = {"cause": "Triggered by d.t", "steps_override": None}


class Service:
    """The stand-in with a clock of the test's."""

    def __init__(self, outbox: Path) -> None:
        self.now = 0.0
        app = web.Application()
        app.add_routes(DbtCloud(outbox, seconds=2, clock=lambda: self.now).routes())
        self.client: TestClient[Any, Any] = TestClient(TestServer(app), headers={"Authorization": "Token very-secret"})

    async def data(self, path: str, **query: str) -> Any:
        answer = await self.client.get(ACCOUNT + path, params=query)
        assert answer.status == 200
        return (await answer.json())["data"]

    async def start(self, cause: str = "why") -> int:
        answer = await self.client.post(RUN, json={"cause": cause})
        return int((await answer.json())["data"]["id"])


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    service = Service(tmp_path)
    async with service.client:
        yield service


async def test_a_run_is_queued_runs_and_succeeds(service: Service, tmp_path: Path) -> None:
    answer = await service.client.post(RUN, json=CAUSE)
    run = (await answer.json())["data"]
    assert run["href"].endswith("/dbt/deploy/1/runs/1/")
    statuses = []
    for _ in range(3):
        statuses.append((await service.data("/runs/1/"))["status"])
        service.now += 1
    assert statuses == [1, 3, 10]
    (message,) = read_outbox(tmp_path)
    assert (message.kind, message.recipients, message.text) == ("dbt", ("job 684764",), "Triggered by d.t")
    assert "very-secret" not in message.path.read_text()


async def test_runs_are_found_by_job_and_status_newest_first(service: Service) -> None:
    first = await service.start()
    service.now += 5
    second = await service.start()
    assert [run["id"] for run in await service.data("/runs/", job_definition_id="684764")] == [second, first]
    assert [run["id"] for run in await service.data("/runs/", status__in="[1, 2, 3]")] == [second]
    assert await service.data("/runs/", job_definition_id="5") == []


async def test_a_run_is_cancelled_or_fails(service: Service) -> None:
    cancelled, failing = await service.start(), await service.start("with wtmo-fault=error")
    await service.client.post(f"{ACCOUNT}/runs/{cancelled}/cancel/")
    service.now += 5
    assert [(await service.data(f"/runs/{run}/"))["status"] for run in (cancelled, failing)] == [30, 20]
    await service.client.post(f"{ACCOUNT}/runs/{failing}/cancel/")
    assert (await service.data(f"/runs/{failing}/"))["status"] == 20


async def test_what_dbt_refuses_is_refused(service: Service, tmp_path: Path) -> None:
    for body in ("{", "[]"):
        assert (await service.client.post(RUN, data=body)).status == 400
    assert (await service.client.post(RUN, json={})).status == 400
    assert (await service.client.get(f"{ACCOUNT}/runs/7/")).status == 404
    assert (await service.client.get(f"{ACCOUNT}/runs/", params={"status__in": "one"})).status == 400
    assert (await service.client.post(RUN, json=CAUSE, headers={"Authorization": ""})).status == 401
    assert read_outbox(tmp_path) == []
