"""What a pod must look like: Kubernetes' own rules, and what this server does not have refused by name."""

from __future__ import annotations

import re
import secrets
from typing import Any

from wtmo.local.pods.errors import ApiError, Cause, bad_request, invalid_pod
from wtmo.local.pods.limits import quantity

Json = dict[str, Any]

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[ -<>-~]+")
_LONGEST_NAME = 253
LARGEST_NUMBER = 2**31 - 1
_FIELDS = re.compile(
    r"metadata\.(name|namespace|uid|labels\['[^']+'\]|annotations\['[^']+'\])"
    r"|spec\.(nodeName|serviceAccountName)|status\.(podIP|hostIP)"
)
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
SECRET_KEY = re.compile(r"[-._A-Za-z0-9]{1,253}")
_LARGEST_MODE = 0o777
LABEL_RULE = "must be at most 63 of A-Z a-z 0-9 - _ . and start and end with a letter or digit"


class _Check:
    """Collects what is wrong."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []

    def wrong(self, field: str, message: str) -> None:
        self.causes.append(Cause(field, message))

    def mapping(self, value: Any, field: str) -> Json:
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        self.wrong(field, "must be an object")
        return {}

    def items(self, value: Any, field: str) -> list[tuple[str, Json]]:
        """The objects of a list, each with its path."""
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(field, "must be a list")
            return []
        named = [(f"{field}[{number}]", item) for number, item in enumerate(value)]
        return [(path, self.mapping(item, path)) for path, item in named]

    def text(self, value: Any, field: str) -> str:
        if not isinstance(value, str):
            self.wrong(field, "must be a text" if value is not None else "Required value")
        elif not is_plain(value):
            self.wrong(field, "must not hold a NUL or a half of a surrogate pair")
        else:
            return value
        return ""

    def dns_label(self, value: Any, field: str) -> str:
        text = self.text(value, field)
        if text and not DNS_LABEL.fullmatch(text):
            self.wrong(field, f"Invalid value: {text[:80]!r}: must be at most 63 of a-z 0-9 - (RFC 1123 label)")
        elif not text:
            self.wrong(field, "Required value")
        return text

    def whole_number(self, value: Any, field: str, *, least: int, most: int = LARGEST_NUMBER) -> None:
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.wrong(field, f"must be a whole number from {least} to {most}")

    def one_of(self, value: Any, field: str, allowed: tuple[str, ...]) -> None:
        if value is not None and value not in allowed:
            self.wrong(field, f"Unsupported value: {str(value)[:80]!r}: supported values: {', '.join(allowed)}")

    def quantity(self, value: Any, field: str) -> None:
        if value is not None:
            try:
                quantity(value)
            except ValueError as error:
                self.wrong(field, str(error))

    def flags(self, mapping: Json, names: tuple[str, ...], field: str) -> None:
        for name in names:
            if not isinstance(mapping.get(name), bool | None):
                self.wrong(f"{field}.{name}", "must be true or false")


def is_plain(text: str) -> bool:
    """Whether a text can be given to a process: no NUL, encodable."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def pod(body: Any, namespace: str) -> Json:
    """A pod as it was sent, checked; the name is made of ``generateName`` where only that is given.

    :param body: the decoded JSON.
    :param namespace: the one of the request's path.
    :returns: ``{"metadata": ..., "spec": ...}``.
    :raises ApiError: 400 if it is not a pod for this namespace, 422 if it breaks a rule.
    """
    if not isinstance(body, dict) or body.get("kind", "Pod") != "Pod" or body.get("apiVersion", "v1") != "v1":
        raise bad_request("the body must be a v1 Pod")
    check = _Check()
    metadata = check.mapping(body.get("metadata"), "metadata")
    spec = check.mapping(body.get("spec"), "spec")
    if metadata.get("namespace") not in (None, "", namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    name = _name(check, metadata)
    _metadata_maps(check, metadata)
    volumes = _volumes(check, spec)
    containers = check.items(spec.get("containers"), "spec.containers")
    if not containers:
        check.wrong("spec.containers", "Required value")
    seen: set[str] = set()
    init_containers = check.items(spec.get("initContainers"), "spec.initContainers")
    for field, container in init_containers:
        if container.get("restartPolicy") is not None:
            check.wrong(f"{field}.restartPolicy", "is not offered here: init containers that go on (native sidecars)")
    _security_context(check, spec.get("securityContext"), "spec.securityContext")
    for field, container in [*init_containers, *containers]:
        own_name = check.dns_label(container.get("name"), f"{field}.name")
        if own_name in seen:
            check.wrong(f"{field}.name", f"Duplicate value: {own_name!r}")
        seen.add(own_name)
        _container(check, container, field, volumes)
    check.whole_number(spec.get("terminationGracePeriodSeconds"), "spec.terminationGracePeriodSeconds", least=0)
    check.one_of(spec.get("restartPolicy"), "spec.restartPolicy", _RESTART_POLICIES)
    check.whole_number(spec.get("activeDeadlineSeconds"), "spec.activeDeadlineSeconds", least=1)
    if check.causes:
        raise invalid_pod(name[:_LONGEST_NAME], tuple(check.causes))
    kept = {key: metadata[key] for key in ("annotations", "generateName", "ownerReferences") if metadata.get(key)}
    return {
        "metadata": kept | {"name": name, "namespace": namespace, "labels": metadata.get("labels") or {}},
        "spec": spec,
    }


def metadata_patch(body: Any, current: Json) -> Json:
    """The metadata of a pod after a merge patch of labels and annotations.

    :param body: the decoded JSON of the patch.
    :param current: the pod's object, which is not changed.
    :raises ApiError: 400 if it is no patch; 422 if it breaks a rule or would change anything else.
    """
    if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
        raise bad_request("the patch must be an object with the object metadata")
    name = current["metadata"]["name"]
    check = _Check()
    for key, value in body.items():
        if key != "metadata" and current.get(key) != value:
            check.wrong(key, "Forbidden: only metadata.labels and metadata.annotations can be patched here")
    merged = dict(current["metadata"])
    for key, value in body.get("metadata", {}).items():
        if key in {"labels", "annotations"}:
            changes = check.mapping(value, f"metadata.{key}")
            both = {**(merged.get(key) or {}), **changes}
            merged[key] = {each: text for each, text in both.items() if text is not None} if value is not None else {}
        elif merged.get(key) != value:
            check.wrong(f"metadata.{key}", "Forbidden: only labels and annotations can be patched here")
    _metadata_maps(check, merged)
    if check.causes:
        raise invalid_pod(name, tuple(check.causes))
    return merged


def _name(check: _Check, metadata: Json) -> str:
    if metadata.get("name"):
        name = check.text(metadata["name"], "metadata.name")
    elif metadata.get("generateName"):
        name = check.text(metadata["generateName"], "metadata.generateName") + secrets.token_hex(3)[:5]
    else:
        check.wrong("metadata.name", "Required value: name or generateName is required")
        return ""
    if name and (len(name) > _LONGEST_NAME or not _DNS_SUBDOMAIN.fullmatch(name)):
        rule = "must be at most 253 of a-z 0-9 - . and start and end with a letter or digit (RFC 1123 subdomain)"
        check.wrong("metadata.name", f"Invalid value: {name[:80]!r}: {rule}")
    return name


def _metadata_maps(check: _Check, metadata: Json) -> None:
    for key, value in check.mapping(metadata.get("labels"), "metadata.labels").items():
        _qualified_name(check, key, "metadata.labels")
        if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            check.wrong("metadata.labels", f"Invalid value: {str(value)[:80]!r}: {LABEL_RULE}")
    for key, value in check.mapping(metadata.get("annotations"), "metadata.annotations").items():
        _qualified_name(check, key, "metadata.annotations")
        check.text(value, f"metadata.annotations[{key[:80]}]")


def _qualified_name(check: _Check, key: str, field: str) -> None:
    prefix, slash, name = key.rpartition("/")
    well_formed = _LABEL_NAME.fullmatch(name) and (not slash or _DNS_SUBDOMAIN.fullmatch(prefix))
    if not well_formed or len(prefix) > _LONGEST_NAME:
        check.wrong(field, f"Invalid key: {key[:80]!r}: {LABEL_RULE}, with an optional DNS prefix and /")


def _volumes(check: _Check, spec: Json) -> set[str]:
    names: set[str] = set()
    for field, volume in check.items(spec.get("volumes"), "spec.volumes"):
        name = check.dns_label(volume.get("name"), f"{field}.name")
        kinds = sorted(key for key, value in volume.items() if key != "name" and value is not None)
        if kinds == ["emptyDir"]:
            source = check.mapping(volume["emptyDir"], f"{field}.emptyDir")
            check.one_of(source.get("medium"), f"{field}.emptyDir.medium", ("", "Memory"))
            check.quantity(source.get("sizeLimit"), f"{field}.emptyDir.sizeLimit")
        elif kinds == ["secret"]:
            _secret_volume(check, check.mapping(volume["secret"], f"{field}.secret"), f"{field}.secret")
        else:
            offered = "emptyDir and secret"
            check.wrong(
                field, f"{name}: volumes of kind {', '.join(kinds) or '(none)'} are not offered, only {offered}"
            )
        if name in names:
            check.wrong(f"{field}.name", f"Duplicate value: {name!r}")
        names.add(name)
    return names


def _secret_volume(check: _Check, source: Json, field: str) -> None:
    check.text(source.get("secretName"), f"{field}.secretName")
    check.whole_number(source.get("defaultMode"), f"{field}.defaultMode", least=0, most=_LARGEST_MODE)
    check.flags(source, ("optional",), field)
    for path, item in check.items(source.get("items"), f"{field}.items"):
        if not SECRET_KEY.fullmatch(key := check.text(item.get("key"), f"{path}.key")):
            check.wrong(f"{path}.key", f"Invalid value: {key[:80]!r}: must be of A-Z a-z 0-9 - _ .")
        target = check.text(item.get("path"), f"{path}.path")
        if not target or target.startswith("/") or not {"", ".", ".."}.isdisjoint(target.split("/")):
            check.wrong(f"{path}.path", f"Invalid value: {target[:80]!r}: must be a relative path without . and ..")
        check.whole_number(item.get("mode"), f"{path}.mode", least=0, most=_LARGEST_MODE)


def _security_context(check: _Check, value: Any, field: str) -> None:
    context = check.mapping(value, field)
    for name in ("runAsUser", "runAsGroup"):
        check.whole_number(context.get(name), f"{field}.{name}", least=0)
    flags = ("runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation", "privileged")
    check.flags(context, flags, field)
    check.mapping(context.get("seccompProfile"), f"{field}.seccompProfile")
    capabilities = check.mapping(context.get("capabilities"), f"{field}.capabilities")
    for name in ("add", "drop"):
        listed = capabilities.get(name)
        if not isinstance(listed, list | None) or not all(isinstance(each, str) for each in listed or []):
            check.wrong(f"{field}.capabilities.{name}", "must be a list of names")


def _container(check: _Check, container: Json, field: str, volumes: set[str]) -> None:
    check.one_of(container.get("imagePullPolicy"), f"{field}.imagePullPolicy", _PULL_POLICIES)
    if container.get("workingDir") is not None:
        check.text(container["workingDir"], f"{field}.workingDir")
    _security_context(check, container.get("securityContext"), f"{field}.securityContext")
    resources = check.mapping(container.get("resources"), f"{field}.resources")
    for kind in ("limits", "requests"):
        for name, amount in check.mapping(resources.get(kind), f"{field}.resources.{kind}").items():
            check.quantity(amount, f"{field}.resources.{kind}.{name}")
    if not check.text(container.get("image"), f"{field}.image").strip():
        check.wrong(f"{field}.image", "Required value")
    for key in ("command", "args"):
        words = container.get(key)
        if words is not None and not isinstance(words, list):
            check.wrong(f"{field}.{key}", "must be a list")
        else:
            for number, word in enumerate(words or []):
                check.text(word, f"{field}.{key}[{number}]")
    for path, variable in check.items(container.get("env"), f"{field}.env"):
        _variable(check, variable, path)
    for path, source in check.items(container.get("envFrom"), f"{field}.envFrom"):
        references = [check.mapping(source.get(key), f"{path}.{key}") for key in ("secretRef", "configMapRef")]
        names = [check.text(each.get("name"), f"{path}.name") for each in references if each]
        if len(names) != 1:
            check.wrong(path, "must have one of secretRef, configMapRef")
    for path, mount in check.items(container.get("volumeMounts"), f"{field}.volumeMounts"):
        if check.text(mount.get("name"), f"{path}.name") not in volumes:
            check.wrong(f"{path}.name", f"Not found: {str(mount.get('name'))[:80]!r}")
        target = check.text(mount.get("mountPath"), f"{path}.mountPath")
        parts = target.split("/")
        if not target.startswith("/") or not target.strip("/") or ".." in parts or "." in parts or ":" in target:
            check.wrong(
                f"{path}.mountPath", f"Invalid value: {target[:80]!r}: must be an absolute path without . and .."
            )
        if mount.get("subPath") or mount.get("subPathExpr"):
            check.wrong(f"{path}.subPath", "is not offered here")


def _variable(check: _Check, variable: Json, field: str) -> None:
    name = check.text(variable.get("name"), f"{field}.name")
    if not _VARIABLE.fullmatch(name):
        check.wrong(f"{field}.name", f"Invalid value: {name[:80]!r}: must be printable ASCII without =")
    if variable.get("value") is not None:
        check.text(variable["value"], f"{field}.value")
    source = {
        key: value for key, value in check.mapping(variable.get("valueFrom"), f"{field}.valueFrom").items() if value
    }
    if not source:
        return
    if variable.get("value"):
        check.wrong(f"{field}.valueFrom", "may not be given together with value")
    kind, reference = next(iter(source.items()))
    details = check.mapping(reference, f"{field}.valueFrom.{kind}")
    if kind == "fieldRef":
        path = check.text(details.get("fieldPath"), f"{field}.valueFrom.fieldRef.fieldPath")
        if path and not _FIELDS.fullmatch(path):
            check.wrong(f"{field}.valueFrom.fieldRef.fieldPath", f"{path[:80]!r} is not offered here")
    elif kind in {"secretKeyRef", "configMapKeyRef"}:
        for key in ("name", "key"):
            check.text(details.get(key), f"{field}.valueFrom.{kind}.{key}")
    else:
        check.wrong(f"{field}.valueFrom", f"{kind[:80]!r} is not offered here")


def whole_number(text: str | None, name: str, *, least: int = 0) -> int | None:
    """A whole number of a query, None if it is not given.

    :raises ApiError: 400 for anything else.
    """
    if text is None or text == "":
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= LARGEST_NUMBER:
        rule = f"must be a whole number from {least} to {LARGEST_NUMBER}"
        raise bad_request(f"invalid value for {name}: {text[:80]!r}: {rule}")
    return int(text)


def namespace(text: str) -> str:
    """A namespace's name. Every well-formed one exists here.

    :raises ApiError: 404 for any other.
    """
    if not DNS_LABEL.fullmatch(text):
        raise ApiError(404, "NotFound", f"namespaces {text[:80]!r} not found")
    return text
