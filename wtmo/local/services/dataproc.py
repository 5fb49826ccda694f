"""Dataproc: clusters that take a moment to start and to go, and jobs that are recorded and succeed.

The calls that the provider's operators and triggers make, by gRPC and with Google's own messages, without TLS:

=====================  ==============================================================================================
``ClusterController``  ``CreateCluster``, ``GetCluster``, ``DeleteCluster``
``JobController``      ``SubmitJob``, ``GetJob``, ``CancelJob``
``Operations``         ``GetOperation``: what the first and the last of the clusters' calls return is done when they are
=====================  ==============================================================================================

Nothing runs: a job of an existing cluster goes to the outbox with its program and arguments, and is DONE a moment later.
One with the label ``wtmo-fault: error`` ends in ERROR. Refused as by Google: a name that is none, a cluster or job that is
there already or isn't, a job without a program. Any other call is answered UNIMPLEMENTED. What there is outlives a restart.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.cloud.dataproc_v1 import types
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2, timestamp_pb2

from wtmo.errors import WtmoError
from wtmo.local.services.outbox import write_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

SECONDS = 2.0
FAULT_LABEL = "wtmo-fault"
_PACKAGE = "google.cloud.dataproc.v1"
_CLUSTER_NAME = re.compile(r"[a-z]([-a-z0-9]{0,49}[a-z0-9])?")
_PROGRAMS = {"pyspark_job": "main_python_file_uri", "spark_job": "main_jar_file_uri", "hadoop_job": "main_jar_file_uri"}


class Refused(Exception):
    """A call that Dataproc would not do.

    :param status: gRPC's code for that.
    """

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass
class Cluster:
    """A cluster.

    :param resource: as it was asked for, JSON of Google's message.
    :param created: when, in seconds since the epoch.
    :param deleted: when its deletion was asked for. Default: it was not.
    """

    resource: str
    created: float
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    deleted: float | None = None


@dataclass
class Job:
    """A job.

    :param resource: as it was asked for, JSON of Google's message.
    :param submitted: when, in seconds since the epoch.
    :param ended: the state it was ended in before its time: ``CANCELLED`` or ``ERROR``. Default: it was not.
    """

    resource: str
    submitted: float
    ended: str | None = None


@dataclass
class Operation:
    """What a change of a cluster returned.

    :param cluster: the cluster's key.
    :param kind: ``CREATE`` or ``DELETE``.
    :param started: when, in seconds since the epoch.
    """

    cluster: str
    kind: str
    started: float


@dataclass
class Dataproc:
    """The service.

    :param outbox: the folder that records of jobs go to.
    :param state_file: where clusters and jobs are kept.
    :param seconds: how long a cluster takes to start and to go, and a job to run.
    :param clock: seconds since the epoch.
    """

    outbox: Path
    state_file: Path
    seconds: float = SECONDS
    clock: Callable[[], float] = time.time
    clusters: dict[str, Cluster] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.state_file.exists():
            return
        try:
            kept = json.loads(self.state_file.read_text())
            self.clusters = {key: Cluster(**value) for key, value in kept["clusters"].items()}
            self.jobs = {key: Job(**value) for key, value in kept["jobs"].items()}
            self.operations = {key: Operation(**value) for key, value in kept["operations"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WtmoError(
                f"{self.state_file} is damaged: {error}", fix="remove it: clusters are gone then"
            ) from error

    # -- clusters --------------------------------------------------------------------------------------------------

    def create_cluster(self, request: types.CreateClusterRequest) -> operations_pb2.Operation:
        """Start a cluster."""
        cluster = request.cluster
        if not _CLUSTER_NAME.fullmatch(cluster.cluster_name):
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Invalid cluster name: {cluster.cluster_name!r}. At most 51 lower-case letters, digits and hyphens, "
                "the first a letter, the last no hyphen",
            )
        key = f"projects/{request.project_id}/regions/{request.region}/clusters/{cluster.cluster_name}"
        if self._there(key):
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Already exists: Failed to create cluster: Cluster {key}")
        cluster.project_id = request.project_id
        self.clusters[key] = Cluster(types.Cluster.to_json(cluster, indent=None), self.clock())
        log.info("dataproc: cluster %s is made", cluster.cluster_name)
        return self._begin(key, "CREATE")

    def get_cluster(self, request: types.GetClusterRequest) -> types.Cluster:
        """A cluster as it is now."""
        return self._cluster(self._key(request))

    def delete_cluster(self, request: types.DeleteClusterRequest) -> operations_pb2.Operation:
        """End a cluster, and with it the jobs that run there."""
        key = self._key(request)
        found = self._there(key)
        if found is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Not found: Cluster {key}")
        for job in self.jobs.values():
            resource = types.Job.from_json(job.resource)
            if resource.placement.cluster_name == request.cluster_name and not self._over(job):
                job.ended = "ERROR"
        found.deleted = found.deleted or self.clock()
        log.info("dataproc: cluster %s is deleted", request.cluster_name)
        return self._begin(key, "DELETE")

    def get_operation(self, request: operations_pb2.GetOperationRequest) -> operations_pb2.Operation:
        """Whether a change of a cluster is done."""
        operation = self.operations.get(request.name)
        if operation is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Operation not found: {request.name}")
        answer = operations_pb2.Operation(name=request.name)
        metadata = types.ClusterOperationMetadata(
            cluster_name=operation.cluster.rsplit("/", 1)[-1], operation_type=operation.kind
        )
        answer.metadata.Pack(types.ClusterOperationMetadata.pb(metadata))
        answer.done = self.clock() >= operation.started + self.seconds
        if answer.done:
            result = any_pb2.Any()
            if operation.kind == "DELETE" or self._there(operation.cluster) is None:
                result.Pack(empty_pb2.Empty())
            else:
                result.Pack(types.Cluster.pb(self._cluster(operation.cluster)))
            answer.response.CopyFrom(result)
        return answer

    def _key(self, request: types.GetClusterRequest | types.DeleteClusterRequest) -> str:
        return f"projects/{request.project_id}/regions/{request.region}/clusters/{request.cluster_name}"

    def _there(self, key: str) -> Cluster | None:
        """A cluster that is there: one that was deleted is for a moment more."""
        found = self.clusters.get(key)
        if found and found.deleted is not None and self.clock() >= found.deleted + self.seconds:
            del self.clusters[key]
            return None
        return found

    def _cluster(self, key: str) -> types.Cluster:
        found = self._there(key)
        if found is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Not found: Cluster {key}")
        cluster: types.Cluster = types.Cluster.from_json(found.resource)
        cluster.cluster_uuid = found.uuid
        state = "RUNNING" if self.clock() >= found.created + self.seconds else "CREATING"
        cluster.status.state = getattr(types.ClusterStatus.State, state if found.deleted is None else "DELETING")
        return cluster

    def _begin(self, key: str, kind: str) -> operations_pb2.Operation:
        project = "/".join(key.split("/")[:4])
        name = f"{project}/operations/{uuid.uuid4()}"
        self.operations[name] = Operation(key, kind, self.clock())
        self._keep()
        return self.get_operation(operations_pb2.GetOperationRequest(name=name))

    # -- jobs ------------------------------------------------------------------------------------------------------

    def submit_job(self, request: types.SubmitJobRequest) -> types.Job:
        """Take a job in."""
        job = request.job
        program, arguments = _program(job)
        cluster = f"projects/{request.project_id}/regions/{request.region}/clusters/{job.placement.cluster_name}"
        state = self._cluster(cluster).status.state
        if state != types.ClusterStatus.State.RUNNING:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"Cluster {cluster} is {state.name} and takes no job")
        job.reference.project_id = request.project_id
        job.reference.job_id = job.reference.job_id or str(uuid.uuid4())
        if job.reference.job_id in self.jobs:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Already exists: Job {job.reference.job_id}")
        job.placement.cluster_uuid = self.clusters[cluster].uuid
        self.jobs[job.reference.job_id] = Job(types.Job.to_json(job, indent=None), self.clock())
        self._keep()
        path = write_message(
            self.outbox,
            kind="dataproc",
            sender=request.project_id,
            recipients=[job.placement.cluster_name],
            subject=program,
            text="\n".join(arguments),
        )
        log.info("dataproc: job %s of %s (%s)", job.reference.job_id, program, path.name)
        return self._job(job.reference.job_id)

    def get_job(self, request: types.GetJobRequest) -> types.Job:
        """A job as it is now."""
        return self._job(request.job_id)

    def cancel_job(self, request: types.CancelJobRequest) -> types.Job:
        """End a job that isn't over."""
        self._job(request.job_id)
        if not self._over(self.jobs[request.job_id]):
            self.jobs[request.job_id].ended = "CANCELLED"
            self._keep()
        return self._job(request.job_id)

    def _over(self, job: Job) -> bool:
        return job.ended is not None or self.clock() >= job.submitted + self.seconds

    def _job(self, name: str) -> types.Job:
        found = self.jobs.get(name)
        if found is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Not found: Job {name}")
        job: types.Job = types.Job.from_json(found.resource)
        end = "ERROR" if job.labels.get(FAULT_LABEL) == "error" else "DONE"
        job.status.state = getattr(types.JobStatus.State, found.ended or (end if self._over(found) else "RUNNING"))
        if job.status.state == types.JobStatus.State.ERROR:
            job.status.details = f"Job {name} was told to fail, or its cluster was deleted"
        started = timestamp_pb2.Timestamp()
        started.FromSeconds(int(found.submitted))
        job.status.state_start_time = started
        return job

    def _keep(self) -> None:
        kept = {
            name: {key: asdict(value) for key, value in values.items()}
            for name, values in (("clusters", self.clusters), ("jobs", self.jobs), ("operations", self.operations))
        }
        temporary = self.state_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(kept))
        temporary.replace(self.state_file)

    # -- serving ---------------------------------------------------------------------------------------------------

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """The calls, for the server that serves them."""
        cluster, job = f"{_PACKAGE}.ClusterController", f"{_PACKAGE}.JobController"
        return [
            grpc.method_handlers_generic_handler(
                cluster,
                {
                    "CreateCluster": _call(self.create_cluster, types.CreateClusterRequest.deserialize, _plain),
                    "GetCluster": _call(self.get_cluster, types.GetClusterRequest.deserialize, types.Cluster.serialize),
                    "DeleteCluster": _call(self.delete_cluster, types.DeleteClusterRequest.deserialize, _plain),
                },
            ),
            grpc.method_handlers_generic_handler(
                job,
                {
                    "SubmitJob": _call(self.submit_job, types.SubmitJobRequest.deserialize, types.Job.serialize),
                    "GetJob": _call(self.get_job, types.GetJobRequest.deserialize, types.Job.serialize),
                    "CancelJob": _call(self.cancel_job, types.CancelJobRequest.deserialize, types.Job.serialize),
                },
            ),
            grpc.method_handlers_generic_handler(
                "google.longrunning.Operations",
                {"GetOperation": _call(self.get_operation, operations_pb2.GetOperationRequest.FromString, _plain)},
            ),
        ]


