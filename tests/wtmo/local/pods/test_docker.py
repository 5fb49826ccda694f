"""The Docker runtime on a real engine. What is the same in every runtime is in ``test_containers``, ``test_faults``, ``test_xcom``."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.stream import stream

from tests.wtmo.local.pods.docker_engine import PYTHON_IMAGE, SHELL_IMAGE, DockerEngine
from tests.wtmo.local.pods.support import (
    NAMESPACE,
    PYTHON,
    RECORDED,
    SIDECAR,
    PodServer,
    eventually,
    gone,
    log_of,
    phase,
    pod,
    run,
)
from wtmo.errors import WtmoError
from wtmo.local.pods.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kubernetes import client

pytestmark = pytest.mark.loopback

READY = "print('ready', flush=True); time.sleep(600)"
MAPPED = "registry.example.com/team/mapped"


@pytest.fixture(scope="module")
def server(make_server: Callable[..., PodServer], tmp_path_factory: pytest.TempPathFactory) -> PodServer:
    file = tmp_path_factory.mktemp("images") / "images.json"
    file.write_text(json.dumps({MAPPED: SHELL_IMAGE, f"{MAPPED}:gone": "test/nothing:1"}))
    return make_server("docker", "--docker-images", str(file), "--back-off", "3")


def waiting(api: client.CoreV1Api, name: str, reason: str) -> str:
    def message() -> str | None:
        found = api.read_namespaced_pod(name, NAMESPACE).status.container_statuses
        state = found[0].state.waiting if found else None
        return state.message if state and state.reason == reason else None

    return str(eventually(f"{reason} of {name}", message))


def running(api: client.CoreV1Api, body: dict[str, Any]) -> None:
    name = body["metadata"]["name"]
    api.create_namespaced_pod(NAMESPACE, body)
    eventually(f"the program of {name}", lambda: phase(api, name) == "Running" and b"ready" in log_of(api, name))


def containers_of(engine: DockerEngine, name: str) -> list[str]:
    return [each for each in engine.containers() if f"_{name}_" in each]


# -- images


def test_a_real_image_runs_with_its_entry_point_and_environment(api: client.CoreV1Api) -> None:
    code = "import os, sys; print(os.environ['OF_THE_IMAGE'], os.getcwd(), os.environ['HOSTNAME'], sys.argv[1:])"
    assert run(api, pod("real", code, "a b")).status.phase == "Succeeded"
    assert log_of(api, "real") == b"yes /tmp real ['a b']\n"


def test_a_command_takes_the_place_of_the_entry_point(api: client.CoreV1Api) -> None:
    container = {"command": ["sh", "-c", "echo $0 $1; pwd"], "args": ["one", "two"], "workingDir": "/usr"}
    run(api, pod("commanded", image=PYTHON, container=container))
    assert log_of(api, "commanded") == b"one two\n/usr\n"


def test_a_stand_in_runs_in_the_stand_in_image(api: client.CoreV1Api) -> None:
    assert run(api, pod("stood-in", "--flag", image=RECORDED)).status.phase == "Succeeded"
    assert f"stand-in for the image {RECORDED}" in log_of(api, "stood-in").decode()


def test_an_image_that_is_mapped(api: client.CoreV1Api) -> None:
    run(api, pod("mapped", image=f"{MAPPED}:1.2", container={"command": ["sh", "-c", "echo hello"]}))
    assert log_of(api, "mapped") == b"hello\n"
    api.create_namespaced_pod(NAMESPACE, pod("mapped-to-nothing", image=f"{MAPPED}:gone"))
    assert "test/nothing:1, which --docker-images names" in waiting(api, "mapped-to-nothing", "ErrImagePull")


def test_an_image_that_cannot_be_pulled_is_tried_again(api: client.CoreV1Api, engine: DockerEngine) -> None:
    """No registry: port 9 of this machine is nobody's."""
    image = "127.0.0.1:9/team/late:1"
    api.create_namespaced_pod(NAMESPACE, pod("late", "print('at last')", image=image))
    assert "127.0.0.1:9" in waiting(api, "late", "ErrImagePull")
    assert "Back-off pulling" in waiting(api, "late", "ImagePullBackOff")
    assert phase(api, "late") == "Pending"
    engine.docker("tag", PYTHON_IMAGE, image)
    eventually("its success", lambda: phase(api, "late") == "Succeeded")
    assert log_of(api, "late") == b"at last\n"


