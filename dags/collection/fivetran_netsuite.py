"""Sync NetSuite's books to BigQuery with Fivetran and keep a copy of each day in the EU.

## Where the data comes from and goes

The Fivetran connector of NetSuite (variable `fivetran_netsuite_connector_id`) fills the dataset `netsuite` of
`moz-fx-data-bq-fivetran`. When its sync has succeeded, 21 tables are copied to `netsuite_eu_backups` of the same
project, each under its name and the run's day: `account_20260601`. `private_bqetl_historical_transactions` waits for
the sync.

The data is confidential: bugs about it are filed so, and no row of it belongs in a bug or a channel.

## When it fails

Clear the latest run only, and on the same day. `Historical backups aren't supported` means that a run of another day
was cleared: mark its `netsuite_eu_backups` as failed and leave it, since that day's books are gone. What Fivetran says
of a failed sync is in the log of `fivetran_netsuite_sync`; it names the connector's page.

## How to re-run it

Clear `netsuite_eu_backups` of today's run: a copy that is there already is kept, the missing ones are made. Clearing
`fivetran_netsuite_sync` too starts another sync first.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.external_task import mark
from operators.fivetran import FivetranSyncOperator
from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

TABLES = (
    *("account", "accountingbook", "accountingperiod", "accounttype", "approvalstatus", "classification"),
    *("consolidatedexchangerate", "country", "currency", "currencyrate", "customtransactiontype", "department"),
    *("entity", "expensecategory", "location", "subsidiary", "transaction", "transactionline"),
    *("transactionstatus", "vendor", "vendorcategory"),
)
PROJECT = "moz-fx-data-bq-fivetran"
# The tables are copied as they are now, so only on the day on which the run is due. --no_clobber keeps a copy that is
# there; --force answers what bq asks about a copy into another region, and overwrites nothing beside --no_clobber.
BACK_UP = (
    'set -eu; test "$(date --utc --iso-8601)" = "{{ data_interval_end | ds }}" '
    '|| ( echo "Historical backups aren\'t supported"; exit 1 ); '
    f"for netsuite_table in {' '.join(TABLES)}; do "
    f'bq cp --no_clobber=true --force=true "{PROJECT}:netsuite.${{netsuite_table}}" '
    f'"{PROJECT}:netsuite_eu_backups.${{netsuite_table}}_{{{{ ds_nodash }}}}"; '
    "done"
)

with DAG(
    "fivetran_netsuite",
    doc_md=__doc__,
    schedule="30 0 * * *",
    start_date=datetime(2026, 3, 16, 0, 30),
    default_args=default_args(owner="data-engineering"),
    tags=[Tag.ImpactTier.tier_2, Tag.Triage.confidential],
):
    sync = FivetranSyncOperator(
        task_id="fivetran_netsuite_sync",
        connector_id="{{ var.value.fivetran_netsuite_connector_id }}",
        max_active_tis_per_dag=1,
    )
    mark(sync, {"private_bqetl_historical_transactions": "wait_for_fivetran_netsuite_sync"})
    sync >> GKEPodOperator(
        task_id="netsuite_eu_backups",
        image=image("google-cloud-sdk"),
        cmds=["bash", "-c", BACK_UP],
        max_active_tis_per_dag=1,
    )
