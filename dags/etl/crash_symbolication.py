"""Find modules without symbols in crash reports, and what the crashes of a signature have in common.

## Where the data comes from and goes

Both read `moz-fx-data-shared-prod.telemetry_derived.socorro_crash_v2`.

- `modules_with_missing_symbols` lists the modules of the last three days for which the symbol server has no symbols.
  The list is made every day and printed to the log; that of a Sunday, made on Monday, is mailed to the owning team.
  The program is
  [`jobs/crash-missing-symbols`](https://github.com/mozilla/docker-etl/tree/main/jobs/crash-missing-symbols) of
  docker-etl.
- `top_signatures_correlations` finds the add-ons, drivers and modules that are frequent in the crashes of a
  signature, for the tab Correlations of crash-stats.mozilla.org. Its files are behind
  analysis-output.telemetry.mozilla.org. It works in the runs that start on Mondays, Wednesdays and Fridays, and ends
  at once in others. The program is
  [`mozetl/symbolication`](https://github.com/mozilla/python_mozetl/tree/main/mozetl/symbolication).

The sensor waits for `bqetl_socorro_import`, which bigquery-etl does not generate any more: it waits in vain, in
production too. Until it has something else to wait for, mark it as successful when the table has the day.

## When it fails

It can wait for the next working day. Without the list, one mail is missing; without correlations, crash-stats shows
those of the last success and nobody notices. The log of `run_dataproc_pyspark` shows the end of Spark's log; a
cluster that can't be made for want of machines can be had an hour later.

## How to re-run it

Clear the task; of the group, clear `run_dataproc_pyspark`: its cluster is made and deleted with it. The list is that
of the run's date, and is mailed once more on its day. Correlations are those of the day on which it runs, whatever
the date.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.dataproc import PySparkJob, pyspark_job
from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from utils.commands import late
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag
from utils.teams import team

OWNER = "firefox-quality"
SYMBOLICATION = "https://raw.githubusercontent.com/mozilla/python_mozetl/main/mozetl/symbolication"
# Both programs count days from Sunday, 0, and go by the run's date, the day before it starts.
SUNDAY, TUESDAY, THURSDAY = "0", "2", "4"

with DAG(
    "crash_symbolication",
    doc_md=__doc__,
    schedule="0 5 * * *",
    start_date=datetime(2020, 11, 26),
    default_args=default_args(owner=OWNER),
    tags=[Tag.ImpactTier.tier_3],
):
    wait_for_socorro_import = wait_for(
        "bqetl_socorro_import",
        "telemetry_derived__socorro_crash__v2",
        delta=timedelta(hours=1),
        task_id="wait_for_socorro_import",
    )
    wait_for_socorro_import >> GKEPodOperator(
        task_id="modules_with_missing_symbols",
        image=image("crash-missing-symbols"),
        # Production's mail goes to persons.
        arguments=late(
            *("-m", "crash_missing_symbols.main", "--date", "{{ ds }}"),
            *("--run-on-days", SUNDAY),
            *("--recipient", team(OWNER).alert_address),
        ),
        secrets=pod_secrets(
            "probe_scraper", AWS_ACCESS_KEY_ID="aws_access_key", AWS_SECRET_ACCESS_KEY="aws_secret_key"
        ),
    )
    wait_for_socorro_import >> pyspark_job(
        "top_signatures_correlations",
        PySparkJob(
            driver=f"{SYMBOLICATION}/top_signatures_correlations.py",
            arguments=["--run-on-days", SUNDAY, TUESDAY, THURSDAY, "--date", "{{ ds }}"],
            image_version="1.5-debian10",
            workers=2,
            worker_machine="n1-standard-8",
            packages=["boto3==1.16.20", "scipy==1.5.4", "google-cloud-storage==2.7.0"],
            properties={"spark:spark.jars": "gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar"},
        ),
        cluster_name="top-signatures-correlations-{{ ds }}",
    )
