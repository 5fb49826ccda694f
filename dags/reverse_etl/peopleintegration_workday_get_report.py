"""Give the travel agency the list of employees, every day.

## Where the data comes from and goes

The report of workers of Workday is written to `moz-fx-data-bq-people.composer_workday.worker`. The active ones are
exported as CSV with the columns that the agency's import wants, to
`workday-masterdata/tripactions/mozilla_<mmddyyyy>*.csv` of the bucket
`moz-fx-data-bq-people-workday-tripactions-export`, and from there to `/data/prod` on the agency's SFTP server. The
image has no published source.

## When it fails

The team enterprise-applications looks at it. The agency then keeps yesterday's list: who joined today can't book yet,
who left still can. A refused login of the first task means that the password of the Workday user has expired, of the
last one that the SFTP server's has; both are set outside of this repository. `not found in known_hosts` or `does not
match` means that the connection to the agency lacks the server's key (`host_key` in its extra) or has an old one: ask
the agency before you change it.

## How to re-run it

Clear the task that failed; files of the same day are overwritten, in the bucket and on the server. The list is always
that of now, under the name of the run's day.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator
from airflow.providers.google.cloud.transfers.gcs_to_sftp import GCSToSFTPOperator
from airflow.sdk import DAG, chain

from operators.gcp_container_operator import GKEPodOperator
from utils.config import CONNECTIONS
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag

BUCKET = "moz-fx-data-bq-people-workday-tripactions-export"
FILES = "workday-masterdata/tripactions/mozilla_{{ macros.ds_format(ds, '%Y-%m-%d', '%m%d%Y') }}*"
EXPORT = """
EXPORT DATA OPTIONS (
  uri = 'gs://<files>',
  format = 'CSV',
  overwrite = TRUE,
  header = TRUE,
  field_delimiter = ','
) AS
SELECT
  email,
  first_name AS firstName,
  last_name AS lastName,
  currently_active AS enabled,
  moco_or_mofo AS policyLevel,
  employee_id AS employeeId,
  position_worker_type AS title,
  cost_center_hierarchy AS department,
  cost_center AS costCenter,
  location_country AS region,
  company AS subsidiary,
  manager_email AS managerEmail,
  moco_or_mofo AS companyOffice
FROM
  `moz-fx-data-bq-people.composer_workday.worker`
WHERE
  currently_active
""".replace("<files>", f"{BUCKET}/{FILES}.csv")

with DAG(
    "peopleintegration-workday-get-report",
    doc_md=__doc__,
    schedule="50 13 * * *",
    start_date=datetime(2022, 5, 3),
    max_active_runs=1,
    default_args=default_args(
        owner="enterprise-applications",
        retries=3,
        retry_delay=timedelta(seconds=10),
        retry_exponential_backoff=2,
        max_retry_delay=timedelta(minutes=10),
    ),
    tags=[Tag.ImpactTier.tier_3],
):
    chain(
        GKEPodOperator(
            task_id="peopleintegration-workday-to-bigquery",
            image=image("integrations-workday-to-tripactions"),
            cmds=["python", "/workspace/workday_download_report.py"],
            env_vars={
                "WORKDAY_BASE_URL": "https://services1.myworkday.com",
                "BIGQUERY_DATA_PROJECT": "moz-fx-data-bq-people",
            },
            secrets=pod_secrets(
                None,
                "WORKDAY_QUERY_URI",
                WORKDAY_USERNAME="EVERFI_INTEG_WORKDAY_USERNAME",
                WORKDAY_PASSWORD="EVERFI_INTEG_WORKDAY_PASSWORD",
            ),
        ),
        BigQueryInsertJobOperator(
            task_id="upload-to-bucket",
            gcp_conn_id=CONNECTIONS.shared_prod,
            configuration={"query": {"query": EXPORT, "useLegacySql": False}},
            deferrable=True,
        ),
        GCSToSFTPOperator(
            task_id="workday-to-tripaction",
            gcp_conn_id=CONNECTIONS.shared_prod,
            sftp_conn_id=CONNECTIONS.tripactions_sftp,
            source_bucket=BUCKET,
            source_object=FILES,
            destination_path="/data/prod",
            keep_directory_structure=False,
        ),
    )
