"""Edges across DAGs, the dates that they map, and what is asked of the graph."""

from __future__ import annotations

from typing import Any

import pytest

from wtmo.graph.graph import Graph
from wtmo.graph.model import Dag, File, Inventory, Query, Task, Wait
from wtmo.graph.picture import picture
from wtmo.graph.tables import Use, use_of

DAY = [f"2026-06-0{number}T03:00:00+00:00" for number in range(1, 6)]


def dag(dag_id: str, *tasks: Task, tier: str = "tier_2", at: str = "03", **facts: Any) -> Dag:
    fires = tuple((day.replace("T03", f"T{at}"),) * 3 for day in DAY)
    return Dag(dag_id, "b", f"{dag_id}.py", tags=(f"impact/{tier}",), tasks=tasks, **{"fires": fires} | facts)


def task(task_id: str, *upstream: str, **facts: Any) -> Task:
    return Task(task_id, "X", upstream=upstream, **facts)


def graph(*dags: Dag) -> Graph:
    return Graph(Inventory("2026-06-01", tuple(File("b", dag.file, dags=(dag,)) for dag in dags)))


def sensor(task_id: str, of_dag: str, *of_tasks: str, delta: float | None = 0.0, **facts: Any) -> Task:
    return task(task_id, waits=Wait(of_dag, of_tasks, delta=delta, **facts))


ROOT = dag("root", task("a"), task("b", "a"), tier="tier_1")
NEXT = dag("next", sensor("wait", "root", "b", delta=7200.0), task("work", "wait"), at="05")
LAST = dag("last", sensor("wait", "next", delta=86400.0), task("end", "wait"), tier="tier_3", at="05")


def test_edges_join_tasks_across_dags() -> None:
    found = graph(ROOT, NEXT, LAST)
    assert found.inner == [
        (("last", "wait"), ("last", "end")),
        (("next", "wait"), ("next", "work")),
        (("root", "a"), ("root", "b")),
    ]
    assert [(edge.upstream, edge.downstream, edge.how) for edge in found.edges] == [
        (("next", "work"), ("last", "wait"), "sensor"),  # of a whole run: what nothing of it comes after
        (("root", "b"), ("next", "wait"), "sensor"),
    ]
    assert found.downstream(("root", "b")) == {
        ("next", "wait"): 1,
        ("next", "work"): 2,
        ("last", "wait"): 3,
        ("last", "end"): 4,
    }
    assert found.downstream(("root", "b"), depth=1) == {("next", "wait"): 1}
    assert found.upstream(("next", "work")) == {("next", "wait"): 1, ("root", "b"): 2, ("root", "a"): 3}
    assert found.longest_path() == [
        *(("root", "a"), ("root", "b"), ("next", "wait")),
        *(("next", "work"), ("last", "wait"), ("last", "end")),
    ]


def test_edges_map_dates_both_ways() -> None:
    irregular = tuple((day, (DAY[0],)) for day in DAY[:3])
    found = graph(
        ROOT,
        NEXT,
        dag("function", sensor("wait", "root", "b", delta=None, how="function", dates=irregular)),
        dag("unknown", sensor("wait", "root", "b", delta=None, how="function", error="it fails")),
    )
    edges = {edge.downstream[0]: edge for edge in found.edges}
    assert edges["next"].to_downstream(DAY[0]) == ("2026-06-01T05:00:00+00:00",)
    assert edges["next"].to_upstream("2026-06-01T05:00:00+00:00") == (DAY[0],)
    assert edges["function"].to_downstream(DAY[0]) == tuple(DAY[:3])
    assert edges["function"].to_downstream(DAY[1]) == ()
    assert edges["function"].to_upstream(DAY[2]) == (DAY[0],)
    assert edges["function"].to_upstream(DAY[4]) == ()
    assert edges["unknown"].to_downstream(DAY[0]) == edges["unknown"].to_upstream(DAY[0]) == ()


def test_markers_count_where_no_sensor_answers() -> None:
    marker = task("mark", "b", marker=True, waits=Wait("next", ("wait",), how="template", delta=-7200.0))
    lone = task("lone", "b", marker=True, waits=Wait("other", ("work",), how="template", delta=-3600.0))
    root = dag("root", task("a"), task("b", "a"), marker, lone)
    found = graph(root, NEXT, dag("other", task("work")))
    assert [(edge.upstream, edge.downstream, edge.how) for edge in found.edges] == [
        (("root", "b"), ("next", "wait"), "sensor"),
        (("root", "lone"), ("other", "work"), "marker"),
    ]
    edge = found.edges[1]
    assert edge.to_downstream(DAY[0]) == ("2026-06-01T04:00:00+00:00",)
    assert edge.to_upstream("2026-06-01T04:00:00+00:00") == (DAY[0],)


def test_triggers_groups_and_assets() -> None:
    root = dag(
        "root",
        task("a", starts="next"),
        task("g.x", group="g"),
        task("g.y", "g.x", group="g"),
        task("w", attributes={"outlets": [{"Asset": {"name": "n", "uri": "s3://n"}}]}),
    )
    by_asset = dag("by_asset", task("t"), task("u", "t"), schedule={"assets": [{"name": "n", "uri": "s3://n"}]})
    of_group = dag("of_group", sensor("wait", "root", of_group="g"))
    found = graph(root, NEXT, by_asset, of_group)
    assert {(edge.upstream, edge.downstream, edge.how) for edge in found.edges} == {
        (("root", "a"), ("next", "wait"), "trigger"),
        (("root", "w"), ("by_asset", "t"), "asset"),
        (("root", "g.y"), ("of_group", "wait"), "sensor"),
    }


