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
import re
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock
from uuid import UUID

import certifi
import kubernetes
import kubernetes_asyncio
import pytest
import pytest_socket
from aiohttp import ClientConnectionError
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.providers.cncf.kubernetes.operators.pod import FoundMoreThanOnePodFailure
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.providers.cncf.kubernetes.utils.pod_manager import OnFinishAction
from airflow.providers.google.cloud.hooks.kubernetes_engine import GKEHook, GKEKubernetesAsyncHook, GKEKubernetesHook
from airflow.providers.google.cloud.operators.kubernetes_engine import GKEStartPodOperator
from airflow.providers.google.cloud.triggers.kubernetes_engine import GKEStartPodTrigger
from airflow.sdk import DAG, BaseOperator, TaskGroup, task_group
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)
from airflow.sdk.execution_time.task_runner import _run_execute_callable
from airflow.serialization.serialized_objects import DagSerialization
from kubernetes.client import ApiException, V1Pod, V1ResourceRequirements
from kubernetes.client import models as k8s
from kubernetes.stream.ws_client import WSClient
from urllib3.exceptions import ReadTimeoutError

from operators import gcp_container_operator
from operators.gcp_container_operator import (
    OWNER,
    SAFE_TO_EVICT,
    GKEPodAsyncClient,
    GKEPodAsyncHook,
    GKEPodClient,
    GKEPodHook,
    GKEPodManager,
    GKEPodOperator,
    GKEPodTrigger,
    PodFailedError,
)
from utils.images import image
from utils.labels import label_value
from utils.retries import FaultRetryPolicy
from utils.tags import Tag
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
        """All, but for those that the operator is done with."""
        pods = [pod for pod in self.pods.values() if (pod.metadata.labels or {}).get("already_checked") != "True"]
        return SimpleNamespace(items=[copy.deepcopy(pod) for pod in pods])

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
        self.pods[name].metadata.deletion_timestamp = datetime(2026, 6, 1, 2, tzinfo=UTC)

    def patch_namespaced_pod(self, name: str, namespace: str, body: dict[str, Any]) -> None:
        if name not in self.pods:
            raise ApiException(status=404, reason="Not Found")
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

    def get_xcom_sidecar_container_image(self) -> None:
        """The provider's own."""

    get_xcom_sidecar_container_resources = get_xcom_sidecar_container_image
    get_xcom_sidecar_container_security_context = get_xcom_sidecar_container_image


class TaskInstance(SimpleNamespace):
    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        self.pushed[key] = value


def context(operator: Any) -> Any:
    ti = TaskInstance(
        id=UUID(int=2),
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
    assert container.resources.limits == {"memory": "2Gi"}
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
        "AIRFLOW_CTX_DAG_OWNER": "airflow",
    }
    assert [variable.name for variable in operator.env_vars] == ["REGION"], "the author's attribute stays as it was"
    assert SAFE_TO_EVICT not in pod.metadata.annotations, "safe to evict only when it has ended"
    assert operator.labels == {}, "the provider finds its pod by the author's labels and its own"
    assert operator.annotations == {}


def test_every_pod_says_what_it_runs_for_whatever_the_names() -> None:
    name = "a_task.of-a group " + "x" * 80
    with DAG("d", schedule=None, tags=[Tag.ImpactTier.tier_1, "other"]):
        operator = make(cluster=Cluster(), owner="Team & Co", do_xcom_push=True)
    described = context(operator)
    described["ti"].dag_id, described["ti"].task_id = "A.dag", name
    pod = operator.build_pod_request_obj(described)
    labels = {key: value for key, value in pod.metadata.labels.items() if key.startswith("airflow-")}
    assert labels == {
        "airflow-dag": label_value("A.dag"),
        "airflow-task": label_value(name),
        "airflow-run": label_value("scheduled__2026-06-01T01:00:00+00:00"),
        "airflow-try": "2",
        "airflow-owner": label_value("Team & Co"),
        "airflow-tier": "tier_1",
    }
    assert all(len(value) <= 63 for value in labels.values())
    prefix = "workflow.telemetry.mozilla.org"
    assert pod.metadata.annotations == {
        f"{prefix}/dag": "A.dag",
        f"{prefix}/task": name,
        f"{prefix}/run": "scheduled__2026-06-01T01:00:00+00:00",
        f"{prefix}/try": "2",
        f"{prefix}/owner": "Team & Co",
        f"{prefix}/tier": "tier_1",
        OWNER: str(UUID(int=2)),
    }
    environment = {variable.name: variable.value for variable in pod.spec.containers[0].env}
    assert (environment["AIRFLOW_CTX_DAG_OWNER"], environment["AIRFLOW_CTX_DAG_TIER"]) == ("Team & Co", "tier_1")
    selector = operator._build_find_pod_label_selector(described)
    wanted = dict(part.split("=") for part in selector.split(",") if "!" not in part)
    assert wanted.items() <= pod.metadata.labels.items(), "the provider finds it"


def invalid(cls: type[Any], name: str) -> list[str]:
    """What Kubernetes refuses of the name and the labels of a pod; all ids are ``name``."""
    operator = make(cls, cluster=Cluster(), owner=name)
    operator.task_id = name
    described = context(operator)
    described["ti"].dag_id = described["ti"].run_id = described["run_id"] = name
    described["ti"].map_index = 7
    pod = operator.build_pod_request_obj(described)
    assert pod.metadata.labels["map_index"] == "7"
    selector = operator._build_find_pod_label_selector(described)
    wanted = dict(part.split("=") for part in selector.split(",") if "!" not in part)
    assert wanted.items() <= pod.metadata.labels.items(), "it is found"
    values = [value for value in pod.metadata.labels.values() if not re.fullmatch(LABEL, value)]
    return values + ([] if re.fullmatch(NAME, pod.metadata.name) else [pod.metadata.name])


NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
LABEL = r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"


@pytest.mark.parametrize(
    "name", ["日本語", "ÄÖÜ", "дата_конвейер", "_", "-.-", "a" * 250, "Ω" * 250, "group.task__1", "manual__+00:00"]
)
def test_names_and_labels_are_valid_whatever_the_ids(name: str) -> None:
    assert not invalid(GKEPodOperator, name)


def test_the_provider_still_makes_labels_that_kubernetes_refuses() -> None:
    assert invalid(GKEStartPodOperator, "日本語")


def test_labels_and_annotations_of_the_author_win() -> None:
    operator = make(
        cluster=Cluster(),
        labels={"airflow-owner": "me"},
        annotations={"workflow.telemetry.mozilla.org/owner": "me", "a": "b"},
    )
    metadata = operator.build_pod_request_obj(context(operator)).metadata
    assert metadata.labels["airflow-owner"] == metadata.annotations["workflow.telemetry.mozilla.org/owner"] == "me"
    assert metadata.annotations["a"] == "b"


def test_a_pod_may_do_only_what_it_needs() -> None:
    init = k8s.V1Container(name="first", image=IMAGE)
    operator = make(cluster=Cluster(), do_xcom_push=True, init_containers=[init])
    spec = operator.build_pod_request_obj(context(operator)).spec
    assert spec.automount_service_account_token is False
    assert spec.security_context.seccomp_profile.type == "RuntimeDefault"
    containers = [*spec.containers, *spec.init_containers]
    assert [container.name for container in containers] == ["base", "airflow-xcom-sidecar", "first"]
    for container in containers:
        assert container.security_context.allow_privilege_escalation is False
        assert container.security_context.capabilities.drop == ["ALL"]


def test_security_is_relaxed_by_name() -> None:
    own = k8s.V1SecurityContext(capabilities=k8s.V1Capabilities(add=["NET_ADMIN"]))
    operator = make(cluster=Cluster(), security="relaxed", container_security_context=own)
    spec = operator.build_pod_request_obj(context(operator)).spec
    assert spec.containers[0].security_context.capabilities.add == ["NET_ADMIN"]
    assert spec.automount_service_account_token is None
    assert not spec.security_context
    with pytest.raises(ValueError, match="'default' or 'relaxed'"):
        make(security="loose")


