"""What is told of a DAG and of a task: flat facts by name, without what says nothing to a person.

Two versions are compared by these facts, and snapshots are made of them. A fact's name is an attribute's, with the keys of mappings
after it: ``retries``, ``env_vars.DATE``, ``pod.spec.containers[base].resources.limits.memory``. Lists stay whole. Line numbers, orders of
sets and what Airflow works out for itself are no facts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wtmo.graph.model import Dag, Json, Run, Task

NEXT_RUNS = 5
"""How many runs are told of a schedule."""

POD_SOURCES = {
    "spec.containers[base].args": ("arguments",),
    "spec.containers[base].command": ("cmds",),
    "spec.containers[base].env": ("env_vars", "secrets", "pod_runtime_info_envs"),
    "spec.containers[base].envFrom": ("env_from", "configmaps", "secrets"),
    "spec.containers[base].image": ("image",),
    "spec.containers[base].imagePullPolicy": ("image_pull_policy",),
    "spec.containers[base].resources": ("container_resources",),
    "spec.containers[base].securityContext": ("container_security_context",),
    "spec.containers[base].volumeMounts": ("volume_mounts", "secrets"),
    "spec.volumes": ("volumes", "secrets"),
    "spec.securityContext": ("security_context",),
    "spec.serviceAccountName": ("service_account_name",),
    "spec.tolerations": ("tolerations",),
    "spec.affinity": ("affinity",),
    "spec.nodeSelector": ("node_selector",),
    "spec.initContainers": ("init_containers",),
    "metadata.labels": ("labels", "owner"),
    "metadata.annotations": ("annotations",),
    "metadata.name": ("name",),
    "metadata.namespace": ("namespace",),
}
"""Which attributes of a pod task make which part of its manifest: a change of both is told once, by the attribute."""

WITHOUT_EFFECT = frozenset({
    "description",
    "doc",
    "doc_json",
    "doc_md",
    "doc_rst",
    "doc_yaml",
    "email",
    "email_on_failure",
    "email_on_retry",
    "owner",
    "owner_links",
    "tags",
})
"""Facts that change nothing of what a task does to data: nothing downstream is affected by their change."""

_NO_FACTS = {
    "dag_id",
    "task_id",
    "task_type",
    "ui_color",
    "ui_fgcolor",
    "template_fields",
    "start_from_trigger",
    "start_trigger_args",
}
_OWN_PLACE = {"external_dag_id", "external_task_ids", "external_task_id", "external_task_group_id", "execution_delta"}
_TOLD_ABOVE = {"schedule", "params", "tags", "start_date", "end_date"}


def of_dag(dag: Dag) -> dict[str, Json]:
    """The facts of a DAG itself, its tasks' left out. ``next_runs``: when its next :data:`NEXT_RUNS` runs begin, ISO 8601 in UTC."""
    facts: dict[str, Json] = {
        "file": dag.file,
        "schedule": schedule_text(dag.schedule),
        "next_runs": [end for _, _, end in dag.fires[:NEXT_RUNS]],
        "start_date": dag.start_date,
        "end_date": dag.end_date,
        "tags": sorted(dag.tags),
        "unknown_default_args": sorted(dag.unknown_default_args),
        "deadline": dag.deadline,
        **{name: value for name, value in dag.attributes.items() if name not in _TOLD_ABOVE},
    }
    return dict(flat({**facts, "params": dag.params, "groups": dag.groups}))


