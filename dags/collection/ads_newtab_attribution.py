"""Collect how many conversions the ads of Firefox's new tab led to, as aggregates that tell of no single client.

## Where the data comes from and goes

The file `attribution-conf.json` of a bucket (variables `ads_attr_job_project_id` and `ads_attr_job_config_bucket`)
names partners and advertisers. On the last day of an advertiser's collection window the program asks the DAP leader
(Distributed Aggregation Protocol) for the counts, opens them with the private key, and appends a row per ad to
`ads_dap_derived.newtab_attribution_v1`. The source:
[`jobs/ads-attribution-dap-collector`](https://github.com/mozilla/docker-etl/tree/main/jobs/ads-attribution-dap-collector).

It has the keys of the test environment and writes to its project.

## When it fails

The team ads looks at it; nothing waits for it. The log says which of three cases it is:

- `Collection timed out for`: clear the task and tell the team, since rows may be there twice.
- `Collection failed for`: the team must look into it.
- `Verify start date is not more than 14 days ago`: leave it. The leader has deleted what the run wanted; old runs end so.

## How to re-run it

Clear the task within 14 days. Rows are appended: what the failed run had written already is written again. For the same
reason it is not retried.
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
    "ads_newtab_attribution",
    doc_md=__doc__,
    schedule="15 1 * * *",
    start_date=datetime(2026, 1, 23),
    default_args=default_args(owner="ads", triaged=False, retries=0),
    tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
):
    GKEPodOperator(
        task_id="ads_newtab_attribution",
        image=image("ads-attribution-dap-collector"),
        arguments=[
            *("python", "-mads_attribution_dap_collector.main"),
            *("--bq_project", "moz-fx-data-shar-nonprod-efed"),
            "--job_config_gcp_project={{ var.value.ads_attr_job_project_id }}",
            "--job_config_bucket={{ var.value.ads_attr_job_config_bucket }}",
            "--process_date={{ ds }}",
        ],
        secrets=pod_secrets(
            "dap_ads", DAP_PRIVATE_KEY="attr_hpke_private_key_dev", DAP_BEARER_TOKEN="attr_auth_token_dev"
        ),
    )
