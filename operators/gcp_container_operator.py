"""Run a container as a pod of the GKE cluster, and wait for it.

``GKEPodOperator`` is Google's ``GKEStartPodOperator`` with the platform's defaults. Its overrides correct faults that
were reproduced with apache-airflow-providers-google 22.8.0 and cncf-kubernetes 10.25.0; each one names the upstream
issue and has a test that fails on the provider's own class.

Known limits of the provider, not corrected here: ``init_container_logs`` does nothing when deferrable
(apache/airflow#72504), and of the callbacks ``on_pod_starting``, ``progress_callback`` and ``on_operator_resuming``
don't run when deferrable. A log that is silent for five minutes is asked for again only then, so a connection that
died without a word holds a task that follows its log for so long. A task in a worker fails when its cluster is away for
a minute; its next try goes on with the pod. Where Airflow calls neither ``on_kill`` nor a next try, :mod:`wtmo.orphans`
ends the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sys
import threading
import time
from concurrent.futures import Future
from functools import cached_property, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from aiohttp import ClientConnectionError
from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.kube_client import _TimeoutAsyncK8sApiClient, _TimeoutK8sApiClient
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import (
    API_TIMEOUT,
    KubernetesApiException,
    generic_api_retry,
)
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.container import (
    container_is_succeeded,
    container_is_terminated,
    get_container_termination_message,
)
from airflow.providers.cncf.kubernetes.utils.pod_manager import OnFinishAction, OnKillAction, PodManager, PodPhase
from airflow.providers.google.cloud.hooks.kubernetes_engine import GKEKubernetesAsyncHook, GKEKubernetesHook
from airflow.providers.google.cloud.operators.kubernetes_engine import GKEStartPodOperator
from airflow.providers.google.cloud.triggers.kubernetes_engine import GKEStartPodTrigger
from airflow.sdk import DAG, BaseHook, XComArg
from airflow.sdk.exceptions import AirflowException, AirflowSkipException, AirflowTaskTimeout
from kubernetes.client import (
    ApiException,
    V1Capabilities,
    V1EnvVar,
    V1Pod,
    V1PodSecurityContext,
    V1ResourceRequirements,
    V1SeccompProfile,
    V1SecurityContext,
)
from kubernetes.stream.ws_client import WSClient
from kubernetes_asyncio.client import ApiException as AsyncApiException
from urllib3.exceptions import HTTPError

from utils.config import CONNECTIONS, GKE
from utils.labels import label_value
from utils.pod_sizes import pod_size
from utils.retries import times_put_off, waiting_out
from utils.tags import impact_tier

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial
    from airflow.triggers.base import BaseTrigger, TriggerEvent
    from kubernetes.client import V1ContainerStatus
    from kubernetes_asyncio.client import CoreV1Event
    from pendulum import DateTime

    Words = Sequence[str] | XComArg | Callable[..., list[str]]

SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_ACTIVE = {"Pending", "Running", "Unknown"}
_TAIL_LINES, _TAIL_CHARACTERS = 20, 4000
_SIDECAR_SECONDS = 10
_HANDSHAKE = re.compile(r"Handshake status (\d{3})")
_ANNOTATIONS = "workflow.telemetry.mozilla.org"

REQUESTS_AT_ONCE = 50
"""Requests of one triggerer to one cluster that may be open at once. An answer takes a millisecond or two to read: so many
that come together stay below the 0.2 s after which Airflow reports the triggerer as blocked."""
LONGEST_POLL = 10.0
"""Seconds between two looks at a pod that runs for long."""
LONGEST_OUTAGE = 600.0
"""Seconds for which a cluster may be away before the tasks fail that wait in the triggerer for its pods."""
OWNER = f"{_ANNOTATIONS}/task-instance"
"""Annotation of a pod: the id of the task instance, one try, that waits for it. A pod without it outlives its task."""

_clusters: dict[tuple[Any, ...], tuple[str, str]] = {}
"""Address and CA of each cluster that this process has looked up."""

_SECURITY_OPTIONS = {"security_context", "container_security_context", "automount_service_account_token"}
_FOLLOWED_LOG = ("container_logs", "log_formatter")
"""Options of a log that the task follows; the log of a deferred task is read at its end, that of the program alone."""
_VARIABLES = {
    "dag": "AIRFLOW_CTX_DAG_ID",
    "task": "AIRFLOW_CTX_TASK_ID",
    "run": "AIRFLOW_CTX_DAG_RUN_ID",
    "try": "AIRFLOW_CTX_TRY_NUMBER",
    "owner": "AIRFLOW_CTX_DAG_OWNER",
    "tier": "AIRFLOW_CTX_DAG_TIER",
}


class PodFailedError(AirflowException):
    """The pod of a task did not succeed. The message says why, with the end of the pod's log."""


class GKEPodClient(_TimeoutK8sApiClient):
    """A Kubernetes API client whose every request ends, and whose token is renewed when it is refused.

    The provider renews a token by the clock, and after a 401 in one of its calls, the one that follows the log; in any
    other a 401 fails the task (apache/airflow#31648, #69023 in part; cncf-kubernetes 10.25.0).

    A command in a pod (exec, by which XCom is read) that is refused at its handshake is reported with its HTTP status,
    so that the provider tries again where that makes sense: the client stumbles over the answer's missing body and
    raises an AttributeError, which fails the task. And the client waits for ever for a handshake or an end of the command
    that doesn't come, whatever timeout it is given (kubernetes client 36.0): here each gets a minute.

    :param credentials: Google's, to which the configuration's token belongs.
    """

    def __init__(self, configuration: Any, credentials: Any) -> None:
        super().__init__(configuration=configuration)
        self._credentials = credentials

    def call_api(self, *args: Any, **kwargs: Any) -> Any:
        """Make a request, once more with a new token if it is answered 401."""
        try:
            return self._call(*args, **kwargs)
        except ApiException as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
        self._credentials.token = None  # the configuration fetches one before the next request
        return self._call(*args, **kwargs)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        call = partial(super().call_api, *args, **kwargs)
        if not isinstance(vars(self).get("request"), partial):
            return call()
        # A command: kubernetes.stream has put another function in the place of the method.
        try:
            command = _within(API_TIMEOUT, call)
        except AttributeError as error:
            refused = error.__context__
            if not isinstance(refused, ApiException):
                raise
            status = _HANDSHAKE.search(refused.reason or "")
            refused.status = int(status[1]) if status else HTTPStatus.SERVICE_UNAVAILABLE
            raise refused from None
        return _limit(command, API_TIMEOUT) if isinstance(command, WSClient) else command


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """What a call returns or raises; a call that takes longer is left alone."""
    answer: Future[Any] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # for whoever waits
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise _timed_out(seconds) from None


