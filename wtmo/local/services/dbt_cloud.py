"""dbt Cloud: job runs that take a moment, with the statuses of its API.

============================================  ==========================================================================
``POST /dbt/api/v2/accounts/A/jobs/J/run/``   starts a run, puts it into the outbox, answers its ``id`` and ``href``
``GET .../accounts/A/runs/``                  the runs, newest first; ``job_definition_id`` and ``status__in`` choose
``GET .../accounts/A/runs/R/``                a run with its ``status``
``POST .../accounts/A/runs/R/cancel/``        ends it
============================================  ==========================================================================

Without a token it answers 401. No model runs: a run is 1 (queued), then 3 (running), then 10 (success); 30 is cancelled.
One whose cause holds ``wtmo-fault=error`` ends in 20 (error). A restart forgets the runs.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from wtmo.local.services.outbox import write_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

SECONDS = 2.0
FAULT = "wtmo-fault=error"
QUEUED, RUNNING, SUCCESS, ERROR, CANCELLED = 1, 3, 10, 20, 30
_NAMES = {QUEUED: "Queued", RUNNING: "Running", SUCCESS: "Success", ERROR: "Error", CANCELLED: "Cancelled"}
_PREFIX = r"/dbt/api/v2/accounts/{account:\d+}"


@dataclass
class Run:
    """A run of a job.

    :param started: in seconds since the epoch.
    """

    job: int
    cause: str
    started: float
    cancelled: bool = False


@dataclass
class DbtCloud:
    """The routes.

    :param outbox: the folder that records of runs go to.
    :param seconds: how long a run takes.
    :param clock: seconds since the epoch.
    :param runs: those of this process; a run's id is its place, from 1.
    """

    outbox: Path
    seconds: float = SECONDS
    clock: Callable[[], float] = time.time
    runs: list[Run] = field(default_factory=list)

    def routes(self) -> list[web.RouteDef]:
        """The routes, for the application that serves them."""
        return [
            web.post(_PREFIX + r"/jobs/{job:\d+}/run/", self._with_token(self._start)),
            web.get(_PREFIX + "/runs/", self._with_token(self._list)),
            web.get(_PREFIX + r"/runs/{run:\d+}/", self._with_token(self._get)),
            web.post(_PREFIX + r"/runs/{run:\d+}/cancel/", self._with_token(self._cancel)),
        ]

    def _with_token(self, answer: Callable[[web.Request, dict[str, Any]], Any]) -> Any:
        """A route that wants a token, and gets the body's fields."""

        async def route(request: web.Request) -> web.Response:
            if not request.headers.get("Authorization", "").startswith(("Token ", "Bearer ")):
                return _answer(None, status=401, message="Authentication credentials were not provided.")
            text = await request.text()
            try:
                fields = json.loads(text) if text and request.method == "POST" else {}
                if not isinstance(fields, dict):
                    raise TypeError
            except (ValueError, TypeError):
                return _answer(None, status=400, message="The body is not a JSON object.")
            response: web.Response = answer(request, fields)
            return response

        return route

    def _start(self, request: web.Request, fields: dict[str, Any]) -> web.Response:
        if not fields.get("cause"):
            return _answer(None, status=400, message="cause: This field is required.")
        run = Run(int(request.match_info["job"]), str(fields["cause"]), self.clock())
        self.runs.append(run)
        number = len(self.runs)
        write_message(
            self.outbox,
            kind="dbt",
            sender="",
            recipients=[f"job {run.job}"],
            subject=f"run {number}",
            text=run.cause,
        )
        log.info("dbt: run %d of job %d", number, run.job)
        return _answer(self._resource(request, number))

    def _list(self, request: web.Request, _: dict[str, Any]) -> web.Response:
        query = request.query
        found = [self._resource(request, number) for number in range(len(self.runs), 0, -1)]
        if job := query.get("job_definition_id"):
            found = [run for run in found if str(run["job_definition_id"]) == job]
        if text := query.get("status__in"):
            try:
                wanted = json.loads(text)
            except ValueError:
                return _answer(None, status=400, message="status__in: not a list of numbers.")
            found = [run for run in found if run["status"] in wanted]
        return _answer(found)

    def _get(self, request: web.Request, _: dict[str, Any]) -> web.Response:
        number = int(request.match_info["run"])
        if not 1 <= number <= len(self.runs):
            return _answer(None, status=404, message=f"Run {number} not found.")
        return _answer(self._resource(request, number))

    def _cancel(self, request: web.Request, fields: dict[str, Any]) -> web.Response:
        number = int(request.match_info["run"])
        if 1 <= number <= len(self.runs) and self._status(self.runs[number - 1]) < SUCCESS:
            self.runs[number - 1].cancelled = True
        return self._get(request, fields)

    def _status(self, run: Run) -> int:
        if run.cancelled:
            return CANCELLED
        age = self.clock() - run.started
        if age >= self.seconds:
            return ERROR if FAULT in run.cause else SUCCESS
        return RUNNING if age >= self.seconds / 2 else QUEUED

    def _resource(self, request: web.Request, number: int) -> dict[str, Any]:
        run, account = self.runs[number - 1], request.match_info["account"]
        status = self._status(run)
        return {
            "id": number,
            "account_id": int(account),
            "job_definition_id": run.job,
            "status": status,
            "status_humanized": _NAMES[status],
            "cause": run.cause,
            "href": f"{request.url.origin()}/dbt/deploy/{account}/runs/{number}/",
            "run_steps": [],
        }


def _answer(data: Any, *, status: int = 200, message: str = "Success!") -> web.Response:
    """In the envelope of dbt Cloud's API."""
    envelope = {"code": status, "is_success": status == 200, "user_message": message, "developer_message": ""}
    return web.json_response({"data": data, "status": envelope}, status=status)
