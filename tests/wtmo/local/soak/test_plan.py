"""What a seed makes: the same each time, in files that the stand-ins read."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from wtmo.local.services.connectors import Connector
from wtmo.local.soak import dag
from wtmo.local.soak.accounts import GRACE
from wtmo.local.soak.chaos import TARGETS, draw_order
from wtmo.local.soak.plan import Plan, connector_id, write_files

if TYPE_CHECKING:
    from pathlib import Path

NOW = "2026-06-01T00:00:00+00:00"


def test_the_same_seed_makes_the_same_plan_and_another_another() -> None:
    assert Plan.make(1, 50, NOW) == Plan.make(1, 50, NOW)
    assert Plan.make(1, 50, NOW).work != Plan.make(2, 50, NOW).work


def test_a_plan_has_all_kinds_outcomes_and_acts() -> None:
    plan = Plan.make(1, 300, NOW)
    assert len(plan.work) == len({work.task_id for work in plan.work}) == 300
    kinds = Counter(work.kind for work in plan.work)
    assert set(kinds) == {"pod", "query", "pod-query", "sync", "sensor"}
    assert kinds["pod"] > 100
    assert {work.outcome for work in plan.work} == {"success", "failed", "skipped"}
    assert {work.act for work in plan.work} == {"", "mark-failed", "clear"}
    assert {(work.deferrable, work.xcom) for work in plan.work if work.kind == "pod"} == {
        (deferrable, xcom) for deferrable in (True, False) for xcom in (True, False)
    }


def test_what_is_marked_outlives_the_grace_unless_it_is_ended() -> None:
    """Else the account would not see that it was not."""
    marked = [work for work in Plan.make(1, 300, NOW).work if work.act == "mark-failed" and work.kind != "sync"]
    assert {"pod", "query"} <= {work.kind for work in marked}
    assert min(work.seconds for work in marked) > 1.5 * GRACE


def test_a_sensor_watches_a_sync_that_does_nothing_but_succeed() -> None:
    plan = Plan.make(3, 300, NOW)
    syncs = {work.task_id: work for work in plan.work if work.kind == "sync"}
    watched = [syncs[work.watches] for work in plan.work if work.watches]
    assert watched
    for sync in watched:
        assert sync.outcome == "success"
        assert not sync.act
        assert sync.connector
        assert "failure" not in sync.connector["outcome"]


def test_without_a_sync_to_watch_there_are_no_sensors_and_as_many_tasks() -> None:
    plans = [Plan.make(seed, 3, NOW) for seed in range(40)]
    assert all(len(plan.work) == 3 for plan in plans)
    assert all(work.watches for plan in plans for work in plan.work if work.kind == "sensor")


def test_the_plan_survives_the_file(tmp_path: Path) -> None:
    plan = Plan.make(1, 50, NOW)
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan


@pytest.mark.filterwarnings("ignore:Setting email")
def test_the_dag_has_every_task_and_the_files_are_right(tmp_path: Path) -> None:
    plan = Plan.make(1, 60, NOW)
    plan.write(tmp_path / "plan.json")
    write_files(plan, tmp_path / "etl", tmp_path / "fivetran")
    built = dag.build(tmp_path / "plan.json", tmp_path / "etl")
    assert set(built.task_ids) == {work.task_id for work in plan.work}
    for work in plan.work:
        if work.kind == "sync":
            text = (tmp_path / "fivetran" / f"{connector_id(work.task_id)}.json").read_text()
            assert Connector.model_validate_json(text).sync_seconds == work.seconds
    queries = [work for work in plan.work if work.kind in {"query", "pod-query"}]
    assert len(list((tmp_path / "etl").rglob("query.sql"))) == len(queries) > 0


def test_every_target_comes_once_before_any_comes_again() -> None:
    draw = random.Random(1)
    first, second = draw_order(draw), draw_order(draw)
    assert sorted(first) == sorted(second) == sorted(TARGETS)
    assert first != second