def of_task(task: Task) -> dict[str, Json]:
    """The facts of a task. Texts with Jinja are as written; ``rendered.`` goes before the name of what they render to."""
    facts: dict[str, Json] = {
        "operator": task.kind,
        "group": task.group,
        "after": sorted(task.upstream),
        "mapped": task.mapped,
        **{name: value for name, value in task.attributes.items() if name not in _NO_FACTS | _OWN_PLACE},
        "instances": [
            {name: value for name, value in each.attributes.items() if task.attributes.get(name) != value}
            for each in task.instances
        ],
        "calls": task.calls,
        "starts": task.starts,
        "connections": sorted(task.connections),
        "variables": sorted(task.variables),
        "secrets": {
            f"{each.kind} {each.target or each.secret}": f"{each.secret}/{each.key or '*'}" for each in task.secrets
        },
    }
    if task.waits:
        wait = task.waits
        facts["waits_for"] = {
            "dag": wait.of_dag,
            "tasks": sorted(wait.of_tasks),
            "group": wait.of_group,
            "shift": wait.delta,
            "runs": [f"{own} waits for {', '.join(of)}" for own, of in wait.dates[:NEXT_RUNS]],
            "error": wait.error,
        }
    if task.query:
        query = task.query
        facts["query"] = {
            "engine": query.engine,
            "file": query.file,
            "destination": query.destination,
            "parameters": list(query.parameters),
            "project": query.project,
            "dataset": query.dataset,
            "error": query.error,
        }
        facts["rendered.sql"] = query.sql
    facts["pod_error"] = task.pod_error
    facts["unknown"] = list(task.unknown)
    found = dict(flat(facts))
    written = {each.field.partition("[")[0].partition(".")[0] for each in task.templates}
    for name, value in flat({name: task.rendered[name] for name in sorted(written & set(task.rendered))}):
        found[f"rendered.{name}"] = value
    for name, value in flat(task.pod or {}):
        if not _OF_THE_RUN.search(name):
            found[f"pod.{name}"] = value
    return found


_OF_THE_RUN = re.compile(r"labels\.(airflow-run|run_id)$|annotations\.\S+/run$|env\[AIRFLOW_CTX_DAG_RUN_ID\]")
"""What of a manifest names the run: it differs where the run does, which the schedule says."""


def schedule_text(schedule: Mapping[str, Json]) -> str | None:
    """A schedule in one line: its expression, or how long between runs, and a time zone that is not UTC.

    >>> schedule_text({"kind": "CronDataIntervalTimetable", "expression": "0 1 * * *", "timezone": "UTC"})
    '0 1 * * *'
    """
    kind = schedule.get("kind")
    if kind in {None, "NullTimetable"}:
        return None
    told = schedule.get("expression") or (f"every {schedule['delta']} s" if schedule.get("delta") else kind)
    zone = schedule.get("timezone")
    return f"{told}" + (f" {zone}" if zone not in {None, "UTC"} else "")


def flat(value: Mapping[str, Json], before: str = "") -> Iterator[tuple[str, Json]]:
    """What a mapping holds, by path. Nothing, an empty text, list and mapping are left out: they say the same as absence.

    >>> dict(flat({"a": {"b": 1, "c": None}, "env": [{"name": "X", "value": "1"}], "d": ["x", "y"]}))
    {'a.b': 1, 'env[X].value': '1', 'd': ['x', 'y']}
    """
    for key, inner in value.items():
        path = f"{before}{key}"
        if isinstance(inner, dict):
            yield from flat(inner, f"{path}.")
        elif isinstance(inner, list | tuple) and inner and all(isinstance(each, dict) for each in inner):
            names = [each.get("name") for each in inner]
            named = all(names) and len(set(map(str, names))) == len(names)
            for number, each in enumerate(inner):
                rest = {name: part for name, part in each.items() if not (named and name == "name")}
                label = names[number] if named else number
                if rest:
                    yield from flat(rest, f"{path}[{label}].")
                else:
                    yield f"{path}[{label}]", True
        elif isinstance(inner, list | tuple):
            if inner:
                yield path, list(inner)
        elif inner is not None and inner != "":
            yield path, inner


def without_dates(value: Json, run: Run | None) -> Json:
    """A rendered value with the dates of its run replaced by their names, for comparing what two different runs render."""
    if run is None:
        return value
    if isinstance(value, list):
        return [without_dates(each, run) for each in value]
    if not isinstance(value, str):
        return value
    for moment in dict.fromkeys((run.logical, run.start, run.end)):
        day = moment[:10]
        for text in (moment, moment[:19], moment[:19].replace("-", "").replace(":", ""), day, day.replace("-", "")):
            value = re.sub(rf"(?<!\d){re.escape(text)}(?!\d)", "<date>", value)
    return value
