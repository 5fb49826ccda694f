"""Fivetran: start a sync and wait for it, or wait for a sync that something else starts.

:class:`FivetranSyncOperator` and :class:`FivetranSyncSensor` use Fivetran's API of today (``/v1/connections``,
https://fivetran.com/docs/rest-api/api-reference/connections). They exist beside airflow-provider-fivetran-async 2.4.0, which
fails on a connector that never synced, on HTTP 429, and on a rescheduled sync, kills a running sync when a task is tried
again (it posts ``/force``), sets no HTTP timeout, and sleeps in the triggerer's event loop. :class:`FivetranOperator` is the
first under the provider's name and keywords, for imported DAGs.

The Airflow connection has type ``fivetran``: login is the API key, password the secret, host (optional) another base URL.
On the local platform all calls go to :attr:`utils.config.LocalCloud.fivetran_url`, whatever the connection says.

Fivetran gives a sync no id that its status would show. What tells a finished sync is that ``succeeded_at`` or ``failed_at``
moved: the operator reads both before it starts a sync and compares Fivetran's times with Fivetran's times only.
"""

from __future__ import annotations

import asyncio
import functools
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypedDict

import httpx
from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
)
from airflow.triggers.base import BaseTrigger, TriggerEvent

from utils.config import CONNECTIONS, LocalCloud
from utils.deadlines import time_left
from utils.retries import waiting_out

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    from airflow.sdk import Connection, Context
    from airflow.sdk.types import Logger

API_URL = "https://api.fivetran.com"
DASHBOARD_URL = "https://fivetran.com/dashboard/connections"

REQUEST_TIMEOUT = 30.0
REQUEST_ATTEMPTS = 7
REQUEST_BACKOFF = 2.0
MAX_BACK_OFF = 60.0
"""The longest wait between two attempts of a request, in seconds, where Fivetran names none."""
WORKER_PATIENCE = 300.0
"""The longest ``Retry-After`` that a worker waits for, in seconds. A longer one ends the try with an error naming it."""
TRIGGERER_PATIENCE = 3600.0
"""Likewise for a trigger, which holds no worker slot: Fivetran's longest limit is by the hour."""

_STATE_KEY = "fivetran_sync"
_CONNECTOR_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class FivetranError(AirflowException):
    """Something went wrong that another try may put right."""


class FivetranFinalError(FivetranError, AirflowFailException):
    """Something is wrong that no retry puts right: the task fails at once."""


class Event(TypedDict, total=False):
    """What a wait ends with, as it travels from the triggerer to the worker.

    ``status``: ``succeeded`` (with ``at``, ISO 8601), ``failed``, ``due`` (a rescheduled sync is to be started now), ``idle``
    (no sync runs and none ended), or ``error`` (``final`` where no retry helps). ``message`` is for a person.
    """

    status: Literal["succeeded", "failed", "due", "idle", "error"]
    message: str
    at: str
    final: bool