def _limit(command: WSClient, seconds: float) -> WSClient:
    """Have whoever waits for the end of a command wait for so long at most."""
    end = time.monotonic() + seconds
    is_open, update = command.is_open, command.update

    def is_open_in_time() -> bool:
        if is_open() and time.monotonic() > end:
            raise _timed_out(seconds)
        return bool(is_open())

    command.is_open = is_open_in_time
    command.update = lambda timeout=0: update(seconds if timeout is None else timeout)
    return command


def _timed_out(seconds: float) -> ApiException:
    return ApiException(HTTPStatus.GATEWAY_TIMEOUT, f"the cluster did not answer a command within {seconds:g} s")


class GKEPodHook(GKEKubernetesHook):
    """GKE's Kubernetes hook, with the request timeout that the cncf provider's clients have.

    Without it a silent API server hangs the task for ever (apache/airflow#36802; PR #60254 corrected the cncf
    provider only; google 22.8.0).
    """

    def get_conn(self) -> GKEPodClient:
        """A client of the cluster."""
        return GKEPodClient(super().get_conn().configuration, self.get_credentials())


class GKEPodAsyncClient(_TimeoutAsyncK8sApiClient):
    """The client that all triggers of a cluster share: one pool of connections, one token, so many requests at once.

    The provider makes a client for each request, with a TLS handshake and a login at Google's token service of its own:
    500 waiting pods are 250 logins a second, and the triggerer does nothing else (no upstream issue found; google 22.8.0).

    :param get_token: gives the token that is renewed in time; called once.
    """

    def __init__(self, configuration: Any, get_token: Callable[[], Awaitable[Any]]) -> None:
        configuration.connection_pool_maxsize = 0  # no limit: a log that is read holds its connection beyond its turn
        super().__init__(configuration=configuration)
        self.users = 0
        self._get_token = get_token
        self._token: Any = None
        self._login = asyncio.Lock()
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def call_api(self, *args: Any, **kwargs: Any) -> Any:
        """Make a request when its turn comes, once more with a new token if it is answered 401."""
        async with self._turns:
            sent = await self._authorize()
            try:
                return await super().call_api(*args, **kwargs)
            except AsyncApiException as error:
                if error.status != HTTPStatus.UNAUTHORIZED:
                    raise
            if self._token.access_token == sent:  # else another request has seen to it
                self._token.access_token = None
            await self._authorize()
            return await super().call_api(*args, **kwargs)

    async def _authorize(self) -> str:
        """Put the token into the headers; returns it."""
        async with self._login:
            self._token = self._token or await self._get_token()
        # Shielded: a trigger that is cancelled while it waits would cancel the login, and with it all that wait for it.
        token = str(await asyncio.shield(self._token.get()))
        self.set_default_header("Authorization", f"Bearer {token}")
        return token


_async_clients: dict[tuple[Any, ...], GKEPodAsyncClient] = {}
"""The clients that triggers hold, by event loop and cluster."""


class GKEPodAsyncHook(GKEKubernetesAsyncHook):
    """The same correction as :class:`GKEPodHook`, for the triggerer."""

    _succeeded: V1Pod | None = None
    _held: GKEPodAsyncClient | None = None

    @contextlib.asynccontextmanager
    async def hold_client(self) -> AsyncGenerator[None, None]:
        """Within the block all requests go through the client that every hook of the cluster shares."""
        login = (self._hook_kwargs["gcp_conn_id"], str(self._hook_kwargs["impersonation_chain"]))
        key = (asyncio.get_running_loop(), self._cluster_url, self._ssl_ca_cert, self.use_dns_endpoint, *login)
        if key not in _async_clients:
            _async_clients[key] = GKEPodAsyncClient(self._get_config(), self.get_token)
        client = self._held = _async_clients[key]
        client.users += 1
        try:
            yield
        finally:
            self._held = None
            client.users -= 1
            if not client.users:
                del _async_clients[key]
                await client.close()

    @contextlib.asynccontextmanager
    async def get_conn(self) -> AsyncGenerator[Any, None]:
        """The client of :meth:`hold_client`, or one for this request."""
        if self._held is not None:
            yield self._held
            return
        async with super().get_conn() as client:
            yield client

    async def get_pod(self, name: str, namespace: str) -> V1Pod:
        """The same as :meth:`GKEPodManager.read_pod`, for the triggerer; and a cluster that is away is waited for.

        The provider gives up within a minute: all tasks that wait fail, while their pods run on (no upstream issue found;
        cncf-kubernetes 10.25.0).
        """
        try:
            pod = await self._get_pod_when_back(name, namespace)
        except AsyncApiException as error:
            gone = self._succeeded
            if error.status != HTTPStatus.NOT_FOUND or gone is None or gone.metadata.name != name:
                raise
            return gone
        if pod.status.phase == PodPhase.SUCCEEDED:
            self._succeeded = pod
        return pod

    async def _get_pod_when_back(self, name: str, namespace: str) -> V1Pod:
        until = time.monotonic() + LONGEST_OUTAGE
        while True:
            try:
                return await super().get_pod(name, namespace)
            except (ClientConnectionError, TimeoutError, AsyncApiException) as error:
                code = getattr(error, "status", None) or HTTPStatus.SERVICE_UNAVAILABLE
                is_away = code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR
                if not is_away or time.monotonic() > until:
                    raise
                self.log.warning("The cluster of pod %s is away: %s: %s", name, type(error).__name__, error)
            await asyncio.sleep(random.uniform(10, 20))

    def watch_pod_events(
        self, name: str, namespace: str, resource_version: str | None = None, timeout_seconds: int = 30
    ) -> AsyncGenerator[CoreV1Event, None]:
        """The pod's events as they are now, once in ``timeout_seconds``: one request in place of a look and a watch.

        The provider's watch makes a client for each, and closes none: "Unclosed client session" in the task's log (no
        upstream issue found; cncf-kubernetes 10.25.0, kubernetes_asyncio 36).
        """
        return self.watch_pod_events_polling_fallback(name, namespace, resource_version, timeout_seconds)

    async def _load_config(self) -> Any:
        configuration = self._get_config()
        token = await (await self.get_token()).get()
        # No await from here on: a cancelled caller would leave the client's session open.
        client = _TimeoutAsyncK8sApiClient(configuration=configuration)
        client.set_default_header("Authorization", f"Bearer {token}")
        return client


