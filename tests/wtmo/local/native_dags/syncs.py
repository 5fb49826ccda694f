"""Fivetran syncs as generated files call them, one at a time, but waiting in the triggerer."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from operators.fivetran import FivetranOperator
from utils.defaults import default_args
from utils.tags import Tag

with DAG(
    "native_syncs",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    default_args=default_args(owner="data-engineering", retries=0),
    tags=[Tag.ImpactTier.tier_3],
):
    FivetranOperator(
        task_id="sync",
        connector_id="{{ var.value.fivetran_sample_netsuite_connector_id }}",
        poll_frequency=1,
        deferrable=True,
        max_active_tis_per_dag=1,
    )
