"""Slack posts, waits, commands of pods that are made when the task runs: what is particular to this platform."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.standard.sensors.time_delta import WaitSensor
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import TaskDeferred

from operators.gcp_container_operator import GKEPodOperator
from operators.slack import slack_notifier, slack_post
from operators.waiting import wait
from utils.commands import late, shell


def test_a_post_goes_to_the_platforms_channel_as_its_bot() -> None:
    post = slack_post("tell", "`x` is done", trigger_rule="all_done")
    assert (post.slack_conn_id, post.channel, post.username) == ("slack_airflow_bot", "#dataops-alerts", "airflow-bot")
    assert (post.text, post.method, post.trigger_rule) == ("`x` is done", "chat.postMessage", "all_done")
    assert slack_post("tell", "x", channel="#other").channel == "#other"
    told = slack_notifier("`x` failed")
    assert (told.slack_conn_id, told.channel, told.username, told.text) == (
        "slack_airflow_bot",
        "#dataops-alerts",
        "airflow-bot",
        "`x` failed",
    )
    assert slack_notifier("x", channel="#other").channel == "#other"


def test_waiting_holds_no_slot() -> None:
    sensor = wait("wait_for_1_hour", timedelta(hours=1))
    assert isinstance(sensor, WaitSensor)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    assert deferred.value.trigger.serialize()[0].endswith("DateTimeTrigger")


@pytest.mark.parametrize(("url", "time"), [("", timedelta(hours=1)), ("http://127.0.0.1:1", timedelta(seconds=5))])
def test_offline_nobody_waits_an_hour(monkeypatch: pytest.MonkeyPatch, url: str, time: timedelta) -> None:
    import airflow_local_settings

    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
    sensor = wait("wait_for_1_hour", timedelta(hours=1))
    airflow_local_settings.task_policy(sensor)
    assert sensor.time_to_wait == time


def test_a_command_may_be_made_when_the_task_runs() -> None:
    with DAG("d", schedule=None) as dag:

        @task
        def words() -> list[str]:
            return ["a"]

        GKEPodOperator(task_id="of_a_task", image="i:1", arguments=words())
        GKEPodOperator(task_id="late", image="i:1", arguments=late("{{ ds }}", "b c"), env_vars={"A": "1"})
        GKEPodOperator(task_id="shell", image="i:1", **shell("a && b"))
    of_a_task: Any = dag.get_task("of_a_task")
    assert of_a_task.upstream_task_ids == {"words"}
    made_late: Any = dag.get_task("late")
    of_shell: Any = dag.get_task("shell")
    for pod in (made_late, of_shell):
        pod.render_template_fields({"ds": "2026-06-01"})
    assert made_late.arguments == ["2026-06-01", "b c"]
    assert (of_shell.cmds, of_shell.arguments) == (["bash", "-c"], ["a && b"])


@pytest.mark.parametrize("field", ["arguments", "cmds"])
def test_a_text_is_no_command(field: str) -> None:
    with pytest.raises(TypeError, match=r"a list of words, not 'run me'"):
        GKEPodOperator(task_id="t", image="i:1", **{field: "run me"})
