"""Collect what ad incrementality experiments measured, as aggregates that tell of no single client.

## Where the data comes from and goes

A configuration file in a bucket (variables `ads_incr_job_project_id` and `ads_incr_job_config_bucket`) names the
experiments and the table of the results. The program asks Nimbus for each experiment's branches and the DAP leader
(Distributed Aggregation Protocol) for their counts, opens them with the private key, and appends a row per branch. It
leaves its log in the same bucket. The source:
[`jobs/ads-incrementality-dap-collector`](https://github.com/mozilla/docker-etl/tree/main/jobs/ads-incrementality-dap-collector).

It has the keys of the test environment, as their names say.

## When it fails

The team ads looks at it; nobody else needs to, and nothing waits for it. Almost nothing is in the task's log: read the
program's own in the bucket.

## How to re-run it

Ask the team first. Rows are appended, so a run that wrote some before it failed writes them twice when it is cleared.
For the same reason it is not retried. The leader keeps what clients sent for a limited time: an old day can't be
collected any more.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag

with DAG(
    "ads_incrementality",
    doc_md=__doc__,
    schedule="15 0 * * *",
    start_date=datetime(2025, 10, 1),
    default_args=default_args(owner="ads", triaged=False, retries=0),
    tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
):
    GKEPodOperator(
        task_id="ads_incrementality",
        image=image("ads-incrementality-dap-collector"),
        arguments=[
            *("python", "ads_incrementality_dap_collector/main.py"),
            "--job_config_gcp_project={{ var.value.ads_incr_job_project_id }}",
            "--job_config_bucket={{ var.value.ads_incr_job_config_bucket }}",
            "--process_date={{ ds }}",
        ],
        secrets=pod_secrets(
            "dap_ads", DAP_PRIVATE_KEY="incr_hpke_private_key_dev", DAP_BEARER_TOKEN="incr_auth_token_dev"
        ),
    )
