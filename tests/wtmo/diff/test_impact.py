"""Whom a difference touches, and from which run on."""

from __future__ import annotations

from typing import Any

from wtmo.diff.compare import compare
from wtmo.diff.impact import Impact, impact
from wtmo.graph.model import Dag, File, Inventory, Task, Wait


def task(task_id: str, *upstream: str, retries: int = 1, waits: Wait | None = None, **attributes: Any) -> Task:
    return Task(task_id, "E", upstream=upstream, waits=waits, attributes={"retries": retries, **attributes})


def dag(dag_id: str, *tasks: Task, hour: int, tier: str = "tier_1") -> Dag:
    fires = tuple(
        (f"2026-06-{day:02}T{hour:02}:00:00+00:00",) * 2 + (f"2026-06-{day + 1:02}T{hour:02}:00:00+00:00",)
        for day in range(1, 9)
    )
    return Dag(dag_id, "b", f"{dag_id}.py", fires=fires, tags=(f"impact/{tier}",), tasks=tasks)


def waiting(dag_id: str, of_dag: str, of_task: str, *, hour: int, tier: str, delta: float) -> Dag:
    wait = Wait(of_dag, (of_task,), how="delta", delta=delta)
    return dag(dag_id, task("wait", waits=wait), task("work", "wait"), hour=hour, tier=tier)


OTHERS = (
    waiting("near", "root", "b", hour=3, tier="tier_2", delta=7200.0),
    waiting("far", "near", "work", hour=4, tier="tier_3", delta=3600.0),
    dag("apart", task("alone"), hour=5),
)


def of(before: Dag, after: Dag) -> Impact:
    base, head = (
        Inventory("2026-06-01", tuple(File("b", each.file, dags=(each,)) for each in (root, *OTHERS)))
        for root in (before, after)
    )
    return impact(compare(base, head))


def test_what_waits_for_a_changed_task_by_tier_and_first_run() -> None:
    found = of(
        dag("root", task("a"), task("b", "a"), task("c", "a"), hour=1),
        dag("root", task("a", retries=2), task("b", "a"), task("c", "a"), hour=1),
    )
    assert found == Impact(
        {"tier 2": ("near",), "tier 3": ("far",)},
        {"tier 2": 2, "tier 3": 2},
        2,
        {"root": "2026-06-02T01:00:00+00:00", "near": "2026-06-02T03:00:00+00:00", "far": "2026-06-02T04:00:00+00:00"},
    )


def test_a_leaf_touches_nobody() -> None:
    found = of(
        dag("root", task("a"), task("b"), task("c", "a"), hour=1),
        dag("root", task("a"), task("b"), task("c", "a", retries=2), hour=1),
    )
    assert (found.dags, found.inside) == ({}, 0)


def test_a_new_owner_touches_nobody() -> None:
    found = of(dag("root", task("b", owner="x"), hour=1), dag("root", task("b", owner="y"), hour=1))
    assert found == Impact()


def test_what_waited_for_a_task_that_is_gone_is_touched() -> None:
    found = of(dag("root", task("a"), task("b", "a"), hour=1), dag("root", task("a"), hour=1))
    assert found.dags == {"tier 2": ("near",), "tier 3": ("far",)}
    assert "apart" not in found.first


def test_what_is_gone_together_touches_only_what_is_left() -> None:
    found = of(dag("root", task("a"), task("b", "a"), task("c", "b"), hour=1), dag("root", task("a"), hour=1))
    assert found.inside == 0
    assert found.tasks == {"tier 2": 2, "tier 3": 2}


def test_what_waits_in_a_file_that_no_longer_loads_is_not_counted() -> None:
    base = Inventory(
        "2026-06-01", tuple(File("b", each.file, dags=(each,)) for each in (dag("root", task("b"), hour=1), *OTHERS))
    )
    gone = (File("b", "near.py", refused="NameError"), *(File("b", each.file, dags=(each,)) for each in OTHERS[1:]))
    found = impact(compare(base, Inventory("2026-06-01", gone)))
    assert found.dags == {"tier 3": ("far",)}
