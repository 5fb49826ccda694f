"""Open a Jira ticket about a failed task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from utils.config import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

_TEXT = (
    "The task {{ ti.task_id }} of the DAG {{ ti.dag_id }} failed in the run {{ run_id }}, "
    "try {{ ti.try_number }}.\n\nLog: {{ ti.log_url }}"
)


class JiraTicketNotifier(BaseNotifier):
    """Opens a ticket, by Jira's REST API through a connection of type ``http`` with a user and a token.

    As ``on_failure_callback`` it is called once a task has failed for good, not at each retry. Of a ticket that can't be
    opened Airflow writes the error into the task's log, and goes on.

    :param project: key of the Jira project.
    :param issue_type: id of the kind of issue.
    :param summary: the ticket's title. (templated)
    :param description: its text. Default: what failed, with a link to the log. (templated)
    :param conn_id: Airflow connection to Jira.
    """

    template_fields: Sequence[str] = ("summary", "description")

    def __init__(
        self,
        *,
        project: str,
        issue_type: str,
        summary: str = "[Airflow] {{ ti.dag_id }}.{{ ti.task_id }} failed",
        description: str = _TEXT,
        conn_id: str = CONNECTIONS.jira,
    ) -> None:
        super().__init__()
        self.project = project
        self.issue_type = issue_type
        self.summary = summary
        self.description = description
        self.conn_id = conn_id

    def notify(self, context: Context) -> None:
        """Open the ticket."""
        from airflow.providers.http.hooks.http import HttpHook

        response = HttpHook(method="POST", http_conn_id=self.conn_id).run(
            "/rest/api/2/issue", json=self.issue(), headers={"Accept": "application/json"}
        )
        self.log.info("Opened %s", response.json()["key"])

    def issue(self) -> dict[str, Any]:
        """The ticket, in the form of Jira's API."""
        return {
            "fields": {
                "project": {"key": self.project},
                "issuetype": {"id": self.issue_type},
                "summary": self.summary,
                "description": self.description,
            }
        }
