"""What is refused, and that nothing a client sends breaks the server."""

from __future__ import annotations

import ast
import http.client
import json
import ssl
import string
from typing import TYPE_CHECKING, Any

import pytest

from tests.wtmo.local.pods.support import NAMESPACE, TOKEN, PodServer, log_of, pod, run
from wtmo.local.pods import validation
from wtmo.local.pods.errors import ApiError
from wtmo.local.pods.selectors import label_selector

if TYPE_CHECKING:
    from kubernetes import client


def send(server: PodServer, method: str, path: str, body: bytes | str | None = None, **headers: str) -> tuple[int, Any]:
    context = ssl.create_default_context(cafile=str(server.certificates.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=10)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **headers}
    connection.request(method, path, body=body, headers=headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
NAMES = ["../x", "a/b", "a\nb", "a\0b", "x" * 300, "-a", "a-", "A", "a_b", "ü", " ", "a..b", "\ud800", "a\n"]


def refused(body: Any) -> ApiError:
    with pytest.raises(ApiError) as error:
        validation.pod(body, NAMESPACE)
    return error.value


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names(name: str) -> None:
    assert refused(pod(name, "pass")).causes[0].field == "metadata.name"
    assert refused(pod("a", "pass", container={"name": name})).causes[0].field == "spec.containers[0].name"
    volumes = [{"name": name, "emptyDir": {}}]
    assert refused(pod("a", "pass", volumes=volumes)).causes[0].field == "spec.volumes[0].name"


@pytest.mark.parametrize("key", ["", "a/b/c", "/a", "a b", "x" * 64, "-a", "a\n", "A_/a"])
def test_hostile_label_keys(key: str) -> None:
    assert refused(pod("a", "pass", metadata={"labels": {key: "v"}})).code == 422
    assert refused(pod("a", "pass", metadata={"annotations": {key: "v"}})).code == 422


@pytest.mark.parametrize("value", ["a b", "x" * 64, "-a", "a\n", "ü", 1, True, [], None])
def test_hostile_label_values(value: object) -> None:
    assert refused(pod("a", "pass", metadata={"labels": {"k": value}})).code == 422


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"spec": {"containers": []}}, "spec.containers"),
        ({"spec": {"containers": {}}}, "spec.containers"),
        ({"spec": {"containers": ["x"]}}, "spec.containers[0]"),
        ({"spec": None}, "spec.containers"),
        ({"container": {"name": ["a"]}}, "spec.containers[0].name"),
        ({"container": {"image": ""}}, "spec.containers[0].image"),
        ({"container": {"image": 5}}, "spec.containers[0].image"),
        ({"container": {"command": "ls"}}, "spec.containers[0].command"),
        ({"container": {"args": [1]}}, "spec.containers[0].args[0]"),
        ({"container": {"args": ["a\0b"]}}, "spec.containers[0].args[0]"),
        ({"container": {"args": ["\ud800"]}}, "spec.containers[0].args[0]"),
        ({"container": {"env": [{"name": "A=B"}]}}, "spec.containers[0].env[0].name"),
        ({"container": {"env": [{"name": ""}]}}, "spec.containers[0].env[0].name"),
        ({"container": {"env": [{"name": "A", "value": 5}]}}, "spec.containers[0].env[0].value"),
        ({"container": {"env": {"A": "B"}}}, "spec.containers[0].env"),
        (
            {"container": {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}},
            "spec.containers[0].env[0].valueFrom",
        ),
        (
            {"container": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}},
            "spec.containers[0].env[0].valueFrom.secretKeyRef.key",
        ),
        ({"container": {"envFrom": [{}]}}, "spec.containers[0].envFrom[0]"),
        (
            {"container": {"volumeMounts": [{"name": "v", "mountPath": "/a"}]}},
            "spec.containers[0].volumeMounts[0].name",
        ),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/etc"}}]}, "spec.volumes[0]"),
        ({"volumes": [{"name": "v"}]}, "spec.volumes[0]"),
        ({"volumes": [{"name": "v", "emptyDir": {"medium": "Tape"}}]}, "spec.volumes[0].emptyDir.medium"),
        ({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "big"}}]}, "spec.volumes[0].emptyDir.sizeLimit"),
        ({"volumes": [{"name": "v", "secret": {}}]}, "spec.volumes[0].secret.secretName"),
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 0o1000}}]},
            "spec.volumes[0].secret.defaultMode",
        ),
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "s", "optional": "yes"}}]},
            "spec.volumes[0].secret.optional",
        ),
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "s", "items": [{"key": "../k", "path": "p"}]}}]},
            "spec.volumes[0].secret.items[0].key",
        ),
        *(
            (
                {"volumes": [{"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": path}]}}]},
                "spec.volumes[0].secret.items[0].path",
            )
            for path in ("", "/a", "../a", "a/../b", "a/", ".", "a//b")
        ),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy"),
        ({"securityContext": {"runAsUser": "root"}}, "spec.securityContext.runAsUser"),
        ({"container": {"securityContext": {"privileged": 1}}}, "spec.containers[0].securityContext.privileged"),
        (
            {"container": {"securityContext": {"capabilities": {"drop": "ALL"}}}},
            "spec.containers[0].securityContext.capabilities.drop",
        ),
        ({"container": {"imagePullPolicy": "Perhaps"}}, "spec.containers[0].imagePullPolicy"),
        ({"container": {"resources": {"limits": {"memory": "-1"}}}}, "spec.containers[0].resources.limits.memory"),
        ({"container": {"resources": {"requests": {"cpu": []}}}}, "spec.containers[0].resources.requests.cpu"),
        ({"container": {"workingDir": 5}}, "spec.containers[0].workingDir"),
        (
            {"initContainers": [{"name": "side", "image": "x", "restartPolicy": "Always"}]},
            "spec.initContainers[0].restartPolicy",
        ),
        ({"terminationGracePeriodSeconds": -1}, "spec.terminationGracePeriodSeconds"),
        ({"terminationGracePeriodSeconds": 10**18}, "spec.terminationGracePeriodSeconds"),
        ({"activeDeadlineSeconds": True}, "spec.activeDeadlineSeconds"),
        ({"initContainers": [{"name": "base", "image": "x"}]}, "spec.containers[0].name"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str) -> None:
    body = pod("a", "pass", **{key: value for key, value in changes.items() if key != "spec"})
    if "spec" in changes:
        body["spec"] = changes["spec"]
    error = refused(body)
    assert error.code == 422
    assert field in {cause.field for cause in error.causes}
    assert field in error.message


