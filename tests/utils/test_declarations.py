"""Images, secrets, sizes, tags, states: names to values, and what is said about an unknown name."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from utils import connections, constants, secrets
from utils.config import CONNECTIONS
from utils.images import IMAGES, Image, floating, image, image_of, repositories
from utils.names import did_you_mean
from utils.pod_sizes import POD_SIZES, pod_size
from utils.pools import EXTERNAL_TASK_SENSOR, POOLS
from utils.secrets import pod_secrets
from utils.tags import KNOWN_TAGS, Tag
from utils.teams import TEAMS, team
from utils.variables import VARIABLES


def test_image_by_name() -> None:
    assert image("bq2sftp") == "us-docker.pkg.dev/moz-fx-data-artifacts-prod/docker-etl/bq2sftp:latest"
    assert image("google-cloud-sdk-slim") == "google/cloud-sdk:552.0.0-slim"


def test_an_image_can_be_pinned_by_digest() -> None:
    assert Image("a", "host/a", None, tag="sha256:0123").reference == "host/a@sha256:0123"


def test_unknown_image() -> None:
    with pytest.raises(ValueError, match=r"'bq2sft'.*Did you mean 'bq2sftp'.*utils/images.py"):
        image("bq2sft")


def test_repositories_have_no_tag() -> None:
    assert "gcr.io/moz-fx-data-airflow-prod-88e0/bigquery-etl" in repositories()
    assert all(":" not in name and "@" not in name for name in repositories())
    assert all(name == entry.name for name, entry in IMAGES.items())


def test_image_sources_are_urls() -> None:
    assert all(entry.source is None or entry.source.startswith("https://") for entry in IMAGES.values())


@pytest.mark.parametrize(
    ("group", "key", "expected"),
    [
        ("probe_scraper", "aws_access_key", "probe_scraper_secret__aws_access_key"),
        ("bqetl_artifact_deployment", "bigeye_api_key", "bqetl_artifact_deployment__bigeye_api_key"),
        ("looker", "looker_pubsub_subscription_id", "looker__looker_pubsub_subscription_id"),
        ("merino_sports", "sportsdata_api_key", "merino_providers__sports__sportsdata_api_key"),
        (None, "docusign_jwt", "docusign_jwt"),
    ],
)
def test_secret_by_short_name(group: str | None, key: str, expected: str) -> None:
    (secret,) = pod_secrets(group, VARIABLE=key)
    assert (secret.deploy_type, secret.deploy_target, secret.secret, secret.key) == (
        "env",
        "VARIABLE",
        "airflow-gke-restricted-secrets",
        expected,
    )


def test_secrets_keep_their_order_and_can_live_elsewhere() -> None:
    found = pod_secrets(None, secret="airflow-gke-secrets", B="bqetl_semrush_api_key", A="bqetl_bigeye_api_key")
    assert [(s.deploy_target, s.secret) for s in found] == [
        ("B", "airflow-gke-secrets"),
        ("A", "airflow-gke-secrets"),
    ]


def test_a_key_alone_names_its_variable() -> None:
    found = pod_secrets("fxci_etl", "pulse-password", FXCI_KEY="gcp-credentials")
    assert [(s.deploy_target, s.key) for s in found] == [
        ("PULSE_PASSWORD", "fxci_etl_secret__pulse-password"),
        ("FXCI_KEY", "fxci_etl_secret__gcp-credentials"),
    ]


@pytest.mark.parametrize(
    ("group", "key", "secret", "message"),
    [
        (
            "probe_scraper",
            "aws_acces_key",
            "airflow-gke-restricted-secrets",
            "aws_acces_key'. Did you mean .*aws_access_key'",
        ),
        (None, "docusign", "airflow-gke-restricted-secrets", "no declared key 'docusign'"),
        (None, "docusign_jwt", "airflow-gke-secrets", "no declared key 'docusign_jwt'"),
        (None, "docusign_jwt", "airflow-gke-secret", "No Kubernetes secret .* Did you mean 'airflow-gke-secrets'"),
    ],
)
def test_a_key_that_is_not_declared(group: str | None, key: str, secret: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pod_secrets(group, key, secret=secret)


def test_every_declaration_says_what_it_is_for() -> None:
    said = [
        *(about for keys in secrets.DECLARED.values() for about in keys.values()),
        *(variable.about for variable in VARIABLES.values()),
        *(connection.about for connection in connections.DECLARED.values()),
        *(pool.description for pool in POOLS),
        *(team.about for team in TEAMS.values()),
    ]
    assert all(len(about) > 10 and about.endswith(".") for about in said)


def test_every_secret_has_a_development_value() -> None:
    values = secrets.development_values()
    assert {secret: set(keys) for secret, keys in values.items()} == {s: set(k) for s, k in secrets.DECLARED.items()}
    assert all(value for keys in values.values() for value in keys.values())
    assert json.loads(json.dumps(values)) == values


def test_every_connection_id_that_code_names_is_declared() -> None:
    assert {getattr(CONNECTIONS, field.name) for field in fields(CONNECTIONS)} <= set(connections.DECLARED)


def test_a_value_of_a_connection_is_a_template() -> None:
    assert connections.connection_value(CONNECTIONS.adm_sftp, "extra_dejson.known_hosts") == (
        "{{ conn.adm_sftp.extra_dejson.known_hosts }}"
    )
    with pytest.raises(ValueError, match=r"'adm_ftp' is declared. Did you mean 'adm_sftp'"):
        connections.connection_value("adm_ftp", "host")


def test_a_team_is_known_by_its_name() -> None:
    assert team("ads").name == "ads"
    with pytest.raises(ValueError, match=r"'adds'.*never persons.*Did you mean 'ads'.*utils/teams.py"):
        team("adds")


def test_floating_images_are_listed() -> None:
    assert {"jetstream", "bigquery-queries"} <= set(floating())
    assert not {"gke-pod-clean", "google-cloud-sdk-slim"} & set(floating())
    assert not Image("a", "host/a", None, tag="sha256:abc0").floats
    assert not Image("a", "host/a", None, tag="v1.2").floats


def test_an_image_is_known_by_its_reference() -> None:
    for name, declared in IMAGES.items():
        assert image_of(declared.reference) == declared
        assert image_of(image(name, tag="{{ var.value.release }}")) is not None
    assert image_of(f"host:5000/{IMAGES['jetstream'].repository}:latest") is None
    assert image_of("gcr.io/moz-fx-data-experiments/jetstream@sha256:0123") == IMAGES["jetstream"]


def test_unknown_group_of_secrets() -> None:
    with pytest.raises(ValueError, match=r"'probe_scrapper'.*Did you mean 'probe_scraper'"):
        pod_secrets("probe_scrapper", A="a")


def test_sizes() -> None:
    assert pod_size("tiny").requests == {"memory": "400Mi"}
    assert POD_SIZES["xlarge"].requests == {"memory": "6Gi", "cpu": "4"}


def test_a_tag_is_its_string() -> None:
    assert Tag.ImpactTier.tier_1 == "impact/tier_1"
    assert f"{Tag.Triage.no_triage} {Tag.Repo.bqetl}" == "triage/no_triage repo/bigquery-etl"
    assert {"impact/tier_2", "triage/confidential", "repo/private-bigquery-etl"} <= KNOWN_TAGS


def test_tags_reach_airflow_as_plain_strings() -> None:
    stored = DagSerialization.to_dict(DAG("d", schedule=None, tags=[Tag.ImpactTier.tier_1]))
    assert json.loads(json.dumps(stored))["dag"]["tags"] == ["impact/tier_1"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALLOWED_STATES", ["success"]), ("FAILED_STATES", ["failed", "upstream_failed", "skipped"])],
)
def test_states_are_those_of_the_contract(name: str, value: Any) -> None:
    assert getattr(constants, name) == value


def test_the_pool_of_sensors() -> None:
    assert EXTERNAL_TASK_SENSOR in POOLS
    assert EXTERNAL_TASK_SENSOR.name == "DATA_ENG_EXTERNALTASKSENSOR"


def test_near_names() -> None:
    assert did_you_mean("emails", ["email", "owner"]) == "Did you mean 'email'?"
    assert did_you_mean("qqq", ["b", "a"]) == "Known: 'a', 'b'."
