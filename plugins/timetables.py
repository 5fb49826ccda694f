"""Lets Airflow store and read DAGs that have a schedule of :mod:`utils.timetables`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.plugins_manager import AirflowPlugin

from utils.timetables import MultiWeekTimetable

if TYPE_CHECKING:
    from airflow.timetables.base import Timetable

_TIMETABLES: list[type[Timetable]] = [MultiWeekTimetable]


class TimetablesPlugin(AirflowPlugin):
    """What Airflow loads."""

    name = "timetables"
    timetables = _TIMETABLES
