"""FivetranSyncOperator and FivetranSyncSensor against the Fivetran stand-in, on a worker and through the triggerer."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from aiohttp import web
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)
from airflow.sdk.module_loading import import_string

from operators import fivetran
from operators.fivetran import (
    FivetranConnectionLink,
    FivetranConnector,
    FivetranError,
    FivetranFinalError,
    FivetranHook,
    FivetranOperator,
    FivetranSuccessTrigger,
    FivetranSyncOperator,
    FivetranSyncSensor,
    FivetranSyncTrigger,
    SyncWatch,
    _Note,
)
from utils.retries import FaultRetryPolicy
from wtmo.local.services.connectors import Connector, Declaration
from wtmo.local.services.fivetran import Fivetran

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.loopback

CONNECTION = json.dumps({"conn_type": "fivetran", "login": "key", "password": "secret"})
QUICK: dict[str, Any] = {"request_timeout": 5, "request_backoff": 0.01}
WAITING: dict[str, Any] = {
    "connector_id": "slow",
    "since": None,
    "put_off_before": None,
    "start_timeout": 9,
    "reschedule_wait": 0,
    "poll_interval": 1,
    "hook": QUICK,
}
DECLARED = {"service": "sheets", "schema": "s", "sync_seconds": 0.3}
BOTH_MODES = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "worker"])


@dataclass
class Server:
    """The stand-in on a thread of its own, with every request that reached it."""

    url: str
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def starts(self, connector_id: str) -> list[str]:
        """The bodies of the requests that started a sync."""
        return [
            body
            for method, path, body in self.requests
            if (method, path) == ("POST", f"/v1/connections/{connector_id}/sync")
        ]

    def post(self, path: str, body: dict[str, Any]) -> None:
        httpx.post(self.url + path, json=body, auth=("a", "b")).raise_for_status()

    def get(self, connector_id: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/v1/connections/{connector_id}", auth=("a", "b")).raise_for_status()
        data: dict[str, Any] = answer.json()["data"]
        return data

    def wait_for(self, connector_id: str, sync_state: str) -> None:
        deadline = time.monotonic() + 10
        while self.get(connector_id)["status"]["sync_state"] != sync_state:
            assert time.monotonic() < deadline, f"waited 10 s for {connector_id} to be {sync_state}"
            time.sleep(0.02)


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Starts a stand-in with the connectors given by name; Airflow's hooks are sent to it."""
    ends: list[Callable[[], None]] = []
    monkeypatch.setenv("AIRFLOW_CONN_FIVETRAN_DEFAULT", CONNECTION)

    def start(**connectors: dict[str, Any]) -> Server:
        declarations = {
            name: Declaration(name, Connector.model_validate_json(json.dumps(DECLARED | keys)), {})
            for name, keys in connectors.items()
        }
        loop, server, ready = asyncio.new_event_loop(), Server(""), threading.Event()

        @web.middleware
        async def record(
            request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            server.requests.append((request.method, request.path, await request.text()))
            return await handler(request)

        async def listen() -> web.AppRunner:
            app = Fivetran(declarations, state_file=tmp_path / f"fivetran{len(ends)}.json").app()
            app.middlewares.insert(0, record)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            server.url = f"http://{host}:{port}"
            ready.set()
            return runner

        runner = loop.run_until_complete(listen())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        def end() -> None:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

        ends.append(end)
        monkeypatch.setenv("FIVETRAN_API_URL", server.url)
        return server

    yield start
    for end in ends:
        end()


class Store(dict[str, Any]):
    """Airflow's task state store, as a retry of the same task instance sees it again."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


def make_context(store: Store | None = None, *, max_tries: int = 2, **more: Any) -> Any:
    return {
        "ti": SimpleNamespace(start_date=datetime.now(UTC), max_tries=max_tries),
        "task_state_store": Store() if store is None else store,
    } | more


def first_event(trigger: Any) -> Any:
    """What the trigger fires, once it was stored and built anew as Airflow does it."""
    path, arguments = trigger.serialize()
    rebuilt = import_string(path)(**json.loads(json.dumps(arguments)))

    async def fire() -> Any:
        async with asyncio.timeout(30):
            return await anext(rebuilt.run())

    return json.loads(json.dumps(asyncio.run(fire()).payload))


def run(task: Any, context: Any) -> tuple[Any, int]:
    """Run a task to its end, through as many deferrals as it takes; its result and their number."""
    deferrals = 0
    step = partial(task.execute, context)
    while True:
        try:
            return step(), deferrals
        except TaskDeferred as deferred:
            deferrals += 1
            arguments = (deferred.kwargs or {}) | {"event": first_event(deferred.trigger)}
            step = partial(task.resume_execution, deferred.method_name, arguments, context)


def sync(connector_id: str, **arguments: Any) -> FivetranSyncOperator:
    return FivetranSyncOperator(
        **{"task_id": "sync", "connector_id": connector_id, "poll_interval": 0.05} | QUICK | arguments
    )


def sensor(connector_id: str, **arguments: Any) -> FivetranSyncSensor:
    return FivetranSyncSensor(
        **{"task_id": "wait", "connector_id": connector_id, "poke_interval": 0.05, "timeout": 20} | QUICK | arguments
    )


# The operator


@BOTH_MODES
def test_starts_one_sync_and_waits_for_it(serve: Any, deferrable: bool) -> None:
    server, store = serve(plain={}), Store()
    result, deferrals = run(sync("plain", deferrable=deferrable), make_context(store))
    assert server.starts("plain") == ['{"force":false}']
    assert datetime.fromisoformat(result) == datetime.fromisoformat(server.get("plain")["succeeded_at"])
    assert deferrals == (1 if deferrable else 0)
    assert not store, "a task that is cleared after its success must start a new sync"


@BOTH_MODES
def test_connector_that_never_synced(serve: Any, deferrable: bool) -> None:
    server = serve(never={"succeeded_at": None})
    result, _ = run(sync("never", deferrable=deferrable), make_context())
    assert result
    assert len(server.starts("never")) == 1


@BOTH_MODES
def test_failed_sync_names_connector_service_state_and_reason(serve: Any, deferrable: bool) -> None:
    serve(bad={"outcome": "failure", "failure_message": "quota of the source used up", "schema": "sales"})
    with pytest.raises(FivetranError) as caught:
        run(sync("bad", deferrable=deferrable), make_context())
    for part in (
        "bad",
        "sheets",
        "sales",
        "sync scheduled",
        "quota of the source used up",
        "dashboard/connections/bad",
    ):
        assert part in str(caught.value)
    assert not isinstance(caught.value, AirflowFailException), "a retry may help"


@BOTH_MODES
def test_retry_after_a_failed_sync_starts_a_new_one(serve: Any, deferrable: bool) -> None:
    server, store = serve(shaky={"outcome": ["failure", "success"]}), Store()
    with pytest.raises(FivetranError):
        run(sync("shaky", deferrable=deferrable), make_context(store))
    assert run(sync("shaky", deferrable=deferrable), make_context(store))[0]
    assert len(server.starts("shaky")) == 2


@BOTH_MODES
def test_rescheduled_sync_is_started_again_when_its_time_has_come(serve: Any, deferrable: bool) -> None:
    server = serve(later={"outcome": ["rescheduled", "rescheduled", "success"], "reschedule_seconds": 0.5})
    started = time.monotonic()
    assert run(sync("later", deferrable=deferrable), make_context())[0]
    assert len(server.starts("later")) == 3, "once for each time that it was put off, no more"
    assert time.monotonic() - started >= 2 * 0.5 + 3 * 0.3


@BOTH_MODES
def test_rescheduled_sync_is_left_alone_for_as_long_as_the_task_says(serve: Any, deferrable: bool) -> None:
    serve(later={"outcome": ["rescheduled", "success"], "reschedule_seconds": 0, "sync_seconds": 0})
    started = time.monotonic()
    assert run(sync("later", reschedule_wait=1, deferrable=deferrable), make_context())[0]
    assert time.monotonic() - started >= 1


@BOTH_MODES
def test_sync_put_off_to_a_time_that_has_passed_is_not_started_in_a_spin(serve: Any, deferrable: bool) -> None:
    server = serve(later={"outcome": [*["rescheduled"] * 3, "success"], "reschedule_seconds": 0, "sync_seconds": 0})
    started = time.monotonic()
    assert run(sync("later", poll_interval=0.5, deferrable=deferrable), make_context())[0]
    assert time.monotonic() - started >= 3 * 0.5
    assert len(server.starts("later")) == 4


@BOTH_MODES
def test_time_that_an_earlier_sync_was_put_off_to_is_not_acted_on(serve: Any, tmp_path: Path, deferrable: bool) -> None:
    """Fivetran shows it until the sync that was started in its place runs; a task that took it for its own would spin."""
    put_off = {"schedule_type": "manual", "paused": False, "setup_state": "connected", "succeeded_at": None}
    put_off |= {"failed_at": None, "rescheduled_for": "2026-06-01T10:30:00.000000Z"}
    (tmp_path / "fivetran0.json").write_text(json.dumps({"later": put_off}))
    server = serve(later={"faults": [{"method": "POST", "status": 409}]})
    with pytest.raises(FivetranError, match=r"no sync has run for 0\.2 s"):
        run(sync("later", start_timeout=0.2, deferrable=deferrable), make_context())
    assert len(server.starts("later")) == 1


def test_a_sync_that_is_put_off_is_not_started_before_its_time(serve: Any) -> None:
    server = serve(later={"outcome": "rescheduled", "reschedule_seconds": 3600, "sync_seconds": 0})
    task = sync("later")
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(make_context())
    server.wait_for("later", "rescheduled")

    async def fire() -> None:
        async with asyncio.timeout(0.5):
            await anext(deferred.value.trigger.run())

    with pytest.raises(TimeoutError):
        asyncio.run(fire())
    assert len(server.starts("later")) == 1


@BOTH_MODES
def test_fivetran_resumes_a_rescheduled_sync_itself_on_automatic_schedule(serve: Any, deferrable: bool) -> None:
    server = serve(auto={"outcome": ["rescheduled", "success"], "reschedule_seconds": 0.2})
    assert run(sync("auto", schedule_type="auto", deferrable=deferrable), make_context())[0]
    assert len(server.starts("auto")) == 1


@BOTH_MODES
def test_rate_limit_waits_as_long_as_fivetran_says(serve: Any, deferrable: bool) -> None:
    serve(limited={"faults": [{"status": 429, "times": 1, "retry_after": 1}]})
    started = time.monotonic()
    assert run(sync("limited", deferrable=deferrable), make_context())[0]
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("header", [None, "0", "Wed, 03 Jun 2026 03:00:00 GMT", "-1", "soon"])
def test_rate_limit_without_seconds_backs_off(header: str | None) -> None:
    answer = httpx.Response(429, headers={} if header is None else {"Retry-After": header})
    attempts = fivetran._Attempts("GET /", limit=7, delay=2, patience=300)
    assert [attempts.wait_after(answer) for _ in range(6)] == [2, 4, 8, 16, 32, 60]


def test_rate_limit_longer_than_a_worker_waits_ends_the_try(serve: Any) -> None:
    serve(limited={"faults": [{"status": 429, "retry_after": 1800}]})
    with pytest.raises(FivetranError, match=r"TooManyRequests.*tried again in 1800 s") as caught:
        sync("limited").execute(make_context())
    assert not isinstance(caught.value, FivetranFinalError)


@BOTH_MODES
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_server_errors_are_tried_again(serve: Any, method: str, deferrable: bool) -> None:
    server = serve(flaky={"faults": [{"method": method, "status": 503, "times": 3}]})
    assert run(sync("flaky", deferrable=deferrable), make_context())[0]
    assert len(server.starts("flaky")) == (4 if method == "POST" else 1)


def test_server_errors_end_the_try_after_the_last_attempt(serve: Any) -> None:
    server = serve(down={"faults": [{"status": 500, "times": 99}]})
    with pytest.raises(FivetranError, match=r"500.*attempt 3 of 3"):
        sync("down", request_attempts=3).execute(make_context())
    assert len(server.requests) == 3


PATIENT: dict[str, Any] = {"retries": 0, "retry_policy": FaultRetryPolicy()}


@BOTH_MODES
def test_an_answer_that_passes_puts_the_task_off(serve: Any, deferrable: bool) -> None:
    """Until Fivetran's time has come, without a retry of its own."""
    server = serve(limited={"faults": [{"method": "POST", "status": 429, "times": 1, "retry_after": 1800}]})
    task, store, before = sync("limited", deferrable=deferrable, **PATIENT), Store(), datetime.now(UTC)
    with pytest.raises(AirflowRescheduleException) as off:
        run(task, make_context(store))
    assert timedelta(seconds=1800) <= off.value.reschedule_date - before < timedelta(seconds=1830)
    assert run(task, make_context(store, task_reschedule_count=1))[0]
    assert len(server.starts("limited")) == 2


def test_a_task_that_is_put_off_while_it_waits_goes_on_with_its_sync(serve: Any) -> None:
    server = serve(slow={"sync_seconds": 1}, down={"faults": [{"status": 503, "times": 9}]})
    task, store = sync("slow", **PATIENT), Store()
    with pytest.raises(TaskDeferred):
        task.execute(make_context(store))
    down = first_event(
        FivetranSyncTrigger(**WAITING | {"connector_id": "down", "hook": QUICK | {"request_attempts": 1}})
    )
    with pytest.raises(AirflowRescheduleException):
        task.execute_complete(make_context(store), down)
    assert run(task, make_context(store, task_reschedule_count=1))[0]
    assert len(server.starts("slow")) == 1


def test_what_is_final_puts_nothing_off() -> None:
    event: Any = {"status": "error", "message": "GET /: Fivetran answered 503: gone", "final": True}
    with pytest.raises(FivetranFinalError):
        sync("any", **PATIENT).execute_complete(make_context(), event)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_client_errors_fail_at_once(serve: Any, status: int) -> None:
    server = serve(denied={"faults": [{"status": status, "times": 99}]})
    with pytest.raises(FivetranFinalError, match=f"denied.*{status}"):
        sync("denied").execute(make_context())
    assert len(server.requests) == 1


def test_client_error_in_the_triggerer_ends_the_task_with_fivetrans_words(serve: Any) -> None:
    serve()
    event = first_event(FivetranSyncTrigger(**WAITING | {"connector_id": "gone"}))
    assert (event["status"], event["final"]) == ("error", True)
    with pytest.raises(FivetranFinalError, match="NotFound_Connector: Connector with id 'gone' does not exist"):
        sync("gone").execute_complete(make_context(), event)


@BOTH_MODES
def test_unknown_connector(serve: Any, deferrable: bool) -> None:
    serve()
    with pytest.raises(FivetranFinalError, match="'nobody' does not exist"):
        run(sync("nobody", deferrable=deferrable), make_context())


def test_paused_connector_fails_at_once_and_stays_paused(serve: Any) -> None:
    server = serve(off={"paused": True})
    with pytest.raises(FivetranFinalError, match=r"unpause it.*connector off"):
        sync("off").execute(make_context())
    assert server.get("off")["paused"] is True


@BOTH_MODES
def test_pause_while_waiting_ends_the_task(serve: Any, deferrable: bool) -> None:
    server = serve(slow={"sync_seconds": 60})
    timer = threading.Timer(
        0.3, lambda: httpx.patch(f"{server.url}/v1/connections/slow", json={"paused": True}, auth=("a", "b"))
    )
    timer.start()
    with pytest.raises(FivetranFinalError, match="paused while a task waits"):
        run(sync("slow", deferrable=deferrable), make_context())
    timer.join()


def test_connector_that_is_not_set_up_fails_with_what_the_tests_found(serve: Any) -> None:
    server = serve(half={"setup_state": "incomplete"}, broken={"setup_state": "broken"})
    for name in ("half", "broken"):
        with pytest.raises(FivetranFinalError, match="Connecting to the source: The source refused the credentials"):
            sync(name).execute(make_context())
        assert server.starts(name) == []


def test_connector_that_stays_incomplete_fails_though_no_test_does(serve: Any) -> None:
    server = serve(half={"setup_state": "incomplete", "setup_test": "passed_still_broken"})
    with pytest.raises(FivetranFinalError, match=r"no test failed.*setup incomplete"):
        sync("half").execute(make_context())
    assert server.starts("half") == []


def test_a_setup_test_that_was_skipped_or_warns_has_not_failed(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(plain={})
    found = [
        {"title": status, "status": status, "message": "m"} for status in ("PASSED", "SKIPPED", "WARNING", "FAILED")
    ]
    monkeypatch.setattr(FivetranHook, "_data", lambda *_: server.get("plain") | {"setup_tests": found})
    assert FivetranHook().run_setup_tests("plain")[1] == {"FAILED": "m"}


@pytest.mark.parametrize("setup_test", ["passed", "passed_still_broken"])
def test_broken_connector_whose_tests_pass_is_synced(serve: Any, setup_test: str) -> None:
    server = serve(broken={"setup_state": "broken", "setup_test": setup_test})
    assert run(sync("broken"), make_context())[0]
    assert server.get("broken")["status"]["setup_state"] == "connected"


@pytest.mark.parametrize(("schedule_type", "expected"), [("manual", "manual"), (None, "auto"), ("auto", "auto")])
def test_schedule_type(serve: Any, schedule_type: Any, expected: str) -> None:
    server = serve(plain={})
    run(sync("plain", schedule_type=schedule_type), make_context())
    assert server.get("plain")["schedule_type"] == expected
    patches = [json.loads(body) for method, _, body in server.requests if method == "PATCH"]
    changed = [{"schedule_type": "manual", "run_setup_tests": False}]
    assert patches == (changed if expected == "manual" else []), (
        "Fivetran runs setup tests at a change unless told not to"
    )


def test_without_waiting_the_task_ends_with_the_start(serve: Any) -> None:
    server, store = serve(slow={"sync_seconds": 60}), Store()
    assert run(sync("slow", wait_for_completion=False), make_context(store)) == (None, 0)
    assert len(server.starts("slow")) == 1
    assert not store


def test_without_waiting_a_start_that_was_refused_is_no_success(serve: Any) -> None:
    serve(idle={"faults": [{"method": "POST", "status": 409}]})
    with pytest.raises(FivetranError, match=r"no sync was started: DeclaredFault.*connector idle"):
        run(sync("idle", wait_for_completion=False), make_context())


def test_without_waiting_a_sync_that_another_started_just_before_will_do(serve: Any) -> None:
    server, task = serve(busy={"sync_seconds": 60}), sync("busy", wait_for_completion=False)
    task.hook.start_sync = lambda _: server.post("/v1/connections/busy/sync", {}) or "a sync is in progress"  # type: ignore[assignment, func-returns-value]
    assert run(task, make_context()) == (None, 0)


# Retries


@BOTH_MODES
def test_retry_goes_on_with_the_running_sync(serve: Any, deferrable: bool) -> None:
    server, store = serve(slow={"sync_seconds": 1.5}), Store()
    with pytest.raises(TaskDeferred):
        sync("slow").execute(make_context(store))  # and then worker and triggerer are lost
    assert run(sync("slow", deferrable=deferrable), make_context(store))[0]
    assert len(server.starts("slow")) == 1


@BOTH_MODES
def test_retry_takes_the_success_that_came_meanwhile(serve: Any, deferrable: bool) -> None:
    server, store = serve(plain={}), Store()
    with pytest.raises(TaskDeferred):
        sync("plain").execute(make_context(store))
    server.wait_for("plain", "scheduled")
    assert run(sync("plain", deferrable=deferrable), make_context(store)) == (
        datetime.fromisoformat(server.get("plain")["succeeded_at"]).isoformat(),
        0,
    )
    assert len(server.starts("plain")) == 1
    assert run(sync("plain", deferrable=deferrable), make_context(store))[0], "cleared after its success"
    assert len(server.starts("plain")) == 2


def test_retry_takes_the_success_of_a_connector_that_was_paused_afterwards(serve: Any) -> None:
    server, store = serve(plain={}), Store()
    with pytest.raises(TaskDeferred):
        sync("plain").execute(make_context(store))
    server.wait_for("plain", "scheduled")
    httpx.patch(f"{server.url}/v1/connections/plain", json={"paused": True}, auth=("a", "b")).raise_for_status()
    assert run(sync("plain"), make_context(store))[0]


def test_retry_leaves_the_connector_of_its_running_sync_alone(serve: Any) -> None:
    """Setup tests of a broken connector are for what comes before a sync: only the sync ends that state."""
    server, store = (
        serve(broken={"setup_state": "broken", "setup_test": "passed_still_broken", "sync_seconds": 1}),
        Store(),
    )
    for _ in range(2):
        with pytest.raises(TaskDeferred):
            sync("broken").execute(make_context(store))
    assert [path for method, path, _ in server.requests if method == "POST"] == [
        "/v1/connections/broken/test",
        "/v1/connections/broken/sync",
    ]


@pytest.mark.parametrize("sync_seconds", [0, 1])
def test_task_that_was_cleared_starts_a_sync_of_its_own(serve: Any, sync_seconds: float) -> None:
    """The one before, of a task that was marked as failed or timed out, has what the source held then."""
    server, store = serve(plain={"sync_seconds": sync_seconds}), Store()
    with pytest.raises(TaskDeferred):
        sync("plain").execute(make_context(store, max_tries=2))
    assert run(sync("plain"), make_context(store, max_tries=3))[0]
    assert len(server.starts("plain")) == 2
    assert not store


def test_retry_starts_a_sync_where_the_try_before_died_between_its_note_and_the_start(serve: Any) -> None:
    server, store = serve(plain={"faults": [{"method": "POST", "status": 400}]}), Store()
    with pytest.raises(FivetranFinalError):
        run(sync("plain"), make_context(store))
    assert store
    assert run(sync("plain"), make_context(store))[0]
    assert len(server.starts("plain")) == 2


def test_note_about_another_connector_is_not_this_tasks(serve: Any) -> None:
    server, store = serve(one={}, two={}), Store()
    with pytest.raises(TaskDeferred):
        sync("one").execute(make_context(store))
    run(sync("two"), make_context(store))
    assert len(server.starts("two")) == 1


@BOTH_MODES
def test_sync_of_somebody_else_is_left_to_end_then_one_is_started(serve: Any, deferrable: bool) -> None:
    server = serve(shared={"sync_seconds": 0.6})
    server.post("/v1/connections/shared/sync", {"force": False})
    foreign_only = len(server.starts("shared"))
    result, _ = run(sync("shared", deferrable=deferrable), make_context())
    assert len(server.starts("shared")) == foreign_only + 1
    assert result


@BOTH_MODES
def test_failure_of_somebody_elses_sync_is_not_this_tasks(serve: Any, deferrable: bool) -> None:
    server = serve(shared={"sync_seconds": 0.4, "outcome": ["failure", "success"]})
    server.post("/v1/connections/shared/sync", {"force": False})
    assert run(sync("shared", deferrable=deferrable), make_context())[0]


def test_conflict_at_the_start_is_a_sync_that_runs(serve: Any) -> None:
    """Fivetran's response codes name "a sync already in progress" as a case of 409."""
    server = serve(busy={"faults": [{"method": "POST", "status": 409}]})
    task = sync("busy")
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(make_context())
    server.post("/v1/connections/busy/sync", {"force": False})
    assert first_event(deferred.value.trigger)["status"] == "succeeded"


# The end of waiting


@BOTH_MODES
def test_sync_that_nobody_runs_any_more_is_noticed(serve: Any, deferrable: bool) -> None:
    serve(idle={"faults": [{"method": "POST", "status": 409}]})
    with pytest.raises(FivetranError, match=r"no sync has run for 0\.2 s.*connector idle"):
        run(sync("idle", start_timeout=0.2, deferrable=deferrable), make_context())


@BOTH_MODES
def test_sync_of_somebody_else_that_is_stopped_makes_way(serve: Any, deferrable: bool) -> None:
    server, task = serve(plain={}), sync("plain", deferrable=deferrable)
    stopped = {"status": "idle", "message": "no sync has run"}
    assert run(
        SimpleNamespace(
            execute=lambda context: task.execute_complete(context, stopped, mine=False),
            resume_execution=task.resume_execution,
        ),
        make_context(),
    )[0]
    assert len(server.starts("plain")) == 1


def test_trigger_timeout_says_that_the_sync_goes_on(serve: Any) -> None:
    serve(slow={"sync_seconds": 60})
    task = sync("slow", execution_timeout=timedelta(minutes=10))
    context = make_context()
    context["ti"].start_date -= timedelta(minutes=4)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    assert timedelta(minutes=5.9) < deferred.value.timeout <= timedelta(minutes=6), "counted from the start of the try"
    with pytest.raises(
        AirflowTaskTimeout, match=r"No longer waiting for connector slow\. Its sync goes on in Fivetran"
    ):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, context)


def test_log_and_error_of_a_trigger_timeout_say_the_same(serve: Any, capsys: pytest.CaptureFixture[str]) -> None:
    serve(slow={"sync_seconds": 60})
    task = sync("slow")
    with pytest.raises(TaskDeferred):
        task.execute(make_context())
    with pytest.raises(AirflowTaskTimeout):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, make_context())
    task.on_kill()  # as Airflow does
    assert "Its sync goes on in Fivetran" in capsys.readouterr().out.partition("No longer waiting")[2]


