"""Kubernetes secrets of pods, by short name.

Nearly all keys live in one Kubernetes secret, ``airflow-gke-restricted-secrets``, and are named
``<group>_secret__<key>``. A DAG names only what differs::

    pod_secrets("probe_scraper", AWS_ACCESS_KEY_ID="aws_access_key")

puts the key ``probe_scraper_secret__aws_access_key`` into the environment variable ``AWS_ACCESS_KEY_ID``.
Without a group the keys are given in full: ``pod_secrets(DOCUSIGN_JWT="docusign_jwt")``.
"""

from __future__ import annotations

from airflow.providers.cncf.kubernetes.secret import Secret

from utils.names import did_you_mean

RESTRICTED = "airflow-gke-restricted-secrets"
"""The Kubernetes secret of nearly all keys."""

SHARED = "airflow-gke-secrets"
"""The other one. Imported DAGs name it themselves."""

GROUPS = {
    "adm_export": "adm_export_secret__",
    "bqetl_artifact_deployment": "bqetl_artifact_deployment__",
    "fxci_etl": "fxci_etl_secret__",
    "looker": "looker__",
    "mad_server": "mad_server_secret__",
    "merino_elasticsearch": "merino_elasticsearch_secret__",
    "merino_flightaware": "merino_flightaware_secret__",
    "merino_polygon": "merino_polygon_secret__",
    "merino_sports": "merino_providers__sports__",
    "probe_scraper": "probe_scraper_secret__",
    "webcompat_kb": "webcompat_kb_secret__",
}
"""What the keys of a group start with. Three groups don't follow the rule."""


def pod_secrets(group: str | None = None, /, *, secret: str = RESTRICTED, **variables: str) -> list[Secret]:
    """Secrets as environment variables of a pod, for ``GKEPodOperator(secrets=...)``.

    :param group: whose keys they are, one of ``GROUPS``. Default: none, keys are given in full.
    :param secret: the Kubernetes secret that holds them. Default: ``airflow-gke-restricted-secrets``.
    :param variables: environment variable = key without the group's start.
    :raises ValueError: an unknown group; the message lists the near ones.
    """
    if group is not None and group not in GROUPS:
        raise ValueError(
            f"No group of secrets is named {group!r}. {did_you_mean(group, GROUPS)} "
            "A new one is a line in utils/secrets.py."
        )
    start = GROUPS[group] if group else ""
    return [
        Secret(deploy_type="env", deploy_target=variable, secret=secret, key=f"{start}{key}")
        for variable, key in variables.items()
    ]
