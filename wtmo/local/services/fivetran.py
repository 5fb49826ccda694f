"""Fivetran's REST API, as far as operators use it, over connectors declared in files (:mod:`.connectors`).

Served under the names of today and the older ones that airflow-provider-fivetran-async 2.4.0 calls; ``{c}`` stands for
``connections`` and ``connectors``:

======================================  ==========================================================================
``GET /v1/{c}/{id}``                    the connection with its status
``PATCH /v1/{c}/{id}``                  ``paused`` and ``schedule_type`` are kept; a pause stops a running sync
``POST /v1/{c}/{id}/sync``              ``{"force": bool}``: true stops a running sync and starts anew, false lets it go on
``POST /v1/{c}/{id}/force``             the older form of ``{"force": true}``, with an empty body
``POST /v1/{c}/{id}/resync``            a historical sync, instead of the running one
``POST /v1/{c}/{id}/test``              the setup tests
``GET /v1/groups``, ``/{g}``            and ``/{g}/connections``, ``/{g}/connectors``
``GET /v1/destinations/{g}``            ``GET /v1/{c}/{id}/schemas``, ``GET /v1/metadata/{c}/{id}/tables``, ``.../columns``:
                                        what the provider's OpenLineage extractor asks
``GET /v1/users``                       no users: the provider's connection test
======================================  ==========================================================================

Any key and secret are accepted, but there must be one (401). Fields, states and error bodies follow Fivetran's reference
(https://fivetran.com/docs/rest-api/api-reference/connections). Two answers are not documented there and are a guess:
starting a sync of a paused connection is 409, and a failed sync puts its reason into ``status.tasks``.

The state lies in one file, replaced before a request is answered. A sync goes on over a kill and a restart; one whose
time has passed meanwhile ends at the start.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from wtmo.errors import WtmoError
from wtmo.local.services.bigquery_load import LoadError, load_tables

if TYPE_CHECKING:
    from pathlib import Path

    from wtmo.local.services.connectors import Declaration

log = logging.getLogger(__name__)

CREATED_AT = "2026-01-01T00:00:00.000000Z"
_PATCHABLE = {"paused": (True, False), "schedule_type": ("auto", "manual")}


@dataclass
class Record:
    """What changes about one connector. Times are ISO 8601 texts in UTC, as the API gives them.

    :param sync_ends_at: when the running sync is due to end; None where none runs.
    :param syncs: how many syncs were started.
    :param failure: the reason of the last sync's failure; None after a success.
    :param faults_used: how often each declared fault was answered.
    """

    schedule_type: str
    paused: bool
    setup_state: str
    succeeded_at: str | None
    failed_at: str | None
    is_historical_sync: bool = False
    sync_ends_at: str | None = None
    rescheduled_for: str | None = None
    syncs: int = 0
    failure: str | None = None
    faults_used: list[int] = field(default_factory=list)

    @property
    def sync_state(self) -> str:
        """Fivetran's word for what the connection does now."""
        if self.paused:
            return "paused"
        if self.sync_ends_at:
            return "syncing"
        return "rescheduled" if self.rescheduled_for else "scheduled"


