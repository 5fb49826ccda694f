"""Feed Merino, the service behind Firefox Suggest: index, images, flights, sports, engagement.

## Where the data comes from and goes

| DAG | from | to |
|---|---|---|
| `merino_jobs` | Wikipedia's search dump, by way of a bucket | an index in Elasticsearch, staging and production |
| | the most visited domains, from BigQuery, and their icons | Merino's image buckets and its list of top picks |
| | Polygon's pictures of stocks | Merino's image bucket |
| `merino_flightaware_schedules` | FlightAware | flight numbers that Merino recognizes |
| `merino_engagement_data` | how often suggestions were shown and clicked | Merino's buckets, staging and production |
| `merino_sports_nightly` | SportsData | events in Elasticsearch, of which the old ones are purged |
| `merino_sports_update` | SportsData | events in Elasticsearch |
| `merino_amp_live_probe` | the live table of suggestions | nothing: it tells whether Merino may read it |

All are jobs of the image of [merino-py](https://github.com/mozilla-services/merino-py). Wikipedia and sports share an
Elasticsearch.

## When it fails

The team search-and-suggest looks at it; a failure is posted to its channel. Merino goes on with what it has. The hourly
jobs and those that run every few minutes put themselves right with their next run. A 401 or 403 in the log is an API
key that has expired: each has its own in the cluster's secret. When both domain tasks have succeeded, a mail with the
links of the new lists goes to the team.

## How to re-run it

Clear the task: each job writes anew what it makes. An index that failed needs no new copy of Wikipedia's dump: clear it
alone. `merino_amp_live_probe` runs once; trigger it by hand when rights were changed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.sdk import DAG, TaskGroup

from operators.gcp_container_operator import GKEPodOperator
from utils.commands import late
from utils.config import CONNECTIONS, WAREHOUSE_PROJECT
from utils.connections import connection_value
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag
from utils.teams import team

if TYPE_CHECKING:
    from airflow.providers.cncf.kubernetes.secret import Secret

    from utils.commands import Late

TEAM = "search-and-suggest"
DUMPS = "moz-fx-data-prod-external-data/contextual-services/merino-jobs/wikipedia-exports"
ELASTICSEARCH = {
    "staging": (connection_value(CONNECTIONS.merino_elasticsearch_stage, "host"), "stage_api_key"),
    "prod": (connection_value(CONNECTIONS.merino_elasticsearch_prod, "host"), "prod_api_key"),
}
ELASTICSEARCH_KEY = "MERINO_JOBS__WIKIPEDIA_INDEXER__ES_API_KEY"
# Project, bucket and host of the images of the domains, by the end of the task's name.
IMAGES = {
    "stage": (
        "moz-fx-merino-nonprod-ee93",
        "merino-images-stagepy",
        "stagepy-images.merino.nonprod.cloudops.mozgcp.net",
    ),
    "prod": ("moz-fx-merino-prod-1c2f", "merino-images-prodpy", "merino-images.services.mozilla.com"),
    "prod_gcp_v2": ("moz-fx-merino-prod-5de4", "merino-images-prod", "prod-images.merino.prod.webservices.mozgcp.net"),
}
MAILED = ("stage", "prod")
SPORTS = {
    "MERINO_PROVIDERS__SPORTS__ES__DSN": ELASTICSEARCH["prod"][0],
    "MERINO_PROVIDERS__SPORTS__SPORTS": "['NFL', 'NBA', 'NHL', 'MLB', 'UCL']",
}
SPORTS_KEYS = [
    *pod_secrets("merino_sports", MERINO_PROVIDERS__SPORTS__SPORTSDATA__API_KEY="sportsdata_api_key"),
    *pod_secrets("merino_elasticsearch", **{ELASTICSEARCH_KEY: "prod_api_key"}),
]


def merino(dag_id: str, schedule: str) -> DAG:
    """A DAG of the family."""
    return DAG(
        dag_id,
        doc_md=__doc__,
        schedule=schedule,
        start_date=datetime(2023, 2, 1),
        default_args=default_args(owner=TEAM, triaged=False, retries=1, retry_delay=timedelta(minutes=5)),
        tags=[Tag.ImpactTier.tier_3, Tag.Triage.no_triage],
    )


def job(
    task_id: str,
    arguments: list[str] | Late,
    env_vars: dict[str, str] | None = None,
    secrets: list[Secret] | None = None,
    xcom: bool = False,
) -> GKEPodOperator:
    """A job of Merino's command line."""
    return GKEPodOperator(
        task_id=task_id,
        image=image("merino-py"),
        cmds=["python", "-m", "merino.jobs.cli"],
        arguments=arguments,
        env_vars={"MERINO_ENV": "production"} | (env_vars or {}),
        secrets=secrets,
        resources="small",
        do_xcom_push=xcom,
    )


