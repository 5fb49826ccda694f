"""The Fivetran stand-in's API: what it answers, and what becomes of syncs."""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from wtmo.errors import WtmoError
from wtmo.local.services.connectors import Connector, Declaration, read_connectors
from wtmo.local.services.fivetran import Fivetran

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

pytestmark = pytest.mark.loopback

BOTH_NAMES = pytest.mark.parametrize("names", ["connectors", "connections"])
FIELDS = [{"name": "id", "type": "INT64"}, {"name": "name", "type": "STRING"}]


@asynccontextmanager
async def serving(
    app: web.Application, *, key: bool = True
) -> AsyncGenerator[TestClient[web.Request, web.Application], None]:
    headers = {"Authorization": aiohttp.encode_basic_auth("key", "secret")} if key else {}
    async with TestClient(TestServer(app), headers=headers) as client:
        yield client


def fivetran(tmp_path: Path, connectors: dict[str, dict[str, Any]], **options: Any) -> web.Application:
    declared = {
        id_: Declaration(
            id_, Connector.model_validate_json(json.dumps({"service": "sheets", "schema": "s"} | keys)), {}
        )
        for id_, keys in connectors.items()
    }
    return Fivetran(declared, state_file=tmp_path / "fivetran.json", **({"sync_seconds": 0.1} | options)).app()


async def data(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body = await response.json()
    assert response.status == 200, body
    assert body["code"] == "Success"
    result: dict[str, Any] = body["data"]
    return result


async def status_of(client: Any, id_: str) -> dict[str, Any]:
    return await data(await client.get(f"/v1/connections/{id_}"))


async def until(client: Any, id_: str, state: str) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while (view := await status_of(client, id_))["status"]["sync_state"] != state:
        assert time.monotonic() < deadline, f"waited 10 s for {id_} to be {state}, it is {view}"
        await asyncio.sleep(0.02)
    return view


@BOTH_NAMES
async def test_a_connection_and_its_fields(tmp_path: Path, names: str) -> None:
    async with serving(fivetran(tmp_path, {"abc_def": {"group_id": "g1"}})) as client:
        view = await data(await client.get(f"/v1/{names}/abc_def"))
    assert view["id"] == "abc_def"
    assert (view["service"], view["schema"], view["group_id"]) == ("sheets", "s", "g1")
    assert (view["paused"], view["schedule_type"]) == (False, "auto")
    assert (view["succeeded_at"], view["failed_at"]) == ("2026-01-01T00:00:00.000000Z", None)
    assert view["status"] == {
        "setup_state": "connected",
        "schema_status": "ready",
        "sync_state": "scheduled",
        "update_state": "on_schedule",
        "is_historical_sync": False,
        "rescheduled_for": None,
        "tasks": [],
        "warnings": [],
    }


@pytest.mark.parametrize(
    "header", [None, "Basic", "Basic !!!", "Basic " + "a2V5", "Bearer x", "Basic a2V5Og==", "Basic /w=="]
)
async def test_a_key_and_a_secret_are_required(tmp_path: Path, header: str | None) -> None:
    async with serving(fivetran(tmp_path, {"one": {}}), key=False) as client:
        for path in ("/v1/connections/one", "/v1/groups", "/v1/nothing"):
            answer = await client.get(path, headers={"Authorization": header} if header else {})
            assert answer.status == 401
            assert (await answer.json())["code"] == "AuthFailed"


@BOTH_NAMES
@pytest.mark.parametrize("id_", ["nobody", "..%2F..%2Fetc", "a%20b"])
async def test_unknown_connection_is_named(tmp_path: Path, names: str, id_: str) -> None:
    async with serving(fivetran(tmp_path, {"one": {}})) as client:
        answer = await client.get(f"/v1/{names}/{id_}")
        body = await answer.json()
    assert answer.status == 404
    assert body["code"] == "NotFound_Connector"
    assert re.search(r"nobody|/etc|a b", body["message"])


async def test_unknown_path_and_method_have_fivetrans_error_shape(tmp_path: Path) -> None:
    async with serving(fivetran(tmp_path, {"one": {}})) as client:
        for method, path, status in (("GET", "/v1/transformations", 404), ("DELETE", "/v1/connections/one", 405)):
            answer = await client.request(method, path)
            assert answer.status == status
            assert set(await answer.json()) == {"code", "message"}


@pytest.mark.parametrize(
    ("names", "action", "body"),
    [("connections", "sync", {"force": False}), ("connections", "sync", None), ("connectors", "force", None)],
)
async def test_sync_takes_time_and_succeeds(tmp_path: Path, names: str, action: str, body: Any) -> None:
    async with serving(fivetran(tmp_path, {"one": {"sync_seconds": 0.3}})) as client:
        answer = await (
            await client.post(f"/v1/{names}/one/{action}", json=body)
            if body
            else await client.post(f"/v1/{names}/one/{action}")
        ).json()
        noun = names.removesuffix("s")
        assert answer == {
            "code": "Success",
            "message": f"Sync has been successfully triggered for {noun} with id 'one'",
        }
        view = await status_of(client, "one")
        assert view["status"]["sync_state"] == "syncing"
        assert view["succeeded_at"] == "2026-01-01T00:00:00.000000Z"
        view = await until(client, "one", "scheduled")
    assert view["succeeded_at"] > "2026-01-02"
    assert view["failed_at"] is None


def syncs(tmp_path: Path, id_: str) -> int:
    return int(json.loads((tmp_path / "fivetran.json").read_text())[id_]["syncs"])


async def test_start_without_force_leaves_the_running_sync_alone(tmp_path: Path) -> None:
    async with serving(fivetran(tmp_path, {"one": {"sync_seconds": 30}})) as client:
        for _ in range(3):
            answer = await client.post("/v1/connections/one/sync", json={"force": False})
            assert (await answer.json())["code"] == "Success"
        assert syncs(tmp_path, "one") == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [("connections/one/sync", {"force": True}), ("connectors/one/force", {}), ("connections/one/resync", {})],
)
async def test_force_stops_and_restarts_the_running_sync(tmp_path: Path, path: str, body: Any) -> None:
    async with serving(fivetran(tmp_path, {"one": {"sync_seconds": 1}})) as client:
        started = time.monotonic()
        await client.post("/v1/connections/one/sync", json={"force": False})
        await asyncio.sleep(0.5)
        await client.post(f"/v1/{path}", json=body)
        assert syncs(tmp_path, "one") == 2
        view = await status_of(client, "one")
        assert view["status"]["is_historical_sync"] is path.endswith("resync")
        view = await until(client, "one", "scheduled")
        assert time.monotonic() - started >= 1.5, "the first sync's end must not end the second"
    assert view["succeeded_at"] > "2026-01-02"
    assert view["status"]["is_historical_sync"] is False


