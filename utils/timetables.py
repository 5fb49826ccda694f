"""Schedules that neither a cron expression nor an interval of time can state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable

if TYPE_CHECKING:
    from airflow.timetables.base import TimeRestriction
    from pendulum import DateTime

_WEEK = 7


class MultiWeekTimetable(Timetable):
    """Every so many weeks from a day on, at the same time of the clock.

    A run's interval is so many whole weeks and ends when the run may start. Intervals begin at the first day and each
    follows the one before, whatever was run by hand, paused or made by a backfill meanwhile: two runs never share a day.
    Airflow's ``timedelta(days=28)`` counts from the last run instead and moves with it.

    Weeks are those of the calendar: in a time zone with daylight saving an interval over a change is an hour shorter or
    longer, and each begins at the same local time.

    As Airflow's own timetables do, with ``catchup`` off it skips to the newest interval that has ended.

    Registered by ``plugins/timetables.py``: without that a DAG with it can't be stored.

    :param weeks: length of an interval, 1 or more.
    :param first: when the first interval begins: local time of ``timezone``, without one of its own.
    :param timezone: name of a time zone of the IANA database. Default: UTC.
    :raises ValueError: a length below 1, a time zone that doesn't exist, or a ``first`` with a time zone.
    """

    def __init__(self, *, weeks: int, first: datetime, timezone: str = "UTC") -> None:
        if weeks < 1:
            raise ValueError(f"weeks={weeks}: an interval has at least one week.")
        if first.tzinfo is not None:
            raise ValueError(f"first={first.isoformat()} has a time zone. Leave it out and give timezone=<its name>.")
        self.weeks = weeks
        self.first = first
        self.timezone = timezone
        self._first = pendulum.instance(first, tz=pendulum.timezone(timezone))

    @property
    def summary(self) -> str:
        """What the UI shows as schedule."""
        return f"every {self.weeks} weeks from {self.first:%Y-%m-%d %H:%M} {self.timezone}"

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """The newest interval that has ended by then."""
        number = self._number(run_after) - 1
        return DataInterval(self._begin(number), self._begin(number + 1))

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The interval after the last run's, or the first one; None: there is none within the DAG's dates."""
        number = 0
        if restriction.earliest is not None:
            number = max(number, self._number(restriction.earliest - timedelta(microseconds=1)) + 1)
        if not restriction.catchup:
            number = max(number, self._number(pendulum.now("UTC")) - 1)
        if last_automated_data_interval is not None:
            number = max(number, self._number(last_automated_data_interval.end))
        start = self._begin(number)
        if restriction.latest is not None and start > restriction.latest:
            return None
        return DagRunInfo.interval(start=start, end=self._begin(number + 1))

    def serialize(self) -> dict[str, Any]:
        """As JSON, for the metadata database."""
        return {"weeks": self.weeks, "first": self.first.isoformat(), "timezone": self.timezone}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """The timetable of :meth:`serialize`."""
        return cls(weeks=data["weeks"], first=datetime.fromisoformat(data["first"]), timezone=data["timezone"])

    def _begin(self, number: int) -> DateTime:
        """When an interval begins, in UTC. The first has the number 0."""
        return self._first.add(weeks=number * self.weeks).in_timezone("UTC")

    def _number(self, moment: datetime) -> int:
        """Of the interval that a moment is in; its beginning is part of it, its end is not."""
        days = (moment.astimezone(UTC) - self._first.astimezone(UTC)).days
        guess = days // (self.weeks * _WEEK) + 1  # an hour of daylight saving is less than the day of the guess
        while self._begin(guess) > moment:
            guess -= 1
        return guess