def test_the_cluster_is_looked_up_once_a_process(monkeypatch: pytest.MonkeyPatch, google: None) -> None:
    asked: list[str] = []

    def get_cluster(_: Any, *, name: str, project_id: str) -> Any:
        asked.append(name)
        auth = SimpleNamespace(cluster_ca_certificate="Y2E=")
        return SimpleNamespace(endpoint=f"{name}.example", master_auth=auth)

    monkeypatch.setattr(GKEHook, "get_cluster", get_cluster)
    monkeypatch.setattr(gcp_container_operator, "_clusters", {})
    urls = [make(cluster_name=name).cluster_url for name in ("one", "two", "one")]
    assert urls == ["https://one.example", "https://two.example", "https://one.example"]
    assert asked == ["one", "two"]


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
        ({"automount_service_account_token": True}, "say security='relaxed'"),
        ({"security_context": {"runAsUser": 0}}, "say security='relaxed'"),
        ({"init_container_logs": True}, "72504"),
        ({"container_logs": ["proxy"]}, "container_logs: does nothing when deferrable"),
        ({"log_formatter": str, "container_logs": True}, "container_logs, log_formatter: does nothing when deferrable"),
        ({"deferrable": False, "logging_interval": 10}, "does nothing unless deferrable"),
        ({"random_name_suffix": False}, "on_finish_action='delete_pod'"),
        ({"progress_callback": print}, "Give callbacks="),
        ({"kubernetes_conn_id": "another"}, "Give gcp_conn_id="),
        ({"arguments": "--date 2026-06-01"}, "a list of words"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        GKEPodOperator(task_id="t", image=IMAGE, **given)
    with pytest.raises(TypeError, match=message):
        GKEPodOperator.partial(task_id="t", image=IMAGE, **given)


def test_options_of_a_followed_log_are_taken_where_it_is_followed() -> None:
    operator = GKEPodOperator(task_id="t", image=IMAGE, deferrable=False, container_logs=["proxy"], log_formatter=str)
    assert operator.container_logs == ["proxy"]


def test_what_is_looked_at_of_a_mapped_task_is_no_task_of_its_dag() -> None:
    @task_group
    def each(word: str) -> None:
        GKEPodOperator.partial(task_id="inner", image=IMAGE, cmds=[word]).expand(arguments=[["a"], ["b"]])

    with DAG("some_dag", schedule=None) as dag:
        made = BaseOperator(task_id="made").output
        with TaskGroup("group"):
            GKEPodOperator.partial(task_id="one").expand_kwargs([{"image": IMAGE, "resources": "small"}])
            GKEPodOperator.partial(task_id="two", cmds=made, env_vars={"A": made}).expand(image=["a", "b"])
        each("word")
    assert set(dag.task_ids) == {"made", "group.one", "group.two", "each.inner"}
    assert set(dag.task_group_dict["group"].children) == {"group.one", "group.two"}
    assert dag.get_task("made").downstream_task_ids == {"group.two"}


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


def test_xcom_of_a_lost_try_that_has_ended_on_any_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_AIRFLOW_GKE", '{"conn_type": "kubernetes"}')
    cluster = Cluster()
    lost(cluster).status = status("Running", exit_code=0)
    operator = make(cluster=cluster, deferrable=True, do_xcom_push=True)
    monkeypatch.setattr(GKEPodManager, "extract_xcom", lambda *_, **__: '{"rows": 7}')
    assert run(operator) == {"rows": 7}


def mapped(cls: type[Any], **size: Any) -> Any:
    """The DAG of a mapped task as the scheduler reads it back."""
    with DAG("some_dag", schedule=None) as dag:
        cls.partial(task_id="some_task", image=IMAGE, **CLUSTER, **size).expand(arguments=[["a"], ["b"]])
    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


def test_pods_of_a_mapped_task_have_a_size_by_name() -> None:
    task = mapped(GKEPodOperator, resources="small").get_task("some_task")
    assert "'memory': '512Mi'" in str(task.partial_kwargs["container_resources"])
    with pytest.raises(ValueError, match="smal"):
        mapped(GKEPodOperator, resources="smal")
    with pytest.raises(TypeError, match="not both"):
        mapped(GKEPodOperator, resources="small", container_resources=V1ResourceRequirements())


def test_airflow_still_takes_the_resources_of_a_mapped_task_for_its_own() -> None:
    with pytest.raises(Exception, match="deserialize"):
        mapped(GKEStartPodOperator, resources="small")


def test_at_most_one_pod_a_try() -> None:
    cluster = Cluster()
    lost = make(cluster=cluster)
    lost.get_or_create_pod(lost.build_pod_request_obj(context(lost)), context(lost))
    cluster.script = [status("Succeeded", exit_code=0)]
    run(make(cluster=cluster))
    assert cluster.calls.count("create") == 1


def next_try(cluster: Cluster, cls: type[Any] = GKEPodOperator, **options: Any) -> V1Pod:
    """The pod of a try after one that was lost."""
    operator = make(cls, cluster=cluster, **options)
    later = context(operator)
    later["ti"].id, later["ti"].try_number = UUID(int=3), 3
    pod: V1Pod = operator.get_or_create_pod(operator.build_pod_request_obj(later), later)
    return pod


def lost(cluster: Cluster, **options: Any) -> V1Pod:
    operator = make(cluster=cluster, **options)
    operator.get_or_create_pod(operator.build_pod_request_obj(context(operator)), context(operator))
    return cluster.pod


def test_a_pod_names_the_try_that_waits_for_it() -> None:
    cluster = Cluster()
    assert lost(cluster).metadata.annotations[OWNER] == str(UUID(int=2))
    next_try(cluster)
    assert cluster.pod.metadata.annotations[OWNER] == str(UUID(int=3))


def test_a_further_try_that_is_to_begin_anew_ends_the_pod_of_the_lost_one() -> None:
    cluster = Cluster()
    old = lost(cluster).metadata.name
    assert next_try(cluster, durable=False).metadata.name != old
    assert cluster.calls == ["create", "delete", "create"]
    cluster = Cluster()
    lost(cluster, on_kill_action="keep_pod")
    next_try(cluster, durable=False, on_kill_action="keep_pod")
    assert cluster.calls == ["create", "create"], "it outlives its task on purpose"


def test_the_provider_still_leaves_the_pod_of_a_lost_try_beside_the_new_one() -> None:
    cluster = Cluster()
    lost(cluster)
    next_try(cluster, GKEStartPodOperator, durable=False)
    assert cluster.calls == ["create", "create"]


class Store(dict[str, Any]):
    """Airflow's task state store, which outlives a try."""

    set = dict.__setitem__


@pytest.mark.parametrize("answered", [True, False])
def test_a_further_try_finds_its_pod_in_the_store(answered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, store, create = Cluster(), Store(), Cluster.create_namespaced_pod

    def create_unanswered(*given: Any, **options: Any) -> None:
        if cluster.pods:
            raise ApiException(status=409, reason="Conflict")
        create(*given, **options)
        raise ReadTimeoutError(None, "", "the API server does not answer")

    if not answered:
        monkeypatch.setattr(Cluster, "create_namespaced_pod", create_unanswered)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(Cluster, "list_namespaced_pod", lambda *_, **__: SimpleNamespace(items=[]))
    for number in (1, 2):
        operator = make(cluster=cluster)
        described = context(operator) | {"task_state_store": store}
        described["ti"].id, described["ti"].try_number = UUID(int=number), number
        operator.get_or_create_pod(operator.build_pod_request_obj(described), described)
    assert cluster.calls == ["create"]
    assert cluster.pod.metadata.annotations[OWNER] == str(UUID(int=2))


def test_a_pod_that_outlives_its_task_on_purpose_names_none() -> None:
    assert OWNER not in lost(Cluster(), on_kill_action="keep_pod").metadata.annotations


@pytest.mark.parametrize("call", ["patch_namespaced_pod", "list_namespaced_pod"])
def test_a_further_try_goes_on_with_its_pod_though_the_cluster_is_busy(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()
    old = lost(cluster).metadata.name
    real, busy = getattr(cluster, call), [ApiException(status=429), ApiException(status=503)]

    def answer(*given: Any, **options: Any) -> Any:
        if busy:
            raise busy.pop()
        return real(*given, **options)

    monkeypatch.setattr(cluster, call, answer)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert next_try(cluster).metadata.name == old
    assert cluster.pod.metadata.annotations[OWNER] == str(UUID(int=3))


def test_a_pod_that_is_gone_before_it_could_be_taken_is_replaced() -> None:
    class Late(Cluster):
        def patch_namespaced_pod(self, name: str, namespace: str, body: dict[str, Any]) -> None:
            self.pods.pop(name, None)
            super().patch_namespaced_pod(name, namespace, body)

    cluster = Late()
    old = lost(cluster).metadata.name
    assert next_try(cluster).metadata.name != old
    assert cluster.calls == ["create", "create"]


def deleted_meanwhile(cls: type[Any]) -> tuple[str, str]:
    """The names of a pod that is being deleted, and of the one that the next try waits for."""
    cluster = Cluster()
    pod = lost(cluster)
    pod.metadata.deletion_timestamp = datetime(2026, 6, 1, 2, tzinfo=UTC)
    return pod.metadata.name, next_try(cluster, cls).metadata.name


def test_a_pod_that_is_being_deleted_is_not_gone_on_with() -> None:
    old, new = deleted_meanwhile(GKEPodOperator)
    assert old != new


def test_the_provider_still_goes_on_with_a_pod_that_is_being_deleted() -> None:
    old, new = deleted_meanwhile(GKEStartPodOperator)
    assert old == new


def ended_meanwhile(cls: type[Any], cluster: Cluster) -> None:
    """Run a try after one that was lost, whose pod has succeeded since."""
    old = lost(cluster).metadata.name
    cluster.pods[old].status = status("Succeeded", exit_code=0)

    def new_one_succeeds() -> None:
        for name in cluster.pods.keys() - {old}:
            cluster.pods[name].status = status("Succeeded", exit_code=0)

    cluster.script = [lambda: None, *[new_one_succeeds] * 8]
    run(make(cls, cluster=cluster))


def test_a_pod_that_succeeded_for_a_lost_try_is_replaced_by_one() -> None:
    cluster = Cluster()
    ended_meanwhile(GKEPodOperator, cluster)
    assert cluster.calls == ["create", "delete", "create", "delete"]


def test_the_provider_still_finds_the_pod_that_it_has_just_deleted() -> None:
    with pytest.raises(FoundMoreThanOnePodFailure):
        ended_meanwhile(GKEStartPodOperator, Cluster())


def test_a_deleted_pod_that_is_gone_before_it_could_be_marked_is_no_matter() -> None:
    class Late(Cluster):
        def patch_namespaced_pod(self, name: str, namespace: str, body: dict[str, Any]) -> None:
            if self.pods[name].metadata.deletion_timestamp:
                del self.pods[name]
            super().patch_namespaced_pod(name, namespace, body)

    cluster = Late()
    old = lost(cluster)
    old.metadata.deletion_timestamp = datetime(2026, 6, 1, 2, tzinfo=UTC)
    assert next_try(cluster).metadata.name != old.metadata.name


@pytest.mark.parametrize("deleted", [True, False])
def test_a_pod_that_may_not_be_taken_or_marked_is_not_replaced(deleted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**_: Any) -> None:
        raise ApiException(status=403, reason="Forbidden")

    cluster = Cluster()
    pod = lost(cluster)
    if deleted:
        pod.metadata.deletion_timestamp = datetime(2026, 6, 1, 2, tzinfo=UTC)
    monkeypatch.setattr(cluster, "patch_namespaced_pod", denied)
    with pytest.raises(ApiException, match="Forbidden"):
        next_try(cluster)
    assert cluster.calls == ["create"]


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
    assert cluster.pod.metadata.annotations[SAFE_TO_EVICT] == "true"
    assert cluster.pod.metadata.labels["already_checked"] == "True"


def test_without_a_termination_message_the_end_of_the_log_is_shown() -> None:
    cluster = Cluster(status("Running"), status("Failed", exit_code=3), log=b"a\nb\xff\nthe last words\n")
    with pytest.raises(PodFailedError, match=r"(?s)Last lines of its log:\na\n.*the last words$"):
        run(make(cluster=cluster))


def test_a_line_of_the_log_without_end_is_cut_at_its_beginning() -> None:
    """The message is mailed."""
    cluster = Cluster(status("Running"), status("Failed", exit_code=3), log=b"x" * 5_000_000 + b" the last words\n")
    with pytest.raises(PodFailedError, match=r"the last words$") as raised:
        run(make(cluster=cluster))
    assert len(str(raised.value)) < 5000


def container_status(name: str, **state: Any) -> k8s.V1ContainerStatus:
    return k8s.V1ContainerStatus(
        name=name, state=k8s.V1ContainerState(**state), image=IMAGE, image_id="", ready=False, restart_count=0
    )


def failure_of(last: k8s.V1PodStatus) -> str:
    with pytest.raises(PodFailedError) as raised:
        run(make(cluster=Cluster(status("Running"), last)))
    return str(raised.value)


def test_an_init_container_that_failed_is_named_with_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def read_log(_: Cluster, *, container: str, **__: Any) -> Log:
        asked.append(container)
        return Log(b"no such bucket\n")

    monkeypatch.setattr(Cluster, "read_namespaced_pod_log", read_log)
    failed = k8s.V1ContainerStateTerminated(exit_code=5, reason="Error")
    init = [container_status("first", terminated=failed)]
    base = [container_status("base", waiting=k8s.V1ContainerStateWaiting(reason="PodInitializing"))]
    message = failure_of(k8s.V1PodStatus(phase="Failed", init_container_statuses=init, container_statuses=base))
    assert "Container first: exit code 5 (Error)." in message
    assert message.endswith("Last lines of the log of first:\nno such bucket")
    assert asked == ["first"]


def test_what_a_pod_waited_for_is_said() -> None:
    no_node = k8s.V1PodCondition(type="PodScheduled", status="False", message="0/1 nodes are available")
    no_secret = k8s.V1ContainerStateWaiting(reason="CreateContainerConfigError", message='secret "s" not found')
    base = [container_status("base", waiting=no_secret)]
    message = failure_of(k8s.V1PodStatus(phase="Failed", conditions=[no_node], container_statuses=base))
    assert "It is not scheduled: 0/1 nodes are available" in message
    assert 'Container base is waiting: CreateContainerConfigError: secret "s" not found' in message


def test_a_container_beside_the_program_that_failed_is_named() -> None:
    killed = k8s.V1ContainerStateTerminated(exit_code=137, reason="OOMKilled")
    last = status("Failed", exit_code=0)
    last.container_statuses.append(container_status("proxy", terminated=killed))
    assert "Container proxy: exit code 137 (OOMKilled)." in failure_of(last)


def test_a_failure_that_is_not_the_programs_is_named() -> None:
    cluster = Cluster(status("Running"), RuntimeError("the API server is on fire"))
    with pytest.raises(PodFailedError, match=r"the API server is on fire"):
        run(make(cluster=cluster))
    assert cluster.calls == ["create", "delete"], "nothing is left running"


def test_a_pod_lost_before_it_was_looked_at_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    operator = make(cluster=cluster, durable=False)

    def broken(*_: Any, **__: Any) -> Any:
        if cluster.pods:
            raise RuntimeError("broken")
        return SimpleNamespace(items=[])

    monkeypatch.setattr(cluster, "list_namespaced_pod", broken)
    with pytest.raises(RuntimeError, match="broken"):
        run(operator)
    assert cluster.calls == ["create", "delete"]


def test_skip_exit_code_still_skips() -> None:
    cluster = Cluster(status("Failed", exit_code=99))
    with pytest.raises(AirflowSkipException):
        run(make(cluster=cluster, skip_on_exit_code=99))


# A creation whose answer is lost


def unanswered(cls: type[Any], monkeypatch: pytest.MonkeyPatch, *, others: bool = False) -> Cluster:
    """The first request makes the pod and is not answered, as is seen after the client's timeout; later ones get 409."""
    cluster = Cluster()
    create = cluster.create_namespaced_pod

    def lost(body: Any, namespace: str, **_: Any) -> None:
        if cluster.pods:
            raise ApiException(status=409, reason="Conflict")
        pod = create(body, namespace)
        if others:
            cluster.pods[pod.metadata.name].metadata.labels["run_id"] = "another"
        cluster.script = [DONE]
        raise ReadTimeoutError(None, "", "the API server does not answer")

    monkeypatch.setattr(cluster, "create_namespaced_pod", lost)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    run(make(cls, cluster))
    return cluster


def test_a_pod_whose_creation_was_not_answered_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unanswered(GKEPodOperator, monkeypatch).calls == ["create", "delete"]


def test_the_pod_of_another_run_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApiException, match="Conflict"):
        unanswered(GKEPodOperator, monkeypatch, others=True)


def test_a_pod_that_is_refused_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ApiException(status=403, reason="exceeded quota")

    cluster = Cluster(not_found(), not_found())
    monkeypatch.setattr(cluster, "create_namespaced_pod", refuse)
    with pytest.raises(ApiException, match="exceeded quota"):
        run(make(cluster=cluster))


def test_the_provider_still_loses_a_pod_whose_creation_was_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApiException, match="Conflict"):
        unanswered(GKEStartPodOperator, monkeypatch)


# A failure between the creation and the deferral


def undeferred(cls: type[Any], *, deferrable: bool = True) -> list[str]:
    cluster = Cluster()
    operator = make(cls, cluster, deferrable=deferrable)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("Airflow's API is away")

    described = context(operator)
    described["ti"].xcom_push = broken
    with pytest.raises(RuntimeError, match="is away"):
        operator.execute(described)
    return cluster.calls


def test_a_task_that_fails_before_it_defers_leaves_no_pod() -> None:
    assert undeferred(GKEPodOperator) == ["create", "delete"]
    assert undeferred(GKEPodOperator, deferrable=False) == ["create", "delete"]


def test_the_provider_still_leaves_the_pod_of_a_task_that_fails_before_it_defers() -> None:
    assert undeferred(GKEStartPodOperator) == ["create"]
    assert undeferred(GKEStartPodOperator, deferrable=False) == ["create"]


# A pod that is gone after it succeeded


def not_found() -> ApiException:
    return ApiException(status=404, reason="Not Found")


def vanished(cls: type[Any]) -> None:
    cluster = Cluster(DONE, *(not_found() for _ in range(20)))
    operator = make(cls, cluster, get_logs=True)

    def no_log(**_: Any) -> None:
        raise not_found()

    cluster.read_namespaced_pod_log = no_log
    run(operator)


def test_a_pod_that_is_gone_after_it_succeeded_is_a_success() -> None:
    vanished(GKEPodOperator)


def test_the_provider_still_fails_over_a_pod_that_succeeded_and_is_gone() -> None:
    with pytest.raises(AirflowException) as raised:
        vanished(GKEStartPodOperator)
    assert "Not Found" in str(raised.value.__context__)


def test_a_pod_that_is_gone_before_it_succeeded_is_a_failure() -> None:
    cluster = Cluster(status("Running"), *(not_found() for _ in range(20)))
    with pytest.raises(PodFailedError, match="Not Found"):
        run(make(cluster=cluster))


@pytest.mark.parametrize("cls", [GKEPodAsyncHook, GKEKubernetesAsyncHook])
@pytest.mark.usefixtures("google")
async def test_a_pod_that_is_gone_after_it_succeeded_in_the_triggerer(
    cls: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = cls(cluster_url="https://cluster.example", ssl_ca_cert=CA, gcp_conn_id="google_cloud_airflow_gke")
    pod = V1Pod(metadata=k8s.V1ObjectMeta(name="name"), status=DONE)
    answers = [pod, kubernetes_asyncio.client.ApiException(status=404)]

    async def get_pod(*_: Any) -> V1Pod:
        answer = await asyncio.sleep(0, answers.pop(0))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(AsyncKubernetesHook, "get_pod", get_pod)
    assert await hook.get_pod("name", "default") is pod
    if cls is GKEPodAsyncHook:
        assert await hook.get_pod("name", "default") is pod
        answers.append(kubernetes_asyncio.client.ApiException(status=404))
        with pytest.raises(kubernetes_asyncio.client.ApiException):
            await hook.get_pod("another", "default")
        answers.append(kubernetes_asyncio.client.ApiException(status=403))
        with pytest.raises(kubernetes_asyncio.client.ApiException):
            await hook.get_pod("name", "default")
    else:
        with pytest.raises(kubernetes_asyncio.client.ApiException):
            await hook.get_pod("name", "default")


# A cluster that is away


async def after_an_outage(cls: type[Any], monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> list[str]:
    """Read a pod in the triggerer; each request meets the next error, the last one gets the pod."""
    hook = async_hook(cls)
    left = list(errors)

    @contextlib.asynccontextmanager
    async def get_conn() -> Any:
        if left:
            raise left.pop(0)
        yield SimpleNamespace()

    pod = V1Pod(metadata=k8s.V1ObjectMeta(name="name"), status=status("Running"))
    monkeypatch.setattr(hook, "get_conn", get_conn)
    monkeypatch.setattr(kubernetes_asyncio.client.CoreV1Api, "read_namespaced_pod", AsyncMock(return_value=pod))
    with monkeypatch.context() as at_once:
        at_once.setattr(asyncio, "sleep", AsyncMock())
        assert (await hook.get_pod("name", "default")).metadata.name == "name"
    return left


REFUSED = ClientConnectionError("Cannot connect")
OVERLOADED = kubernetes_asyncio.client.ApiException(status=503)


@pytest.mark.usefixtures("google")
async def test_a_cluster_that_is_away_is_waited_for_in_the_triggerer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not await after_an_outage(GKEPodAsyncHook, monkeypatch, *[REFUSED, TimeoutError(), OVERLOADED] * 10)


@pytest.mark.usefixtures("google")
async def test_a_cluster_that_stays_away_or_says_no_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = kubernetes_asyncio.client.ApiException(status=403)
    with pytest.raises(kubernetes_asyncio.client.ApiException):
        await after_an_outage(GKEPodAsyncHook, monkeypatch, denied)
    monkeypatch.setattr(gcp_container_operator, "LONGEST_OUTAGE", -1)
    with pytest.raises(ClientConnectionError):
        await after_an_outage(GKEPodAsyncHook, monkeypatch, *[REFUSED] * 30)


@pytest.mark.usefixtures("google")
async def test_the_provider_still_gives_up_a_cluster_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClientConnectionError):
        await after_an_outage(GKEKubernetesAsyncHook, monkeypatch, *[REFUSED] * 30)


# A pod that is evicted

EVICTED = k8s.V1PodStatus(phase="Failed", reason="Evicted")


class StillWaiting(Exception):
    """The task would go on waiting."""


def still_waiting(_: float) -> None:
    """In place of a pause."""
    raise StillWaiting


def evicted_without_a_log(cls: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", still_waiting)
    run(make(cls, Cluster(status("Running"), EVICTED), get_logs=False))


def test_an_evicted_pod_whose_log_is_not_followed_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PodFailedError, match="Evicted: the pod is Failed") as raised:
        evicted_without_a_log(GKEPodOperator, monkeypatch)
    assert raised.value.__cause__ is None


def test_the_provider_still_waits_for_an_evicted_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowException) as raised:
        evicted_without_a_log(GKEStartPodOperator, monkeypatch)
    assert isinstance(raised.value.__context__, StillWaiting)


def evicted(cls: type[Any], monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster(status("Running"), EVICTED)

    operator = make(cls, cluster, do_xcom_push=True)
    monkeypatch.setattr(operator, "await_pod_completion", lambda pod: None)
    monkeypatch.setattr(time, "sleep", still_waiting)
    run(operator)
    return cluster


def test_an_evicted_pod_with_xcom_fails_at_once_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PodFailedError, match=r"(?s)Evicted: the pod is Failed.*Reason: Xcom sidecar"):
        evicted(GKEPodOperator, monkeypatch)


def test_the_provider_still_waits_for_the_sidecar_of_an_evicted_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AirflowException) as raised:
        evicted(GKEStartPodOperator, monkeypatch)
    assert isinstance(raised.value.__context__, StillWaiting)


