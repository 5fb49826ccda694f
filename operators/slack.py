"""Post to Slack."""

from __future__ import annotations

from typing import Any

from airflow.providers.slack.notifications.slack import SlackNotifier
from airflow.providers.slack.operators.slack import SlackAPIPostOperator

from utils.config import ALERT_CHANNEL, CONNECTIONS, SLACK_USER


def slack_post(task_id: str, text: Any, *, channel: str = ALERT_CHANNEL, **differing: Any) -> SlackAPIPostOperator:
    """A task that posts to Slack as the bot of the platform.

    :param text: what it says, Slack's mark-up, or the output of a task. (templated)
    :param channel: with ``#``. Default: the platform's channel for automation. (templated)
    :param differing: any other parameter of ``SlackAPIPostOperator``.
    """
    return SlackAPIPostOperator(
        task_id=task_id,
        slack_conn_id=CONNECTIONS.slack,
        channel=channel,
        username=SLACK_USER,
        text=text,
        **differing,
    )


def slack_notifier(text: str, *, channel: str = ALERT_CHANNEL) -> SlackNotifier:
    """A post of the same bot that a task makes when it fails or succeeds, as ``on_failure_callback`` and the like.

    :param text: as for :func:`slack_post`; ``ti`` is the task. (templated)
    :param channel: with ``#``. Default: the platform's channel for automation. (templated)
    """
    return SlackNotifier(slack_conn_id=CONNECTIONS.slack, channel=channel, username=SLACK_USER, text=text)