@pytest.mark.parametrize("path", ["relative", "/", "//", "/a/../b", "/..", "/a:b", "", "/./a"])
def test_hostile_mount_paths(path: str) -> None:
    mounts = {"volumeMounts": [{"name": "v", "mountPath": path}]}
    error = refused(pod("a", "pass", container=mounts, volumes=[{"name": "v", "emptyDir": {}}]))
    assert "spec.containers[0].volumeMounts[0].mountPath" in {cause.field for cause in error.causes}


@pytest.mark.parametrize(
    "body", [None, [], "x", 5, {"kind": "Job"}, {"apiVersion": "v2"}, {"metadata": {"namespace": "b"}}]
)
def test_what_is_no_pod_of_this_namespace_is_400(body: object) -> None:
    assert refused(body).code == 400


def test_nulls_are_as_good_as_nothing() -> None:
    body = pod("a", "pass", container={"env": None, "command": None, "volumeMounts": None}, volumes=None)
    body["metadata"] |= {"labels": None, "annotations": None}
    assert validation.pod(body, NAMESPACE)["metadata"] == {"name": "a", "namespace": NAMESPACE, "labels": {}}


def test_a_selector_takes_no_time_to_refuse() -> None:
    """No regular expression that backtracks for ever."""
    for text in ("a" * 100_000 + "(", "a in (" * 20_000, "a" + ".a" * 50_000 + "!", "," * 100_000):
        with pytest.raises(ApiError):
            label_selector(text)


# -- through the API


@pytest.mark.loopback
@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_refused_by_the_server(server: PodServer, name: str) -> None:
    code, status = send(server, "POST", PODS, json.dumps(pod(name, "pass")))
    assert (code, status["reason"]) == (422, "Invalid")
    assert not [each for each in server.folder.parent.rglob("*") if each.name in {"x", "b"}]


@pytest.mark.loopback
@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"NaN", b"null"])
def test_what_is_no_json_is_400(server: PodServer, body: bytes) -> None:
    code, status = send(server, "POST", PODS, body)
    assert code == 400, status


@pytest.mark.loopback
def test_json_too_deep_to_be_a_pod_is_refused(server: PodServer) -> None:
    code, status = send(server, "POST", PODS, b'{"metadata": ' * 5000 + b"1" + b"}" * 5000)
    # Python 3.13 reads it, and it is no pod; earlier ones can't read it.
    assert code in {400, 422}, status


@pytest.mark.loopback
def test_deep_nesting_is_refused_or_stored_whole(server: PodServer) -> None:
    body = pod("deep", "pass")
    nested: Any = {}
    for _ in range(900):
        nested = {"a": nested}
    body["spec"]["affinity"] = nested
    code, _ = send(server, "POST", PODS, json.dumps(body))
    assert code in {201, 400, 500}
    assert send(server, "GET", PODS)[0] == 200
    assert send(server, "GET", f"{PODS}/deep")[0] == (200 if code == 201 else 404)


@pytest.mark.loopback
def test_too_large_a_body_is_413(server: PodServer) -> None:
    code, status = send(server, "POST", PODS, b" " * (4 * 1024 * 1024))
    assert (code, status["kind"]) == (413, "Status")


@pytest.mark.loopback
def test_hostile_paths(server: PodServer) -> None:
    for path in (
        "/api/v1/namespaces/..%2F..%2Fetc/pods",
        "/api/v1/namespaces/A%0aB/pods",
        f"{PODS}/..%2f..%2fx",
        f"{PODS}/x%00",
    ):
        code, status = send(server, "GET", path)
        assert (code, status["kind"]) == (404, "Status"), path
    assert send(server, "POST", "/api/v1/namespaces/UPPER/pods", json.dumps(pod("a", "pass")))[0] == 404


@pytest.mark.loopback
def test_a_json_patch_is_415(server: PodServer, api: client.CoreV1Api) -> None:
    run(api, pod("patchless", "pass"))
    headers = {"Content-Type": "application/json-patch+json"}
    code, status = send(server, "PATCH", f"{PODS}/patchless", "[]", **headers)
    assert (code, status["kind"]) == (415, "Status")
    headers = {"Content-Type": "application/merge-patch+json"}
    code, status = send(server, "PATCH", f"{PODS}/patchless", '{"metadata": {"labels": {"a": "1"}}}', **headers)
    assert (code, status["metadata"]["labels"]) == (200, {"a": "1"})


@pytest.mark.loopback
def test_every_printable_argument_arrives_as_it_is(server: PodServer, api: client.CoreV1Api) -> None:
    arguments = ["", " ", "; rm -rf /", "$HOME `id`", "a\nb", "'\"\\", "--", "ü \U0001f600", string.printable]
    body = pod("arguments", "import sys; print(ascii(sys.argv[1:]))", *arguments)
    assert run(api, body).status.phase == "Succeeded"
    assert ast.literal_eval(log_of(api, "arguments").decode()) == arguments
