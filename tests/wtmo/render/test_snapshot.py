"""Snapshots say what is particular, and what is common once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from utils.labels import label_value
from wtmo.graph.model import Dag, File, Inventory, PodSecret, Query, Run, Task
from wtmo.render.snapshot import COMMON_FILE, differences, snapshots, write

if TYPE_CHECKING:
    from pathlib import Path

RUN = Run("2026-06-01T01:00:00+00:00", "2026-06-01T01:00:00+00:00", "2026-06-02T01:00:00+00:00")


def pod(task_id: str, *args: str, memory: str = "1Gi", **env: str) -> Task:
    base = {
        "name": "base",
        "image": "registry/bq",
        "args": list(args),
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "resources": {"requests": {"memory": memory}},
    }
    manifest = {"metadata": {"labels": {"task_id": task_id}}, "spec": {"containers": [base], "restartPolicy": "Never"}}
    return Task(task_id, "GKEPodOperator", attributes={"retries": 2, "arguments": list(args)}, pod=manifest)


def dag(dag_id: str, *tasks: Task, **differing: Any) -> Dag:
    schedule = {"kind": "CronDataIntervalTimetable", "expression": "0 1 * * *", "timezone": "UTC"}
    given = {
        "attributes": {"catchup": False, "max_active_runs": 16, "doc_md": "words"},
        "schedule": schedule,
        **differing,
    }
    return Dag(dag_id, "b", f"{dag_id}.py", run=RUN, tasks=tasks, **given)


def made(*dags: Dag) -> dict[str, Any]:
    inventory = Inventory("2026-06-01", tuple(File("b", each.file, dags=(each,)) for each in dags))
    return {name: yaml.safe_load(text) for name, text in snapshots(inventory).items()}


ORDINARY = [dag(f"d{each}", pod("t", f"--x={each}")) for each in range(4)]
ORDINARY_MORE = [dag(f"e{each}", pod("t", f"--x={each}")) for each in range(8)]


def test_what_is_common_stands_once() -> None:
    found = made(*ORDINARY)
    assert found[COMMON_FILE] == {
        "DAGs": {"catchup": False, "deadline": False, "max_active_runs": 16, "schedule": "0 1 * * *"},
        "all tasks": {"mapped": False, "operator": "GKEPodOperator", "retries": 2},
        "pods": {
            "pod.image": "registry/bq",
            "pod.resources.requests.memory": "1Gi",
            "pod.spec.restartPolicy": "Never",
        },
    }
    assert found["d1.yaml"] == {"tasks": {"t": {"argv": ["--x=1"]}}}


def test_what_is_particular_stands_in_the_file_of_its_dag() -> None:
    odd = dag(
        "odd",
        Task("first", "EmptyOperator", attributes={"retries": 2}),
        Task("second", "BashOperator", upstream=("first",), attributes={"retries": 5, "pool": "X"}),
        attributes={"catchup": True},
    )
    assert made(*ORDINARY, odd)["odd.yaml"] == {
        "dag": {"catchup": True, "max_active_runs": "(none)"},
        "tasks": {
            "first": {"operator": "EmptyOperator"},
            "second": {"operator": "BashOperator", "after": ["first"], "pool": "X", "retries": 5},
        },
    }


def test_what_is_common_to_tasks_of_one_operator_is_told_of_that_operator() -> None:
    sensors = [
        Task(f"s{each}", "Sensor", attributes={"retries": 2, "poke_interval": 60 if each else 5}) for each in range(4)
    ]
    found = made(*ORDINARY, *ORDINARY_MORE, dag("d", *sensors))
    assert found[COMMON_FILE]["Sensor"] == {"poke_interval": 60}
    assert found["d.yaml"] == {
        "all tasks": {"operator": "Sensor"},
        "tasks": {"s0": {"poke_interval": 5}, "s1": {}, "s2": {}, "s3": {}},
    }
    assert "poke_interval" not in found["d1.yaml"]["tasks"]["t"], "an operator that has no such thing does not say so"


def test_labels_of_where_a_pod_comes_from_stand_once() -> None:
    def labelled(task_id: str) -> Task:
        labels = {"airflow-task": label_value(task_id), "airflow-tier": "tier_1", "airflow-owner": "team"}
        manifest = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "base", "image": task_id}]}}
        return Task(task_id, "P", attributes={"owner": "team"}, pod=manifest)

    dags = [dag(f"d{each}", labelled(f"Group.t{each}"), tags=("impact/tier_1",)) for each in range(4)]
    found = made(*dags)
    assert found[COMMON_FILE]["pods"] == {
        "pod.metadata.labels.airflow-owner": "<owner>",
        "pod.metadata.labels.airflow-task": "<task>",
        "pod.metadata.labels.airflow-tier": "<tier>",
    }


def test_what_all_tasks_of_a_dag_have_alike_stands_once() -> None:
    tasks = [pod(name, name, memory="9Gi", KEY=name) for name in ("a", "b")]
    assert made(*ORDINARY, dag("big", *tasks))["big.yaml"] == {
        "all tasks": {"pod.resources.requests.memory": "9Gi"},
        "tasks": {"a": {"argv": ["a"], "pod.env.KEY": "a"}, "b": {"argv": ["b"], "pod.env.KEY": "b"}},
    }


def test_secrets_are_told_by_name() -> None:
    secret = {"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    manifest = {"spec": {"containers": [{"name": "base", "env": [secret]}]}}
    task = Task("t", "P", pod=manifest, secrets=(PodSecret("s", "k", "K", "env"),))
    told = made(*ORDINARY, dag("d", task))["d.yaml"]["tasks"]["t"]
    assert told["secrets.env K"] == "s/k"
    assert not [name for name in told if "secretKeyRef" in name]


def test_writing_and_comparing(tmp_path: Path) -> None:
    files = {"a.yaml": "x: 1\ny: 2\n", "b.yaml": "z: 1\n"}
    assert write(files, tmp_path) == ["a.yaml", "b.yaml"]
    assert write(files, tmp_path) == []
    assert differences(files, tmp_path) == ""
    now = {"a.yaml": "x: 1\ny: 3\n"}
    assert differences(now, tmp_path).splitlines() == [
        "--- a.yaml as kept",
        "+++ a.yaml as it is",
        "@@ -1,2 +1,2 @@",
        " x: 1",
        "-y: 2",
        "+y: 3",
        "--- b.yaml as kept",
        "+++ b.yaml as it is",
        "@@ -1 +0,0 @@",
        "-z: 1",
    ]
    assert write(now, tmp_path) == ["a.yaml", "b.yaml"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_what_another_fact_says_is_not_told_again() -> None:
    start = "2020-01-01T00:00:00+00:00"
    manifest = {"spec": {"containers": [{"name": "base", "args": ["query"]}]}}
    query = Query("pod", destination="p.d.t")
    task = Task("t", "P", attributes={"start_date": start}, pod=manifest, query=query)
    other = replace(task, task_id="u", attributes={"start_date": "2021-01-01T00:00:00+00:00"})
    found = made(*ORDINARY, dag("d", task, other, start_date=start))["d.yaml"]["tasks"]
    assert "start_date" not in found["t"]
    assert found["u"]["start_date"] == "2021-01-01T00:00:00+00:00"
    assert not [name for name in found["t"] if name.startswith("query")]