def test_timeout_while_fivetran_is_away_is_still_a_timeout(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(slow={"sync_seconds": 60, "faults": [{"status": 503, "times": 1}]})
    with pytest.raises(AirflowTaskTimeout, match=r"not seen: https://fivetran\.com/dashboard/connections/slow"):
        sync("slow").resume_execution("__fail__", {"error": "Trigger timeout"}, make_context())


def test_kill_on_a_worker_ends_the_waiting_and_says_that_the_sync_goes_on(
    serve: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(slow={"sync_seconds": 60})
    task = sync("slow", deferrable=False, poll_interval=60)
    # As Airflow does: on_kill in the middle of whatever the task does, and then the task goes on.
    before = signal.signal(signal.SIGUSR1, lambda *_: task.on_kill())
    kill = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGUSR1))
    kill.start()
    started = time.monotonic()
    try:
        with pytest.raises(FivetranError, match="killed"):
            task.execute(make_context())
    finally:
        kill.join(10)
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - started < 30, "not after the 60 s between two looks"
    said = capsys.readouterr().out.partition("No longer waiting")[2]
    assert "Its sync goes on in Fivetran" in said
    assert "sync syncing" in said
    assert server.get("slow")["status"]["sync_state"] == "syncing"


@pytest.mark.parametrize("make", [sync, sensor])
def test_a_killed_task_starts_nothing_and_is_no_success(serve: Any, make: Callable[..., Any]) -> None:
    server = serve(plain={"succeeded_at": "2026-06-03T00:00:00Z"})
    task = make("plain", deferrable=False)
    task.on_kill()
    with pytest.raises(FivetranError, match="killed"):
        task.execute(interval())
    assert not server.requests


