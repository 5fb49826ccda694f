"""The pod that the operator asks for, and the state its task ends in, against a cluster in memory.

Where the operator corrects the provider, the same test runs on the provider's own class and shows the fault: when
such a test fails, the override is no longer needed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import certifi
import kubernetes
import kubernetes_asyncio
import pytest
import pytest_socket
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.providers.cncf.kubernetes.utils.pod_manager import OnFinishAction
from airflow.providers.google.cloud.hooks.kubernetes_engine import GKEHook, GKEKubernetesAsyncHook, GKEKubernetesHook
from airflow.providers.google.cloud.operators.kubernetes_engine import GKEStartPodOperator
from airflow.providers.google.cloud.triggers.kubernetes_engine import GKEStartPodTrigger
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowSkipException, AirflowTaskTimeout, TaskDeferred
from airflow.sdk.execution_time.task_runner import _run_execute_callable
from kubernetes.client import ApiException, V1Pod, V1ResourceRequirements
from kubernetes.client import models as k8s

from operators.gcp_container_operator import (
    SAFE_TO_EVICT,
    GKEPodAsyncHook,
    GKEPodHook,
    GKEPodOperator,
    GKEPodTrigger,
    PodFailedError,
)
from utils.images import image
from wtmo.local.tls import ensure_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IMAGE = "registry.example/some/image:1"
CLUSTER = {"project_id": "p", "location": "l", "cluster_name": "c", "namespace": "default"}


def status(phase: str, *, exit_code: int | None = None, message: str | None = None) -> k8s.V1PodStatus:
    """Status of a pod whose one container runs, or ended with an exit code."""
    if exit_code is None:
        state = k8s.V1ContainerState(running=k8s.V1ContainerStateRunning())
    else:
        state = k8s.V1ContainerState(
            terminated=k8s.V1ContainerStateTerminated(exit_code=exit_code, message=message, reason="Error")
        )
    container = k8s.V1ContainerStatus(
        name="base", state=state, image=IMAGE, image_id="", ready=False, restart_count=0, started=True
    )
    return k8s.V1PodStatus(phase=phase, container_statuses=[container])


class Cluster:
    """The calls that the operator makes of a Kubernetes API, on pods in memory.

    ``script`` holds what happens to the pod before each read, in turn; the last state stays.
    """

    def __init__(self, *script: Any, log: bytes = b"first line\nlast line\n") -> None:
        self.script = list(script)
        self.log = log
        self.pods: dict[str, V1Pod] = {}
        self.calls: list[str] = []
        self.follows: list[bool] = []
        self.api_client = kubernetes.client.ApiClient()

    def create_namespaced_pod(self, body: Any, namespace: str, **_: Any) -> V1Pod:
        pod = self.api_client.deserialize(SimpleNamespace(data=json.dumps(body)), "V1Pod")
        pod.status = status("Running")
        self.calls.append("create")
        self.pods[pod.metadata.name] = pod
        return copy.deepcopy(pod)

    def list_namespaced_pod(self, namespace: str, label_selector: str) -> Any:
        return SimpleNamespace(items=[copy.deepcopy(pod) for pod in self.pods.values()])

    def read_namespaced_pod(self, name: str, namespace: str) -> V1Pod:
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, BaseException):
                raise step
            if callable(step):
                step()
            else:
                self.pods[name].status = step
        if name not in self.pods:
            raise ApiException(status=404, reason="Not Found")
        return copy.deepcopy(self.pods[name])

    def delete_namespaced_pod(self, name: str, namespace: str, **_: Any) -> None:
        """As in a real cluster, the pod can be read for a while yet."""
        self.calls.append("delete")
        if name not in self.pods:
            raise ApiException(status=404, reason="Not Found")
        self.pods[name].status = status("Failed", exit_code=137)

    def patch_namespaced_pod(self, name: str, namespace: str, body: dict[str, Any]) -> None:
        metadata = self.pods[name].metadata
        metadata.labels = (metadata.labels or {}) | body["metadata"].get("labels", {})
        metadata.annotations = (metadata.annotations or {}) | body["metadata"].get("annotations", {})

    def read_namespaced_pod_log(self, *, follow: bool = False, **_: Any) -> Any:
        self.follows.append(follow)
        return Log(self.log)

    @property
    def pod(self) -> V1Pod:
        (pod,) = self.pods.values()
        return pod


class Log(list[bytes]):
    """A log's response: lines when iterated, ``data`` when read at once."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data.splitlines(keepends=True))
        self.data = data


