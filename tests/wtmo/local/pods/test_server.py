"""Every route, with the real clients, in both runtimes."""

from __future__ import annotations

import json
import ssl
import time
import urllib.request
from typing import Any

import kubernetes_asyncio
import pytest
from kubernetes import client, watch
from kubernetes.stream import stream

from tests.wtmo.local.pods.support import (
    NAMESPACE,
    PYTHON,
    RECORDED,
    SIDECAR,
    TOKEN,
    UNKNOWN,
    PodServer,
    eventually,
    gone,
    log_of,
    phase,
    pod,
    processes_with,
    run,
)

pytestmark = pytest.mark.loopback

SLEEP = "import time; print('begun', flush=True); time.sleep(600)"


def status_of(error: pytest.ExceptionInfo[client.ApiException]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(error.value.body)
    assert body["kind"] == "Status"
    assert body["code"] == error.value.status
    return body


def fetch(server: PodServer, path: str, **headers: str) -> tuple[int, dict[str, Any] | str]:
    context = ssl.create_default_context(cafile=str(server.certificates.ca))
    request = urllib.request.Request(server.url + path, headers=headers)
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


# -- who may ask


def test_healthz_and_version_need_no_token(server: PodServer) -> None:
    assert fetch(server, "/healthz") == (200, "ok")
    assert fetch(server, "/version")[0] == 200


@pytest.mark.parametrize(
    "header", [None, "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"]
)
def test_without_the_token_everything_is_401(server: PodServer, header: str | None) -> None:
    for path in ("/api/v1/namespaces/default/pods", "/api/v1/pods", "/nothing"):
        code, body = fetch(server, path, **({"Authorization": header} if header else {}))
        assert code == 401
        assert isinstance(body, dict)
        assert (body["kind"], body["reason"]) == ("Status", "Unauthorized")


def test_a_client_that_does_not_know_the_ca_refuses(server: PodServer) -> None:
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(server.url + "/healthz", timeout=10)


def test_unknown_routes_and_methods_answer_with_a_status(server: PodServer) -> None:
    code, body = fetch(server, "/apis/apps/v1/deployments", Authorization=f"Bearer {TOKEN}")
    assert code == 404
    assert isinstance(body, dict)
    assert body["reason"] == "NotFound"


# -- create, read, list


def test_a_pod_runs_to_its_end(api: client.CoreV1Api) -> None:
    ended = run(api, pod("ends", "import sys; print('out'); print('err', file=sys.stderr)"))
    assert ended.status.phase == "Succeeded"
    state = ended.status.container_statuses[0].state.terminated
    assert (state.exit_code, state.reason) == (0, "Completed")
    assert state.started_at <= state.finished_at
    assert sorted(log_of(api, "ends").split()) == [b"err", b"out"]
    assert {each.type: each.status for each in ended.status.conditions}["PodScheduled"] == "True"


def test_a_failing_program_fails_the_pod_and_its_last_lines_are_the_message(api: client.CoreV1Api) -> None:
    code = "import sys; [print('line', n) for n in range(200)]; sys.exit('that went wrong')"
    ended = run(api, pod("fails", code, container={"terminationMessagePolicy": "FallbackToLogsOnError"}))
    state = ended.status.container_statuses[0].state.terminated
    assert (ended.status.phase, state.exit_code, state.reason) == ("Failed", 1, "Error")
    lines = state.message.splitlines()
    assert lines[-1] == "that went wrong"
    assert len(lines) == 80
    assert len(state.message) <= 2048


def test_a_name_is_taken_once_and_free_again_after_deletion(api: client.CoreV1Api) -> None:
    run(api, pod("taken", "pass"))
    with pytest.raises(client.ApiException) as error:
        api.create_namespaced_pod(NAMESPACE, pod("taken", "pass"))
    assert status_of(error)["reason"] == "AlreadyExists"
    assert error.value.status == 409
    api.delete_namespaced_pod("taken", NAMESPACE)
    eventually("the removal", lambda: gone(api, "taken"))
    assert run(api, pod("taken", "pass")).status.phase == "Succeeded"


def test_generate_name(api: client.CoreV1Api) -> None:
    body = pod("", "pass", metadata={"name": None, "generateName": "made-"})
    names = {api.create_namespaced_pod(NAMESPACE, body).metadata.name for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("made-") for name in names)


def test_pods_of_other_namespaces_are_others(api: client.CoreV1Api) -> None:
    api.create_namespaced_pod("other", pod("elsewhere", "pass"))
    assert gone(api, "elsewhere")
    assert [each.metadata.name for each in api.list_namespaced_pod("other").items] == ["elsewhere"]
    assert "elsewhere" in {each.metadata.name for each in api.list_pod_for_all_namespaces().items}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("set=s,a=1", {"s1"}),
        ("set=s,a==1", {"s1"}),
        ("set=s,a!=1", {"s2", "s3"}),
        ("set=s,a in (1, 2)", {"s1", "s2"}),
        ("set=s,a notin (1)", {"s2", "s3"}),
        ("set=s,a", {"s1", "s2"}),
        ("set=s,!a", {"s3"}),
        ("a in (1,2),set=s,!missing", {"s1", "s2"}),
        ("set=s,example.com/b=", {"s3"}),
        ("dag_id=d,kubernetes_pod_operator=True,already_checked!=True,!airflow-worker", set()),
    ],
)
def test_label_selectors(api: client.CoreV1Api, selector: str, expected: set[str]) -> None:
    if gone(api, "s1"):
        for name, labels in {"s1": {"a": "1"}, "s2": {"a": "2"}, "s3": {"example.com/b": ""}}.items():
            run(api, pod(name, "pass", metadata={"labels": {"set": "s", **labels}}))
    found = api.list_namespaced_pod(NAMESPACE, label_selector=selector).items
    assert {each.metadata.name for each in found} == expected