def kill_in_the_triggerer(connector_id: str) -> None:
    """Kill a trigger that has looked already."""

    async def look_and_kill() -> None:
        trigger = FivetranSyncTrigger(**WAITING | {"connector_id": connector_id})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await anext(trigger.run())
        await trigger.on_kill()

    asyncio.run(look_and_kill())


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"sync_seconds": 60}, "Its sync goes on in Fivetran"),
        ({"sync_seconds": 0, "outcome": "rescheduled"}, "Its sync does not run, a retry starts it"),
        ({"sync_seconds": 0, "outcome": "rescheduled", "schedule_type": "auto"}, "Fivetran starts it when its time"),
    ],
)
def test_kill_in_the_triggerer_says_whether_the_sync_goes_on(
    serve: Any, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], says: str
) -> None:
    server = serve(c={"reschedule_seconds": 3600, "schedule_type": "manual", "succeeded_at": None} | keys)
    server.post("/v1/connections/c/sync", {"force": False})
    kill_in_the_triggerer("c")
    assert says in capsys.readouterr().out.partition("No longer waiting for connector c. ")[2]


def test_kill_of_a_trigger_that_sees_no_sync_says_so(serve: Any, capsys: pytest.CaptureFixture[str]) -> None:
    serve(c={"succeeded_at": None})
    kill_in_the_triggerer("c")
    assert "No sync of it runs" in capsys.readouterr().out
    asyncio.run(FivetranSyncTrigger(**WAITING).on_kill())
    assert "Whether a sync of it runs was not seen" in capsys.readouterr().out