async def serve_dataproc(dataproc: Dataproc, *, host: str, port: int) -> grpc.aio.Server:
    """Listen. The server's ``stop()`` ends it.

    :raises WtmoError: where the port is taken.
    """
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(dataproc.handlers())
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise WtmoError(
            f"dataproc cannot listen on {host}:{port}: {error}", fix="give another port: --dataproc-port PORT"
        ) from error
    await server.start()
    return server


def _program(job: types.Job) -> tuple[str, list[str]]:
    """What a job runs: the program's URI and its arguments."""
    for kind, name in _PROGRAMS.items():
        if kind in job:
            found = getattr(job, kind)
            program = getattr(found, name, "") or getattr(found, "main_class", "")
            if not program:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"{kind}.{name} is required")
            return program, list(found.args)
    raise Refused(
        grpc.StatusCode.INVALID_ARGUMENT, f"A job needs one of {', '.join(_PROGRAMS)}; the stand-in has no other kind"
    )


def _plain(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _call(method: Callable[[Any], Any], read: Callable[[bytes], Any], write: Callable[[Any], bytes]) -> Any:
    """A call that is answered from a method; what it raises becomes gRPC's status."""

    async def answer(request: Any, context: Any) -> Any:
        try:
            return method(request)
        except Refused as error:
            await context.abort(error.status, error.message)

    return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=read, response_serializer=write)
