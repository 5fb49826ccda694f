"""Loaded by every Airflow process, everywhere: the cluster policy, the offline redirects, what is loaded before a fork.

The rules themselves are pure functions of :mod:`utils.policy`, which CI calls too.
"""

from __future__ import annotations

import gc
import importlib
import sys
import warnings
from datetime import timedelta
from typing import TYPE_CHECKING

from utils.config import LocalCloud
from utils.policy import check_dag
from utils.retries import FaultRetryPolicy

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator

__all__ = ["dag_policy", "task_policy"]

# Each of these processes forks a child a file or a task. What they have loaded, the children needn't load again:
# a parse pass over 150 files costs 41 CPU-s instead of 215. The triggerer forks the one that runs all triggers: a collection
# of garbage there that looks at all that is loaded takes 0.2 s and more, in which no trigger is looked at.
_RUN_TASKS = {"scheduler", "worker"}
_FORKING = {"dag-processor", "triggerer"} | _RUN_TASKS
_HEAVY = (
    "airflow.providers.google.cloud.triggers.kubernetes_engine",
    "airflow.providers.standard.operators.empty",
    "operators.external_task",
    "operators.fivetran",
    "operators.gcp_container_operator",
    "utils.defaults",
    "utils.gcp",
)
# Costs 80 MB, and its import most of a native query's start: for those that run tasks, not for those that read DAGs.
_OF_TASKS = ("operators.bigquery",)
_OFFLINE_DELAY = timedelta(seconds=5)
_OFFLINE_POKE_SECONDS = 15.0


def dag_policy(dag: DAG) -> None:
    """Refuse a DAG that breaks the organisation's rules: it becomes an import error with the rules' own words."""
    problems = check_dag(dag)
    if problems:
        from airflow.exceptions import AirflowClusterPolicyViolation

        raise AirflowClusterPolicyViolation("\n".join(problems))


def task_policy(task: BaseOperator) -> None:
    """What would only fail again is not retried, in generated DAGs too, which name no policy.

    Offline, a retry comes after seconds, and so does what waits an hour: nobody watches a day for that long. Sensors look
    every 15 seconds at the least.
    """
    if task.retry_policy is None:
        task.retry_policy = FaultRetryPolicy()
    if not LocalCloud().enabled:
        return
    if task.retry_delay > _OFFLINE_DELAY:
        task.retry_delay = _OFFLINE_DELAY
    if isinstance(task.retry_policy, FaultRetryPolicy):
        task.retry_policy = FaultRetryPolicy(longest=_OFFLINE_DELAY)
    if isinstance(getattr(task, "time_to_wait", None), timedelta):
        task.time_to_wait = _OFFLINE_DELAY
    if isinstance(interval := getattr(task, "poke_interval", None), int | float):
        task.poke_interval = min(interval, _OFFLINE_POKE_SECONDS)


def _redirect() -> None:
    cloud = LocalCloud()
    if cloud.enabled:
        from wtmo.local import redirect

        redirect.install(cloud)


def _preload() -> None:
    if _FORKING & set(sys.argv[1:3]):
        reads_only = "dag-processor" in sys.argv[1:3]
        for module in (*_HEAVY, *(() if reads_only else _OF_TASKS)):
            importlib.import_module(module)
        if _RUN_TASKS & set(sys.argv[1:3]):
            _warm()
        # A collection in a child would write to what it shares with its parent, and take its time over it.
        gc.collect()
        gc.freeze()


def _warm() -> None:
    """Do once what the process of every task does for the first time on its way to ``execute()``.

    It imports the classes of all DAG bundles, whichever the task is of, and looks for plugins; it looks up signatures, builds
    parsers of command lines and compiles templates of a native query. That fills caches and leaves nothing else.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.sdk import DAG
    from airflow.sdk.listener import get_listener_manager

    from utils.gcp import bigquery_etl_query

    DagBundlesManager()
    get_listener_manager()
    dag = DAG("warm", schedule=None)
    query = bigquery_etl_query(task_id="warm", destination_table="t_v1", dataset_id="d", engine="native", dag=dag)
    query.render_template_fields({"ds": "2026-06-01", "ds_nodash": "20260601"}, dag.get_template_env())


# The alert address is `email` on every task, here and in the files that bigquery-etl generates. Airflow 3 still mails it
# and warns of it three times a task, in every log.
warnings.filterwarnings("ignore", message="Setting email")
_redirect()
_preload()