class Hook:
    """What the operator asks of a hook."""

    is_in_cluster = False

    def __init__(self, cluster: Cluster) -> None:
        self.core_v1_client = cluster

    def get_pod(self, name: str, namespace: str) -> V1Pod:
        return self.core_v1_client.read_namespaced_pod(name, namespace)

    def get_namespace(self) -> str:
        return "default"


class TaskInstance(SimpleNamespace):
    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        self.pushed[key] = value


def context(operator: Any) -> Any:
    ti = TaskInstance(
        dag_id="some_dag",
        task_id=operator.task_id,
        run_id="scheduled__2026-06-01T01:00:00+00:00",
        try_number=2,
        map_index=-1,
        start_date=datetime(2026, 6, 1, 1, tzinfo=UTC),
        pushed={},
        task=operator,
    )
    return {"ti": ti, "task_instance": ti, "run_id": ti.run_id, "dag": None, "task": operator}


def make(cls: type[Any] = GKEPodOperator, cluster: Cluster | None = None, **kwargs: Any) -> Any:
    """An operator of either class under the same settings, on a cluster in memory.

    The log isn't followed (``get_logs=False``) where the end of a pod is looked at: the status alone decides then.
    """
    settings = {
        **CLUSTER,
        "task_id": "some_task",
        "image": IMAGE,
        "deferrable": False,
        "on_finish_action": "delete_succeeded_pod",
        "get_logs": False,
        "log_events_on_startup": False,
        "base_container_status_polling_interval": 0,
        **kwargs,
    }
    operator = cls(**settings)
    if cluster is not None:
        operator.__dict__["hook"] = Hook(cluster)
        operator.__dict__["cluster_info"] = ("https://cluster.example", "Y2E=")
    return operator


def run(operator: Any) -> Any:
    """Execute as Airflow's task runner does: with its timeout, and ``on_kill`` after it."""
    return _run_execute_callable(context(operator), operator.execute, operator)


# What it asks for


def test_defaults_of_the_platform() -> None:
    operator = GKEPodOperator(task_id="t", image=IMAGE)
    assert operator.deferrable is True
    assert operator.image_pull_policy == "Always"
    assert operator.startup_timeout_seconds == 240
    assert operator.do_xcom_push is False
    assert operator.on_finish_action is OnFinishAction.DELETE_SUCCEEDED_POD
    assert operator.termination_message_policy == "FallbackToLogsOnError"
    assert operator.durable is True
    assert operator.enable_tcp_keepalive is True
    assert (operator.project_id, operator.location, operator.cluster_name, operator.namespace) == (
        "moz-fx-data-airflow-gke-prod",
        "us-west1",
        "workloads-prod-v1",
        "default",
    )
    assert operator.gcp_conn_id == "google_cloud_airflow_gke"


def test_pod_as_it_is_built() -> None:
    operator = make(
        cluster=Cluster(),
        cmds=["/bin/program"],
        arguments=["--date", "2026-06-01; rm -rf /"],
        env_vars={"REGION": "north"},
        resources="small",
    )
    pod = operator.build_pod_request_obj(context(operator))
    (container,) = pod.spec.containers
    assert container.image == IMAGE
    assert container.image_pull_policy == "Always"
    assert container.command == ["/bin/program"]
    assert container.args == ["--date", "2026-06-01; rm -rf /"]
    assert container.resources.requests == {"memory": "512Mi"}
    assert container.termination_message_policy == "FallbackToLogsOnError"
    assert pod.spec.restart_policy == "Never"
    assert pod.metadata.namespace == "default"
    labels = pod.metadata.labels
    assert (labels["dag_id"], labels["task_id"], labels["try_number"]) == ("some_dag", "some_task", "2")
    assert labels["run_id"].startswith("scheduled__2026-06-01")
    assert {variable.name: variable.value for variable in container.env} == {
        "REGION": "north",
        "AIRFLOW_CTX_DAG_ID": "some_dag",
        "AIRFLOW_CTX_TASK_ID": "some_task",
        "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-06-01T01:00:00+00:00",
        "AIRFLOW_CTX_TRY_NUMBER": "2",
    }
    assert [variable.name for variable in operator.env_vars] == ["REGION"], "the author's attribute stays as it was"
    assert not pod.metadata.annotations, "safe to evict only when it has ended"


