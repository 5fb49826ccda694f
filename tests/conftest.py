"""Rules for every test: Airflow's settings are the repository's, no network, loopback only where a test says so."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

HOME = tempfile.mkdtemp(prefix="telemetry-airflow-tests-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

# Before anything imports Airflow. No database: an address where nobody listens.
os.environ |= {
    "AIRFLOW_HOME": HOME,
    "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
    "WTMO_ROOT": str(ROOT),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody:@127.0.0.1:1/none",
    "PYTHONPATH": f"{ROOT}:{ROOT / 'config'}",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``loopback`` and ``platform`` tests may talk to 127.0.0.1 and nothing else."""
    for item in items:
        if item.get_closest_marker("loopback") or item.get_closest_marker("platform"):
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost"]))
