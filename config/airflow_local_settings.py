"""Loaded by every Airflow process, everywhere: the offline redirects, and the modules to load before a fork.

Nothing of the policies stands here: they are pure functions of :mod:`utils.policy`.
"""

from __future__ import annotations

import importlib
import sys

from utils.config import LocalCloud

__all__: list[str] = []

# Each of these processes forks a child a file or a task. What they have loaded, the children needn't load again:
# a parse pass over 150 files costs 41 CPU-s instead of 215.
_FORKING = {"dag-processor", "scheduler", "worker"}
_HEAVY = (
    "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.sensors.external_task",
    "fivetran_provider_async.operators",
    "operators.fivetran",
    "operators.gcp_container_operator",
    "utils.gcp",
)


def _redirect() -> None:
    cloud = LocalCloud()
    if cloud != LocalCloud("", "", "", "", ""):
        from wtmo.local import redirect

        redirect.install(cloud)


def _preload() -> None:
    if _FORKING & set(sys.argv[1:3]):
        for module in _HEAVY:
            importlib.import_module(module)


_redirect()
_preload()