async def test_outcomes_follow_the_declaration(tmp_path: Path) -> None:
    declared = {
        "outcome": ["failure", "rescheduled", "success"],
        "failure_message": "no quota",
        "schedule_type": "manual",
        "reschedule_seconds": 60,
    }
    async with serving(fivetran(tmp_path, {"one": declared})) as client:
        await client.post("/v1/connections/one/sync", json={})
        view = await until(client, "one", "scheduled")
        assert view["failed_at"] > "2026-01-02"
        assert view["succeeded_at"] < "2026-01-02"
        assert view["status"]["tasks"] == [{"code": "sync_failed", "message": "no quota"}]
        assert view["status"]["update_state"] == "delayed"

        await client.post("/v1/connections/one/sync", json={})
        view = await until(client, "one", "rescheduled")
        assert view["status"]["rescheduled_for"] > view["failed_at"]

        await client.post("/v1/connections/one/sync", json={})
        view = await until(client, "one", "scheduled")
        assert view["succeeded_at"] > view["failed_at"]
        assert view["status"]["tasks"] == []
        assert view["status"]["rescheduled_for"] is None


@pytest.mark.parametrize(("schedule_type", "expected"), [("auto", "scheduled"), ("manual", "rescheduled")])
async def test_only_automatic_schedule_resumes_a_rescheduled_sync(
    tmp_path: Path, schedule_type: str, expected: str
) -> None:
    declared = {
        "outcome": ["rescheduled", "success"],
        "reschedule_seconds": 0.1,
        "schedule_type": schedule_type,
        "sync_seconds": 0,
    }
    async with serving(fivetran(tmp_path, {"one": declared})) as client:
        await client.post("/v1/connections/one/sync", json={})
        await asyncio.sleep(0.5)
        assert (await status_of(client, "one"))["status"]["sync_state"] == expected