# What passes


def put_off(cluster: Cluster, *, deferred: bool = False, killed: bool = False, **options: Any) -> BaseException:
    """How a task ends whose pod is evicted."""
    task = {"retries": 1, "retry_policy": FaultRetryPolicy(), "get_logs": True} | options
    operator = make(cluster=cluster, **task)
    now = context(operator)
    pod = operator.get_or_create_pod(operator.build_pod_request_obj(now), now)
    cluster.script = [EVICTED]
    operator._killed = killed
    with pytest.raises((AirflowException, AirflowRescheduleException)) as raised:
        if deferred:
            event = {"status": "failed", "name": pod.metadata.name, "namespace": "default", "message": "it failed"}
            operator.trigger_reentry(now, event)
        else:
            operator.execute(now)
    return raised.value


@pytest.mark.parametrize("deferred", [False, True])
def test_an_evicted_pod_puts_its_task_off(deferred: bool) -> None:
    cluster = Cluster()
    before = datetime.now(UTC)
    off = put_off(cluster, deferred=deferred)
    assert isinstance(off, AirflowRescheduleException)
    assert timedelta(minutes=1) <= off.reschedule_date - before < timedelta(minutes=2)
    assert isinstance(off.__cause__, PodFailedError)
    assert cluster.calls == ["create"], "the failed pod is kept"
    again = make(cluster=cluster)
    cluster.script = [status("Succeeded", exit_code=0)]
    now = context(again)
    now["task_reschedule_count"] = 1
    again.execute(now)
    assert cluster.calls == ["create", "create", "delete"]


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("task", [{"retries": 0}, {"retry_policy": None}, {"killed": True}], ids=str)
def test_a_program_that_may_not_run_twice_is_not_put_off(task: dict[str, Any], deferred: bool) -> None:
    assert isinstance(put_off(Cluster(), deferred=deferred, **task), PodFailedError)