@dataclass(frozen=True)
class FivetranConnector:
    """What Fivetran says of a connector. Times are aware; None where nothing of the kind ever happened.

    :param says: what Fivetran tells a person: the connector's tasks and warnings.
    """

    id: str
    service: str
    schema: str
    paused: bool
    schedule_type: str
    setup_state: str
    sync_state: str
    succeeded_at: datetime | None
    failed_at: datetime | None
    rescheduled_for: datetime | None
    says: tuple[str, ...]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Read the ``data`` of ``GET /v1/connections/{id}``.

        :raises FivetranError: where it has not that shape.
        """
        try:
            status = data["status"]
            notes = [*(status.get("tasks") or []), *(status.get("warnings") or [])]
            return cls(
                id=str(data["id"]),
                service=str(data["service"]),
                schema=str(data["schema"]),
                paused=bool(data["paused"]),
                schedule_type=str(data.get("schedule_type")),
                setup_state=str(status["setup_state"]),
                sync_state=str(status["sync_state"]),
                succeeded_at=_time(data["succeeded_at"]),
                failed_at=_time(data["failed_at"]),
                rescheduled_for=_time(status.get("rescheduled_for")),
                says=tuple(str(note.get("message") or note.get("code")) for note in notes),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FivetranError(f"Fivetran's answer is not a connection: {error!r} in {str(data)[:500]}") from error

    @property
    def ended_at(self) -> datetime | None:
        """When its last sync ended, well or not."""
        return max((ended for ended in (self.succeeded_at, self.failed_at) if ended), default=None)

    @property
    def busy(self) -> bool:
        """Whether a sync runs, or is put off to a time that has not come."""
        if self.sync_state == "rescheduled":
            return self.schedule_type != "manual" or (self.rescheduled_for or _now()) > _now()
        return self.sync_state == "syncing"

    def __str__(self) -> str:
        """All of it in one line, for errors and logs."""
        says = f"; Fivetran says: {'; '.join(self.says)}" if self.says else ""
        put_off = f" for {self.rescheduled_for}" if self.sync_state == "rescheduled" else ""
        return (
            f"connector {self.id} ({self.service}, schema {self.schema}): "
            f"{'paused, ' if self.paused else ''}setup {self.setup_state}, sync {self.sync_state}{put_off}, "
            f"last success {self.succeeded_at or 'never'}, last failure {self.failed_at or 'never'}{says}; "
            f"{DASHBOARD_URL}/{self.id}"
        )


# The HTTP client


@dataclass
class _Attempts:
    """When one request is tried again, the same for both clients.

    A lost connection, a timeout, 5xx and 429 are; 429 and 503 after ``Retry-After`` where Fivetran gives it, all others
    after ``delay`` seconds, doubled each time. Repeating a POST is safe: none of ours uses ``force``.
    """

    request: str
    limit: int
    delay: float
    patience: float
    made: int = 0

    def wait_after(self, outcome: httpx.Response | httpx.TransportError) -> float:
        """Seconds until the next attempt.

        :raises FivetranFinalError: for an answer that does not change.
        :raises FivetranError: after the last attempt.
        """
        self.made += 1
        problem, retry_after = _problem(self.request, outcome), None
        if isinstance(outcome, httpx.Response):
            if outcome.status_code < 500 and outcome.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                raise FivetranFinalError(problem)
            retry_after = _retry_after(outcome)
        if self.made >= self.limit:
            raise FivetranError(f"{problem} (attempt {self.made} of {self.limit})")
        if retry_after is None:
            return min(self.delay * 2.0 ** (self.made - 1), MAX_BACK_OFF)
        if retry_after > self.patience:
            raise FivetranError(f"{problem} (to be tried again in {retry_after:.0f} s, too long to wait here)")
        return retry_after


class FivetranHook(BaseHook):
    """Fivetran's API, for workers (plain methods) and triggers (``aget_connector``).

    :param fivetran_conn_id: the Airflow connection.
    :param request_timeout: seconds that a request waits for the connection, and for each part of the answer.
    :param request_attempts: how often a request is made at most.
    :param request_backoff: seconds before the second attempt; doubled for each further one.
    :param patience: the longest ``Retry-After`` that is waited for, in seconds.
    """

    conn_name_attr: ClassVar[str] = "fivetran_conn_id"
    default_conn_name: ClassVar[str] = CONNECTIONS.fivetran
    conn_type: ClassVar[str] = "fivetran"
    hook_name: ClassVar[str] = "Fivetran"

    def __init__(
        self,
        fivetran_conn_id: str = CONNECTIONS.fivetran,
        *,
        request_timeout: float = REQUEST_TIMEOUT,
        request_attempts: int = REQUEST_ATTEMPTS,
        request_backoff: float = REQUEST_BACKOFF,
        patience: float = WORKER_PATIENCE,
    ) -> None:
        super().__init__()
        self.fivetran_conn_id = fivetran_conn_id
        self.request_timeout = request_timeout
        self.request_attempts = request_attempts
        self.request_backoff = request_backoff
        self.patience = patience
        self._stopped = False

    def stop(self) -> None:
        """End what waits in this worker within a second, and refuse every further request: the task was killed.

        Airflow calls a task's ``on_kill`` from a signal handler, where no lock may be taken, and goes on with the task then.
        """
        self._stopped = True

    def pause(self, seconds: float) -> None:
        """Sleep in this worker.

        :raises FivetranError: when the task was killed, before or meanwhile.
        """
        end = time.monotonic() + seconds
        while not self._stopped and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
        if self._stopped:
            raise FivetranError("The task was killed.")

    def get_connector(self, connector_id: str) -> FivetranConnector:
        """The connector as it is now."""
        return FivetranConnector.parse(self._data("GET", _path(connector_id)))

    async def aget_connector(self, connector_id: str) -> FivetranConnector:
        """The connector as it is now, asked without blocking the event loop."""
        path = _path(connector_id)
        attempts = self._attempts("GET", path)
        options = self._options(await self.aget_connection(self.fivetran_conn_id))
        verify = await asyncio.to_thread(_ssl_context)
        async with httpx.AsyncClient(**options, verify=verify) as client:
            while True:
                outcome: httpx.Response | httpx.TransportError
                try:
                    outcome = await client.get(path)
                except httpx.TransportError as error:
                    outcome = error
                if isinstance(outcome, httpx.Response) and outcome.is_success:
                    return FivetranConnector.parse(_parse(attempts.request, outcome))
                wait = attempts.wait_after(outcome)
                self.log.warning("%s, tried again in %g s", _problem(attempts.request, outcome), wait)
                await asyncio.sleep(wait)

    def set_schedule_type(self, connector_id: str, schedule_type: str) -> None:
        """Let Fivetran (``auto``) or only the API (``manual``) start syncs; no setup tests are run."""
        self._data("PATCH", _path(connector_id), {"schedule_type": schedule_type, "run_setup_tests": False})

    def run_setup_tests(self, connector_id: str) -> tuple[FivetranConnector, dict[str, str]]:
        """Run Fivetran's setup tests: the connector after them, and the failed ones with what they say."""
        data = self._data("POST", f"{_path(connector_id)}/test", {})
        failed = {
            str(test.get("title")): str(test.get("message"))
            for test in data.get("setup_tests") or []
            if test.get("status") not in {"PASSED", "SKIPPED", "WARNING"}
        }
        return FivetranConnector.parse(data), failed

    def start_sync(self, connector_id: str) -> str | None:
        """Start a sync where none runs; one that runs goes on (``force`` is false).

        Fivetran's reference allows two answers to the latter, success and 409.

        :return: what Fivetran says where it answers 409: a sync runs already, or none can be started.
        """
        response = self._request("POST", f"{_path(connector_id)}/sync", {"force": False}, accept=HTTPStatus.CONFLICT)
        return _message(response) if response.status_code == HTTPStatus.CONFLICT else None

    def _data(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return _parse(f"{method} {path}", self._request(method, path, body))

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, accept: int = HTTPStatus.OK
    ) -> httpx.Response:
        attempts = self._attempts(method, path)
        options = self._options(self.get_connection(self.fivetran_conn_id))
        with httpx.Client(**options, verify=_ssl_context()) as client:
            self.pause(0)
            while True:
                outcome: httpx.Response | httpx.TransportError
                try:
                    outcome = client.request(method, path, json=body)
                except httpx.TransportError as error:
                    outcome = error
                if isinstance(outcome, httpx.Response) and (outcome.is_success or outcome.status_code == accept):
                    return outcome
                wait = attempts.wait_after(outcome)
                self.log.warning("%s, tried again in %g s", _problem(attempts.request, outcome), wait)
                self.pause(wait)

    def _attempts(self, method: str, path: str) -> _Attempts:
        return _Attempts(f"{method} {path}", self.request_attempts, self.request_backoff, self.patience)

    def _options(self, connection: Connection) -> dict[str, Any]:
        if not (connection.login and connection.password):
            raise FivetranFinalError(
                f"the Airflow connection {self.fivetran_conn_id} needs a login (the API key) and a password (the secret)"
            )
        url = LocalCloud().fivetran_url or connection.host or API_URL
        return {
            "base_url": url if "://" in url else f"https://{url}",
            "auth": (connection.login, connection.password),
            "headers": {"Accept": "application/json;version=2"},
            "timeout": self.request_timeout,
        }