def told(stage: str, key: str) -> str:
    """What a domain task told, as text in a mail."""
    pulled = f"(ti.xcom_pull(task_ids='nav_suggestions_prepare_domain_metadata_{stage}') or {{}})"
    return f"{{{{ {pulled}.get('{key}', 'not told') | e }}}}"


with merino("merino_jobs", "0 5 * * 2"):
    for language in ("en",):
        with TaskGroup(f"wikipedia_indexer_{language}"):
            copied = job(
                f"wikipedia_indexer_copy_export_{language}",
                [
                    *("wikipedia-indexer", "copy-export", "--gcs-path", DUMPS),
                    *("--gcp-project", WAREHOUSE_PROJECT, "--language", language),
                ],
            )
            copied >> [
                job(
                    f"wikipedia_indexer_build_index_{stage}_{language}",
                    late(
                        *("wikipedia-indexer", "index", "--language", language, "--version", "v1"),
                        # About as many as Wikipedia has.
                        *("--total-docs", "6600000", "--elasticsearch-url", url),
                        *("--gcs-path", DUMPS, "--gcp-project", WAREHOUSE_PROJECT),
                    ),
                    secrets=pod_secrets("merino_elasticsearch", **{ELASTICSEARCH_KEY: key}),
                )
                for stage, (url, key) in ELASTICSEARCH.items()
            ]

    domains = {
        stage: job(
            f"nav_suggestions_prepare_domain_metadata_{stage}",
            [
                *("navigational-suggestions", "prepare-domain-metadata", "--src-gcp-project", WAREHOUSE_PROJECT),
                *("--dst-gcp-project", project, "--dst-gcs-bucket", bucket, "--dst-cdn-hostname", host),
                *("--force-upload", *(["--write-xcom"] if stage in MAILED else [])),
            ],
            xcom=stage in MAILED,
        )
        for stage, (project, bucket, host) in IMAGES.items()
    }
    [domains[stage] for stage in MAILED] >> EmailOperator(
        task_id="email_on_domain_success",
        to=team(TEAM).alert_address,
        subject="Merino has a new list of top picks",
        html_content=(
            f"<p>Production: {told('prod', 'top_pick_url')}</p>"
            f"<p>Staging: {told('stage', 'top_pick_url')}</p>"
            f"<p>What changed in production:</p><pre>{told('prod', 'diff')}</pre>"
        ),
    )
    job(
        "polygon_ingestion_prod",
        ["polygon-ingestion", "ingest"],
        secrets=pod_secrets("merino_polygon", MERINO_POLYGON__API_KEY="prod_api_key"),
    )

with merino("merino_flightaware_schedules", "0 */6 * * *"):
    job(
        "fetch_flightaware_schedules_prod",
        ["fetch_flights", "fetch-and-store"],
        secrets=pod_secrets("merino_flightaware", MERINO_FLIGHTAWARE__API_KEY="prod_api_key"),
    )

with merino("merino_engagement_data", "0 * * * *"):
    job("upload_engagement_data_prod", ["upload_engagement_data", "upload-engagement-data"])
    job(
        "upload_engagement_data_stage",
        ["upload_engagement_data", "upload-engagement-data"],
        env_vars={
            "MERINO_ENGAGEMENT__GCS_STORAGE_PROJECT": "moz-fx-merino-nonprod-db57",
            "MERINO_ENGAGEMENT__GCS_STORAGE_BUCKET": "merino-airflow-data-stage",
        },
    )

with merino("merino_amp_live_probe", "@once"):
    job("probe_amp_live_access", ["probe_amp_live_access", "probe-amp-live-access"])

# Two minutes past the hour, so as not to meet the update. At least once a day, about midnight in New York.
with merino("merino_sports_nightly", "2 */6 * * *"):
    job("sports_nightly_job", ["fetch_sports", "nightly"], SPORTS, SPORTS_KEYS)

# Events of a week before and after now.
with merino("merino_sports_update", "*/5 * * * *"):
    job("sports_update_job", ["fetch_sports", "update"], SPORTS, SPORTS_KEYS)
