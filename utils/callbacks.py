"""What a DAG does when one of its tasks has failed for good, besides mail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.config import CONNECTIONS, SLACK_USER
from utils.teams import team

if TYPE_CHECKING:
    from airflow.sdk import Context

_FAILED = "`{{ ti.dag_id }}` failed at `{{ ti.task_id }}` ({{ run_id }}). <{{ ti.log_url }}|Log>"


@dataclass(frozen=True)
class TellTeam:
    """Post a failure to the channel of the team that owns the DAG.

    For DAGs that nobody triages: their failures are not mailed to the alert address. A callable and not the provider's
    notifier, which takes a second to import and would be imported by each file that only declares it.

    :param owner: the team, one of :data:`utils.teams.TEAMS`.
    """

    owner: str

    def __call__(self, context: Context) -> None:
        """Post it. Of a post that fails Airflow writes the error into the task's log, and goes on."""
        from airflow.providers.slack.notifications.slack import SlackNotifier

        SlackNotifier(
            slack_conn_id=CONNECTIONS.slack,
            channel=team(self.owner).slack_channel,
            username=SLACK_USER,
            text=_FAILED,
        )(context)
