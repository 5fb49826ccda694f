"""Make LookML of the schemas of all tables and pings, and bring it into Looker: staging first, then production.

## Where the data comes from and goes

The [LookML generator](https://github.com/mozilla/lookml-generator) reads the views of bigquery-etl and the Glean Dictionary, and
pushes views and explores to `looker-hub` and `looker-spoke-default`: the branches `main-stage` for Looker's staging, `main` for
production. Spectacles then tries the folder of key metrics (706), and all LookML of `spoke-default`; branches in which nothing has happened
for 180 days are deleted. Staging runs the newest generator, production the release of the variable `lookml_generator_release_str`.
Two tasks tend the accounts: people who have left are disabled, everyone else may make API keys.
bigquery-etl's CI starts it all, by way of `bqetl_artifact_deployment`.

## When it fails

As long as the newest run is green, older ones need nothing. A new Glean application, or a change of `custom-namespaces.yaml`, needs
a person: `lookml_generator` then leaves a pull request "Auto-push from LookML Generator" in `looker-spoke-default`. Merge it and
clear the task. A failed validation names the explore or the tile: tell who changed it last; production has it already.

## How to re-run it

Clear the task, or start the DAG: everything is made anew of what is there now. Nothing is lost when a run is missed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG
from kubernetes.client import V1ResourceRequirements

from operators.gcp_container_operator import GKEPodOperator
from utils.commands import shell
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag

PRODUCTION = "https://mozilla.cloud.looker.com"
LOOKERS = {"staging": ("https://mozillastaging.cloud.looker.com", "main-stage"), "prod": (PRODUCTION, "main")}
API = {"LOOKER_CLIENT_ID": "looker_api_client_id_prod", "LOOKER_CLIENT_SECRET": "looker_api_client_secret_prod"}
PINNED = "--pin-imports looker-hub:main"


def generator(task_id: str, looker: str, tag: str | None = None, **differing: Any) -> GKEPodOperator:
    """Generate LookML for one of the two Lookers, with the keys of its API that end in its name."""
    instance, branch = LOOKERS[looker]
    return GKEPodOperator(
        task_id=task_id,
        name=f"{task_id.replace('_', '-')}-1",
        image=image("lookml-generator", tag=tag),
        env_vars={
            "HUB_REPO_URL": "git@github.com:mozilla/looker-hub.git",
            "HUB_BRANCH_SOURCE": "base",
            "HUB_BRANCH_PUBLISH": branch,
            "SPOKE_REPO_URL": "git@github.com:mozilla/looker-spoke-default.git",
            "SPOKE_BRANCH_PUBLISH": branch,
            "LOOKER_INSTANCE_URI": instance,
            "UPDATE_SPOKE_BRANCHES": "true",
        },
        secrets=pod_secrets(
            "probe_scraper",
            GIT_SSH_KEY_BASE64="looker_repos_secret_git_ssh_key_b64",
            LOOKER_API_CLIENT_ID=f"looker_api_client_id_{looker}",
            LOOKER_API_CLIENT_SECRET=f"looker_api_client_secret_{looker}",
            GITHUB_ACCESS_TOKEN="dataops_looker_github_secret_access_token",
        ),
        container_resources=V1ResourceRequirements(requests={"memory": "1500Mi", "cpu": "3"}),
        **differing,
    )


def spectacles(task_id: str, command: str, flags: str, **differing: Any) -> GKEPodOperator:
    """Try what production has. Looker opens no production branch for that: ``main-validation`` mirrors ``main``."""
    return GKEPodOperator(
        task_id=task_id,
        image=image("lookml-generator"),
        **shell(f"spectacles {command} --verbose --project spoke-default --branch main-validation {flags}"),
        env_vars={"LOOKER_BASE_URL": PRODUCTION},
        secrets=pod_secrets("probe_scraper", **API),
        **differing,
    )


def utility(task_id: str, *arguments: str, keys: tuple[str, ...] = ()) -> GKEPodOperator:
    """A command of the Looker utilities of docker-etl, on production, with some keys of the group ``looker``."""
    return GKEPodOperator(
        task_id=task_id,
        image=image("looker-utils"),
        arguments=["python", "-m", "looker_utils.main", *arguments],
        env_vars={"LOOKER_INSTANCE_URI": PRODUCTION},
        secrets=pod_secrets("probe_scraper", **API) + pod_secrets("looker", *keys),
    )


with DAG(
    "looker",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2024, 5, 21),
    max_active_runs=1,
    default_args=default_args(owner="data-tools"),
    tags=[Tag.ImpactTier.tier_1],
):
    staging = generator("lookml_generator_staging", "staging")
    production = generator(
        "lookml_generator", "prod", tag="{{ var.value.lookml_generator_release_str }}", startup_timeout_seconds=500
    )
    content = spectacles("validate_content_spectacles", "content", f"{PINNED} --folders 706")
    lookml = spectacles(
        "validate_lookml_spoke_default_spectacles",
        "lookml",
        f"--remote-reset {PINNED} --timeout 10800",
        execution_timeout=timedelta(hours=3),
    )
    delete_branches = utility("delete_outdated_branches", "delete-branches", "--inactive_days=180")
    utility("disable_exited_employees", "disable-exited-employees", keys=("looker_pubsub_subscription_id",))
    utility("enable_api_keys", "enable-api-keys")

    staging >> production >> [content, lookml] >> delete_branches
