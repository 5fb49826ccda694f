"""The plan as a DAG. The folder that is served holds one file that calls :func:`build`."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from airflow.sdk import DAG

from operators.fivetran import FivetranSyncOperator, FivetranSyncSensor
from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.gcp import bigquery_etl_query
from utils.tags import Tag
from wtmo.local.soak.plan import DAG_ID, DATASET, RETRIES, SKIP_EXIT_CODE, Plan, Work, connector_id, table

if TYPE_CHECKING:
    from pathlib import Path

# A request without an answer is given up after 60 s; the platform has four slots and no such patience.
FILE = """from pathlib import Path

from airflow.providers.cncf.kubernetes import kube_client
from airflow.sdk import DAG

from wtmo.local.soak.dag import build

kube_client.API_TIMEOUT = 10
dag: DAG = build(Path({plan!r}), Path({checkout!r}))
"""
START_SECONDS = 30
# It ends on SIGTERM within a second, as a good program does; the shell alone, as first process, would not.
_PROGRAM = """trap 'echo ended by SIGTERM; exit 143' TERM
i=0
while [ $i -lt {seconds} ]; do sleep 1; i=$((i+1)); echo line $i; done
{xcom}
exit {code}
"""


def build(plan: Path, checkout: Path) -> DAG:
    """One task for each piece of work; none waits for another."""
    read = Plan.read(plan)
    with DAG(
        DAG_ID,
        schedule=None,
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        default_args=default_args(owner="data-engineering", retries=RETRIES, retry_delay=dt.timedelta(seconds=1)),
        max_active_tasks=1000,
        tags=[Tag.ImpactTier.tier_3],
    ) as dag:
        for work in read.work:
            _task(work, read, checkout)
    return dag


def _task(work: Work, plan: Plan, checkout: Path) -> None:
    if work.kind == "pod":
        xcom = f'echo \'{{"task": "{work.task_id}"}}\' > /airflow/xcom/return.json' if work.xcom else ":"
        GKEPodOperator(
            task_id=work.task_id,
            image="alpine:3",
            cmds=["sh", "-c", _PROGRAM.format(seconds=work.seconds, code=work.exit_code, xcom=xcom)],
            deferrable=work.deferrable,
            do_xcom_push=work.xcom,
            skip_on_exit_code=SKIP_EXIT_CODE,
            startup_timeout_seconds=START_SECONDS,
        )
    elif work.kind == "sync":
        FivetranSyncOperator(
            task_id=work.task_id,
            connector_id=connector_id(work.task_id),
            deferrable=work.deferrable,
            poll_interval=2,
            # Before the sensors that wait for it.
            priority_weight=10,
        )
    elif work.kind == "sensor":
        if work.watches is None:
            raise ValueError(f"{work.task_id} watches nothing")
        FivetranSyncSensor(
            task_id=work.task_id,
            connector_id=connector_id(work.watches),
            completed_after=plan.started,
            deferrable=work.deferrable,
            mode="reschedule",
            poke_interval=5,
            timeout=3600,
        )
    else:
        native = {"engine": "native", "checkout": str(checkout)}
        pod = {"engine": "pod", "deferrable": work.deferrable, "startup_timeout_seconds": START_SECONDS}
        bigquery_etl_query(
            task_id=work.task_id,
            destination_table=table(work.task_id),
            dataset_id=DATASET,
            arguments=[f"--label=wtmo-min-running-ms:{work.seconds * 1000}"],
            **(native if work.kind == "query" else pod),
        )
