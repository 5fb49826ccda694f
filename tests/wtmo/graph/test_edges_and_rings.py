"""Edges at their borders: dates across daylight saving, runs that can't be told, assets, groups, rings that must and must not count."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from wtmo.graph.graph import CrossEdge, Graph
from wtmo.graph.model import Dag, File, Inventory, Query, Task, Wait

BERLIN = ZoneInfo("Europe/Berlin")
# Clocks go back in the night to 2026-10-25: midnight in Berlin is 22:00 in UTC before it, 23:00 after.
LOCAL = [datetime(2026, 10, day, tzinfo=BERLIN).astimezone(UTC).isoformat() for day in (24, 25, 26, 27)]
FIRES = [f"2026-06-0{day}T03:00:00+00:00" for day in range(1, 6)]


def dag(dag_id: str, *tasks: Task, fires: list[str] = FIRES, **facts: Any) -> Dag:
    return Dag(dag_id, "b", f"{dag_id}.py", tasks=tasks, fires=tuple((fire, fire, fire) for fire in fires), **facts)


def graph(*dags: Dag) -> Graph:
    return Graph(Inventory("2026-06-01", tuple(File("b", dag.file, dags=(dag,)) for dag in dags)))


def task(task_id: str, *upstream: str, **facts: Any) -> Task:
    return Task(task_id, "X", upstream=upstream, **facts)


def sensor(task_id: str, of_dag: str, *of_tasks: str, delta: float | None = 0.0, **facts: Any) -> Task:
    return task(task_id, waits=Wait(of_dag, of_tasks, delta=delta, **facts))


def edge(how: str = "sensor", **facts: Any) -> CrossEdge:
    return CrossEdge(("a", "t"), ("b", "t"), how, Wait("a", **facts))


# --- dates


def test_a_shift_is_one_of_hours_also_when_clocks_change() -> None:
    assert LOCAL[1:3] == ["2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00"]
    by_day = edge(delta=86400.0)
    # Between two midnights of Berlin are 25 hours: a shift of 24 does not lead from one to the other, and says so.
    assert by_day.to_downstream(LOCAL[0]) == (LOCAL[1],)
    assert by_day.to_downstream(LOCAL[1]) == ("2026-10-25T22:00:00+00:00",) != (LOCAL[2],)
    assert by_day.to_upstream(LOCAL[2]) == ("2026-10-24T23:00:00+00:00",) != (LOCAL[1],)


def test_dates_that_follow_local_time_lead_both_ways_across_the_change() -> None:
    pairs = tuple((own, (before,)) for before, own in pairwise(LOCAL))
    for how, there, back in (
        ("sensor", CrossEdge.to_downstream, CrossEdge.to_upstream),
        ("marker", CrossEdge.to_upstream, CrossEdge.to_downstream),
    ):
        local = edge(how, delta=None, dates=pairs)
        for own, (before,) in pairs:
            assert there(local, before) == (own,)
            assert back(local, own) == (before,)


@pytest.mark.parametrize(
    "date", ["2026-06-01T05:00:00+02:00", "2026-06-01T03:00:00", "2026-06-01T03:00:00+00:00", "2026-06-01T03:00:00Z"]
)
def test_dates_come_out_in_utc(date: str) -> None:
    shifted = edge(delta=3600.0)
    assert shifted.to_downstream(date) == ("2026-06-01T04:00:00+00:00",)
    assert shifted.to_upstream(date) == ("2026-06-01T02:00:00+00:00",)


def test_a_date_without_a_zone_is_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        found = edge(delta=3600.0).to_downstream("2026-06-01T03:00:00")
    time.tzset()
    assert found == ("2026-06-01T04:00:00+00:00",)


def test_a_wait_that_can_not_be_told_leads_nowhere() -> None:
    unknown = edge(error="it fails")
    assert unknown.to_downstream(FIRES[0]) == unknown.to_upstream(FIRES[0]) == ()


def test_what_is_started_has_the_date_of_its_start() -> None:
    started = CrossEdge(("a", "t"), ("b", "t"), "trigger")
    assert started.to_downstream(FIRES[0]) == started.to_upstream(FIRES[0]) == (FIRES[0],)


# --- edges


def test_a_task_before_that_is_not_there_makes_no_edge() -> None:
    found = graph(dag("a", task("t", "gone")))
    assert found.inner == []
    assert found.upstream(("a", "t")) == {}


def test_a_marker_is_answered_whatever_the_ids_are() -> None:
    for names in (("a", "b"), ("b", "a")):
        marker = task("mark", "work", marker=True, waits=Wait(names[1], ("wait",), how="template"))
        found = graph(dag(names[0], task("work"), marker), dag(names[1], sensor("wait", names[0], "work")))
        assert [each.how for each in found.edges] == ["sensor"]


def test_a_sensor_of_another_dag_answers_no_marker() -> None:
    marker = task("mark", marker=True, waits=Wait("b", ("wait",), how="template"))
    found = graph(dag("a", marker), dag("b", sensor("wait", "c")), dag("c", task("t")))
    assert [(each.upstream, each.how) for each in found.edges] == [(("a", "mark"), "marker"), (("c", "t"), "sensor")]


def test_a_group_is_its_tasks_with_or_without_its_prefix_and_those_of_groups_in_it() -> None:
    tasks = (
        task("g.inner.x", group="g.inner"),
        task("bare", group="g"),
        task("ga.y", group="ga"),
        task("after", "g.inner.x"),
    )
    found = graph(dag("a", *tasks), dag("b", sensor("wait", "a", of_group="g")))
    assert {each.upstream for each in found.edges} == {("a", "g.inner.x"), ("a", "bare")}


@pytest.mark.parametrize("outlet", [{"name": "n"}, {"uri": "s3://n"}, {"Asset": {"uri": "s3://n"}}])
def test_an_asset_is_known_by_its_name_or_its_uri(outlet: dict[str, Any]) -> None:
    writer = dag("a", task("t", attributes={"outlets": [outlet]}), task("u", attributes={"outlets": None}))
    reader = dag("b", task("first"), schedule={"assets": [{"name": "n", "uri": "s3://n"}]})
    assert [(each.upstream, each.downstream) for each in graph(writer, reader).edges] == [(("a", "t"), ("b", "first"))]


# --- blast radius


def first_runs(found: Graph, *nodes: tuple[str, str], since: str | None = None) -> dict[tuple[str, str], str | None]:
    radius = found.blast_radius(nodes, since=since)
    return {each.node: each.first_run for affected in radius.values() for each in affected}


def test_without_a_date_the_first_run_of_the_year_is_reached_first() -> None:
    found = graph(dag("a", task("t")), dag("b", sensor("w", "a")))
    assert first_runs(found, ("a", "t")) == {("b", "w"): FIRES[0]}


def test_a_date_is_a_run_s_own_too() -> None:
    found = graph(dag("a", task("t")), dag("b", sensor("w", "a")))
    assert first_runs(found, ("a", "t"), since=FIRES[2]) == {("b", "w"): FIRES[2]}
    assert first_runs(found, ("a", "t"), since="2026-06-03T05:00:00+02:00") == {("b", "w"): FIRES[2]}


@pytest.mark.parametrize(("one", "other"), [(0.0, 172800.0), (172800.0, 0.0)])
def test_of_two_ways_the_earlier_run_counts(one: float, other: float) -> None:
    found = graph(
        dag("a", task("t"), task("u")),
        dag("b", sensor("w", "a", "t", delta=one), sensor("x", "a", "u", delta=other), task("end", "w", "x")),
    )
    assert first_runs(found, ("a", "t"), ("a", "u"))["b", "end"] == FIRES[0]


def test_of_several_runs_that_wait_the_first_counts() -> None:
    waits = tuple((fire, (FIRES[0],)) for fire in FIRES[1:3])
    found = graph(dag("a", task("t")), dag("b", sensor("w", "a", delta=None, how="function", dates=waits)))
    assert first_runs(found, ("a", "t")) == {("b", "w"): FIRES[1]}


def test_a_way_that_can_not_be_told_does_not_hide_one_that_can() -> None:
    found = graph(
        dag("a", task("t")),
        dag("b", sensor("v", "a", error="it fails"), sensor("w", "a", delta=86400.0), task("end", "v", "w")),
    )
    assert first_runs(found, ("a", "t")) == {("b", "v"): None, ("b", "w"): FIRES[1], ("b", "end"): FIRES[1]}


def test_what_is_started_has_its_first_run_at_the_start_though_no_timetable_makes_it() -> None:
    found = graph(dag("a", task("t", starts="b")), dag("b", task("w"), fires=[]))
    assert first_runs(found, ("a", "t")) == {("b", "w"): FIRES[0]}


def test_a_run_after_the_last_of_the_year_can_not_be_told() -> None:
    found = graph(dag("a", task("t")), dag("b", sensor("w", "a", delta=86400.0 * 9)))
    assert first_runs(found, ("a", "t")) == {("b", "w"): None}


def test_tiers_stand_in_their_order_and_what_has_none_last() -> None:
    tiers = {"b": "tier_3", "c": "tier_1", "d": None, "e": "tier_2"}
    others = [dag(name, sensor("w", "a"), tags=(f"impact/{tier}",) if tier else ()) for name, tier in tiers.items()]
    radius = graph(dag("a", task("t")), *others).blast_radius([("a", "t"), ("a", "gone")])
    assert list(radius) == ["tier_1", "tier_2", "tier_3", "none"]


# --- rings


def ring_of(*waits: Task) -> int:
    return len(graph(dag("a", *waits, task("work", *(each.task_id for each in waits)))).cycles())


@pytest.mark.parametrize(("delta", "rings"), [(0.0, 1), (86400.0, 0), (-86400.0, 1)])
def test_a_dag_may_wait_for_its_own_run_of_yesterday_only(delta: float, rings: int) -> None:
    assert ring_of(sensor("w", "a", "work", delta=delta)) == rings
    assert len(graph(dag("a", sensor("w", "a", "w", delta=delta))).cycles()) == rings


def test_a_wait_that_can_not_be_told_counts_as_one_of_the_same_run() -> None:
    assert ring_of(sensor("w", "a", "work", delta=86400.0, error="it fails")) == 1


def test_dates_that_differ_count_by_the_nearest() -> None:
    day = timedelta(days=1)
    at = datetime(2026, 6, 1, tzinfo=UTC)
    mostly = ((at.isoformat(), ((at - day).isoformat(),)), ((at + day).isoformat(), ((at + day).isoformat(),)))
    always = ((at.isoformat(), ((at - day).isoformat(), (at - 2 * day).isoformat())),)
    assert ring_of(sensor("w", "a", "work", delta=None, how="function", dates=mostly)) == 1
    assert ring_of(sensor("w", "a", "work", delta=None, how="function", dates=always)) == 0


@pytest.mark.parametrize(("delta", "rings"), [(0.0, 1), (-86400.0, 0), (86400.0, 1)])
def test_a_marker_s_shift_counts_the_other_way(delta: float, rings: int) -> None:
    marker = task("mark", "w", marker=True, waits=Wait("b", ("t",), how="template", delta=delta))
    found = graph(dag("a", sensor("w", "b", "u"), marker), dag("b", task("t"), task("u", "t")))
    assert len(found.cycles()) == rings


def test_two_rings_that_share_a_task_are_both_found() -> None:
    found = graph(
        dag("a", sensor("x", "b"), sensor("y", "c"), task("work", "x", "y")),
        dag("b", sensor("w", "a", "work")),
        dag("c", sensor("w", "a", "work")),
    )
    assert [{dag_id for dag_id, _ in ring} for ring in found.cycles()] == [{"a", "b"}, {"a", "c"}]


def test_the_longest_path_of_some_stays_among_them() -> None:
    found = graph(dag("a", task("t"), task("u", "t"), task("v", "u")))
    assert found.longest_path(("a", "t"), ("a", "u")) == [("a", "t"), ("a", "u")]
    assert graph().longest_path() == []


# --- tables


def test_a_task_that_reads_what_it_writes_is_no_edge_to_itself() -> None:
    found = graph(dag("a", task("t", query=Query("pod", sql="INSERT INTO p.d.t SELECT * FROM p.d.t"))))
    assert found.tables.edges == []