class ApiError(Exception):
    """An answer other than success, in Fivetran's shape ``{"code": ..., "message": ...}``."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        """Of HTTP status ``status``; ``retry_after`` is in seconds. Default: no such header."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    def response(self) -> web.Response:
        """It as an HTTP response."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return web.json_response({"code": self.code, "message": str(self)}, status=self.status, headers=headers)


class Fivetran:
    """The stand-in: its routes and its running syncs."""

    def __init__(
        self,
        connectors: Mapping[str, Declaration],
        *,
        state_file: Path,
        sync_seconds: float = 3,
        bigquery_url: str | None = None,
    ) -> None:
        """Take up the state that the last process left.

        :param connectors: what :func:`~wtmo.local.services.connectors.read_connectors` gives.
        :param state_file: where the state lies; made when missing.
        :param sync_seconds: how long a sync takes where its connector does not say.
        :param bigquery_url: where the rows go. Required where a connector declares tables.
        :raises WtmoError: where the state file is damaged, or tables are declared and there is no BigQuery.
        """
        if not bigquery_url and (loading := next((each.id for each in connectors.values() if each.tables), None)):
            raise WtmoError(
                f"the Fivetran connector {loading} declares tables, but there is no BigQuery to load them into",
                fix="give --bigquery-url http://127.0.0.1:PORT",
            )
        self._connectors = connectors
        self._state_file = state_file
        self._sync_seconds = sync_seconds
        self._bigquery_url = bigquery_url or ""
        self._running: dict[str, asyncio.Task[None]] = {}
        self._records = {id_: _new_record(declaration) for id_, declaration in connectors.items()}
        self._records |= {id_: each for id_, each in _read_state(state_file).items() if id_ in connectors}

    def app(self) -> web.Application:
        """The aiohttp application. Its start-up resumes syncs, its clean-up leaves them to the next start."""
        app = web.Application(middlewares=[_answer_errors, _require_key])
        one = "/v1/{names:connections|connectors}/{id}"
        slash = "{slash:/?}"
        app.router.add_get(one + slash, self._get)
        app.router.add_patch(one + slash, self._patch)
        for action in ("sync", "force", "resync"):
            app.router.add_post(f"{one}/{{action:{action}}}{slash}", self._start_requested)
        app.router.add_post(f"{one}/test{slash}", self._test)
        app.router.add_get(f"{one}/schemas{slash}", self._schemas)
        app.router.add_get(
            "/v1/metadata/{names:connections|connectors}/{id}/{what:tables|columns}" + slash, self._metadata
        )
        app.router.add_get("/v1/groups" + slash, self._groups)
        app.router.add_get("/v1/groups/{group}" + slash, self._group)
        app.router.add_get("/v1/groups/{group}/{names:connections|connectors}" + slash, self._group_connections)
        app.router.add_get("/v1/destinations/{group}" + slash, self._destination)
        app.router.add_get("/v1/users" + slash, self._users)
        app.on_startup.append(self._resume)
        app.on_cleanup.append(self._leave)
        return app

    # Syncs

    async def _resume(self, _: web.Application) -> None:
        for id_ in self._records:
            self._follow(id_)

    async def _leave(self, _: web.Application) -> None:
        for task in (tasks := list(self._running.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, id_: str) -> None:
        """Start a sync, in place of one that runs."""
        record, connector = self._records[id_], self._connectors[id_].connector
        seconds = self._sync_seconds if connector.sync_seconds is None else connector.sync_seconds
        record.syncs += 1
        record.rescheduled_for = None
        record.sync_ends_at = _text(_now() + timedelta(seconds=seconds))
        log.info("fivetran: %s: sync %d started, takes %g s", id_, record.syncs, seconds)
        self._save()
        self._follow(id_)

    def _stop(self, id_: str) -> None:
        if task := self._running.pop(id_, None):
            task.cancel()

    def _follow(self, id_: str) -> None:
        """Wait in the background for what this connector does next by itself."""
        self._stop(id_)
        record = self._records[id_]
        if record.paused:
            return
        if record.sync_ends_at:
            self._running[id_] = asyncio.create_task(self._finish(id_, _time(record.sync_ends_at)))
        elif record.rescheduled_for and record.schedule_type == "auto":
            self._running[id_] = asyncio.create_task(self._restart(id_, _time(record.rescheduled_for)))

    async def _restart(self, id_: str, at: datetime) -> None:
        await _sleep_until(at)
        del self._running[id_]  # so that starting does not cancel this very task
        self._start(id_)

    async def _finish(self, id_: str, at: datetime) -> None:
        await _sleep_until(at)
        record, declaration = self._records[id_], self._connectors[id_]
        connector = declaration.connector
        outcome = connector.outcome_of(record.syncs)
        failure = connector.failure_message if outcome == "failure" else None
        rows = 0
        if outcome == "success" and declaration.tables:
            try:
                rows = await load_tables(self._bigquery_url, declaration)
            except LoadError as error:
                failure = f"Loading into the destination failed: {error}"
        del self._running[id_]
        record.sync_ends_at = None
        if outcome == "rescheduled":
            record.rescheduled_for = _text(_now() + timedelta(seconds=connector.reschedule_seconds))
            log.info("fivetran: %s: sync %d rescheduled for %s", id_, record.syncs, record.rescheduled_for)
        elif failure:
            record.failed_at, record.failure = _text(_now()), failure
            log.warning("fivetran: %s: sync %d failed: %s", id_, record.syncs, failure)
        else:
            record.succeeded_at, record.failure = _text(_now()), None
            record.is_historical_sync, record.setup_state = False, "connected"
            log.info("fivetran: %s: sync %d succeeded, %d rows", id_, record.syncs, rows)
        self._save()
        self._follow(id_)

    def _save(self) -> None:
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._state_file.with_suffix(".tmp")
        temporary.write_text(json.dumps({id_: asdict(record) for id_, record in self._records.items()}, indent=1))
        temporary.replace(self._state_file)

    # Requests about one connection

    def _asked(self, request: web.Request) -> str:
        """The id of the connection that a request is about, once its declared faults are used up."""
        id_ = request.match_info["id"]
        if id_ not in self._connectors:
            raise ApiError(404, "NotFound_Connector", f"Connector with id '{id_}' does not exist.")
        record, faults = self._records[id_], self._connectors[id_].connector.faults
        record.faults_used += [0] * (len(faults) - len(record.faults_used))
        for number, fault in enumerate(faults):
            if fault.method in {None, request.method} and record.faults_used[number] < fault.times:
                record.faults_used[number] += 1
                self._save()
                code = "TooManyRequests" if fault.status == 429 else "DeclaredFault"
                raise ApiError(fault.status, code, f"'{id_}' declares this answer.", retry_after=fault.retry_after)
        return id_

    def _view(self, id_: str) -> dict[str, Any]:
        record, connector = self._records[id_], self._connectors[id_].connector
        return {
            "id": id_,
            "service": connector.service,
            "schema": connector.schema_name,
            "group_id": connector.group_id,
            "service_version": 1,
            "connected_by": "local",
            "created_at": CREATED_AT,
            "succeeded_at": record.succeeded_at,
            "failed_at": record.failed_at,
            "paused": record.paused,
            "pause_after_trial": False,
            "sync_frequency": 360,
            "data_delay_threshold": 0,
            "data_delay_sensitivity": "NORMAL",
            "schedule_type": record.schedule_type,
            "status": {
                "setup_state": record.setup_state,
                "schema_status": "ready",
                "sync_state": record.sync_state,
                "update_state": "delayed" if record.failure else "on_schedule",
                "is_historical_sync": record.is_historical_sync,
                "rescheduled_for": record.rescheduled_for,
                "tasks": [{"code": "sync_failed", "message": record.failure}] if record.failure else [],
                "warnings": [],
            },
            "config": {},
        }

    async def _get(self, request: web.Request) -> web.Response:
        return _success(self._view(self._asked(request)))

    async def _patch(self, request: web.Request) -> web.Response:
        id_, changes = self._asked(request), await _body(request)
        record = self._records[id_]
        for key, allowed in _PATCHABLE.items():
            if key in changes and changes[key] not in allowed:
                raise ApiError(400, "InvalidInput", f"'{key}' must be one of {list(allowed)}, not {changes[key]!r}.")
        record.paused = bool(changes.get("paused", record.paused))
        record.schedule_type = str(changes.get("schedule_type", record.schedule_type))
        if record.paused:
            record.sync_ends_at = None
        self._save()
        self._follow(id_)
        log.info("fivetran: %s: paused %s, schedule %s", id_, record.paused, record.schedule_type)
        return _success(self._view(id_))

    async def _start_requested(self, request: web.Request) -> web.Response:
        id_, body, action = self._asked(request), await _body(request), request.match_info["action"]
        record = self._records[id_]
        force = body.get("force", False)
        if not isinstance(force, bool):
            raise ApiError(400, "InvalidInput", f"'force' must be true or false, not {force!r}.")
        if record.paused:
            raise ApiError(409, "Conflict", f"Connection with id '{id_}' is paused.")
        if action == "resync":
            record.is_historical_sync = True
        if record.sync_ends_at and not force and action == "sync":
            log.info("fivetran: %s: sync %d goes on, another start was asked for", id_, record.syncs)
        else:
            self._start(id_)
        noun, word = request.match_info["names"].removesuffix("s"), "Re-sync" if action == "resync" else "Sync"
        return web.json_response({
            "code": "Success",
            "message": f"{word} has been successfully triggered for {noun} with id '{id_}'",
        })

    async def _test(self, request: web.Request) -> web.Response:
        id_ = self._asked(request)
        record, outcome = self._records[id_], self._connectors[id_].connector.setup_test
        passed = record.setup_state == "connected" or outcome != "failed"
        if outcome == "passed":
            record.setup_state = "connected"
            self._save()
        test = {
            "title": "Connecting to the source",
            "status": "PASSED" if passed else "FAILED",
            "message": "" if passed else "The source refused the credentials (as this connector declares)",
        }
        return _success(self._view(id_) | {"setup_tests": [test]})

    async def _schemas(self, request: web.Request) -> web.Response:
        declaration = self._connectors[self._asked(request)]
        name = declaration.connector.schema_name
        tables = {table: {"name_in_destination": table, "enabled": True} for table in declaration.tables}
        schema = {"name_in_destination": name, "enabled": True, "tables": tables}
        return _success({"enable_new_by_default": True, "schemas": {name: schema}})

    async def _metadata(self, request: web.Request) -> web.Response:
        declaration = self._connectors[self._asked(request)]
        schema = declaration.connector.schema_name
        if request.match_info["what"] == "tables":
            return _items([_named(f"{schema}.{table}", schema, table) for table in declaration.tables])
        return _items([
            _named(f"{schema}.{name}.{column['name']}", f"{schema}.{name}", str(column["name"]))
            | {"type_in_source": column["type"], "type_in_destination": column["type"]}
            for name, table in declaration.tables.items()
            for column in table.schema
        ])

    # Requests about groups

    def _group_of(self, request: web.Request) -> str:
        group = request.match_info["group"]
        if not any(each.connector.group_id == group for each in self._connectors.values()):
            raise ApiError(404, "NotFound_Group", f"Group with id '{group}' does not exist.")
        return group

    async def _groups(self, _: web.Request) -> web.Response:
        return _items([
            _group_view(group) for group in sorted({e.connector.group_id for e in self._connectors.values()})
        ])

    async def _group(self, request: web.Request) -> web.Response:
        return _success(_group_view(self._group_of(request)))

    async def _group_connections(self, request: web.Request) -> web.Response:
        group = self._group_of(request)
        return _items([self._view(id_) for id_, each in self._connectors.items() if each.connector.group_id == group])

    async def _destination(self, request: web.Request) -> web.Response:
        group = self._group_of(request)
        project = next(each.connector.project for each in self._connectors.values() if each.connector.group_id == group)
        config = {"project_id": project, "data_set_location": "US"}
        return _success({
            "id": group,
            "group_id": group,
            "service": "big_query",
            "region": "US",
            "setup_status": "connected",
            "config": config,
        })

    async def _users(self, _: web.Request) -> web.Response:
        return _items([])


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except web.HTTPClientError as error:
        return ApiError(error.status, error.reason.replace(" ", ""), f"{request.method} {request.path}").response()


@web.middleware
async def _require_key(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path.startswith("/v1/") and not _has_key(request.headers.get("Authorization", "")):
        raise ApiError(401, "AuthFailed", "An API key and secret are required: Authorization: Basic.")
    return await handler(request)


def _has_key(header: str) -> bool:
    scheme, _, encoded = header.partition(" ")
    try:
        key, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return scheme.lower() == "basic" and bool(key and secret)


async def _body(request: web.Request) -> dict[str, Any]:
    """A request's JSON object; empty where there is no body, as the older ``/force`` is called."""
    text = await request.text()
    if not text:
        return {}
    if request.content_type != "application/json":
        raise ApiError(415, "UnsupportedMediaType", "Content-Type must be application/json.")
    try:
        body = json.loads(text)
    except ValueError as error:
        raise ApiError(400, "InvalidInput", f"The body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise ApiError(400, "InvalidInput", "The body is not a JSON object.")
    return body


def _success(data: dict[str, Any]) -> web.Response:
    return web.json_response({"code": "Success", "data": data})


def _items(items: list[dict[str, Any]]) -> web.Response:
    return _success({"items": items, "next_cursor": None})


def _group_view(group: str) -> dict[str, Any]:
    return {"id": group, "name": group, "created_at": CREATED_AT}


def _named(id_: str, parent: str, name: str) -> dict[str, Any]:
    return {"id": id_, "parent_id": parent, "name_in_source": name, "name_in_destination": name}


def _new_record(declaration: Declaration) -> Record:
    connector = declaration.connector
    return Record(
        schedule_type=connector.schedule_type,
        paused=connector.paused,
        setup_state=connector.setup_state,
        succeeded_at=_text(connector.succeeded_at) if connector.succeeded_at else None,
        failed_at=_text(connector.failed_at) if connector.failed_at else None,
    )


def _read_state(path: Path) -> dict[str, Record]:
    try:
        return {id_: Record(**record) for id_, record in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WtmoError(f"Fivetran's state {path} cannot be read: {error}", fix=f"remove it: rm {path}") from error


def _now() -> datetime:
    return datetime.now(UTC)


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def _sleep_until(at: datetime) -> None:
    await asyncio.sleep(max(0.0, (at - _now()).total_seconds()))
