"""Runs a task of a DAG as a worker does, by Airflow's own task runner, on an execution API in memory.

What the task talks to besides Airflow is not replaced: a test gives it connections to stand-ins that listen on loopback.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.exceptions import ParamValidationError
from airflow.sdk.execution_time.supervisor import run_task_in_process

if TYPE_CHECKING:
    from airflow.sdk import DAG

DATE = datetime(2026, 6, 1, tzinfo=UTC)
_NO_CONNECTION = dict.fromkeys(("host", "schema", "login", "password", "port", "extra"))


@dataclass
class Result:
    """What a try of a task came to.

    :param state: ``success``, ``failed``, ``up_for_retry``, ``deferred``, ``skipped``, ``up_for_reschedule``.
    :param error: what it failed with.
    :param sent: what the API was told of its end; of a deferral the trigger, and the method that is called next.
    :param skipped: tasks behind it that are skipped.
    """

    state: str
    error: BaseException | None
    sent: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


@dataclass
class Worker:
    """A worker and the Airflow behind it.

    :param variables: Airflow's Variables.
    :param connections: its connections, as the API gives them: ``conn_type``, ``host``, ``login``...
    :param xcoms: what other tasks have returned, by task, in the order of their map indexes; and what this one returns.
    :param queued: how many runs of a DAG are queued, or what else the API says to that. None: it refuses (403).
    :param entries: how many task instances a mapped task has.
    :param asked: each request: method, path, query, body.
    """

    variables: dict[str, str] = field(default_factory=dict)
    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    xcoms: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    queued: dict[str, Any] = field(default_factory=dict)
    entries: int = 1
    asked: list[tuple[str, str, dict[str, Any], Any]] = field(default_factory=list)

    def run(
        self,
        dag: DAG,
        task_id: str,
        *,
        run_id: str = "a-run",
        date: datetime | None = DATE,
        params: dict[str, Any] | None = None,
        map_index: int = -1,
        last_try: bool = True,
        resume: Result | None = None,
    ) -> Result:
        """One try of a task.

        :param run_id: the run. A pod belongs to a try of a run: another run gets another pod.
        :param date: the run's logical date; None: started by hand without one.
        :param params: what the run was given.
        :param map_index: which of a mapped task.
        :param last_try: whether a failure is for good.
        :param resume: the try that deferred, to go on with.
        """
        start = len(self.asked)
        run = {
            "dag_id": dag.dag_id,
            "run_id": run_id,
            "logical_date": date and date.isoformat(),
            "data_interval_start": date and date.isoformat(),
            "data_interval_end": date and date.isoformat(),
            "run_after": DATE.isoformat(),
            "start_date": DATE.isoformat(),
            "end_date": None,
            "run_type": "manual",
            "state": "running",
            "conf": params or {},
            "consumed_asset_events": [],
            "partition_key": None,
        }
        context: dict[str, Any] = {"dag_run": run, "max_tries": 0 if last_try else 1, "should_retry": not last_try}
        if resume:
            context |= {
                "next_method": resume.sent["next_method"],
                "next_kwargs": resume.sent["next_kwargs"],
            }

        def answer(request: httpx.Request) -> httpx.Response:
            return self._answer(request, context)

        # A copy: a task is changed when it is rendered, its parameters when they are filled in.
        task: Any = copy.deepcopy(dag).get_task(task_id)
        task.params = copy.deepcopy(task.params)
        instance = TaskInstance(
            id=uuid.uuid4(),
            task_id=task_id,
            dag_id=dag.dag_id,
            run_id=run_id,
            try_number=1,
            map_index=map_index,
            dag_version_id=uuid.uuid4(),
        )
        with Client(base_url="http://airflow.example", token="", transport=httpx.MockTransport(answer)) as client:
            try:
                done = run_task_in_process(instance, task, client)
            except ParamValidationError as error:
                # As a worker's process: it ends with this before the task begins.
                return Result(state="failed" if last_try else "up_for_retry", error=error)
        bodies = [(path.rpartition("/")[2], body) for _, path, _, body in self.asked[start:]]
        ends = [body for name, body in bodies if name == "state"]
        return Result(
            state=str(ends[-1]["state"]),
            error=done.error,
            sent=ends[-1],
            skipped=[
                task if isinstance(task, str) else task[0]
                for name, body in bodies
                if name == "skip-downstream"
                for task in body["tasks"]
            ],
        )

    def _answer(self, request: httpx.Request, context: dict[str, Any]) -> httpx.Response:
        query, body = dict(request.url.params), json.loads(request.content) if request.content else None
        self.asked.append((request.method, request.url.path, query, body))
        match request.method, request.url.path.strip("/").split("/"):
            case "PATCH", ["task-instances", _, "run"]:
                return httpx.Response(200, json=context)
            case ("PATCH" | "PUT", ["task-instances", _, "state" | "rtif" | "skip-downstream" | "rendered-map-index"]):
                return httpx.Response(204)
            case "GET", ["dag-runs", "count"]:
                count = self.queued[query["dag_id"]]
                return httpx.Response(200, json=count) if count is not None else httpx.Response(403)
            case "GET", ["task-instances", "count"]:
                return httpx.Response(200, json=self.entries)
            case "GET", ["task-reschedules", _, "start_date"]:
                return httpx.Response(200, json=None)
            case "GET", ["variables", key] if key in self.variables:
                return httpx.Response(200, json={"key": key, "value": self.variables[key]})
            case "GET", ["connections", conn_id] if conn_id in self.connections:
                return httpx.Response(200, json=_NO_CONNECTION | {"conn_id": conn_id} | self.connections[conn_id])
            case "GET", ["xcoms", _, _, task, "return_value"] if self.xcoms.get(task):
                value = self.xcoms[task][int(query.get("map_index", 0))]
                return httpx.Response(200, json={"key": "return_value", "value": value})
            case "POST", ["xcoms", _, _, task, key]:
                if key == "return_value":
                    self.xcoms[task].append(body)
                return httpx.Response(201)
            case "DELETE", ["xcoms", *_]:
                return httpx.Response(204)
            case "PUT", ["store", "ti", *_]:
                return httpx.Response(204)
            case "GET", ["variables" | "connections" | "xcoms" | "store", *_]:
                return httpx.Response(HTTPStatus.NOT_FOUND, json={"detail": {"reason": "not_found"}})
        raise AssertionError(f"the execution API of these tests does not know {request.method} {request.url}")
