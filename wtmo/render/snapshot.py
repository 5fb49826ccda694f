"""Snapshots: what each hand-written DAG does on one day, one small file a DAG, kept in git. A change of what is common shows once.

A snapshot says what is particular. What at least two thirds of all DAGs, tasks or pods have alike stands in :data:`COMMON_FILE` alone, and
what all tasks of one DAG have alike stands once, under ``all tasks``.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from typing import TYPE_CHECKING

from utils.config import ROOT
from utils.labels import label_value
from utils.tags import impact_tier
from wtmo.diff import facts
from wtmo.render.task import IN_THE_POD, argv, as_yaml, waited_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wtmo.graph.model import Dag, Inventory, Json, Task

FOLDER = ROOT / "tests" / "snapshots"
DATE = "2026-06-01"
"""The day that snapshots are of."""
COMMON_FILE = "_common.yaml"
MOST = 2 / 3
"""Share of all from which something is common."""

_HEAD = "# What DAG {dag_id} does on {date}. Made by `make snapshots`; what most DAGs have alike stands in {common}.\n"
_HEAD_OF_COMMON = (
    "# What most DAGs, tasks and pods have alike: left out of the other files here. Made by `make snapshots`.\n"
)
_ABSENT = "(none)"
_TASKS = "all tasks"
_NOT_TOLD = {"doc_md", "file", "next_runs", "rendered", "connections", "groups"}
"""Facts that the DAG's file shows better, or that another one says."""

Common = dict[str, dict[str, "Json"]]


def snapshots(inventory: Inventory) -> dict[str, str]:
    """The text of each snapshot, by file name."""
    dags = inventory.dags
    told = {
        dag_id: (_of_dag(dag), {task.task_id: _of_task(dag, task) for task in dag.tasks})
        for dag_id, dag in dags.items()
    }
    common = _all_common(
        [of_dag for of_dag, _ in told.values()], [each for _, of in told.values() for each in of.values()]
    )
    files = {COMMON_FILE: _HEAD_OF_COMMON + as_yaml(common)}
    for dag_id, (of_dag, of_tasks) in told.items():
        head = _HEAD.format(dag_id=dag_id, date=inventory.date, common=COMMON_FILE)
        files[f"{dag_id}.yaml"] = head + as_yaml(_snapshot(of_dag, of_tasks, common))
    return files


