"""Translate users' reports of broken sites to English and tell the valid ones, every quarter of an hour.

## Where the data comes from and goes

The reports with a comment that came in since the last run that succeeded, and those that earlier runs missed, of
`moz-fx-data-shared-prod.org_mozilla_broken_site_report.user_reports_live`. BigQuery's `ML.TRANSLATE` translates them,
[bugbug](https://github.com/mozilla/bugbug) classifies them. Both are appended to tables of
`moz-fx-dev-dschubert-wckb.webcompat_user_reports`: `translations`, `bugbug_predictions`, and the runs themselves to
`bugbug_classification_runs`. The program is
[`jobs/broken-site-report-ml`](https://github.com/mozilla/docker-etl/tree/main/jobs/broken-site-report-ml) of
docker-etl.

## When it fails

As long as the latest run succeeded, there is nothing to do: it classified what the failed one left. The team
firefox-quality looks at several failures in a row; the log says whether bugbug answered.

## How to re-run it

Don't: the next run goes on from the last one that succeeded, whatever the day. What was saved is not translated or
classified again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "broken_site_report_ml",
    doc_md=__doc__,
    schedule="*/15 * * * *",
    start_date=datetime(2023, 12, 21),
    max_active_runs=1,
    default_args=default_args(owner="firefox-quality", triaged=False, retries=1, retry_delay=timedelta(minutes=5)),
    tags=[Tag.ImpactTier.tier_2, Tag.Triage.no_triage],
):
    GKEPodOperator(
        task_id="broken_site_report_ml",
        image=image("broken-site-report-ml"),
        arguments=[
            *("python", "broken_site_report_ml/main.py"),
            *("--bq_project_id", "moz-fx-dev-dschubert-wckb"),
            *("--bq_dataset_id", "webcompat_user_reports"),
        ],
    )
