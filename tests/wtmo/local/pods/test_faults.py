"""Each fault of ``wtmo.local.pods.faults`` as a client meets it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from kubernetes import client

from tests.wtmo.local.fault_matrix import OUTCOMES
from tests.wtmo.local.pods.support import NAMESPACE, PodServer, eventually, gone, log_of, phase, pod, run
from wtmo.errors import WtmoError
from wtmo.local.pods import records
from wtmo.local.pods.faults import ANNOTATION, KNOBS, Chance, parse

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.loopback

LINES = "print('first line'); print('second line'); print('third line')"


@pytest.fixture(scope="module")
def server(every_server: PodServer) -> PodServer:
    return every_server


@pytest.fixture
def api(server: PodServer) -> client.CoreV1Api:
    """No retries of its own: each answer is seen."""
    api = server.api()
    api.api_client.rest_client.pool_manager.connection_pool_kw["retries"] = False
    return api


def faulty(name: str, fault: str, code: str = LINES, **spec: Any) -> dict[str, Any]:
    return pod(name, code, metadata={"annotations": {ANNOTATION: fault}}, **spec)


def create(api: client.CoreV1Api, name: str, fault: str, code: str = LINES) -> None:
    api.create_namespaced_pod(NAMESPACE, faulty(name, fault, code))


def read(api: client.CoreV1Api, name: str) -> client.V1Pod:
    return api.read_namespaced_pod(name, NAMESPACE)


def code_of(call: Callable[[], object]) -> tuple[int, dict[str, str]]:
    with pytest.raises(client.ApiException) as raised:
        call()
    return raised.value.status, raised.value.headers


def events(api: client.CoreV1Api, name: str) -> list[str]:
    return [e.reason for e in api.list_namespaced_event(NAMESPACE, field_selector=f"involvedObject.name={name}").items]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("oomm", "Did you mean 'oom'"),
        ("oom=x", "the value of oom must be a number"),
        ("oom=-1", "must be a number from 0 on"),
        ("oom=nan", "must be a number"),
        ("throttled=inf", "must be a number"),
    ],
)
def test_an_unknown_fault_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)


def test_the_fault_matrix_has_every_fault() -> None:
    assert {fault.partition("=")[0] for fault in OUTCOMES} == {"", *KNOBS}


def test_chance_is_the_same_for_the_same_seed_and_labels() -> None:
    def drawn(seed: int, rate: float) -> list[str | None]:
        chance, found = Chance(seed, rate), []
        for number in range(400):
            metadata: dict[str, Any] = {"name": f"n{number}", "labels": {"task": str(number), "a": "b"}}
            chance.annotate(metadata)
            found.append(metadata.get("annotations", {}).get(ANNOTATION))
        return found

    assert drawn(7, 0.5) == drawn(7, 0.5) != drawn(8, 0.5)
    assert 150 < sum(each is not None for each in drawn(7, 0.5)) < 250
    assert set(drawn(7, 1.0)) == set(KNOBS)
    assert set(drawn(7, 0.0)) == {None}
    own = {"name": "n", "annotations": {ANNOTATION: "oom"}}
    Chance(7, 1.0).annotate(own)
    assert own["annotations"] == {ANNOTATION: "oom"}


@pytest.mark.parametrize("text", ["7", "7:2", "x:0.1", "7:-1", "7:x", ""])
def test_a_chance_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(WtmoError, match="SEED:RATE"):
        Chance.parse(text)


def test_a_pod_with_an_unknown_fault_is_refused(api: client.CoreV1Api) -> None:
    assert code_of(lambda: create(api, "unknown-fault", "slow-strat"))[0] == 422
    assert gone(api, "unknown-fault")
    create(api, "patched", "")
    body = {"metadata": {"annotations": {ANNOTATION: "nonsense"}}}
    assert code_of(lambda: api.patch_namespaced_pod("patched", NAMESPACE, body))[0] == 422


@pytest.mark.parametrize("annotations", [["a"], "a", {ANNOTATION: 5}, {ANNOTATION: ["oom"]}])
def test_annotations_that_are_none_are_refused_as_ever(api: client.CoreV1Api, annotations: object) -> None:
    body = pod("hostile", "pass", metadata={"annotations": annotations})
    assert code_of(lambda: api.create_namespaced_pod(NAMESPACE, body))[0] == 422


def test_slow_start(api: client.CoreV1Api) -> None:
    create(api, "slow-start", "slow-start=1")
    start = time.monotonic()
    eventually("its start", lambda: phase(api, "slow-start") == "Succeeded")
    assert time.monotonic() - start > 0.8


def test_slow_end(api: client.CoreV1Api) -> None:
    create(api, "slow-end", "slow-end=1.5")
    eventually("its last line", lambda: phase(api, "slow-end") == "Running" and b"third" in log_of(api, "slow-end"))
    assert phase(api, "slow-end") == "Running"
    eventually("its end", lambda: phase(api, "slow-end") == "Succeeded")
    create(api, "never-ends", "slow-end=600")
    eventually("its start", lambda: phase(api, "never-ends") == "Running")
    api.delete_namespaced_pod("never-ends", NAMESPACE)
    eventually("its end", lambda: phase(api, "never-ends") == "Failed")


def test_unschedulable(api: client.CoreV1Api) -> None:
    create(api, "unschedulable", "unschedulable")
    (condition,) = eventually("its condition", lambda: read(api, "unschedulable").status.conditions)
    assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "Unschedulable")
    assert events(api, "unschedulable") == ["FailedScheduling"]
    api.delete_namespaced_pod("unschedulable", NAMESPACE)
    eventually("the removal", lambda: gone(api, "unschedulable"))
    ended = run(api, faulty("schedulable-later", "unschedulable=0.5"))
    assert ended.status.phase == "Succeeded"
    assert next(c for c in ended.status.conditions if c.type == "PodScheduled").reason is None


def test_image_pull(api: client.CoreV1Api) -> None:
    create(api, "no-pull", "image-pull")
    eventually(
        "the back-off",
        lambda: (
            (s := read(api, "no-pull").status.container_statuses) and s[0].state.waiting.reason == "ImagePullBackOff"
        ),
    )
    assert run(api, faulty("pulled-later", "image-pull=1")).status.phase == "Succeeded"
    assert "Failed" in events(api, "pulled-later")


def test_oom(api: client.CoreV1Api) -> None:
    ended = run(api, faulty("oom", "oom=0.5", "import time; print('begun', flush=True); time.sleep(600)"))
    state = ended.status.container_statuses[0].state.terminated
    assert (ended.status.phase, state.exit_code, state.reason) == ("Failed", 137, "OOMKilled")
    assert log_of(api, "oom") == b"begun\n"


def test_the_record_of_a_pod_names_its_fault(server: PodServer, api: client.CoreV1Api) -> None:
    run(api, faulty("recorded-fault", "oom=0.1", "import time; time.sleep(600)"))
    run(api, pod("recorded-none", "pass"))
    found = {record["name"]: record["fault"] for record in records.read(server.state)}
    assert (found["recorded-fault"], found["recorded-none"]) == ("oom=0.1", "")


def test_evicted(api: client.CoreV1Api) -> None:
    ended = run(api, faulty("evicted", "evicted=0.5"))
    assert (ended.status.phase, ended.status.reason) == ("Failed", "Evicted")
    assert ended.status.container_statuses is None


def test_unauthorized(api: client.CoreV1Api) -> None:
    create(api, "unauthorized", "unauthorized=2,slow-end=60")
    read(api, "unauthorized")
    assert code_of(lambda: read(api, "unauthorized"))[0] == 401
    read(api, "unauthorized")


def test_throttled(api: client.CoreV1Api) -> None:
    for attempt in (
        lambda: create(api, "throttled", "throttled=3"),
        lambda: read(api, "throttled"),
        lambda: events(api, "throttled"),
    ):
        code, headers = code_of(attempt)
        assert (code, headers["Retry-After"]) == (429, "3")
        attempt()


@pytest.mark.parametrize(("fault", "code"), [("watch-expired", 410), ("watch-forbidden", 403)])
def test_watch(api: client.CoreV1Api, fault: str, code: int) -> None:
    create(api, fault, f"{fault}=1")

    def watch() -> object:
        return api.list_namespaced_event(
            NAMESPACE, field_selector=f"involvedObject.name={fault}", watch=True, timeout_seconds=1,
            _preload_content=False,
        )  # fmt: skip

    assert code_of(watch)[0] == code
    watch()
    assert events(api, fault)


def test_silent(api: client.CoreV1Api) -> None:
    create(api, "silent", "silent=1")
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        api.read_namespaced_pod("silent", NAMESPACE, _request_timeout=0.5)
    read(api, "silent")


def test_silent_create(api: client.CoreV1Api) -> None:
    body = faulty("silent-create", "silent-create=2")
    for _ in range(2):
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            api.create_namespaced_pod(NAMESPACE, body, _request_timeout=0.5)
    assert code_of(lambda: api.create_namespaced_pod(NAMESPACE, body))[0] == 409
    assert read(api, "silent-create").metadata.uid


def test_log_cut(api: client.CoreV1Api) -> None:
    run(api, faulty("log-cut", "log-cut=2"))
    response = api.read_namespaced_pod_log("log-cut", NAMESPACE, follow=True, _preload_content=False)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        list(response.stream())
    assert log_of(api, "log-cut") == b"first line\nsecond line\nthird line\n"


def test_vanish(api: client.CoreV1Api) -> None:
    create(api, "vanish", "vanish=2")

    def phases() -> dict[str, str]:
        return {each.metadata.name: each.status.phase for each in api.list_namespaced_pod(NAMESPACE).items}

    eventually("its success", lambda: phases()["vanish"] == "Succeeded")
    assert [phase(api, "vanish"), phase(api, "vanish")] == ["Succeeded", "Succeeded"]
    assert gone(api, "vanish")


def test_slow_removal(api: client.CoreV1Api) -> None:
    run(api, faulty("slow-removal", "slow-removal=1.5"))
    api.delete_namespaced_pod("slow-removal", NAMESPACE)
    time.sleep(1)
    assert read(api, "slow-removal").metadata.deletion_timestamp
    eventually("the removal", lambda: gone(api, "slow-removal"))


def test_faults_at_random_are_written_into_the_pod(make_server: Callable[..., PodServer]) -> None:
    api = make_server("process", "--faults", "7:1").api()
    api.create_namespaced_pod("default", pod("any", "pass", metadata={"labels": {"task": "t"}}), _request_timeout=5)
    assert read(api, "any").metadata.annotations[ANNOTATION] in KNOBS