def test_a_task_that_was_put_off_does_not_go_on_with_a_pod_that_is_being_deleted() -> None:
    cluster = Cluster()
    lost(cluster)
    cluster.delete_namespaced_pod(cluster.pod.metadata.name, "default")
    operator = make(cluster=cluster)
    now = context(operator)
    now["ti"].try_number, now["task_reschedule_count"] = 1, 1
    pod = operator.get_or_create_pod(operator.build_pod_request_obj(now), now)
    assert cluster.calls == ["create", "delete", "create"]
    assert pod.metadata.deletion_timestamp is None


# Fault 1: SIGTERM while the pod runs


def killed(cls: type[Any]) -> Cluster:
    cluster = Cluster(status("Running"))
    operator = make(cls, cluster)
    cluster.script.append(operator.on_kill)
    run(operator)
    return cluster


def test_a_killed_task_is_never_a_success() -> None:
    with pytest.raises(PodFailedError, match=r"was killed while it waited for pod some-task-.* was deleted\."):
        killed(GKEPodOperator)


def test_the_provider_still_ends_a_killed_task_as_success() -> None:
    assert killed(GKEStartPodOperator).calls == ["create", "delete"]


@pytest.mark.usefixtures("google")
def test_a_task_killed_before_it_defers_fails() -> None:
    operator = make(cluster=Cluster(), deferrable=True)
    operator.on_kill()
    with pytest.raises(PodFailedError, match="was killed"):
        run(operator)


