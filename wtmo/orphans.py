"""Ends pods and BigQuery jobs that have outlived their task, and deletes the jobs' temporary tables.

Airflow 3.3.2 calls ``on_kill`` of an operator or a trigger that runs. Nobody is called when a task ends otherwise: it
is marked or cleared between its deferral and the start of its trigger, or while the triggerer is dead; its worker is
killed with no retry left; its run times out. So the triggerer looks every ten seconds which pods of the pod cluster are
active, and ends those of which Airflow says that nobody waits for them. (No upstream issue found.)

- A pod names the task instance that owns it, one try of one task, by the id that Airflow gives to each try
  (:data:`operators.gcp_container_operator.OWNER`). A further try that goes on with a pod writes its own id there. A pod
  whose owner Airflow doesn't know, that of another installation in the same namespace, is left alone.
- A pod is ended when its task is finished; when it belongs to an earlier try and its task was cleared, as soon as the
  task was seen twice not to be scheduled again. A deletion holds for the pod as it was read: a try that goes on with it
  meanwhile keeps it.
- A BigQuery job stands in the task state store until its try has seen its end (:mod:`operators.bigquery`), with the
  temporary tables of the try. When its task is finished it is cancelled, and the tables are deleted once no job of the
  try can write them any more; what a cleared task has left, its next try takes or ends.

Not found are: pods in another cluster or namespace than those of :data:`utils.config.GKE`; pods with
``on_kill_action="keep_pod"``, on purpose; what ran for a task or a run that was deleted; BigQuery jobs under another
connection than the warehouse's. A Fivetran sync cannot be stopped and goes on.

It costs one call of the cluster and two queries of the database in ten seconds, and can run in several triggerers at
once.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypedDict
from uuid import UUID

from utils.config import CONNECTIONS, GKE
from utils.constants import BIGQUERY_JOBS_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.cloud import bigquery
    from kubernetes.client import V1Pod
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

INTERVAL = 10.0
JOBS_SINCE = timedelta(hours=1)
"""How long after its end a task's BigQuery jobs are looked for."""

_NOT_FOUND, _CONFLICT = 404, 409


@dataclass(frozen=True)
class Owner:
    """What Airflow says of a task instance.

    :param state: of the task's latest try; None: it was cleared, or is not scheduled yet.
    :param latest: whether the task instance is that try.
    """

    state: str | None
    latest: bool


class Note(TypedDict):
    """What a try notes before it sends anything to BigQuery (:mod:`operators.bigquery`).

    ``jobs``: each with ``project``, ``location`` and ``job_id``. ``temporary``: tables, ``project.dataset.table``.
    """

    jobs: list[dict[str, Any]]
    temporary: list[str]


class Airflow(Protocol):
    """What is asked of the metadata database."""

    def owners(self, ids: Iterable[UUID]) -> Mapping[UUID, Owner]:
        """Those of the task instances that exist."""

    def notes_of_ended_tasks(self) -> Mapping[UUID, Note]:
        """What tries noted that have not seen the end of their BigQuery jobs, by task instance; the task is finished."""


class Services(Protocol):
    """Where pods, jobs and tables are. What ends something says whether it is ended."""

    def active_pods(self) -> Iterable[V1Pod]:
        """Pods of tasks that have not ended."""

    def delete(self, pod: V1Pod) -> bool:
        """Delete a pod unless it has changed."""

    def cancel(self, job: dict[str, Any]) -> bool:
        """Cancel a BigQuery job; nothing happens if it is done. It may run on for a while."""

    def drop(self, table: str) -> bool:
        """Delete a table if it is there."""


@dataclass
class Search:
    """One look after the other.

    :param cleared: pods that the look before saw without an active try; they are ended at the second.
    :param settled: task instances whose jobs have ended, and whose temporary tables are gone.
    """

    airflow: Airflow
    services: Services
    cleared: set[str] = field(default_factory=set)
    settled: set[UUID] = field(default_factory=set)

    def look(self) -> None:
        """End what nobody waits for. One thing that fails holds nothing else back: the next look tries it again."""
        for part in (self._pods, self._jobs):
            try:
                part()
            except Exception as error:  # a database or a cluster that is away for a while, in many classes
                log.warning("Looking for orphans: %s: %s", type(error).__name__, error)

    def _pods(self) -> None:
        pods = [(id_, pod) for pod in self.services.active_pods() if (id_ := _owner(pod)) is not None]
        owners = self.airflow.owners({id_ for id_, _ in pods}) if pods else {}
        cleared = set()
        for id_, pod in pods:
            owner = owners.get(id_)
            if owner is None:
                continue
            if owner.state is None and not owner.latest:
                cleared.add(pod.metadata.uid)
                if pod.metadata.uid not in self.cleared:
                    continue
            elif not _finished(owner.state):
                continue
            self._try(
                self.services.delete, pod, f"pod {pod.metadata.name} of a task that is {owner.state or 'cleared'}"
            )
        self.cleared = cleared

    def _jobs(self) -> None:
        found = self.airflow.notes_of_ended_tasks()
        self.settled &= found.keys()
        for id_, note in found.items():
            if id_ in self.settled:
                continue
            cancel, drop = self.services.cancel, self.services.drop
            ended = [self._try(cancel, job, f"BigQuery job {job['job_id']} of an ended task") for job in note["jobs"]]
            if not all(ended):
                continue  # one that runs on may still write its table
            gone = [self._try(drop, table, f"temporary table {table} of an ended task") for table in note["temporary"]]
            if all(gone):
                self.settled.add(id_)

    @staticmethod
    def _try(end: Callable[[Any], bool], what: Any, name: str) -> bool:
        try:
            ended = end(what)
        except Exception as error:  # of either service's client
            log.warning("Could not end the %s: %s", name, error)
            return False
        log.info("Ended the %s" if ended else "Ending the %s", name)
        return ended


