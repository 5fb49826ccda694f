"""Starts the search for pods and jobs that have outlived their task (:mod:`wtmo.orphans`) in every triggerer."""

from __future__ import annotations

import sys
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin


class TriggererListener:
    """Called by Airflow when one of its processes begins."""

    @hookimpl
    def on_starting(self, component: Any) -> None:
        """``component`` does not say yet which process it is of: the command line does."""
        if "triggerer" in sys.argv[1:3]:
            from wtmo import orphans

            orphans.start()


_LISTENERS: list[Any] = [TriggererListener()]


class OrphansPlugin(AirflowPlugin):
    """What Airflow loads."""

    name = "orphans"
    listeners = _LISTENERS