# Waiting


@dataclass
class SyncWatch:
    """Follows the sync that the operator started, look by look.

    :param since: when the connector's last sync before it ended; None where there was none.
    :param put_off_before: the ``rescheduled_for`` that the connector showed when the sync was started: an old value, not
        one to act on.
    :param start_timeout: seconds without a running sync after which waiting makes no sense any more.
    :param reschedule_wait: seconds for which a sync that was put off is left alone at least.
    :param last: the connector at the last look.
    """

    since: datetime | None
    put_off_before: datetime | None
    start_timeout: float
    reschedule_wait: float = 0
    last: FivetranConnector | None = None
    _idle_from: float | None = field(default=None, init=False)
    _put_off_from: float | None = field(default=None, init=False)

    def look(self, connector: FivetranConnector) -> Event | None:
        """What the wait ends with; None to go on waiting."""
        self.last = connector
        if event := _ended(connector, self.since):
            return event
        if connector.paused:
            return Event(status="error", final=True, message=f"paused while a task waits for its sync: {connector}")
        now = time.monotonic()
        if connector.sync_state == "rescheduled" and connector.rescheduled_for not in {None, self.put_off_before}:
            self._idle_from, self._put_off_from = None, self._put_off_from or now
            if connector.busy or now - self._put_off_from < self.reschedule_wait:
                return None
            return Event(status="due", message=f"the time that its sync was put off to has come: {connector}")
        if connector.sync_state == "syncing":
            self._idle_from = None
            return None
        if self._idle_from is None:
            self._idle_from = now
        if now - self._idle_from < self.start_timeout:
            return None
        return Event(
            status="idle",
            message=f"no sync has run for {self.start_timeout:g} s, and none ended since {self.since or 'ever'}: {connector}",
        )


@dataclass
class SuccessWatch:
    """Waits for any sync that succeeded at or after a moment, look by look.

    :param last: the connector at the last look.
    """

    moment: datetime
    last: FivetranConnector | None = None

    def look(self, connector: FivetranConnector) -> Event | None:
        """What the wait ends with; None to go on waiting."""
        self.last = connector
        if connector.succeeded_at and connector.succeeded_at >= self.moment:
            return _succeeded(connector)
        if connector.paused:
            return Event(status="error", final=True, message=f"paused, no sync will succeed: {connector}")
        if connector.busy:
            return None
        if connector.failed_at and connector.failed_at >= self.moment:
            return Event(status="failed", message=f"the sync failed: {connector}")
        if connector.setup_state != "connected":
            return Event(status="error", final=False, message=f"not set up, no sync will succeed: {connector}")
        return None


Watch = SyncWatch | SuccessWatch


def _ended(connector: FivetranConnector, since: datetime | None) -> Event | None:
    if connector.ended_at is None or (since and connector.ended_at <= since):
        return None
    if connector.ended_at == connector.succeeded_at:
        return _succeeded(connector)
    return Event(status="failed", message=f"the sync failed: {connector}")


def _succeeded(connector: FivetranConnector) -> Event:
    at = connector.succeeded_at
    return Event(status="succeeded", message=f"synced: {connector}", at=at.isoformat() if at else "")


