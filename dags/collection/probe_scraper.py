"""Find out which probes and pings Firefox and its sisters have, and make schemas and the Glean Dictionary of them.

## Where the data comes from and goes

The scrapers read the source of Firefox, Thunderbird and all Glean applications, and write what they find to the bucket
`probe-scraper-prod-artifacts`, behind probeinfo.telemetry.mozilla.org. The schema generator makes the branch
`generated-schemas` of mozilla-pipeline-schemas of it, by which pings are let into the live tables and these get their columns;
the schemas are then published to the artifact registry. An hour later the Glean Dictionary is built anew.

On Mondays bugs are filed about probes that expire soon, on Wednesdays about those of Firefox on Glean; mails go out every day.

## When it fails

A scraper that failed holds nothing up: what the others found counts, and tomorrow it finds the rest. Its log names the
repository that could not be read. `mozilla_schema_generator` is what matters: while it fails, new probes reach no table. When
its log shows a conflict in the schemas, tell the owner of the repository that it names.

## How to re-run it

Clear the task; everything is made anew from the repositories as they are now. Started by hand with `update` off, the scrapers
read all of a repository's history instead of its last day. Clearing `glean_dictionary_build` builds without the hour's wait.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.sdk import DAG
from kubernetes.client import V1ResourceRequirements

from operators.external_task import wait_for
from operators.gcp_container_operator import GKEPodOperator
from operators.waiting import wait
from utils.branching import Weekday, WeekdayBranch
from utils.commands import late, shell
from utils.config import CONNECTIONS, DATAPROC
from utils.defaults import default_args
from utils.images import image
from utils.params import flag_param
from utils.secrets import pod_secrets
from utils.tags import Tag

RUNNER = [
    *("python3", "-m", "probe_scraper.runner"),
    "--out-dir=/app/probe_data",
    "--cache-dir=/app/probe_cache",
    "--output-bucket=gs://probe-scraper-prod-artifacts/",
    "--env=prod",
]
BOTO = {"BOTO_PATH": ".gce_boto"}
BUGZILLA_KEY = "{{ var.value.bugzilla_probe_expiry_bot_api_key }}"
MAIL = pod_secrets("probe_scraper", AWS_ACCESS_KEY_ID="aws_access_key", AWS_SECRET_ACCESS_KEY="aws_secret_key")
GLEAN_APPLICATIONS = {
    "firefox": "mozilla-firefox/firefox",
    "firefox_enterprise": "mozilla/enterprise-firefox",
    "phabricator": "mozilla-conduit/review",
    "releases_comm_central": "thunderbird/thunderbird-desktop",
}
SCHEMAS = "mozilla-services/mozilla-pipeline-schemas.git"

with DAG(
    "probe_scraper",
    doc_md=__doc__,
    schedule="0 0 * * *",
    start_date=datetime(2019, 10, 28),
    default_args=default_args(owner="data-engineering"),
    tags=[Tag.ImpactTier.tier_1],
    params={"update": flag_param("Read only what changed on the day of the run.", default=True)},
):
    moz_central = GKEPodOperator(
        task_id="probe_scraper_moz_central",
        image=image("probe-scraper"),
        arguments=[*RUNNER, "--cache-bucket=gs://probe-scraper-prod-cache/", "--moz-central"],
        env_vars=BOTO,
        container_resources=V1ResourceRequirements(requests={"memory": "4500Mi"}),
        startup_timeout_seconds=360,
    )
    glean_repositories = GKEPodOperator(
        task_id="probe_scraper_glean_repositories",
        image=image("probe-scraper"),
        arguments=[*RUNNER, "--update", "--glean"],
        env_vars=BOTO,
    )
    glean_applications = [
        GKEPodOperator(
            task_id=f"probe_scraper_glean_{name}",
            image=image("probe-scraper"),
            arguments=late(
                *RUNNER,
                "--glean",
                f"--glean-url=https://github.com/{repository}",
                "--glean-limit-date={{ ds if params['update'] else '' }}",
                "--{{ '' if params['update'] else 'no-' }}update",
                *(("--bugzilla-api-key", BUGZILLA_KEY) if name == "firefox" else ()),
            ),
            env_vars=BOTO,
            secrets=MAIL,
        )
        for name, repository in GLEAN_APPLICATIONS.items()
    ]
    probe_scraper = EmptyOperator(task_id="probe_scraper", trigger_rule="all_done")

    probe_scraper_check_branch = BranchPythonOperator(
        task_id="probe_scraper_check_branch",
        python_callable=WeekdayBranch(
            tasks={Weekday.monday: "probe_scraper_check_expiry", Weekday.wednesday: "probe_scraper_check_fog_expiry"},
            otherwise="dummy_branch",
        ),
        trigger_rule="all_done",
    )
    checks = [
        GKEPodOperator(
            task_id=f"probe_scraper_check_{what}",
            image=image("probe-scraper"),
            arguments=[
                *RUNNER,
                f"--check-{what.replace('_', '-')}",
                f"--bugzilla-api-key={BUGZILLA_KEY}",
                *("--env=dev", "--update", "--glean"),
            ],
            env_vars=BOTO,
            secrets=MAIL,
        )
        for what in ("expiry", "fog_expiry")
    ]
    dummy_branch = EmptyOperator(task_id="dummy_branch")

    probe_expiry_alerts = GKEPodOperator(
        task_id="probe-expiry-alerts",
        image=image("probe-scraper"),
        arguments=[
            *("python3", "-m", "probe_scraper.probe_expiry_alert", "--date", "{{ ds }}"),
            *("--bugzilla-api-key", BUGZILLA_KEY),
        ],
        secrets=MAIL,
    )
    ping_expiry_alerts = GKEPodOperator(
        task_id="ping_expiry_alerts",
        image=image("probe-scraper"),
        arguments=["python3", "-m", "probe_scraper.ping_expiry_alert", "--run-date", "{{ ds }}"],
        secrets=MAIL,
    )
    wait_for_table_partition_expirations = wait_for(
        "bqetl_monitoring",
        "monitoring_derived__table_partition_expirations__v1",
        delta=timedelta(hours=-2),
        task_id="wait_for_table_partition_expirations",
        fail_with_it=False,
    )

    mozilla_schema_generator = GKEPodOperator(
        task_id="mozilla_schema_generator",
        name="schema-generator-1",
        image=image("mozilla-schema-generator"),
        env_vars={
            "MPS_REPO_URL": f"git@github.com:{SCHEMAS}",
            "MPS_BRANCH_SOURCE": "main",
            "MPS_BRANCH_PUBLISH": "generated-schemas",
        },
        secrets=pod_secrets("probe_scraper", MPS_SSH_KEY_BASE64="mozilla_pipeline_schemas_secret_git_sshkey_b64"),
    )
    publish_schemas_to_gar = GKEPodOperator(
        task_id="publish_schemas_to_gar",
        image=image("google-cloud-sdk-slim"),
        **shell(
            f"set -o pipefail; gcloud storage cat gs://{DATAPROC.artifact_bucket}/jobs/publish_schemas_to_gar.sh | bash"
        ),
        env_vars={
            "MPS_REPO_URL": f"https://github.com/{SCHEMAS}",
            "MPS_BRANCH": "generated-schemas",
            "GCP_PROJECT": "moz-fx-data-artifacts-prod",
            "GAR_LOCATION": "us",
            "GAR_REPOSITORY": "mozilla-pipeline-schemas-oci-artifacts",
            "GENERIC_REPOSITORY": "mozilla-pipeline-schemas-generic-artifacts",
            "GAR_IMAGE": "schemas",
            "CRANE_VERSION": "v0.20.2",
        },
    )

    wait_for_1_hour = wait("wait_for_1_hour", timedelta(hours=1))
    glean_dictionary_build = HttpOperator(
        task_id="glean_dictionary_build",
        http_conn_id=CONNECTIONS.netlify,
        endpoint="{{ var.value.glean_dictionary_netlify_build_webhook_id }}",
        method="POST",
        trigger_rule="all_done",
    )

    glean_repositories >> glean_applications >> probe_scraper
    moz_central >> probe_scraper
    probe_scraper >> [
        probe_scraper_check_branch,
        mozilla_schema_generator,
        probe_expiry_alerts,
        ping_expiry_alerts,
        wait_for_1_hour,
    ]
    probe_scraper_check_branch >> [*checks, dummy_branch]
    mozilla_schema_generator >> publish_schemas_to_gar
    wait_for_table_partition_expirations >> ping_expiry_alerts
    wait_for_1_hour >> glean_dictionary_build
