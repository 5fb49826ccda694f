"""Run a container as a pod of the GKE cluster, and wait for it.

``GKEPodOperator`` is Google's ``GKEStartPodOperator`` with the platform's defaults. Its overrides correct faults that
were reproduced with apache-airflow-providers-google 22.8.0 and cncf-kubernetes 10.25.0; each one names the upstream
issue and has a test that fails on the provider's own class.

Known limits of the provider, not corrected here: ``init_container_logs`` does nothing when deferrable
(apache/airflow#72504), and of the callbacks ``on_pod_starting``, ``progress_callback`` and ``on_operator_resuming``
don't run when deferrable.
"""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.kube_client import _TimeoutAsyncK8sApiClient, _TimeoutK8sApiClient
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.container import get_container_termination_message
from airflow.providers.google.cloud.hooks.kubernetes_engine import GKEKubernetesAsyncHook, GKEKubernetesHook
from airflow.providers.google.cloud.operators.kubernetes_engine import GKEStartPodOperator
from airflow.providers.google.cloud.triggers.kubernetes_engine import GKEStartPodTrigger
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowSkipException, AirflowTaskTimeout
from kubernetes.client import ApiException, V1EnvVar, V1Pod, V1ResourceRequirements
from urllib3.exceptions import HTTPError

from utils.config import CONNECTIONS, GKE
from utils.pod_sizes import pod_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger
    from pendulum import DateTime

SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_ACTIVE = {"Pending", "Running", "Unknown"}
_TAIL_LINES = 20


class PodFailedError(AirflowException):
    """The pod of a task did not succeed. The message says why, with the end of the pod's log."""


class GKEPodHook(GKEKubernetesHook):
    """GKE's Kubernetes hook, with the request timeout that the cncf provider's clients have.

    Without it a silent API server hangs the task for ever (apache/airflow#36802; PR #60254 corrected the cncf
    provider only; google 22.8.0).
    """

    def get_conn(self) -> Any:
        """A Kubernetes API client whose every request ends."""
        return _TimeoutK8sApiClient(configuration=super().get_conn().configuration)


class GKEPodAsyncHook(GKEKubernetesAsyncHook):
    """The same correction as :class:`GKEPodHook`, for the triggerer."""

    sync_hook_class = GKEPodHook

    async def _load_config(self) -> Any:
        configuration = self._get_config()
        token = await (await self.get_token()).get()
        # No await from here on: a cancelled caller would leave the client's session open.
        client = _TimeoutAsyncK8sApiClient(configuration=configuration)
        client.set_default_header("Authorization", f"Bearer {token}")
        return client