@pytest.mark.parametrize(
    "selector", ["a in 1", "=", "a==b==c", "a b", "(", "!", "a in (1", "a=b;c", "\x00", "a=" + "(" * 9]
)
def test_broken_selectors_are_400(api: client.CoreV1Api, selector: str) -> None:
    with pytest.raises(client.ApiException) as error:
        api.list_namespaced_pod(NAMESPACE, label_selector=selector)
    assert status_of(error)["code"] == 400


def test_field_selectors(api: client.CoreV1Api) -> None:
    run(api, pod("field", "pass"))
    listed = api.list_namespaced_pod(NAMESPACE, field_selector="metadata.name=field,status.phase!=Failed").items
    assert [each.metadata.name for each in listed] == ["field"]
    with pytest.raises(client.ApiException) as error:
        api.list_namespaced_pod(NAMESPACE, field_selector="spec.colour=red")
    assert "spec.colour" in status_of(error)["message"]


# -- patch


def test_labels_and_annotations_are_patched(api: client.CoreV1Api) -> None:
    run(api, pod("patched", "pass", metadata={"labels": {"keep": "1", "drop": "1"}}))
    body = {"metadata": {"labels": {"already_checked": "True", "drop": None}, "annotations": {"a.b/c": "any text, ü"}}}
    before = api.read_namespaced_pod("patched", NAMESPACE).metadata.resource_version
    answer = api.patch_namespaced_pod("patched", NAMESPACE, body)
    assert answer.metadata.labels == {"keep": "1", "already_checked": "True"}
    assert answer.metadata.annotations == {"a.b/c": "any text, ü"}
    assert int(answer.metadata.resource_version) > int(before)
    assert api.read_namespaced_pod("patched", NAMESPACE).metadata.labels == answer.metadata.labels


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"labels": {"a": "not a value!"}}},
        {"metadata": {"labels": {"a": 1}}},
        {"metadata": {"annotations": {"a": {"b": "c"}}}},
        {"metadata": {"name": "another"}},
        {"spec": {"containers": []}},
    ],
)
def test_other_patches_are_422_and_change_nothing(api: client.CoreV1Api, body: dict[str, Any]) -> None:
    if gone(api, "firm"):
        run(api, pod("firm", "pass"))
    before = api.read_namespaced_pod("firm", NAMESPACE)
    with pytest.raises(client.ApiException) as error:
        api.patch_namespaced_pod("firm", NAMESPACE, body)
    assert status_of(error)["code"] == 422
    assert api.read_namespaced_pod("firm", NAMESPACE) == before


