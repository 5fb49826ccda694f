"""What is ended and what is left alone, on pods and answers in memory. On real processes: test_fault_matrix.py."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from airflow.sdk.execution_time.task_runner import TaskRunnerMarker
from google.api_core.exceptions import NotFound
from kubernetes.client import ApiException, V1ObjectMeta, V1Pod

from operators.gcp_container_operator import OWNER
from plugins.orphans import OrphansPlugin
from wtmo import orphans, supervised
from wtmo.orphans import Cloud, Note, Owner, Search

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2026, 6, 1, tzinfo=UTC)
JOB = {"project": "p", "location": "US", "job_id": "j"}


def pod(name: str, owner: str | None, *, deleted: bool = False) -> V1Pod:
    return V1Pod(
        metadata=V1ObjectMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            resource_version="7",
            annotations=None if owner is None else {OWNER: owner},
            deletion_timestamp=NOW if deleted else None,
        )
    )


class World:
    """Airflow's database, the cluster and the warehouse in memory."""

    def __init__(self, *pods: V1Pod) -> None:
        self.pods = list(pods)
        self.known: dict[UUID, Owner] = {}
        self.notes: dict[UUID, Note] = {}
        self.ended: list[str] = []
        self.running_on: set[str] = set()
        self.failing = False

    def owners(self, ids: Iterable[UUID]) -> dict[UUID, Owner]:
        return {id_: self.known[id_] for id_ in ids if id_ in self.known}

    def notes_of_ended_tasks(self) -> dict[UUID, Note]:
        return self.notes

    def active_pods(self) -> list[V1Pod]:
        return self.pods

    def delete(self, pod: V1Pod) -> bool:
        return self.end(pod.metadata.name)

    def cancel(self, job: dict[str, Any]) -> bool:
        return self.end(job["job_id"]) and job["job_id"] not in self.running_on

    def drop(self, table: str) -> bool:
        return self.end(table)

    def end(self, name: str) -> bool:
        if self.failing:
            raise OSError("away")
        self.ended.append(name)
        return True


def looks(world: World, times: int = 1) -> list[str]:
    search = Search(world, world)
    for _ in range(times):
        search.look()
    return world.ended


def one(state: str | None, *, latest: bool) -> World:
    world = World(pod("a", str(UUID(int=1))))
    world.known = {UUID(int=1): Owner(state, latest)}
    return world


@pytest.mark.parametrize("latest", [True, False])
@pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed", "removed"])
def test_the_pod_of_a_finished_task_is_ended_at_once(state: str, latest: bool) -> None:
    assert looks(one(state, latest=latest)) == ["a"]


@pytest.mark.parametrize("latest", [True, False])
@pytest.mark.parametrize(
    "state", ["running", "deferred", "queued", "scheduled", "restarting", "up_for_retry", "up_for_reschedule"]
)
def test_the_pod_of_a_task_that_goes_on_is_left_alone(state: str, latest: bool) -> None:
    assert looks(one(state, latest=latest), times=3) == []


def test_the_pod_of_a_cleared_task_is_ended_when_seen_twice() -> None:
    assert looks(one(None, latest=False)) == []
    assert looks(one(None, latest=False), times=2) == ["a"]


def test_a_task_that_has_not_begun_loses_no_pod() -> None:
    assert looks(one(None, latest=True), times=3) == []


@pytest.mark.parametrize("owner", [None, "", "x", str(UUID(int=9))])
def test_a_pod_of_no_known_task_is_left_alone(owner: str | None) -> None:
    world = one("failed", latest=True)
    world.pods = [pod("a", owner)]
    assert looks(world, times=3) == []


def test_a_pod_that_is_being_deleted_is_left_to_it() -> None:
    world = one("failed", latest=True)
    world.pods = [pod("a", str(UUID(int=1)), deleted=True)]
    assert looks(world) == []


def test_each_pod_of_one_owner_is_ended() -> None:
    world = one("failed", latest=True)
    world.pods.append(pod("b", str(UUID(int=1))))
    assert looks(world) == ["a", "b"]


def test_jobs_of_ended_tasks_are_cancelled_once() -> None:
    world = World()
    world.notes = {UUID(int=1): {"jobs": [JOB, JOB | {"job_id": "k"}], "temporary": []}}
    assert looks(world, times=3) == ["j", "k"]


def test_temporary_tables_are_deleted_once_no_job_writes_them() -> None:
    world = World()
    world.notes = {UUID(int=1): {"jobs": [JOB, JOB | {"job_id": "k"}], "temporary": ["p.tmp.a", "p.tmp.b"]}}
    world.running_on = {"j"}
    search = Search(world, world)
    search.look()
    assert world.ended == ["j", "k"]
    world.running_on = set()
    world.ended.clear()
    search.look()
    search.look()
    assert world.ended == ["j", "k", "p.tmp.a", "p.tmp.b"]


