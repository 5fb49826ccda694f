"""Airflow pools, declared once: DAGs name them from here, and the offline platform creates them from here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pool:
    """A pool of task slots.

    :param name: its name in Airflow.
    :param slots: how many tasks of it run at once on a platform made from this declaration. Production's number is
        set on production.
    :param description: what it is for, as the UI shows it.
    """

    name: str
    slots: int
    description: str


EXTERNAL_TASK_SENSOR = Pool(
    "DATA_ENG_EXTERNALTASKSENSOR",
    slots=64,
    description="Sensors that wait for a task of another DAG. They never hold the slots of tasks that work.",
)

POOLS = (EXTERNAL_TASK_SENSOR,)