async def test_schedule_set_to_automatic_later_resumes_too(tmp_path: Path) -> None:
    declared = {
        "outcome": ["rescheduled", "success"],
        "reschedule_seconds": 0.1,
        "schedule_type": "manual",
        "sync_seconds": 0,
    }
    async with serving(fivetran(tmp_path, {"one": declared})) as client:
        await client.post("/v1/connections/one/sync", json={})
        await until(client, "one", "rescheduled")
        await client.patch("/v1/connections/one", json={"schedule_type": "auto"})
        await until(client, "one", "scheduled")


async def test_pause(tmp_path: Path) -> None:
    async with serving(fivetran(tmp_path, {"one": {"sync_seconds": 0.3}})) as client:
        await client.post("/v1/connections/one/sync", json={})
        view = await data(await client.patch("/v1/connectors/one", json={"paused": True, "run_setup_tests": False}))
        assert (view["paused"], view["status"]["sync_state"]) == (True, "paused")
        answer = await client.post("/v1/connections/one/sync", json={})
        assert answer.status == 409
        assert "is paused" in (await answer.json())["message"]
        await asyncio.sleep(0.4)
        view = await data(await client.patch("/v1/connectors/one", json={"paused": False}))
        assert view["status"]["sync_state"] == "scheduled"
        assert view["succeeded_at"] < "2026-01-02", "the pause stopped the sync"


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", "{", 400),
        ("application/json", "[]", 400),
        ("application/json", '{"paused": "yes"}', 400),
        ("application/json", '{"schedule_type": "hourly"}', 400),
        ("application/json", '{"schedule_type": null}', 400),
        ("text/plain", '{"paused": true}', 415),
    ],
)
async def test_wrong_changes_are_refused(tmp_path: Path, content_type: str, body: str, status: int) -> None:
    async with serving(fivetran(tmp_path, {"one": {}})) as client:
        answer = await client.patch("/v1/connections/one", data=body, headers={"Content-Type": content_type})
        assert answer.status == status
        assert (await status_of(client, "one"))["paused"] is False
        answer = await client.post("/v1/connections/one/sync", json={"force": "yes"})
        assert answer.status == 400


async def test_declared_faults_are_answered_in_order_and_used_up(tmp_path: Path) -> None:
    faults = [{"method": "GET", "status": 429, "times": 2, "retry_after": 7}, {"status": 503}]
    async with serving(fivetran(tmp_path, {"one": {"faults": faults}})) as client:
        first = await client.get("/v1/connections/one")
        assert (first.status, first.headers["Retry-After"]) == (429, "7")
        assert (await first.json())["code"] == "TooManyRequests"
    async with serving(fivetran(tmp_path, {"one": {"faults": faults}})) as client:
        answers = [(await client.get("/v1/connections/one")) for _ in range(3)]
        assert [answer.status for answer in answers] == [429, 503, 200], "counted over a restart"
        assert "Retry-After" not in answers[1].headers


@pytest.mark.parametrize(
    ("setup_test", "status", "after"),
    [("failed", "FAILED", "broken"), ("passed", "PASSED", "connected"), ("passed_still_broken", "PASSED", "broken")],
)
async def test_setup_tests(tmp_path: Path, setup_test: str, status: str, after: str) -> None:
    async with serving(fivetran(tmp_path, {"one": {"setup_state": "broken", "setup_test": setup_test}})) as client:
        view = await data(await client.post("/v1/connectors/one/test", json={}))
        assert view["setup_tests"][0]["status"] == status
        assert view["status"]["setup_state"] == after
        await client.post("/v1/connections/one/sync", json={})
        view = await until(client, "one", "scheduled")
        assert view["status"]["setup_state"] == "connected", "a successful sync mends it"


