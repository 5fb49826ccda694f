"""Several containers, restarts, volumes, secrets and limits: the same in every runtime."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client

from tests.wtmo.local.pods.support import NAMESPACE, PYTHON, PodServer, eventually, gone, log_of, phase, pod, run
from wtmo.local.pods.volumes import SHARED_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.loopback

SECRETS = {"known": {"user": "me", "password": "open sesame"}}
# Where a mount path is: in the process runtime there are no mounts.
AT = "import json, os, pathlib, stat, sys, time; m = json.loads(os.environ.get('WTMO_VOLUMES', '{}')); at = lambda p: pathlib.Path(m.get(p, p)); "


@pytest.fixture(scope="module", params=["namespace", "process", "docker"])
def server(
    request: pytest.FixtureRequest, make_server: Callable[..., PodServer], tmp_path_factory: pytest.TempPathFactory
) -> PodServer:
    file = tmp_path_factory.mktemp("secrets") / "secrets.json"
    file.write_text(json.dumps(SECRETS))
    return make_server(request.param, "--secrets", str(file), "--back-off", "0.6")


def python(name: str, code: str, **spec: Any) -> dict[str, Any]:
    return {"name": name, "image": PYTHON, "args": [AT + code], **spec}


def mounted(path: str, name: str = "v", **spec: Any) -> dict[str, Any]:
    return {"volumeMounts": [{"name": name, "mountPath": path, **spec}]}


def statuses(api: client.CoreV1Api, name: str) -> dict[str, client.V1ContainerStatus]:
    status = api.read_namespaced_pod(name, NAMESPACE).status
    found = [*(status.init_container_statuses or []), *(status.container_statuses or [])]
    return {each.name: each for each in found}


def conditions(api: client.CoreV1Api, name: str) -> dict[str, tuple[str, str | None]]:
    listed = api.read_namespaced_pod(name, NAMESPACE).status.conditions
    return {each.type: (each.status, each.reason) for each in listed}


def event_reasons(api: client.CoreV1Api, name: str) -> list[str]:
    selector = f"involvedObject.name={name}"
    return [event.reason for event in api.list_namespaced_event(NAMESPACE, field_selector=selector).items]


# -- order and statuses


def test_init_containers_run_one_by_one_before_the_others(api: client.CoreV1Api) -> None:
    append = "f = at('/data/order').open('a'); f.write({!r}); f.close()"
    hold = "; [time.sleep(0.05) for _ in iter(lambda: at('/data/go').exists(), True)]"
    volume = mounted("/data")
    inits = [
        python("one", append.format("1").replace("at('/data/order')", "(at('/data') / 'order')")
               + hold.replace("at('/data/go')", "(at('/data') / 'go')"), **volume),
        python("two", append.format("2").replace("at('/data/order')", "(at('/data') / 'order')"), **volume),
    ]  # fmt: skip
    body = pod("ordered", AT + "print((at('/data') / 'order').read_text())", container=volume, initContainers=inits)
    body["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]
    body["spec"]["containers"].append(python("beside", "print('beside')"))
    api.create_namespaced_pod(NAMESPACE, body)
    eventually("the first", lambda: "one" in statuses(api, "ordered") and statuses(api, "ordered")["one"].state.running)
    seen = statuses(api, "ordered")
    assert {name: seen[name].state.waiting.reason for name in ("two", "base", "beside")} == dict.fromkeys(
        ("two", "base", "beside"), "PodInitializing"
    )
    assert phase(api, "ordered") == "Pending"
    assert conditions(api, "ordered")["Initialized"] == ("False", "ContainersNotInitialized")
    api.delete_namespaced_pod("ordered", NAMESPACE, grace_period_seconds=0)
    eventually("the removal", lambda: gone(api, "ordered"))
    inits[0]["args"] = [inits[0]["args"][0].partition("; [time")[0]]
    run(api, body)
    seen = statuses(api, "ordered")
    assert log_of(api, "ordered", container="base") == b"12\n"
    assert log_of(api, "ordered", container="beside") == b"beside\n"
    assert [(name, each.ready, each.state.terminated.exit_code) for name, each in seen.items()] == [
        ("one", True, 0), ("two", True, 0), ("base", False, 0), ("beside", False, 0),
    ]  # fmt: skip
    ends = [seen[name].state.terminated for name in ("one", "two", "base")]
    assert all(earlier.finished_at <= later.started_at for earlier, later in itertools.pairwise(ends))
    assert conditions(api, "ordered")["Initialized"] == ("True", None)


def test_one_container_that_fails_fails_the_pod_when_the_last_has_ended(api: client.CoreV1Api) -> None:
    body = pod("mixed", "import sys; sys.exit(3)")
    body["spec"]["containers"].append(python("longer", "time.sleep(0.5); print('to the end')"))
    ended = run(api, body)
    assert ended.status.phase == "Failed"
    assert {name: each.state.terminated.exit_code for name, each in statuses(api, "mixed").items()} == {
        "base": 3, "longer": 0,
    }  # fmt: skip
    assert log_of(api, "mixed", container="longer") == b"to the end\n"


# -- restarts


def count(to: int, otherwise: str) -> str:
    """A program that counts its starts in the volume, and ends well with the last."""
    return (
        "f = at('/data') / 'starts'; n = int(f.read_text() or 0) + 1 if f.exists() else 1; f.write_text(str(n));"
        f"print('start', n); sys.exit(0 if n == {to} else {otherwise})"
    )


def counting(name: str, code: str, policy: str) -> dict[str, Any]:
    volumes = [{"name": "v", "emptyDir": {}}]
    return pod(name, AT + code, container=mounted("/data"), volumes=volumes, restartPolicy=policy)


def test_on_failure_a_container_is_started_again_until_it_ends_well(api: client.CoreV1Api) -> None:
    api.create_namespaced_pod(NAMESPACE, counting("again", count(3, "7"), "OnFailure"))
    waiting = eventually("the back-off", lambda: (s := statuses(api, "again").get("base")) and s.state.waiting and s)
    if waiting.state.waiting.reason != "CrashLoopBackOff":
        waiting = eventually(
            "the crash loop",
            lambda: (s := statuses(api, "again")["base"]).state.waiting and s.state.waiting.reason == "CrashLoopBackOff" and s,
        )  # fmt: skip
    assert waiting.last_state.terminated.exit_code == 7
    assert phase(api, "again") == "Running"
    eventually("its end", lambda: phase(api, "again") == "Succeeded")
    status = statuses(api, "again")["base"]
    assert (status.restart_count, status.state.terminated.exit_code) == (2, 0)
    assert log_of(api, "again") == b"start 3\n"
    assert log_of(api, "again", previous=True) == b"start 2\n"
    assert event_reasons(api, "again").count("Started") == 3
    assert "BackOff" in event_reasons(api, "again")


def test_an_init_container_is_tried_again_too(api: client.CoreV1Api) -> None:
    body = counting("init-again", "print('main')", "OnFailure")
    body["spec"]["initContainers"] = [python("first", count(2, "5"), **mounted("/data"))]
    assert run(api, body).status.phase == "Succeeded"
    assert {name: each.restart_count for name, each in statuses(api, "init-again").items()} == {"first": 1, "base": 0}


def test_always_starts_what_ended_well_again(api: client.CoreV1Api) -> None:
    body = counting("always", count(0, "0"), "Always")
    api.create_namespaced_pod(NAMESPACE, body)
    eventually("two restarts", lambda: (s := statuses(api, "always").get("base")) and s.restart_count >= 2)
    assert phase(api, "always") == "Running"
    api.delete_namespaced_pod("always", NAMESPACE, grace_period_seconds=0)
    eventually("the removal", lambda: gone(api, "always"))


def test_never_starts_nothing_again(api: client.CoreV1Api) -> None:
    assert run(api, counting("never", count(2, "5"), "Never")).status.phase == "Failed"
    assert statuses(api, "never")["base"].restart_count == 0
    with pytest.raises(client.ApiException, match="previous terminated container"):
        log_of(api, "never", previous=True)


# -- volumes


@pytest.mark.parametrize("medium", ["", "Memory"])
def test_containers_share_a_volume(api: client.CoreV1Api, server: PodServer, medium: str) -> None:
    name = f"shared-{medium.lower() or 'disk'}"
    wait = "[time.sleep(0.05) for _ in iter(lambda: (at('/there') / 'done').exists(), True)]; "
    show = "print((at('/there') / 'done').read_text(), stat.filemode(at('/there').stat().st_mode))"
    body = pod(
        name, AT + wait + show, container=mounted("/there"), volumes=[{"name": "v", "emptyDir": {"medium": medium}}]
    )
    writer = "f = at('/here') / 'new'; f.write_text('from beside'); f.rename(at('/here') / 'done')"
    body["spec"]["containers"].append(python("beside", writer, **mounted("/here")))
    ended = run(api, body)
    assert ended.status.phase == "Succeeded", statuses(api, name)
    assert log_of(api, name, container="base") == b"from beside drwxrwxrwx\n"
    left = {each.name for each in (server.state / "pods" / ended.metadata.uid).iterdir()}
    assert left == {"pod.json", "base.log", "beside.log"}


def test_a_volume_in_memory_leaves_nothing(api: client.CoreV1Api) -> None:
    volumes = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
    code = "(at('/m') / 'f').write_text('x'); print('ready', flush=True); time.sleep(600)"
    api.create_namespaced_pod(NAMESPACE, pod("in-memory", AT + code, container=mounted("/m"), volumes=volumes))
    eventually("it", lambda: phase(api, "in-memory") == "Running" and b"ready" in log_of(api, "in-memory"))
    uid = api.read_namespaced_pod("in-memory", NAMESPACE).metadata.uid
    folder = SHARED_MEMORY / f"wtmo-pod-{uid}"
    assert (folder / "v" / "f").read_text() == "x"
    api.delete_namespaced_pod("in-memory", NAMESPACE, grace_period_seconds=0)
    eventually("the removal", lambda: gone(api, "in-memory"))
    assert not folder.exists()


def test_a_volume_over_its_size_evicts_the_pod(api: client.CoreV1Api) -> None:
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]
    code = "(at('/v') / 'f').write_bytes(b'x' * 3_000_000); print('written', flush=True); time.sleep(600)"
    ended = run(api, pod("oversized", AT + code, container=mounted("/v"), volumes=volumes))
    assert (ended.status.phase, ended.status.reason) == ("Failed", "Evicted")
    assert ended.status.message == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '


# -- secrets


def secret_pod(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    show = "print(json.dumps({str(p.relative_to(at('/s'))): [p.read_text(), stat.S_IMODE(p.stat().st_mode)] for p in at('/s').rglob('*') if p.is_file()}))"
    return pod(name, AT + show, container=mounted("/s"), volumes=[{"name": "v", "secret": source}], **spec)


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("whole", {"secretName": "known"}, {"user": ["me", 0o644], "password": ["open sesame", 0o644]}),
        (
            "items",
            {
                "secretName": "known",
                "defaultMode": 0o400,
                "items": [
                    {"key": "user", "path": "a/b"},
                    {"key": "password", "path": "p", "mode": 0o440},
                    {"key": "unknown", "path": "u"},
                ],
            },
            {"a/b": ["me", 0o400], "p": ["open sesame", 0o440], "u": ["local-unknown", 0o400]},
        ),
        ("optional", {"secretName": "absent", "optional": True}, {}),
        (
            "optional-key",
            {"secretName": "known", "optional": True, "items": [{"key": "unknown", "path": "u"}]},
            {},
        ),
    ],
)
def test_a_secret_is_files(api: client.CoreV1Api, name: str, source: dict[str, Any], expected: dict[str, Any]) -> None:
    body = secret_pod(f"secret-{name}", source)
    assert run(api, body).status.phase == "Succeeded"
    assert json.loads(log_of(api, f"secret-{name}")) == expected


def test_a_secret_that_is_not_there_holds_the_pod(api: client.CoreV1Api) -> None:
    api.create_namespaced_pod(NAMESPACE, secret_pod("no-secret", {"secretName": "absent"}))
    eventually("the event", lambda: "FailedMount" in event_reasons(api, "no-secret"))
    assert statuses(api, "no-secret")["base"].state.waiting.reason == "ContainerCreating"
    assert phase(api, "no-secret") == "Pending"
    api.delete_namespaced_pod("no-secret", NAMESPACE)
    eventually("the removal", lambda: gone(api, "no-secret"))


def test_secrets_as_variables(api: client.CoreV1Api) -> None:
    def from_key(secret: str, key: str, **more: object) -> dict[str, Any]:
        return {"valueFrom": {"secretKeyRef": {"name": secret, "key": key, **more}}}

    container = {
        "env": [
            {"name": "A", **from_key("known", "user")},
            {"name": "B", **from_key("known", "none")},
            {"name": "C", **from_key("known", "none", optional=True)},
        ],
        "envFrom": [{"secretRef": {"name": "known"}, "prefix": "P_"}],
    }
    code = "import os; print([os.environ.get(n) for n in ('A', 'B', 'C', 'P_user', 'P_password')])"
    assert run(api, pod("secret-env", code, container=container)).status.phase == "Succeeded"
    assert log_of(api, "secret-env") == b"['me', 'local-none', None, 'me', 'open sesame']\n"


# -- limits


def limited(name: str, code: str, **limits: str) -> dict[str, Any]:
    return pod(name, code, container={"resources": {"limits": limits}})


def test_a_program_over_its_memory_limit_is_killed(api: client.CoreV1Api) -> None:
    eat = "import time; print('eating', flush=True); kept = [bytearray(1_000_000) for _ in range(400)]; time.sleep(60)"
    ended = run(api, limited("eater", eat, memory="100Mi"))
    state = ended.status.container_statuses[0].state.terminated
    assert (ended.status.phase, state.exit_code, state.reason) == ("Failed", 137, "OOMKilled")
    assert log_of(api, "eater") == b"eating\n"
    below = "kept = [bytearray(1_000_000) for _ in range(40)]; print('enough')"
    assert run(api, limited("modest", below, memory="100Mi")).status.phase == "Succeeded"


def test_a_failure_within_the_limit_is_no_oom(api: client.CoreV1Api) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); import sys; sys.exit(9)"
    ended = run(api, limited("other", code, memory="100Mi"))
    assert ended.status.container_statuses[0].state.terminated.reason == "Error"


def test_a_wrong_limit_is_refused(api: client.CoreV1Api) -> None:
    with pytest.raises(client.ApiException, match=r"resources\.limits\.memory"):
        api.create_namespaced_pod(NAMESPACE, limited("wrong", "pass", memory="lots"))
    assert gone(api, "wrong")


def test_nothing_is_left(server: PodServer) -> None:
    """Of all of the above: no control group of a container."""
    remembered = server.state / "control-groups"
    bases = [] if not remembered.exists() else [*map(Path, remembered.read_text().split())]
    eventually("the last ends", lambda: not any(each.is_dir() for base in bases for each in base.iterdir()))
    assert (server.runtime == "docker") == (not remembered.exists())
