"""Looks at a running soak: tasks, pods, jobs, syncs; marks and clears what the plan says."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import airflow_client.client as airflow
from airflow_client.client.exceptions import ApiException as AirflowApiException
from google.api_core.exceptions import GoogleAPIError
from kubernetes import client as kubernetes
from urllib3.exceptions import HTTPError

from wtmo.errors import WtmoError
from wtmo.local import api, warehouse
from wtmo.local.pods import faults, records
from wtmo.local.soak.accounts import FINISHED, Evidence, JobRun, PodRun, TaskEnd
from wtmo.local.soak.plan import DAG_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wtmo.local.soak.plan import Plan
    from wtmo.local.state import PlatformRecord, State

RUN_ID = "soak"
ACTIVE = frozenset({"Pending", "Running", "Unknown"})
_READ_SECONDS = 120
_PAGE = 100
_REQUEST_SECONDS = 5


class Watch:
    """What is seen of one run."""

    def __init__(self, plan: Plan, state: State, record: PlatformRecord) -> None:
        self._plan = plan
        self._state = state
        self._record = record
        self._client = api.client(record)
        configuration = kubernetes.Configuration(
            host=f"https://127.0.0.1:{record.ports['pods']}",
            api_key={"authorization": f"Bearer {state.secret('service_token').read_text()}"},
        )
        configuration.ssl_ca_cert = record.settings["WTMO_GKE_CA_FILE"]
        configuration.retries = False
        self._cluster = kubernetes.CoreV1Api(kubernetes.ApiClient(configuration))
        self._tasks: dict[str, Any] = {}
        self._pods: dict[str, Any] = {}
        self._last_active: dict[str, float] = {}
        self._active: set[str] = set()
        self._acted: set[str] = set()
        self._marked: set[str] = set()
        self._synced: dict[str, float] = {}
        self.kills: dict[str, int] = {}

    def start(self, date: str) -> None:
        """Switch the DAG on and start its one run."""
        dags = airflow.DAGApi(self._client)
        end = time.monotonic() + _READ_SECONDS
        while DAG_ID not in {each.dag_id for each in api.call(dags.get_dags, limit=_PAGE).dags}:
            if time.monotonic() > end:
                raise WtmoError(
                    f"the DAG {DAG_ID} was not read within {_READ_SECONDS} s", fix="`wtmo status` tells why"
                )
            time.sleep(1)
        body = airflow.DAGPatchBody(is_paused=False)
        api.call(dags.patch_dag, DAG_ID, body, update_mask=["is_paused"])
        run = airflow.TriggerDAGRunPostBody(
            dag_run_id=RUN_ID, logical_date=datetime.fromisoformat(date).replace(tzinfo=UTC)
        )
        api.call(airflow.DagRunApi(self._client).trigger_dag_run, DAG_ID, run)

    def look(self) -> None:
        """See what there is now. A server that is away is asked again at the next look."""
        try:
            self._look_at_tasks()
            self._act()
        except HTTPError:
            pass
        except AirflowApiException as error:
            if (error.status or 0) < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
        self._look_at_pods()
        self._look_at_syncs()

    def _look_at_tasks(self) -> None:
        instances = airflow.TaskInstanceApi(self._client)
        # A try that begins changes the order: what slips from one page to another is seen at the next look.
        for offset in range(0, len(self._plan.work), _PAGE):
            page = instances.get_task_instances(
                DAG_ID, RUN_ID, limit=_PAGE, offset=offset, order_by=["id"], _request_timeout=30
            )
            self._tasks |= {task.task_id: task for task in page.task_instances}

    def _look_at_pods(self) -> None:
        try:
            pods = self._cluster.list_namespaced_pod("default", _request_timeout=_REQUEST_SECONDS).items
        except (kubernetes.ApiException, HTTPError):
            return
        now = time.time()
        self._active = {pod.metadata.uid for pod in pods if pod.status.phase in ACTIVE}
        self._last_active |= dict.fromkeys(self._active, now)
        for pod in pods:
            self._pods[pod.metadata.uid] = pod

    def _look_at_syncs(self) -> None:
        begun = _epoch(self._plan.started)
        for name, record in self._connectors().items():
            if record["succeeded_at"] and (at := _epoch(record["succeeded_at"])) > begun:
                self._synced.setdefault(name.replace("_", "-"), at)

    def _act(self) -> None:
        """What the plan has a person do, to a task that has run for a look or two."""
        instances = airflow.TaskInstanceApi(self._client)
        for work in self._plan.work:
            state = self._state_of(work.task_id)
            if not work.act or work.task_id in self._acted or state not in {"running", "deferred"}:
                continue
            if work.act == "mark-failed":
                body = airflow.PatchTaskInstanceBody(new_state=airflow.TaskInstanceState.FAILED)
                # Also where the answer is lost: a state that was not set shows in the account.
                self._marked.add(work.task_id)
                instances.patch_task_instance(DAG_ID, RUN_ID, work.task_id, body, _request_timeout=30)
            else:
                name = airflow.ClearTaskInstancesBodyTaskIdsInner(work.task_id)
                clear = airflow.ClearTaskInstancesBody(
                    dry_run=False, dag_run_id=RUN_ID, task_ids=[name], only_failed=False
                )
                instances.post_clear_task_instances(DAG_ID, clear, _request_timeout=30)
            self._acted.add(work.task_id)

    def _state_of(self, task: str) -> str:
        found = self._tasks.get(task)
        return found.state.value if found is not None and found.state else ""

    def running(self) -> list[int]:
        """Process ids of the tasks that run."""
        return [task.pid for name, task in self._tasks.items() if self._state_of(name) == "running" and task.pid]

    def finished(self) -> bool:
        """Whether every task is."""
        return len(self._tasks) == len(self._plan.work) and all(self._state_of(t) in FINISHED for t in self._tasks)

    def progress(self) -> str:
        """One line."""
        states = Counter(self._state_of(work.task_id) or "none" for work in self._plan.work)
        told = ", ".join(f"{state} {count}" for state, count in sorted(states.items()))
        return f"{told}; {len(self._active)} pods active, {len(self._pods)} seen"

    def settle(self, seconds: float) -> None:
        """Go on looking until nothing is active, or for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            if not self._active and not any(job.ended is None for job in self._jobs()) and not self._syncing():
                return
            time.sleep(1)

    def faults(self) -> dict[str, int]:
        """How many pods met which fault."""
        return dict(Counter(run.fault for run in self._pod_runs() if run.fault))

    def evidence(self) -> Evidence:
        """All that was found."""
        connectors = self._connectors()
        return Evidence(
            tasks={
                name: TaskEnd(
                    self._state_of(name), task.try_number, task.end_date.timestamp() if task.end_date else None
                )
                for name, task in self._tasks.items()
            },
            pods=list(self._pod_runs()),
            jobs=list(self._jobs()),
            syncs={
                work.task_id: connectors[name]["syncs"]
                for work in self._plan.work
                if work.kind == "sync" and (name := work.task_id.replace("-", "_")) in connectors
            },
            synced=self._synced,
            syncing=frozenset(self._syncing()),
            marked=frozenset(self._marked),
        )

    def _pod_runs(self) -> Iterator[PodRun]:
        """Those in the server's records, which has all that ended, and those that it still has."""
        recorded = {each["uid"]: each for each in records.read(self._state.root / "pods")}
        for uid, pod in self._pods.items():
            recorded.setdefault(
                uid,
                {
                    "labels": pod.metadata.labels,
                    "phase": pod.status.phase,
                    "reason": pod.status.reason,
                    "fault": (pod.metadata.annotations or {}).get(faults.ANNOTATION, ""),
                    "created": pod.metadata.creation_timestamp.isoformat(),
                    "ended": None,
                    "containers": [],
                },
            )
        for uid, each in recorded.items():
            seen = [self._last_active[uid]] if uid in self._last_active else []
            ended = [_epoch(each["ended"])] if each["ended"] else []
            yield PodRun(
                uid=uid,
                task=each["labels"].get("airflow-task", ""),
                try_number=int(each["labels"].get("airflow-try", 0)),
                phase=each["phase"],
                reason=each["reason"],
                # Not what was seen of it: a pod whose image is missing is gone between two looks.
                fault=each["fault"],
                created=_epoch(each["created"]),
                active_until=max([*seen, *ended], default=_epoch(each["created"])),
                program_ended=next(
                    (_epoch(c["ended"]) for c in each["containers"] if c["name"] == "base" and c["ended"]), None
                ),
            )

    def _jobs(self) -> list[JobRun]:
        client = warehouse.client(self._record)
        try:
            jobs = [job for job in client.list_jobs(all_users=True, timeout=30) if "airflow-task" in job.labels]
        except (GoogleAPIError, OSError):
            return []
        return [
            JobRun(
                id=job.job_id,
                task=job.labels["airflow-task"],
                try_number=int(job.labels["airflow-try"]),
                failed=job.state != "DONE" or job.error_result is not None,
                created=job.created.timestamp(),
                ended=job.ended.timestamp() if job.state == "DONE" and job.ended else None,
            )
            for job in jobs
        ]

    def _connectors(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self._state.root / "services" / "fivetran.json").read_text())
            return found
        return {}

    def _syncing(self) -> list[str]:
        return [name.replace("_", "-") for name, record in self._connectors().items() if record["sync_ends_at"]]


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
