"""Rules for every test: Airflow's settings are the repository's, no network, loopback only where a test says so."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.wtmo.local.fault_matrix import TABLE

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
    """``loopback`` and ``platform`` tests may talk to 127.0.0.1 and nothing else.

    Files that start a platform come first, so that the long waits of one pass beside the work of others.
    """
    platforms = {item.path for item in items if item.get_closest_marker("platform")}
    items.sort(key=lambda item: item.path not in platforms)
    for item in items:
        if item.get_closest_marker("loopback") or item.get_closest_marker("platform"):
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost"]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where the tests run in several processes, the one that ran the fault matrix hands its table to the first."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["fault matrix"] = session.config.stash.get(TABLE, None)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the table of the fault matrix from the process that has ended."""
    if lines := getattr(node, "workeroutput", {}).get("fault matrix"):
        node.config.stash[TABLE] = lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of the fault matrix, if it ran."""
    if lines := config.stash.get(TABLE, None):
        terminalreporter.section("fault matrix: final state of the task, seconds of its last part")
        for line in lines:
            terminalreporter.write_line(line)
