"""Copy the sponsored suggestions of Firefox Suggest from Remote Settings to BigQuery.

## Where the data comes from and goes

The records of type `amp` of Remote Settings and their attachments go to
`moz-fx-data-shared-prod.search_terms_derived.remotesettings_suggestions_v1`. The table holds the suggestions of today
and no others: each run replaces it as a whole. The program is
[`jobs/quicksuggest2bq`](https://github.com/mozilla/docker-etl/tree/main/jobs/quicksuggest2bq) of docker-etl.

## When it fails

Tell the team search-and-suggest today: the impressions of suggestions and the search terms that the ad partner gets are
derived with it. It keeps the suggestions of the last run that succeeded, so what is read meanwhile is old, not wrong. A
load that BigQuery refused is told line by line as `ERROR:` in the log. An attachment that could not be fetched fails
nothing: the log names its record, and its suggestions are missing that day.

## How to re-run it

Clear the task. It takes the suggestions of now, whatever day the run is of: a day that was missed can't be made up.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.config import WAREHOUSE_PROJECT
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "contextual_services_import",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2021, 11, 18),
    default_args=default_args(owner="search-and-suggest"),
    tags=[Tag.ImpactTier.tier_1],
):
    GKEPodOperator(
        task_id="quicksuggest2bq",
        image=image("quicksuggest2bq"),
        arguments=[
            *("python", "quicksuggest2bq/main.py"),
            *("--destination-project", WAREHOUSE_PROJECT),
            *("--destination-table-id", "search_terms_derived.remotesettings_suggestions_v1"),
        ],
    )
