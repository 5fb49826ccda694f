"""The server's own life: kill -9, restart, SIGTERM, wrong options; and what a container can see."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.wtmo.local.pods.support import (
    NAMESPACE,
    SIDECAR,
    PodServer,
    alive,
    eventually,
    gone,
    log_of,
    phase,
    pod,
    processes_with,
    run,
)
from utils.config import ROOT, environment
from wtmo.local.pods import cluster, records
from wtmo.local.pods.cluster import Cluster, Settings
from wtmo.local.pods.images import ImageTable
from wtmo.local.pods.runtimes import SEARCH_PATH, NamespaceRuntime, Orders, ProcessRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.loopback

RUNTIMES = pytest.mark.parametrize("runtime", ["namespace", "process"])
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for folder in Path(f"/proc/{pid}/task").iterdir():
        for child in (folder / "children").read_text().split():
            found |= {int(child)} | descendants(int(child))
    return found


@linux
@RUNTIMES
def test_kill_9_leaves_no_process_and_a_restart_tells(make_server: Callable[..., PodServer], runtime: str) -> None:
    server = make_server(runtime)
    api = server.api()
    run(api, pod("done", "print('kept')", metadata={"labels": {"a": "b"}}))
    marker = f"killed-server-{runtime}"
    api.create_namespaced_pod(
        NAMESPACE, pod("running", "import time; print('begun', flush=True); time.sleep(600)", marker)
    )
    eventually("the program", lambda: phase(api, "running") == "Running" and log_of(api, "running"))
    api.create_namespaced_pod(NAMESPACE, pod("unstartable", image="example.com/none:1"))
    eventually("its status", lambda: api.read_namespaced_pod("unstartable", NAMESPACE).status.container_statuses)
    version = int(api.read_namespaced_pod("running", NAMESPACE).metadata.resource_version)
    children = descendants(server.pid)
    assert children >= set(processes_with(marker))
    assert processes_with(marker)

    server.kill()
    eventually("the end of its processes", lambda: not any(map(alive, children)), 3)
    assert not processes_with(marker)

    server.start()
    api = server.api()
    lost = api.read_namespaced_pod("running", NAMESPACE)
    assert (lost.status.phase, lost.status.reason) == ("Failed", "NodeLost")
    assert "killed" in lost.status.message
    state = lost.status.container_statuses[0].state.terminated
    assert (state.reason, state.exit_code) == ("ContainerStatusUnknown", 137)
    assert state.started_at is not None
    assert state.finished_at is not None
    assert int(lost.metadata.resource_version) > version
    assert log_of(api, "running", follow=True) == b"begun\n"
    assert phase(api, "unstartable") == "Failed"
    done = api.list_namespaced_pod(NAMESPACE, label_selector="a=b").items
    assert [(each.metadata.name, each.status.phase) for each in done] == [("done", "Succeeded")]
    assert log_of(api, "done") == b"kept\n"
    assert run(api, pod("after", "pass")).status.phase == "Succeeded"
    recorded = {record["name"]: record["phase"] for record in records.read(server.state)}
    assert recorded == {"done": "Succeeded", "running": "Failed", "unstartable": "Failed", "after": "Succeeded"}
    assert len(list(records.read(server.state))) == len(recorded)


@linux
@RUNTIMES
def test_sigterm_ends_everything_within_3_s(make_server: Callable[..., PodServer], runtime: str) -> None:
    server = make_server(runtime)
    api = server.api()
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    for number in range(3):
        api.create_namespaced_pod(NAMESPACE, pod(f"stubborn-{number}", code))
    for number in range(3):
        eventually(
            "the programs", lambda name=f"stubborn-{number}": phase(api, name) == "Running" and log_of(api, name)
        )
    follower = api.read_namespaced_pod_log("stubborn-0", NAMESPACE, follow=True, _preload_content=False)
    children = descendants(server.pid)
    assert server.stop() < 3
    assert not any(map(alive, children))
    assert follower.data == b"ready\n"
    server.start()
    stopped = server.api().read_namespaced_pod("stubborn-1", NAMESPACE)
    assert (stopped.status.phase, stopped.status.reason) == ("Failed", "NodeShutdown")


@linux
def test_an_idle_server_is_small(make_server: Callable[..., PodServer]) -> None:
    server = make_server("process")
    for _ in range(3):
        server.api().list_namespaced_pod(NAMESPACE)
    status = Path(f"/proc/{server.pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0])
    assert resident < 60 * 1024


def test_a_pod_that_was_being_deleted_is_gone_after_a_restart(make_server: Callable[..., PodServer]) -> None:
    server = make_server("process", "--removal-delay", "600")
    api = server.api()
    run(api, pod("leaving", "pass"))
    api.delete_namespaced_pod("leaving", NAMESPACE)
    assert phase(api, "leaving") == "Succeeded"
    server.kill()
    server.start()
    assert gone(server.api(), "leaving")
    assert not list((server.state / "pods").iterdir())


def test_startup_delay(make_server: Callable[..., PodServer]) -> None:
    server = make_server("process", "--startup-delay", "1")
    api = server.api()
    start = time.monotonic()
    api.create_namespaced_pod(NAMESPACE, pod("slow", "pass"))
    api.create_namespaced_pod(NAMESPACE, pod("deleted", "pass"))
    read = api.read_namespaced_pod("slow", NAMESPACE)
    assert (read.status.phase, read.status.container_statuses) == ("Pending", None)
    api.delete_namespaced_pod("deleted", NAMESPACE)  # before it ever started
    eventually("the removal", lambda: gone(api, "deleted"))
    eventually("the end", lambda: phase(api, "slow") == "Succeeded")
    assert time.monotonic() - start >= 1


def test_image_environment_and_secrets(make_server: Callable[..., PodServer], tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "file").write_text("seen")
    (tmp_path / "env.json").write_text(json.dumps({"BQETL_CHECKOUT": str(checkout), "A": "of the image"}))
    (tmp_path / "secrets.json").write_text(json.dumps({"s": {"k": "of the file"}}))
    server = make_server(
        "auto", "--image-env", str(tmp_path / "env.json"), "--secrets", str(tmp_path / "secrets.json")
    )  # fmt: skip
    api = server.api()
    code = (
        "import json, os; e = os.environ;"
        "print(json.dumps([open(e['BQETL_CHECKOUT'] + '/file').read(), e['A'], e['S'], e['P_k'], 'PYTHONHOME' in e]))"
    )
    container = {
        "env": [
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "PYTHONHOME", "value": "/nowhere"},
        ],
        "envFrom": [{"secretRef": {"name": "s"}, "prefix": "P_"}, {"configMapRef": {"name": "c"}}],
    }
    assert run(api, pod("imaged", code, container=container)).status.phase == "Succeeded", log_of(api, "imaged")
    assert json.loads(log_of(api, "imaged")) == ["seen", "of the image", "of the file", "of the file", False]


# -- what a container sees (namespace runtime)


@pytest.fixture(scope="module")
def isolated(make_server: Callable[..., PodServer]) -> PodServer:
    return make_server("namespace")


def shell(server: PodServer, name: str, script: str, **spec: object) -> str:
    """Output of a shell script in the sidecar's image."""
    api = server.api()
    container = {"command": ["sh", "-c", script], "args": [], **spec.pop("container", {})}  # type: ignore[dict-item]
    run(api, pod(name, image=SIDECAR, container=container, **spec))
    return log_of(api, name).decode()