class GKEPodTrigger(GKEStartPodTrigger):
    """Waits in the triggerer for a pod of the GKE cluster; keeps every option over a restart of the triggerer.

    The provider's trigger neither gets nor serializes ``on_kill_action``, ``termination_grace_period``,
    ``startup_check_interval`` and ``log_events_on_startup`` (apache/airflow#66352 in part; google 22.8.0).
    """

    _KEPT = ("on_kill_action", "termination_grace_period", "startup_check_interval", "log_events_on_startup")

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, all of them."""
        _, arguments = super().serialize()
        kept = {name: getattr(self, name) for name in self._KEPT}
        kept["on_kill_action"] = self.on_kill_action.value
        path = f"{GKEPodTrigger.__module__}.{GKEPodTrigger.__name__}"
        return path, {**arguments, "use_dns_endpoint": self.use_dns_endpoint, **kept}

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
    goes on with the same pod.

    The program finds out what runs it in the environment variables ``AIRFLOW_CTX_DAG_ID``, ``AIRFLOW_CTX_TASK_ID``,
    ``AIRFLOW_CTX_DAG_RUN_ID`` and ``AIRFLOW_CTX_TRY_NUMBER``.

    If the connection ``gcp_conn_id`` is of type ``kubernetes`` instead of ``google_cloud_platform``, the pod goes to
    the cluster of that connection; project, location and cluster name then say nothing.

    :param image: what the pod pulls, ``repository:tag``; see :func:`utils.images.image`. (templated)
    :param arguments: arguments of the image's entrypoint, each one a string of its own. Default: the image's. (templated)
    :param cmds: replaces the image's entrypoint. Default: the image's. (templated)
    :param env_vars: environment of the container, as a mapping or as ``V1EnvVar``. (templated)
    :param secrets: Kubernetes secrets; see :func:`utils.secrets.pod_secrets`.
    :param resources: the pod's size by name; see :mod:`utils.pod_sizes`. Default: the cluster's own.
    :param container_resources: requests and limits in full, instead of ``resources``. (templated)
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
        arguments: Sequence[str] | None = None,
        cmds: Sequence[str] | None = None,
        env_vars: dict[str, str] | list[Any] | None = None,
        secrets: Sequence[Any] | None = None,
        resources: str | None = None,
        container_resources: Any = None,
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
        if resources is not None:
            container_resources = V1ResourceRequirements(requests=pod_size(resources).requests)
        super().__init__(
            image=image,
            arguments=list(arguments) if arguments is not None else None,
            cmds=list(cmds) if cmds is not None else None,
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
        self._follow_log = True

    # Which cluster

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
        """The pod, with the ids of its task instance in the environment of its container.

        They are added here and not to ``env_vars``: that attribute is what the DAG's author wrote.
        """
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        if context is not None:
            ti = context["ti"]
            ids = {
                "AIRFLOW_CTX_DAG_ID": ti.dag_id,
                "AIRFLOW_CTX_TASK_ID": ti.task_id,
                "AIRFLOW_CTX_DAG_RUN_ID": ti.run_id,
                "AIRFLOW_CTX_TRY_NUMBER": str(ti.try_number),
            }
            container = next(c for c in pod.spec.containers if c.name == self.base_container_name)
            own = {variable.name for variable in container.env or []}
            container.env = [
                *(container.env or []),
                *(V1EnvVar(name=name, value=value) for name, value in ids.items() if name not in own),
            ]
        return pod

    # How it ends

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after the triggerer has seen the pod end, or the time run out.

        On a timeout the provider follows the log of the pod that still runs, up to the same time again (no upstream
        issue found; cncf-kubernetes 10.25.0): then what is there is read, and nothing is waited for.
        """
        self._follow_log = event["status"] != "timeout"
        return super().trigger_reentry(context, event)

    def _write_logs(self, pod: V1Pod, follow: bool = False, since_time: DateTime | None = None) -> None:
        super()._write_logs(pod, follow=follow and self._follow_log, since_time=since_time)

    def cleanup(
        self,
        pod: V1Pod,
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
            return
        if self._killed:
            raise PodFailedError(self._killed_message(pod)) from cause
        if remote_pod is None:
            # The pod was made, and then something failed before the provider had looked at it.
            self.process_pod_deletion(self.pod, reraise=False)
            return
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
        """
        if pod is None:
            return False
        try:
            current = self.pod_manager.read_pod(pod)
            if current.status.phase in _ACTIVE:
                self.log.info("Deleting pod %s, which is still active", pod.metadata.name)
                self.pod_manager.delete_pod(current)
                return True
            deleted = super().process_pod_deletion(current, reraise=True)
            if not deleted:
                self.client.patch_namespaced_pod(
                    name=pod.metadata.name,
                    namespace=pod.metadata.namespace,
                    body={"metadata": {"annotations": {SAFE_TO_EVICT: "true"}}},
                )
        except (ApiException, HTTPError) as error:
            if getattr(error, "status", None) == 404:
                return True
            if reraise:
                raise
            self.log.exception("Pod %s could not be cleaned up, it may still be there", pod.metadata.name)
            return False
        return deleted

    def _log_tail(self, pod: V1Pod) -> list[str]:
        """The last lines of the log of a pod that didn't succeed and left no termination message."""
        if pod.status.phase == "Succeeded" or get_container_termination_message(pod, self.base_container_name):
            return []
        try:
            log = self.client.read_namespaced_pod_log(
                name=pod.metadata.name,
                namespace=pod.metadata.namespace,
                container=self.base_container_name,
                tail_lines=_TAIL_LINES,
                _preload_content=False,
            ).data
        except (ApiException, HTTPError) as error:
            # A container that never started has no log.
            self.log.info("No log to show: %s", getattr(error, "reason", error))
            return []
        return list(log.decode("utf-8", errors="backslashreplace").splitlines())

    def _failure_message(self, failure: str, pod: V1Pod, cause: BaseException | None, tail: list[str]) -> str:
        parts = [failure, self._exit_status(pod)]
        if cause is not None:
            parts.append(f"Reason: {cause}")
        if tail:
            parts += ["Last lines of its log:", *tail]
        return "\n".join(part for part in parts if part)

    def _exit_status(self, pod: V1Pod) -> str:
        for container in pod.status.container_statuses or []:
            if container.name == self.base_container_name and container.state.terminated:
                ended = container.state.terminated
                return f"Exit code {ended.exit_code}" + (f" ({ended.reason})." if ended.reason else ".")
        return f"{pod.status.reason or 'No exit code'}: the pod is {pod.status.phase}."

    @staticmethod
    def _killed_message(pod: V1Pod | None) -> str:
        name = pod.metadata.name if pod is not None else "(none yet)"
        return f"The task was killed while it waited for pod {name}. The pod was deleted."