# -- delete


def test_a_running_pod_ends_within_its_grace(api: client.CoreV1Api) -> None:
    marker = "handles-sigterm"
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print('ready', flush=True); time.sleep(600)"
    api.create_namespaced_pod(NAMESPACE, pod("graceful", code, marker))
    eventually("the program", lambda: phase(api, "graceful") == "Running" and b"ready" in log_of(api, "graceful"))
    assert processes_with(marker)
    answer = api.delete_namespaced_pod("graceful", NAMESPACE, grace_period_seconds=20)
    assert answer.metadata.deletion_grace_period_seconds == 20
    eventually("the end", lambda: phase(api, "graceful") == "Failed", 5)
    lingering = api.read_namespaced_pod("graceful", NAMESPACE)  # the object outlives its processes a little
    assert lingering.metadata.deletion_timestamp is not None
    assert lingering.status.container_statuses[0].state.terminated.exit_code == 7
    assert not processes_with(marker)
    eventually("the removal", lambda: gone(api, "graceful"), 5)


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(api: client.CoreV1Api) -> None:
    marker = "ignores-sigterm"
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    api.create_namespaced_pod(NAMESPACE, pod("stubborn", code, marker))
    eventually("the program", lambda: phase(api, "stubborn") == "Running" and b"ready" in log_of(api, "stubborn"))
    start = time.monotonic()
    api.delete_namespaced_pod("stubborn", NAMESPACE, body=client.V1DeleteOptions(grace_period_seconds=1))
    time.sleep(0.5)
    assert phase(api, "stubborn") == "Running"
    eventually("the end", lambda: phase(api, "stubborn") == "Failed", 5)
    assert time.monotonic() - start >= 1
    assert api.read_namespaced_pod("stubborn", NAMESPACE).status.container_statuses[0].state.terminated.exit_code == 137
    assert not processes_with(marker)


def test_a_second_delete_can_shorten_the_grace(api: client.CoreV1Api) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    api.create_namespaced_pod(NAMESPACE, pod("hurried", code))
    eventually("the program", lambda: phase(api, "hurried") == "Running" and b"ready" in log_of(api, "hurried"))
    api.delete_namespaced_pod("hurried", NAMESPACE, grace_period_seconds=500)
    api.delete_namespaced_pod("hurried", NAMESPACE, grace_period_seconds=0)
    eventually("the removal", lambda: gone(api, "hurried"), 5)


def test_deleting_what_is_not_there_or_is_another(api: client.CoreV1Api) -> None:
    with pytest.raises(client.ApiException) as error:
        api.delete_namespaced_pod("nobody", NAMESPACE)
    assert status_of(error)["reason"] == "NotFound"
    metadata = run(api, pod("particular", "pass")).metadata
    api.patch_namespaced_pod("particular", NAMESPACE, {"metadata": {"labels": {"changed": "since"}}})
    for same in ({"uid": "another"}, {"uid": metadata.uid, "resource_version": metadata.resource_version}):
        options = client.V1DeleteOptions(preconditions=client.V1Preconditions(**same))
        with pytest.raises(client.ApiException) as error:
            api.delete_namespaced_pod("particular", NAMESPACE, body=options)
        assert status_of(error)["reason"] == "Conflict"
    with pytest.raises(client.ApiException) as error:
        api.delete_namespaced_pod("particular", NAMESPACE, grace_period_seconds=-1)
    assert error.value.status == 400
    assert phase(api, "particular") == "Succeeded"
    metadata = api.read_namespaced_pod("particular", NAMESPACE).metadata
    same = client.V1Preconditions(uid=metadata.uid, resource_version=metadata.resource_version)
    api.delete_namespaced_pod("particular", NAMESPACE, body=client.V1DeleteOptions(preconditions=same))
    eventually("the removal", lambda: gone(api, "particular"), 5)