@pytest.mark.usefixtures("google")
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_pod_that_is_to_outlive_a_kill_does_and_the_message_says_so(deferrable: bool) -> None:
    cluster = Cluster()
    operator = make(cluster=cluster, deferrable=deferrable, on_kill_action="keep_pod")
    cluster.script = [operator.on_kill, DONE]
    described = context(operator)
    if deferrable:
        described["ti"].xcom_push = lambda **_: operator.on_kill()
    with pytest.raises(PodFailedError, match=r"was killed .*The pod goes on \(on_kill_action\)"):
        operator.execute(described)
    assert cluster.calls == ["create"]


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
    assert str(error) == "Timeout, PID: 1\nLast lines of its log:\nfirst line\nlast line"
    assert cluster.calls == ["create", "delete"]


def test_the_provider_still_hides_the_timeout_and_orphans_the_pod() -> None:
    cluster, error = timed_out(GKEStartPodOperator, "delete_succeeded_pod")
    assert not isinstance(error, AirflowTaskTimeout)
    assert cluster.calls == ["create"]


def timed_out_at_its_creation(cls: type[Any], *, deferrable: bool) -> list[str]:
    cluster = Cluster()
    create = cluster.create_namespaced_pod

    def unanswered(**options: Any) -> None:
        create(**options)
        raise AirflowTaskTimeout("Timeout, PID: 1")

    cluster.create_namespaced_pod = unanswered
    with pytest.raises(AirflowTaskTimeout):
        run(make(cls, cluster, deferrable=deferrable, execution_timeout=timedelta(hours=1)))
    return cluster.calls


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_timeout_before_the_creation_was_answered_leaves_no_pod(deferrable: bool) -> None:
    assert timed_out_at_its_creation(GKEPodOperator, deferrable=deferrable) == ["create", "delete"]


def test_the_provider_still_leaves_a_pod_whose_creation_was_not_answered_in_time() -> None:
    assert timed_out_at_its_creation(GKEStartPodOperator, deferrable=True) == ["create"]


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


# A failed pod whose XCom sidecar is about to end

ENDING = status("Running", exit_code=3)