@pytest.mark.parametrize("slash", ["", "/"])
async def test_groups(tmp_path: Path, slash: str) -> None:
    async with serving(
        fivetran(tmp_path, {"a": {"group_id": "g1"}, "b": {"group_id": "g2"}, "c": {"group_id": "g2"}})
    ) as client:
        groups = await data(await client.get(f"/v1/groups{slash}"))
        assert [group["id"] for group in groups["items"]] == ["g1", "g2"]
        assert groups["next_cursor"] is None
        assert (await data(await client.get(f"/v1/groups/g1{slash}")))["name"] == "g1"
        for names in ("connectors", "connections"):
            members = await data(await client.get(f"/v1/groups/g2/{names}{slash}"))
            assert [member["id"] for member in members["items"]] == ["b", "c"]
        assert (await data(await client.get(f"/v1/destinations/g2{slash}")))["config"][
            "project_id"
        ] == "moz-fx-data-bq-fivetran"
        assert (await data(await client.get(f"/v1/users{slash}")))["items"] == []
        assert (await client.get(f"/v1/groups/nobody{slash}")).status == 404


# State


async def test_running_sync_survives_a_restart(tmp_path: Path) -> None:
    connectors: dict[str, Any] = {
        "long": {"sync_seconds": 0.8},
        "short": {"sync_seconds": 0.2},
        "put_off": {"sync_seconds": 0, "outcome": ["rescheduled", "success"], "reschedule_seconds": 0.2},
    }
    async with serving(fivetran(tmp_path, connectors)) as client:
        for id_ in connectors:
            await client.post(f"/v1/connections/{id_}/sync", json={})
        await until(client, "put_off", "rescheduled")
        await client.patch("/v1/connections/long", json={"schedule_type": "manual"})
    await asyncio.sleep(0.3)
    async with serving(fivetran(tmp_path, connectors)) as client:
        view = await status_of(client, "long")
        assert view["status"]["sync_state"] == "syncing"
        assert view["schedule_type"] == "manual"
        for id_ in connectors:
            assert (await until(client, id_, "scheduled"))["succeeded_at"] > "2026-01-02"
    assert syncs(tmp_path, "long") == 1
    assert syncs(tmp_path, "put_off") == 2


async def test_state_of_a_removed_connector_is_ignored_and_damaged_state_named(tmp_path: Path) -> None:
    async with serving(fivetran(tmp_path, {"one": {}, "two": {}})) as client:
        await client.patch("/v1/connections/one", json={"paused": True})
    async with serving(fivetran(tmp_path, {"one": {}})) as client:
        assert (await status_of(client, "one"))["paused"] is True
        assert (await client.get("/v1/connections/two")).status == 404
    for damage in ("{", "[]", '{"one": {"unknown": 1}}'):
        (tmp_path / "fivetran.json").write_text(damage)
        with pytest.raises(WtmoError, match=r"fivetran\.json cannot be read"):
            fivetran(tmp_path, {"one": {}})


# Loading


class BigQuery:
    """The calls of a load job, recorded; a job is RUNNING at the first look."""

    def __init__(self, *, error: str | None = None, dataset_status: int = 200) -> None:
        self.error = error
        self.dataset_status = dataset_status
        self.datasets: list[Any] = []
        self.loads: list[tuple[dict[str, Any], list[str]]] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/bigquery/v2/projects/{project}/datasets", self.dataset)
        app.router.add_post("/upload/bigquery/v2/projects/{project}/jobs", self.upload)
        app.router.add_get("/bigquery/v2/projects/{project}/jobs/{job}", self.job)
        return app

    async def dataset(self, request: web.Request) -> web.Response:
        self.datasets.append(await request.json())
        body = (
            {"error": {"code": self.dataset_status, "message": "datasets are not for you"}}
            if self.dataset_status != 200
            else {}
        )
        return web.json_response(body, status=self.dataset_status)

    async def upload(self, request: web.Request) -> web.Response:
        assert request.query["uploadType"] == "multipart"
        assert request.content_type == "multipart/related"
        reader = await request.multipart()
        parts = [await part.text() async for part in reader]  # type: ignore[union-attr]
        assert len(parts) == 2
        self.loads.append((json.loads(parts[0]), parts[1].splitlines()))
        return web.json_response({"status": {"state": "RUNNING"}})

    async def job(self, request: web.Request) -> web.Response:
        job, rows = next(load for load in self.loads if load[0]["jobReference"]["jobId"] == request.match_info["job"])
        status: dict[str, Any] = {"state": "DONE"} | ({"errorResult": {"message": self.error}} if self.error else {})
        return web.json_response({**job, "status": status, "statistics": {"load": {"outputRows": str(len(rows))}}})