def test_a_pod_past_its_deadline_fails(api: client.CoreV1Api) -> None:
    ended = run(api, pod("late", SLEEP, activeDeadlineSeconds=1, terminationGracePeriodSeconds=1))
    assert (ended.status.phase, ended.status.reason) == ("Failed", "DeadlineExceeded")


# -- images


def test_an_unknown_image_is_reported_as_the_kubelet_does(api: client.CoreV1Api) -> None:
    api.create_namespaced_pod(NAMESPACE, pod("unknown", image=UNKNOWN))
    said = f'image "{UNKNOWN}" is not in the registry (utils/images.py) and has no stand-in'

    def waiting(reason: str) -> str | None:
        statuses = api.read_namespaced_pod("unknown", NAMESPACE).status.container_statuses
        state = statuses[0].state.waiting if statuses else None
        return state.message if state and state.reason == reason else None

    assert eventually("ErrImagePull", lambda: waiting("ErrImagePull")) == said
    assert said in eventually("ImagePullBackOff", lambda: waiting("ImagePullBackOff"))
    assert phase(api, "unknown") == "Pending"
    events = api.list_namespaced_event(NAMESPACE, field_selector="involvedObject.name=unknown,type=Warning").items
    assert [event.reason for event in events] == ["Failed", "BackOff"]
    assert said in events[0].message
    with pytest.raises(client.ApiException) as error:
        log_of(api, "unknown")
    assert "waiting to start: ImagePullBackOff" in status_of(error)["message"]
    api.delete_namespaced_pod("unknown", NAMESPACE)
    eventually("the removal", lambda: gone(api, "unknown"), 5)


def test_a_text_that_is_no_image(api: client.CoreV1Api) -> None:
    api.create_namespaced_pod(NAMESPACE, pod("misspelt", image="Not An Image"))

    def refused() -> bool:
        statuses = api.read_namespaced_pod("misspelt", NAMESPACE).status.container_statuses or ()
        return [status.state.waiting.reason for status in statuses] == ["InvalidImageName"]

    eventually("InvalidImageName", refused)


def test_a_registered_image_is_recorded(api: client.CoreV1Api, server: PodServer) -> None:
    env = [
        {"name": "PLAIN", "value": "plain-value"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "restricted", "key": "aws_key"}}},
    ]
    body = pod("recorded", "--day", "$(KEY)", "two words", image=RECORDED, container={"env": env})
    assert run(api, body).status.phase == "Succeeded"
    text = log_of(api, "recorded").decode()
    assert f"stand-in for the image {RECORDED}" in text
    for said in ("'--day'", "'$(KEY)'", "'two words'", "PLAIN", "KEY from restricted/aws_key"):
        assert f"  {said}\n" in text
    assert "plain-value" not in text
    assert "local-aws_key" not in text
    (record,) = [
        record for record in map(json.loads, (server.state / "records.ndjson").read_text().splitlines())
        if record["name"] == "recorded"
    ]  # fmt: skip
    (container,) = record["containers"]
    assert record["phase"] == "Succeeded"
    assert container["argv"] == ["--day", "$(KEY)", "two words"]
    assert container["environment"] == ["PLAIN", "KEY"]
    assert container["secrets"] == [{"variable": "KEY", "secret": "restricted", "key": "aws_key"}]
    assert (container["stand_in"], container["exit_code"]) == ("recorder", 0)


# -- what a container gets


def test_the_environment_is_the_pods_and_not_the_servers(api: client.CoreV1Api) -> None:
    env = [
        {"name": "LITERAL", "value": "a"},
        {"name": "EXPANDED", "value": "$(LITERAL) $$(LITERAL) $(NONE)"},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "missing_key"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
    ]
    code = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))"
    body = pod("env", code, "$(LITERAL)", container={"env": env}, metadata={"labels": {"team": "data"}})
    assert run(api, body).status.phase == "Succeeded"
    seen, arguments = json.loads(log_of(api, "env"))
    assert arguments == ["a"]
    expected = {
        "LITERAL": "a", "EXPANDED": "a $(LITERAL) $(NONE)", "SECRET": "local-missing_key", "NAME": "env", "LABEL": "data",
    }  # fmt: skip
    assert {name: seen[name] for name in expected} == expected
    known = {"PATH", "HOME", "HOSTNAME", "PYTHONPATH", "PYTHONUNBUFFERED", "WTMO_CONTAINER", "LC_CTYPE", "PWD"}
    assert seen.keys() - expected.keys() <= known


