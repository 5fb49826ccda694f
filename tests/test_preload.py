"""What ``airflow_local_settings`` does before a fork, in processes of their own: it asks which command it is in."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from utils.config import ROOT

# What the process of a task finds done on its way to the execute() of a native query.
PROGRAM = """
import gc, json, sys
sys.argv = ["airflow", "{command}"]
import airflow.settings
frozen = gc.get_freeze_count()
import airflow.sdk.execution_time.task_runner
loaded = set(sys.modules)
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.sdk import DAG
from airflow.sdk.listener import get_listener_manager
from utils.bqetl.flags import query_run_parser
done = [each.cache_info().currsize for each in (get_listener_manager, query_run_parser)]
DagBundlesManager()
DAG("d", schedule=None).get_template_env()
print(json.dumps([sorted(set(sys.modules) - loaded), done, "operators.bigquery" in loaded, frozen]))
"""


def of(command: str) -> tuple[list[str], list[int], bool, int]:
    """Modules that a task's process would load, caches that are filled, whether the operator of native queries is loaded, and
    how many objects no collection of garbage looks at.
    """
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(command=command)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    assert ended.returncode == 0, ended.stderr
    found: Any = json.loads(ended.stdout.splitlines()[-1])
    return tuple(found)


def test_nothing_is_left_to_the_process_of_a_task() -> None:
    assert of("scheduler")[:3] == ([], [1, 1], True)


def test_a_process_that_runs_no_tasks_does_not_load_what_they_need() -> None:
    modules, done, bigquery, _ = of("dag-processor")
    assert "wtmo.imports.bundle" in modules
    assert (done, bigquery) == ([0, 0], False)


def test_no_collection_of_garbage_holds_up_all_triggers() -> None:
    """One that looks at all that is loaded takes longer than the 0.2 s from which Airflow reports a triggerer as blocked."""
    _, done, bigquery, frozen = of("triggerer")
    assert (done, bigquery) == ([0, 0], True)
    assert frozen > 200_000
    # Python 3.12 begins with some hundreds.
    assert of("api-server")[3] < 1_000
