"""What hand-written DAGs wait for in DAGs of other repositories, and DAGs that take their place for a day.

The imported files themselves are no part of this repository. These are facts of them, as of November 2026; ``wtmo`` checks the
same edges against the real ones.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.sdk import DAG

START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

IMPORTED = {
    "bqetl_analytics_aggregations": (
        "15 4 * * *",
        {
            "fenix_active_users_aggregates_v3",
            "firefox_desktop_active_users_aggregates_v4",
            "firefox_ios_active_users_aggregates_v3",
            "focus_android_active_users_aggregates_v3",
            "focus_ios_active_users_aggregates_v3",
        },
    ),
    "bqetl_main_summary": (
        "0 2 * * *",
        {"telemetry_derived__clients_daily__v6", "telemetry_derived__clients_last_seen__v1"},
    ),
    "bqetl_monitoring": ("0 2 * * *", {"monitoring_derived__table_partition_expirations__v1"}),
    "bqetl_search": (
        "0 3 * * *",
        {
            "search_derived__search_aggregates__v8",
            "search_derived__search_clients_daily__v8",
            "search_derived__search_clients_last_seen__v1",
        },
    ),
    "bqetl_search_dashboard": ("30 5 * * *", {"search_derived__search_revenue_levers_daily__v1"}),
    "bqetl_search_terms_daily": (
        "0 8 * * *",
        {
            "search_terms_derived__adm_daily_aggregates__v1",
            "search_terms_derived__adm_daily_dma_aggregates__v1",
        },
    ),
}
"""Schedule and tasks, by DAG."""

WRONG_IN_PRODUCTION = {
    ("adm_dma_export", "wait_for_adm_daily_dma_aggregates"): "10:00 waits for a run of 10:00 of a DAG of 08:00",
    ("adm_export", "wait_for_adm_daily_aggregates"): "10:00 waits for a run of 10:00 of a DAG of 08:00",
    ("crash_symbolication", "wait_for_socorro_import"): "its DAG is not generated any more",
}
"""Sensors that wait for what never comes, in production too. Their ids and shifts are kept; the page of each DAG says so."""


def schedule_of(dag_id: str) -> DAG:
    """A DAG without tasks that has the schedule of an imported one.

    :raises KeyError: it is not in :data:`IMPORTED`.
    """
    from airflow.sdk import DAG

    return DAG(dag_id, schedule=IMPORTED[dag_id][0], start_date=START)


def stand_in_dags(tasks: Mapping[str, Iterable[str]]) -> dict[str, DAG]:
    """DAGs with the ids and schedules of imported ones and the named tasks, which do nothing and succeed.

    :param tasks: those that are waited for, by DAG.
    """
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG

    from utils.defaults import default_args
    from utils.tags import Tag

    dags = {}
    for dag_id, names in tasks.items():
        with DAG(
            dag_id,
            doc_md="Takes the place of the imported DAG of this name in `wtmo day --all`: its tasks do nothing.",
            schedule=IMPORTED[dag_id][0],
            start_date=START,
            default_args=default_args(owner="data-engineering", triaged=False, retries=0),
            tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage, Tag.Repo.bqetl],
        ) as dag:
            dags[dag_id] = dag
            for name in sorted(names):
                EmptyOperator(task_id=name)
    return dags