class GKEPodManager(PodManager):
    """The provider's, but for what its methods say."""

    _succeeded: V1Pod | None = None

    def read_pod(self, pod: V1Pod) -> V1Pod:
        """The pod as it is; if it is gone, as it was when it was seen to have succeeded.

        A cluster may remove an ended pod at any time. The provider fails the task over it, unless it was gone between
        the triggerer and the worker (no upstream issue found; cncf-kubernetes 10.25.0).
        """
        try:
            current = super().read_pod(pod)
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND or not self.has_succeeded(pod):
                raise
            self.log.info("Pod %s is gone; it had succeeded", pod.metadata.name)
            return self._succeeded
        if current.status.phase == PodPhase.SUCCEEDED:
            self._succeeded = current
        return current

    def has_succeeded(self, pod: V1Pod) -> bool:
        """Whether the pod was seen to have succeeded."""
        return self._succeeded is not None and self._succeeded.metadata.name == pod.metadata.name

    def run_pod_async(self, pod: V1Pod, **kwargs: Any) -> V1Pod:
        """Create the pod, or take the one that an earlier request made.

        When the answer to a creation is lost, the provider asks again, is told that there is such a pod (409), fails
        the task, and leaves the pod running (no upstream issue found; cncf-kubernetes 10.25.0).
        """
        try:
            return super().run_pod_async(pod, **kwargs)
        except ApiException as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            made = self.read_pod(pod)
            if not pod.metadata.labels.items() <= made.metadata.labels.items():
                raise
            self.log.info("Pod %s was made by a request whose answer was lost", pod.metadata.name)
            return made

    def container_is_terminated(self, pod: V1Pod, container_name: str) -> bool:
        """Whether the container has ended, or the whole pod.

        A pod that was evicted says nothing of its containers any more: the provider waits 15 minutes for the start
        of its XCom sidecar (no upstream issue found; cncf-kubernetes 10.25.0).
        """
        current = self.read_pod(pod)
        return current.status.phase in PodPhase.terminal_states or container_is_terminated(current, container_name)

    def await_container_completion(self, pod: V1Pod, container_name: str, polling_time: float = 1) -> None:
        """Wait until the container has ended, or the whole pod.

        After the eviction of a pod whose log is not followed the provider waits for ever (no upstream issue found;
        cncf-kubernetes 10.25.0).
        """
        while not self.container_is_terminated(pod, container_name):
            self.log.info("Waiting for container %s to end", container_name)
            time.sleep(polling_time)


class GKEPodTrigger(GKEStartPodTrigger):
    """Waits in the triggerer for a pod of the GKE cluster; keeps every option over a restart of the triggerer.

    The provider's trigger neither gets nor serializes ``on_kill_action``, ``termination_grace_period``,
    ``startup_check_interval`` and ``log_events_on_startup`` (apache/airflow#66352 in part; google 22.8.0).

    Hundreds of them share one client (:class:`GKEPodAsyncClient`) and look the less often the longer they wait.
    """

    _KEPT = ("on_kill_action", "termination_grace_period", "startup_check_interval", "log_events_on_startup")
    _least_interval: float

    @property
    def poll_interval(self) -> float:
        """Seconds until the next look: a twentieth of the time that it has waited, at least the interval that the task
        asks for and at most 10, give or take a tenth of it, so that pods that began together are not asked for together.
        """
        waited = time.time() - self.trigger_start_time.timestamp()
        longest = max(LONGEST_POLL, self._least_interval)
        return min(max(self._least_interval, waited / 20), longest) * random.uniform(0.9, 1.1)

    @poll_interval.setter
    def poll_interval(self, seconds: float) -> None:
        self._least_interval = seconds

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the pod, with the client that all triggers of the cluster share."""
        async with self.hook.hold_client():
            async for event in super().run():
                yield event

    async def on_kill(self) -> None:
        """Delete the pod, with the client that all triggers of the cluster share.

        Airflow gives it 30 s. When a run of many tasks is ended, a login for each of them takes longer, and pods stay.
        """
        async with self.hook.hold_client():
            await super().on_kill()

    async def _wait_for_pod_start(self) -> Any:
        # After a restart of the triggerer all pods have long started: there is no start to watch.
        pod = await self._get_pod()
        if pod.status.phase == PodPhase.PENDING:
            return await super()._wait_for_pod_start()
        return self.define_pod_container_state(pod)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, all of them."""
        _, arguments = super().serialize()
        kept = {name: getattr(self, name) for name in self._KEPT}
        kept["on_kill_action"] = self.on_kill_action.value
        path = f"{GKEPodTrigger.__module__}.{GKEPodTrigger.__name__}"
        kept |= {"use_dns_endpoint": self.use_dns_endpoint, "poll_interval": self._least_interval}
        return path, {**arguments, **kept}

    @cached_property
    def hook(self) -> GKEPodAsyncHook:
        """The client of the cluster."""
        return GKEPodAsyncHook(
            cluster_url=self._cluster_url,
            ssl_ca_cert=self._ssl_ca_cert,
            use_dns_endpoint=self.use_dns_endpoint,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            enable_tcp_keepalive=True,
        )


