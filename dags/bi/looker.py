"""Make LookML of the schemas of all tables and pings, and bring it into Looker: staging first, then production.

## Where the data comes from and goes

The [LookML generator](https://github.com/mozilla/lookml-generator) reads the views of bigquery-etl and the Glean
Dictionary, and pushes views and explores to `looker-hub` and `looker-spoke-default`: the branches `main-stage` for
Looker's staging, `main` for production. Spectacles then tries the content of the folder of key metrics, and all
LookML of `spoke-default`; branches in which nothing has happened for 180 days are deleted. Staging always runs the
newest generator, production the release of the variable `lookml_generator_release_str`.

Two tasks tend the accounts: people who have left are disabled, everyone else may make API keys.

bigquery-etl's CI starts it, by way of `bqetl_artifact_deployment`.

## When it fails

As long as the newest run is green, older ones need nothing. A new Glean application, or a change of
`custom-namespaces.yaml`, needs a person: `lookml_generator` then leaves a pull request "Auto-push from LookML
Generator" in `looker-spoke-default`. Merge it and clear the task. A failed validation names the explore or the tile:
tell who changed it last; production has it already.

## How to re-run it

Clear the task, or start the DAG: everything is made anew of what is there now. Nothing is lost when a run is missed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from kubernetes.client import V1ResourceRequirements

from operators.gcp_container_operator import GKEPodOperator
from utils.commands import shell
from utils.defaults import default_args
from utils.images import image
from utils.secrets import pod_secrets
from utils.tags import Tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.cncf.kubernetes.secret import Secret

PRODUCTION = "https://mozilla.cloud.looker.com"
STAGING = "https://mozillastaging.cloud.looker.com"
CLIENT = pod_secrets(
    "probe_scraper",
    LOOKER_CLIENT_ID="looker_api_client_id_prod",
    LOOKER_CLIENT_SECRET="looker_api_client_secret_prod",
)
KEY_METRICS = "706"
"""A folder of Looker."""


def generator(task_id: str, *, instance: str, branch: str, keys: str, **differing: Any) -> GKEPodOperator:
    """Generate LookML for one of the two Lookers, with the keys of its API that end in ``keys``."""
    return GKEPodOperator(
        task_id=task_id,
        name=f"{task_id.replace('_', '-')}-1",
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
            LOOKER_API_CLIENT_ID=f"looker_api_client_id_{keys}",
            LOOKER_API_CLIENT_SECRET=f"looker_api_client_secret_{keys}",
            GITHUB_ACCESS_TOKEN="dataops_looker_github_secret_access_token",
        ),
        container_resources=V1ResourceRequirements(requests={"memory": "1500Mi", "cpu": "3"}),
        **differing,
    )


def spectacles(task_id: str, command: str, **differing: Any) -> GKEPodOperator:
    """Try what production has. Looker opens no production branch for that: ``main-validation`` mirrors ``main``."""
    return GKEPodOperator(
        task_id=task_id,
        image=image("lookml-generator"),
        **shell(f"spectacles {command}"),
        env_vars={"LOOKER_BASE_URL": PRODUCTION},
        secrets=CLIENT,
        **differing,
    )


def utility(task_id: str, *arguments: str, secrets: Sequence[Secret] = ()) -> GKEPodOperator:
    """A command of the Looker utilities of docker-etl, on production."""
    return GKEPodOperator(
        task_id=task_id,
        image=image("looker-utils"),
        arguments=["python", "-m", "looker_utils.main", *arguments],
        env_vars={"LOOKER_INSTANCE_URI": PRODUCTION},
        secrets=[*CLIENT, *secrets],
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
    lookml_generator_staging = generator(
        "lookml_generator_staging",
        image=image("lookml-generator"),
        instance=STAGING,
        branch="main-stage",
        keys="staging",
    )
    lookml_generator = generator(
        "lookml_generator",
        image=image("lookml-generator", tag="{{ var.value.lookml_generator_release_str }}"),
        instance=PRODUCTION,
        branch="main",
        keys="prod",
        startup_timeout_seconds=500,
    )
    validate_content = spectacles(
        "validate_content_spectacles",
        "content --verbose --project spoke-default --branch main-validation --pin-imports looker-hub:main "
        f"--folders {KEY_METRICS}",
    )
    validate_lookml = spectacles(
        "validate_lookml_spoke_default_spectacles",
        "lookml --verbose --project spoke-default --branch main-validation --remote-reset "
        "--pin-imports looker-hub:main --timeout 10800",
        execution_timeout=timedelta(hours=3),
    )
    delete_outdated_branches = utility("delete_outdated_branches", "delete-branches", "--inactive_days=180")
    utility(
        "disable_exited_employees",
        "disable-exited-employees",
        secrets=pod_secrets("looker", "looker_pubsub_subscription_id"),
    )
    utility("enable_api_keys", "enable-api-keys")

    lookml_generator_staging >> lookml_generator >> [validate_content, validate_lookml] >> delete_outdated_branches