def test_a_container_sees_its_own_processes_only(isolated: PodServer) -> None:
    assert (
        shell(isolated, "processes", "echo $$$$; ls /proc | grep -c '^[0-9]'; cat /proc/[0-9]*/environ").split("\n")[0]
        == "1"
    )
    listed = shell(isolated, "names", "cat /proc/[0-9]*/comm").split()
    assert set(listed) <= {"sh", "cat"}


def test_a_container_sees_nothing_of_the_servers_environment(isolated: PodServer) -> None:
    seen = shell(isolated, "environment", "cat /proc/*/environ /proc/self/environ | tr '\\0' '\\n'; env")
    assert "A_SECRET_OF_THE_SERVER" not in seen
    assert "must not leak" not in seen


def test_temporary_folders_are_the_containers_own_and_the_host_is_read_only(
    isolated: PodServer, tmp_path: Path
) -> None:
    (Path(tempfile.gettempdir()) / "wtmo-host-file").write_text("host")
    try:
        seen = shell(
            isolated, "folders",
            f"ls -A /tmp /run /airflow; touch /tmp/mine /run/mine && echo writable; touch {ROOT}/mine /usr/mine; ls {ROOT}",
        )  # fmt: skip
    finally:
        (Path(tempfile.gettempdir()) / "wtmo-host-file").unlink()
    assert "wtmo-host-file" not in seen
    assert "writable" in seen
    assert seen.count("Read-only file system") == 2
    assert "pyproject.toml" in seen
    assert not (Path(tempfile.gettempdir()) / "mine").exists()


