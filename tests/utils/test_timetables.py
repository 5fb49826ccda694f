"""Whole weeks: where intervals begin and end, across daylight saving, pauses, catch-up, and storage."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction

from utils.timetables import MultiWeekTimetable

if TYPE_CHECKING:
    from pendulum import DateTime

FIRST = datetime(2023, 5, 16)
FOUR_WEEKS = MultiWeekTimetable(weeks=4, first=FIRST)
# Clocks go forward on 2026-03-29 and back on 2026-10-25.
BERLIN = MultiWeekTimetable(weeks=4, first=datetime(2026, 3, 1, 4), timezone="Europe/Berlin")


def runs(
    timetable: MultiWeekTimetable,
    count: int,
    *,
    earliest: DateTime | None = None,
    latest: DateTime | None = None,
    catchup: bool = True,
    last: DataInterval | None = None,
) -> list[DagRunInfo]:
    """The next runs, each asked for after the one before."""
    window = TimeRestriction(earliest=earliest, latest=latest, catchup=catchup)
    found: list[DagRunInfo] = []
    for _ in range(count):
        info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=window)
        if info is None:
            break
        found.append(info)
        last = info.data_interval
    return found


def at(monkeypatch: pytest.MonkeyPatch, now: DateTime) -> None:
    monkeypatch.setattr("utils.timetables.pendulum.now", lambda _: now)


def test_runs_are_made_four_weeks_apart_when_their_interval_has_ended() -> None:
    first, second = runs(FOUR_WEEKS, 2)
    assert first.logical_date == pendulum.datetime(2023, 5, 16)
    assert first.run_after == first.data_interval.end == pendulum.datetime(2023, 6, 13)
    assert second.data_interval == (pendulum.datetime(2023, 6, 13), pendulum.datetime(2023, 7, 11))


def test_intervals_leave_no_gap_and_share_no_moment() -> None:
    for before, after in pairwise(runs(BERLIN, 30)):
        assert before.data_interval.end == after.data_interval.start


def test_local_time_stays_over_a_change_of_the_clocks() -> None:
    found = runs(BERLIN, 10)
    local = [info.data_interval.start.in_timezone("Europe/Berlin") for info in found]
    assert {moment.hour for moment in local} == {4}
    hours = [(info.data_interval.end - info.data_interval.start).total_seconds() / 3600 for info in found]
    assert hours == [671, *[672] * 7, 673, 672], "a whole number of local days each"


def test_what_starts_between_two_begins_waits_for_the_next() -> None:
    (info,) = runs(FOUR_WEEKS, 1, earliest=pendulum.datetime(2023, 5, 17))
    assert info.logical_date == pendulum.datetime(2023, 6, 13)
    (info,) = runs(FOUR_WEEKS, 1, earliest=pendulum.datetime(2023, 6, 13))
    assert info.logical_date == pendulum.datetime(2023, 6, 13), "the beginning of an interval is part of it"
    (info,) = runs(FOUR_WEEKS, 1, earliest=pendulum.datetime(2020, 1, 1))
    assert info.logical_date == pendulum.instance(FIRST, tz="UTC"), "nothing comes before the first"


def test_catch_up_makes_every_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, pendulum.datetime(2024, 1, 1))
    assert [info.logical_date.to_date_string() for info in runs(FOUR_WEEKS, 3) if info.logical_date] == [
        "2023-05-16",
        "2023-06-13",
        "2023-07-11",
    ]


@pytest.mark.parametrize("last", [None, DataInterval(pendulum.datetime(2023, 5, 16), pendulum.datetime(2023, 6, 13))])
@pytest.mark.parametrize(
    ("now", "start"),
    [
        (pendulum.datetime(2024, 1, 22, 23, 59, 59), pendulum.datetime(2023, 11, 28)),
        (pendulum.datetime(2024, 1, 23), pendulum.datetime(2023, 12, 26)),
    ],
    ids=["a second before it ends", "when it ends"],
)
def test_without_catch_up_the_newest_that_has_ended(
    monkeypatch: pytest.MonkeyPatch, last: DataInterval | None, now: DateTime, start: DateTime
) -> None:
    at(monkeypatch, now)
    (info,) = runs(FOUR_WEEKS, 1, catchup=False, last=last)
    assert info.logical_date == start


def test_without_catch_up_a_run_is_not_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, pendulum.datetime(2024, 1, 23))
    first, second = runs(FOUR_WEEKS, 2, catchup=False)
    assert second.data_interval.start == first.data_interval.end
    assert second.run_after == pendulum.datetime(2024, 2, 20)


def test_a_backfill_off_the_grid_does_not_move_it() -> None:
    """Airflow takes the start of a backfill for ``earliest``, and its last run for ``last_automated_data_interval``."""
    crooked = DataInterval(pendulum.datetime(2023, 6, 1, 5), pendulum.datetime(2023, 6, 29, 5))
    (info,) = runs(FOUR_WEEKS, 1, last=crooked)
    assert info.logical_date == pendulum.datetime(2023, 6, 13)


def test_no_run_begins_after_the_end_of_the_dag() -> None:
    end = pendulum.datetime(2023, 6, 13)
    assert len(runs(FOUR_WEEKS, 5, latest=end)) == 2, "the end is part of it"
    assert len(runs(FOUR_WEEKS, 5, latest=end.subtract(seconds=1))) == 1


def test_a_run_by_hand_has_the_newest_interval_that_has_ended() -> None:
    interval = FOUR_WEEKS.infer_manual_data_interval(run_after=pendulum.datetime(2023, 7, 12, 9))
    assert interval == (pendulum.datetime(2023, 6, 13), pendulum.datetime(2023, 7, 11))


def test_it_is_stored_with_the_dag() -> None:
    with DAG("d", schedule=BERLIN, start_date=datetime(2026, 3, 1)) as dag:
        pass
    timetable: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    assert isinstance(timetable, MultiWeekTimetable)
    assert timetable.serialize() == {"weeks": 4, "first": "2026-03-01T04:00:00", "timezone": "Europe/Berlin"}
    assert runs(timetable, 20) == runs(BERLIN, 20)
    assert timetable.summary == "every 4 weeks from 2026-03-01 04:00 Europe/Berlin"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weeks": 0}, "at least one week"),
        ({"weeks": -4}, "at least one week"),
        ({"first": datetime(2026, 1, 1, tzinfo=UTC)}, "Leave it out and give timezone="),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
    ],
)
def test_what_is_no_schedule_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiWeekTimetable(**{"weeks": 4, "first": FIRST} | given)
