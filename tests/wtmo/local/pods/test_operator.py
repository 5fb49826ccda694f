"""An unmodified ``KubernetesPodOperator`` against the server, outside Airflow's own processes (sync)."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.common.compat.sdk import AirflowException

from tests.wtmo.local.pods.support import (
    NAMESPACE,
    PYTHON,
    RECORDED,
    TOKEN,
    UNKNOWN,
    PodServer,
    eventually,
    gone,
    phase,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kubernetes import client

pytestmark = pytest.mark.loopback


class TaskInstance(SimpleNamespace):
    """What the operator reads of a task instance; keeps what it pushes."""

    def __init__(self) -> None:
        super().__init__(
            dag_id="d", task_id="operator", run_id="manual__2026-06-01", map_index=-1, try_number=1, pushed={},
            get_template_context=dict,
        )  # fmt: skip

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value


@pytest.fixture
def execute(server: PodServer, tmp_path: Path) -> Callable[..., tuple[Any, TaskInstance]]:
    def run(**options: Any) -> tuple[Any, TaskInstance]:
        authority = base64.b64encode(server.certificates.ca.read_bytes()).decode()
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "local",
            "clusters": [{"name": "c", "cluster": {"server": server.url, "certificate-authority-data": authority}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "local", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        operator = KubernetesPodOperator(
            task_id="operator", kubernetes_conn_id=None, config_file=str(tmp_path / "kubeconfig"), namespace=NAMESPACE,
            in_cluster=False, startup_check_interval_seconds=1, durable=False, **options,
        )  # fmt: skip
        ti = TaskInstance()
        context = {"ti": ti, "task_instance": ti, "run_id": ti.run_id, "dag": SimpleNamespace(dag_id="d")}
        return operator.execute(context), ti

    return run


def test_success_with_xcom(execute: Callable[..., tuple[Any, TaskInstance]], api: client.CoreV1Api) -> None:
    code = (
        "import os, pathlib; print('at work');"
        "(pathlib.Path(os.environ.get('WTMO_XCOM_DIR', '/airflow/xcom')) / 'return.json').write_text('[1, 2]')"
    )
    result, ti = execute(name="good", image=PYTHON, arguments=[code], do_xcom_push=True)
    assert result == [1, 2]
    eventually("the removal", lambda: gone(api, ti.pushed["pod_name"]))


def test_a_failed_pod_is_kept(execute: Callable[..., tuple[Any, TaskInstance]], api: client.CoreV1Api) -> None:
    with pytest.raises(AirflowException, match="returned a failure"):
        execute(
            name="bad", image=PYTHON, arguments=["import sys; sys.exit(3)"], on_finish_action="delete_succeeded_pod",
            random_name_suffix=False,
        )  # fmt: skip
    assert phase(api, "bad") == "Failed"
    assert api.read_namespaced_pod("bad", NAMESPACE).metadata.labels["already_checked"] == "True"


def test_an_unknown_image_fails_the_task_and_is_its_cause(execute: Callable[..., tuple[Any, TaskInstance]]) -> None:
    """The operator's clean-up raises a second error over the first, which says why."""
    with pytest.raises(AirflowException) as error:
        execute(name="nobody", image=UNKNOWN, log_pod_spec_on_failure=False)
    said = f'image "{UNKNOWN}" is not in the registry (utils/images.py) and has no stand-in'
    assert said in str(error.value.__context__)


def test_a_recorded_image_succeeds(execute: Callable[..., tuple[Any, TaskInstance]]) -> None:
    result, _ = execute(name="stand-in", image=RECORDED, arguments=["--x"], do_xcom_push=True)
    assert result["arguments"] == ["--x"]