def failed_with_sidecar(cls: type[Any], cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The program has failed, XCom was read, the sidecar was told to end."""
    operator = make(cls, cluster, do_xcom_push=True)
    pod = operator.get_or_create_pod(operator.build_pod_request_obj(context(operator)), context(operator))
    cluster.pods[pod.metadata.name].status = ENDING
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(AirflowException, match="returned a failure"):
        operator.cleanup(pod, cluster.pod, context=context(operator))
    return cluster.calls


def test_a_failed_pod_is_kept_when_its_sidecar_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(ENDING, ENDING, ENDING, status("Failed", exit_code=3))
    assert failed_with_sidecar(GKEPodOperator, cluster, monkeypatch) == ["create"]
    assert cluster.pod.metadata.annotations[SAFE_TO_EVICT] == "true"


@pytest.mark.parametrize(
    ("policy", "exit_code", "calls"),
    [
        ("keep_pod", 0, ["create"]),
        ("keep_pod", 3, ["create"]),
        ("delete_succeeded_pod", 0, ["create", "delete"]),
        ("delete_pod", 3, ["create", "delete"]),
    ],
)
def test_the_sidecar_of_a_pod_that_is_to_be_kept_is_waited_for(
    policy: str, exit_code: int, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()
    operator = make(cluster=cluster, do_xcom_push=True, on_finish_action=policy)
    pod = operator.get_or_create_pod(operator.build_pod_request_obj(context(operator)), context(operator))
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    ended = status("Failed" if exit_code else "Succeeded", exit_code=exit_code)
    cluster.script = [status("Running", exit_code=exit_code), ended]
    operator.process_pod_deletion(pod)
    assert cluster.calls == calls
    assert bool(pauses) is (policy == "keep_pod")


def test_a_failed_pod_whose_sidecar_does_not_end_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed_with_sidecar(GKEPodOperator, Cluster(), monkeypatch) == ["create", "delete"]


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


def test_an_error_of_the_triggerer_is_told_without_its_traceback() -> None:
    operator = make(cluster=Cluster(), retry_policy=FaultRetryPolicy(), retries=1)
    now = context(operator)
    pod = operator.get_or_create_pod(operator.build_pod_request_obj(now), now)
    event = {"status": "error", "name": pod.metadata.name, "namespace": "default", "message": "(503)\nReason: away"}
    operator.hook.core_v1_client.script = [FAILED]
    with pytest.raises(AirflowRescheduleException) as off:
        operator.trigger_reentry(now, event | {"stack_trace": "Traceback (most recent call last):"})
    said = str(off.value.__cause__)
    assert "Reason: (503)" in said
    assert "Traceback" not in said


# XCom of a pod that did not succeed


def never_started(cls: type[Any]) -> BaseException:
    operator = make(cls, Cluster(), do_xcom_push=True)
    cluster = operator.hook.core_v1_client
    pod = operator.get_or_create_pod(operator.build_pod_request_obj(context(operator)), context(operator))
    cluster.pod.status = k8s.V1PodStatus(phase="Pending")
    event = {"status": "timeout", "name": pod.metadata.name, "namespace": "default", "message": "no node took it"}
    with pytest.raises(AirflowException) as raised:
        operator.trigger_reentry(context(operator), event)
    return raised.value


def test_a_pod_that_never_started_fails_for_that_and_not_for_its_xcom() -> None:
    assert "Reason: no node took it" in str(never_started(GKEPodOperator))


def test_the_provider_still_says_only_that_a_pod_that_never_started_has_no_xcom() -> None:
    error = never_started(GKEStartPodOperator)
    assert "no node took it" not in f"{error} {error.__context__}"
    assert "Not possible to read xcom" in str(error.__context__)


def test_xcom_of_a_pod_that_succeeded_is_not_lost_in_silence() -> None:
    operator = make(cluster=Cluster(), do_xcom_push=True)
    pod = operator.build_pod_request_obj(context(operator))
    operator.hook.core_v1_client.pods[pod.metadata.name] = pod
    pod.status = DONE
    operator._event = "error"
    with pytest.raises(AirflowException, match="Not possible to read xcom"):
        operator.extract_xcom(pod)


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


# Clients that nobody closes


@pytest.mark.parametrize(("cls", "left_open"), [(GKEPodAsyncHook, 0), (GKEKubernetesAsyncHook, 1)])
@pytest.mark.usefixtures("google")
async def test_watching_events_leaves_no_client_open(
    cls: type[Any], left_open: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = kubernetes_asyncio.client.CoreV1Event(
        metadata=kubernetes_asyncio.client.V1ObjectMeta(resource_version="7"), involved_object=object()
    )
    open_watches = []

    class Watch(kubernetes_asyncio.watch.Watch):
        def __init__(self) -> None:
            super().__init__()
            open_watches.append(self)

        async def stream(self, *_: Any, **__: Any) -> Any:
            yield {"object": event}

        async def close(self) -> None:
            open_watches.remove(self)
            await super().close()

    def answered(answer: Any) -> Any:
        return asyncio.sleep(0, answer)

    hook = cls(cluster_url="https://cluster.example", ssl_ca_cert=CA, gcp_conn_id="google_cloud_airflow_gke")
    pod = SimpleNamespace(status=SimpleNamespace(phase="Pending"))
    monkeypatch.setattr(kubernetes_asyncio.watch, "Watch", Watch)
    monkeypatch.setattr(hook, "get_token", lambda: answered(SimpleNamespace(get=lambda: answered("token"))))
    monkeypatch.setattr(hook, "get_pod", lambda **_: answered(pod))
    monkeypatch.setattr(hook, "get_pod_events", lambda *_: answered(SimpleNamespace(items=[event])))
    events = hook.watch_pod_events(name="pod", namespace="default", resource_version=None, timeout_seconds=0)
    assert await anext(events) is event
    await events.aclose()
    found = len(open_watches)
    for watch in list(open_watches):
        await watch.close()
    assert found == left_open


# Hundreds of triggers of one cluster


class Login:
    """A token of Google, as far as its users look at it: what ``get`` fetched is kept until it is taken away."""

    def __init__(self) -> None:
        self.access_token: str | None = None
        self.logins = 0
        self._fetching: asyncio.Task[None] | None = None

    async def _fetch(self) -> None:
        await asyncio.sleep(0)
        self.logins += 1
        self.access_token = f"token {self.logins}"

    async def get(self) -> str | None:
        if self.access_token is None:
            self._fetching = self._fetching or asyncio.ensure_future(self._fetch())
            await self._fetching
            self._fetching = None
        return self.access_token


def async_hook(cls: type[Any] = GKEPodAsyncHook, login: Login | None = None) -> Any:
    hook = cls(cluster_url="https://cluster.example", ssl_ca_cert=CA, gcp_conn_id="google_cloud_airflow_gke")
    hook.get_token = AsyncMock(return_value=login or Login())
    return hook


def answered(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Any]) -> None:
    """Answer every request of a client of the triggerer, by the header that carries the token."""

    async def call_api(self: Any, *_: Any, **__: Any) -> Any:
        return await answer(self.default_headers["Authorization"])

    monkeypatch.setattr(kubernetes_asyncio.client.ApiClient, "call_api", call_api)


async def clients_of_two(cls: type[Any]) -> list[Any]:
    """The clients of two requests of each of two hooks, which hold a client where they can."""
    clients = []
    async with contextlib.AsyncExitStack() as stack:
        for hook in (async_hook(cls), async_hook(cls)):
            if hasattr(hook, "hold_client"):
                await stack.enter_async_context(hook.hold_client())
            for _ in range(2):
                async with hook.get_conn() as client:
                    clients.append(client)
    return clients


@pytest.mark.usefixtures("google")
async def test_triggers_of_a_cluster_share_one_client_until_the_last_one_leaves() -> None:
    clients = await clients_of_two(GKEPodAsyncHook)
    assert len(set(clients)) == 1
    assert clients[0].rest_client.pool_manager.closed
    assert not gcp_container_operator._async_clients
    hook = async_hook()
    async with hook.hold_client(), hook.get_conn() as held:
        pass
    hook.get_token = AsyncMock(return_value=SimpleNamespace(get=AsyncMock(return_value="token")))
    async with hook.get_conn() as of_its_own:
        assert of_its_own is not held


@pytest.mark.usefixtures("google")
async def test_the_provider_still_makes_a_client_for_every_request() -> None:
    assert len(set(await clients_of_two(GKEKubernetesAsyncHook))) == 4


@pytest.mark.usefixtures("google")
async def test_a_trigger_waits_with_the_shared_client(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    async def run(_: Any) -> Any:
        held.extend(client.users for client in gcp_container_operator._async_clients.values())
        yield await asyncio.sleep(0, "event")

    monkeypatch.setattr(KubernetesPodTrigger, "run", run)
    arguments = deferred(make(cluster=Cluster(), deferrable=True)).trigger.serialize()[1] | {"ssl_ca_cert": CA}
    assert [event async for event in GKEPodTrigger(**arguments).run()] == ["event"]
    assert held == [1]
    assert not gcp_container_operator._async_clients


@pytest.mark.usefixtures("google")
async def test_pods_are_deleted_through_the_shared_client(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    async def on_kill(_: Any) -> None:
        await asyncio.sleep(0)
        held.extend(client.users for client in gcp_container_operator._async_clients.values())

    monkeypatch.setattr(KubernetesPodTrigger, "on_kill", on_kill)
    arguments = deferred(make(cluster=Cluster(), deferrable=True)).trigger.serialize()[1] | {"ssl_ca_cert": CA}
    await asyncio.gather(*(GKEPodTrigger(**arguments).on_kill() for _ in range(2)))
    assert held == [2, 1], "the second comes while the first has it, and stays when it has gone"
    assert not gcp_container_operator._async_clients


@pytest.mark.usefixtures("google")
async def test_one_login_serves_all_and_is_renewed_when_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"Bearer token 1"}
    sent: list[str] = []

    async def answer(token: str) -> None:
        sent.append(token)
        await asyncio.sleep(0)
        if token in refused:
            raise kubernetes_asyncio.client.ApiException(status=401)

    answered(monkeypatch, answer)
    login = Login()
    hook = async_hook(login=login)
    async with hook.hold_client(), hook.get_conn() as client:
        await asyncio.gather(*(client.call_api() for _ in range(5)))
        await client.call_api()
        assert login.logins == 2
        assert hook.get_token.await_count == 1
        assert sent[-1] == "Bearer token 2"
        refused.add("Bearer token 2")
        refused.add("Bearer token 3")
        with pytest.raises(kubernetes_asyncio.client.ApiException):
            await client.call_api()


@pytest.mark.usefixtures("google")
async def test_what_is_denied_in_the_triggerer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    async def answer(token: str) -> None:
        sent.append(await asyncio.sleep(0, token))
        raise kubernetes_asyncio.client.ApiException(status=403)

    answered(monkeypatch, answer)
    hook = async_hook()
    async with hook.hold_client(), hook.get_conn() as client:
        with pytest.raises(kubernetes_asyncio.client.ApiException):
            await client.call_api()
    assert sent == ["Bearer token 1"]


@pytest.mark.usefixtures("google")
async def test_not_more_requests_at_once_than_the_triggerer_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp_container_operator, "REQUESTS_AT_ONCE", 3)
    open_now, most = 0, 0

    async def answer(_: str) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0)
        open_now -= 1

    answered(monkeypatch, answer)
    hook = async_hook()
    async with hook.hold_client(), hook.get_conn() as client:
        await asyncio.gather(*(client.call_api() for _ in range(10)))
    assert most == 3


@pytest.mark.usefixtures("google")
async def test_a_trigger_that_is_cancelled_does_not_take_the_login_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(token: str) -> str:
        return await asyncio.sleep(0, token)

    answered(monkeypatch, answer)
    login = Login()
    go_on = asyncio.Event()

    async def fetch() -> None:
        await go_on.wait()
        login.access_token = "token"

    monkeypatch.setattr(login, "_fetch", fetch)
    hook = async_hook(login=login)
    async with hook.hold_client(), hook.get_conn() as client:
        first, second = (asyncio.ensure_future(client.call_api()) for _ in range(2))
        for _ in range(10):
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        go_on.set()
        assert await second == "Bearer token"
        assert first.cancelled()


@pytest.mark.parametrize(
    ("asked", "waited", "seconds"), [(2, 0, 2), (2, 40, 2), (2, 100, 5), (2, 86400, 10), (30, 86400, 30)]
)
@pytest.mark.usefixtures("google")
def test_a_pod_that_has_run_for_long_is_looked_at_less_often(
    asked: float, waited: float, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = deferred(make(cluster=Cluster(), deferrable=True, poll_interval=asked)).trigger.serialize()[1]
    trigger = GKEPodTrigger(**arguments)
    assert trigger.serialize()[1]["poll_interval"] == asked
    monkeypatch.setattr(time, "time", lambda: trigger.trigger_start_time.timestamp() + waited)
    intervals = [trigger.poll_interval for _ in range(50)]
    assert seconds * 0.9 <= min(intervals) < max(intervals) <= seconds * 1.1


async def watched(cls: type[Any], pod_phase: str) -> int:
    """How often a trigger that begins to wait watches the pod's events."""
    operator = make(cluster=Cluster(), deferrable=True, log_events_on_startup=True)
    arguments = deferred(operator).trigger.serialize()[1]
    if cls is GKEStartPodTrigger:
        for name in ("on_kill_action", "termination_grace_period", "startup_check_interval", "log_events_on_startup"):
            del arguments[name]
    trigger = cls(**arguments)
    pods = [status(pod_phase), status("Running"), status("Running")]
    monkey = AsyncMock(side_effect=lambda **_: V1Pod(metadata=k8s.V1ObjectMeta(name="name"), status=pods.pop(0)))
    trigger.__dict__["hook"] = SimpleNamespace(get_pod=monkey)
    watch = AsyncMock()

    async def start(**_: Any) -> None:
        await asyncio.sleep(0)  # the watch begins

    trigger.__dict__["pod_manager"] = SimpleNamespace(watch_pod_events=watch, await_pod_start=start)
    assert await trigger._wait_for_pod_start() == "running"
    return watch.call_count


@pytest.mark.usefixtures("google")
async def test_only_a_pod_that_has_not_started_has_a_start_to_watch() -> None:
    assert await watched(GKEPodTrigger, "Running") == 0
    assert await watched(GKEPodTrigger, "Pending") == 1


@pytest.mark.usefixtures("google")
async def test_the_provider_still_watches_the_start_of_a_pod_that_runs() -> None:
    assert await watched(GKEStartPodTrigger, "Running") == 1


# A token that is refused, a command that is refused


class Credentials:
    """Google's, as far as the provider looks at them."""

    token: str | None = "old"
    expired = False

    def refresh(self, _: Any) -> None:
        self.token = "new"


def read_with(cls: type[Any], monkeypatch: pytest.MonkeyPatch, *answers: Any) -> list[str]:
    """Read a pod; each request gets the next answer. Returns the tokens that were sent."""
    tokens: list[str] = []
    left = list(answers)

    def request(_: Any, *__: Any, headers: dict[str, str], **___: Any) -> Any:
        tokens.append(headers["authorization"])
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    hook = cls(cluster_url="https://cluster.example", ssl_ca_cert="Y2E=", gcp_conn_id="google_cloud_airflow_gke")
    credentials = Credentials()
    monkeypatch.setattr(hook, "get_credentials", lambda: credentials)
    monkeypatch.setattr(kubernetes.client.rest.RESTClientObject, "request", request)
    kubernetes.client.CoreV1Api(hook.get_conn()).read_namespaced_pod("name", "default", _preload_content=False)
    return tokens


def refusal() -> ApiException:
    error = ApiException(status=401, reason="Unauthorized")
    error.body = b""
    return error


@pytest.mark.usefixtures("google")
def test_a_refused_token_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_with(GKEPodHook, monkeypatch, refusal(), "pod") == ["Bearer old", "Bearer new"]
    with pytest.raises(ApiException, match="Unauthorized"):
        read_with(GKEPodHook, monkeypatch, refusal(), refusal())


@pytest.mark.usefixtures("google")
def test_the_provider_still_gives_up_on_a_refused_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApiException, match="Unauthorized"):
        read_with(GKEKubernetesHook, monkeypatch, refusal(), "pod")


