"""XCom as ``KubernetesPodOperator`` reads it: by exec in the sidecar, which it then ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.cncf.kubernetes.utils import pod_manager
from airflow.providers.cncf.kubernetes.utils.pod_manager import EMPTY_XCOM_RESULT, PodCommandException, PodManager
from airflow.providers.cncf.kubernetes.utils.xcom_sidecar import PodDefaults, add_xcom_sidecar
from kubernetes import client
from kubernetes.stream import stream

from tests.wtmo.local.pods.support import NAMESPACE, RECORDED, PodServer, eventually, log_of, phase, pod
from wtmo.local.pods import xcom

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.loopback

WRITE = (
    "import os, pathlib, sys; d = pathlib.Path(os.environ.get('WTMO_XCOM_DIR', '/airflow/xcom'));"
    "(d / 'return.json').write_text(sys.argv[1])"
)


@pytest.fixture(scope="module")
def server(every_server: PodServer) -> PodServer:
    return every_server


@pytest.fixture(scope="module")
def plain(make_server: Callable[..., PodServer]) -> PodServer:
    """A server with the process runtime."""
    return make_server("process")


def with_sidecar(api: client.CoreV1Api, body: dict[str, Any]) -> client.V1Pod:
    """Create it with the provider's own sidecar; wait until the base container ended."""

    class Body:
        data = json.dumps({"apiVersion": "v1", "kind": "Pod", **body})

    created = add_xcom_sidecar(api.api_client.deserialize(Body, "V1Pod"))
    api.create_namespaced_pod(NAMESPACE, created)
    name = body["metadata"]["name"]
    eventually("the base container", lambda: state(api, name, "base").terminated)
    return api.read_namespaced_pod(name, NAMESPACE)


def state(api: client.CoreV1Api, name: str, container: str) -> client.V1ContainerState:
    statuses = api.read_namespaced_pod(name, NAMESPACE).status.container_statuses or []
    found = {each.name: each.state for each in statuses}
    return found.get(container, type("Unknown", (), {"terminated": None, "running": None}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("small", '{"a": [1, "\\u00fc"]}'), ("large", json.dumps(["x" * 1000] * 100)), ("empty", ""), ("null", "null")],
)
def test_the_value_comes_back_and_the_sidecar_ends(api: client.CoreV1Api, name: str, value: str) -> None:
    created = with_sidecar(api, pod(f"xcom-{name}", WRITE, value))
    assert phase(api, created.metadata.name) == "Running"  # the sidecar waits for its reader
    got = PodManager(api).extract_xcom(created, ignore_kill_failure=False)
    assert got.rstrip() == (value or EMPTY_XCOM_RESULT)
    eventually("the end of the pod", lambda: phase(api, created.metadata.name) == "Succeeded")
    assert state(api, created.metadata.name, "airflow-xcom-sidecar").terminated.exit_code == 0


def test_the_fallback_command_ends_the_sidecar(api: client.CoreV1Api) -> None:
    """Typed where there is no ``pgrep``."""
    created = with_sidecar(api, pod("fallback", "pass"))
    shell = stream(
        api.connect_get_namespaced_pod_exec, created.metadata.name, NAMESPACE, container="airflow-xcom-sidecar",
        command=["/bin/sh"], stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )  # fmt: skip
    shell.write_stdin(xcom.END_COMMANDS[1] + "\n")
    shell.run_forever(timeout=10)
    eventually("the end of the pod", lambda: phase(api, created.metadata.name) == "Succeeded")


def test_a_failed_program_leaves_its_value(api: client.CoreV1Api) -> None:
    created = with_sidecar(api, pod("partial", WRITE + "; sys.exit(9)", '"so far"'))
    assert PodManager(api).extract_xcom(created) == '"so far"'
    eventually("the end of the pod", lambda: phase(api, "partial") == "Failed")
    assert state(api, "partial", "base").terminated.exit_code == 9


def test_the_recorder_leaves_its_record(api: client.CoreV1Api) -> None:
    created = with_sidecar(api, pod("recorder", "--json", image=RECORDED))
    record = json.loads(PodManager(api).extract_xcom(created))
    assert record == {"stand_in_for": RECORDED, "arguments": ["--json"], "environment": [], "secrets": []}


def test_nothing_else_is_run_in_the_imitated_sidecar(plain: PodServer) -> None:
    api = plain.api()
    created = with_sidecar(api, pod("curious", "pass"))

    def execute(*command: str, typed: str = "") -> Any:
        shell = stream(
            api.connect_get_namespaced_pod_exec, created.metadata.name, NAMESPACE, container="airflow-xcom-sidecar",
            command=list(command), stdin=bool(typed), stdout=True, stderr=True, tty=False, _preload_content=False,
        )  # fmt: skip
        if typed:
            shell.write_stdin(typed + "\n")
        shell.run_forever(timeout=10)
        return shell

    target = plain.folder / "touched"
    for shell in (
        execute("/bin/sh", "-c", f"touch {target}"),
        execute("touch", str(target)),
        execute("/bin/sh", typed=f"touch {target}"),
        execute("/bin/sh", typed=f"{xcom.END_COMMANDS[0]}; touch {target}"),
    ):
        assert "is refused" in shell.read_stderr()
        assert shell.returncode == 126
    assert not target.exists()
    assert state(api, "curious", "airflow-xcom-sidecar").running


def test_the_process_runtime_runs_no_containers_own_command(plain: PodServer) -> None:
    api = plain.api()
    target = plain.folder / "own"
    body = pod("own", image="alpine:3.24.2", container={"command": ["touch", str(target)], "args": []})
    api.create_namespaced_pod(NAMESPACE, body)
    eventually("the refusal", lambda: phase(api, "own") == "Failed")
    assert "no container's own command" in state(api, "own", "base").terminated.message
    assert not target.exists()
    assert log_of(api, "own") == b""


def test_spelled_as_the_installed_provider_does() -> None:
    assert xcom.FOLDER == PodDefaults.XCOM_MOUNT_PATH
    assert list(xcom.SIDECAR_COMMAND) == PodDefaults.SIDECAR_CONTAINER.command
    assert xcom.EMPTY_RESULT == EMPTY_XCOM_RESULT


def test_what_the_provider_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its two exec calls, caught where they would leave for the server."""
    calls: list[tuple[str, ...]] = []
    typed: list[str] = []

    class Shell:
        def close(self) -> None: ...
        def run_forever(self) -> None: ...
        def peek_stderr(self) -> str:
            return ""

        def read_all(self) -> str:
            return "{}"

    def run_in_shell(_: PodManager, __: Shell, command: str) -> None:
        typed.append(command)
        raise PodCommandException("no pgrep here") if len(typed) == 1 else StopIteration

    def caught(*_: object, command: list[str], **__: object) -> Shell:
        calls.append(tuple(command))
        return Shell()

    monkeypatch.setattr(pod_manager, "kubernetes_stream", caught)
    monkeypatch.setattr(PodManager, "_exec_pod_command", run_in_shell)
    manager = PodManager(client.CoreV1Api(client.ApiClient(client.Configuration())))
    some_pod = client.V1Pod(metadata=client.V1ObjectMeta(name="a", namespace=NAMESPACE))
    manager.extract_xcom_json(some_pod)
    with pytest.raises(StopIteration):
        manager.extract_xcom_kill(some_pod)
    assert calls == [xcom.READ_COMMAND, xcom.SHELL_COMMAND]
    assert tuple(typed) == xcom.END_COMMANDS
