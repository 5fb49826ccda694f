"""Which texts of a task's fields are templates, and what these name. Nothing is rendered. Runs in the sandbox only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, TaskGroup
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.definitions._internal.templater import SandboxedEnvironment
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.xcom_arg import XComArg
from jinja2 import meta, nodes

from wtmo.imports.templates import is_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import jinja2

_PARSER = SandboxedEnvironment(extensions=["jinja2.ext.do"])
NESTED = {
    "V1EnvVar": ("value", "name"),
    "V1ResourceRequirements": ("limits", "requests"),
    "V1Volume": ("name", "persistent_volume_claim", "config_map"),
    "V1VolumeMount": ("name", "sub_path"),
    "V1PersistentVolumeClaimVolumeSource": ("claim_name",),
    "V1ConfigMapVolumeSource": ("name",),
    "V1EnvFromSource": ("config_map_ref",),
    "V1ConfigMapEnvSource": ("name",),
}
"""Attributes of Kubernetes' models that ``KubernetesPodOperator`` renders (its ``_render_nested_template_fields``, cncf-kubernetes
10.25.0); a test compares them."""


def texts(value: Any, path: str, endings: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The texts of a template field in which Jinja is, or which name a file that it is in, with their paths."""
    if isinstance(value, str):
        if is_template(value) or (endings and value.endswith(endings)):
            yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts(inner, f"{path}.{key}", endings)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            name = getattr(inner, "name", None) if type(inner).__name__ == "V1EnvVar" else None
            yield from texts(inner, f"{path}.{name}" if name else f"{path}[{number}]", endings)
    elif isinstance(value, set | frozenset):
        for number, inner in enumerate(sorted(value, key=str)):
            yield from texts(inner, f"{path}[{number}]", endings)
    elif callable(value) and is_dataclass(value) and not isinstance(value, type):
        # A function that is called when the task runs, and says as data what it renders (utils.commands).
        for field in fields(value):
            yield from texts(getattr(value, field.name), f"{path}.{field.name}", endings)
    elif not isinstance(value, XComArg | DAG | TaskGroup | BaseOperator | MappedOperator | type):
        nested: Iterable[str] = NESTED.get(type(value).__name__) or getattr(value, "template_fields", None) or ()
        for name in nested:
            single = type(value).__name__ == "V1EnvVar" and name == "value"
            yield from texts(getattr(value, name, None), path if single else f"{path}.{name}", endings)


@cache
def names_of(text: str, environment: jinja2.Environment = _PARSER) -> tuple[str, ...]:
    """What a template uses of its context, each the longest path that can be told. Sorted.

    :param environment: whose filters it can use. Default: Airflow's.
    :raises jinja2.TemplateSyntaxError: it is none, or uses a filter that there is not.

    >>> names_of("{{ macros.ds_add(ds, 1) }} {{ var.value.get('a', 1) }} {{ params['x'].y }}")
    ('ds', 'macros.ds_add', 'params.x.y', 'var.value.a')
    """
    tree = environment.parse(text)
    undeclared = meta.find_undeclared_variables(tree)
    found: set[str] = set()

    def look(node: nodes.Node) -> None:
        path = _path(node)
        if path is not None:
            if path[0] in undeclared:
                found.add(".".join(path))
            return
        for inner in node.iter_child_nodes():
            look(inner)

    look(tree)
    return tuple(sorted(found))


def _path(node: nodes.Node) -> list[str] | None:
    if isinstance(node, nodes.Name) and node.ctx == "load":
        return [node.name]
    if isinstance(node, nodes.Getattr) and (head := _path(node.node)):
        return [*head, node.attr]
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and (head := _path(node.node)):
        return [*head, str(node.arg.value)]
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr == "get":
        # var.value.get("name") and conn.get("name") are the name's.
        head = _path(node.node.node)
        if head and head[0] in {"var", "conn"} and node.args and isinstance(node.args[0], nodes.Const):
            return [*head, str(node.args[0].value)]
    return None