def test_the_blast_radius_has_tiers_and_first_runs() -> None:
    found = graph(ROOT, NEXT, LAST).blast_radius([("root", "b")], since="2026-06-02T00:00:00+00:00")
    told = {tier: [(each.node, each.first_run, each.distance) for each in affected] for tier, affected in found.items()}
    assert told == {
        "tier_2": [
            (("next", "wait"), "2026-06-02T05:00:00+00:00", 1),
            (("next", "work"), "2026-06-02T05:00:00+00:00", 2),
        ],
        "tier_3": [
            (("last", "end"), "2026-06-03T05:00:00+00:00", 4),
            (("last", "wait"), "2026-06-03T05:00:00+00:00", 3),
        ],
    }


@pytest.mark.parametrize(
    ("there", "back", "rings"),
    [
        (0.0, 0.0, 1),
        (3600.0, -3600.0, 1),
        (0.0, 86400.0, 0),  # yesterday's run
        (86400.0, -3600.0, 0),
        (0.0, -86400.0, 1),  # tomorrow's
    ],
)
def test_a_ring_counts_by_its_dates(there: float, back: float, rings: int) -> None:
    one = dag("one", sensor("wait", "two", "work", delta=back), task("work", "wait"))
    two = dag("two", sensor("wait", "one", "work", delta=there), task("work", "wait"))
    found = graph(one, two).cycles()
    assert len(found) == rings
    if rings:
        assert found[0] == [("one", "wait"), ("one", "work"), ("two", "wait"), ("two", "work")]


def test_a_ring_of_one_date_is_found_beside_one_that_is_none() -> None:
    one = dag("one", sensor("a", "two", "x", delta=86400.0), sensor("b", "three", "y"), task("work", "a", "b"))
    two = dag("two", sensor("x", "one", "work"))
    three = dag("three", sensor("z", "two", "x"), task("y", "z"))
    (ring,) = graph(one, two, three).cycles()
    assert set(ring) == {("one", "b"), ("one", "work"), ("two", "x"), ("three", "z"), ("three", "y")}


def test_tables_of_queries() -> None:
    query = Query(
        "pod",
        sql="WITH c AS (SELECT * FROM d2.t2) SELECT * FROM c JOIN `p.d.t_*` USING (a) JOIN t3 USING (a)",
        destination="p.d.out$20260601",
        project="p",
        dataset="p.d",
    )
    assert use_of(query) == Use(frozenset({"p.d2.t2", "p.d.t", "p.d.t3"}), frozenset({"p.d.out"}))
    script = Query(
        "pod", sql="INSERT INTO p.d.a SELECT * FROM p.d.b; MERGE p.d.c USING p.d.e ON TRUE WHEN MATCHED THEN DELETE"
    )
    assert use_of(script) == Use(frozenset({"p.d.b", "p.d.e"}), frozenset({"p.d.a", "p.d.c"}))
    broken = use_of(Query("pod", sql="SELECT FROM WHERE ("))
    assert broken.error
    writer = dag("w", task("t", query=query))
    reader = dag("r", task("t", query=Query("pod", sql="SELECT * FROM p.d.out")), sensor("s", "w", "t"))
    tables = graph(writer, reader).tables
    assert tables.edges == tables.unordered == [(("w", "t"), ("r", "t"), "p.d.out")]
    after = dag("r", sensor("s", "w", "t"), task("t", "s", query=Query("pod", sql="SELECT * FROM p.d.out")))
    assert graph(writer, after).tables.unordered == []


def test_a_picture_puts_what_comes_after_to_the_right() -> None:
    found = graph(ROOT, NEXT, LAST)
    focus = [("root", "b")]
    boxes, arrows = picture(found, focus, found.downstream(*focus))
    at = {box.key: box for box in boxes}
    assert set(at) == {"root/b", "next/wait", "next/work", "last/wait", "last/end"}
    assert all(at[arrow.before].x + at[arrow.before].width < at[arrow.after].x for arrow in arrows)
    assert len(arrows) == 4
    assert at["root/b"].focus
    assert (at["root/b"].tier, at["last/end"].tier) == ("tier_1", "tier_3")


def test_a_large_picture_has_a_box_a_dag() -> None:
    many = [
        dag(f"d{number}", sensor("wait", "root", "b"), *(task(f"t{each}", "wait") for each in range(5)))
        for number in range(60)
    ]
    found = graph(ROOT, *many)
    boxes, arrows = picture(found, [("root", "b")], found.downstream(("root", "b")))
    assert len(boxes) == 61
    assert len(arrows) == 60
    assert all(arrow.before == "root" for arrow in arrows)
    places = [(box.x, box.y, box.width) for box in boxes]
    for number, (x, y, width) in enumerate(places):
        for other_x, other_y, other_width in places[:number]:
            assert abs(y - other_y) >= 46 or x + width <= other_x or other_x + other_width <= x, "two boxes overlap"
