"""When a DAG runs, over a year. Runs in the sandbox only."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pendulum
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.simple import OnceTimetable
from croniter import croniter

from wtmo.graph.model import MOST_FIRES

YEAR = 365


def fires(timetable: Any, start: datetime | None, end: datetime | None, day: datetime) -> list[tuple[datetime, ...]]:
    """Logical date, start and end of the data interval of each run over a year, as if none was left out.

    :param start: the earliest date of which there are runs. :param end: the last.
    :param day: where the year begins.
    """
    if not timetable.can_be_scheduled or not timetable.periodic or type(timetable).__name__ == "ContinuousTimetable":
        return []
    last = pendulum.instance(day).add(days=YEAR)
    latest = last if end is None else min(last, pendulum.instance(end))
    if type(timetable) is CronDataIntervalTimetable:
        return _fires_of_cron(timetable, max(pendulum.instance(start or day), pendulum.instance(day)), latest)
    before, earliest = _way_in(timetable, start, pendulum.instance(day))
    # Not the end of the year: some timetables count it by the end of a run's interval.
    bound = None if end is None else pendulum.instance(end)
    window = TimeRestriction(earliest=earliest, latest=bound, catchup=True)
    found: list[tuple[datetime, ...]] = []
    info = timetable.next_dagrun_info(last_automated_data_interval=before, restriction=window)
    while info is not None and len(found) < MOST_FIRES:
        logical = info.logical_date
        if logical is None or logical > latest or (found and logical <= found[-1][0]):
            break
        if logical >= day:
            interval = info.data_interval
            found.append((logical, *((interval.start, interval.end) if interval else (logical, logical))))
        info = timetable.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=window)
    return found


def _fires_of_cron(
    timetable: CronDataIntervalTimetable, earliest: pendulum.DateTime, latest: datetime
) -> list[tuple[datetime, ...]]:
    """The same, where one interval begins when the last one ends: asking the timetable takes 20 times as long."""
    begin = timetable._align_to_next(earliest)
    if str(getattr(timetable._timezone, "name", "")) == "UTC":
        ticks = croniter(timetable._expression, start_time=begin)
        after = partial(ticks.get_next, datetime)
    else:
        after = None
    found: list[tuple[datetime, ...]] = []
    while begin <= latest and len(found) < MOST_FIRES:
        end = timetable._get_next(begin) if after is None else after()
        found.append((begin, begin, end))
        begin = end
    return found


def _way_in(
    timetable: Any, start: datetime | None, day: pendulum.DateTime
) -> tuple[DataInterval | None, pendulum.DateTime]:
    """From where to count the runs: intervals of a fixed length are counted from the DAG's start."""
    first = pendulum.instance(start) if start is not None else day
    if first >= day:
        return None, first
    delta = getattr(timetable, "_delta", getattr(timetable, "delta", None))
    if isinstance(delta, timedelta) and delta > timedelta(0):
        # One too early: some timetables name a run after the end of its interval.
        end = first + delta * (timedelta(seconds=(day - first).total_seconds()) // delta - 1)
        return DataInterval(end - delta, end), first
    return (None, first) if delta is not None else (None, day)


def once(timetable: Any, start: datetime | None) -> tuple[datetime, ...] | None:
    """Logical date, start and end of the data interval of the one run of a DAG that runs once. None: it is none, or has no start."""
    return (start, start, start) if isinstance(timetable, OnceTimetable) and start is not None else None


def by_hand(timetable: Any, day: datetime) -> tuple[datetime, ...]:
    """Logical date, start and end of the data interval of the run that somebody starts on a day."""
    moment = pendulum.instance(day)
    try:
        interval = timetable.infer_manual_data_interval(run_after=moment)
    except Exception:  # a timetable of somebody's own: the run is told without its interval
        return moment, moment, moment
    return moment, interval.start, interval.end