def _watch(hook: FivetranHook, connector_id: str, watch: Watch, poll_interval: float, log: Logger) -> Event:
    while True:
        event = _look(watch, hook.get_connector(connector_id), log)
        if event:
            return event
        hook.pause(poll_interval)


async def _awatch(hook: FivetranHook, connector_id: str, watch: Watch, poll_interval: float, log: Logger) -> Event:
    try:
        while True:
            event = _look(watch, await hook.aget_connector(connector_id), log)
            if event:
                return event
            await asyncio.sleep(poll_interval)
    except FivetranError as error:
        return Event(status="error", final=isinstance(error, FivetranFinalError), message=str(error))


def _look(watch: Watch, connector: FivetranConnector, log: Logger) -> Event | None:
    if watch.last is None or watch.last.sync_state != connector.sync_state:
        log.info("%s", connector)
    return watch.look(connector)


class FivetranSyncTrigger(BaseTrigger):
    """Waits for the sync that :class:`FivetranSyncOperator` started. It only looks; it starts nothing.

    :param connector_id: the connector's id.
    :param since: ISO 8601; see :class:`SyncWatch`.
    :param put_off_before: ISO 8601; see :class:`SyncWatch`.
    :param start_timeout: seconds; see :class:`SyncWatch`.
    :param reschedule_wait: seconds; see :class:`SyncWatch`.
    :param poll_interval: seconds between two looks.
    :param hook: the arguments of :class:`FivetranHook`.
    """

    def __init__(
        self,
        *,
        connector_id: str,
        since: str | None,
        put_off_before: str | None,
        start_timeout: float,
        reschedule_wait: float,
        poll_interval: float,
        hook: dict[str, Any],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self.connector_id = connector_id
        self.since = since
        self.put_off_before = put_off_before
        self.start_timeout = start_timeout
        self.reschedule_wait = reschedule_wait
        self.poll_interval = poll_interval
        self.hook = hook
        self._watch: SyncWatch | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and every argument."""
        return f"{__name__}.FivetranSyncTrigger", {
            "connector_id": self.connector_id,
            "since": self.since,
            "put_off_before": self.put_off_before,
            "start_timeout": self.start_timeout,
            "reschedule_wait": self.reschedule_wait,
            "poll_interval": self.poll_interval,
            "hook": self.hook,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the sync has ended or can't be waited for, then give one :class:`Event`."""
        hook = FivetranHook(**self.hook, patience=TRIGGERER_PATIENCE)
        self._watch = SyncWatch(_time(self.since), _time(self.put_off_before), self.start_timeout, self.reschedule_wait)
        event = await _awatch(hook, self.connector_id, self._watch, self.poll_interval, self.log)
        yield TriggerEvent(event)

    async def on_kill(self) -> None:
        """Say what becomes of the sync when a person ends the waiting task."""
        self.log.warning(_left(self.connector_id, self._watch.last if self._watch else None))


class FivetranSuccessTrigger(BaseTrigger):
    """Waits for :class:`FivetranSyncSensor`.

    :param connector_id: the connector's id.
    :param moment: ISO 8601; see :class:`SuccessWatch`.
    :param poll_interval: seconds between two looks.
    :param hook: the arguments of :class:`FivetranHook`.
    """

    def __init__(self, *, connector_id: str, moment: str, poll_interval: float, hook: dict[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self.connector_id = connector_id
        self.moment = moment
        self.poll_interval = poll_interval
        self.hook = hook

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and every argument."""
        return f"{__name__}.FivetranSuccessTrigger", {
            "connector_id": self.connector_id,
            "moment": self.moment,
            "poll_interval": self.poll_interval,
            "hook": self.hook,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until a sync has succeeded or none will, then give one :class:`Event`."""
        hook = FivetranHook(**self.hook, patience=TRIGGERER_PATIENCE)
        watch = SuccessWatch(datetime.fromisoformat(self.moment))
        event = await _awatch(hook, self.connector_id, watch, self.poll_interval, self.log)
        yield TriggerEvent(event)


# Operators


class FivetranConnectionLink(BaseOperatorLink):
    """The button that leads to the connection in Fivetran's dashboard."""

    name = "Fivetran"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """The connection's page."""
        return f"{DASHBOARD_URL}/{getattr(operator, 'connector_id', '')}"


class FivetranSyncOperator(BaseOperator):
    """Start a sync of one Fivetran connector and wait until it has succeeded.

    The task succeeds when a sync that began after the task did has succeeded. It never kills a running sync:

    - A sync of somebody else that runs already (or is put off) is left to end, then one is started.
    - A retry, also after the loss of a worker or the triggerer, goes on waiting for the sync that an earlier try started.
      If that one has succeeded meanwhile, so has the task; if it has failed, a new one is started. The first try notes
      in the task state store when the connector's last sync had ended; the note goes when the task succeeds.
    - Where Fivetran answers 429 or 5xx for longer than a worker or the triggerer waits, the task is put off and goes on likewise
      in the same try, up to five times (:func:`utils.retries.waiting_out`).
    - A task that is cleared starts a sync of its own: one of a try before it is somebody else's then.
    - A sync that Fivetran put off (``rescheduled``: the source allows no more calls) is started again when the time that
      Fivetran names has come, not before.
    - Killing the task or its timeout ends the waiting only: Fivetran has no call to stop a sync. The log, or the error of a
      timeout, says whether one goes on.

    A paused connector fails the task at once. One that is not set up gets Fivetran's setup tests first: if they pass, the
    sync is started, as only a sync ends the state ``broken`` (issue 234 of astronomer's provider); if not, the task fails
    with what they say. Deferred tasks count against ``max_active_tis_per_dag`` in Airflow 3.3.

    :param connector_id: the connector's id as its setup page in Fivetran shows it; templated.
    :param fivetran_conn_id: the Airflow connection. Default: ``fivetran_default``.
    :param schedule_type: set in Fivetran before the sync. ``manual`` (default): syncs start from here only; ``auto``:
        also by Fivetran's schedule; None: as it is.
    :param wait_for_completion: whether to wait. Default: yes. If not, the task ends when its sync is started.
    :param poll_interval: seconds between two looks. Default: 30.
    :param start_timeout: seconds for which no sync may run while the task waits for one; then it fails. Default: 300.
    :param reschedule_wait: seconds for which a sync that Fivetran put off is left alone at least, also where the time that
        Fivetran names comes earlier. Default: 0, which is one ``poll_interval``.
    :param request_timeout: seconds that a request waits for the connection, and for each part of an answer. Default: 30.
    :param request_attempts: how often a request is made at most, when Fivetran can't be reached or answers 429 or 5xx.
        Default: 7.
    :param request_backoff: seconds before the second attempt, doubled up to 60 for each further one, where Fivetran names no
        time. Default: 2.
    :param deferrable: whether to wait in the triggerer, which holds no worker slot. Default: yes.
    :return: when the sync succeeded, ISO 8601; None without waiting.
    """

    template_fields = ("connector_id",)
    operator_extra_links = (FivetranConnectionLink(),)
    ui_color = "#e6f0ff"

    def __init__(
        self,
        *,
        connector_id: str,
        fivetran_conn_id: str = CONNECTIONS.fivetran,
        schedule_type: Literal["manual", "auto"] | None = "manual",
        wait_for_completion: bool = True,
        poll_interval: float = 30,
        start_timeout: float = 300,
        reschedule_wait: float = 0,
        request_timeout: float = REQUEST_TIMEOUT,
        request_attempts: int = REQUEST_ATTEMPTS,
        request_backoff: float = REQUEST_BACKOFF,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not _is_template(connector_id):
            _check_id(connector_id)
        if schedule_type not in {"manual", "auto", None}:
            raise ValueError(f"schedule_type must be 'manual', 'auto' or None, not {schedule_type!r}")
        self.connector_id = connector_id
        self.fivetran_conn_id = fivetran_conn_id
        self.schedule_type = schedule_type
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.start_timeout = start_timeout
        self.reschedule_wait = reschedule_wait
        self.request_timeout = request_timeout
        self.request_attempts = request_attempts
        self.request_backoff = request_backoff
        self.deferrable = deferrable
        self._watch: SyncWatch | None = None
        self._seen: FivetranConnector | None = None

    @functools.cached_property
    def hook(self) -> FivetranHook:
        """The hook for this worker."""
        return FivetranHook(**_hook_arguments(self))

    def execute(self, context: Context) -> str | None:
        """Start a sync, or find the one that an earlier try started, and wait."""
        with waiting_out(self, context):
            return self._find_or_start(context)

    def _find_or_start(self, context: Context) -> str | None:
        connector, note = self.hook.get_connector(self.connector_id), _Note(context)
        if note.is_about(self.connector_id):
            event = _ended(connector, note.since)
            if event and event["status"] == "succeeded":
                self.log.info("The sync that an earlier try started has succeeded")
                return self._finish(context, event)
            if event:
                self.log.warning("The sync that an earlier try started has failed, a new one follows: %s", connector)
            elif connector.busy:
                self.log.info("Going on with the sync that an earlier try started")
                return self._wait(context, since=note.since)
        connector = self._prepare(connector)
        if connector.busy:
            self.log.info("Another sync comes first; it is left to end: %s", connector)
            return self._wait(context, since=connector.ended_at, mine=False)
        return self._start(context)

    def execute_complete(self, context: Context, event: Event, mine: bool = True) -> str | None:
        """Act on what a wait ended with.

        :param mine: whether the sync waited for is this task's own.
        """
        with waiting_out(self, context):
            return self._finish(context, event, mine)

    def _finish(self, context: Context, event: Event, mine: bool = True) -> str | None:
        if event["status"] == "error":
            raise (FivetranFinalError if event.get("final") else FivetranError)(event["message"])
        self.log.info(event["message"])
        if not mine or event["status"] == "due":
            return self._start(context)
        if event["status"] == "idle":
            raise FivetranError(event["message"])
        _Note(context).remove()
        if event["status"] == "failed":
            raise FivetranError(event["message"])
        return event["at"]

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the deferral; a timeout while deferred ends as one on a worker does."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            self._seen = _seen_now(self)
            raise AirflowTaskTimeout(f"execution_timeout passed. {_left(self.connector_id, self._seen)}") from error

    def on_kill(self) -> None:
        """Stop waiting, and say what becomes of the sync: Fivetran has no call to stop one.

        Airflow calls it after every ``AirflowTaskTimeout`` too.
        """
        self.hook.stop()
        self.log.warning(_left(self.connector_id, self._watch.last if self._watch else self._seen))

    def _prepare(self, connector: FivetranConnector) -> FivetranConnector:
        """Refuse a connector that can't sync, and set its schedule."""
        if connector.paused:
            raise FivetranFinalError(f"paused; unpause it in Fivetran, then clear this task: {connector}")
        if connector.setup_state != "connected":
            connector, failed = self.hook.run_setup_tests(self.connector_id)
            if failed or connector.setup_state == "incomplete":
                found = "; ".join(f"{title}: {message}" for title, message in failed.items()) or "no test failed"
                raise FivetranFinalError(f"not set up (setup tests: {found}); put it right in Fivetran: {connector}")
        if self.schedule_type and connector.schedule_type != self.schedule_type:
            self.log.info("Schedule type: %s, was %s", self.schedule_type, connector.schedule_type)
            self.hook.set_schedule_type(self.connector_id, self.schedule_type)
        return connector

    def _start(self, context: Context) -> str | None:
        before = self.hook.get_connector(self.connector_id)
        note = _Note(context)
        if self.wait_for_completion:
            note.write(self.connector_id, before.ended_at)  # first: a try that dies from here on leaves a trace
        if refusal := self.hook.start_sync(self.connector_id):
            self.log.warning("No sync was started: %s", refusal)
        else:
            self.log.info("Started a sync: %s", before)
        if not self.wait_for_completion:
            if refusal and not (now := self.hook.get_connector(self.connector_id)).busy:
                raise FivetranError(f"no sync was started: {refusal}: {now}")
            return None
        return self._wait(context, since=before.ended_at, put_off_before=before.rescheduled_for)

    def _wait(
        self, context: Context, *, since: datetime | None, put_off_before: datetime | None = None, mine: bool = True
    ) -> str | None:
        # One that is put off again and again to a time that has passed here, by another clock, is not started in a spin.
        reschedule_wait = max(self.reschedule_wait, self.poll_interval)
        if self.deferrable:
            self.defer(
                trigger=FivetranSyncTrigger(
                    connector_id=self.connector_id,
                    since=since.isoformat() if since else None,
                    put_off_before=put_off_before.isoformat() if put_off_before else None,
                    start_timeout=self.start_timeout,
                    reschedule_wait=reschedule_wait,
                    poll_interval=self.poll_interval,
                    hook=_hook_arguments(self),
                ),
                method_name="execute_complete",
                kwargs={"mine": mine},
                timeout=time_left(self.execution_timeout, context["ti"]) if self.execution_timeout else None,
            )
        self._watch = SyncWatch(since, put_off_before, self.start_timeout, reschedule_wait)
        event = _watch(self.hook, self.connector_id, self._watch, self.poll_interval, self.log)
        return self._finish(context, event, mine)


_OF_THE_PROVIDER_ONLY = {
    "connector_name": "give connector_id, which the connector's setup page in Fivetran shows",
    "destination_name": "give connector_id, which the connector's setup page in Fivetran shows",
    "run_name": "leave it out, it has no effect",
    "timeout_seconds": "give execution_timeout=timedelta(seconds=...)",
}


class FivetranOperator(FivetranSyncOperator):
    """:class:`FivetranSyncOperator` under the name and keywords of airflow-provider-fivetran-async 2.4.0.

    Generated DAGs call it. The importer rewrites the module that they import it from, and leaves the call as it is. What
    they call ``task_concurrency`` is ``max_active_tis_per_dag`` there as for any operator. A DAG written here uses
    :class:`FivetranSyncOperator`.

    :param connector_id: the connector's id as its setup page in Fivetran shows it; templated. Required.
    :param poll_frequency: ``poll_interval``.
    :param reschedule_wait_time: ``reschedule_wait``. The provider starts a sync that was put off after so many seconds,
        whatever time Fivetran names; this one never starts it earlier than that.
    :param fivetran_retry_limit: ``request_attempts``.
    :param fivetran_retry_delay: ``request_backoff``.
    :param kwargs: other parameters of :class:`FivetranSyncOperator` and ``BaseOperator``, by their names there.
    :raises TypeError: a keyword of the provider that has no meaning here; the message says what to type.
    """

    def __init__(
        self,
        *,
        connector_id: str | None = None,
        poll_frequency: float = 30,
        reschedule_wait_time: float = 0,
        fivetran_retry_limit: int = REQUEST_ATTEMPTS,
        fivetran_retry_delay: float = REQUEST_BACKOFF,
        **kwargs: Any,
    ) -> None:
        for name in sorted(_OF_THE_PROVIDER_ONLY.keys() & kwargs):
            raise TypeError(
                f"Task {kwargs.get('task_id')}: FivetranOperator takes no {name} here, {_OF_THE_PROVIDER_ONLY[name]}."
            )
        if connector_id is None:
            raise TypeError(f"Task {kwargs.get('task_id')}: FivetranOperator needs connector_id.")
        super().__init__(
            connector_id=connector_id,
            poll_interval=poll_frequency,
            reschedule_wait=reschedule_wait_time,
            request_attempts=fivetran_retry_limit,
            request_backoff=fivetran_retry_delay,
            **kwargs,
        )


class FivetranSyncSensor(BaseSensorOperator):
    """Wait for a sync of one Fivetran connector that succeeded at or after a moment; start nothing.

    The moment is the end of the run's data interval unless another is given. What counts is when a sync *ended* well, not
    when it began. Take a DAG with ``schedule="0 3 * * *"`` and its run for 2026-06-01, whose interval ends on 2026-06-02 at
    03:00 UTC, which is also when it starts. The connector syncs every six hours:

    ====================  ====================  =====================================================================
    sync began            sync succeeded        at 03:00 the sensor ...
    ====================  ====================  =====================================================================
    2026-06-01 20:50      2026-06-01 21:10      ... does not take this one: it ended before the interval did
    2026-06-02 02:50      2026-06-02 03:10      ... waits for this one, and succeeds at the first look after 03:10
    2026-06-02 08:50      2026-06-02 09:10      ... is done by then
    ====================  ====================  =====================================================================

    The sync of 02:50 holds what the source had by then: rows of the interval's last ten minutes may be missing. Where that
    matters give a later ``completed_after``, or start the sync with :class:`FivetranSyncOperator`. Run again a week later, the
    same sensor succeeds at once: Fivetran tells the last success only, and that one is later than the moment.

    A sync that failed at or after the moment ends the sensor with what Fivetran says, unless another runs already or is put
    off: then it goes on waiting. A paused connector ends it at once.

    :param connector_id: the connector's id as its setup page in Fivetran shows it; templated.
    :param completed_after: the moment, with time zone: a datetime, or ISO 8601; templated. Default: ``data_interval_end``.
    :param fivetran_conn_id: the Airflow connection. Default: ``fivetran_default``.
    :param request_timeout: seconds that a request waits for the connection, and for each part of an answer. Default: 30.
    :param request_attempts: how often a request is made at most, when Fivetran can't be reached or answers 429 or 5xx.
        Default: 7.
    :param request_backoff: seconds before the second attempt, doubled up to 60 for each further one, where Fivetran names no
        time. Default: 2.
    :param deferrable: whether to wait in the triggerer, which holds no worker slot. Default: yes.
    :return: when the sync succeeded, ISO 8601.
    """

    template_fields = ("connector_id", "completed_after")
    operator_extra_links = (FivetranConnectionLink(),)
    ui_color = "#e6f0ff"

    def __init__(
        self,
        *,
        connector_id: str,
        completed_after: datetime | str | None = None,
        fivetran_conn_id: str = CONNECTIONS.fivetran,
        request_timeout: float = REQUEST_TIMEOUT,
        request_attempts: int = REQUEST_ATTEMPTS,
        request_backoff: float = REQUEST_BACKOFF,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not _is_template(connector_id):
            _check_id(connector_id)
        if isinstance(completed_after, datetime):
            completed_after = _aware(completed_after).isoformat()
        self.connector_id = connector_id
        self.completed_after = completed_after
        self.fivetran_conn_id = fivetran_conn_id
        self.request_timeout = request_timeout
        self.request_attempts = request_attempts
        self.request_backoff = request_backoff
        self.deferrable = deferrable

    @functools.cached_property
    def hook(self) -> FivetranHook:
        """The hook for this worker."""
        return FivetranHook(**_hook_arguments(self))

    def on_kill(self) -> None:
        """Look no more."""
        self.hook.stop()

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; in deferrable mode leave further looks to the triggerer."""
        moment = self._moment(context)
        watch = SuccessWatch(moment)
        event = _look(watch, self.hook.get_connector(self.connector_id), self.log)
        if event:
            return PokeReturnValue(is_done=True, xcom_value=self.execute_complete(context, event))
        self.log.info("Waiting for a sync that succeeds at or after %s", moment)
        if self.deferrable:
            limits = [timedelta(seconds=self.timeout)]
            if self.execution_timeout:
                limits.append(time_left(self.execution_timeout, context["ti"]))
            self.defer(
                trigger=FivetranSuccessTrigger(
                    connector_id=self.connector_id,
                    moment=moment.isoformat(),
                    poll_interval=self.poke_interval,
                    hook=_hook_arguments(self),
                ),
                method_name="execute_complete",
                timeout=min(limits),
            )
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: Event) -> str:
        """Act on what the wait ended with."""
        if event["status"] != "succeeded":
            raise (FivetranFinalError if event.get("final") else FivetranError)(event["message"])
        self.log.info(event["message"])
        return event["at"]

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the deferral; a timeout says what was waited for, where Airflow says "Trigger timeout"."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSensorTimeout as error:
            seen = _seen_now(self) or f"{DASHBOARD_URL}/{self.connector_id}"
            raise AirflowSensorTimeout(f"no sync succeeded at or after {self._moment(context)}: {seen}") from error

    def _moment(self, context: Context) -> datetime:
        given = context.get("data_interval_end") if self.completed_after is None else self.completed_after
        if given is None:
            raise FivetranFinalError(
                f"{self.task_id}: the run has no data interval: give it a logical date, or the task completed_after"
            )
        try:
            return _aware(given if isinstance(given, datetime) else datetime.fromisoformat(given))
        except ValueError as error:
            raise FivetranFinalError(f"{self.task_id}: completed_after is {given!r}: {error}") from error


class _Note:
    """What the tries of one task instance tell each other: which sync is theirs.

    Kept in Airflow's task state store, which outlives a try. Where there is none (a context made by hand) a retry knows
    nothing of the try before it, and waits for a running sync as for somebody else's.
    """

    def __init__(self, context: Context) -> None:
        self._store = context.get("task_state_store")
        # The same for all retries; Airflow raises it when the task is cleared.
        self._max_tries = context["ti"].max_tries
        stored = None if self._store is None else self._store.get(_STATE_KEY)
        self._content: Mapping[str, Any] = stored if isinstance(stored, dict) else {}

    def is_about(self, connector_id: str) -> bool:
        named = (self._content.get("connector_id"), self._content.get("max_tries"))
        return named == (connector_id, self._max_tries)

    @property
    def since(self) -> datetime | None:
        return _time(self._content.get("since"))

    def write(self, connector_id: str, since: datetime | None) -> None:
        if self._store is not None:
            note = {"connector_id": connector_id, "since": since.isoformat() if since else None}
            self._store.set(_STATE_KEY, note | {"max_tries": self._max_tries})

    def remove(self) -> None:
        if self._store is not None:
            self._store.delete(_STATE_KEY)


def _hook_arguments(operator: FivetranSyncOperator | FivetranSyncSensor) -> dict[str, Any]:
    return {
        "fivetran_conn_id": operator.fivetran_conn_id,
        "request_timeout": operator.request_timeout,
        "request_attempts": operator.request_attempts,
        "request_backoff": operator.request_backoff,
    }


def _seen_now(operator: FivetranSyncOperator | FivetranSyncSensor) -> FivetranConnector | None:
    """The connector; None where Fivetran does not answer at once, which is no reason to fail otherwise."""
    hook = FivetranHook(**_hook_arguments(operator) | {"request_attempts": 1})
    try:
        return hook.get_connector(operator.connector_id)
    except AirflowException as error:
        operator.log.warning("Fivetran was asked what its sync does: %s", error)
        return None


def _is_template(value: object) -> bool:
    """Whether the value is known only once it is rendered: Jinja, or another task's result."""
    return not isinstance(value, str) or "{{" in value or "{%" in value


def _check_id(connector_id: object) -> None:
    """Refuse what is no connector id: it becomes part of a path."""
    if not isinstance(connector_id, str) or not _CONNECTOR_ID.fullmatch(connector_id):
        raise FivetranFinalError(f"connector_id {connector_id!r} is none: letters, digits, _ and - only")


def _left(connector_id: str, connector: FivetranConnector | None) -> str:
    """What becomes of a sync that nobody waits for any more.

    :param connector: as it was when last looked at; None: it was not.
    """
    if connector is None:
        seen = f"Whether a sync of it runs was not seen: {DASHBOARD_URL}/{connector_id}"
    elif connector.sync_state == "syncing":
        seen = f"Its sync goes on in Fivetran, and a retry waits for it: {connector}"
    elif connector.sync_state == "rescheduled":
        starter = "a retry" if connector.schedule_type == "manual" else "Fivetran"
        seen = f"Its sync does not run, {starter} starts it when its time has come: {connector}"
    else:
        seen = f"No sync of it runs: {connector}"
    return f"No longer waiting for connector {connector_id}. {seen}"


def _path(connector_id: str) -> str:
    _check_id(connector_id)
    return f"/v1/connections/{connector_id}"


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """Made once a process: it reads some 150 certificates, too slow for an event loop."""
    return httpx.create_ssl_context()


def _parse(request: str, response: httpx.Response) -> dict[str, Any]:
    try:
        data = response.json()["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise FivetranError(f"{request}: Fivetran's answer has no data: {response.text[:500]}") from error
    if not isinstance(data, dict):
        raise FivetranError(f"{request}: Fivetran's data is not an object: {response.text[:500]}")
    return data


def _message(response: httpx.Response) -> str:
    """Fivetran's ``code`` and ``message``, or the start of what was answered in their place."""
    try:
        body = response.json()
        return f"{body['code']}: {body['message']}"
    except (ValueError, KeyError, TypeError):
        return response.text[:500]


def _problem(request: str, outcome: httpx.Response | httpx.TransportError) -> str:
    if isinstance(outcome, httpx.Response):
        return f"{request}: Fivetran answered {outcome.status_code}: {_message(outcome)}"
    return f"{request}: {type(outcome).__name__}: {outcome}"


def _retry_after(response: httpx.Response) -> float | None:
    """The header's seconds; None where there is none, or 0, or it is a date: none of these says how long to wait."""
    text = response.headers.get("Retry-After", "")
    return (float(text) if text.isascii() and text.isdigit() else 0) or None


def _time(text: str | None) -> datetime | None:
    return _aware(datetime.fromisoformat(text)) if text else None


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("it has no time zone")
    return moment


def _now() -> datetime:
    return datetime.now(UTC)
