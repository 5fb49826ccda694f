"""Wait some time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.sensors.time_delta import WaitSensor

if TYPE_CHECKING:
    from datetime import timedelta


def wait(task_id: str, time: timedelta, **differing: Any) -> WaitSensor:
    """A task that ends some time after it started and holds no worker slot meanwhile. Offline it takes seconds.

    :param time: how long.
    :param differing: any other parameter of ``WaitSensor``.
    """
    return WaitSensor(task_id=task_id, time_to_wait=time, deferrable=True, **differing)