def test_a_program_that_is_not_there(api: client.CoreV1Api, server: PodServer) -> None:
    if "process" in server.argv:
        pytest.skip("the process runtime runs no container's own command")
    ended = run(api, pod("absent", "", image=SIDECAR, container={"command": ["no-such-program"]}))
    state = ended.status.container_statuses[0].state.terminated
    assert (ended.status.phase, state.exit_code, state.reason) == ("Failed", 128, "StartError")
    assert "no-such-program" in state.message


# -- events


def test_events_are_listed_and_watched(api: client.CoreV1Api) -> None:
    run(api, pod("eventful", "pass"))
    selector = "involvedObject.name=eventful"
    events = api.list_namespaced_event(NAMESPACE, field_selector=selector)
    assert [event.reason for event in events.items] == ["Scheduled", "Started"]
    assert events.items[1].involved_object.field_path == "spec.containers{base}"
    watched = watch.Watch().stream(
        api.list_namespaced_event, NAMESPACE, field_selector=selector, timeout_seconds=1, resource_version="0"
    )
    assert [(each["type"], each["object"].reason) for each in watched] == [("ADDED", "Scheduled"), ("ADDED", "Started")]
    newest = events.items[0].metadata.resource_version
    later = watch.Watch().stream(
        api.list_namespaced_event, NAMESPACE, field_selector=selector, timeout_seconds=1, resource_version=newest
    )
    assert [each["object"].reason for each in later] == ["Started"]


def test_a_watch_from_a_forgotten_version_is_410(api: client.CoreV1Api) -> None:
    with pytest.raises(client.ApiException) as error:
        api.list_namespaced_event(NAMESPACE, watch=True, resource_version="1", timeout_seconds=1)
    assert status_of(error)["code"] == 410


async def test_the_asyncio_client(server: PodServer) -> None:
    """What the trigger calls, as it calls it: a client for each call."""
    configuration = kubernetes_asyncio.client.Configuration(host=server.url)
    configuration.ssl_ca_cert = str(server.certificates.ca)
    configuration.api_key = {"BearerToken": f"Bearer {TOKEN}"}
    async with kubernetes_asyncio.client.ApiClient(configuration) as connection:
        api = kubernetes_asyncio.client.CoreV1Api(connection)
        await api.create_namespaced_pod(NAMESPACE, pod("async", "print('hello'); import time; time.sleep(1)"))
        reasons = []
        async with kubernetes_asyncio.watch.Watch().stream(
            api.list_namespaced_event, NAMESPACE, field_selector="involvedObject.name=async", timeout_seconds=1
        ) as events:
            reasons = [event["object"].reason async for event in events]
        assert reasons == ["Scheduled", "Started"]
        response = await api.read_namespaced_pod_log(
            "async", NAMESPACE, container="base", follow=True, timestamps=True, _preload_content=False
        )
        assert (await response.read()).endswith(b" hello\n")
        read = await api.read_namespaced_pod("async", NAMESPACE)
        assert read.status.container_statuses[0].state.terminated.exit_code == 0
        patched = await api.patch_namespaced_pod(
            "async", NAMESPACE, {"metadata": {"labels": {"already_checked": "True"}}}
        )
        assert patched.metadata.labels == {"already_checked": "True"}
        listed = await api.list_namespaced_pod(NAMESPACE, label_selector="already_checked=True")
        assert "async" in {each.metadata.name for each in listed.items}
        await api.delete_namespaced_pod("async", NAMESPACE, grace_period_seconds=0)


# -- exec