def command(cls: type[Any], client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command in a pod, with ``client`` in the place of the websocket client."""
    hook = cls(cluster_url="https://cluster.example", ssl_ca_cert="Y2E=", gcp_conn_id="google_cloud_airflow_gke")
    monkeypatch.setattr(hook, "get_credentials", lambda: CREDENTIALS)
    monkeypatch.setattr(kubernetes.stream.ws_client, "WSClient", client)
    api = kubernetes.client.CoreV1Api(hook.get_conn())
    exec_ = api.connect_get_namespaced_pod_exec
    return kubernetes.stream.stream(exec_, "name", "default", command=["sh"], _preload_content=False)


def refused(reason: str) -> Callable[..., Any]:
    def client(*_: Any, **__: Any) -> Any:
        raise OSError(reason)

    return client


@pytest.mark.parametrize(
    ("reason", "status_code"), [("Handshake status 429 Too Many Requests -+-+- {}", 429), ("Connection refused", 503)]
)
@pytest.mark.usefixtures("google")
def test_a_refused_command_has_a_status(reason: str, status_code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApiException) as raised:
        command(GKEPodHook, refused(reason), monkeypatch)
    assert raised.value.status == status_code


@pytest.mark.usefixtures("google")
def test_the_client_still_stumbles_over_a_refused_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AttributeError, match="decode"):
        command(GKEKubernetesHook, refused("Handshake status 429"), monkeypatch)


class Command(WSClient):
    """One that never ends, as far as it is looked at."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._connected = True
        self.looks: list[float | None] = []

    def update(self, timeout: float | None = 0) -> None:
        self.looks.append(timeout)
        if timeout is None or len(self.looks) > 3:
            raise StillWaiting


@pytest.mark.usefixtures("google")
def test_a_command_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    running = command(GKEPodHook, Command, monkeypatch)
    with pytest.raises(StillWaiting):
        running.run_forever()
    assert running.looks == [60, 60, 60, 60]
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    for wait in (running.is_open, running.run_forever):
        with pytest.raises(ApiException) as raised:
            wait()
        assert raised.value.status == 504
    ended = command(GKEPodHook, Command, monkeypatch)
    ended._connected = False
    ended.run_forever()


@pytest.mark.usefixtures("google")
def test_the_client_still_waits_for_a_command_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    running = command(GKEKubernetesHook, Command, monkeypatch)
    with pytest.raises(StillWaiting):
        running.run_forever()
    assert running.looks == [None]


@pytest.mark.usefixtures("google")
def test_a_handshake_that_is_not_answered_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp_container_operator, "API_TIMEOUT", 0.01)
    answer = threading.Event()
    try:
        with pytest.raises(ApiException) as raised:
            command(GKEPodHook, lambda *_, **__: answer.wait(20), monkeypatch)
    finally:
        answer.set()
    assert raised.value.status == 504


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
    monkeypatch.setattr(gcp_container_operator, "_clusters", {})

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


