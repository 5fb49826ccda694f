"""Kubernetes secrets of pods, by short name, each declared here once with what it is for.

Nearly all keys live in one Kubernetes secret, ``airflow-gke-restricted-secrets``, and most are named
``<group>_secret__<key>``. A DAG names only what differs::

    pod_secrets("probe_scraper", AWS_ACCESS_KEY_ID="aws_access_key")

puts the key ``probe_scraper_secret__aws_access_key`` into the environment variable ``AWS_ACCESS_KEY_ID``. Where the variable
is the key's short name in capitals, the key alone is enough: ``pod_secrets("webcompat_kb", "gh_token")`` sets ``GH_TOKEN``.
Without a group the keys are given in full: ``pod_secrets(None, "docusign_jwt")``.

A key that is not declared here is refused. The offline platform gives every declared key a value
(:func:`development_values`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.names import did_you_mean

if TYPE_CHECKING:
    from airflow.providers.cncf.kubernetes.secret import Secret

RESTRICTED = "airflow-gke-restricted-secrets"
"""The Kubernetes secret of nearly all keys."""

SHARED = "airflow-gke-secrets"
"""The other one, of DAGs that bigquery-etl generates. They name it themselves."""


@dataclass(frozen=True)
class Group:
    """Keys of ``airflow-gke-restricted-secrets`` that start alike.

    :param start: what the keys start with.
    :param keys: the rest of each key, and what it is for.
    """

    start: str
    keys: dict[str, str]


GROUPS = {
    "adm_export": Group("adm_export_secret__", {"sftp_password": "SFTP server of the ad partner, password."}),
    "bqetl_artifact_deployment": Group("bqetl_artifact_deployment__", {"bigeye_api_key": "Bigeye, API key."}),
    "dap_ads": Group(
        "dap_ads_",
        {
            "attr_auth_token_dev": "DAP collector of ad attribution, bearer token.",
            "attr_hpke_private_key_dev": "DAP collector of ad attribution, private key that opens the aggregates.",
            "incr_auth_token_dev": "DAP collector of ad incrementality, bearer token.",
            "incr_hpke_private_key_dev": "DAP collector of ad incrementality, private key that opens the aggregates.",
        },
    ),
    "fxci_etl": Group(
        "fxci_etl_secret__",
        {
            "gcp-credentials": "Firefox CI's Google Cloud project, service account key.",
            "pulse-password": "Pulse (Firefox CI's message broker), password.",
        },
    ),
    "gmail_panopto": Group(
        "gmail_panopto_",
        {
            "gmail_client_email": "Google Workspace directory, service account.",
            "gmail_client_id": "Google Workspace directory, service account's number.",
            "gmail_client_x509_cert_url": "Google Workspace directory, URL of the service account's certificate.",
            "gmail_group_name": "Google Workspace directory, group to read.",
            "gmail_private_key": "Google Workspace directory, service account's key.",
            "gmail_private_key_id": "Google Workspace directory, number of that key.",
            "gmail_project_id": "Google Workspace directory, project of the service account.",
            "panopto_group_name": "Panopto (video), group to fill.",
            "panopto_pass": "Panopto (video), password.",
            "panopto_user": "Panopto (video), user.",
        },
    ),
    "looker": Group("looker__", {"looker_pubsub_subscription_id": "Subscription that tells who has left the company."}),
    "mad_server": Group(
        "mad_server_secret__",
        {
            "amo_cred_issuer": "addons.mozilla.org, API user.",
            "amo_cred_secret": "addons.mozilla.org, API secret.",
        },
    ),
    "merino_elasticsearch": Group(
        "merino_elasticsearch_secret__",
        {
            "prod_api_key": "Merino's Elasticsearch in production, API key.",
            "stage_api_key": "Merino's Elasticsearch in staging, API key.",
        },
    ),
    "merino_flightaware": Group("merino_flightaware_secret__", {"prod_api_key": "FlightAware, API key."}),
    "merino_polygon": Group("merino_polygon_secret__", {"prod_api_key": "Polygon (stock prices), API key."}),
    "merino_sports": Group("merino_providers__sports__", {"sportsdata_api_key": "SportsData, API key."}),
    "netsuite_integ": Group(
        "NETSUITE_INTEG_",
        {
            "NETSUITE_CONSUMER_KEY": "NetSuite, OAuth consumer.",
            "NETSUITE_CONSUMER_SECRET": "NetSuite, OAuth consumer's secret.",
            "NETSUITE_HOST": "NetSuite, host.",
            "NETSUITE_TOKEN_ID": "NetSuite, OAuth token.",
            "NETSUITE_TOKEN_OAUTH_REALM": "NetSuite, OAuth realm.",
            "NETSUITE_TOKEN_SECRET": "NetSuite, OAuth token's secret.",
            "WORKDAY_INTERNATIONAL_TRANSFER_LINK": "Workday, URL of the report of international transfers.",
            "WORKDAY_LISTING_OF_WORKERS_LINK": "Workday, URL of the report of workers.",
            "WORKDAY_PASSWORD": "Workday, password of the NetSuite integration.",
            "WORKDAY_USERNAME": "Workday, user of the NetSuite integration.",
        },
    ),
    "probe_scraper": Group(
        "probe_scraper_secret__",
        {
            "aws_access_key": "AWS, access key that sends mail of probe expiry and of crash symbols.",
            "aws_secret_key": "AWS, secret of that key.",
            "dataops_looker_github_secret_access_token": "GitHub, token that pushes LookML.",
            "looker_api_client_id_prod": "Looker in production, API client.",
            "looker_api_client_id_staging": "Looker in staging, API client.",
            "looker_api_client_secret_prod": "Looker in production, API client's secret.",
            "looker_api_client_secret_staging": "Looker in staging, API client's secret.",
            "looker_repos_secret_git_ssh_key_b64": "GitHub, SSH key of the LookML repositories.",
            "mozilla_pipeline_schemas_secret_git_sshkey_b64": "GitHub, SSH key of mozilla-pipeline-schemas.",
        },
    ),
    "webcompat_kb": Group(
        "webcompat_kb_secret__",
        {
            "bugzilla_api_key": "Bugzilla, API key.",
            "gh_token": "GitHub, token that reads issues.",
            "hackbot_api_key": "Hackbot, API key.",
            "hackbot_url": "Hackbot, address.",
        },
    ),
}
"""Groups of keys, by the name that a DAG gives."""

_UNGROUPED = {
    "DAP_PPA_PROD_AUTH_TOKEN": "DAP collector of privacy-preserving attribution, bearer token.",
    "DAP_PPA_PROD_HPKE_PRIVATE_KEY": "DAP collector of privacy-preserving attribution, private key.",
    "DOCUSIGN_INTEG_WORKDAY_PASSWORD": "Workday, password of the DocuSign integration.",
    "DOCUSIGN_INTEG_WORKDAY_USERNAME": "Workday, user of the DocuSign integration.",
    "EVERFI_INTEG_WORKDAY_PASSWORD": "Workday, password of the Everfi integration.",
    "EVERFI_INTEG_WORKDAY_USERNAME": "Workday, user of the Everfi integration.",
    "EVERFI_PASSWORD": "Everfi (compliance training), password.",
    "EVERFI_USERNAME": "Everfi (compliance training), user.",
    "HR_DASHBOARD_WORKDAY_PASSWORD": "Workday, password of the people dashboards.",
    "HR_DASHBOARD_WORKDAY_USERNAME": "Workday, user of the people dashboards.",
    "MICROSOFT_CLIENT_ID": "Microsoft Store, API client.",
    "MICROSOFT_CLIENT_SECRET": "Microsoft Store, API client's secret.",
    "MICROSOFT_STORE_APP_LIST": "Microsoft Store, products to ask for.",
    "MICROSOFT_TENANT_ID": "Microsoft Store, tenant.",
    "SLACK_CHANNEL_TOKEN": "Slack, token that lists and archives channels.",
    "WORKDAY_QUERY_URI": "Workday, path of the report of workers.",
    "docusign_jwt": "DocuSign, key that signs requests.",
    "slack_service_account": "Google service account that notes the state of Slack channels.",
}

# Keys that only imported DAGs name: facts of their files.
_OF_IMPORTED_DAGS = dict.fromkeys(
    (
        "bqetl_ai_usage__anthropic_admin_api_key",
        "bqetl_ai_usage__openai_admin_api_key",
        "bqetl_bigeye_api_key",
        "bqetl_claude_api__admin_api_key",
        "bqetl_cloudflare_browser_market_share__cloudflare_auth_token",
        "bqetl_cloudflare_device_market_share__cloudflare_auth_token",
        "bqetl_cloudflare_os_market_share__cloudflare_auth_token",
        "bqetl_firefox_ios__app_store_connect_issuer_id",
        "bqetl_firefox_ios__app_store_connect_key",
        "bqetl_firefox_ios__app_store_connect_key_id",
        "bqetl_fred_daily_exchange_rate__api_key",
        "bqetl_github__github_token",
        "bqetl_google_play_store_developer_reporting_api_data_boxwood",
        "bqetl_jira_service_desk__jira_token",
        "bqetl_jira_service_desk__jira_username",
        "bqetl_semrush_api_key",
        "bqetl_un_population__un_population_bearer_token",
        "bqetl_us_bls_unemployment_data__bls_us_api_key",
        "probe_scraper_secret__looker_api_client_id_prod",
        "probe_scraper_secret__looker_api_client_secret_prod",
    ),
    "Of a DAG that bigquery-etl generates, which names it itself.",
)

DECLARED: dict[str, dict[str, str]] = {
    RESTRICTED: {
        **{f"{group.start}{key}": about for group in GROUPS.values() for key, about in group.keys.items()},
        **_UNGROUPED,
    },
    SHARED: _OF_IMPORTED_DAGS,
}
"""Every key and what it is for, by the Kubernetes secret that holds it."""


def pod_secrets(group: str | None = None, /, *keys: str, secret: str = RESTRICTED, **variables: str) -> list[Secret]:
    """Secrets as environment variables of a pod, for ``GKEPodOperator(secrets=...)``.

    :param group: whose keys they are, one of ``GROUPS``. Default: none, keys are given in full.
    :param keys: keys without the group's start; the variable of each is its name in capitals.
    :param secret: the Kubernetes secret that holds them. Default: ``airflow-gke-restricted-secrets``.
    :param variables: environment variable = key without the group's start.
    :raises ValueError: a group or a key that is not declared; the message lists the near ones.
    """
    # Only here: the supervisor of the offline platform reads the declarations, and Airflow would cost it two seconds.
    from airflow.providers.cncf.kubernetes.secret import Secret

    if group is not None and group not in GROUPS:
        raise ValueError(
            f"No group of secrets is named {group!r}. {did_you_mean(group, GROUPS)} "
            "A new one is a line in utils/secrets.py."
        )
    start = GROUPS[group].start if group else ""
    wanted = {key.upper().replace("-", "_"): key for key in keys} | variables
    return [
        Secret(deploy_type="env", deploy_target=variable, secret=secret, key=_declared(secret, f"{start}{key}"))
        for variable, key in wanted.items()
    ]


def _declared(secret: str, key: str) -> str:
    if secret not in DECLARED:
        raise ValueError(f"No Kubernetes secret {secret!r} is declared. {did_you_mean(secret, DECLARED)}")
    if key not in DECLARED[secret]:
        raise ValueError(
            f"The secret {secret} has no declared key {key!r}. {did_you_mean(key, DECLARED[secret])} "
            "A new one is a line in utils/secrets.py that says what it is for."
        )
    return key


def development_values() -> dict[str, dict[str, str]]:
    """A harmless value for every declared key, by secret and key: what pods of the offline platform see."""
    return {secret: {key: f"development-{key}" for key in keys} for secret, keys in DECLARED.items()}
