"""Merino's jobs: which Elasticsearch, which keys, and a mail that shows what jobs told as text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.dags.rendering import Run, rendered
from utils.config import CONNECTIONS
from utils.teams import team

if TYPE_CHECKING:
    from airflow.sdk import DAG

RUN = Run("2026-06-02T05:00:00Z", end="2026-06-09T05:00:00Z")
SERVERS = {
    CONNECTIONS.merino_elasticsearch_prod: SimpleNamespace(host="https://prod.example.com"),
    CONNECTIONS.merino_elasticsearch_stage: SimpleNamespace(host="https://stage.example.com"),
}
KEY = "MERINO_JOBS__WIKIPEDIA_INDEXER__ES_API_KEY"


@pytest.mark.parametrize(
    ("stage", "url", "key"),
    [("staging", "https://stage.example.com", "stage_api_key"), ("prod", "https://prod.example.com", "prod_api_key")],
)
def test_each_index_is_built_where_its_key_belongs(dags: dict[str, DAG], stage: str, url: str, key: str) -> None:
    dag = dags["merino_jobs"]
    task_id = f"wikipedia_indexer_en.wikipedia_indexer_build_index_{stage}_en"
    dumps = "moz-fx-data-prod-external-data/contextual-services/merino-jobs/wikipedia-exports"
    task: Any = dag.get_task(task_id)
    assert rendered(dag, task_id, "arguments", RUN, conn=SERVERS) == [
        *("wikipedia-indexer", "index", "--language", "en", "--version", "v1", "--total-docs", "6600000"),
        *("--elasticsearch-url", url, "--gcs-path", dumps, "--gcp-project", "moz-fx-data-shared-prod"),
    ]
    assert [(secret.deploy_target, secret.key) for secret in task.secrets] == [
        (KEY, f"merino_elasticsearch_secret__{key}")
    ]
    assert task.upstream_task_ids == {"wikipedia_indexer_en.wikipedia_indexer_copy_export_en"}


@pytest.mark.parametrize(
    ("dag_id", "task_id"),
    [("merino_sports_nightly", "sports_nightly_job"), ("merino_sports_update", "sports_update_job")],
)
def test_sports_go_to_production(dags: dict[str, DAG], dag_id: str, task_id: str) -> None:
    variables = rendered(dags[dag_id], task_id, "env_vars", RUN, conn=SERVERS)
    assert {variable.name: variable.value for variable in variables} == {
        "MERINO_ENV": "production",
        "MERINO_PROVIDERS__SPORTS__ES__DSN": "https://prod.example.com",
        "MERINO_PROVIDERS__SPORTS__SPORTS": "['NFL', 'NBA', 'NHL', 'MLB', 'UCL']",
    }
    task: Any = dags[dag_id].get_task(task_id)
    assert {secret.key for secret in task.secrets} == {
        "merino_elasticsearch_secret__prod_api_key",
        "merino_providers__sports__sportsdata_api_key",
    }


def mail(dags: dict[str, DAG], told: dict[str, Any]) -> str:
    """The mail, after tasks that told this, by the end of their name."""
    start = "nav_suggestions_prepare_domain_metadata_"
    ti = SimpleNamespace(xcom_pull=lambda task_ids: told.get(task_ids.removeprefix(start)))
    text: str = rendered(dags["merino_jobs"], "email_on_domain_success", "html_content", RUN, ti=ti)
    return text


def test_the_team_is_told_of_new_domains(dags: dict[str, DAG]) -> None:
    told = {
        "prod": {"top_pick_url": "https://example.com/prod.json", "diff": "added: a.example"},
        "stage": {"top_pick_url": "https://example.com/stage.json", "diff": "added: b.example"},
    }
    task: Any = dags["merino_jobs"].get_task("email_on_domain_success")
    assert mail(dags, told) == (
        "<p>Production: https://example.com/prod.json</p><p>Staging: https://example.com/stage.json</p>"
        "<p>What changed in production:</p><pre>added: a.example</pre>"
    )
    assert task.to == team("search-and-suggest").alert_address
    assert task.upstream_task_ids == {f"nav_suggestions_prepare_domain_metadata_{stage}" for stage in told}
    assert all(upstream.do_xcom_push for upstream in task.upstream_list)


def test_what_a_site_says_is_no_markup_in_the_mail(dags: dict[str, DAG]) -> None:
    text = mail(dags, {"prod": {"diff": "<script>alert(1)</script> {{ 6 * 7 }}", "top_pick_url": '"><img src=x>'}})
    assert "<script" not in text
    assert "<img" not in text
    assert "{{ 6 * 7 }}" in text


def test_a_job_that_told_nothing_does_not_fail_the_mail(dags: dict[str, DAG]) -> None:
    assert mail(dags, {"prod": None, "stage": {}}).count("not told") == 3
