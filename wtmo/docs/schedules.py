"""When a DAG runs, in words."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from statistics import mode
from typing import TYPE_CHECKING

from cron_descriptor import CasingTypeEnum, ExpressionDescriptor, FormatError, MissingFieldError

if TYPE_CHECKING:
    from wtmo.graph.model import Dag

_PRESETS = {
    "0 * * * *": "@hourly",
    "0 0 * * *": "@daily",
    "0 0 * * 0": "@weekly",
    "0 0 1 * *": "@monthly",
    "0 0 1 */3 *": "@quarterly",
    "0 0 1 1 *": "@yearly",
}
"""What Airflow knows schedules as. A description does not tell which of the two was written."""
_WITHOUT_DATES = {
    "NullTimetable": "by hand",
    "OnceTimetable": "`@once` (once, as soon as possible)",
    "ContinuousTimetable": "`@continuous` (as often as possible, one run at a time)",
}
_UNITS = {"week": 7 * 86_400, "day": 86_400, "hour": 3_600, "minute": 60}
_CLOCK_CHANGE = 3_600
"""Seconds by which intervals of whole days differ where a time zone has a summer time."""


def words(dag: Dag) -> str:
    """The schedule as a preset or a cron expression and what it means; of other timetables what their runs say.

    >>> from wtmo.graph.model import Dag
    >>> words(Dag("d", "b", "f", schedule={"kind": "CronDataIntervalTimetable", "expression": "0 5 * * 2"}))
    '`0 5 * * 2` (at 05:00, only on Tuesday)'
    >>> words(Dag("d", "b", "f", schedule={"kind": "CronDataIntervalTimetable", "expression": "0 0 * * *"}))
    '`@daily` (at 00:00)'
    """
    kind = str(dag.schedule.get("kind") or "NullTimetable")
    if assets := [f"`{asset['name']}`" for asset in dag.schedule.get("assets") or ()]:
        return f"when {', '.join(assets)} is updated"
    if kind in _WITHOUT_DATES:
        return _WITHOUT_DATES[kind]
    if expression := dag.schedule.get("expression"):
        told = f"`{_PRESETS.get(expression, expression)}`"
        meaning = _meaning(expression)
        return f"{told} ({meaning})" if meaning else told
    return _rhythm(dag) or kind.removesuffix("Timetable")


def _meaning(expression: str) -> str:
    """What a cron expression means; empty where that can't be told."""
    try:
        told = ExpressionDescriptor(
            expression, casing_type=CasingTypeEnum.Sentence, use_24hour_time_format=True
        ).get_description()
    except (FormatError, MissingFieldError):
        return ""
    return f"{told[:1].lower()}{told[1:]}"


def _rhythm(dag: Dag) -> str:
    """How long it is from run to run, and since when; empty where that differs."""
    dates = [datetime.fromisoformat(logical) for logical, _, _ in dag.fires]
    gaps = [(after - before).total_seconds() for before, after in pairwise(dates)]
    usual = mode(gaps) if gaps else 0.0
    if not gaps or any(abs(gap - usual) > _CLOCK_CHANGE for gap in gaps):
        return ""
    unit, seconds = next(((unit, size) for unit, size in _UNITS.items() if usual % size == 0), ("minute", 60))
    number = usual / seconds
    every = f"every {unit}" if number == 1 else f"every {number:g} {unit}s"
    since = f" from {datetime.fromisoformat(dag.start_date):%Y-%m-%d %H:%M} UTC" if dag.start_date else ""
    return every + since
