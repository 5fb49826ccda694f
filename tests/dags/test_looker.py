"""LookML: staging first, and no key of one Looker in a pod of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from utils.images import image
from utils.variables import VARIABLES

if TYPE_CHECKING:
    from airflow.sdk import DAG


def task(dags: dict[str, DAG], task_id: str) -> Any:
    return dags["looker"].get_task(task_id)


@pytest.mark.parametrize(
    ("task_id", "branch", "instance", "keys", "others"),
    [
        ("lookml_generator_staging", "main-stage", "https://mozillastaging.cloud.looker.com", "_staging", "_prod"),
        ("lookml_generator", "main", "https://mozilla.cloud.looker.com", "_prod", "_staging"),
    ],
)
def test_each_looker_gets_its_own_branch_and_keys(
    dags: dict[str, DAG], task_id: str, branch: str, instance: str, keys: str, others: str
) -> None:
    pod = task(dags, task_id)
    env = pod.env_vars
    assert (env["HUB_BRANCH_PUBLISH"], env["SPOKE_BRANCH_PUBLISH"]) == (branch, branch)
    assert env["LOOKER_INSTANCE_URI"] == instance
    assert len([secret for secret in pod.secrets if secret.key.endswith(keys)]) == 2
    assert not [secret for secret in pod.secrets if secret.key.endswith(others)]


def test_production_runs_a_release_and_staging_the_newest(dags: dict[str, DAG]) -> None:
    assert task(dags, "lookml_generator_staging").image == image("lookml-generator")
    reference = task(dags, "lookml_generator").image
    assert reference.endswith("/lookml-generator:{{ var.value.lookml_generator_release_str }}")
    assert "lookml_generator_release_str" in VARIABLES


def test_branches_are_deleted_after_all_is_validated(dags: dict[str, DAG]) -> None:
    validations = {"validate_content_spectacles", "validate_lookml_spoke_default_spectacles"}
    assert task(dags, "lookml_generator").upstream_task_ids == {"lookml_generator_staging"}
    assert task(dags, "lookml_generator").downstream_task_ids == validations
    assert task(dags, "delete_outdated_branches").upstream_task_ids == validations


def test_the_validation_gives_up_when_its_task_does(dags: dict[str, DAG]) -> None:
    validation = task(dags, "validate_lookml_spoke_default_spectacles")
    assert validation.arguments[0].endswith(f"--timeout {int(validation.execution_timeout.total_seconds())}")


def test_no_shell_prints_what_it_runs(dags: dict[str, DAG]) -> None:
    for task_id in ("validate_content_spectacles", "validate_lookml_spoke_default_spectacles"):
        assert task(dags, task_id).cmds.words == ("bash", "-c")
