"""The root of the platform: which tables each task takes, and what comes after what."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag


@pytest.fixture(scope="module")
def dag(bags: dict[str, DagBag]) -> Any:
    return bags["dags"].dags["copy_deduplicate"]


def values(arguments: list[str], flag: str) -> set[str]:
    return {value for name, value in pairwise(arguments) if name == flag}


def test_every_table_is_copied_by_exactly_one_task(dag: Any) -> None:
    copies = [task for task in dag.tasks if "copy_deduplicate" in getattr(task, "arguments", [])]
    (base,) = [task for task in copies if task.task_id == "copy_deduplicate_all_base"]
    others = [values(task.arguments, "--only") for task in copies if task is not base]
    assert all(others), "a task without --only would copy everything"
    taken = [table for tables in others for table in tables]
    assert len(taken) == len(set(taken)), "a table is copied by two tasks"
    assert values(base.arguments, "--except") == set(taken), "the base task leaves out just what the others copy"
    assert not values(base.arguments, "--only")


def test_schedule(dag: Any) -> None:
    assert dag.catchup is True, "after a pause every missed day is made up"
    assert dag.max_active_runs == 1
    assert (dag.default_args["retries"], dag.default_args["retry_delay"].total_seconds()) == (2, 300)


def test_order(dag: Any) -> None:
    after = {task.task_id: task.upstream_task_ids for task in dag.tasks}
    assert after["copy_deduplicate_all"] == {"copy_deduplicate_all_base", "copy_deduplicate_sliced"}
    assert after["event_events"] == {"copy_deduplicate_event_ping"}
    assert after["bq_main_events"] == {"copy_deduplicate_main_ping"}
    assert after["telemetry_derived__core_clients_first_seen__v1"] == {"copy_deduplicate_all"}
    assert dag.get_task("telemetry_derived__core_clients_first_seen__v1").depends_on_past