def _owner(pod: V1Pod) -> UUID | None:
    from operators.gcp_container_operator import OWNER

    if pod.metadata.deletion_timestamp is not None:
        return None
    try:
        return UUID((pod.metadata.annotations or {}).get(OWNER, ""))
    except ValueError:
        return None


def _finished(state: str | None) -> bool:
    from airflow.utils.state import State

    return state in State.finished


class Database:
    """Airflow's metadata database."""

    def owners(self, ids: Iterable[UUID]) -> dict[UUID, Owner]:
        """See :class:`Airflow`."""
        from airflow.utils.session import create_session

        with create_session() as session:
            return owners(session, ids)

    def notes_of_ended_tasks(self) -> dict[UUID, Note]:
        """See :class:`Airflow`."""
        from airflow.utils.session import create_session

        with create_session() as session:
            return notes_of_ended_tasks(session, datetime.now(UTC) - JOBS_SINCE)


def owners(session: Session, ids: Iterable[UUID]) -> dict[UUID, Owner]:
    """The task instances of these ids, of earlier tries too."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from sqlalchemy import select, tuple_

    wanted = list(ids)
    latest = session.execute(select(TaskInstance.id, TaskInstance.state).where(TaskInstance.id.in_(wanted)))
    found = {id_: Owner(state, latest=True) for id_, state in latest}
    key = ("dag_id", "task_id", "run_id", "map_index")
    same_task = tuple_(*(getattr(TaskInstance, name) for name in key)) == tuple_(
        *(getattr(TaskInstanceHistory, name) for name in key)
    )
    earlier = session.execute(
        select(TaskInstanceHistory.task_instance_id, TaskInstance.state)
        .join(TaskInstance, same_task)
        .where(TaskInstanceHistory.task_instance_id.in_(wanted))
    )
    return {id_: Owner(state, latest=False) for id_, state in earlier} | found


def notes_of_ended_tasks(session: Session, since: datetime) -> dict[UUID, Note]:
    """What tries of tasks that ended after ``since`` have noted and not removed."""
    from airflow.models.task_state_store import TaskStateStoreModel as Store
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import State
    from sqlalchemy import and_, select

    notes = session.execute(
        select(TaskInstance.id, Store.value)
        .join(
            Store,
            and_(
                Store.dag_id == TaskInstance.dag_id,
                Store.run_id == TaskInstance.run_id,
                Store.task_id == TaskInstance.task_id,
                Store.map_index == TaskInstance.map_index,
            ),
        )
        .where(Store.key == BIGQUERY_JOBS_KEY, TaskInstance.state.in_(State.finished), TaskInstance.end_date > since)
    )
    return {id_: json.loads(value) for id_, value in notes}


class Cloud:
    """The pod cluster and the warehouse, as the operators reach them."""

    def __init__(self) -> None:
        from operators.gcp_container_operator import GKEPodOperator

        # Not in a DAG: what it knows of the cluster and of its connection is what is wanted of it.
        self._cluster = GKEPodOperator(task_id="orphans", image="none")

    def active_pods(self) -> list[V1Pod]:
        """See :class:`Services`."""
        listed = self._cluster.client.list_namespaced_pod(
            GKE.namespace,
            label_selector="airflow-dag",
            field_selector="status.phase!=Succeeded,status.phase!=Failed",
        )
        return list(listed.items)

    def delete(self, pod: V1Pod) -> bool:
        """See :class:`Services`."""
        from kubernetes.client import ApiException, V1DeleteOptions, V1Preconditions

        same = V1Preconditions(uid=pod.metadata.uid, resource_version=pod.metadata.resource_version)
        try:
            self._cluster.client.delete_namespaced_pod(
                pod.metadata.name, pod.metadata.namespace, body=V1DeleteOptions(preconditions=same)
            )
        except ApiException as error:
            if error.status not in {_NOT_FOUND, _CONFLICT}:
                raise
        return True

    def cancel(self, job: dict[str, Any]) -> bool:
        """See :class:`Services`."""
        from google.api_core.exceptions import NotFound

        from operators.bigquery import CANCEL_RETRY

        client = self._warehouse(job["project"], job["location"])
        try:
            answer = client.cancel_job(job["job_id"], location=job["location"], retry=CANCEL_RETRY, timeout=10)
        except NotFound:
            log.info("The BigQuery job %s was never made", job["job_id"])
            return True
        return bool(answer.state == "DONE")

    def drop(self, table: str) -> bool:
        """See :class:`Services`."""
        from operators.bigquery import CANCEL_RETRY

        client = self._warehouse(table.split(".")[0], None)
        client.delete_table(table, not_found_ok=True, retry=CANCEL_RETRY, timeout=10)
        return True

    def _warehouse(self, project: str, location: str | None) -> bigquery.Client:
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

        hook = BigQueryHook(gcp_conn_id=CONNECTIONS.shared_prod, use_legacy_sql=False)
        return hook.get_client(project_id=project, location=location)


def run(stopping: threading.Event) -> None:
    """Look every :data:`INTERVAL` seconds until told to stop."""
    search: Search | None = None
    while not stopping.wait(INTERVAL):
        try:
            search = search or Search(Database(), Cloud())
        except Exception:  # the cluster's address cannot be looked up yet
            log.exception("Looking for orphans")
            continue
        search.look()


def start() -> None:
    """Look in a thread of this process until it ends.

    The triggerer forks in its first second: the thread waits by then and holds no lock.
    """
    threading.Thread(target=run, args=(threading.Event(),), name="orphans", daemon=True).start()