def declare_tables(folder: Path) -> dict[str, Declaration]:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "accounts.ndjson").write_text('{"id": 1, "name": "ä"}\n{"id": 2, "name": "b"}\n')
    (folder / "data" / "accounts.schema.json").write_text(json.dumps(FIELDS))
    tables = {"accounts": {"rows": "data/accounts.ndjson", "schema": "data/accounts.schema.json"}}
    declared = {"service": "netsuite", "schema": "netsuite", "sync_seconds": 0.1, "tables": tables}
    (folder / "ns.json").write_text(json.dumps(declared))
    return read_connectors(folder)


@pytest.mark.parametrize("dataset_status", [200, 409])
async def test_successful_sync_replaces_the_tables(tmp_path: Path, dataset_status: int) -> None:
    bigquery = BigQuery(dataset_status=dataset_status)
    async with TestServer(bigquery.app()) as warehouse:
        app = Fivetran(
            declare_tables(tmp_path / "c"), state_file=tmp_path / "f.json", bigquery_url=str(warehouse.make_url(""))
        ).app()
        async with serving(app) as client:
            for _ in range(2):
                await client.post("/v1/connections/ns/sync", json={})
                view = await until(client, "ns", "scheduled")
            schemas = await data(await client.get("/v1/connectors/ns/schemas"))
            tables = await data(await client.get("/v1/metadata/connectors/ns/tables"))
            columns = await data(await client.get("/v1/metadata/connectors/ns/columns"))
    assert view["succeeded_at"] > "2026-01-02"
    assert bigquery.datasets[0] == {
        "datasetReference": {"projectId": "moz-fx-data-bq-fivetran", "datasetId": "netsuite"}
    }
    (job, rows), (second, _) = bigquery.loads
    assert [json.loads(row) for row in rows] == [{"id": 1, "name": "ä"}, {"id": 2, "name": "b"}]
    load = job["configuration"]["load"]
    assert load["destinationTable"] == {
        "projectId": "moz-fx-data-bq-fivetran",
        "datasetId": "netsuite",
        "tableId": "accounts",
    }
    assert (load["writeDisposition"], load["sourceFormat"]) == ("WRITE_TRUNCATE", "NEWLINE_DELIMITED_JSON")
    assert load["schema"] == {"fields": FIELDS}
    assert job["jobReference"]["jobId"] != second["jobReference"]["jobId"], "BigQuery refuses an id that was used"
    assert schemas["schemas"]["netsuite"]["tables"]["accounts"]["name_in_destination"] == "accounts"
    table = tables["items"][0]
    assert [
        (c["name_in_source"], c["type_in_destination"]) for c in columns["items"] if c["parent_id"] == table["id"]
    ] == [("id", "INT64"), ("name", "STRING")]


@pytest.mark.parametrize(
    ("bigquery", "reason"),
    [
        (
            BigQuery(error="Row 1: no such field: nam"),
            "table moz-fx-data-bq-fivetran.netsuite.accounts: Row 1: no such field: nam",
        ),
        (
            BigQuery(dataset_status=403),
            "data set moz-fx-data-bq-fivetran.netsuite: BigQuery answered 403: datasets are not for you",
        ),
        (None, "Cannot connect to host"),
    ],
    ids=["job", "dataset", "down"],
)
async def test_failed_load_fails_the_sync_with_its_reason(
    tmp_path: Path, bigquery: BigQuery | None, reason: str
) -> None:
    async with TestServer((bigquery or BigQuery()).app()) as warehouse:
        url = str(warehouse.make_url("")) if bigquery else "http://127.0.0.1:9"
        app = Fivetran(declare_tables(tmp_path / "c"), state_file=tmp_path / "f.json", bigquery_url=url).app()
        async with serving(app) as client:
            await client.post("/v1/connections/ns/sync", json={})
            view = await until(client, "ns", "scheduled")
    assert view["succeeded_at"] < "2026-01-02"
    assert view["failed_at"] > "2026-01-02"
    assert reason in view["status"]["tasks"][0]["message"]


def test_tables_without_a_bigquery_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WtmoError, match=r"connector ns declares tables[\s\S]*--bigquery-url"):
        Fivetran(declare_tables(tmp_path / "c"), state_file=tmp_path / "f.json")
