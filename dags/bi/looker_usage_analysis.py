"""Count, once a quarter, which of Looker's explores and models are used, and which are not.

## Where the data comes from and goes

[Henry](https://github.com/looker-open-source/henry) asks the API of production's Looker. What it finds goes to
`moz-fx-data-shared-prod.monitoring_derived`: `looker_usage_explores_v1`, `looker_usage_models_v1` and
`looker_usage_unused_explores_v1`, into the partition of the run's date, which is the first day of the quarter that
ended. The program is [`jobs/looker-utils`](https://github.com/mozilla/docker-etl/tree/main/jobs/looker-utils) of
docker-etl.

## When it fails

It can wait; as long as the newest run is green, older ones need nothing. A refused login means that the API client of
Looker was renewed: the secret must follow.

## How to re-run it

Clear the task: its partition is replaced. It gets what Looker says on the day on which it runs.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag

with DAG(
    "looker_usage_analysis",
    doc_md=__doc__,
    schedule="0 0 1 2,5,8,11 *",
    start_date=datetime(2025, 5, 30),
    max_active_runs=1,
    default_args=default_args(owner="data-tools"),
    tags=[Tag.ImpactTier.tier_3],
):
    for what in ("explores", "models", "unused_explores"):
        GKEPodOperator(
            task_id=f"analyze_{what}",
            image=image("looker-utils"),
            arguments=[
                *("python", "-m", "looker_utils.main", "analyze"),
                *("--destination_table", f"{WAREHOUSE_PROJECT}.monitoring_derived.looker_usage_{what}_v1"),
                "--date={{ ds }}",
                what.replace("_", "-"),
            ],
            env_vars={"LOOKER_INSTANCE_URI": "https://mozilla.cloud.looker.com"},
            secrets=pod_secrets(
                "probe_scraper",
                LOOKER_CLIENT_ID="looker_api_client_id_prod",
                LOOKER_CLIENT_SECRET="looker_api_client_secret_prod",
            ),
        )