def test_exec_in_a_container(api: client.CoreV1Api, server: PodServer) -> None:
    api.create_namespaced_pod(NAMESPACE, pod("executed", SLEEP))
    eventually("the program", lambda: phase(api, "executed") == "Running")

    def execute(*command: str, **options: Any) -> Any:
        call = {
            "command": list(command),
            "container": "base",
            "stdout": True,
            "stderr": True,
            "stdin": False,
            "tty": False,
        }
        return stream(api.connect_get_namespaced_pod_exec, "executed", NAMESPACE, **{**call, **options})

    if "process" in server.argv:
        refused = execute("echo", "hi", _preload_content=False)
        refused.run_forever(timeout=10)
        assert refused.returncode == 126
        assert "exec of ['echo', 'hi'] is refused" in refused.read_stderr()
        return
    assert execute("sh", "-c", "echo hi; echo there >&2") in {"hi\nthere\n", "there\nhi\n"}
    failing = execute("sh", "-c", "exit 3", _preload_content=False)
    failing.run_forever(timeout=10)
    assert failing.returncode == 3
    typed = execute("sh", stdin=True, _preload_content=False)
    typed.write_stdin("echo $((6*7)); exit\n")
    typed.run_forever(timeout=10)
    assert typed.read_stdout() == "42\n"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("command=true&container=nobody", "nobody is not valid"),
        ("command=true&tty=true", "terminal"),
        ("command=true", "not running"),
        ("", "at least 1 command"),
        ("command=a%00b", "at least 1 command"),
    ],
)
def test_exec_that_makes_no_sense_is_400(api: client.CoreV1Api, server: PodServer, query: str, said: str) -> None:
    if gone(api, "over"):
        run(api, pod("over", "pass"))
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/over/exec?{query}"
    code, body = fetch(server, path, Authorization=f"Bearer {TOKEN}")
    assert code == 400
    assert isinstance(body, dict)
    assert said in body["message"]


# -- several containers


def test_containers_run_together_and_init_containers_before_them(api: client.CoreV1Api, server: PodServer) -> None:
    volume = {"volumes": [{"name": "v", "emptyDir": {}}]}
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/airflow/xcom"}]}
    folder = "import os, pathlib; d = pathlib.Path(os.environ.get('WTMO_XCOM_DIR', '/airflow/xcom')); "
    first = {"name": "first", "image": PYTHON, "args": [folder + "(d / 'a').write_text('from init')"], **mount}
    second = {"name": "second", "image": PYTHON, "args": ["print('second')"]}
    body = pod("several", folder + "print((d / 'a').read_text())", container=mount, initContainers=[first], **volume)
    body["spec"]["containers"].append(second)
    ended = run(api, body)
    assert ended.status.phase == "Succeeded", ended
    assert log_of(api, "several", container="base") == b"from init\n"
    assert log_of(api, "several", container="second") == b"second\n"
    with pytest.raises(client.ApiException) as error:
        log_of(api, "several")
    assert "choose one of: [base second]" in status_of(error)["message"]
    folders = list((server.state / "pods" / ended.metadata.uid).iterdir())
    assert {each.name for each in folders} == {"pod.json", "base.log", "first.log", "second.log"}


def test_a_failing_init_container_fails_the_pod(api: client.CoreV1Api) -> None:
    init = {"name": "first", "image": PYTHON, "args": ["import sys; sys.exit(4)"]}
    ended = run(api, pod("unready", "print('never')", initContainers=[init]))
    assert ended.status.phase == "Failed"
    assert ended.status.init_container_statuses[0].state.terminated.exit_code == 4
    assert ended.status.container_statuses[0].state.terminated is None


# -- many


def test_a_hundred_pods_at_once_leave_the_server_responsive(api: client.CoreV1Api, server: PodServer) -> None:
    if "process" in server.argv:
        pytest.skip("once is enough")
    code = "import time; time.sleep(0.1)"
    for number in range(100):
        api.create_namespaced_pod(NAMESPACE, pod(f"crowd-{number}", code, metadata={"labels": {"crowd": "yes"}}))
    slowest = 0.0

    def all_ended() -> bool:
        nonlocal slowest
        start = time.monotonic()
        fetch(server, "/healthz")
        slowest = max(slowest, time.monotonic() - start)
        listed = api.list_namespaced_pod(NAMESPACE, label_selector="crowd=yes").items
        return all(each.status.phase == "Succeeded" for each in listed) and len(listed) == 100

    eventually("100 pods", all_ended, 60)
    assert slowest < 5
