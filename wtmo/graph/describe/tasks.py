"""All about a task: what every one has, and what its kind adds. Runs in the sandbox only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskMarker, ExternalTaskSensor
from airflow.sdk.definitions.mappedoperator import MappedOperator

from wtmo.graph.describe.connections import connections_of, variables_of
from wtmo.graph.describe.context import with_task
from wtmo.graph.describe.mapped import ANY, instances_of
from wtmo.graph.describe.pods import LEFT_OUT, named_image, pod_of, secrets_of, unknown_of
from wtmo.graph.describe.queries import query_of
from wtmo.graph.describe.rendering import Rendered
from wtmo.graph.describe.templates import texts
from wtmo.graph.describe.values import attribute, name_of, plain, words
from wtmo.graph.describe.waits import wait_of
from wtmo.graph.model import Task, Wait
from wtmo.imports import shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wtmo.graph.describe.rendering import Renderer


def describe_task(task: Any, renderer: Renderer, lines: Mapping[int, int]) -> Task:
    """All about a task."""
    is_mapped = isinstance(task, MappedOperator)
    operator: Any = task.operator_class if is_mapped else type(task)
    facts: dict[str, Any] = {
        "task_id": task.task_id,
        "kind": operator.__name__,
        "classes": tuple(f"{base.__module__}.{base.__qualname__}" for base in operator.__mro__ if base is not object),
        "line": lines.get(id(task)),
        "group": shape.group_of(task),
        "upstream": tuple(sorted(task.upstream_task_ids)),
        "mapped": is_mapped or task.get_closest_mapped_task_group() is not None,
        "attributes": _attributes(task),
    }
    if (function := getattr(task, "python_callable", None)) is not None:
        facts["calls"] = name_of(function)
    try:
        context = with_task(renderer.context, task)
    except Exception as error:
        return Task(**facts, pod_error=words(error))
    if not is_mapped:
        return Task(**facts, **_of_single(task, renderer, context))
    mapped = Task(**facts, **_of_mapped(task, operator, renderer, context))
    return _with_instances(mapped, task, renderer) if issubclass(operator, KubernetesPodOperator) else mapped


def _of_single(task: Any, renderer: Renderer, context: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a task that is not mapped, or of one instance of a mapped one."""
    rendered = Rendered(task, renderer, context)
    names = {name for each in rendered.templates for name in each.names}
    facts: dict[str, Any] = {"templates": tuple(rendered.templates), "rendered": rendered.values}
    image = None
    if isinstance(task, KubernetesPodOperator):
        manifest, facts["pod_error"] = pod_of(rendered, context)
        facts["pod"], facts["unknown"] = manifest, tuple(sorted(unknown_of(rendered)))
        facts["secrets"] = secrets_of(manifest) if manifest else ()
        if "image" not in rendered.unknown:
            facts["image"] = named_image(str(plain(rendered.task.image)))
            image = facts["image"][0]
    if isinstance(task, ExternalTaskMarker | ExternalTaskSensor):
        facts["waits"] = wait_of(rendered, renderer, context)
        facts["marker"] = isinstance(task, ExternalTaskMarker)
    if isinstance(task, TriggerDagRunOperator):
        facts["starts"] = str(plain(rendered.task.trigger_dag_id))
    return facts | {
        "query": query_of(task, rendered.values, rendered.errors, image),
        "connections": connections_of(task, rendered.values, names),
        "variables": variables_of(names),
    }


def _with_instances(mapped: Task, task: MappedOperator, renderer: Renderer) -> Task:
    """A pod that is expanded, as its first instance that the file tells of, with those that differ from it.

    :param mapped: what all instances share: it stands for a pod of which the file tells no instance.
    """
    given, unknown = instances_of(task)
    known: list[Task] = []
    for arguments in given if unknown <= {*LEFT_OUT, ANY} else ():
        try:
            single = task.unmap(arguments)
            facts = _of_single(single, renderer, with_task(renderer.context, single))
            instance = replace(mapped, attributes=_attributes(single), **facts)
        except Exception as error:
            instance = replace(mapped, pod_error=words(error))
        if instance not in known:
            known.append(instance)
    first, *others = known or [mapped]
    return replace(first, instances=tuple(others), unknown=tuple(sorted({*first.unknown, *unknown})))


def _of_mapped(task: Any, operator: Any, renderer: Renderer, context: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a task before it is expanded: what all its instances share."""
    expanded = "its values are known when it is expanded at run time"
    templates = [
        renderer.text(task, path, text, context)
        for name in task.template_fields
        for path, text in texts(task.partial_kwargs.get(name), name, tuple(task.template_ext or ()))
    ]
    names = {name for each in templates for name in each.names}
    image = task.partial_kwargs.get("image")
    is_pod = issubclass(operator, KubernetesPodOperator)
    starts = task.partial_kwargs.get("trigger_dag_id") if issubclass(operator, TriggerDagRunOperator) else None
    return {
        "templates": tuple(templates),
        "rendered": dict.fromkeys(task.template_fields),
        "image": named_image(image) if is_pod and isinstance(image, str) else None,
        "starts": starts if isinstance(starts, str) else None,
        "waits": Wait("", how="template", delta=None, error=expanded)
        if issubclass(operator, ExternalTaskSensor | ExternalTaskMarker)
        else None,
        "marker": issubclass(operator, ExternalTaskMarker),
        "connections": connections_of(task, {}, names),
        "variables": variables_of(names),
    }


def _attributes(task: Any) -> dict[str, Any]:
    found = shape.given(task)
    if hasattr(task, "fits_interval"):
        found["fits_interval"] = task.fits_interval
    return {name: attribute(name, value) for name, value in sorted(shape.without_idle(found).items())}