# Mutations: without the override, the test of what it corrects fails

Patch = pytest.MonkeyPatch
OVERRIDES: list[tuple[type[Any], str, Callable[[Patch], object]]] = [
    (GKEPodOperator, "cluster_info", lambda patch: test_the_cluster_is_looked_up_once_a_process(patch, None)),
    (GKEPodOperator, "hook", lambda patch: test_a_kubernetes_connection_sends_it_to_any_cluster(patch)),
    (GKEPodOperator, "pod_manager", lambda patch: test_a_pod_whose_creation_was_not_answered_is_not_lost(patch)),
    (GKEPodOperator, "invoke_defer_method", lambda patch: test_a_kubernetes_connection_sends_it_to_any_cluster(patch)),
    (GKEPodOperator, "defer", lambda _: test_it_defers_with_every_option()),
    (GKEPodOperator, "build_pod_request_obj", lambda _: test_a_pod_may_do_only_what_it_needs()),
    (
        GKEPodOperator,
        "_get_ti_pod_labels",
        lambda _: test_names_and_labels_are_valid_whatever_the_ids("日本語"),
    ),
    (
        GKEPodOperator,
        "get_or_create_pod",
        lambda _: test_a_pod_that_is_being_deleted_is_not_gone_on_with(),
    ),
    (
        GKEPodOperator,
        "get_or_create_pod",
        lambda _: test_a_pod_that_succeeded_for_a_lost_try_is_replaced_by_one(),
    ),
    (
        GKEPodOperator,
        "get_or_create_pod",
        lambda _: test_a_further_try_that_is_to_begin_anew_ends_the_pod_of_the_lost_one(),
    ),
    (GKEPodOperator, "execute", lambda patch: test_xcom_of_a_lost_try_that_has_ended_on_any_cluster(patch)),
    (GKEPodOperator, "partial", lambda _: test_pods_of_a_mapped_task_have_a_size_by_name()),
    (GKEPodOperator, "trigger_reentry", lambda _: test_after_a_timeout_the_log_is_read_and_not_followed()),
    (GKEPodOperator, "execute", lambda _: test_an_evicted_pod_puts_its_task_off(deferred=False)),
    (GKEPodOperator, "trigger_reentry", lambda _: test_an_evicted_pod_puts_its_task_off(deferred=True)),
    (GKEPodOperator, "_write_logs", lambda _: test_after_a_timeout_the_log_is_read_and_not_followed()),
    (
        GKEPodOperator,
        "extract_xcom",
        lambda _: test_a_pod_that_never_started_fails_for_that_and_not_for_its_xcom(),
    ),
    (
        GKEPodOperator,
        "on_kill",
        lambda _: test_a_timeout_before_the_creation_was_answered_leaves_no_pod(deferrable=True),
    ),
    (GKEPodOperator, "cleanup", lambda _: test_a_killed_task_is_never_a_success()),
    (GKEPodOperator, "process_pod_deletion", lambda _: test_a_pod_that_is_gone_counts_as_deleted()),
    (GKEPodOperator, "execute_async", lambda _: test_a_task_that_fails_before_it_defers_leaves_no_pod()),
    (GKEPodOperator, "await_pod_completion", lambda _: test_a_pod_that_is_gone_after_it_succeeded_is_a_success()),
    (GKEPodManager, "read_pod", lambda _: test_a_pod_that_is_gone_after_it_succeeded_is_a_success()),
    (
        GKEPodAsyncHook,
        "get_pod",
        lambda patch: asyncio.run(test_a_pod_that_is_gone_after_it_succeeded_in_the_triggerer(GKEPodAsyncHook, patch)),
    ),
    (
        GKEPodAsyncHook,
        "get_pod",
        lambda patch: asyncio.run(test_a_cluster_that_is_away_is_waited_for_in_the_triggerer(patch)),
    ),
    (GKEPodManager, "run_pod_async", lambda patch: test_a_pod_whose_creation_was_not_answered_is_not_lost(patch)),
    (
        GKEPodManager,
        "container_is_terminated",
        lambda patch: test_an_evicted_pod_with_xcom_fails_at_once_and_says_so(patch),
    ),
    (
        GKEPodManager,
        "await_container_completion",
        lambda patch: test_an_evicted_pod_whose_log_is_not_followed_fails_at_once(patch),
    ),
    (GKEPodClient, "call_api", lambda patch: test_a_refused_token_is_renewed(patch)),
    (GKEPodHook, "get_conn", lambda patch: test_request_timeout(GKEPodHook, 60, patch)),
    (
        GKEPodAsyncHook,
        "_load_config",
        lambda patch: asyncio.run(test_request_timeout_in_the_triggerer(GKEPodAsyncHook, 60, patch)),
    ),
    (
        GKEPodAsyncHook,
        "watch_pod_events",
        lambda patch: asyncio.run(test_watching_events_leaves_no_client_open(GKEPodAsyncHook, 0, patch)),
    ),
    (
        GKEPodAsyncHook,
        "get_conn",
        lambda _: asyncio.run(test_triggers_of_a_cluster_share_one_client_until_the_last_one_leaves()),
    ),
    (
        GKEPodAsyncClient,
        "call_api",
        lambda patch: asyncio.run(test_one_login_serves_all_and_is_renewed_when_it_is_refused(patch)),
    ),
    (GKEPodTrigger, "run", lambda patch: asyncio.run(test_a_trigger_waits_with_the_shared_client(patch))),
    (GKEPodTrigger, "on_kill", lambda patch: asyncio.run(test_pods_are_deleted_through_the_shared_client(patch))),
    (
        GKEPodTrigger,
        "_wait_for_pod_start",
        lambda _: asyncio.run(test_only_a_pod_that_has_not_started_has_a_start_to_watch()),
    ),
    (
        GKEPodTrigger,
        "poll_interval",
        lambda patch: test_a_pod_that_has_run_for_long_is_looked_at_less_often(2, 100, 5, patch),
    ),
    (GKEPodTrigger, "serialize", lambda _: test_it_defers_with_every_option()),
    (GKEPodTrigger, "hook", lambda _: test_it_defers_with_every_option()),
]


@pytest.mark.usefixtures("google")
@pytest.mark.parametrize(("cls", "name", "check"), OVERRIDES, ids=lambda value: getattr(value, "__name__", value))
def test_every_override_is_needed(cls: type[Any], name: str, check: Callable[[Patch], object]) -> None:
    with Patch.context() as patch:
        patch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_AIRFLOW_GKE", '{"conn_type": "google_cloud_platform"}')
        check(patch)
    with Patch.context() as patch:
        patch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_AIRFLOW_GKE", '{"conn_type": "google_cloud_platform"}')
        patch.delattr(cls, name)
        with pytest.raises((Exception, pytest.fail.Exception)):
            check(patch)


def test_no_override_is_without_such_a_check() -> None:
    checked = {(cls, name) for cls, name, _ in OVERRIDES}
    for cls in {cls for cls, _, _ in OVERRIDES}:
        provided = {name for base in cls.__mro__[1:] for name in vars(base)}
        # Neither special names nor what serialization caches on the class under a private name of its own.
        overrides = {name for name in vars(cls) if name in provided and "__" not in name}
        attributes = {"template_fields", "enable_tcp_keepalive", "_abc_impl", "_is_protocol"}
        assert {(cls, name) for name in overrides - attributes} <= checked
