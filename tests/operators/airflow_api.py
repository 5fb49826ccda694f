"""A small Airflow behind the REST client: DAGs, their runs and task instances, and a list of what was asked.

It stands where the client sends its requests off, so that these are serialized, and answers are read, by the client itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import airflow_client.client as airflow
import urllib3
from airflow_client.client.rest import RESTClientObject, RESTResponse

HOST = "http://airflow.example"
DATES = [f"2026-06-0{day}T04:00:00Z" for day in (1, 2, 3)]
ID = "00000000-0000-0000-0000-000000000000"


def run_id(date: str) -> str:
    return f"scheduled__{date}"


@dataclass
class Airflow:
    """One DAG, ``orchard``, with a run a day whose tasks are ``tasks``.

    :param missing: dates of which it has no run.
    :param mapped: a task that is there three times a run.
    :param refuses: what is answered to a path that matches, in place of its answer: status and ``detail``.
    """

    dag_id: str = "orchard"
    tasks: list[str] = field(default_factory=lambda: ["pick", "press", "press_again"])
    missing: list[str] = field(default_factory=list)
    mapped: str | None = None
    paused: bool = False
    max_active_runs: int = 16
    states: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    def client(self) -> airflow.ApiClient:
        """A client of it."""
        client = airflow.ApiClient(airflow.Configuration(host=HOST, access_token="token"))
        client.rest_client = Transport(self)
        return client

    @property
    def changed(self) -> list[tuple[str, Any]]:
        """What was asked that changes something."""
        return [(path, body) for method, path, body in self.asked if method == "POST" and not is_dry(path, body)]

    def answer(self, method: str, url: str, body: Any) -> tuple[int, Any]:
        path, query = urlsplit(url).path.removeprefix("/api/v2"), parse_qs(urlsplit(url).query)
        self.asked.append((method, path, body))
        for pattern, refusal in self.refuses.items():
            if re.search(pattern, path) and not is_dry(path, body):
                return refusal[0], {"detail": refusal[1]}
        page = slice(int(query["offset"][0]), int(query["offset"][0]) + 2) if "offset" in query else slice(None)
        match path.strip("/").split("/"):
            case ["dags"]:
                dags = [dag(name) for name in (self.dag_id, "orchid", "meadow")]
                return 200, {"dags": dags[page], "total_entries": len(dags)}
            case ["dags", self.dag_id, "details"]:
                return 200, self.details()
            case ["dags", _, "details"]:
                return 404, {"detail": "Not Found"}
            case ["dags", self.dag_id, "tasks"]:
                return 200, {"tasks": [task(name) for name in self.tasks], "total_entries": len(self.tasks)}
            case ["dags", self.dag_id, "clearTaskInstances"]:
                found = [self.instance(*key) for key in self.chosen(body)]
                return 200, {"task_instances": found, "total_entries": len(found)}
            case ["dags", self.dag_id, "dagRuns"]:
                runs = [self.run(f"scheduled__{date}", date, "scheduled") for date in DATES if date not in self.missing]
                runs += [self.run(f"backfill__{date}", date, "backfill") for date in self.made]
                runs = [run for run in runs if run["run_type"] in query.get("run_type", [run["run_type"]])]
                return 200, {"dag_runs": runs[page], "total_entries": len(runs)}
            case ["backfills", "dry_run"]:
                dates = [date for date in self.missing if within(date, body["from_date"], body["to_date"])]
                return 200, {"backfills": [{"logical_date": date} for date in dates], "total_entries": len(dates)}
            case ["backfills"]:
                self.made = [date for date in self.missing if within(date, body["from_date"], body["to_date"])]
                return 200, self.backfill(body)
        raise AssertionError(f"{method} {path} is not expected")

    def chosen(self, body: dict[str, Any]) -> list[tuple[str, str, int]]:
        """What the body of a request to clear names: date, task, index."""
        assert body["only_failed"] is False, "Airflow's default leaves out what has succeeded"
        found: list[tuple[str, str, int]] = []
        for date in DATES:
            in_run = (
                run_id(date) == body["dag_run_id"]
                if "dag_run_id" in body
                else within(date, body["start_date"], body["end_date"])
            )
            if not in_run or date in self.missing:
                continue
            for name in self.tasks:
                for index in range(3) if name == self.mapped else [-1]:
                    if body.get("task_ids") is None or name in body["task_ids"] or [name, index] in body["task_ids"]:
                        found.append((date, name, index))
        return found

    def instance(self, date: str, name: str, index: int) -> dict[str, Any]:
        return {
            "id": ID, "dag_id": self.dag_id, "dag_display_name": self.dag_id, "dag_run_id": run_id(date), "task_id": name,
            "task_display_name": name, "map_index": index, "logical_date": date, "run_after": date, "state": "success",
            "try_number": 1, "max_tries": 0, "pool": "default_pool", "pool_slots": 1, "executor_config": "{}",
        }  # fmt: skip

    def run(self, name: str, date: str, kind: str) -> dict[str, Any]:
        return {
            "dag_id": self.dag_id, "dag_display_name": self.dag_id, "dag_run_id": name, "logical_date": date,
            "run_after": date, "run_type": kind, "state": self.states.get(name, "queued"), "dag_versions": [],
        }  # fmt: skip

    def backfill(self, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": 7, "dag_id": self.dag_id, "dag_display_name": self.dag_id, "from_date": body["from_date"],
            "to_date": body["to_date"], "is_paused": False, "max_active_runs": body["max_active_runs"],
            "reprocess_behavior": body["reprocess_behavior"], "created_at": DATES[0], "updated_at": DATES[0],
        }  # fmt: skip

    def details(self) -> dict[str, Any]:
        return dag(self.dag_id) | {
            "is_paused": self.paused, "max_active_runs": self.max_active_runs, "catchup": False, "concurrency": 16,
            "render_template_as_native_obj": False,
        }  # fmt: skip


class Transport(RESTClientObject):
    """Hands requests to :class:`Airflow`."""

    def __init__(self, server: Airflow) -> None:
        self.server = server

    def request(
        self,
        method: str,
        url: str,
        headers: Any = None,
        body: Any = None,
        post_params: Any = None,
        _request_timeout: Any = None,
    ) -> RESTResponse:
        assert url.startswith(HOST)
        assert _request_timeout, "a request that nobody answers would hold the task for ever"
        # As it goes over the wire.
        status, content = self.server.answer(method, url, json.loads(json.dumps(body)) if body else None)
        response = urllib3.HTTPResponse(
            body=BytesIO(json.dumps(content).encode()),
            headers={"Content-Type": "application/json"},
            status=status,
            reason="Refused" if status >= 400 else "OK",
            preload_content=False,
        )
        return RESTResponse(response)


def within(date: str, start: str, end: str) -> bool:
    return datetime.fromisoformat(start) <= datetime.fromisoformat(date) <= datetime.fromisoformat(end)


def is_dry(path: str, body: Any) -> bool:
    return path.endswith("/dry_run") or bool(body and body.get("dry_run"))


def dag(name: str) -> dict[str, Any]:
    return {
        "dag_id": name, "dag_display_name": name, "fileloc": f"{name}.py", "file_token": "", "owners": ["ads"], "tags": [],
        "is_paused": False, "is_stale": False, "has_import_errors": False, "has_task_concurrency_limits": False,
        "max_active_tasks": 16, "max_consecutive_failed_dag_runs": 0, "timetable_partitioned": False,
        "timetable_periodic": True, "is_backfillable": True, "allowed_run_types": None,
    }  # fmt: skip


def task(name: str) -> dict[str, Any]:
    return {
        "task_id": name, "task_display_name": name, "depends_on_past": False, "wait_for_downstream": False,
        "extra_links": [], "retry_exponential_backoff": 0,
    }  # fmt: skip
