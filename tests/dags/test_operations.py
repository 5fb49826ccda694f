"""Small DAGs of operations, and ``dbt_daily``: what they were told, and what of it is secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from operators.bugzilla import BugzillaTagBugsOperator
from utils.config import GKE

if TYPE_CHECKING:
    from airflow.sdk import DAG


def test_bugs_are_tagged_with_the_key_of_a_variable(dags: dict[str, DAG]) -> None:
    task: Any = dags["bugzilla"].get_task("tag_bugs_with_dataplatform")
    assert isinstance(task, BugzillaTagBugsOperator)
    assert (task.product, task.component) == ("Data Platform and Tools", "General")
    assert (task.whiteboard, task.limit, task.pause) == ("[dataplatform]", 500, 0.5)
    assert task.api_key == "{{ var.value.bugzilla_probe_expiry_bot_api_key }}", "Airflow masks it by that name"
    assert task.base_url == "https://bugzilla.mozilla.org"


def test_pods_of_the_cluster_that_tasks_use_are_cleaned(dags: dict[str, DAG]) -> None:
    task: Any = dags["clean-gke-pods"].get_task("clean-gke-pods")
    assert task.arguments[1::2] == [GKE.project_id, GKE.cluster_name, GKE.location, "4"]


def test_a_job_of_dbt_cloud_is_not_started_twice(dags: dict[str, DAG]) -> None:
    task: Any = dags["dbt_daily"].get_task("trigger_dbt_daily_cloud_run_job")
    assert (task.job_id, task.account_id) == (684764, "{{ var.value.dbt_account_id }}")
    assert task.reuse_existing_run, "a try that timed out leaves its job running"
    assert task.deferrable


def test_every_query_is_looked_at_although_the_one_before_failed(dags: dict[str, DAG]) -> None:
    task: Any = dags["bqetl_dryrun"].get_task("dryrun")
    assert task.arguments == ["script/bqetl", "dryrun", "--validate-schemas", "sql"]
    assert task.trigger_rule == "all_done"


def test_tables_are_filled_one_run_after_the_other(dags: dict[str, DAG]) -> None:
    dag = dags["bqetl_artifact_initialize"]
    assert (dag.max_active_runs, dag.max_active_tasks) == (1, 1)
    task: Any = dag.get_task("query_initialize")
    assert "--skip-nonempty" in task.arguments[0]
