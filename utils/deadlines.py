"""What is left of a task's time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any


def time_left(execution_timeout: timedelta, ti: Any) -> timedelta:
    """What is left of ``execution_timeout`` for a deferral, counted from the start of the try; at least a second.

    Airflow counts the timeout of a deferral from the deferral itself, so that a task that defers twice would have it twice.

    :param ti: the running task instance; its ``start_date`` stays that of the try over all deferrals.
    """
    started: datetime = ti.start_date
    return max(execution_timeout - (datetime.now(UTC) - started), timedelta(seconds=1))
