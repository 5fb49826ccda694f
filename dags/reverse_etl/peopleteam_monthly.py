"""Bring the people dashboards' monthly reports from Workday to BigQuery.

## Where the data comes from and goes

On the first of a month the reports of the month before (hires, terminations, promotions, headcount) are fetched from
Workday as CSV files, to the bucket `moz-fx-data-bq-people-data-incoming-peopleteam-monthly`, in a folder of the day on
which the run was due. Each is loaded into a table of its name in `moz-fx-data-bq-people.composer_workday_staging` and
merged into the final one by the query `peopleteam/<report>_merge.sql` of the bucket
`moz-fx-data-bq-people-data-etl-queries`. Both legacy images have no published source.

A run by schedule takes the last day of its month. One that was started by hand takes the day before its own.

## When it fails

`workday-merge-promotions` is expected to fail outside promotion cycles: leave it. Other failures are for the team
enterprise-applications. A refused login of the fetcher means that the password of the Workday user has expired. In
production the DAG is switched off; whoever wants it asks the team first.

## How to re-run it

Clear `workday-stage-<report>` and what follows: the files are still in the folder of the run. Staging tables are
replaced, so run no two months at once. To fetch anew, clear the fetcher. (Production makes the folder's name of the day
on which the file is parsed, so there a task that is cleared later finds no file.)
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.commands import late
from utils.defaults import default_args
from utils.images import image
from utils.run_dates import ASKED_FOR, BY_SCHEDULE
from utils.secrets import pod_secrets
from utils.tags import Tag

REPORTS = ("hires", "terminations", "promotions", "headcount")
PROJECT = "moz-fx-data-bq-people"
SNAPSHOT = f"{{{{ macros.ds_add((data_interval_end if {BY_SCHEDULE} else {ASKED_FOR}) | ds, -1) }}}}"
FOLDER = (
    f"gs://{PROJECT}-data-incoming-peopleteam-monthly/peopleteam_dashboard_monthly/"
    "pull_date_{{ dag_run.run_after | ds }}/"
)
LOAD = (
    "bq load --location=US --source_format CSV --autodetect --column_name_character_map=V1 "
    f"--skip_leading_rows=1 --replace {PROJECT}:composer_workday_staging."
)

with DAG(
    "peopleteam-monthly",
    doc_md=__doc__,
    schedule="0 16 1 * *",
    start_date=datetime(2022, 4, 30),
    max_active_runs=1,
    default_args=default_args(owner="enterprise-applications", retries=5, retry_delay=timedelta(minutes=5)),
    tags=[Tag.ImpactTier.tier_3],
):
    fetcher = GKEPodOperator(
        task_id="peopleteam-monthly-fetcher",
        image=image("data-integrations"),
        cmds=late(
            *("sh", "-c"),
            f"bin/get_people_dashboard_data.py --monthly -o /tmp/ --date {SNAPSHOT} "
            f"&& gsutil cp /tmp/*_{SNAPSHOT}.csv {FOLDER}",
        ),
        secrets=pod_secrets(None, "HR_DASHBOARD_WORKDAY_USERNAME", "HR_DASHBOARD_WORKDAY_PASSWORD"),
    )
    for report in REPORTS:
        stage = GKEPodOperator(
            task_id=f"workday-stage-{report}",
            image=image("google-cloud-sdk"),
            cmds=late("bash", "-c", f"{LOAD}{report} {FOLDER}{report}_{SNAPSHOT}.csv"),
        )
        merge = GKEPodOperator(
            task_id=f"workday-merge-{report}",
            image=image("bigquery-queries"),
            cmds=late(
                *("bash", "-c"),
                f"/usr/local/bin/run_query.py -a query -p snapshot_date={SNAPSHOT} "
                f"-q gs://{PROJECT}-data-etl-queries/peopleteam/{report}_merge.sql",
            ),
        )
        fetcher >> stage >> merge
