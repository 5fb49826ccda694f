"""Nothing outlives its task, no task its supervisor.

Starts the search for pods and jobs without a task (:mod:`wtmo.orphans`) in every triggerer, and ties the process of every
task to the one that supervises it (:mod:`wtmo.supervised`).
"""

from __future__ import annotations

import sys
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.execution_time.task_runner import TaskRunnerMarker


class StartListener:
    """Called by Airflow when one of its processes begins."""

    @hookimpl
    def on_starting(self, component: Any) -> None:
        """``component`` says it of a task's process. Of the others it does not say which it is: the command line does."""
        if isinstance(component, TaskRunnerMarker):
            from wtmo import supervised

            supervised.end_with_supervisor()
        elif "triggerer" in sys.argv[1:3]:
            from wtmo import orphans

            orphans.start()


_LISTENERS: list[Any] = [StartListener()]


class OrphansPlugin(AirflowPlugin):
    """What Airflow loads."""

    name = "orphans"
    listeners = _LISTENERS
