"""Pods that run until they are deleted, so that all their tasks wait at once; and a few that end meanwhile.

The pod server holds a pod of the fault ``slow-end`` in phase Running when its program has ended: for whoever waits it is a
pod like any other, and 500 of them need no memory and no processor.

A worker makes only the task that it runs, and the annotation is spelled out, as the module that knows it loads a web server:
together that saves 0.15 CPU-s at each start of a task.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, get_parsing_context

from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

FOR_HOURS = {"wtmo.local/fault": "slow-end=36000"}
FOR_SECONDS = {"wtmo.local/fault": "slow-end=30"}
RUNS = get_parsing_context()

for dag_id, pods, fault in (
    ("bench_waiting_500", 500, FOR_HOURS),
    ("bench_waiting_40", 40, FOR_HOURS),
    ("bench_ending_8", 8, FOR_SECONDS),
):
    if RUNS.dag_id not in {None, dag_id}:
        continue
    with DAG(
        dag_id,
        schedule=None,
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        default_args=default_args(owner="data-engineering", retries=0, triaged=False, on_failure_callback=None),
        tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
        max_active_tasks=pods,
        doc_md=__doc__,
    ):
        for number in range(pods):
            task_id = f"pod_{number:03}"
            if RUNS.task_id in {None, task_id}:
                GKEPodOperator(
                    task_id=task_id,
                    image=image("bq2sftp"),
                    arguments=["--number", str(number)],
                    annotations=fault,
                )
