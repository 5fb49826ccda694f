"""DAGs with a Dataproc cluster of their own: what is particular to each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jinja2
import pytest

from utils.teams import team

if TYPE_CHECKING:
    from airflow.sdk import DAG


def test_the_prediction_is_joined_when_it_succeeded_and_its_cluster_is_gone(dags: dict[str, DAG]) -> None:
    join = dags["ltv_daily"].get_task("ltv_revenue_join")
    assert join.upstream_task_ids == {"ltv_daily.run_dataproc_pyspark", "ltv_daily.delete_dataproc_cluster"}
    assert join.trigger_rule == "all_success"


def test_each_task_of_the_prediction_waits_for_yesterdays(dags: dict[str, DAG]) -> None:
    assert len(dags["ltv_daily"].tasks) == 5
    assert all(task.depends_on_past for task in dags["ltv_daily"].tasks)


def test_the_prediction_is_tried_again_while_its_cluster_is_there(dags: dict[str, DAG]) -> None:
    create: Any = dags["ltv_daily"].get_task("ltv_daily.create_dataproc_cluster")
    run = dags["ltv_daily"].get_task("ltv_daily.run_dataproc_pyspark")
    assert run.retries == 3
    idle = create.cluster_config["lifecycle_config"]["idle_delete_ttl"]["seconds"]
    assert 0 < run.retry_delay.total_seconds() < idle


def test_missing_symbols_are_mailed_to_the_team_that_owns_them(dags: dict[str, DAG]) -> None:
    task: Any = dags["crash_symbolication"].get_task("modules_with_missing_symbols")
    command = task.arguments(context={"ds": "2026-06-07"}, jinja_env=jinja2.Environment())
    assert command == [
        *("-m", "crash_missing_symbols.main", "--date", "2026-06-07", "--run-on-days", "0"),
        *("--recipient", team(task.owner).alert_address),
    ]


@pytest.mark.parametrize(
    ("dag_id", "group"), [("ltv_daily", "ltv_daily"), ("crash_symbolication", "top_signatures_correlations")]
)
def test_all_runs_wait_for_their_data(dags: dict[str, DAG], dag_id: str, group: str) -> None:
    (sensor,) = dags[dag_id].get_task(f"{group}.create_dataproc_cluster").upstream_task_ids
    assert sensor.startswith("wait_for_")
