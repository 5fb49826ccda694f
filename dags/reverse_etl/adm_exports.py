"""Send a day's search terms, counted, to the ad partner's SFTP server.

## Where the data comes from and goes

| DAG | from `search_terms_derived` | to, for the day 2026-06-01 |
|---|---|---|
| `adm_export` | `adm_daily_aggregates_v1` | `files/Aggregated-Query-Data-06012026.csv.gz` |
| `adm_dma_export` | `adm_daily_dma_aggregates_v1`, counted by market area too | `files/Aggregated-DMA-Query-Data-06012026.csv.gz` |

Server and user are those of the connection for the ad partner. The program is
[`jobs/bq2sftp`](https://github.com/mozilla/docker-etl/tree/main/jobs/bq2sftp) of docker-etl: it streams a partition of
the table as a compressed CSV file and keeps nothing in between.

## When it fails

The sensor always does, in production too: at 10:00 it waits for the run of 10:00 of `bqetl_search_terms_daily`, which
has runs of 08:00 only. The shift of two hours is missing, and the team ads must say whether it still wants the file.
Until then: when the run of the same day of `bqetl_search_terms_daily` has succeeded, mark the sensor as succeeded, and
the export follows. An export that fails names the SFTP server's answer at the end of its log; a key of the server that
is not known means that `known_hosts` of the connection is out of date.

## How to re-run it

Clear the export, not the sensor. The day's file is written anew, from the table as it is now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from utils.config import CONNECTIONS, WAREHOUSE_PROJECT
from utils.connections import connection_value
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag


@dataclass(frozen=True)
class Export:
    """A table of ``search_terms_derived`` without its version, and the start of the file's name."""

    dag_id: str
    start_date: datetime
    table: str
    file: str


EXPORTS = (
    Export("adm_export", datetime(2019, 7, 25), "adm_daily_aggregates", "Aggregated-Query-Data"),
    Export("adm_dma_export", datetime(2025, 6, 23), "adm_daily_dma_aggregates", "Aggregated-DMA-Query-Data"),
)
SERVER = {
    "SFTP_USERNAME": connection_value(CONNECTIONS.adm_sftp, "login"),
    "SFTP_HOST": connection_value(CONNECTIONS.adm_sftp, "host"),
    "SFTP_PORT": connection_value(CONNECTIONS.adm_sftp, "port"),
    "KNOWN_HOSTS": connection_value(CONNECTIONS.adm_sftp, "extra_dejson.known_hosts"),
}

for export in EXPORTS:
    with DAG(
        export.dag_id,
        doc_md=__doc__,
        schedule="0 10 * * *",
        start_date=export.start_date,
        default_args=default_args(owner="ads", retries=1, retry_delay=timedelta(minutes=5)),
        tags=[Tag.ImpactTier.tier_3],
    ):
        aggregates = wait_for(
            "bqetl_search_terms_daily",
            f"search_terms_derived__{export.table}__v1",
            task_id=f"wait_for_{export.table}",
        )
        aggregates >> GKEPodOperator(
            task_id=f"{export.table}_to_sftp",
            image=image("bq2sftp"),
            env_vars=SERVER
            | {
                "SRC_TABLE": f"{WAREHOUSE_PROJECT}.search_terms_derived.{export.table}_v1",
                "DST_PATH": f"files/{export.file}-{{{{ macros.ds_format(ds, '%Y-%m-%d', '%m%d%Y') }}}}.csv.gz",
                "SUBMISSION_DATE": "{{ ds }}",
            },
            secrets=pod_secrets("adm_export", "sftp_password"),
        )