def test_a_variable_that_the_author_set_wins() -> None:
    operator = make(cluster=Cluster(), env_vars={"AIRFLOW_CTX_DAG_ID": "another"})
    pod = operator.build_pod_request_obj(context(operator))
    values = [v.value for v in pod.spec.containers[0].env if v.name == "AIRFLOW_CTX_DAG_ID"]
    assert values == ["another"]


def test_container_resources_are_taken_as_they_are() -> None:
    given = V1ResourceRequirements(requests={"memory": "{{ '6Gi' if params.big else '2Gi' }}"})
    assert GKEPodOperator(task_id="t", image=IMAGE, container_resources=given).container_resources is given


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, True),
        ({"reattach_on_restart": True}, True),
        ({"reattach_on_restart": False}, False),
        ({"durable": False}, False),
    ],
)
def test_durable_under_both_its_names(given: dict[str, bool], expected: bool, recwarn: pytest.WarningsRecorder) -> None:
    operator = GKEPodOperator(task_id="t", image=IMAGE, **given)
    assert operator.durable is operator.reattach_on_restart is expected
    assert not [w for w in recwarn if "reattach_on_restart" in str(w.message)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"resources": "small", "container_resources": V1ResourceRequirements()}, "not both"),
        ({"durable": True, "reattach_on_restart": False}, "Give durable= alone"),
        ({"is_delete_operator_pod": True}, "on_finish_action"),
        ({"no_such_option": 1}, "no_such_option"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        GKEPodOperator(task_id="t", image=IMAGE, **given)


def test_unknown_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'smal'.*Did you mean 'small'"):
        GKEPodOperator(task_id="t", image=IMAGE, resources="smal")


def test_default_args_reach_the_operator_and_the_provider() -> None:
    with DAG("d", schedule=None, default_args={"startup_timeout_seconds": 7, "poll_interval": 9, "owner": "team"}):
        operator = GKEPodOperator(task_id="t", image=IMAGE)
    assert (operator.startup_timeout_seconds, operator.poll_interval, operator.owner) == (7, 9, "team")


def test_template_fields_have_one_order() -> None:
    assert list(GKEPodOperator.template_fields) == sorted(GKEPodOperator.template_fields)
    assert {"arguments", "env_vars", "image", "container_resources"} <= set(GKEPodOperator.template_fields)


def test_arguments_are_rendered() -> None:
    operator = make(arguments=["--date={{ ds }}"], env_vars={"DAY": "{{ ds }}"})
    operator.render_template_fields({"ds": "2026-06-01", "task": operator})
    assert operator.arguments == ["--date=2026-06-01"]
    assert [(v.name, v.value) for v in operator.env_vars] == [("DAY", "2026-06-01")]


# How it waits


def deferred(operator: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as raised:
        run(operator)
    return raised.value


OPTIONS = {
    "on_kill_action": "keep_pod",
    "termination_grace_period": 11,
    "startup_check_interval_seconds": 13,
    "log_events_on_startup": False,
}
IN_TRIGGER = {
    "on_kill_action": "keep_pod",
    "termination_grace_period": 11,
    "startup_check_interval": 13,
    "log_events_on_startup": False,
}


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_AIRFLOW_GKE", '{"conn_type": "google_cloud_platform"}')


@pytest.mark.usefixtures("google")
def test_it_defers_with_every_option() -> None:
    gone = deferred(make(cluster=Cluster(), deferrable=True, **OPTIONS))
    assert gone.method_name == "trigger_reentry"
    assert type(gone.trigger) is GKEPodTrigger
    path, arguments = gone.trigger.serialize()
    assert path == "operators.gcp_container_operator.GKEPodTrigger"
    expected = IN_TRIGGER | {
        "pod_namespace": "default",
        "cluster_url": "https://cluster.example",
        "ssl_ca_cert": "Y2E=",
        "gcp_conn_id": "google_cloud_airflow_gke",
        "startup_timeout": 240,
        "on_finish_action": "delete_succeeded_pod",
        "use_dns_endpoint": False,
    }
    assert {name: arguments[name] for name in expected} == expected
    again = GKEPodTrigger(**arguments)
    assert again.serialize() == (path, arguments), "a restart of the triggerer loses nothing"
    assert isinstance(again.hook, GKEPodAsyncHook)


@pytest.mark.usefixtures("google")
def test_the_provider_still_drops_options_when_it_defers() -> None:
    operator = make(GKEStartPodOperator, Cluster(), deferrable=True, gcp_conn_id="google_cloud_airflow_gke", **OPTIONS)
    _, arguments = deferred(operator).trigger.serialize()
    assert not set(IN_TRIGGER) & set(arguments)


@pytest.mark.usefixtures("google")
def test_execution_timeout_survives_deferral() -> None:
    operator = make(cluster=Cluster(), deferrable=True, execution_timeout=timedelta(hours=1))
    trigger = deferred(operator).trigger
    assert trigger.trigger_kwargs["_execution_deadline"] == datetime(2026, 6, 1, 2, tzinfo=UTC).timestamp()


def test_a_kubernetes_connection_sends_it_to_any_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_AIRFLOW_GKE", '{"conn_type": "kubernetes", "extra": {"a": 1}}')
    operator = make(deferrable=True)
    assert not isinstance(operator.hook, GKEKubernetesHook)
    assert operator.hook.conn_id == "google_cloud_airflow_gke"
    operator.__dict__["hook"] = Hook(Cluster())
    trigger = deferred(operator).trigger
    assert type(trigger) is KubernetesPodTrigger
    assert trigger.kubernetes_conn_id == "google_cloud_airflow_gke"
    assert trigger.connection_extras == {"a": 1}


def test_at_most_one_pod_a_try() -> None:
    cluster = Cluster()
    lost = make(cluster=cluster)
    lost.get_or_create_pod(lost.build_pod_request_obj(context(lost)), context(lost))
    cluster.script = [status("Succeeded", exit_code=0)]
    run(make(cluster=cluster))
    assert cluster.calls.count("create") == 1


# How it ends

DONE = status("Succeeded", exit_code=0)
FAILED = status("Failed", exit_code=3, message="no such table")


def test_a_pod_that_succeeded_is_deleted() -> None:
    cluster = Cluster(status("Running"), DONE)
    run(make(cluster=cluster))
    assert cluster.calls == ["create", "delete"]


def test_a_pod_that_failed_is_kept_and_the_message_says_why() -> None:
    cluster = Cluster(status("Running"), FAILED)
    with pytest.raises(PodFailedError, match=r"(?s)Pod some-task-.*no such table.*Exit code 3 \(Error\)") as raised:
        run(make(cluster=cluster))
    assert "V1Pod" not in str(raised.value), "not the whole pod"
    assert cluster.calls == ["create"]
    assert cluster.pod.metadata.annotations == {SAFE_TO_EVICT: "true"}
    assert cluster.pod.metadata.labels["already_checked"] == "True"


def test_without_a_termination_message_the_end_of_the_log_is_shown() -> None:
    cluster = Cluster(status("Running"), status("Failed", exit_code=3), log=b"a\nb\xff\nthe last words\n")
    with pytest.raises(PodFailedError, match=r"(?s)Last lines of its log:\na\n.*the last words$"):
        run(make(cluster=cluster))


def test_a_failure_that_is_not_the_programs_is_named() -> None:
    cluster = Cluster(status("Running"), RuntimeError("the API server is on fire"))
    with pytest.raises(PodFailedError, match=r"the API server is on fire"):
        run(make(cluster=cluster))
    assert cluster.calls == ["create", "delete"], "nothing is left running"


def test_a_pod_lost_before_it_was_looked_at_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    operator = make(cluster=cluster, durable=False)

    def broken(**_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(cluster, "list_namespaced_pod", broken)
    with pytest.raises(RuntimeError, match="broken"):
        run(operator)
    assert cluster.calls == ["create", "delete"]


def test_skip_exit_code_still_skips() -> None:
    cluster = Cluster(status("Failed", exit_code=99))
    with pytest.raises(AirflowSkipException):
        run(make(cluster=cluster, skip_on_exit_code=99))


# Fault 1: SIGTERM while the pod runs


def killed(cls: type[Any]) -> Cluster:
    cluster = Cluster(status("Running"))
    operator = make(cls, cluster)
    cluster.script.append(operator.on_kill)
    run(operator)
    return cluster


def test_a_killed_task_is_never_a_success() -> None:
    with pytest.raises(PodFailedError, match="was killed while it waited for pod some-task-"):
        killed(GKEPodOperator)


def test_the_provider_still_ends_a_killed_task_as_success() -> None:
    assert killed(GKEStartPodOperator).calls == ["create", "delete"]


@pytest.mark.usefixtures("google")
def test_a_task_killed_before_it_defers_fails() -> None:
    operator = make(cluster=Cluster(), deferrable=True)
    operator.on_kill()
    with pytest.raises(PodFailedError, match="was killed"):
        run(operator)


# Fault 2: a timeout with a policy that keeps pods


def timed_out(cls: type[Any], policy: str) -> tuple[Cluster, BaseException]:
    cluster = Cluster(status("Running"), AirflowTaskTimeout("Timeout, PID: 1"))
    operator = make(cls, cluster, on_finish_action=policy, execution_timeout=timedelta(hours=1))
    with pytest.raises((AirflowException, AirflowTaskTimeout)) as raised:
        run(operator)
    return cluster, raised.value


@pytest.mark.parametrize("policy", ["delete_succeeded_pod", "keep_pod", "delete_pod"])
def test_a_timeout_is_a_timeout_and_leaves_no_pod(policy: str) -> None:
    cluster, error = timed_out(GKEPodOperator, policy)
    assert isinstance(error, AirflowTaskTimeout)
    assert cluster.calls == ["create", "delete"]


def test_the_provider_still_hides_the_timeout_and_orphans_the_pod() -> None:
    cluster, error = timed_out(GKEStartPodOperator, "delete_succeeded_pod")
    assert not isinstance(error, AirflowTaskTimeout)
    assert cluster.calls == ["create"]


@pytest.mark.parametrize(
    ("policy", "ended", "deleted"),
    [
        ("delete_succeeded_pod", DONE, True),
        ("delete_succeeded_pod", FAILED, False),
        ("delete_pod", FAILED, True),
        ("keep_pod", DONE, False),
        ("keep_pod", status("Running"), True),
        ("delete_succeeded_pod", status("Pending"), True),
    ],
)
def test_which_pods_are_deleted(policy: str, ended: k8s.V1PodStatus, deleted: bool) -> None:
    cluster = Cluster()
    operator = make(cluster=cluster, on_finish_action=policy)
    pod = operator.get_or_create_pod(operator.build_pod_request_obj(context(operator)), context(operator))
    cluster.script = [ended]
    assert operator.process_pod_deletion(pod) is deleted
    assert ("delete" in cluster.calls) is deleted
    marked = SAFE_TO_EVICT in (cluster.pod.metadata.annotations or {})
    assert marked is not deleted


def test_a_pod_that_is_gone_counts_as_deleted() -> None:
    operator = make(cluster=Cluster())
    pod = operator.build_pod_request_obj(context(operator))
    assert operator.process_pod_deletion(pod) is True
    assert operator.process_pod_deletion(None) is False


# Fault 3: the log is followed after a timeout of a deferred task


def resumed(cls: type[Any], event_status: str) -> tuple[Cluster, BaseException]:
    cluster = Cluster()
    operator = make(cls, cluster, get_logs=True)
    pod = operator.get_or_create_pod(operator.build_pod_request_obj(context(operator)), context(operator))
    cluster.script = [] if event_status == "timeout" else [FAILED]
    event = {
        "status": event_status,
        "name": pod.metadata.name,
        "namespace": "default",
        "message": "the deadline passed",
    }
    with pytest.raises(AirflowException) as raised:
        operator.trigger_reentry(context(operator), event)
    return cluster, raised.value


def test_after_a_timeout_the_log_is_read_and_not_followed() -> None:
    cluster, error = resumed(GKEPodOperator, "timeout")
    assert not any(cluster.follows)
    assert cluster.calls == ["create", "delete"]
    assert "the deadline passed" in str(error)


def test_the_provider_still_follows_the_log_after_a_timeout() -> None:
    cluster, _ = resumed(GKEStartPodOperator, "timeout")
    assert cluster.follows == [True]


def test_after_a_failure_the_whole_log_is_read() -> None:
    cluster, error = resumed(GKEPodOperator, "failed")
    assert cluster.follows[0] is True
    assert "no such table" in str(error)
    assert cluster.calls == ["create"]


# Fault 5: requests without a timeout


class Asked(Exception):
    """A request was about to be made."""


def requests_of(rest: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def request(*_: Any, **kwargs: Any) -> Any:
        seen.update(kwargs)
        raise Asked

    monkeypatch.setattr(rest.RESTClientObject, "request", request)
    return seen


CA = base64.b64encode(Path(certifi.where()).read_bytes()).decode()
CREDENTIALS = SimpleNamespace(token="token", expired=False)


@pytest.mark.parametrize(("cls", "timeout"), [(GKEPodHook, 60), (GKEKubernetesHook, None)])
@pytest.mark.usefixtures("google")
def test_request_timeout(cls: type[Any], timeout: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = cls(cluster_url="https://cluster.example", ssl_ca_cert="Y2E=", gcp_conn_id="google_cloud_airflow_gke")
    monkeypatch.setattr(hook, "get_credentials", lambda: CREDENTIALS)
    client = hook.get_conn()
    seen = requests_of(kubernetes.client.rest, monkeypatch)
    with pytest.raises(Asked):
        kubernetes.client.CoreV1Api(client).read_namespaced_pod("name", "default")
    assert seen["_request_timeout"] == timeout
    assert seen["headers"]["authorization"] == "Bearer token"


@pytest.mark.parametrize(("cls", "timeout"), [(GKEPodAsyncHook, 60), (GKEKubernetesAsyncHook, None)])
@pytest.mark.usefixtures("google")
async def test_request_timeout_in_the_triggerer(
    cls: type[Any], timeout: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = cls(cluster_url="https://cluster.example", ssl_ca_cert=CA, gcp_conn_id="google_cloud_airflow_gke")
    token = SimpleNamespace(get=lambda: asyncio.sleep(0, "token"))
    monkeypatch.setattr(hook, "get_token", lambda: asyncio.sleep(0, token))
    async with hook.get_conn() as client:
        seen = requests_of(kubernetes_asyncio.client.rest, monkeypatch)
        with pytest.raises(Asked):
            await kubernetes_asyncio.client.CoreV1Api(client).read_namespaced_pod("name", "default")
    assert seen["_request_timeout"] == timeout
    assert seen["headers"]["Authorization"] == "Bearer token"


def test_the_trigger_is_what_the_provider_expects() -> None:
    assert issubclass(GKEPodTrigger, GKEStartPodTrigger)


# The true path to GKE: real clients, TLS and a bearer token, on the offline pod server


class Server:
    """The offline pod server in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        ensure_certificate(folder)
        token = folder / "token"
        token.write_text("token")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.ca = base64.b64encode((folder / "pods.crt").read_bytes()).decode()
        self.process = subprocess.Popen([
            *(sys.executable, "-m", "wtmo.local.pods", "--port", str(self.port), "--state", str(folder / "state")),
            *("--cert", str(folder / "pods.crt"), "--key", str(folder / "pods.key"), "--token-file", str(token)),
            *("--runtime", "process", "--removal-delay", "0", *options),
        ])
        client = kubernetes.client.Configuration(host=f"https://127.0.0.1:{self.port}")
        client.ssl_ca_cert = str(folder / "pods.crt")
        client.api_key = {"BearerToken": "Bearer token", "authorization": "Bearer token"}
        self.api = kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(client))

    def wait(self, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert self.process.poll() is None, "the pod server ended"
            time.sleep(0.05)
        pytest.fail(f"the pod server did not listen within {seconds} s")

    def pods(self, operator: Any) -> list[V1Pod]:
        """The pods of an operator's task that are still there."""
        everything = self.api.list_namespaced_pod("default").items
        return [pod for pod in everything if pod.metadata.labels["task_id"] == operator.task_id]

    def await_gone(self, operator: Any, seconds: float = 10) -> None:
        """A deleted pod is seen for a moment yet, as in a real cluster."""
        end = time.monotonic() + seconds
        while pods := self.pods(operator):
            assert time.monotonic() < end, f"still there after {seconds} s: {[pod.metadata.name for pod in pods]}"
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest_socket.enable_socket()
    made = Server(tmp_path_factory.mktemp("pods"), *getattr(request, "param", ()))
    try:
        made.wait()
        yield made
    finally:
        made.stop()


@pytest.fixture
def on_gke(server: Server, google: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., GKEPodOperator]:
    """Makes an operator whose cluster look-up and Google credentials are answered here, all else being real."""
    token = SimpleNamespace(get=lambda: asyncio.sleep(0, "token"))
    monkeypatch.setattr(GKEPodHook, "get_credentials", lambda _: CREDENTIALS)
    monkeypatch.setattr(GKEPodAsyncHook, "get_token", lambda _: asyncio.sleep(0, token))
    cluster = SimpleNamespace(
        endpoint=f"127.0.0.1:{server.port}", master_auth=SimpleNamespace(cluster_ca_certificate=server.ca)
    )
    monkeypatch.setattr(GKEHook, "get_cluster", lambda *_, **__: cluster)

    def make_operator(task_id: str, **kwargs: Any) -> GKEPodOperator:
        return GKEPodOperator(task_id=task_id, startup_check_interval_seconds=1, **kwargs)

    return make_operator


async def event_of(trigger: Any) -> dict[str, Any]:
    """What the triggerer hears, from a trigger that went through the database."""
    path, arguments = trigger.serialize()
    assert path.rpartition(".")[2] == "GKEPodTrigger"
    async for event in GKEPodTrigger(
        **json.loads(json.dumps(arguments, default=str))
        | {
            "trigger_start_time": arguments["trigger_start_time"],
        }
    ).run():
        return event.payload
    pytest.fail("the trigger ended without an event")


def run_deferred(operator: GKEPodOperator) -> Any:
    """From the first start to the end, over one deferral, each part with an operator of its own."""
    gone = deferred(copy.deepcopy(operator))
    event = asyncio.run(event_of(gone.trigger))
    return operator.trigger_reentry(context(operator), event)


@pytest.mark.loopback
@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "sync"])
def test_on_the_true_path(server: Server, on_gke: Any, deferrable: bool) -> None:
    execute = run_deferred if deferrable else run

    good = on_gke(f"good-{deferrable}", image=image("bq2sftp"), arguments=["--date", "a b"], deferrable=deferrable)
    good.do_xcom_push = True
    recorded = execute(good)
    assert recorded["arguments"] == ["--date", "a b"]
    assert {"AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_TRY_NUMBER"} <= set(recorded["environment"])
    server.await_gone(good)

    bad = on_gke(f"bad-{deferrable}", image=image("bigquery-etl"), arguments=["no-such-program"], deferrable=deferrable)
    with pytest.raises(PodFailedError, match=r"(?s)no-such-program.*Exit code [1-9]"):
        execute(bad)
    (pod,) = server.pods(bad)
    assert pod.metadata.annotations[SAFE_TO_EVICT] == "true"

    unknown = on_gke(f"unknown-{deferrable}", image="no.such/image:1", deferrable=deferrable)
    with pytest.raises(PodFailedError, match=r"no.such/image:1"):
        execute(unknown)
    server.await_gone(unknown)  # It would be pulled for ever.


@pytest.mark.loopback
@pytest.mark.parametrize("server", [["--startup-delay", "300"]], indirect=True, ids=["slow start"])
def test_a_deadline_on_the_true_path_leaves_no_pod(server: Server, on_gke: Any) -> None:
    operator = on_gke("late", image=image("bq2sftp"), execution_timeout=timedelta(seconds=1))
    with pytest.raises(PodFailedError, match="deadline"):
        run_deferred(operator)
    server.await_gone(operator)
