"""Default arguments refuse what Airflow would take in silence; the rules say what to type."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from utils.callbacks import TellTeam
from utils.defaults import default_args
from utils.policy import check_dag
from utils.retries import FaultRetryPolicy
from utils.tags import Tag
from utils.teams import TEAMS, Team

ALERTS = "telemetry-alerts@mozilla.com"


def test_defaults() -> None:
    assert default_args(owner="ads") == {
        "owner": "ads",
        "email": [ALERTS],
        "email_on_failure": True,
        "email_on_retry": True,
        "retries": 2,
        "retry_delay": timedelta(minutes=30),
        "retry_policy": FaultRetryPolicy(),
    }


def test_an_owner_that_is_no_team_is_refused() -> None:
    with pytest.raises(ValueError, match="No team is named 'someone'"):
        default_args(owner="someone")


def test_alerts_follow_the_team(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEAMS, "ads", Team("ads", "About.", alert_address="ads@example.com", slack_channel="#ads"))
    assert default_args(owner="ads")["email"] == [ALERTS, "ads@example.com"]
    assert default_args(owner="ads", triaged=False)["email"] == ["ads@example.com"]
    assert default_args(owner="ads", triaged=False)["email_on_failure"] is True


def test_what_is_not_triaged_is_posted_to_the_team_and_mailed_to_nobody() -> None:
    args = default_args(owner="ads", triaged=False)
    assert (args["email"], args["email_on_failure"], args["email_on_retry"]) == ([], False, False)
    assert args["on_failure_callback"] == [TellTeam("ads")]
    assert "on_failure_callback" not in default_args(owner="ads")


def test_the_team_is_told_in_its_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.slack.notifications import slack

    monkeypatch.setitem(TEAMS, "ads", Team("ads", "About.", slack_channel="#ads"))
    posted: list[Any] = []

    class Hook:
        def __init__(self, **given: Any) -> None:
            posted.append(given["slack_conn_id"])

        def call(self, method: str, json: dict[str, Any]) -> None:
            posted.extend([method, json])

    monkeypatch.setattr(slack, "SlackHook", Hook)
    ti = SimpleNamespace(dag_id="d", task_id="t", log_url="http://log")
    TellTeam("ads")({"ti": ti, "run_id": "manual__1", "dag": DAG("d", schedule=None)})
    assert posted[:2] == ["slack_airflow_bot", "chat.postMessage"]
    assert posted[2]["channel"] == "#ads"
    assert posted[2]["username"] == "airflow-bot"
    assert posted[2]["text"] == "`d` failed at `t` (manual__1). <http://log|Log>"


def test_a_dag_says_what_differs() -> None:
    args = default_args(owner="ads", retries=0, depends_on_past=True, max_active_tis_per_dag=1)
    assert (args["retries"], args["depends_on_past"], args["max_active_tis_per_dag"]) == (0, True, 1)
    assert default_args(owner="ads")["retries"] == 2, "one DAG's answer is not another's default"


@pytest.mark.parametrize(
    ("key", "advice"),
    [("emails", "'email'"), ("retry_dely", "'retry_delay'"), ("emailonfailure", "'email_on_failure'")],
)
def test_a_misspelt_key_is_refused(key: str, advice: str) -> None:
    with pytest.raises(TypeError, match=rf"no default argument '{key}'. Did you mean .*{advice}"):
        default_args(owner="ads", **{key: 1})


@pytest.mark.parametrize("key", ["task_id", "dag", "kwargs", "self", "schedule_interval", "image"])
def test_what_is_no_default_is_refused(key: str) -> None:
    with pytest.raises(TypeError, match=r"no default argument|multiple values"):
        default_args(owner="ads", **{key: 1})


def test_airflow_itself_still_takes_any_key() -> None:
    """When this fails, default_args needs no check of its own any more."""
    with DAG("d", schedule=None, default_args={"emails": ["x"]}):
        EmptyOperator(task_id="t")


def dag(*, tags: list[str] | None = None, **args: Any) -> DAG:
    with DAG(
        "some_dag",
        schedule=None,
        tags=[Tag.ImpactTier.tier_2] if tags is None else tags,
        default_args=default_args(owner="ads") | args,
    ) as made:
        EmptyOperator(task_id="a")
        EmptyOperator(task_id="b")
    return made


@pytest.mark.parametrize(
    "sound",
    [
        {},
        {"email": f"other@example.com, {ALERTS}"},
        {"email": ("other@example.com", ALERTS)},
        {"tags": ["impact/tier_1", "triage/no_triage"], "email": None},
        {"retry_delay": timedelta(minutes=1), "depends_on_past": True},
        {"tags": ["impact/tier_3", "some_other_tag", "repo/bigquery-etl"]},
    ],
)
def test_a_sound_dag(sound: dict[str, Any]) -> None:
    assert check_dag(dag(**sound)) == []


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"tags": []}, "exactly one impact tag is required, found none"),
        ({"tags": ["impact/tier_1", "impact/tier_2"]}, "found impact/tier_1, impact/tier_2"),
        (
            {"tags": ["impact/tier_1", "triage/no_traige"]},
            "unknown tag 'triage/no_traige'. Did you mean 'triage/no_triage'",
        ),
        ({"tags": ["impact/teir_1"]}, "unknown tag 'impact/teir_1'"),
        ({"email": ["other@example.com"]}, "failures of a, b are not mailed to the alert address"),
        ({"email": None}, "failures of a, b are not mailed"),
        (
            {"tags": ["impact/tier_3", "triage/no_triage"]},
            "it has the tag triage/no_triage, and a, b mail the alert address. Give default_args(triaged=False)",
        ),
        ({"email_on_failure": False}, "failures of a, b are not mailed to the alert address"),
        (
            {"emails": ["a@example.com"]},
            "no task takes the default argument 'emails', and Airflow drops it in silence. Did you",
        ),
        ({"max_active_runs": 1}, "no task takes the default argument 'max_active_runs'"),
        ({"owner": "airflow"}, "task a has no owner"),
        ({"owner": " "}, "task b has no owner"),
    ],
)
def test_a_broken_dag(broken: dict[str, Any], message: str) -> None:
    problems = check_dag(dag(**broken))
    assert any(message in problem for problem in problems), problems
    assert all(problem.startswith("DAG some_dag: ") for problem in problems)


def test_many_silent_tasks_are_one_message() -> None:
    made = dag(email=None)
    with made:
        for n in range(10):
            EmptyOperator(task_id=f"t{n}")
    (problem,) = check_dag(made)
    assert "a, b, t0 and 9 more" in problem


def test_a_default_argument_of_one_task_s_kind_is_known() -> None:
    from operators.gcp_container_operator import GKEPodOperator

    made = dag(get_logs=False)
    assert "'get_logs'" in check_dag(made)[0]
    with made:
        GKEPodOperator(task_id="p", image="i:1")
    assert check_dag(made) == []
    mapped = dag(get_logs=False)
    with mapped:
        GKEPodOperator.partial(task_id="m", image="i:1").expand(arguments=[["a"], ["b"]])
    assert check_dag(mapped) == []


def test_mapped_tasks_keep_the_rules_too() -> None:
    from operators.gcp_container_operator import GKEPodOperator

    made = dag()
    with made:
        GKEPodOperator.partial(task_id="m", image="i:1").expand(arguments=[["a"], ["b"]])
    assert check_dag(made) == []
    with made:
        GKEPodOperator.partial(task_id="n", image="i:1", email=["x@example.com"]).expand(arguments=[["a"]])
    assert "failures of n are not mailed" in check_dag(made)[0]