def write(files: Mapping[str, str], folder: Path = FOLDER) -> list[str]:
    """Write what differs and remove what has no DAG any more. Returns the names of the files that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = [
        name for name in sorted(files) if not (folder / name).exists() or (folder / name).read_text() != files[name]
    ]
    for name in changed:
        (folder / name).write_text(files[name])
    for name in _left_over(files, folder):
        (folder / name).unlink()
        changed.append(name)
    return changed


def differences(files: Mapping[str, str], folder: Path = FOLDER) -> str:
    """How the snapshots that are kept differ from what the DAGs are, as a unified difference. Empty: not at all."""
    lines: list[str] = []
    for name in sorted({*files, *_left_over(files, folder)}):
        kept = (folder / name).read_text() if (folder / name).exists() else ""
        lines += difflib.unified_diff(
            kept.splitlines(), files.get(name, "").splitlines(), f"{name} as kept", f"{name} as it is", lineterm="", n=1
        )
    return "\n".join(lines)


def _left_over(files: Mapping[str, str], folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.yaml") if path.name not in files)


# --- what is told


def _of_dag(dag: Dag) -> dict[str, Json]:
    return {name: value for name, value in facts.of_dag(dag).items() if _head(name) not in _NOT_TOLD}


def _of_task(dag: Dag, task: Task) -> dict[str, Json]:
    """Facts of a task, with what its pod is in place of what the pod was made from."""
    own_names = {
        "dag": dag.dag_id,
        "task": task.task_id,
        "owner": str(task.attributes.get("owner")),
        "tier": str(impact_tier(dag.tags)),
    }
    names = {text: f"<{what}>" for what, name in own_names.items() for text in (name, label_value(name))}
    told: dict[str, Json] = {"operator": task.kind, "argv": argv(task)}
    for name, value in facts.of_task(task).items():
        head = _head(name)
        if head in _NOT_TOLD or (task.pod is not None and head in IN_THE_POD - {"secrets"}):
            continue
        if name.startswith(_TOLD_OTHERWISE) or _is_secret(name) or (head == "query" and task.pod is not None):
            continue
        if head == "start_date" and value == dag.start_date:
            continue
        # Every pod is labelled with where it comes from: told once, with names in place of the values.
        own = name.startswith(_LABELS) and isinstance(value, str)
        told[_short(name)] = names.get(value, value) if own else value
    if task.query and task.query.sql and task.pod is None:
        told["sql"] = task.query.sql
    if not task.pod:
        written = {_head(each.field) for each in task.templates}
        told |= dict(facts.flat({name: value for name, value in task.rendered.items() if name in written}))
    if task.waits:
        told["waits_for.runs"] = list(waited_for(task.waits, dag.run))
    return {name: value for name, value in told.items() if value not in (None, [])}


_BASE = "pod.spec.containers[base]."
_TOLD_OTHERWISE = (
    "pod.metadata.name",
    "pod.metadata.labels.dag_id",
    "pod.metadata.labels.task_id",
    f"{_BASE}command",
    f"{_BASE}args",
)
_LABELS = ("pod.metadata.", f"{_BASE}env[AIRFLOW_CTX_")


def _is_secret(name: str) -> bool:
    return ".valueFrom.secretKeyRef." in name


def _short(name: str) -> str:
    """``pod.env.DATE`` for the value of a variable."""
    if name.startswith(f"{_BASE}env[") and name.endswith("].value"):
        return f"pod.env.{name.removeprefix(f'{_BASE}env[').removesuffix('].value')}"
    return name.replace("spec.containers[base].", "") if name.startswith(_BASE) else name


def _head(name: str) -> str:
    return name.partition("[")[0].partition(".")[0]


# --- what is common, and the rest


def _part(of_task: Mapping[str, Json], *, pod: bool) -> dict[str, Json]:
    return {name: value for name, value in of_task.items() if name.startswith("pod.") is pod}


def _all_common(dags: Sequence[Mapping[str, Json]], tasks: Sequence[Mapping[str, Json]]) -> Common:
    """What is common to DAGs, to pods, to all tasks, and to the tasks of each operator that more than one task has."""
    without_pod = [_part(each, pod=False) for each in tasks]
    everywhere = set.intersection(*map(set, without_pod)) if tasks else set()
    common = {
        "DAGs": _common(dags),
        "pods": _common([pod for each in tasks if (pod := _part(each, pod=True))]),
        _TASKS: {name: value for name, value in _common(without_pod).items() if name in everywhere},
    }
    for kind, number in sorted(Counter(str(each["operator"]) for each in tasks).items()):
        if number > 1:
            of_kind = _common([each for each in without_pod if each["operator"] == kind])
            common[kind] = {
                name: value
                for name, value in of_kind.items()
                if name != "operator" and common[_TASKS].get(name) != value
            }
    return {what: values for what, values in common.items() if values or what in {"DAGs", "pods", _TASKS}}


def _common(all_: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """By name, the value that most of them have."""
    counts: dict[str, Counter[str]] = {}
    for each in all_:
        for name, value in each.items():
            counts.setdefault(name, Counter())[json.dumps(value, sort_keys=True)] += 1
    found: dict[str, Json] = {}
    for name in sorted(counts):
        value, number = min(counts[name].items(), key=lambda pair: (-pair[1], pair[0]))
        if number >= MOST * len(all_) and len(all_) > 1:
            found[name] = json.loads(value)
    return found


def _particular(told: Mapping[str, Json], common: Mapping[str, Json]) -> dict[str, Json]:
    """What differs from what is common, and ``(none)`` for what is common and not there."""
    own = {name: value for name, value in told.items() if name not in common or common[name] != value}
    return own | {name: _ABSENT for name in common if name not in told}


def _snapshot(
    of_dag: Mapping[str, Json], of_tasks: Mapping[str, Mapping[str, Json]], common: Common
) -> dict[str, Json]:
    tasks = {
        task_id: _particular(_part(each, pod=False), common[_TASKS] | common.get(str(each["operator"]), {}))
        | (_particular(pod, common["pods"]) if (pod := _part(each, pod=True)) else {})
        for task_id, each in of_tasks.items()
    }
    shared = _shared(list(tasks.values()))
    found: dict[str, Json] = {"dag": _ordered(_particular(of_dag, common["DAGs"]))}
    if shared:
        found[_TASKS] = _ordered(shared)
    found["tasks"] = {
        task_id: _ordered({name: value for name, value in tasks[task_id].items() if name not in shared})
        for task_id in sorted(tasks)
    }
    return {name: value for name, value in found.items() if value}


def _shared(tasks: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    if len(tasks) < 2:
        return {}
    first = tasks[0]
    return {
        name: value for name, value in first.items() if all(name in each and each[name] == value for each in tasks[1:])
    }


_FIRST = ("schedule", "start_date", "operator", "after", "image", "argv", "waits_for")


def _ordered(told: Mapping[str, Json]) -> dict[str, Json]:
    def place(name: str) -> tuple[int, str]:
        return (_FIRST.index(_head(name)) if _head(name) in _FIRST else len(_FIRST)), name

    return {name: told[name] for name in sorted(told, key=place)}