def test_the_pull_policy_is_honoured(api: client.CoreV1Api, engine: DockerEngine) -> None:
    never = pod("never-pulled", image="127.0.0.1:9/team/absent:1", container={"imagePullPolicy": "Never"})
    api.create_namespaced_pod(NAMESPACE, never)
    assert "is not present with pull policy of Never" in waiting(api, "never-pulled", "ErrImageNeverPull")
    local = "127.0.0.1:9/team/local"
    engine.docker("tag", PYTHON_IMAGE, f"{local}:1")
    engine.docker("tag", PYTHON_IMAGE, f"{local}:latest")
    assert run(api, pod("present", "pass", image=f"{local}:1")).status.phase == "Succeeded"
    for name, image, container in (
        ("always", f"{local}:1", {"imagePullPolicy": "Always"}),
        ("latest", f"{local}:latest", {}),
        ("untagged", local, {}),
    ):
        api.create_namespaced_pod(NAMESPACE, pod(name, "pass", image=image, container=container))
        waiting(api, name, "ErrImagePull")
    kept = pod("latest-kept", "pass", image=f"{local}:latest", container={"imagePullPolicy": "IfNotPresent"})
    assert run(api, kept).status.phase == "Succeeded"


# -- what a container gets


def test_limits_and_labels_reach_the_engine(api: client.CoreV1Api, engine: DockerEngine) -> None:
    limits = {"memory": "64Mi", "cpu": "250m"}
    running(api, pod("bounded", f"import time; {READY}", container={"resources": {"limits": limits}}))
    (name,) = containers_of(engine, "bounded")
    (found,) = json.loads(engine.docker("inspect", name).stdout)
    assert found["HostConfig"]["Memory"] == found["HostConfig"]["MemorySwap"] == 64 * 2**20
    assert found["HostConfig"]["NanoCpus"] == 250_000_000
    labels = found["Config"]["Labels"]
    assert (labels["io.kubernetes.pod.name"], labels["io.kubernetes.container.name"]) == ("bounded", "base")
    assert labels["wtmo.pods.server"]
    api.delete_namespaced_pod("bounded", NAMESPACE, grace_period_seconds=0)
    eventually("the removal", lambda: gone(api, "bounded"))
    assert containers_of(engine, "bounded") == []


def test_the_security_context_is_kept(api: client.CoreV1Api) -> None:
    code = (
        "import os, pathlib; status = dict(line.split(':\\t') for line in open('/proc/self/status'));"
        "print(os.getuid(), os.getgid(), status['NoNewPrivs'].strip(), int(status['CapBnd'], 16));"
        "\ntry: pathlib.Path('/tmp/x').touch(); print('writable')\nexcept OSError as error: print(error.strerror)"
    )
    strict = {
        "runAsGroup": 77, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True, "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    of_pod = {"runAsUser": 12345, "runAsGroup": 1, "runAsNonRoot": True}
    run(api, pod("strict", code, container={"securityContext": strict}, securityContext=of_pod))
    assert log_of(api, "strict") == b"12345 77 1 0\nRead-only file system\n"
    run(api, pod("lax", code))
    uid, gid, no_new, capabilities = log_of(api, "lax").split()[:4]
    assert (uid, gid, no_new) == (b"0", b"0", b"0")
    assert int(capabilities) > 0


def test_what_the_security_context_forbids(api: client.CoreV1Api) -> None:
    ended = run(api, pod("privileged", "pass", container={"securityContext": {"privileged": True}}))
    assert "privileged" in ended.status.container_statuses[0].state.terminated.message
    api.create_namespaced_pod(NAMESPACE, pod("root", "pass", securityContext={"runAsNonRoot": True}))
    said = waiting(api, "root", "CreateContainerConfigError")
    assert said == "container has runAsNonRoot and image will run as root"
    api.delete_namespaced_pod("root", NAMESPACE)
    eventually("the removal", lambda: gone(api, "root"))


def test_what_listens_on_loopback_is_reached(api: client.CoreV1Api, server: PodServer) -> None:
    code = f"import socket; socket.create_connection(('127.0.0.1', {server.port}), 5); print('reached')"
    assert run(api, pod("reaching", code)).status.phase == "Succeeded"
    assert log_of(api, "reaching") == b"reached\n"


def test_a_program_that_is_not_there(api: client.CoreV1Api, engine: DockerEngine) -> None:
    ended = run(api, pod("absent", image=SIDECAR, container={"command": ["no-such-program"]}))
    state = ended.status.container_statuses[0].state.terminated
    assert (ended.status.phase, state.exit_code, state.reason) == ("Failed", 128, "StartError")
    assert "no-such-program" in state.message
    assert containers_of(engine, "absent") == []


# -- exec, log, end


def test_exec(api: client.CoreV1Api) -> None:
    running(api, pod("executed", f"import time; {READY}"))

    def execute(*command: str, **options: Any) -> Any:
        call = {"container": "base", "stdout": True, "stderr": True, "stdin": False, "tty": False}
        options = {"command": list(command), "_preload_content": False, **call, **options}
        return stream(api.connect_get_namespaced_pod_exec, "executed", NAMESPACE, **options)

    both = execute("sh", "-c", "echo out; echo err >&2; exit 3")
    both.run_forever(timeout=10)
    assert (both.read_stdout(), both.read_stderr(), both.returncode) == ("out\n", "err\n", 3)
    typed = execute("sh", stdin=True)
    typed.write_stdin("echo $((6*7)); exit\n")
    typed.run_forever(timeout=10)
    assert typed.read_stdout() == "42\n"
    long = execute("python", "-c", "print('x' * 5_000_000)")
    long.run_forever(timeout=20)
    assert len(long.read_stdout()) == 5_000_001
    missing = execute("no-such-program")
    missing.run_forever(timeout=10)
    assert missing.returncode in {126, 127}


def test_a_long_log_arrives_whole(api: client.CoreV1Api) -> None:
    assert run(api, pod("wordy", "for n in range(100_000): print(n)")).status.phase == "Succeeded"
    assert log_of(api, "wordy") == b"".join(b"%d\n" % n for n in range(100_000))


def test_termination(api: client.CoreV1Api) -> None:
    graceful = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); "
    running(api, pod("graceful", graceful + READY))
    api.delete_namespaced_pod("graceful", NAMESPACE, grace_period_seconds=20)
    ended = eventually(
        "its end", lambda: (p := api.read_namespaced_pod("graceful", NAMESPACE)).status.phase == "Failed" and p
    )
    assert ended.status.container_statuses[0].state.terminated.exit_code == 7
    running(api, pod("stubborn", f"import signal, time; signal.signal(15, signal.SIG_IGN); {READY}"))
    api.delete_namespaced_pod("stubborn", NAMESPACE, grace_period_seconds=1)
    ended = eventually(
        "its end", lambda: (p := api.read_namespaced_pod("stubborn", NAMESPACE)).status.phase == "Failed" and p
    )
    assert ended.status.container_statuses[0].state.terminated.exit_code == 137