def test_the_servers_state_is_not_seen(isolated: PodServer) -> None:
    assert (isolated.state / "pods").is_dir()
    assert shell(isolated, "state", f"ls -A {isolated.state} 2>&1; true") in {
        "",
        f"ls: cannot access '{isolated.state}': No such file or directory\n",
    }


def test_volumes_are_shared_and_can_be_read_only(isolated: PodServer) -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    init = {
        "name": "first", "image": SIDECAR, "command": ["sh", "-c", "echo shared > /data/deep/file"],
        "volumeMounts": [{"name": "v", "mountPath": "/data/deep"}],
    }  # fmt: skip
    seen = shell(
        isolated, "volumes", "cat /tmp/v/file; touch /tmp/v/other",
        container={"volumeMounts": [{"name": "v", "mountPath": "/tmp/v", "readOnly": True}]},
        volumes=volumes, initContainers=[init],
    )  # fmt: skip
    assert seen.startswith("shared\n")
    assert "Read-only file system" in seen


@pytest.mark.parametrize("target", ["/usr/not-there", "/.host/tmp/wtmo-escape", "/etc/passwd"])
def test_a_volume_where_there_can_be_none(isolated: PodServer, target: str) -> None:
    name = f"mount{abs(hash(target)) % 1000}"
    container = {"command": ["true"], "args": [], "volumeMounts": [{"name": "v", "mountPath": target}]}
    ended = run(isolated.api(), pod(name, image=SIDECAR, container=container, volumes=[{"name": "v", "emptyDir": {}}]))
    state = ended.status.container_statuses[0].state.terminated
    assert (state.reason, state.exit_code) == ("StartError", 128)
    assert not Path("/tmp/wtmo-escape").exists()


def test_a_project_under_tmp_is_seen(make_server: Callable[..., PodServer], tmp_path: Path) -> None:
    """The interpreter, the project and what the image environment names stay visible wherever they lie."""
    make_server("namespace")  # skips where there are none
    real, link, hidden = tmp_path / "real", tmp_path / "link", tmp_path / "real" / "state"
    hidden.mkdir(parents=True)
    (real / "file").write_text("seen")
    (hidden / "secret").write_text("secret")
    link.symlink_to(real)

    async def output() -> str:
        runtime = NamespaceRuntime(visible=[link], masked=[hidden], platform="marker")
        script = f"cat {link}/file {real}/file; ls -A {hidden}; touch {real}/x; echo $WTMO_PLATFORM; ls -A {tmp_path}"
        folder = tmp_path / "container"
        folder.mkdir()
        container = await runtime.start(Orders(["sh", "-c", script], {"PATH": SEARCH_PATH}, folder))
        text = (await container.output.read()).decode()
        assert await container.wait() == 0
        return text

    text = asyncio.run(output())
    assert text.startswith("seenseen")
    assert "secret" not in text
    assert "Read-only file system" in text
    assert text.endswith("marker\nlink\nreal\n")