class GKEPodOperator(GKEStartPodOperator):
    """Run one container as a pod, wait for its end without holding a worker slot, and show its log.

    A pod that succeeded is deleted; one that failed is kept for debugging; one that is still active when its task
    ends, for whatever reason, is deleted. If the worker or the triggerer is lost while the pod runs, the next try
    goes on with the same pod. What passes, such as an eviction or a registry that does not answer, puts the task off and
    makes a new pod in the same try, up to five times; not where the task has no retries, as its program would run twice
    (:func:`utils.retries.waiting_out`).

    The program finds out what runs it in the environment variables ``AIRFLOW_CTX_DAG_ID``, ``AIRFLOW_CTX_TASK_ID``,
    ``AIRFLOW_CTX_DAG_RUN_ID``, ``AIRFLOW_CTX_TRY_NUMBER``, ``AIRFLOW_CTX_DAG_OWNER`` and, where the DAG has an impact
    tag, ``AIRFLOW_CTX_DAG_TIER`` (``tier_1``). The pod carries the same as labels ``airflow-dag``, ``airflow-task``,
    ``airflow-run``, ``airflow-try``, ``airflow-owner``, ``airflow-tier``, as :func:`utils.labels.label_value` writes
    them, and in full as annotations ``workflow.telemetry.mozilla.org/dag`` and so on. The provider's own labels, by
    which it finds its pod, stay beside them.

    No container can gain privileges or has capabilities, system calls are filtered (RuntimeDefault) and no
    Kubernetes token is mounted. Programs reach Google Cloud all the same: that goes through the metadata server.

    If the connection ``gcp_conn_id`` is of type ``kubernetes`` instead of ``google_cloud_platform``, the pod goes to
    the cluster of that connection; project, location and cluster name then say nothing.

    :param image: what the pod pulls, ``repository:tag``; see :func:`utils.images.image`. (templated)
    :param arguments: arguments of the image's entrypoint, each one a string of its own; or what makes such a list when the
        task runs: the output of a task, or a function of ``context`` and ``jinja_env``. Default: the image's. (templated)
    :param cmds: replaces the image's entrypoint, in the same forms. Default: the image's. (templated)
    :param env_vars: environment of the container, as a mapping or as ``V1EnvVar``. (templated)
    :param secrets: Kubernetes secrets; see :func:`utils.secrets.pod_secrets`.
    :param resources: the pod's size by name; see :mod:`utils.pod_sizes`. Default: the cluster's own.
    :param container_resources: requests and limits in full, instead of ``resources``. (templated)
    :param security: ``default``, as above; ``relaxed`` leaves everything to the image, the cluster and the parameters
        ``security_context``, ``container_security_context``, ``automount_service_account_token``, for a program that
        needs more.
    :param deferrable: wait in the triggerer, not in a worker slot. Default: True.
    :param startup_timeout_seconds: seconds until the container must run. Default: 240.
    :param image_pull_policy: ``Always``, ``IfNotPresent`` or ``Never``. Default: ``Always``.
    :param do_xcom_push: return what the program wrote to ``/airflow/xcom/return.json``. Default: False.
    :param on_finish_action: what happens to a pod that ended: ``delete_succeeded_pod`` (default), ``delete_pod``,
        ``keep_pod``, ``delete_active_pod``.
    :param termination_message_policy: where the message of a failed container comes from. Default:
        ``FallbackToLogsOnError``, the end of its log if it left no message.
    :param log_pod_spec_on_failure: put the whole pod into the failure message. Default: False.
    :param durable: a further try goes on with the pod that still runs. Default: True.
    :param reattach_on_restart: the Airflow 2 name of ``durable``.
    :param gcp_conn_id: Airflow connection to the cluster. Default: that of the pod cluster. (templated)
    :param project_id: Google Cloud project of the cluster. (templated)
    :param location: region of the cluster. (templated)
    :param cluster_name: name of the cluster. (templated)
    :param namespace: Kubernetes namespace of the pod. (templated)
    :param kwargs: every other parameter of ``GKEStartPodOperator`` and of ``BaseOperator``.
    :raises TypeError: parameters that exclude each other, or that nothing answers to any more.
    :raises ValueError: an unknown size.
    """

    # A tuple made of a set upstream: its order would differ from one process to the next.
    template_fields: Sequence[str] = tuple(sorted(GKEStartPodOperator.template_fields))

    enable_tcp_keepalive = True

    def __init__(
        self,
        *,
        image: str,
        arguments: Words | None = None,
        cmds: Words | None = None,
        env_vars: dict[str, str] | list[Any] | None = None,
        secrets: Sequence[Any] | None = None,
        resources: str | None = None,
        container_resources: Any = None,
        security: Literal["default", "relaxed"] = "default",
        deferrable: bool = True,
        startup_timeout_seconds: int = 240,
        image_pull_policy: str = "Always",
        do_xcom_push: bool = False,
        on_finish_action: str = "delete_succeeded_pod",
        termination_message_policy: str = "FallbackToLogsOnError",
        log_pod_spec_on_failure: bool = False,
        durable: bool | None = None,
        reattach_on_restart: bool | None = None,
        gcp_conn_id: str = CONNECTIONS.gke,
        project_id: str = GKE.project_id,
        location: str = GKE.location,
        cluster_name: str = GKE.cluster_name,
        namespace: str = GKE.namespace,
        **kwargs: Any,
    ) -> None:
        if "is_delete_operator_pod" in kwargs:
            # The provider still takes it, and ignores it.
            raise TypeError("is_delete_operator_pod is gone. Use on_finish_action='delete_pod' or 'keep_pod'.")
        if resources is not None and container_resources is not None:
            raise TypeError("Give resources= (a size by name) or container_resources=, not both.")
        if durable is not None and reattach_on_restart is not None:
            raise TypeError("reattach_on_restart is the Airflow 2 name of durable. Give durable= alone.")
        if security not in {"default", "relaxed"}:
            raise ValueError(f"security={security!r} is not known. Use 'default' or 'relaxed'.")
        if security == "default" and (own := sorted(_SECURITY_OPTIONS & kwargs.keys())):
            raise TypeError(f"{', '.join(own)}: say security='relaxed' to set this yourself.")
        if deferrable and kwargs.get("init_container_logs"):
            raise TypeError("init_container_logs does nothing when deferrable (apache/airflow#72504). Leave one out.")
        if deferrable and (idle := sorted(name for name in _FOLLOWED_LOG if kwargs.get(name))):
            raise TypeError(f"{', '.join(idle)}: does nothing when deferrable. Leave it out, or give deferrable=False.")
        if "progress_callback" in kwargs:
            # The provider still takes it, and never calls it.
            raise TypeError("progress_callback does nothing. Give callbacks=.")
        if "kubernetes_conn_id" in kwargs:
            raise TypeError("kubernetes_conn_id does nothing. Give gcp_conn_id=, of a connection of either type.")
        if not deferrable and kwargs.get("logging_interval") is not None:
            raise TypeError("logging_interval does nothing unless deferrable. Leave it out, or give deferrable=True.")
        if kwargs.get("random_name_suffix") is False and on_finish_action != "delete_pod":
            raise TypeError(
                "random_name_suffix=False: a pod that is kept would hold its name, and the next try could not create "
                "its own. Leave it out, or give on_finish_action='delete_pod'."
            )
        if resources is not None:
            container_resources = _sized(resources)
        super().__init__(
            image=image,
            arguments=_words(arguments),
            cmds=_words(cmds),
            env_vars=env_vars,
            secrets=list(secrets) if secrets is not None else None,
            container_resources=container_resources,
            deferrable=deferrable,
            startup_timeout_seconds=startup_timeout_seconds,
            image_pull_policy=image_pull_policy,
            do_xcom_push=do_xcom_push,
            on_finish_action=on_finish_action,
            termination_message_policy=termination_message_policy,
            log_pod_spec_on_failure=log_pod_spec_on_failure,
            durable=next((given for given in (durable, reattach_on_restart) if given is not None), True),
            gcp_conn_id=gcp_conn_id,
            project_id=project_id,
            location=location,
            cluster_name=cluster_name,
            namespace=namespace,
            **kwargs,
        )
        self.security = security
        self._event: str | None = None
        self._result: Any = None

    @classmethod
    def partial(cls, *, resources: str | None = None, **kwargs: Any) -> OperatorPartial:
        """What all instances of a mapped task have alike, by the parameters of the class.

        Airflow makes the instances when the task runs; what the class refuses is refused here, when the DAG is parsed.
        A size by name is spelled out here: Airflow takes ``resources`` of a mapped task for a parameter of its own, and can't read
        the DAG back that it has serialized (no upstream issue found; Airflow 3.3.2).
        """
        alone = DAG("alone", schedule=None, auto_register=False)
        # A result of another task would make that one upstream of a task that is none.
        given = {name: value for name, value in kwargs.items() if not any(XComArg.iter_xcom_references(value))}
        cls(resources=resources, **{"image": "none", **given, "dag": alone, "task_group": alone.task_group})
        if resources is not None:
            kwargs["container_resources"] = _sized(resources)
        mapped: OperatorPartial = super().partial(**kwargs)
        return mapped

    # Which cluster

    @cached_property
    def cluster_info(self) -> tuple[str, str]:
        """Address and CA of the cluster, looked up once a process and not once a task (google 22.8.0)."""
        cluster = (self.project_id, self.location, self.cluster_name, self.use_internal_ip, self.use_dns_endpoint)
        key = (*cluster, self.gcp_conn_id, str(self.impersonation_chain))
        if key not in _clusters:
            _clusters[key] = super().cluster_info
        return _clusters[key]

    @cached_property
    def _any_cluster(self) -> bool:
        return BaseHook.get_connection(self.gcp_conn_id).conn_type == "kubernetes"

    @cached_property
    def hook(self) -> Any:
        """The client of the cluster: of GKE, or of the ``kubernetes`` connection that stands in its place."""
        if self._any_cluster:
            return KubernetesHook(
                conn_id=self.gcp_conn_id, in_cluster=self.in_cluster, cluster_context=self.cluster_context
            )
        return GKEPodHook(
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            cluster_url=self.cluster_url,
            ssl_ca_cert=self.ssl_ca_cert,
            enable_tcp_keepalive=self.enable_tcp_keepalive,
            use_dns_endpoint=self.use_dns_endpoint,
        )

    @cached_property
    def pod_manager(self) -> GKEPodManager:
        """What makes, reads and deletes the pod."""
        return GKEPodManager(kube_client=self.client, callbacks=self.callbacks)

    def invoke_defer_method(self, last_log_time: DateTime | None = None, context: Context | None = None) -> None:
        """Wait in the triggerer, with the trigger of the cluster that the pod is in."""
        if self._any_cluster:
            self.kubernetes_conn_id = self.gcp_conn_id
            KubernetesPodOperator.invoke_defer_method(self, last_log_time=last_log_time, context=context)
        else:
            super().invoke_defer_method(last_log_time=last_log_time, context=context)

    def defer(
        self,
        *,
        trigger: BaseTrigger,
        method_name: str,
        kwargs: dict[str, Any] | None = None,
        timeout: timedelta | float | None = None,
    ) -> NoReturn:
        """Hand over to the triggerer with every option; see :class:`GKEPodTrigger`."""
        if self._killed:
            raise PodFailedError(self._killed_message(self.pod))
        if type(trigger) is GKEStartPodTrigger:
            _, arguments = trigger.serialize()
            trigger = GKEPodTrigger(
                **arguments
                | {
                    "use_dns_endpoint": self.use_dns_endpoint,
                    "on_kill_action": self.on_kill_action.value,
                    "termination_grace_period": self.termination_grace_period,
                    "startup_check_interval": self.startup_check_interval_seconds,
                    "log_events_on_startup": self.log_events_on_startup,
                }
            )
        super().defer(trigger=trigger, method_name=method_name, kwargs=kwargs, timeout=timeout)

    # The pod

    def build_pod_request_obj(self, context: Context | None = None, *, dry_run: bool = False) -> V1Pod:
        """The pod, secured, with what it runs for in its labels, its annotations and its program's environment.

        They are added here and not to ``env_vars``, ``labels``, ``annotations``: those are what the DAG's author
        wrote, and the provider finds its pod by its own labels and the author's.
        """
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        pod.metadata.name = pod.metadata.name.lstrip("-")  # nothing but a suffix, of an id like "_"
        if self.security == "default":
            _secure(pod)
        if context is not None:
            _identify(pod, self._identity(context), self.base_container_name)
            if not self._outlives_a_kill:
                pod.metadata.annotations = {**pod.metadata.annotations, OWNER: str(context["ti"].id)}
        return pod

    @staticmethod
    def _get_ti_pod_labels(context: Context | None = None, include_try_number: bool = True) -> dict[str, str]:
        """The labels by which the provider finds its pod.

        Of an id in which no letter or digit is ASCII it makes a value that begins with a hyphen, and Kubernetes refuses the
        pod (no upstream issue found; cncf-kubernetes 10.25.0).
        """
        labels = GKEStartPodOperator._get_ti_pod_labels(context, include_try_number)
        return {name: value.lstrip("-") for name, value in labels.items()}

    def get_or_create_pod(self, pod_request_obj: V1Pod, context: Context) -> V1Pod:
        """The pod of an earlier try if it still runs, from now on this try's; else a new one.

        A pod that is being deleted is there for a while. The provider takes it for the pod to go on with, so that a task
        which is cleared while it runs fails. And it deletes a pod of a lost try that has succeeded meanwhile, makes a new
        one, looks for it and fails, since it finds two. With ``durable=False`` it leaves the pod of a lost try running
        beside the new one (no upstream issue found; cncf-kubernetes 10.25.0).
        """
        is_retry = context["ti"].try_number > 1 or times_put_off(context) > 0
        if is_retry:
            self._set_aside(pod_request_obj, context)
        pod = super().get_or_create_pod(pod_request_obj, context)
        if is_retry and self.durable and pod is pod_request_obj:
            self._set_aside(pod_request_obj, context)
        owner = str(context["ti"].id)
        if pod is not pod_request_obj and (pod.metadata.annotations or {}).get(OWNER, owner) != owner:
            try:
                self._annotate(pod, OWNER, owner)
            except ApiException as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                self.log.info("Pod %s is gone", pod.metadata.name)
                return super().get_or_create_pod(pod_request_obj, context)
        return pod

    def _annotate(self, pod: V1Pod, annotation: str, value: str) -> None:
        generic_api_retry(self.client.patch_namespaced_pod)(
            name=pod.metadata.name,
            namespace=pod.metadata.namespace,
            body={"metadata": {"annotations": {annotation: value}}},
        )

    def _set_aside(self, pod_request_obj: V1Pod, context: Context) -> None:
        """Mark the pods of this task that are being deleted, so that a search does not find them.

        If no pod is to be gone on with, all are marked, after those that belong to a try have been ended.
        """
        selector = self._build_find_pod_label_selector(context)
        listed = generic_api_retry(self.client.list_namespaced_pod)(
            pod_request_obj.metadata.namespace, label_selector=selector
        )
        for pod in listed.items:
            if pod.metadata.deletion_timestamp is None:
                if self.durable:
                    continue
                if OWNER in (pod.metadata.annotations or {}):
                    self.process_pod_deletion(pod)
            self.log.info("Pod %s is not gone on with", pod.metadata.name)
            try:
                self.patch_already_checked(pod)
            except ApiException as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise

    def _identity(self, context: Context) -> dict[str, str]:
        """What the pod runs for, by the last part of its label."""
        ti = context["ti"]
        dag = self.get_dag()
        tier = impact_tier(dag.tags) if dag else None
        identity = {
            "dag": ti.dag_id,
            "task": ti.task_id,
            "run": ti.run_id,
            "try": str(ti.try_number),
            "owner": self.owner,
        }
        return identity | ({"tier": tier} if tier else {})

    # How it ends

    def execute(self, context: Context) -> Any:
        """Run the pod and return its XCom, also where the pod of a lost try has ended and there is nothing to wait for.

        The provider loses it then, on a cluster of a ``kubernetes`` connection (no upstream issue found; cncf-kubernetes
        10.25.0).
        """
        with self._waiting_out(context):
            result = super().execute(context)
        return self._result if self.deferrable else result

    def _waiting_out(self, context: Context) -> AbstractContextManager[None]:
        # Without retries its program may not run twice.
        return waiting_out(self, context, unless=lambda: self._killed or not self.retries)

    def execute_async(self, context: Context) -> None:
        """Create the pod and wait in the triggerer; what fails in between leaves no pod.

        The provider leaves it running (no upstream issue found; cncf-kubernetes 10.25.0).
        """
        try:
            super().execute_async(context)
        except Exception:
            # The provider sets self.pod after it has made the pod and kept its link.
            if not (self._killed and self._outlives_a_kill):
                self.process_pod_deletion(self.pod or self.pod_request_obj, reraise=False)
            raise

    def on_kill(self) -> None:
        """Delete the pod, also one whose creation was not answered yet.

        The provider leaves that one running (no upstream issue found; cncf-kubernetes 10.25.0).
        """
        self.pod = self.pod or self.pod_request_obj
        super().on_kill()

    def await_pod_completion(self, pod: V1Pod) -> None:
        """Follow the log to its end; there is none to follow when a pod that succeeded is gone."""
        try:
            super().await_pod_completion(pod)
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND or not self.pod_manager.has_succeeded(pod):
                raise
            self.log.warning("The end of the log is lost with pod %s", pod.metadata.name)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after the triggerer has seen the pod end, or the time run out.

        On a timeout the provider follows the log of the pod that still runs, up to the same time again (no upstream
        issue found; cncf-kubernetes 10.25.0): then what is there is read, and nothing is waited for. And it fails with the
        triggerer's traceback, which that has logged; here the message is the error's.
        """
        self._event = event["status"]
        told = {name: value for name, value in event.items() if name != "stack_trace"}
        with self._waiting_out(context):
            self._result = super().trigger_reentry(context, told)
        return self._result

    def _write_logs(self, pod: V1Pod, follow: bool = False, since_time: DateTime | None = None) -> None:
        super()._write_logs(pod, follow=follow and self._event != "timeout", since_time=since_time)

    def extract_xcom(self, pod: V1Pod, **kwargs: Any) -> Any:
        """Read XCom; of a pod that did not succeed if there is any.

        Deferrable, the provider also asks a pod that never started, and the task fails over that and does not say what
        became of the pod (no upstream issue found; cncf-kubernetes 10.25.0).
        """
        try:
            return super().extract_xcom(pod, **kwargs)
        except (AirflowException, ApiException, HTTPError, ValueError) as error:
            if self._event in {None, "success"} or container_is_succeeded(pod, self.base_container_name):
                raise
            self.log.info("No XCom: %s", error)
            return None

    def cleanup(
        self,
        pod: V1Pod | None,
        remote_pod: V1Pod | None,
        xcom_result: dict[str, Any] | None = None,
        context: Context | None = None,
    ) -> None:
        """Delete or keep the pod, and fail with a message that says why.

        A task that gets SIGTERM while its pod runs goes on after ``on_kill`` and would end as a success
        (apache/airflow#73006, #71202; cncf-kubernetes 10.25.0): here it fails. A timeout stays a timeout: the
        provider's own error would hide it, and Airflow would not call ``on_kill``, which deletes the pod
        (apache/airflow#49466).
        """
        cause = sys.exc_info()[1]
        if isinstance(cause, AirflowTaskTimeout):
            if remote_pod is not None:
                cause.args = ("\n".join([str(cause), *self._log_tail(remote_pod)]),)
            return
        if self._killed:
            raise PodFailedError(self._killed_message(pod)) from cause
        if remote_pod is None:
            # Something failed before the provider had looked at the pod, which may have been made.
            self.process_pod_deletion(pod, reraise=False)
            return
        if cause is not None:
            remote_pod = self._current(remote_pod)  # the provider looked at it when it was made
        tail = self._log_tail(remote_pod)
        try:
            super().cleanup(pod=pod, remote_pod=remote_pod, xcom_result=xcom_result, context=context)
        except AirflowSkipException:
            raise
        except AirflowException as failure:
            raise PodFailedError(self._failure_message(str(failure), remote_pod, cause, tail)) from cause

    def process_pod_deletion(self, pod: V1Pod | None, *, reraise: bool = True) -> bool:
        """Delete the pod if it is still active, else do what ``on_finish_action`` says. True: it is gone.

        The provider judges by what it knew of the pod when it started, so a policy that keeps failed pods left the
        pod of a timed-out task running (apache/airflow#49466; cncf-kubernetes 10.25.0). A pod that is kept is
        marked as safe to evict, now that nothing waits for it any more.

        The XCom sidecar needs a moment to end: a pod that is to be kept is active for so long, and kept after it.
        """
        if pod is None:
            return False
        try:
            current = self.pod_manager.read_pod(pod)
            for _ in range(_SIDECAR_SECONDS):
                if not self._ends_with_its_sidecar(current):
                    break
                time.sleep(1)
                current = self.pod_manager.read_pod(pod)
            if current.status.phase in _ACTIVE:
                self.log.info("Deleting pod %s, which is still active", pod.metadata.name)
                self.pod_manager.delete_pod(current)
                return True
            deleted = super().process_pod_deletion(current, reraise=True)
            if not deleted:
                self._annotate(pod, SAFE_TO_EVICT, "true")
        except (ApiException, HTTPError, KubernetesApiException) as error:
            if getattr(error, "status", None) == 404:
                return True
            if reraise:
                raise
            self.log.exception("Pod %s could not be cleaned up, it may still be there", pod.metadata.name)
            return False
        return deleted

    def _ends_with_its_sidecar(self, pod: V1Pod) -> bool:
        """Whether the program of a pod that is to be kept has ended, and the XCom sidecar has not yet."""
        succeeded = container_is_succeeded(pod, self.base_container_name)
        deleted = (OnFinishAction.DELETE_POD, *([OnFinishAction.DELETE_SUCCEEDED_POD] if succeeded else []))
        return (
            self.do_xcom_push
            and self.on_finish_action not in deleted
            and pod.status.phase in _ACTIVE
            and pod.metadata.deletion_timestamp is None
            and container_is_terminated(pod, self.base_container_name)
        )

    def _current(self, pod: V1Pod) -> V1Pod:
        """The pod as it is now; as it was if that cannot be found out."""
        try:
            return self.pod_manager.read_pod(pod)
        except (ApiException, HTTPError, KubernetesApiException) as error:
            self.log.info("Pod %s could not be read: %s", pod.metadata.name, error)
            return pod

    def _log_tail(self, pod: V1Pod) -> list[str]:
        """The last lines of the log of what failed in a pod, with a heading, unless it left a termination message."""
        if pod.status.phase == "Succeeded" or get_container_termination_message(pod, self.base_container_name):
            return []
        try:
            container = self._failed_container(pod)
            log = self.client.read_namespaced_pod_log(
                name=pod.metadata.name,
                namespace=pod.metadata.namespace,
                container=container,
                tail_lines=_TAIL_LINES,
                _preload_content=False,
            ).data
        except (ApiException, HTTPError) as error:
            # A container that never started has no log.
            self.log.info("No log to show: %s", getattr(error, "reason", error))
            return []
        lines = log.decode("utf-8", errors="backslashreplace")[-_TAIL_CHARACTERS:].splitlines()
        whose = "its log" if container == self.base_container_name else f"the log of {container}"
        return [f"Last lines of {whose}:", *lines] if lines else []

    def _failed_container(self, pod: V1Pod) -> str:
        """The init container that failed, else the one with the program."""
        failed = (each.name for each in pod.status.init_container_statuses or [] if _exit_code(each))
        return next(failed, self.base_container_name)

    def _failure_message(self, failure: str, pod: V1Pod, cause: BaseException | None, tail: list[str]) -> str:
        parts = [failure, self._exit_status(pod)]
        if cause is not None:
            parts.append(f"Reason: {cause}")
        return "\n".join([*filter(None, parts), *tail])

    def _exit_status(self, pod: V1Pod) -> str:
        """How the program ended or why it has not begun, and what else failed in its pod."""
        program = f"{pod.status.reason or 'No exit code'}: the pod is {pod.status.phase}."
        others = [
            f"It is not scheduled: {condition.message}"
            for condition in pod.status.conditions or []
            if condition.type == "PodScheduled" and condition.status == "False"
        ]
        for container in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
            ended, waiting = container.state.terminated, container.state.waiting
            if container.name == self.base_container_name and ended:
                program = f"Exit code {ended.exit_code}{_in_brackets(ended.reason)}."
            elif _exit_code(container):
                others.append(f"Container {container.name}: exit code {ended.exit_code}{_in_brackets(ended.reason)}.")
            elif waiting and waiting.message:
                others.append(f"Container {container.name} is waiting: {waiting.reason}: {waiting.message}")
        return "\n".join([program, *others])

    @property
    def _outlives_a_kill(self) -> bool:
        return self.on_kill_action == OnKillAction.KEEP_POD

    def _killed_message(self, pod: V1Pod | None) -> str:
        name = pod.metadata.name if pod is not None else "(none yet)"
        fate = "goes on (on_kill_action)" if self._outlives_a_kill else "was deleted"
        return f"The task was killed while it waited for pod {name}. The pod {fate}."


def _exit_code(container: V1ContainerStatus) -> int | None:
    """Of a container that has ended."""
    ended = container.state.terminated
    return ended.exit_code if ended else None


def _in_brackets(text: str | None) -> str:
    return f" ({text})" if text else ""


def _sized(name: str) -> V1ResourceRequirements:
    size = pod_size(name)
    return V1ResourceRequirements(requests=size.requests, limits=size.limits)


def _words(given: Words | None) -> Any:
    if isinstance(given, str):
        raise TypeError(f"A command is a list of words, not {given!r}: a text would be taken letter by letter.")
    return list(given) if isinstance(given, list | tuple) else given


def _secure(pod: V1Pod) -> None:
    """Take from a pod what its programs do not need. A context that the author's own pod spec states stays."""
    seccomp = V1PodSecurityContext(seccomp_profile=V1SeccompProfile(type="RuntimeDefault"))
    pod.spec.security_context = pod.spec.security_context or seccomp
    pod.spec.automount_service_account_token = False
    for container in [*pod.spec.containers, *(pod.spec.init_containers or [])]:
        if container.security_context is None:
            container.security_context = V1SecurityContext(
                allow_privilege_escalation=False, capabilities=V1Capabilities(drop=["ALL"])
            )


def _identify(pod: V1Pod, identity: dict[str, str], program: str) -> None:
    """Label and annotate a pod with what it runs for, and tell its program; what the author set wins."""
    metadata = pod.metadata
    metadata.labels = {f"airflow-{name}": label_value(text) for name, text in identity.items()} | (
        metadata.labels or {}
    )
    full = {f"{_ANNOTATIONS}/{name}": text for name, text in identity.items()}
    metadata.annotations = full | (metadata.annotations or {})
    container = next(c for c in pod.spec.containers if c.name == program)
    own = {variable.name for variable in container.env or []}
    container.env = [
        *(container.env or []),
        *(V1EnvVar(_VARIABLES[name], text) for name, text in identity.items() if _VARIABLES[name] not in own),
    ]
