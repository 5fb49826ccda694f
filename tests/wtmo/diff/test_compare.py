"""What is a difference, what is noise, and what is one change however many tasks have it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from wtmo.diff import facts
from wtmo.diff.compare import Change, compare
from wtmo.graph.model import Dag, File, Inventory, PodSecret, Query, Run, Task, Template, Wait

if TYPE_CHECKING:
    from wtmo.diff.compare import Difference

RUN = Run("2026-06-01T01:00:00+00:00", "2026-06-01T01:00:00+00:00", "2026-06-02T01:00:00+00:00")
LATER = Run("2026-06-01T02:00:00+00:00", "2026-06-01T02:00:00+00:00", "2026-06-02T02:00:00+00:00")


def task(task_id: str = "t", **differing: Any) -> Task:
    attributes = {"retries": 2, "pool": "default_pool", **differing.pop("attributes", {})}
    return Task(task_id, differing.pop("kind", "GKEPodOperator"), attributes=attributes, **differing)


def of_run(name: str) -> dict[str, Any]:
    base = {"name": "base", "env": [{"name": "AIRFLOW_CTX_DAG_RUN_ID", "value": name}]}
    labels, annotations = {"airflow-run": name, "run_id": name}, {"workflow.telemetry.mozilla.org/run": name}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": {"containers": [base]}}


def dag(dag_id: str = "d", *tasks: Task, hour: int = 1, **differing: Any) -> Dag:
    fires = tuple(
        (f"2026-06-{day:02}T{hour:02}:00:00+00:00",) * 2 + (f"2026-06-{day + 1:02}T{hour:02}:00:00+00:00",)
        for day in range(1, 9)
    )
    given = {
        "run": RUN if hour == 1 else LATER,
        "fires": fires,
        "tags": ("impact/tier_1",),
        "schedule": {"kind": "CronDataIntervalTimetable", "expression": f"0 {hour} * * *", "timezone": "UTC"},
        **differing,
    }
    return Dag(dag_id, "telemetry-airflow", f"etl/{dag_id}.py", tasks=tasks or (task(),), **given)


def inventory(*dags: Dag, refused: tuple[File, ...] = ()) -> Inventory:
    files = [File(each.bundle, each.file, dags=(each,)) for each in dags]
    return Inventory("2026-06-01", (*files, *refused))


def between(base: Dag | Task, head: Dag | Task) -> Difference:
    before, after = (each if isinstance(each, Dag) else dag("d", each) for each in (base, head))
    return compare(inventory(before), inventory(after))


def changes(difference: Difference) -> dict[str, tuple[Any, Any]]:
    return {change.name: (change.before, change.after) for entry in difference.entries for change in entry.changes}


def test_facts_of_a_set_are_sorted() -> None:
    assert facts.of_task(task(upstream=("b", "a")))["after"] == ["a", "b"]
    assert facts.of_dag(dag(tags=("b", "a")))["tags"] == ["a", "b"]


def test_the_same_is_no_difference() -> None:
    assert between(task(), task()).empty


@pytest.mark.parametrize(
    ("base", "head"),
    [
        pytest.param(task(line=3), task(line=40), id="line numbers"),
        pytest.param(task(upstream=("a", "b")), task(upstream=("b", "a")), id="order of a set"),
        pytest.param(dag(line=1), dag(line=9), id="line"),
        pytest.param(dag(tags=("x", "impact/tier_1")), dag(tags=("impact/tier_1", "x")), id="order of tags"),
        pytest.param(task(attributes={"env_vars": {}}), task(attributes={"env_vars": None}), id="empty or none"),
        pytest.param(
            task(attributes={"labels": {"a": 1, "b": 2}}),
            task(attributes={"labels": {"b": 2, "a": 1}}),
            id="order of keys",
        ),
        pytest.param(task(attributes={"doc": "", "a": {"b": None}}), task(), id="empty text"),
        pytest.param(task(pod=of_run("a")), task(pod=of_run("b")), id="the run's name in the pod"),
        pytest.param(task(classes=("a.B", "b.C")), task(classes=("a.B",)), id="base classes"),
    ],
)
def test_noise_never_shows(base: Dag | Task, head: Dag | Task) -> None:
    assert between(base, head).empty


@pytest.mark.parametrize(
    ("base", "head", "name", "before", "after"),
    [
        (task(attributes={"retries": 1}), task(), "retries", 1, 2),
        (task(), task(attributes={"pool": "X"}), "pool", "default_pool", "X"),
        (task(), task(attributes={"execution_timeout": 3600.0}), "execution_timeout", None, 3600.0),
        (task(), task(kind="BashOperator"), "operator", "GKEPodOperator", "BashOperator"),
        (task(upstream=("a",)), task(upstream=("b",)), "after", ["a"], ["b"]),
        (
            task(secrets=(PodSecret("s", "old", "KEY", "env"),)),
            task(secrets=(PodSecret("s", "new", "KEY", "env"),)),
            "secrets.env KEY",
            "s/old",
            "s/new",
        ),
        (task(waits=Wait("x", ("y",))), task(waits=Wait("x", ("z",))), "waits_for.tasks", ["y"], ["z"]),
        (task(waits=Wait("x", how="delta", delta=0.0)), task(waits=Wait("x", how="delta", delta=60.0)), "waits_for.shift", 0.0, 60.0),
        (task(query=Query("native", sql="SELECT 1")), task(query=Query("native", sql="SELECT 2")), "rendered.sql", "SELECT 1", "SELECT 2"),
        (task(query=Query("native", destination="p.d.a")), task(query=Query("native", destination="p.d.b")), "query.destination", "p.d.a", "p.d.b"),
        (task(pod={"spec": {"nodeSelector": {"pool": "a"}}}), task(pod={"spec": {"nodeSelector": {"pool": "b"}}}), "pod.spec.nodeSelector.pool", "a", "b"),
        (task(starts="a"), task(starts="b"), "starts", "a", "b"),
        (dag(attributes={"catchup": True}), dag(attributes={"catchup": False}), "catchup", True, False),
        (dag(tags=("impact/tier_1",)), dag(tags=("impact/tier_2",)), "tags", ["impact/tier_1"], ["impact/tier_2"]),
        (dag(params={"day": {"type": "string"}}), dag(params={"day": {"type": "integer"}}), "params.day.type", "string", "integer"),
    ],
)  # fmt: skip
def test_each_kind_of_change_is_told(
    base: Dag | Task, head: Dag | Task, name: str, before: object, after: object
) -> None:
    assert changes(between(base, head)) == {name: (before, after)}


def test_a_new_schedule_shows_the_next_five_runs_and_no_dates_of_templates() -> None:
    def at(hour: int) -> Dag:
        ds = Template("arguments[0]", "--at={{ ts }}", f"--at=2026-06-01T0{hour}:00:00+00:00")
        pod = {"spec": {"containers": [{"name": "base", "args": [ds.rendered]}]}}
        own = task(templates=(ds,), attributes={"arguments": [ds.text]}, rendered={"arguments": [ds.rendered]}, pod=pod)
        return dag("d", own, hour=hour)

    found = changes(between(at(1), at(2)))
    assert set(found) == {"schedule", "next_runs"}
    assert found["schedule"] == ("0 1 * * *", "0 2 * * *")
    assert found["next_runs"][1] == [f"2026-06-0{day}T02:00:00+00:00" for day in range(2, 7)]


def test_what_renders_otherwise_though_it_is_written_the_same_is_told_once() -> None:
    def rendering(value: str) -> Task:
        text = Template("arguments[0]", "--x={{ params.x }}", f"--x={value}")
        pod = {"spec": {"containers": [{"name": "base", "args": [f"--x={value}"]}]}}
        return task(
            templates=(text,), attributes={"arguments": [text.text]}, rendered={"arguments": [f"--x={value}"]}, pod=pod
        )

    assert changes(between(rendering("1"), rendering("2"))) == {"rendered.arguments": (["--x=1"], ["--x=2"])}


def test_an_argument_is_told_as_written_and_not_again_in_the_pod() -> None:
    def with_argument(text: str, rendered: str) -> Task:
        pod = {"spec": {"containers": [{"name": "base", "args": [rendered], "image": "i"}]}}
        return task(
            templates=(Template("arguments[0]", text, rendered),),
            attributes={"arguments": [text]},
            rendered={"arguments": [rendered]},
            pod=pod,
        )

    found = changes(between(with_argument("{{ ds }}", "2026-06-01"), with_argument("{{ ds_nodash }}", "20260601")))
    assert found == {"arguments": (["{{ ds }}"], ["{{ ds_nodash }}"])}


def test_what_a_pod_is_expanded_to_is_told_where_it_differs() -> None:
    def expanded(*programs: str) -> Task:
        first, *others = (task(attributes={"arguments": [program]}) for program in programs)
        return replace(first, mapped=True, instances=tuple(others))

    difference = changes(between(expanded("a", "b", "c"), expanded("a", "b", "d")))
    assert difference == {"instances[1].arguments": (["c"], ["d"])}


def test_one_change_of_a_factory_is_one_entry() -> None:
    def made(retries: int, version: int) -> list[Dag]:
        def one(name: str) -> Task:
            return task(name, attributes={"retries": retries, "arguments": [f"--table={name}_v{version}", "--n=3"]})

        return [dag(f"d{number}", *(one(f"t{number}_{each}") for each in range(20))) for number in range(3)]

    (entry,) = compare(inventory(*made(1, 1)), inventory(*made(2, 2))).entries
    assert len(entry.nodes) == 60
    assert [change.name for change in entry.changes] == ["arguments", "retries"]
    assert not entry.same, "the arguments have each their own table"


def test_a_task_that_changed_further_is_in_the_entry_of_all_and_in_its_own() -> None:
    before = dag("d", task("a"), task("b"), task("c"))
    after = dag(
        "d",
        *(task(each, attributes={"retries": 3}) for each in "ab"),
        task("c", attributes={"retries": 3, "pool": "X"}),
    )
    found = [
        ([name for _, name in entry.nodes], [each.name for each in entry.changes])
        for entry in between(before, after).entries
    ]
    assert found == [(["a", "b", "c"], ["retries"]), (["c"], ["pool"])]


def test_changes_that_only_look_alike_are_not_one() -> None:
    before = dag(
        "d", task("a", attributes={"arguments": ["--slices=1"]}), task("b", attributes={"arguments": ["--days=1"]})
    )
    after = dag(
        "d", task("a", attributes={"arguments": ["--slices=2"]}), task("b", attributes={"arguments": ["--days=2"]})
    )
    assert len(between(before, after).entries) == 2


def test_a_query_that_follows_from_the_arguments_is_not_told_again() -> None:
    def query(day: str) -> Task:
        return task(
            attributes={"arguments": [f"--day={day}"]},
            query=Query("pod", parameters=(f"day:DATE:{day}",)),
            pod={"kind": "Pod"},
        )

    assert set(changes(between(query("1"), query("2")))) == {"arguments"}


def test_the_same_item_in_lists_that_differ_is_the_same_change() -> None:
    before = dag("d", *(task(each, attributes={"arguments": [each]}) for each in "ab"))
    after = dag("d", *(task(each, attributes={"arguments": [each, "--new"]}) for each in "ab"))
    (entry,) = between(before, after).entries
    assert entry.same


def test_tasks_that_only_have_in_common_what_all_have_are_no_rename() -> None:
    def made(*names: str) -> Dag:
        usual = {"arguments": ["query", "--project=p", "--retry", "--dataset=d", "--schema_update=yes"]}
        return dag("d", *(task(name, attributes={"arguments": [*usual["arguments"], f"sql/{name}"]}) for name in names))

    found = between(made("a", "b", "c", "d", "gone"), made("a", "b", "c", "d", "fresh"))
    assert not found.added.like


def test_each_thing_is_perhaps_one_other() -> None:
    base = inventory(dag("old", task("a"), task("b")))
    head = inventory(dag("new", task("a"), task("b")), dag("other", task("a"), task("b"), task("c")))
    assert compare(base, head).removed.like == {("old", None): ("new", None)}
    assert compare(head, base).removed.like == {("new", None): ("old", None)}


def test_what_is_new_and_what_is_gone() -> None:
    base = inventory(dag("old", hour=3), dag("d", task("a")))
    head = inventory(
        dag("new", task("x", kind="BashOperator")), dag("d", task("b", kind="PythonOperator", upstream=("a",)))
    )
    found = compare(base, head)
    assert found.added.nodes == (("d", "b"), ("new", None))
    assert found.removed.nodes == (("d", "a"), ("old", None))
    assert not found.added.like


def test_a_rename_is_gone_and_new_with_a_hint() -> None:
    base = inventory(dag("old", task("a"), task("b")), dag("d", task("x", attributes={"arguments": ["--y"]})))
    head = inventory(dag("new", task("a"), task("b")), dag("d", task("z", attributes={"arguments": ["--y"]})))
    found = compare(base, head)
    assert found.added.like == {("new", None): ("old", None), ("d", "z"): ("d", "x")}
    assert found.removed.like == {("old", None): ("new", None), ("d", "x"): ("d", "z")}


def test_a_task_put_between_two_others_changes_no_other_edge() -> None:
    before = dag("d", task("a"), task("b", upstream=("a",)))
    after = dag("d", task("a"), task("new", upstream=("a",)), task("b", upstream=("new",)))
    assert between(before, after).entries == ()
    assert between(after, before).entries == ()


def test_an_edge_that_is_lost_beside_a_new_task_is_told() -> None:
    before = dag("d", task("a"), task("b", upstream=("a",)))
    after = dag("d", task("a"), task("new"), task("b", upstream=("new",)))
    assert changes(between(before, after)) == {"after": (["a"], ["new"])}


def test_a_file_that_no_longer_loads_hides_no_dag() -> None:
    broken = File(
        "telemetry-airflow", "etl/d.py", refused="NameError: name 'x' is not defined", refused_kind="import", line=7
    )
    found = compare(inventory(dag("d")), inventory(refused=(broken,)))
    assert found.refused == (broken,)
    assert not found.removed.nodes, "nobody knows whether its DAG is gone"
    assert not found.empty
    back = compare(inventory(refused=(broken,)), inventory(dag("d")))
    assert [file.name for file in back.mended] == ["etl/d.py"]
    assert not back.added.nodes


def test_a_file_that_loads_on_neither_side_is_no_difference() -> None:
    broken = File("telemetry-airflow", "etl/d.py", refused="SyntaxError")
    found = compare(inventory(refused=(broken,)), inventory(refused=(broken,)))
    assert found.empty
    assert found.unreadable == (broken,)


def test_what_is_touched() -> None:
    before = dag("d", task("a"), task("gone"), task("said", attributes={"owner": "x"}))
    after = dag(
        "d", task("a", attributes={"retries": 3}), task("new", kind="E"), task("said", attributes={"owner": "y"})
    )
    ours, gone = between(before, after).touched
    assert ours == {("d", "a"), ("d", "new")}
    assert gone == {("d", "gone")}
    ours, _ = between(dag("d", task("a"), task("b")), dag("d", task("a"), task("b"), hour=2)).touched
    assert ours == {("d", "a"), ("d", "b")}, "a DAG's change is one of all its tasks"


def test_many_runs_of_one_comparison_say_the_same() -> None:
    base = inventory(*(dag(f"d{each}", task("a"), task("b")) for each in range(9)))
    head = inventory(
        *(dag(f"d{each}", task("a", attributes={"pool": f"p{each}"}), task("c")) for each in range(8, -1, -1))
    )
    first, second = compare(base, head), compare(base, replace(head, files=tuple(reversed(head.files))))
    assert (first.entries, first.added, first.removed) == (second.entries, second.added, second.removed)


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        (None, "x", (("+", "x"),)),
        (["a"], ["a", "b"], (("+", "b"),)),
        (["a", "b"], ["b"], (("-", "a"),)),
        ("d_v1", "d_v2", (("-", "v1"), ("+", "v2"))),
        (True, False, (("-", "true"), ("+", "false"))),
    ],
)
def test_steps(before: object, after: object, steps: object) -> None:
    assert Change("x", before, after).steps == steps
