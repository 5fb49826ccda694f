"""Schedules as numbers, which rules compare, and dates and durations in words. Not rules."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from statistics import median
from typing import TYPE_CHECKING

from croniter import croniter

from wtmo.graph.model import MOST_FIRES

if TYPE_CHECKING:
    from wtmo.checks.rule import Look
    from wtmo.graph.model import Dag, Wait

DAY = 86400
WEEK = 7 * DAY
YEAR = 365 * DAY
BY_HAND = "NullTimetable"
ONCE = "OnceTimetable"
_BY_CRON = "CronDataIntervalTimetable"
_FIELDS_OF_CRON = 5
_MARGIN = 40 * DAY


@dataclass(frozen=True)
class Schedule:
    """The runs of a DAG over a year, in seconds since 1970.

    :param dates: logical dates, oldest first. Empty: none are known.
    :param ends: end of the data interval, by logical date.
    :param text: as messages name it.
    :param known: from when until when ``dates`` are all that there are. None: a run is not known before it begins.
    :param cron: in UTC, that tells of all other dates. None: nothing does.
    :param first: from which on there are runs. None: since long ago, or there is but one.
    :param last: after which there are none. None: it goes on.
    """

    dates: tuple[int, ...]
    ends: dict[int, int]
    text: str
    known: tuple[float, float] | None
    cron: str | None = None
    first: int | None = None
    last: int | None = None

    @property
    def interval(self) -> int | None:
        """The usual time from one run to the next. None: fewer than two are known."""
        gaps = [later - earlier for earlier, later in pairwise(self.dates)]
        return int(median(gaps)) if gaps else None

    @property
    def share(self) -> float:
        """Of the year whose runs are asked for, how much is told by ``dates``."""
        return 0.0 if self.known is None else min((self.known[1] - self.known[0]) / YEAR, 1.0)

    def is_before(self, date: int) -> bool:
        """Whether a date is from before the first run."""
        return self.first is not None and date < self.first

    def is_after(self, date: int) -> bool:
        """Whether a date is from after the last run."""
        return self.last is not None and date > self.last

    def tells(self, date: int) -> bool:
        """Whether it can be told if there is a run of a date."""
        return self.cron is not None or self.lists(date)

    def makes(self, date: int) -> bool:
        """Whether there is a run of a date. Of one that can't be told: no."""
        if self.cron is None or self.lists(date):
            return date in self.ends
        return date % 60 == 0 and bool(croniter.match(self.cron, dt.datetime.fromtimestamp(date, dt.UTC)))

    def lists(self, date: int) -> bool:
        """Whether a run of a date would be one of ``dates``."""
        listed = self.known is not None and self.known[0] <= date <= self.known[1]
        return listed or self.is_before(date) or self.is_after(date)

    def newest(self, end: int) -> int | None:
        """The logical date of the newest run whose interval has ended by then. None: it is not known."""
        ends = [self.ends[each] for each in self.dates]
        at = bisect_right(ends, end) - 1
        known = at >= 0 and self.known is not None and end <= max(ends[-1], self.known[1])
        return self.dates[at] if known else None


class Schedules:
    """Schedules of all DAGs that are known, each worked out once."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._known: dict[str, Schedule] = {}

    def __getitem__(self, dag_id: str) -> Schedule:
        if dag_id not in self._known:
            dag, begin = self._look.dags.get(dag_id), begin_of(self._look)
            self._known[dag_id] = _of_dag(dag, begin) if dag else _of_cron(self._look.foreign[dag_id][0], begin)
        return self._known[dag_id]


def begin_of(look: Look) -> int:
    """When the year begins whose runs are known."""
    return seconds(f"{look.inventory.date}T00:00:00+00:00")


def _of_dag(dag: Dag, begin: int) -> Schedule:
    kind, zone = dag.schedule.get("kind"), dag.schedule.get("timezone")
    expression, delta = dag.schedule.get("expression"), dag.schedule.get("delta")
    told = expression or (f"every {span(delta)}" if delta else "no schedule" if kind in {None, BY_HAND} else str(kind))
    text = f"{told} {zone}" if zone not in {None, "UTC"} else told
    runs = [(seconds(logical), seconds(end)) for logical, _, end in dag.fires]
    first, last = (None if date is None else seconds(date) for date in (dag.start_date, dag.end_date))
    known: tuple[float, float] | None = None
    if kind == ONCE and first is not None:
        runs, known, first = [(first, first)], (-inf, inf), None
    elif runs or expression or delta:
        known = (begin, begin + YEAR if len(runs) < MOST_FIRES else runs[-1][0])
    cron = expression if kind == _BY_CRON and zone == "UTC" and len(told.split()) == _FIELDS_OF_CRON else None
    return Schedule(tuple(date for date, _ in runs), dict(runs), text, known, cron, first, last)


def _of_cron(expression: str, begin: int) -> Schedule:
    """The schedule of a DAG of which no more is known, in UTC."""
    runs = croniter(expression, dt.datetime.fromtimestamp(begin - _MARGIN, dt.UTC))
    dates = [round(runs.get_next(float))]
    while dates[-1] < begin + YEAR + _MARGIN:
        dates.append(round(runs.get_next(float)))
    return Schedule(tuple(dates[:-1]), dict(pairwise(dates)), expression, (dates[0], dates[-2]), expression)


def dates_of(own: Schedule, wait: Wait) -> list[tuple[int, tuple[int, ...]]]:
    """Logical dates of a DAG's runs, and for each those that a sensor waits for, or a marker points to.

    None of a run by hand, for which a function is asked where no other run is known.
    """
    if wait.delta is not None:
        return [(date, (date - round(wait.delta),)) for date in own.dates]
    found = ((seconds(date), tuple(map(seconds, others))) for date, others in wait.dates)
    return [(date, others) for date, others in found if date in own.ends]


# --- in words


def seconds(moment: str) -> int:
    """A moment as ISO 8601, in seconds since 1970."""
    return round(dt.datetime.fromisoformat(moment).timestamp())


def shown(moment: int) -> str:
    """A moment as people read it: ``2026-06-01 03:00 UTC``."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def span(duration: float) -> str:
    """A duration as people say it.

    >>> span(6 * 86400 + 7200)
    '6 days 2 h'
    """
    days, rest = divmod(round(duration), DAY)
    hours, rest = divmod(rest, 3600)
    parts = [(days, "day" if days == 1 else "days"), (hours, "h"), (rest // 60, "min")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 min"


def typed(duration: int) -> str:
    """A duration as Python.

    >>> typed(-6 * 86400 - 7200)
    'timedelta(days=-6, hours=-2)'
    """
    sign = -1 if duration < 0 else 1
    days, rest = divmod(abs(duration), DAY)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = {"days": days, "hours": hours, "minutes": minutes, "seconds": rest}
    return f"timedelta({', '.join(f'{name}={sign * value}' for name, value in parts.items() if value)})"