# Deferral


def test_every_option_survives_deferral(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(slow={"sync_seconds": 60, "succeeded_at": "2026-02-03T04:05:06Z"})
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", CONNECTION)
    task = sync(
        "slow",
        fivetran_conn_id="other",
        poll_interval=7,
        start_timeout=11,
        reschedule_wait=13,
        request_timeout=3,
        request_attempts=4,
        request_backoff=0.5,
    )
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(make_context())
    path, arguments = deferred.value.trigger.serialize()
    expected = {
        "connector_id": "slow",
        "since": "2026-02-03T04:05:06+00:00",
        "put_off_before": None,
        "start_timeout": 11,
        "reschedule_wait": 13,
        "poll_interval": 7,
        "hook": {"fivetran_conn_id": "other", "request_timeout": 3, "request_attempts": 4, "request_backoff": 0.5},
    }
    assert arguments == expected
    rebuilt = import_string(path)(**json.loads(json.dumps(arguments)))
    assert type(rebuilt) is FivetranSyncTrigger
    assert rebuilt.serialize() == (path, expected)


# What a task does before it waits, and where it waits.
BEFORE_WAITING = {"schedule_type", "wait_for_completion", "deferrable", "completed_after"}


@pytest.mark.parametrize("make", [sync, sensor])
def test_no_option_is_forgotten_at_deferral(serve: Any, monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    """Each option of the signature, also one that is added later, changes what the trigger is made of."""
    serve(slow={"sync_seconds": 60}, other={"sync_seconds": 60})
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", CONNECTION)

    def deferred(**option: Any) -> Any:
        task = make(**{"connector_id": "slow"} | option)
        with pytest.raises(TaskDeferred) as caught:
            task.execute(interval(datetime(2030, 1, 1, tzinfo=UTC)))
        return caught.value.trigger.serialize()

    own = set(inspect.signature(type(make("slow")).__init__).parameters) - {"self", "kwargs"}
    assert len(own) > 5
    plain = deferred()
    for name in own - BEFORE_WAITING:
        value = "other" if name in {"connector_id", "fivetran_conn_id"} else 3.5
        assert deferred(**{name: value}) != plain, name
    if make is sensor:
        assert deferred(poke_interval=17) != plain
        assert deferred(completed_after="2031-01-01T00:00:00Z") != plain


def test_sensor_trigger_round_trip() -> None:
    trigger = FivetranSuccessTrigger(connector_id="c", moment="2026-06-02T03:00:00+00:00", poll_interval=3, hook=QUICK)
    path, arguments = trigger.serialize()
    rebuilt = import_string(path)(**json.loads(json.dumps(arguments)))
    assert type(rebuilt) is FivetranSuccessTrigger
    assert rebuilt.serialize() == (path, arguments)


def test_nothing_blocks_the_triggerers_event_loop(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(
        limited={
            "faults": [{"status": 429, "times": 1, "retry_after": 1}, {"status": 503, "times": 1}],
            "outcome": ["success"],
        }
    )

    def blocked(*_: Any, **__: Any) -> None:
        raise AssertionError("a blocking call in the triggerer")

    monkeypatch.setattr(FivetranHook, "pause", blocked)
    monkeypatch.setattr(httpx.Client, "send", blocked)
    monkeypatch.setattr(FivetranHook, "get_connection", blocked)
    trigger = FivetranSyncTrigger(**WAITING | {"connector_id": "limited", "poll_interval": 0.05})
    assert first_event(trigger)["status"] == "succeeded"


def test_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FIVETRAN_DEFAULT", CONNECTION)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("FIVETRAN_API_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        patience: dict[str, Any] = {"request_timeout": 0.2, "request_attempts": 2, "request_backoff": 0.01}
        with pytest.raises(FivetranError, match=r"/v1/connections/mute.*ReadTimeout.*attempt 2 of 2"):
            sync("mute", **patience).execute(make_context())
        trigger = FivetranSyncTrigger(**WAITING | {"connector_id": "mute", "hook": patience})
        event = first_event(trigger)
    assert (event["status"], event["final"]) == ("error", False)
    assert "ReadTimeout" in event["message"]


def test_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FIVETRAN_DEFAULT", CONNECTION)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setenv("FIVETRAN_API_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
    with pytest.raises(FivetranError, match="ConnectError"):
        sync("any", request_attempts=2).execute(make_context())


# What is refused


@pytest.mark.parametrize("connector_id", ["../x", "a b", "", "a/b", "a?b=c", "a#b", "ä", "a\n", "x" * 129, "%2e%2e"])
@pytest.mark.parametrize("make", [sync, sensor])
def test_hostile_ids_are_refused(make: Callable[[str], Any], connector_id: str) -> None:
    with pytest.raises(FivetranFinalError, match="connector_id"):
        make(connector_id)
    task = make("{{ var.value.connector }}")
    task.connector_id = connector_id  # as rendered
    with pytest.raises(FivetranFinalError, match="connector_id"):
        task.execute(interval())


def test_link_leads_to_the_connection() -> None:
    link = FivetranConnectionLink().get_link(sync("plain"), ti_key=None)
    assert link == "https://fivetran.com/dashboard/connections/plain"


def test_wrong_schedule_type_is_refused() -> None:
    with pytest.raises(ValueError, match="schedule_type must be"):
        sync("plain", schedule_type="hourly")


def test_connection_without_key_names_the_connection(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(plain={})
    monkeypatch.setenv("AIRFLOW_CONN_FIVETRAN_DEFAULT", '{"conn_type": "fivetran", "login": "key"}')
    with pytest.raises(FivetranFinalError, match="fivetran_default needs a login"):
        sync("plain").execute(make_context())


@pytest.mark.parametrize(
    ("host", "local", "expected"),
    [
        (None, "", "https://api.fivetran.com"),
        ("api.eu.example", "", "https://api.eu.example"),
        ("http://127.0.0.1:1", "", "http://127.0.0.1:1"),
        ("api.eu.example", "http://127.0.0.1:2", "http://127.0.0.1:2"),
    ],
)
def test_base_url(monkeypatch: pytest.MonkeyPatch, host: str | None, local: str, expected: str) -> None:
    monkeypatch.setenv("FIVETRAN_API_URL", local)
    monkeypatch.setenv("AIRFLOW_CONN_FIVETRAN_DEFAULT", json.dumps(json.loads(CONNECTION) | {"host": host}))
    options = FivetranHook(request_timeout=7)._options(FivetranHook.get_connection("fivetran_default"))
    assert options["base_url"] == expected
    assert options["headers"] == {"Accept": "application/json;version=2"}
    assert options["timeout"] == 7, "httpx's own default is 5 s, the provider's is for ever"


# Pure decisions


def connector(**changes: Any) -> FivetranConnector:
    data = {
        "id": "c",
        "service": "sheets",
        "schema": "s",
        "paused": False,
        "schedule_type": "manual",
        "succeeded_at": "2026-06-01T10:00:00.000000Z",
        "failed_at": None,
        "status": {"setup_state": "connected", "sync_state": "scheduled", "rescheduled_for": None},
    }
    status = {**data["status"], **{key: changes.pop(key) for key in list(changes) if key in data["status"]}}  # type: ignore[dict-item]
    return FivetranConnector.parse(data | changes | {"status": status})


def test_later_of_success_and_failure_counts() -> None:
    watch = SyncWatch(datetime(2026, 6, 1, 9, tzinfo=UTC), None, 60)
    ended = {"succeeded_at": "2026-06-01T10:00:00Z", "failed_at": "2026-06-01T09:30:00Z"}
    assert watch.look(connector(**ended))["status"] == "succeeded"  # type: ignore[index]
    ended = {"succeeded_at": "2026-06-01T09:30:00Z", "failed_at": "2026-06-01T10:00:00Z"}
    assert watch.look(connector(**ended))["status"] == "failed"  # type: ignore[index]


def test_old_reschedule_time_is_not_acted_on() -> None:
    since = datetime(2026, 6, 1, 10, tzinfo=UTC)
    old = connector(sync_state="rescheduled", rescheduled_for="2026-06-01T10:30:00Z")
    assert SyncWatch(since, None, 60).look(old)["status"] == "due"  # type: ignore[index]
    assert SyncWatch(since, old.rescheduled_for, 60).look(old) is None


@pytest.mark.parametrize("between", [{"sync_state": "syncing"}, {"sync_state": "rescheduled"}])
def test_time_without_a_sync_is_counted_anew_after_one(
    monkeypatch: pytest.MonkeyPatch, between: dict[str, str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(fivetran.time, "monotonic", lambda: now[0])
    watch = SyncWatch(datetime(2026, 6, 1, 10, tzinfo=UTC), None, 60)
    assert watch.look(connector()) is None
    now[0] += 59
    assert watch.look(connector(**between, rescheduled_for="2100-01-01T00:00:00Z")) is None
    now[0] += 59
    assert watch.look(connector()) is None
    now[0] += 60
    assert watch.look(connector())["status"] == "idle"  # type: ignore[index]


def test_a_sync_that_was_put_off_is_left_alone_for_as_long_as_the_task_says(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(fivetran.time, "monotonic", lambda: now[0])
    watch = SyncWatch(None, None, 60, reschedule_wait=30)
    put_off = connector(succeeded_at=None, sync_state="rescheduled", rescheduled_for="2026-06-01T10:30:00Z")
    assert watch.look(put_off) is None
    now[0] += 29
    assert watch.look(put_off) is None
    now[0] += 1
    assert watch.look(put_off)["status"] == "due"  # type: ignore[index]


def test_sync_put_off_to_an_unknown_time_is_left_to_fivetran_alone() -> None:
    put_off = {"sync_state": "rescheduled", "rescheduled_for": None}
    assert connector(**put_off, schedule_type="auto").busy
    assert not connector(**put_off, schedule_type="manual").busy, "nobody else starts it"


def test_answer_of_another_shape_is_an_error_that_shows_it() -> None:
    with pytest.raises(FivetranError, match=r"not a connection.*proxy"):
        FivetranConnector.parse({"message": "proxy"})
    with pytest.raises(FivetranError, match="no time zone"):
        connector(succeeded_at="2026-06-01T10:00:00")


def test_what_fivetran_says_is_in_the_error() -> None:
    says = {
        "setup_state": "broken",
        "sync_state": "scheduled",
        "tasks": [{"code": "reconnect", "message": "Reconnect"}],
        "warnings": [{"code": "w"}],
    }
    assert "Fivetran says: Reconnect; w" in str(
        FivetranConnector.parse({**vars(connector()), "succeeded_at": None, "failed_at": None, "status": says})
    )


# The sensor

MOMENT = datetime(2026, 6, 2, 3, tzinfo=UTC)


def interval(end: datetime = MOMENT) -> Any:
    return make_context(data_interval_end=end)


@BOTH_MODES
@pytest.mark.parametrize("succeeded_at", ["2026-06-02T03:00:00Z", "2026-06-02T03:10:00Z"])
def test_sensor_takes_a_success_at_or_after_the_interval(serve: Any, succeeded_at: str, deferrable: bool) -> None:
    serve(done={"succeeded_at": succeeded_at})
    assert run(sensor("done", deferrable=deferrable), interval()) == (
        datetime.fromisoformat(succeeded_at).isoformat(),
        0,
    )


@BOTH_MODES
@pytest.mark.parametrize("succeeded_at", ["2026-06-02T02:59:59.999999Z", None])
def test_sensor_waits_for_the_next_success_and_starts_nothing(
    serve: Any, succeeded_at: str | None, deferrable: bool
) -> None:
    server = serve(soon={"succeeded_at": succeeded_at})
    server.post("/v1/connections/soon/sync", {"force": False})
    result, deferrals = run(sensor("soon", deferrable=deferrable), interval())
    assert datetime.fromisoformat(result) > MOMENT
    assert deferrals == (1 if deferrable else 0)
    assert len(server.starts("soon")) == 1, "the test's own"


@BOTH_MODES
def test_sensor_takes_another_moment(serve: Any, deferrable: bool) -> None:
    serve(done={"succeeded_at": "2026-01-01T00:00:00Z"})
    for moment in ("2025-12-31T00:00:00Z", datetime(2025, 12, 31, tzinfo=UTC)):
        assert run(sensor("done", completed_after=moment, deferrable=deferrable), make_context())[0]


@BOTH_MODES
def test_sensor_ends_with_a_failure_after_the_moment(serve: Any, deferrable: bool) -> None:
    server = serve(bad={"outcome": "failure", "failure_message": "no permission"})
    server.post("/v1/connections/bad/sync", {"force": False})
    with pytest.raises(FivetranError, match=r"sync failed.*no permission") as caught:
        run(sensor("bad", deferrable=deferrable), interval())
    assert not isinstance(caught.value, AirflowFailException), "the next sync may succeed"


@BOTH_MODES
def test_sensor_goes_on_while_another_sync_runs(serve: Any, deferrable: bool) -> None:
    server = serve(bad={"failed_at": "2026-06-02T04:00:00Z"})
    server.post("/v1/connections/bad/sync", {"force": False})
    assert run(sensor("bad", deferrable=deferrable), interval())[0]


def test_sensor_says_what_will_never_be(serve: Any) -> None:
    serve(off={"paused": True}, broken={"setup_state": "broken"})
    with pytest.raises(FivetranFinalError, match="paused, no sync will succeed"):
        run(sensor("off"), interval())
    with pytest.raises(FivetranError, match="not set up"):
        run(sensor("broken"), interval())
    with pytest.raises(AirflowSkipException):
        run(sensor("off", soft_fail=True), interval())


def test_sensor_without_a_moment_says_so(serve: Any) -> None:
    serve(plain={})
    with pytest.raises(FivetranFinalError, match="give it a logical date, or the task completed_after"):
        run(sensor("plain"), make_context())
    for moment in ("yesterday", ""):
        with pytest.raises(FivetranFinalError, match=f"completed_after is '{moment}'"):
            run(sensor("plain", completed_after=moment), interval())
    with pytest.raises(ValueError, match="no time zone"):
        sensor("plain", completed_after=datetime(2026, 6, 1))


def test_sensor_timeout(serve: Any) -> None:
    serve(plain={})
    with pytest.raises(AirflowSensorTimeout):
        run(sensor("plain", deferrable=False, timeout=0.1), interval())
    task = sensor("plain", timeout=77)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(interval())
    assert deferred.value.timeout == timedelta(seconds=77)
    task.execution_timeout = timedelta(seconds=33)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(interval())
    assert timedelta(seconds=32) < deferred.value.timeout <= timedelta(seconds=33)
    said = (
        r"no sync succeeded at or after 2026-06-02 03:00:00\+00:00: connector plain .*setup connected, sync scheduled"
    )
    with pytest.raises(AirflowSensorTimeout, match=said):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, interval())
    task.connector_id = "nobody"
    with pytest.raises(
        AirflowSensorTimeout, match=r"at or after .*: https://fivetran\.com/dashboard/connections/nobody"
    ):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, interval())
    task.soft_fail = True
    with pytest.raises(AirflowSkipException):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, interval())


# What imported DAGs call


def imported(connector_id: str = "plain", **keywords: Any) -> FivetranOperator:
    return FivetranOperator(**{"task_id": "sync", "connector_id": connector_id} | keywords)


@BOTH_MODES
def test_imported_operator_does_what_ours_does(serve: Any, deferrable: bool) -> None:
    server, store = serve(plain={"sync_seconds": 1, "succeeded_at": None}), Store()
    server.post("/v1/connections/plain/sync", {"force": False})
    store.set("fivetran_sync", {"connector_id": "plain", "since": None, "max_tries": 2})
    task = imported(deferrable=deferrable, poll_frequency=0.05)
    assert run(task, make_context(store)) == (server.get("plain")["succeeded_at"].replace("Z", "+00:00"), deferrable)
    assert len(server.starts("plain")) == 1, "a retry goes on with the sync that runs, and kills none"
    assert not [path for _, path, _ in server.requests if "/force" in path]


def test_call_of_the_generated_files_is_taken_as_it_is() -> None:
    task = imported(
        "{{ var.value.fivetran_stripe_connector_id }}",
        deferrable=False,
        max_active_tis_per_dag=1,
        trigger_rule="all_done",
    )
    assert task.connector_id == "{{ var.value.fivetran_stripe_connector_id }}"
    assert "connector_id" in task.template_fields
    assert (task.deferrable, task.max_active_tis_per_dag, task.trigger_rule) == (False, 1, "all_done")


def test_keywords_of_the_provider_mean_ours() -> None:
    task = imported(
        fivetran_conn_id="other",
        poll_frequency=7,
        reschedule_wait_time=13,
        fivetran_retry_limit=4,
        fivetran_retry_delay=0.5,
        schedule_type="auto",
        wait_for_completion=False,
        deferrable=False,
    )
    ours = sync(
        "plain",
        fivetran_conn_id="other",
        poll_interval=7,
        reschedule_wait=13,
        request_attempts=4,
        request_backoff=0.5,
        request_timeout=fivetran.REQUEST_TIMEOUT,
        schedule_type="auto",
        wait_for_completion=False,
        deferrable=False,
    )
    own = set(inspect.signature(FivetranSyncOperator.__init__).parameters) - {"self", "kwargs"}
    assert {name: getattr(task, name) for name in own} == {name: getattr(ours, name) for name in own}
    defaults = FivetranSyncOperator(task_id="sync", connector_id="plain")
    assert {name: getattr(imported(), name) for name in own} == {name: getattr(defaults, name) for name in own}


def test_every_keyword_of_the_provider_is_taken_or_refused_by_name() -> None:
    from fivetran_provider_async.operators import FivetranOperator as Provided

    keywords = set(inspect.signature(Provided.__init__).parameters) - {"self", "kwargs"} | {"timeout_seconds"}
    for name in keywords - fivetran._OF_THE_PROVIDER_ONLY.keys():
        assert imported(**{name: "manual" if name == "schedule_type" else "other" if name.endswith("_id") else 1})
    for name in fivetran._OF_THE_PROVIDER_ONLY:
        assert name in keywords
        with pytest.raises(TypeError, match=rf"Task sync: FivetranOperator takes no {name} here, (give|leave) "):
            imported(**{name: "x"})
    with pytest.raises(TypeError, match=r"(?s)Invalid arguments.*FivetranOperator.*hourly"):
        imported(hourly=True)
    with pytest.raises(TypeError, match="needs connector_id"):
        FivetranOperator(task_id="sync")


# The provider's operator, against the same stand-in: what the local platform owes to a DAG that names it


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], Any]:
    from fivetran_provider_async.hooks import FivetranHook as ProviderHook

    def redirect(server: Server) -> None:
        monkeypatch.setattr(ProviderHook, "api_protocol", "http")
        monkeypatch.setattr(ProviderHook, "api_host", server.url.removeprefix("http://"))

    return redirect


@BOTH_MODES
def test_providers_operator_reaches_the_stand_in(
    serve: Any, provider: Callable[[Server], None], deferrable: bool
) -> None:
    from fivetran_provider_async.operators import FivetranOperator

    provider(server := serve(plain={}))
    task = FivetranOperator(task_id="sync", connector_id="plain", deferrable=deferrable, poll_frequency=0.05)
    try:
        task.execute(make_context())
    except TaskDeferred as deferred:
        event = asyncio.run(asyncio.wait_for(anext(deferred.trigger.run()), 20)).payload
        task.execute_complete(make_context(), event)
    assert server.get("plain")["succeeded_at"] > "2026-01-02"
    assert ("POST", "/v1/connectors/plain/force", "") in server.requests
    assert server.get("plain")["schedule_type"] == "manual"


def test_providers_sensor_and_lookups_reach_the_stand_in(serve: Any, provider: Callable[[Server], None]) -> None:
    from fivetran_provider_async.hooks import FivetranHook as ProviderHook
    from fivetran_provider_async.operators import FivetranOperator
    from fivetran_provider_async.sensors import FivetranSensor

    provider(server := serve(plain={"schema": "sales", "group_id": "g1"}))
    server.post("/v1/connections/plain/sync", {"force": False})
    FivetranSensor(
        task_id="wait",
        connector_id="plain",
        poke_interval=0.05,
        completed_after_time="2026-06-01T00:00:00Z",
        deferrable=False,
    ).execute(make_context())
    hook = ProviderHook()
    assert hook.get_connector_id("sales", "g1") == "plain"
    assert hook.test_connection()[0] is True
    lineage = FivetranOperator(task_id="sync", connector_id="plain").get_openlineage_facets_on_start()
    assert lineage.job_facets["documentation"].description


# Mutation: what is taken away makes a test fail


def _without_timeout(self: FivetranHook, connection: Any) -> dict[str, Any]:
    return {name: value for name, value in OPTIONS(self, connection).items() if name != "timeout"}


async def _blocking(self: FivetranHook, connector_id: str) -> FivetranConnector:
    await asyncio.sleep(0)
    return self.get_connector(connector_id)


def _forced(self: FivetranHook, connector_id: str) -> None:
    self._request("POST", f"/v1/connections/{connector_id}/sync", {"force": True})


def _no_data(*_: Any) -> None:
    raise KeyError("data")


OPTIONS = FivetranHook._options
DELETED: Any = object()
WORKER, WAITS = {"deferrable": False}, {"deferrable": True}
# What is changed, to what, and the test that sees it. Of those that ours corrects in the provider, in its own way.
MUTATIONS: list[tuple[Any, str, Any, Callable[..., object]]] = [
    (FivetranSyncOperator, "execute", DELETED, lambda f: test_starts_one_sync_and_waits_for_it(f.serve, **WAITS)),
    (
        fivetran,
        "waiting_out",
        lambda *_: contextlib.nullcontext(),
        lambda f: test_an_answer_that_passes_puts_the_task_off(f.serve, **WORKER),
    ),
    (
        FivetranSyncOperator,
        "on_kill",
        DELETED,
        lambda f: test_a_killed_task_starts_nothing_and_is_no_success(f.serve, sync),
    ),
    (
        FivetranSyncOperator,
        "resume_execution",
        DELETED,
        lambda f: test_trigger_timeout_says_that_the_sync_goes_on(f.serve),
    ),
    (FivetranSyncOperator, "_prepare", lambda _, seen: seen, lambda f: test_schedule_type(f.serve, "manual", "manual")),
    (FivetranSyncTrigger, "run", DELETED, lambda f: test_starts_one_sync_and_waits_for_it(f.serve, **WAITS)),
    (FivetranSyncTrigger, "serialize", DELETED, lambda f: test_every_option_survives_deferral(f.serve, f.patch)),
    (
        FivetranSyncTrigger,
        "on_kill",
        DELETED,
        lambda f: test_kill_of_a_trigger_that_sees_no_sync_says_so(f.serve, f.capsys),
    ),
    (FivetranSyncSensor, "poke", DELETED, lambda f: test_sensor_takes_another_moment(f.serve, **WORKER)),
    (FivetranSyncSensor, "resume_execution", DELETED, lambda f: test_sensor_timeout(f.serve)),
    (
        FivetranSyncSensor,
        "on_kill",
        DELETED,
        lambda f: test_a_killed_task_starts_nothing_and_is_no_success(f.serve, sensor),
    ),
    (FivetranSuccessTrigger, "run", DELETED, lambda f: test_sensor_goes_on_while_another_sync_runs(f.serve, **WAITS)),
    (FivetranSuccessTrigger, "serialize", DELETED, lambda _: test_sensor_trigger_round_trip()),
    (FivetranConnectionLink, "get_link", DELETED, lambda _: test_link_leads_to_the_connection()),
    (fivetran, "_time", datetime.fromisoformat, lambda f: test_connector_that_never_synced(f.serve, **WORKER)),
    (
        fivetran,
        "_retry_after",
        lambda _: None,
        lambda f: test_rate_limit_waits_as_long_as_fivetran_says(f.serve, **WORKER),
    ),
    (
        fivetran,
        "TRIGGERER_PATIENCE",
        0,
        lambda f: test_nothing_blocks_the_triggerers_event_loop(f.serve, f.patch),
    ),
    (
        fivetran._Attempts,
        "wait_after",
        _no_data,
        lambda f: test_client_error_in_the_triggerer_ends_the_task_with_fivetrans_words(f.serve),
    ),
    (
        FivetranConnector,
        "busy",
        property(lambda self: self.sync_state == "syncing"),
        lambda f: test_a_sync_that_is_put_off_is_not_started_before_its_time(f.serve),
    ),
    (
        FivetranHook,
        "aget_connector",
        _blocking,
        lambda f: test_nothing_blocks_the_triggerers_event_loop(f.serve, f.patch),
    ),
    (FivetranHook, "start_sync", _forced, lambda f: test_starts_one_sync_and_waits_for_it(f.serve, **WORKER)),
    (
        FivetranHook,
        "_options",
        _without_timeout,
        lambda f: test_base_url(f.patch, None, "", "https://api.fivetran.com"),
    ),
    (_Note, "write", lambda *_: None, lambda f: test_retry_takes_the_success_that_came_meanwhile(f.serve, **WORKER)),
    (_Note, "remove", lambda *_: None, lambda f: test_starts_one_sync_and_waits_for_it(f.serve, **WORKER)),
    (
        FivetranConnector,
        "__str__",
        object.__str__,
        lambda f: test_failed_sync_names_connector_service_state_and_reason(f.serve, **WORKER),
    ),
    (FivetranOperator, "__init__", FivetranSyncOperator.__init__, lambda _: test_keywords_of_the_provider_mean_ours()),
]


@pytest.mark.parametrize(("target", "name", "changed", "check"), MUTATIONS, ids=lambda v: getattr(v, "__name__", v))
def test_everything_is_needed(
    serve: Any, capsys: pytest.CaptureFixture[str], target: Any, name: str, changed: Any, check: Callable[..., object]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        check(SimpleNamespace(serve=serve, patch=patch, capsys=capsys))
    with pytest.MonkeyPatch.context() as mutation, pytest.MonkeyPatch.context() as patch:
        if changed is DELETED:
            mutation.delattr(target, name)
        else:
            mutation.setattr(target, name, changed)
        with pytest.raises((Exception, pytest.fail.Exception)):
            check(SimpleNamespace(serve=serve, patch=patch, capsys=capsys))


def test_no_override_is_without_such_a_check() -> None:
    checked = {(target, name) for target, name, _, _ in MUTATIONS}
    for cls in {target for target, _, _, _ in MUTATIONS if isinstance(target, type)}:
        overrides = {
            name for name in vars(cls) if any(name in vars(base) for base in cls.__mro__[1:]) and "__" not in name
        }
        attributes = {"template_fields", "operator_extra_links", "ui_color", "name", "_abc_impl", "_is_protocol"}
        assert {(cls, name) for name in overrides - attributes} <= checked, cls
