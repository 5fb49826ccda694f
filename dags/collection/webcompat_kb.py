"""Copy the web compatibility knowledge base from Bugzilla to BigQuery, every quarter of an hour.

## Where the data comes from and goes

The bugs of the component Web Compatibility > Knowledge Base, the bugs that they depend on and the reports of broken
sites, with what the score of web compatibility is made of: the rank of sites, web features, positions on standards,
Chrome's use counters, Interop. All goes to datasets of the project `moz-fx-dev-dschubert-wckb`. The program is
[`jobs/webcompat-kb`](https://github.com/mozilla/docker-etl/tree/main/jobs/webcompat-kb) of docker-etl; it consists of
jobs that run one after the other.

## When it fails

As long as the latest run succeeded, there is nothing to do. The log's last line names the jobs that failed; the others
are done. When several runs in a row fail, tell the team firefox-quality.

## How to re-run it

Don't: the next run does the same. There is one run at a time, and a day that was missed is not made up.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag

with DAG(
    "webcompat_kb",
    doc_md=__doc__,
    schedule="*/15 * * * *",
    start_date=datetime(2023, 9, 26),
    max_active_runs=1,
    default_args=default_args(owner="firefox-quality", retries=1, retry_delay=timedelta(minutes=5)),
    tags=[Tag.ImpactTier.tier_2],
):
    GKEPodOperator(
        task_id="webcompat_kb",
        image=image("webcompat-kb"),
        arguments=[
            *("python", "-m", "webcompat_kb.main"),
            *("--bq-project", "moz-fx-dev-dschubert-wckb"),
            *("--bq-kb-dataset", "webcompat_knowledge_base"),
            *("--bq-web-features-dataset", "web_features"),
            *("--bq-standards-positions-dataset", "standards_positions"),
            *("--bq-chrome-use-counters-dataset", "chrome_use_counters"),
            *("--bq-interop-dataset", "interop"),
        ],
        secrets=pod_secrets("webcompat_kb", "bugzilla_api_key", "gh_token", "hackbot_url", "hackbot_api_key"),
    )
