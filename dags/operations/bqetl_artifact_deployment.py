"""Bring BigQuery to the state of bigquery-etl: functions, static tables, tables, views, metadata and monitors.

## Where the data comes from and goes

Started by the continuous integration of bigquery-etl at each merge, and with `generate_sql` after schemas were deployed. What it
publishes is what the image of bigquery-etl holds. Afterwards it starts `bqetl_artifact_initialize`, `bqetl_dryrun` and `looker`, and
does not wait for them.

## When it fails

Every run deploys everything: when the newest run is green, older failures need nobody. The log of `publish_tables_and_views`
names each table and view that failed; the others are published all the same, and what comes after goes on only when all are. New
columns and views are missing until it is green: tell the owner of the query that the log names. SQL that could not be generated
does not fail `publish_tables_and_views`, in production neither: only its log shows it, and what was there before is published.

## How to re-run it

Clear the failed task, or start a new run. It publishes what the image holds now. While newer runs wait, a run is skipped, unless it
has `generate_sql`: the newest run covers it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, TaskGroup
from kubernetes.client import V1ResourceRequirements

from operators.gcp_container_operator import GKEPodOperator
from utils.bqetl.generation import GENERATE_SQL, REQUESTS
from utils.branching import no_newer_run_is_queued
from utils.commands import shell
from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.images import image
from utils.params import flag_param
from utils.secrets import pod_secrets
from utils.tags import Tag

GENERATING = V1ResourceRequirements(requests=REQUESTS)
EXPERIMENTS, MARKETING, GLAM, PEOPLE = (
    "moz-fx-data-experiments",
    "moz-fx-data-marketing-prod",
    "moz-fx-glam-prod",
    "moz-fx-data-bq-people",
)


def projects(*names: str) -> str:
    """The flags of some projects."""
    return " ".join(f"--project-id={name}" for name in names)


def clean(project: str) -> str:
    """Delete the views of a project whose files are gone."""
    return f"script/bqetl view clean --skip-authorized --target-project={project} --project-id={project} &&"


TABLES_AND_VIEWS = f"""
script/bqetl generate derived_view_schemas --use-cloud-function=false &&
set +e;
failed=0;
script/bqetl query initialize '*' --file=materialized_view.sql --skip_existing
 {projects(WAREHOUSE_PROJECT, EXPERIMENTS, MARKETING, PEOPLE)} || failed=1;
script/bqetl deploy '*' --tables --views --use-cloud-function=false --table-skip-existing-schemas --table-force
 --ignore-dryrun-skip --view-add-managed-label --view-skip-authorized
 {projects(WAREHOUSE_PROJECT, EXPERIMENTS, MARKETING, GLAM, PEOPLE)} || failed=1;
script/bqetl view publish --add-managed-label --skip-authorized --project-id={WAREHOUSE_PROJECT}
 --target-project=mozdata --user-facing-only &&
script/bqetl view clean --skip-authorized --target-project={WAREHOUSE_PROJECT} &&
{clean(EXPERIMENTS)}
{clean(MARKETING)}
{clean(GLAM)}
script/bqetl view clean --skip-authorized --target-project=mozdata --user-facing-only &&
{clean(PEOPLE)}
script/publish_public_data_views --target-project={WAREHOUSE_PROJECT} &&
script/publish_public_data_views --target-project=mozdata || failed=1;
exit $failed
""".replace("\n ", " ")


def nothing_newer_or_generates_sql(*, params: dict[str, Any], **context: Any) -> bool:
    """Whether this run is needed. One with generated SQL publishes what others don't have."""
    return bool(params["generate_sql"]) or no_newer_run_is_queued(**context)


def publish(task_id: str, **pod: Any) -> GKEPodOperator:
    """A step of the deployment."""
    return GKEPodOperator(task_id=task_id, image=image("private-bigquery-etl"), **pod)


with DAG(
    "bqetl_artifact_deployment",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2022, 12, 6),
    max_active_runs=1,
    default_args=default_args(owner="data-engineering", retries=1, retry_delay=timedelta(minutes=5)),
    tags=[Tag.ImpactTier.tier_1],
    params={"generate_sql": flag_param("Generate the SQL before each step that publishes it.")},
):
    skip_if_queued_runs_exist = ShortCircuitOperator(
        task_id="skip_if_queued_runs_exist", python_callable=nothing_newer_or_generates_sql
    )
    functions = [
        publish("publish_public_udfs", arguments=["script/publish_public_udfs"]),
        publish(
            "publish_persistent_udfs",
            **shell(
                f"script/publish_persistent_udfs --project-id={WAREHOUSE_PROJECT} && "
                "script/publish_persistent_udfs --project-id=mozdata"
            ),
        ),
    ]
    with TaskGroup("publish_static_tables") as publish_static_tables:
        for project in (WAREHOUSE_PROJECT, "mozdata"):
            publish(
                f"publish_static_tables_{project}",
                arguments=["script/bqetl", "static", "publish", "--project_id", project],
            )
    publish_tables_and_views = publish(
        "publish_tables_and_views",
        **shell(GENERATE_SQL + TABLES_AND_VIEWS),
        container_resources=GENERATING,
        execution_timeout=timedelta(hours=6),
        trigger_rule="all_done",
    )
    after = [
        publish(
            "publish_metadata",
            **shell(
                GENERATE_SQL
                + " && ".join(
                    f"script/bqetl metadata publish '*' --project_id={project}"
                    for project in (WAREHOUSE_PROJECT, "mozdata", MARKETING, EXPERIMENTS, PEOPLE)
                )
            ),
            container_resources=GENERATING,
        ),
        publish(
            "publish_bigeye_monitors",
            **shell(f"script/bqetl monitoring deploy '*' --project_id={WAREHOUSE_PROJECT}"),
            secrets=pod_secrets("bqetl_artifact_deployment", BIGEYE_API_KEY="bigeye_api_key"),
        ),
        TriggerDagRunOperator(
            task_id="trigger_initialize",
            trigger_dag_id="bqetl_artifact_initialize",
            conf='{"generate_sql": {{ params.generate_sql | tojson }}}',
        ),
        TriggerDagRunOperator(task_id="trigger_dryrun", trigger_dag_id="bqetl_dryrun"),
        TriggerDagRunOperator(task_id="trigger_looker", trigger_dag_id="looker"),
    ]
    skip_if_queued_runs_exist >> [*functions, publish_static_tables] >> publish_tables_and_views >> after
