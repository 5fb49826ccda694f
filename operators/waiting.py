"""Wait some time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.sensors.time_delta import WaitSensor


def wait(task_id: str, time: timedelta, **differing: Any) -> WaitSensor:
    """A task that ends some time after it started and holds no worker slot meanwhile. Offline it takes seconds.

    :param time: how long.
    :param differing: any other parameter of ``WaitSensor``.
    :raises ValueError: ``time`` is zero or below.
    """
    if time <= timedelta():
        raise ValueError(f"{task_id}: {time} is no time to wait. Give one above zero, or leave the task out.")
    return WaitSensor(task_id=task_id, time_to_wait=time, deferrable=True, **differing)
