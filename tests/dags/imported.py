"""What hand-written DAGs wait for in DAGs of other repositories: facts of those, as of November 2026.

The imported files themselves are no part of this repository. ``wtmo`` checks the same edges against the real ones.
"""

from __future__ import annotations

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
