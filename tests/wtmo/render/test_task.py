"""What is shown of a task: all that it will do, nothing else, always in the same order."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from wtmo.errors import WtmoError
from wtmo.graph.model import Dag, File, Inventory, Query, Run, Task, Template, Wait
from wtmo.render import run
from wtmo.render.task import argv, documents, find, rendered, waited_for

RUN = Run("2026-06-01T01:00:00+00:00", "2026-06-01T01:00:00+00:00", "2026-06-02T01:00:00+00:00")
POD = {
    "metadata": {"labels": {"dag_id": "d"}},
    "spec": {
        "containers": [
            {"name": "sidecar", "command": ["sleep"]},
            {
                "name": "base",
                "command": ["bq"],
                "args": ["query", "--day=2026-06-01"],
                "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            },
        ]
    },
}


def shown(task: Task, **differing: Any) -> dict[str, Any]:
    dag = Dag("d", "b", "d.py", run=differing.pop("run", RUN), tasks=(task,), **differing)
    return rendered(dag, task)


def test_a_pod_is_shown_with_its_argv_and_manifest() -> None:
    found = shown(Task("t", "GKEPodOperator", pod=POD, rendered={"arguments": ["query"], "env_vars": {}, "other": "x"}))
    assert found == {
        "task": "d.t",
        "operator": "GKEPodOperator",
        "run": "2026-06-01T01:00:00+00:00, data of 2026-06-01T01:00:00+00:00 to 2026-06-02T01:00:00+00:00",
        "argv": ["bq", "query", "--day=2026-06-01"],
        "manifest": POD,
        "fields": {"other": "x"},
    }


def test_argv_of_what_has_none() -> None:
    assert argv(Task("t", "EmptyOperator")) == []
    assert argv(Task("t", "P", pod={"spec": {"containers": [{"name": "base"}]}})) == []


def test_a_query_is_shown_with_sql_parameters_and_destination() -> None:
    query = Query(
        "native", sql="SELECT 1\n", destination="p.d.t$20260601", parameters=("day:DATE:2026-06-01",), project="p"
    )
    assert shown(Task("t", "Q", query=query))["query"] == {
        "engine": "native",
        "project": "p",
        "destination": "p.d.t$20260601",
        "parameters": ["day:DATE:2026-06-01"],
        "sql": "SELECT 1\n",
    }


@pytest.mark.parametrize(
    ("wait", "runs"),
    [
        (Wait("x", ("y",)), ("2026-06-01T01:00:00+00:00",)),
        (Wait("x", ("y",), how="delta", delta=3600.0), ("2026-06-01T00:00:00+00:00",)),
        (Wait("x", ("y",), how="delta", delta=-86400.0), ("2026-06-02T01:00:00+00:00",)),
        (Wait("x", how="function", delta=None, dates=((RUN.logical, ("2026-05-31T00:00:00+00:00", "2026-05-31T12:00:00+00:00")),)), ("2026-05-31T00:00:00+00:00", "2026-05-31T12:00:00+00:00")),
        (Wait("x", how="function", delta=None, dates=(("2026-06-02T01:00:00+00:00", ("2026-05-31T00:00:00+00:00",)),)), ()),
        (Wait("x", how="function", delta=None, error="ValueError"), ()),
    ],
)  # fmt: skip
def test_a_sensor_is_shown_with_the_run_that_it_waits_for(wait: Wait, runs: tuple[str, ...]) -> None:
    assert waited_for(wait, RUN) == runs
    assert shown(Task("t", "S", waits=wait))["waits_for"] == {
        "dag": "x",
        **({"tasks": ["y"]} if wait.of_tasks else {}),
        **({"runs": list(runs)} if runs else {}),
    }


def test_a_run_that_somebody_starts() -> None:
    assert (
        shown(Task("t", "E"), run=Run(RUN.logical, RUN.start, RUN.start, started=True))["run"]
        == f"started by hand at {RUN.logical}"
    )


def test_what_can_not_be_rendered_is_said() -> None:
    task = Task(
        "t",
        "P",
        templates=(
            Template("arguments[1]", "{{ dss }}", None, error="'dss' is undefined"),
            Template("a", "{{ ds }}", "x"),
        ),
        pod_error="ValueError: memory",
        unknown=("env_vars", "image"),
        query=Query("pod", error="no such file"),
        waits=Wait("x", how="function", delta=None, error="KeyError: 'a'"),
    )
    assert shown(task)["errors"] == [
        "arguments[1]: 'dss' is undefined",
        "the pod can't be built: ValueError: memory",
        "known when the task runs: env_vars, image",
        "the query can't be told: no such file",
        "the run that it waits for can't be told: KeyError: 'a'",
    ]


def test_yaml_gives_back_what_was_shown_and_sql_is_legible() -> None:
    sql = "SELECT\n  'a: b' -- c\nFROM t\n"
    tasks = (
        Task("q", "Q", query=Query("native", sql=sql)),
        Task("p", "P", pod=POD, rendered={"x": ["yes", "1", "on", "é", "*"]}),
    )
    dag = Dag("d", "b", "d.py", run=RUN, tasks=tasks)
    text = documents([(dag, task) for task in tasks])
    assert list(yaml.safe_load_all(text)) == [rendered(dag, task) for task in tasks]
    assert "  sql: |\n    SELECT\n      'a: b' -- c\n    FROM t\n" in text
    assert "&id" not in text


DAGS = Inventory(
    "2026-06-01",
    (
        File("b", "d.py", dags=(Dag("copy_dedup", "b", "d.py", tasks=(Task("one", "E"), Task("all", "E"))),)),
        File("b", "etl/bro_ken.py", refused="NameError: x", line=3),
    ),
)


def test_tasks_are_found_in_the_order_of_their_ids() -> None:
    assert [task.task_id for _, task in find(DAGS, "copy_dedup", None)] == ["all", "one"]
    assert [task.task_id for _, task in find(DAGS, "copy_dedup", "one")] == ["one"]


@pytest.mark.parametrize(
    ("dag_id", "task_id", "what", "fix"),
    [
        ("copydedup", None, "there is no DAG 'copydedup'", "Did you mean 'copy_dedup'?"),
        ("copy_dedup", "on", "DAG copy_dedup has no task 'on'", "Did you mean 'one'?"),
        ("bro-ken", None, "etl/bro_ken.py:3 does not load: NameError: x", "mend it, then run this again"),
    ],
)
def test_a_name_that_nothing_has(dag_id: str, task_id: str | None, what: str, fix: str) -> None:
    with pytest.raises(WtmoError) as raised:
        find(DAGS, dag_id, task_id)
    assert (raised.value.what, raised.value.fix) == (what, fix)


def test_a_file_a_dag(tmp_path: Any) -> None:
    found = [
        (dag, task)
        for dag in (Dag("a", "b", "a.py"), Dag("z", "b", "z.py"))
        for task in (Task("s", "E"), Task("t", "E"))
    ]
    assert run.write(found, tmp_path / "new", as_json=False) == 2
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"a.yaml", "z.yaml"}
    assert [each["task"] for each in yaml.safe_load_all((tmp_path / "new" / "a.yaml").read_text())] == ["a.s", "a.t"]


def test_what_is_empty_in_a_manifest_is_left_out_unless_it_says_something() -> None:
    manifest = {
        "spec": {"tolerations": [], "affinity": {}, "volumes": [{"name": "v", "emptyDir": {}}], "containers": []}
    }
    assert shown(Task("t", "P", pod=manifest))["manifest"] == {
        "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": []}
    }


def test_a_wait_whose_dates_can_not_be_told_has_none() -> None:
    assert waited_for(Wait("x", delta=0.0, error="KeyError"), RUN) == ()