def test_a_container_that_somebody_removes(api: client.CoreV1Api, engine: DockerEngine) -> None:
    running(api, pod("removed", f"import time; {READY}"))
    engine.docker("rm", "--force", *containers_of(engine, "removed"))
    eventually("its end", lambda: phase(api, "removed") == "Failed")
    state = api.read_namespaced_pod("removed", NAMESPACE).status.container_statuses[0].state.terminated
    assert state.exit_code == 137


def test_kill_9_and_restart_leave_no_container(make_server: Callable[..., PodServer], engine: DockerEngine) -> None:
    server, other = make_server("docker"), make_server("docker")
    api = server.api()
    running(api, pod("orphan", f"import time; {READY}"))
    running(other.api(), pod("not-an-orphan", f"import time; {READY}"))
    server.kill()
    assert containers_of(engine, "orphan")
    server.start()
    assert containers_of(engine, "orphan") == []
    assert containers_of(engine, "not-an-orphan")
    lost = server.api().read_namespaced_pod("orphan", NAMESPACE)
    assert (lost.status.phase, lost.status.reason) == ("Failed", "NodeLost")
    assert other.stop() < 5
    assert containers_of(engine, "not-an-orphan") == []


# -- the engine's address


@pytest.mark.parametrize("address", ["", "unix://", "ssh://host", "http://x", "nonsense"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(WtmoError, match="no address of an engine"):
        Engine(address)


async def test_an_engine_that_does_not_answer(tmp_path: Path) -> None:
    engine = Engine(f"unix://{tmp_path}/nobody")
    with pytest.raises(WtmoError, match="no Docker engine answers at"):
        await engine.open()


async def test_output_that_nobody_reads_is_held_back(engine: DockerEngine) -> None:
    """A command that writes without end takes no memory without end."""
    client_of = Engine(engine.address)
    await client_of.open()
    body = {
        "Image": SHELL_IMAGE,
        "Cmd": ["cat", "/dev/zero"],
        "HostConfig": {"NetworkMode": "host", "LogConfig": {"Type": "none"}},
    }
    identity = (await client_of.call("POST", "/containers/create", body=body))["Id"]
    try:
        opened = await client_of.stream(f"/containers/{identity}/attach", {"stream": "1", "stdout": "1"})
        output, _ = opened.divide(merge=True)
        await client_of.call("POST", f"/containers/{identity}/start")
        assert await output.readexactly(100) == b"\0" * 100
        await asyncio.sleep(0.3)
        assert len(output._buffer) < 1_000_000
        opened.close()
    finally:
        await client_of.call("DELETE", f"/containers/{identity}", query={"force": "1"})
        await client_of.close()
