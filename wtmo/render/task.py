"""A task as it will be in one run: what goes to Kubernetes or BigQuery, or the run that it waits for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from utils.names import did_you_mean
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wtmo.graph.model import Dag, Inventory, Json, Query, Run, Task, Wait

IN_THE_POD = {
    *(
        "affinity",
        "annotations",
        "arguments",
        "cmds",
        "config_file",
        "configmaps",
        "container_resources",
        "env_from",
        "env_vars",
    ),
    *(
        "image",
        "image_pull_policy",
        "image_pull_secrets",
        "init_containers",
        "labels",
        "name",
        "namespace",
        "node_selector",
    ),
    *("pod_template_dict", "pod_template_file", "ports", "secrets", "tolerations", "volume_mounts", "volumes"),
    *("trigger_kwargs", "full_pod_spec", "base_container_name", "gcp_conn_id", "kubernetes_conn_id"),
}
"""Template fields that the manifest shows."""


def rendered(dag: Dag, task: Task) -> dict[str, Json]:
    """A task in its run, the keys in the order in which one reads them; what says nothing is left out. Of a pod that is expanded, the
    first instance.

    Keys: ``task``, ``operator``, ``run``, ``after``, ``errors``, ``waits_for``, ``starts``, ``query``, ``argv``, ``manifest`` and
    ``fields``, the rendered fields of other operators. Values of secrets are never in it, only their names.
    """
    told = {
        "task": f"{dag.dag_id}.{task.task_id}",
        "operator": task.kind,
        "run": _run(dag.run),
        "after": sorted(task.upstream),
        "mapped": task.mapped,
        "errors": [*_errors(task)],
        "waits_for": _wait(task.waits, dag.run) if task.waits else None,
        "starts": task.starts,
        "query": _query(task.query) if task.query else None,
        "argv": argv(task),
        "manifest": _without_empty(task.pod),
        "fields": {
            name: value
            for name, value in sorted(task.rendered.items())
            if value not in (None, "", [], {}) and not (task.pod and name in IN_THE_POD)
        },
    }
    return {name: value for name, value in told.items() if value not in (None, False, [], {})}


_NOTHING_IF_EMPTY = {
    *("affinity", "args", "command", "env", "envFrom", "imagePullSecrets", "initContainers", "nodeSelector", "ports"),
    *("tolerations", "volumeMounts", "volumes"),
}
"""Keys of a manifest that say nothing when they are empty. Not so ``emptyDir``."""


def _without_empty(value: Json) -> Json:
    if isinstance(value, dict):
        return {
            key: _without_empty(inner)
            for key, inner in value.items()
            if not (key in _NOTHING_IF_EMPTY and inner in ([], {}, None))
        }
    return [_without_empty(inner) for inner in value] if isinstance(value, list) else value


def argv(task: Task) -> list[str]:
    """The words that the pod's first container runs. Empty: the image's own, or no pod.

    >>> from wtmo.graph.model import Task
    >>> argv(Task("t", "Pod", pod={"spec": {"containers": [{"name": "base", "command": ["bq"], "args": ["ls"]}]}}))
    ['bq', 'ls']
    """
    containers = ((task.pod or {}).get("spec") or {}).get("containers") or [{}]
    base = next((each for each in containers if each.get("name") == "base"), containers[0])
    return [*(base.get("command") or []), *(base.get("args") or [])]


def find(inventory: Inventory, dag_id: str, task_id: str | None) -> list[tuple[Dag, Task]]:
    """The tasks of a DAG in the order of their ids, or the one that is named.

    :raises WtmoError: there is none of that name, or the file that it is in does not load; the message names the near ones.
    """
    dag = inventory.dags.get(dag_id)
    if dag is None:
        refused = next((file for file in inventory.files if file.refused and _is_named_after(file.name, dag_id)), None)
        if refused:
            at = f":{refused.line}" if refused.line else ""
            raise WtmoError(f"{refused.name}{at} does not load: {refused.refused}", fix="mend it, then run this again")
        raise WtmoError(f"there is no DAG {dag_id!r}", fix=did_you_mean(dag_id, inventory.dags))
    if task_id is None:
        return [(dag, task) for task in sorted(dag.tasks, key=lambda task: task.task_id)]
    if task_id not in dag.by_id:
        raise WtmoError(f"DAG {dag_id} has no task {task_id!r}", fix=did_you_mean(task_id, dag.by_id))
    return [(dag, dag.by_id[task_id])]


def _is_named_after(file: str, dag_id: str) -> bool:
    return file.rpartition("/")[2].removesuffix(".py") == dag_id.replace("-", "_")


def _run(run: Run | None) -> str | None:
    if run is None:
        return None
    if run.started:
        return f"started by hand at {run.logical}"
    interval = f", data of {run.start} to {run.end}" if run.start != run.end else ""
    return f"{run.logical}{interval}"


def _errors(task: Task) -> Iterable[str]:
    for template in task.templates:
        if template.error:
            yield f"{template.field}: {template.error}"
    if task.pod_error:
        yield f"the pod can't be built: {task.pod_error}"
    if task.unknown:
        yield f"known when the task runs: {', '.join(task.unknown)}"
    if task.query and task.query.error:
        yield f"the query can't be told: {task.query.error}"
    if task.waits and task.waits.error:
        yield f"the run that it waits for can't be told: {task.waits.error}"


def _wait(wait: Wait, run: Run | None) -> dict[str, Json]:
    """The DAG, tasks or group, and logical dates of the runs waited for."""
    told = {
        "dag": wait.of_dag,
        "tasks": sorted(wait.of_tasks),
        "group": wait.of_group,
        "runs": list(waited_for(wait, run)),
    }
    return {name: value for name, value in told.items() if value not in (None, [])}


def waited_for(wait: Wait, run: Run | None) -> tuple[str, ...]:
    """Logical dates of the runs that a sensor waits for in a run, ISO 8601 in UTC. Empty: they can't be told."""
    if run is None or wait.error:
        return ()
    if wait.delta is not None and not wait.dates:
        return ((datetime.fromisoformat(run.logical) - timedelta(seconds=wait.delta)).isoformat(),)
    return dict(wait.dates).get(run.logical, ())


def _query(query: Query) -> dict[str, Json]:
    told = {
        "engine": query.engine,
        "project": query.project,
        "dataset": query.dataset,
        "destination": query.destination,
        "parameters": list(query.parameters),
        "file": query.file,
        "sql": query.sql,
    }
    return {name: value for name, value in told.items() if value not in (None, [])}


# --- as text


def _text(dumper: Any, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


# libyaml's is ten times as fast; a PyYAML that was built without it has not got it.
_Dumper: type[yaml.SafeDumper] = type(
    "_Dumper",
    (getattr(yaml, "CSafeDumper", yaml.SafeDumper),),
    {"ignore_aliases": lambda *_: True},
)
_Dumper.add_representer(str, _text)


def as_yaml(value: Mapping[str, Json]) -> str:
    """One YAML document, keys in their order, texts of several lines as blocks, no line folded."""
    return str(
        yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000, default_flow_style=False)
    )


def documents(tasks: Iterable[tuple[Dag, Task]]) -> str:
    """YAML documents, one a task."""
    return "---\n".join(as_yaml(rendered(dag, task)) for dag, task in tasks)
