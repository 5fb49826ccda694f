"""Dataproc's stand-in, asked with Google's own clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    MethodNotImplemented,
    NotFound,
)
from google.auth.credentials import AnonymousCredentials
from google.cloud import dataproc_v1
from google.longrunning import operations_pb2

from wtmo.errors import WtmoError
from wtmo.local.services.dataproc import Dataproc, serve_dataproc
from wtmo.local.services.outbox import read_outbox
from wtmo.local.state import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.loopback

WHERE = {"project_id": "p", "region": "us-west1"}
JOB = {
    "placement": {"cluster_name": "c-1"},
    "pyspark_job": {"main_python_file_uri": "gs://b/x.py", "args": ["--date", "2026-06-01"]},
}


class Service:
    """The stand-in with a clock of the test's, and clients of it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.now = 1_000.0
        self.dataproc = self.restarted()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self.clusters = self._client("ClusterController", channel)
        self.jobs = self._client("JobController", channel)

    def restarted(self) -> Dataproc:
        return Dataproc(self.folder / "outbox", self.folder / "dataproc.json", seconds=2, clock=lambda: self.now)

    def _client(self, name: str, channel: grpc.aio.Channel) -> Any:
        client = getattr(dataproc_v1, f"{name}AsyncClient")
        transport = client.get_transport_class("grpc_asyncio")
        return client(transport=transport(channel=channel, credentials=AnonymousCredentials()))

    async def create(self, name: str = "c-1") -> Any:
        cluster = {"cluster_name": name, "labels": {"airflow-dag": "d"}}
        return await self.clusters.create_cluster(request={**WHERE, "cluster": cluster})

    async def cluster(self, name: str = "c-1") -> Any:
        return await self.clusters.get_cluster(request={**WHERE, "cluster_name": name})

    async def submit(self, **differing: Any) -> Any:
        return await self.jobs.submit_job(request={**WHERE, "job": {**JOB, **differing}})

    async def job(self, name: str) -> Any:
        return await self.jobs.get_job(request={**WHERE, "job_id": name})


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    port = free_port()
    service = Service(tmp_path, port)
    server = await serve_dataproc(service.dataproc, host="127.0.0.1", port=port)
    yield service
    await server.stop(0)


async def test_a_cluster_starts_runs_a_job_and_goes(service: Service) -> None:
    operation = await service.create()
    assert not operation.operation.done
    assert (await service.cluster()).status.state.name == "CREATING"
    service.now += 2
    assert (await service.cluster()).status.state.name == "RUNNING"
    assert dict((await service.cluster()).labels) == {"airflow-dag": "d"}
    done = service.dataproc.get_operation(operations_pb2.GetOperationRequest(name=operation.operation.name))
    assert done.done

    job = await service.submit()
    assert (await service.job(job.reference.job_id)).status.state.name == "RUNNING"
    service.now += 2
    assert (await service.job(job.reference.job_id)).status.state.name == "DONE"
    (message,) = read_outbox(service.folder / "outbox")
    assert (message.kind, message.recipients, message.subject) == ("dataproc", ("c-1",), "gs://b/x.py")
    assert message.text == "--date\n2026-06-01"

    await service.clusters.delete_cluster(request={**WHERE, "cluster_name": "c-1"})
    assert (await service.cluster()).status.state.name == "DELETING"
    service.now += 2
    with pytest.raises(NotFound):
        await service.cluster()
    await service.create()


async def test_what_dataproc_refuses_is_refused(service: Service) -> None:
    for name in ("Upper", "ends-", "1st", "a" * 52, ""):
        with pytest.raises(InvalidArgument):
            await service.create(name)
    with pytest.raises(NotFound):
        await service.submit()
    await service.create()
    with pytest.raises(AlreadyExists):
        await service.create()
    with pytest.raises(FailedPrecondition):
        await service.submit()
    service.now += 2
    with pytest.raises(InvalidArgument):
        await service.submit(pyspark_job={"args": ["x"]})
    await service.submit(reference={"job_id": "one"})
    with pytest.raises(AlreadyExists):
        await service.submit(reference={"job_id": "one"})
    for name in ("get_job", "cancel_job"):
        with pytest.raises(NotFound):
            await getattr(service.jobs, name)(request={**WHERE, "job_id": "nothing"})
    with pytest.raises(NotFound):
        await service.clusters.delete_cluster(request={**WHERE, "cluster_name": "nothing"})
    with pytest.raises(MethodNotImplemented):
        await service.clusters.list_clusters(request=WHERE)


async def test_a_job_can_fail_be_cancelled_or_lose_its_cluster(service: Service) -> None:
    await service.create()
    service.now += 2
    told = await service.submit(labels={"wtmo-fault": "error"})
    cancelled = await service.submit()
    lost = await service.submit()
    await service.jobs.cancel_job(request={**WHERE, "job_id": cancelled.reference.job_id})
    await service.clusters.delete_cluster(request={**WHERE, "cluster_name": "c-1"})
    states = [(await service.job(job.reference.job_id)).status.state.name for job in (told, cancelled, lost)]
    assert states == ["ERROR", "CANCELLED", "ERROR"]


async def test_clusters_and_jobs_outlive_a_restart(service: Service) -> None:
    await service.create()
    service.now += 2
    job = await service.submit()
    again = service.restarted()
    service.now += 2
    key = {**WHERE, "cluster_name": "c-1"}
    assert again.get_cluster(dataproc_v1.GetClusterRequest(key)).status.state.name == "RUNNING"
    assert (
        again.get_job(dataproc_v1.GetJobRequest({**WHERE, "job_id": job.reference.job_id})).status.state.name == "DONE"
    )


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataproc.json").write_text("[]")
    with pytest.raises(WtmoError, match=r"dataproc\.json is damaged"):
        Dataproc(tmp_path, tmp_path / "dataproc.json")