def test_a_temporary_table_that_could_not_be_deleted_is_tried_again() -> None:
    class Refusing(World):
        def drop(self, table: str) -> bool:
            if self.failing and table == "p.tmp.a":
                raise OSError("away")
            self.ended.append(table)
            return True

    world = Refusing()
    world.notes = {UUID(int=1): {"jobs": [], "temporary": ["p.tmp.a", "p.tmp.b"]}}
    world.failing = True
    search = Search(world, world)
    search.look()
    assert world.ended == ["p.tmp.b"]
    world.failing = False
    search.look()
    assert world.ended == ["p.tmp.b", "p.tmp.a", "p.tmp.b"]


def test_what_could_not_be_ended_is_tried_again() -> None:
    world = one("failed", latest=True)
    world.notes = {UUID(int=1): {"jobs": [JOB], "temporary": []}}
    world.failing = True
    search = Search(world, world)
    search.look()
    world.failing = False
    search.look()
    assert world.ended == ["a", "j"]


def test_a_cluster_that_is_away_holds_no_job_back() -> None:
    class Away(World):
        def active_pods(self) -> list[V1Pod]:
            raise OSError("away")

    world = Away()
    world.notes = {UUID(int=1): {"jobs": [JOB], "temporary": []}}
    assert looks(world) == ["j"]


class Client:
    def __init__(self, status: int | None) -> None:
        self.status = status
        self.deleted: list[Any] = []

    def delete_namespaced_pod(self, name: str, namespace: str, body: Any) -> None:
        self.deleted.append((namespace, name, body.preconditions.uid, body.preconditions.resource_version))
        if self.status is not None:
            raise ApiException(status=self.status)


def cloud(client: Client) -> Cloud:
    made = Cloud()
    made._cluster.__dict__["client"] = client
    return made


@pytest.mark.parametrize("status", [None, 404, 409])
def test_a_pod_is_deleted_as_it_was_seen_or_not_at_all(status: int | None) -> None:
    client = Client(status)
    cloud(client).delete(pod("a", None))
    assert client.deleted == [("default", "a", "uid-a", "7")]


def test_a_deletion_that_is_refused_is_an_error() -> None:
    with pytest.raises(ApiException):
        cloud(Client(403)).delete(pod("a", None))


class Warehouse:
    def __init__(self, state: str | None) -> None:
        self.state = state
        self.asked: list[Any] = []

    def cancel_job(self, job_id: str, *, location: str, retry: Any, timeout: float) -> Any:
        assert retry
        assert timeout
        self.asked.append((location, job_id))
        if self.state is None:
            raise NotFound(job_id)
        return SimpleNamespace(state=self.state)

    def delete_table(self, table: str, *, not_found_ok: bool, retry: Any, timeout: float) -> None:
        assert retry
        assert timeout
        assert not_found_ok
        self.asked.append(table)


@pytest.mark.parametrize(("state", "ended"), [("RUNNING", False), ("PENDING", False), ("DONE", True), (None, True)])
def test_a_cancelled_job_may_run_on(state: str | None, ended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(state)
    asked: list[Any] = []
    monkeypatch.setattr(Cloud, "_warehouse", lambda _, *where: asked.append(where) or warehouse)
    assert Cloud().cancel(JOB) is ended
    assert asked == [("p", "US")]
    assert warehouse.asked == [("US", "j")]


def test_a_temporary_table_is_deleted_in_its_own_project(monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(None)
    asked: list[Any] = []
    monkeypatch.setattr(Cloud, "_warehouse", lambda _, *where: asked.append(where) or warehouse)
    assert Cloud().drop("p.tmp.a")
    assert asked == [("p", None)]
    assert warehouse.asked == ["p.tmp.a"]


@pytest.mark.parametrize(("command", "starts"), [("triggerer", 1), ("scheduler", 0), ("api-server", 0)])
def test_the_plugin_starts_it_in_the_triggerer_only(command: str, starts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[None] = []
    monkeypatch.setattr(orphans, "start", lambda: started.append(None))
    monkeypatch.setattr(sys, "argv", ["airflow", command])
    for listener in OrphansPlugin.listeners:
        listener.on_starting(component=None)
    assert len(started) == starts


def test_the_plugin_ties_the_process_of_a_task_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    tied: list[None] = []
    monkeypatch.setattr(supervised, "end_with_supervisor", lambda: tied.append(None))
    monkeypatch.setattr(sys, "argv", ["airflow", "scheduler"])
    for listener in OrphansPlugin.listeners:
        listener.on_starting(component=None)
    assert not tied
    for listener in OrphansPlugin.listeners:
        listener.on_starting(component=TaskRunnerMarker())
    assert len(tied) == 1
