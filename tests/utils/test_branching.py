from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from utils.branching import Weekday, WeekdayBranch, no_newer_run_is_queued

BRANCH = WeekdayBranch(tasks={Weekday.monday: "on_monday", Weekday.wednesday: "on_wednesday"}, otherwise="else")


@pytest.mark.parametrize(
    ("day", "task"),
    [(1, "on_monday"), (2, "else"), (3, "on_wednesday"), (7, "else")],
)
def test_a_branch_goes_by_the_logical_date(day: int, task: str) -> None:
    run = SimpleNamespace(logical_date=datetime(2026, 6, day, 23, 59, tzinfo=UTC), run_after=None)
    assert BRANCH(dag_run=run, ds="unused") == task


def test_a_run_without_logical_date_goes_by_its_start() -> None:
    run = SimpleNamespace(logical_date=None, run_after=datetime(2026, 6, 3, tzinfo=UTC))
    assert BRANCH(dag_run=run) == "on_wednesday"


@pytest.mark.parametrize(("queued", "newest"), [(0, True), (1, False), (7, False)])
def test_newer_runs_are_asked_for_through_the_api(queued: int, newest: bool) -> None:
    asked: list[dict[str, Any]] = []

    def get_dr_count(**given: Any) -> int:
        asked.append(given)
        return queued

    ti = SimpleNamespace(get_dr_count=get_dr_count)
    assert no_newer_run_is_queued(ti=ti, dag_run=SimpleNamespace(dag_id="d"), params={}) is newest
    assert asked == [{"dag_id": "d", "states": ["queued"]}]
