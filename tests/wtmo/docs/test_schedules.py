"""Schedules in words: Airflow's, where it has some."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.utils.dates import cron_presets

from tests.described import described
from utils.timetables import MultiWeekTimetable
from wtmo.docs import schedules
from wtmo.graph.model import Dag

START = datetime(2023, 5, 16, tzinfo=UTC)


def words(schedule: Any, start: datetime | None = START, **differing: Any) -> str:
    with DAG("d", schedule=schedule, start_date=start, **differing) as dag:
        EmptyOperator(task_id="t")
    dag.fileloc = "/dags/d.py"
    return schedules.words(described([dag], Path("/dags"))["d"])


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        (None, "by hand"),
        ("@once", "`@once` (once, as soon as possible)"),
        ("@daily", "`@daily` (at 00:00)"),
        ("0 0 * * *", "`@daily` (at 00:00)"),
        ("0 5 * * 2", "`0 5 * * 2` (at 05:00, only on Tuesday)"),
        (MultiWeekTimetable(weeks=4, first=START.replace(tzinfo=None)), "every 4 weeks from 2023-05-16 00:00 UTC"),
        (timedelta(days=1), "every day from 2023-05-16 00:00 UTC"),
        (timedelta(hours=36), "every 36 hours from 2023-05-16 00:00 UTC"),
        (timedelta(seconds=5400), "every 90 minutes from 2023-05-16 00:00 UTC"),
        ([Asset("orders"), Asset("prices")], "when `orders`, `prices` is updated"),
    ],
)
def test_a_schedule_in_words(schedule: Any, says: str) -> None:
    assert words(schedule) == says


def test_a_dag_that_runs_all_the_time() -> None:
    assert words("@continuous", max_active_runs=1) == "`@continuous` (as often as possible, one run at a time)"


def test_a_summer_time_is_no_other_rhythm() -> None:
    berlin = MultiWeekTimetable(weeks=2, first=datetime(2026, 3, 1, 4), timezone="Europe/Berlin")
    assert words(berlin).startswith("every 2 weeks")


def test_presets_are_airflow_s() -> None:
    assert {expression: preset for preset, expression in cron_presets.items()} == schedules._PRESETS


@pytest.mark.parametrize(
    "expression", ["*/5 * * * *", "30 */2 * * *", "0 0 1 2,5,8,11 *", "0 1 * * MON", "0 7 * * 1-5"]
)
def test_what_an_expression_means_is_what_airflow_says(expression: str) -> None:
    told = CronDataIntervalTimetable(expression, timezone="UTC").description
    assert words(expression) == f"`{expression}` ({told[:1].lower()}{told[1:]})"


def test_an_expression_that_can_not_be_told_stands_alone() -> None:
    assert schedules.words(Dag("d", "b", "f", schedule={"kind": "X", "expression": "0 0"})) == "`0 0`"


@pytest.mark.parametrize("days", [(2, 3, 20), (2,), ()])
def test_runs_without_a_rhythm_are_told_by_their_timetable(days: tuple[int, ...]) -> None:
    dates = [datetime(2026, 6, day, tzinfo=UTC).isoformat() for day in days]
    dag = Dag("d", "b", "f", schedule={"kind": "EventsTimetable"}, fires=tuple((date, date, date) for date in dates))
    assert schedules.words(dag) == "Events"
