"""Images, secrets, sizes, tags, states: names to values, and what is said about an unknown name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from utils import constants
from utils.images import IMAGES, Image, image, repositories
from utils.names import did_you_mean
from utils.pod_sizes import POD_SIZES, pod_size
from utils.pools import EXTERNAL_TASK_SENSOR, POOLS
from utils.secrets import pod_secrets
from utils.tags import KNOWN_TAGS, Tag


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
    secrets = pod_secrets("probe_scraper", B="b", A="a", secret="airflow-gke-secrets")
    assert [(s.deploy_target, s.secret) for s in secrets] == [
        ("B", "airflow-gke-secrets"),
        ("A", "airflow-gke-secrets"),
    ]


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