# -- state


async def test_old_pods_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "KEPT_PODS", 3)
    images = ImageTable(frozenset({"example.com/job"}))
    found = Cluster(tmp_path, ProcessRuntime(platform=None), images, Settings())
    for number in range(6):
        found.create(NAMESPACE, pod(f"p{number}", image="example.com/job:1"))
        running = found.pod(NAMESPACE, f"p{number}").task
        assert running is not None
        await running
    assert [each["metadata"]["name"] for each in found.find(None, lambda _: True)] == ["p3", "p4", "p5"]
    assert len(list((tmp_path / "pods").iterdir())) == 3
    again = Cluster(tmp_path, ProcessRuntime(platform=None), images, Settings())
    assert [each["metadata"]["name"] for each in again.find(None, lambda _: True)] == ["p3", "p4", "p5"]
    assert len(list(records.read(tmp_path))) == 6


def test_a_pod_cut_short_on_disk_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "pods" / "half").mkdir(parents=True)
    (tmp_path / "pods" / "half" / "pod.json.new").write_text('{"meta')
    (tmp_path / "records.ndjson").write_text('{"name": "whole"}\n{"na')
    found = Cluster(tmp_path, ProcessRuntime(platform=None), ImageTable(frozenset()), Settings())
    assert found.find(None, lambda _: True) == []
    assert not list((tmp_path / "pods").iterdir())
    assert [record["name"] for record in records.read(tmp_path)] == ["whole"]


# -- options


def serve(server: PodServer, **replaced: str) -> subprocess.CompletedProcess[str]:
    options = {
        "--port": "1", "--state": str(server.folder / "other"), "--cert": str(server.certificates.certificate),
        "--key": str(server.certificates.key), "--token-file": str(server.folder / "token"), "--runtime": "process",
    } | {f"--{name.replace('_', '-')}": value for name, value in replaced.items()}  # fmt: skip
    argv = [sys.executable, "-m", "wtmo.local.pods", *(word for pair in options.items() for word in pair)]
    env = environment() | {"PYTHONPATH": str(ROOT), "DOCKER_HOST": "unix:///nowhere"}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)


def test_wrong_options_say_what_is_wrong(make_server: Callable[..., PodServer], tmp_path: Path) -> None:
    server = make_server("process")
    (tmp_path / "empty").touch()
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "wrong.json").write_text('{"A": 1}')
    (tmp_path / "key.json").write_text('{"A": {"../x": "y"}}')
    for options, said in (
        ({"port": str(server.port)}, f"cannot listen on 127.0.0.1:{server.port}"),
        ({"state": str(server.state)}, "another pod server uses"),
        ({"state": str(tmp_path / "empty" / "x")}, "cannot write to the state folder"),
        ({"token_file": str(tmp_path / "none")}, "cannot read --token-file"),
        ({"token_file": str(tmp_path / "empty")}, "is empty"),
        ({"cert": str(tmp_path / "empty")}, "cannot use the certificate"),
        ({"image_env": str(tmp_path / "list.json")}, "must hold a JSON object"),
        ({"image_env": str(tmp_path / "wrong.json")}, "the value of A must be a text"),
        ({"secrets": str(tmp_path / "empty")}, "is not JSON"),
        ({"secrets": str(tmp_path / "wrong.json")}, "A must be an object"),
        ({"secrets": str(tmp_path / "key.json")}, "has the key '../x'"),
        ({"runtime": "docker"}, "no Docker engine answers at unix:///nowhere"),
    ):
        ended = serve(server, **options)
        assert (ended.returncode, "Traceback" in ended.stderr) == (2, False), ended.stderr
        assert said in ended.stderr
