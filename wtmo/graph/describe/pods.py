"""A pod's manifest, image and secrets. No cluster is asked. Runs in the sandbox only."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from operators.gcp_container_operator import OWNER
from utils.images import image_of
from wtmo.graph.describe.rendering import own_copy
from wtmo.graph.describe.values import api_client, words
from wtmo.graph.model import PodSecret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wtmo.graph.describe.rendering import Rendered


class _NoCluster:
    """In place of the hook of a cluster: a manifest is made without one."""

    is_in_cluster = False

    def get_namespace(self) -> None:
        """The connection's: none is looked at."""

    get_xcom_sidecar_container_image = get_namespace
    get_xcom_sidecar_container_resources = get_namespace
    get_xcom_sidecar_container_security_context = get_namespace


LEFT_OUT: dict[str, Any] = {"annotations": {}, "env_vars": [], "labels": {}, "name": None}
"""What a manifest can be without, and is where only a run has the values."""
_OF_THE_CLUSTER = {
    *("cluster_context", "cluster_name", "config_file", "gcp_conn_id", "impersonation_chain", "kubernetes_conn_id"),
    *("location", "project_id", "trigger_kwargs"),
}
"""Template fields of which a manifest shows nothing."""


def unknown_of(rendered: Rendered) -> set[str]:
    """The arguments of which only a run has the values, and that a manifest shows."""
    return rendered.unknown - _OF_THE_CLUSTER


def pod_of(rendered: Rendered, context: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """The manifest that a task makes, or why it can't be told; neither where what it needs is known to a run alone."""
    if rendered.errors:
        return None, "; ".join(rendered.errors.values())
    unknown = unknown_of(rendered)
    if unknown - LEFT_OUT.keys():
        return None, None
    task = copy.copy(rendered.task)
    own = vars(task)
    own |= {name: LEFT_OUT[name] for name in unknown}
    for name in task.template_fields:
        own[name] = own_copy(own.get(name))
    own["random_name_suffix"] = False
    try:
        # A property that is kept once it was asked for.
        own["hook"] = _NoCluster()
        pod = task.build_pod_request_obj(context)
        manifest = api_client().sanitize_for_serialization(pod)
        manifest = json.loads(json.dumps(manifest, default=str))
    except Exception as error:
        return None, words(error)
    manifest.get("metadata", {}).get("annotations", {}).pop(OWNER, None)
    return manifest, None


def named_image(image: str) -> tuple[str | None, str]:
    """The name of an image in :data:`utils.images.IMAGES`, None where it has none; and the image."""
    declared = image_of(image)
    return None if declared is None else declared.name, image


def secrets_of(manifest: Mapping[str, Any]) -> tuple[PodSecret, ...]:
    """The secrets that a manifest takes values of."""
    spec = manifest.get("spec", {})
    found: list[PodSecret] = []
    for container in [*spec.get("initContainers", []), *spec.get("containers", [])]:
        for variable in container.get("env", []):
            if reference := (variable.get("valueFrom") or {}).get("secretKeyRef"):
                found.append(PodSecret(reference["name"], reference.get("key"), variable["name"], "env"))
        for source in container.get("envFrom", []):
            if reference := source.get("secretRef"):
                found.append(PodSecret(reference["name"], None, None, "env"))
    mounts = {
        mount["name"]: mount.get("mountPath")
        for container in spec.get("containers", [])
        for mount in container.get("volumeMounts", [])
    }
    for volume in spec.get("volumes", []):
        if secret := volume.get("secret"):
            items = [item.get("key") for item in secret.get("items") or []] or [None]
            found += [
                PodSecret(secret.get("secretName", ""), key, mounts.get(volume["name"]), "volume") for key in items
            ]
    return tuple(dict.fromkeys(found))
